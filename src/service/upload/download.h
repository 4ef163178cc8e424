/* SPDX-License-Identifier: MIT */
/* The answer to one request, tried again after growing waits until it is there whole: to memory, or to
 * a file, which is written beside its place under another name and put there when it is all right. A
 * transfer that breaks off goes on where it stopped, if the server can. Loop thread only; the disk is
 * touched on the worker threads.
 *
 *   OPENING ─► (COPYING) ─► ASKING ─► SENDING ─► CLOSING ─► DONE
 *                             ▲          │          │
 *                             └─ RESTING ◄──────────┘ tried again
 *
 * (peer: core/internal/filetransfer/file_transfer_default.go) */
#ifndef TARE_SERVICE_UPLOAD_DOWNLOAD_H
#define TARE_SERVICE_UPLOAD_DOWNLOAD_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/xxh3.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stdint.h>

enum download_state { DOWNLOAD_DONE, DOWNLOAD_OPENING, DOWNLOAD_COPYING, DOWNLOAD_ASKING, DOWNLOAD_SENDING, DOWNLOAD_RESTING,
                      DOWNLOAD_CLOSING };

struct download {
    /* -- to fill; borrowed until `done`, the backend until download_cancel -- */
    struct backend *backend;
    const char *url;
    const char *path;     /* its folder is made if need be; NULL: the answer is kept in `http.answer` */
    const char *method;   /* NULL: GET */
    struct str body;
    size_t keep_bytes;    /* of an answer that is kept */
    bool is_foreign;      /* another's server: no headers of the settings go there */
    /* Append "Name: value\n" lines before each try; `resumes`: a Range is among its headers. May be NULL. */
    void (*put_headers)(struct download *d, struct buf *to);
    /* What the file must be: its digest in base64, and its size with it. Empty: whatever comes. */
    struct str digest;
    bool is_xxh128;
    /* The XXH128, as hex, of the bytes with that MD5, if the backend that gave the digest says it: taken in a tenth of
     * the time. Where it differs, the digest decides. Empty: not known. */
    struct str quick;
    bool quick_is_for_here; /* only of bytes that are copied from the folder of our own server */
    uint64_t size;
    /* A file of this machine that may be a copy: taken, if its bytes are the right ones, before the server is asked
     * for them. With `digest` only. NULL: none. */
    const char *here;
    const char *etag;     /* what the answer's must be, without quotes; NULL: any */
    /* The file is whole and right, still under the other name. On the worker, may be NULL. */
    void (*landed)(struct download *d, const char *part);
    /* Exactly once, never inside download_start or download_cancel. */
    void (*done)(struct download *d);
    void (*moved)(struct download *d); /* `received` has changed; may be NULL. May not cancel */

    /* -- the answer -- */
    int error;       /* 0: it is there */
    int status;      /* of HTTP; 0 if none came */
    char why[1400];  /* for a person, as the peer says it */
    uint64_t received, total; /* bytes of the file so far; total 0 while unknown */

    /* -- its own -- */
    enum download_state state;
    uv_loop_t *loop;
    bool cancelled;
    bool is_small;      /* kept in memory, then written at once */
    bool is_locked;     /* the part is ours among all processes, and stays for another try if we fail */
    bool was_continued; /* from an earlier process's part */
    bool wrong_etag, wrong_range;
    bool sums_xxh;      /* what `sum` is of */
    int rc;
    uint32_t n_tries;
    char *part;         /* where it is written */
    int fd;
    int from_fd;        /* of `here` */
    bool is_ours;       /* the file that is being copied is our own server's, which is the backend */
    const char *backend_url; /* for the worker */
    bool is_clone;      /* the part shares the blocks of `here` */
    uint64_t have;      /* bytes in the part, all of them in the digest */
    union {
        struct digest md5;
        struct xxh3 xxh;
    } sum;
    char validator[160]; /* ETag or Last-Modified of what is in the part */
    struct backend_headers ask;
    struct buf headers;
    struct http_request http;
    struct work work;
    uv_timer_t timer;
};

/* First part filled, the rest zero. `done` may free it. */
void download_start(struct download *d);
void download_cancel(struct download *d); /* `done` follows with TARE_ECANCELLED, or was on its way */
/* What is kept in memory of the answer; after `done`. */
void download_fini(struct download *d);

/* "404 Not Found" */
void download_put_status(struct buf *to, int status);

/* -- download_part.c: the file, on a worker -- */

/* Find or make the part: `fd`, `have`. 0 or a negative code. */
int download_part_open(struct download *d);
/* A block has been written. */
void download_part_add(struct download *d, uint64_t at, const char *p, size_t n);
/* Copy the next bytes of `here`: 1 if there are more, 0 if that was all, or a negative code: it is of no use, the part
 * is empty again. */
int download_part_copy(struct download *d);
/* All has come: is it right? Then to its place, with d->http.answer as its contents if it is small. 0 or a
 * negative code with `why`; TARE_ECONFLICT: it is not what its digest says. */
int download_part_finish(struct download *d);
/* It will not: away with the part, or keep it for who comes next. */
void download_part_drop(struct download *d);

/* The digest of an open file's contents as base64. With `to` (else -1) they are written there on the way: the digest is
 * of what was written, whoever changes the file meanwhile. 0 or a negative code. */
int download_digest_of(int from, int to, bool is_xxh128, char base64[32]);

#endif
