/* SPDX-License-Identifier: MIT */
/* GraphQL requests to a backend, with the peer's retries: anything the network or the server did
 * wrong is tried again with growing waits (limits.h, settings x_graphql_*), what the server refuses
 * is not; of UpsertBucket, conflicts (409) too. Loop thread only. */
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
    const char *operation; /* name, "UpsertBucket", or "" */
    const char *document;
    struct str variables;  /* a JSON object, or empty */
    bool hands_back_429;   /* it ends with that, instead of trying again */
    int64_t give_up_ns;    /* clock_mono_ns: it ends then with TARE_ETIMEOUT; 0: as the settings say */
    void (*done)(struct graphql_call *c); /* exactly once, never inside graphql_send */
    /* told of each failed try that will be repeated; may be NULL */
    void (*on_retry)(struct graphql_call *c, const char *why);

    /* -- the answer -- */
    int error;       /* 0: `data` is there and "errors" is empty; TARE_ECANCELLED, TARE_ETIMEOUT,
                      * TARE_EPERM (401, 403), TARE_ENOTFOUND (404), TARE_ECONFLICT (409),
                      * TARE_EPROTO (refused: see why), ... */
    int status;      /* of HTTP, 0 if none came */
    uint32_t n_tries; /* made in vain, when there were as many as the settings allow; else 0 */
    char why[512];   /* for a person: the server's own words where it gave any (with status 200 as
                      * the peer shows them, "input: ..."); of TARE_ETIMEOUT the last try's, or "" */
    struct str data; /* raw JSON of "data", even beside errors; valid until graphql_call_fini */
    struct buf answer; /* all of what came */

    struct graphql_work *work; /* its own */
};

void graphql_send(struct backend *b, struct graphql_call *c);
void graphql_cancel(struct backend *b, struct graphql_call *c); /* `done` follows */
void graphql_call_fini(struct graphql_call *c); /* frees the answer */

#endif
