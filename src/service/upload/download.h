/* SPDX-License-Identifier: MIT */
/* One file from a URL to the disk: written beside its place under another name, tried again after
 * growing waits, and put in its place when it is whole. Loop thread only; the disk is touched on the
 * worker threads.
 *
 *   OPENING ─► ASKING ─► SENDING ─► CLOSING ─► DONE
 *                ▲          │
 *                └─ RESTING ◄ tried again
 *
 * (peer: core/internal/filetransfer/file_transfer_default.go) */
#ifndef TARE_SERVICE_UPLOAD_DOWNLOAD_H
#define TARE_SERVICE_UPLOAD_DOWNLOAD_H

#include "base/buf.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stdint.h>

enum download_state { DOWNLOAD_DONE, DOWNLOAD_OPENING, DOWNLOAD_ASKING, DOWNLOAD_SENDING, DOWNLOAD_RESTING,
                      DOWNLOAD_CLOSING };

struct download {
    /* -- to fill; borrowed until `done`, the backend until download_cancel -- */
    struct backend *backend;
    const char *url;
    const char *path; /* its folder is made if need be */
    /* Exactly once, never inside download_start or download_cancel. */
    void (*done)(struct download *d);
    void (*moved)(struct download *d); /* `received` has changed; may be NULL. May not cancel */

    /* -- the answer -- */
    int error;       /* 0: it is there */
    int status;      /* of HTTP; 0 if none came */
    char why[1400];  /* for a person, as the peer says it */
    uint64_t received, total; /* bytes of this try; total 0 while unknown */

    /* -- its own -- */
    enum download_state state;
    uv_loop_t *loop;
    bool cancelled;
    int rc;
    uint32_t n_tries;
    char *part; /* where it is written */
    int fd;
    struct backend_headers ask;
    struct buf headers;
    struct http_request http;
    struct work work;
    uv_timer_t timer;
};

/* First part filled, the rest zero. `done` may free it. */
void download_start(struct download *d);
void download_cancel(struct download *d); /* `done` follows with TARE_ECANCELLED, or was on its way */

/* "404 Not Found" */
void download_put_status(struct buf *to, int status);

#endif
