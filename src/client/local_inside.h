/* SPDX-License-Identifier: MIT */
/* What local.c (taking messages) and local_begin.c (opening the file) share. */
#ifndef TARE_CLIENT_LOCAL_INSIDE_H
#define TARE_CLIENT_LOCAL_INSIDE_H

#include "client/keys.h"
#include "client/local.h"
#include "journal/encoder.h"
#include "journal/writer.h"

struct local {
    struct tare_run *run;
    char *path;
    struct journal_writer file;
    struct journal_encoder encoder;
    struct buf out;         /* encoded, not written yet */
    int64_t num;            /* of the last record */
    bool has_header, has_run, has_exit; /* in the file */

    struct keys partial;    /* the step being gathered: those `changed` */
    bool partial_open;
    int64_t step;           /* its number */
    struct keys summary;
    bool summary_changed;
    int64_t summary_ns;     /* when it was written last */

    bool replay;
    double *seen;           /* timestamps of history the file holds; sorted */
    size_t n_seen;
};

/* Write what is encoded. 0 or the error; what was not written is kept for the next time. */
int local_write_out(struct local *l);

double local_number(struct str json);            /* 0 if it is none */
int local_compare(const void *a, const void *b); /* of doubles, for l->seen */

#endif
