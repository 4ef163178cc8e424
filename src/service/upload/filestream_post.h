/* SPDX-License-Identifier: MIT */
/* One request of a file stream, until the backend has taken it: compressed where that is wanted,
 * sent, and sent again after growing waits for as long as the settings say (a week). Loop thread
 * only; large bodies are compressed on a worker thread. A backend whose answers say that its quota
 * runs out is asked more slowly (pace.h): a try that must wait for that rests, too.
 *
 *   [PACKING] ─► ASKING ─► SENDING ─► DONE
 *                  ▲          │
 *                  └─ RESTING ◄ tried again */
#ifndef TARE_SERVICE_UPLOAD_FILESTREAM_POST_H
#define TARE_SERVICE_UPLOAD_FILESTREAM_POST_H

#include "base/buf.h"
#include "base/str.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/upload/backend.h"
#include "service/upload/pace.h"
#include "service/upload/retry.h"

#include <stdbool.h>
#include <stdint.h>

enum fs_post_state { FS_POST_DONE, FS_POST_PACKING, FS_POST_ASKING, FS_POST_SENDING, FS_POST_RESTING };

struct fs_post {
    /* -- to fill -- */
    struct backend *backend;
    uv_loop_t *loop;
    struct retry_policy policy;
    /* Exactly once for each fs_post_start, never inside it. `error` 0: taken, `http` has the answer
     * until the next start. */
    void (*done)(struct fs_post *p, int error);
    /* A try has failed and will be repeated; may be NULL. */
    void (*on_retry)(struct fs_post *p);

    /* -- what it does -- */
    char why[320];      /* of the last try that failed: for a person, "" while all is well */
    int64_t failing_ns; /* since when (mono) all tries have failed; 0 while all is well */

    /* -- its own -- */
    enum fs_post_state state;
    const char *url;
    struct str body;    /* as it was given */
    struct buf packed;  /* compressed */
    bool is_packed, cancelled, closing;
    bool is_paced;      /* has waited for its turn */
    struct pace pace;   /* of all requests */
    int error;          /* to end with, from the timer */
    uint32_t n_tries;
    struct backend_headers ask;
    struct buf headers;
    struct http_request http;
    struct work work;
    uv_timer_t timer;
    void (*closed)(struct fs_post *p);
};

/* `p` has its first part filled and the rest zero. */
void fs_post_init(struct fs_post *p);
/* Free what it has, then call `closed`; cancels what is under way (`done` is not called). */
void fs_post_close(struct fs_post *p, void (*closed)(struct fs_post *p));

/* POST `body` (borrowed until `done`) to `url` (borrowed likewise). Not while one is under way. */
void fs_post_start(struct fs_post *p, const char *url, struct str body, bool gzip);
/* End it: `done` follows with TARE_ECANCELLED, unless an answer was on its way. */
void fs_post_cancel(struct fs_post *p);

static inline bool fs_post_is_busy(const struct fs_post *p)
{
    return p->state != FS_POST_DONE;
}

#endif
