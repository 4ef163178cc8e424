/* SPDX-License-Identifier: MIT */
/* GraphQL requests to a backend, with the peer's retries: anything the network or the server did
 * wrong is tried again with growing waits (limits.h, settings x_graphql_*), what the server refuses
 * is not. Loop thread only. */
#ifndef TARE_SERVICE_UPLOAD_GRAPHQL_H
#define TARE_SERVICE_UPLOAD_GRAPHQL_H

#include "base/buf.h"
#include "base/str.h"
#include "service/upload/backend.h"
#include "service/upload/json_path.h"

#include <stdbool.h>
#include <stdint.h>

/* Embedded by who asks. */
struct graphql_call {
    /* -- to fill; borrowed until `done` -- */
    const char *operation; /* name, "UpsertBucket" */
    const char *document;
    struct str variables;  /* a JSON object, or empty */
    int64_t give_up_ns;    /* clock_mono_ns: no try is begun after it; 0 for the settings' bound */
    void (*done)(struct graphql_call *c); /* exactly once, never inside graphql_send */
    /* told of each failed try that will be repeated; may be NULL */
    void (*on_retry)(struct graphql_call *c, const char *why);

    /* -- the answer -- */
    int error;       /* 0: `data` is there and "errors" is empty; TARE_ECANCELLED, TARE_ETIMEOUT,
                      * TARE_EPERM (401, 403), TARE_ENOTFOUND (404), TARE_ECONFLICT (409),
                      * TARE_EPROTO (refused: see why), ... */
    int status;      /* of HTTP, 0 if none came */
    char why[512];   /* for a person: the server's own words where it gave any */
    struct str data; /* raw JSON of "data", valid until graphql_call_fini */

    struct graphql_work *work; /* its own */
};

void graphql_send(struct backend *b, struct graphql_call *c);
void graphql_cancel(struct backend *b, struct graphql_call *c); /* `done` follows */
void graphql_call_fini(struct graphql_call *c); /* frees the answer */

#endif
