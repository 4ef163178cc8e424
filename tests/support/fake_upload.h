/* SPDX-License-Identifier: MIT */
/* A backend, its file stream and its files that only note what they are given, in place of
 * service/upload/: one line each in `fake_upload.log`. */
#ifndef TARE_TESTS_FAKE_UPLOAD_H
#define TARE_TESTS_FAKE_UPLOAD_H

#include "base/buf.h"

#include <stdbool.h>

struct fake_upload {
    struct buf log;
    /* What calls are answered with: by operation name, the last one counts; "{}" where there is
     * none. A negative `error` fails it with `why`. */
    struct {
        const char *operation, *data, *why;
        int error, status;
    } answers[16];
    int n_answers;
    bool full;       /* filestream_is_full */
    bool structured; /* the backend has the feature of structured console lines */
    bool black_hole; /* calls are never answered, unless cancelled */
    int n_open;      /* backends, file streams, files and calls that live */
};

extern struct fake_upload fake_upload;

void fake_upload_reset(void);
void fake_upload_answer(const char *operation, const char *data);
void fake_upload_fail(const char *operation, int error, int status, const char *why);
/* The room that the file stream has again. */
void fake_upload_drain(void);
bool fake_upload_saw(const char *line); /* a whole line */
const char *fake_upload_find(const char *text); /* the line with it; NULL */

#endif
