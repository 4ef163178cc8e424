/* SPDX-License-Identifier: MIT */
/* Sweeps and their agents as rows. Strings live in the accessor's arena. */
#ifndef TARE_SERVER_RESOLVE_SWEEP_ROWS_H
#define TARE_SERVER_RESOLVE_SWEEP_ROWS_H

#include "server/resolve/fields.h"
#include "server/sweep/search.h"

struct sweep_row {
    int64_t id, user_id, cursor, seed, created_us, updated_us, heartbeat_us;
    struct str name, display_name, description, config, config_json, method, state, controller, scheduler,
        prior_filters;
    bool has_best;
    double best_loss;
    const struct project_row *project;
};

struct agent_row {
    int64_t id, sweep_id, total_runs, created_us, heartbeat_us;
    struct str name, host, state;
    const struct sweep_row *sweep;
};

/* A sweep by number, or by name in a project. Expected: TARE_ENOTFOUND, TARE_EPERM. */
int load_sweep(const struct accessor *a, int64_t id, enum access need, struct sweep_row *out);
int load_sweep_named(const struct accessor *a, const struct project_row *p, struct str name,
                     struct sweep_row *out);

/* An agent by number. */
int load_agent(const struct accessor *a, int64_t id, enum access need, struct agent_row *out);

/* The search space of a sweep; the caller frees it. Expected: TARE_EINVAL (cannot be: it was checked when
 * it was made), TARE_ENOMEM. */
int sweep_space_of(const struct sweep_row *s, struct sweep_space **out, struct err *e);

/* How many runs the sweep will have: the grid's size or its cap; -1 without end. */
int64_t sweep_expected(const struct sweep_row *s);

/* Does a scheduler elsewhere choose the runs (`scheduler: {engine: …}` in the configuration)? */
bool sweep_has_scheduler(const json_t *config);
bool sweep_row_has_scheduler(const struct sweep_row *s);

/* In a job: a run of the sweep, pending, with `args` as its configuration; `agent_id` 0: it waits for one.
 * `display` empty: sweep-run-N. `name` gets its 8 characters. */
int sweep_make_run(const struct accessor *a, const struct sweep_row *s, int64_t agent_id, struct str display,
                   struct str args, int64_t now_us, char name[9], int64_t *id);

/* In a job: what this agent is to do now, as a JSON list of commands appended to `commands`. `run_state`:
 * {"run name": true} for the runs that it holds.
 * Expected: TARE_EUNSUPPORTED  the sweep's method is not searched by this server */
int sweep_schedule(const struct accessor *a, struct agent_row *agent, struct str run_state, int64_t now_us,
                   struct buf *commands);

/* In a job: put the scheduler of a launched sweep into the run queue that `launch` (JSON: queue, run_queue_project,
 * run_spec) names, with the sweep's short id in its place. TARE_ENOTFOUND: no such queue. launch.c. */
int launch_sweep_scheduler(const struct accessor *a, const struct project_row *p, struct str launch, struct str sweep,
                           struct str values);

#endif
