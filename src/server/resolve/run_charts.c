/* SPDX-License-Identifier: MIT */
/* Series of one key for charts, whole or as an envelope. */
#include "server/resolve/fields.h"
#include "server/store/history.h"

static enum history_stream stream_of(struct gql_call *c)
{
    return gql_arg_bool(c, "events", false) ? HISTORY_EVENTS : HISTORY_METRICS;
}

void resolve_Run_historyEnvelope(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct err e;
    struct accessor a;
    AUTO_BUF b = {0};
    if (!accessor_of(c, &e, &a))
        return;
    int64_t pixels = gql_arg_int(c, "pixels", 1000);
    int rc = history_envelope(a.db, r->id, stream_of(c), gql_arg_str(c, "key"),
                              gql_arg_int(c, "minStep", INT64_MIN), gql_arg_int(c, "maxStep", INT64_MAX),
                              pixels > 0 && pixels <= UINT32_MAX ? (uint32_t)pixels : 0, &b, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_json(c, buf_str(&b));
}

void resolve_Run_historySeries(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    struct buf *to = gql_raw_begin(c);
    int rc = history_series(a.db, r->id, stream_of(c), gql_arg_str(c, "key"),
                            gql_arg_int(c, "minStep", INT64_MIN), gql_arg_int(c, "maxStep", INT64_MAX), to, &e);
    gql_raw_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}
