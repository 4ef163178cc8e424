/* SPDX-License-Identifier: MIT */
/* HTTP requests that the server itself makes: webhooks, the S3 store.
 *
 * libcurl is opened at run time by the first of them: linking it would cost every start of the server
 * the load of TLS and Kerberos libraries. A request blocks its thread (never one of HTTP's); redirects
 * are not followed; connections are kept and used again. Proxies are those of the environment. */
#ifndef TARE_SERVER_REMOTE_REMOTE_H
#define TARE_SERVER_REMOTE_REMOTE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdint.h>

enum { REMOTE_MAX_HEADERS = 16, REMOTE_ETAG = 128 };

struct remote_request {
    const char *method;
    const char *url;             /* http or https */
    const char *headers[REMOTE_MAX_HEADERS]; /* "Name: value"; the first NULL ends them */
    struct str body;             /* what is sent; or, when body_fd > 0, */
    int body_fd;                 /* `body_bytes` of this file */
    int64_t body_at, body_bytes; /* from this offset on */
    /* Pieces of the body of an answer with status 2xx; a negative result ends the request with it.
     * NULL: its first 64 KiB go to remote_answer.text. */
    int (*on_body)(void *arg, const void *p, size_t n);
    void *arg;
    int total_ms;                /* for all of it; 0: no end, as long as bytes move */
    int stall_s;                 /* without any byte: over; 0: 60 */
    const atomic_bool *stop;     /* true: give up (within a second); NULL: never */
};

struct remote_answer {
    int status;
    int64_t content_length; /* -1: not told */
    char etag[REMOTE_ETAG]; /* as it came; "" */
    struct buf text;        /* the body, or its beginning, where on_body did not take it */
};

/* Make the request. 0 with any status, or
 * Expected: TARE_EUNSUPPORTED  libcurl is not installed
 *           TARE_EINVAL        not a URL for http or https
 *           TARE_ETIMEOUT, TARE_ECANCELLED
 *           TARE_EIO           no connection, TLS, a broken answer; or what on_body returned
 * `out` is emptied first; its text belongs to the caller (remote_answer_fini) also on failure. */
int remote_send(const struct remote_request *r, struct remote_answer *out, struct err *e);
void remote_answer_fini(struct remote_answer *a);

/* The server ends: requests under way, and all to come, are given up within a second (TARE_ECANCELLED). Any thread. */
void remote_cancel(void);

/* Close the kept connections: at the end of the process, when no request runs. */
void remote_close(void);

#endif
