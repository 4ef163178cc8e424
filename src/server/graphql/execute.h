/* SPDX-License-Identifier: MIT */
/* Runs a planned operation: calls resolvers and writes the response. Synchronous; one request
 * per thread, any number of threads on one plan. */
#ifndef TARE_SERVER_GRAPHQL_EXECUTE_H
#define TARE_SERVER_GRAPHQL_EXECUTE_H

#include "base/budget.h"
#include "base/buf.h"
#include "server/graphql/plan.h"

#include <stdatomic.h>

struct gql_limits {
    uint64_t max_fields;         /* resolver calls */
    size_t max_bytes;            /* of response */
    int64_t deadline_mono_ns;    /* of clock_mono_ns; 0: none */
    const atomic_bool *ending;   /* true: stop with 503; NULL: never */
    struct budget *memory;       /* the response is taken from it while it grows; NULL: none */
};

/* Append the whole response, `{"data":…}` with `errors` if there are any, to `out`, and set
 * *status to its HTTP status. `variables` is a GQL_OBJECT or NULL; those that the document does
 * not declare are ignored. `app` is for the resolvers. Memory comes from `arena`.
 * Returns 0, or TARE_ENOMEM with nothing useful in `out`. */
int gql_execute(const struct gql_plan *plan, const struct gql_value *variables, struct arena *arena,
                void *app, const struct gql_limits *limits, struct buf *out, int *status);

#endif
