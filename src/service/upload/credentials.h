/* SPDX-License-Identifier: MIT */
/* Who we are to a backend: nobody, an API key, or an identity token (a JWT in a file) that is
 * exchanged for an access token at the backend's /oidc/token and kept in the credentials file, which
 * the SDK and other services share, until five minutes before it expires. Loop thread only; files are
 * read and written on the worker threads.
 *
 *   READY ◄─────────────────────────────────────┐
 *     └► LOADING ─► EXCHANGING ─► SAVING ───────┤
 *           │           ▲ └► RESTING ┐          │
 *           └───────────┼────────────┘ failed ──┘
 *
 * (peer: core/internal/api/credentials.go) */
#ifndef TARE_SERVICE_UPLOAD_CREDENTIALS_H
#define TARE_SERVICE_UPLOAD_CREDENTIALS_H

#include "base/buf.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/upload/retry.h"

#include <stdbool.h>
#include <stdint.h>

enum credentials_state {
    CREDENTIALS_READY, /* or failed: asked anew the next time */
    CREDENTIALS_LOADING,
    CREDENTIALS_EXCHANGING,
    CREDENTIALS_RESTING,
    CREDENTIALS_SAVING,
};

struct credentials {
    /* -- to fill; strings owned -- */
    struct http *http;
    uv_loop_t *loop;
    const struct http_route *route;
    const char *base_url;
    const char *headers; /* of the exchange */
    char *api_key;
    char *identity_file, *credentials_file; /* NULL if not used */
    /* After credentials_ask: 0, or an error with its reason. */
    void (*done)(struct credentials *c, int error, const char *why);

    /* -- what they are -- */
    char *token; /* access token; NULL while there is none */

    /* -- their own -- */
    enum credentials_state state;
    char *url; /* of the exchange */
    int64_t expires_ns; /* of the steady clock */
    char *refused;      /* the token that was refused last ... */
    int64_t refused_ns; /* ... and when (monotonic) */
    struct retry_policy policy;
    uint32_t n_tries;
    bool closing;
    struct buf assertion; /* the identity token */
    struct buf file;      /* the credentials file as read */
    struct buf body, all_headers;
    struct http_request request;
    struct work work;
    uv_timer_t timer;
    int rc;
    char why[512];
    void (*closed)(struct credentials *c);
};

void credentials_init(struct credentials *c); /* `c` filled as above, the rest zero */
/* Cancel, then `closed`; `done` is not called. */
void credentials_close(struct credentials *c, void (*closed)(struct credentials *c));

/* True if credentials_put says all there is to say; else credentials_ask and wait. */
bool credentials_are_ready(const struct credentials *c);
/* A backend has refused a request with these headers, although they were not expired. True if there may be
 * others: an access token is exchanged anew, once in TOKEN_REFUSED_NS. */
bool credentials_refused(struct credentials *c, const char *headers);
void credentials_ask(struct credentials *c); /* while one is under way: nothing more */
/* Append "Authorization: ...\n", or nothing. */
void credentials_put(const struct credentials *c, struct buf *to);

#endif
