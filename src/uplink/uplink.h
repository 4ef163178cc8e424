/* SPDX-License-Identifier: MIT */
/* The door of tare-uplink.so: what only some runs need, and what costs a program milliseconds and
 * megabytes to be linked with. The service loads it on a worker thread when the first run asks
 * (loop/module.h); the module knows nothing of the service.
 *
 * The two about git: return 0 or a negative code and, with it, say why in `why` (cut to `why_size` bytes,
 * NUL-terminated). Any thread. */
#ifndef TARE_UPLINK_UPLINK_H
#define TARE_UPLINK_UPLINK_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct http_request;
struct uplink_http;
struct uv_loop_s;
struct work;

enum { UPLINK_VERSION = 4, UPLINK_SHA_LEN = 40, UPLINK_NONE = -1, UPLINK_FAILED = -2 };

struct uplink {
    int version; /* UPLINK_VERSION: the two were built together */

    /* Give `write` the difference between the tree of `revision` ("HEAD", a hash) and the files in
     * the work tree around `root`, in pieces, as `git diff revision` prints it. Untracked files are
     * not part of it. A non-zero answer of `write` ends it.
     * UPLINK_NONE: no repository there; UPLINK_FAILED: anything else. */
    int (*git_diff)(const char *root, const char *revision,
                    int (*write)(void *ctx, const char *bytes, size_t n), void *ctx, char *why,
                    size_t why_size);

    /* The commit that stands for "what others have": the head of the upstream branch, or with
     * `fork_point` the last commit in common with it (with all upstream branches where the current
     * one has none). UPLINK_NONE: there is none. */
    int (*git_upstream)(const char *root, bool fork_point, char sha[UPLINK_SHA_LEN + 1], char *why,
                        size_t why_size);

    /* HTTP for loop/http.c, on the loop thread. `work_start` is that of loop/worker.h; `ended` is
     * called once for every request sent, when nothing of it is under way any more, also from inside
     * http_send and http_cancel. NULL: libcurl does not work. */
    struct uplink_http *(*http_open)(struct uv_loop_s *loop,
                                     void (*work_start)(struct uv_loop_s *loop, struct work *w),
                                     void (*ended)(void *ctx, struct http_request *r), void *ctx);
    /* When every request has ended; `closed` is called later. */
    void (*http_close)(struct uplink_http *m, void (*closed)(void *ctx), void *ctx);
    void (*http_send)(struct uplink_http *m, struct http_request *r);
    void (*http_cancel)(struct uplink_http *m, struct http_request *r);

    /* The signature of `data` with SHA-256 and RSA (PKCS #1 v1.5), by a private key in PEM: at most `*n`
     * bytes in `to`, their number in `*n`. 0 or UPLINK_FAILED. Any thread. */
    int (*sign_rs256)(const char *pem, size_t pem_n, const void *data, size_t data_n, unsigned char *to, size_t *n);

    /* One unary gRPC call without TLS: `body` goes to `url` ("http://HOST:PORT/PACKAGE.SERVICE/METHOD"), what
     * comes back, at most `max_bytes`, is in `answer` and its status in `*status` (0: OK; -1: none came).
     * Waits for `timeout_ms` at most. 0 or UPLINK_FAILED: nobody answered. Any thread. */
    int (*grpc_call)(const char *url, struct str body, uint32_t timeout_ms, size_t max_bytes, struct buf *answer,
                     int *status);
};

/* What dlsym looks for: `const struct uplink *tare_uplink(void)`. */
#define UPLINK_SYMBOL "tare_uplink"
const struct uplink *tare_uplink(void);

#endif
