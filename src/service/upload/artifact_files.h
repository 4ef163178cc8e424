/* SPDX-License-Identifier: MIT */
/* The inside of a save's files, for artifact_files.c (groups, transfers, rounds), artifact_parts.c (files in
 * parts) and artifact_look.c (what is known before they are asked for). */
#ifndef TARE_SERVICE_UPLOAD_ARTIFACT_FILES_H
#define TARE_SERVICE_UPLOAD_ARTIFACT_FILES_H

#include "base/digest.h"
#include "service/upload/artifact_impl.h"

struct part {
    uint8_t md5[MD5_BYTES];
    char *url, *etag;
};

/* What is known of a file before it is asked for. */
struct spec {
    uint32_t entry;
    int error;
    struct file_stamp stamp;
    char md5[28];      /* base64, where the entry's digest is another */
    uint64_t part_bytes;
    uint32_t n_parts;  /* 0: in one */
    struct part *parts;
};

struct art_upload {
    struct art_upload *prev, *next;
    struct save *save;
    struct transfer transfer;
    struct multipart *of; /* NULL: the whole file */
    uint32_t entry, part;
    struct file_stamp stamp;
    char *path, *url;
    struct buf headers;
    uint64_t sent, total;
};

struct multipart {
    struct multipart *prev, *next;
    struct save *save;
    struct spec spec;
    char *storage_path, *upload_id, *birth_id, *content_type;
    bool is_resumable; /* each of its parts */
    uint32_t n_begun, n_done, n_moving;
    bool failed, is_calling;
    struct buf variables;
    struct graphql_call call;
};

/* -- artifact_look.c: on a worker -- */

/* The size of an open file, its MD5 if it has another digest and is small, room for parts if it is large. */
int spec_measure(struct spec *spec, int fd, bool is_xxh128);
/* MD5 of `n` bytes from `at` on; UV_EOF if there are fewer. */
int spec_md5(int fd, uint64_t at, uint64_t n, uint8_t md5[MD5_BYTES]);
void spec_fini(struct spec *spec);

/* -- artifact_files.c -- */

/* Something has ended: begin what may, or end the round. */
void files_pump(struct save *s);
void files_one_done(struct save *s, uint32_t entry, int error, const char *why);
/* An upload of the spec's file, not started; takes `url`. */
struct art_upload *files_new_upload(struct save *s, const struct spec *spec, char *url);

/* -- artifact_parts.c -- */

/* The backend's answer wants the file in parts; takes those of the spec. */
void parts_begin(struct save *s, struct spec *spec, struct str node);
void parts_one_over(struct art_upload *u); /* with u->transfer.error; before it is closed */
void parts_go_on(struct multipart *m);     /* one is closed */

#endif
