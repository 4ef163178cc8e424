/* SPDX-License-Identifier: MIT */
/* Lists of runs: a project's, a sweep's, an agent's. */
#ifndef TARE_SERVER_RESOLVE_RUN_LIST_H
#define TARE_SERVER_RESOLVE_RUN_LIST_H

#include "server/graphql/resolver.h"
#include "server/resolve/rows.h"

struct run_scope {
    const struct project_row *project;
    int64_t sweep_id, agent_id; /* 0: any */
};

/* Answer a field of type RunConnection. The field must have the arguments first, after, filters, order. */
void answer_run_list(struct gql_call *c, const struct run_scope *scope);

/* How many runs of the scope match `filters` (JSON; n == 0: all): emitted as the field's value. */
void answer_run_count(struct gql_call *c, const struct run_scope *scope, struct str filters);

#endif
