/* SPDX-License-Identifier: MIT */
/* What the filters and orders of runs may name, and where it is in a row. */
#ifndef TARE_SERVER_RESOLVE_RUN_FILTER_H
#define TARE_SERVER_RESOLVE_RUN_FILTER_H

#include "base/arena.h"
#include "server/filter/filter.h"
#include "server/resolve/rows.h"

/* The context of run_filter_get. */
struct run_filter_row {
    const struct run_row *run;
    struct arena *arena; /* for unescaped texts */
};

/* A filter_get_fn: name, display_name, state, group, job_type, tags, username, sweep, host, notes,
 * description, commit, created_at, updated_at, heartbeat_at, duration (seconds), config.<key>[.value],
 * summary_metrics.<key>; in camel case too. Expected: TARE_EINVAL another key. */
int run_filter_get(void *ctx, struct str key, struct filter_value *out);

/* The large columns (run_rows.h) that a filter's or an order's text needs. */
unsigned run_filter_columns(struct str text);

#endif
