/* SPDX-License-Identifier: MIT */
/* What a sweep's scheduler asks the backend, and what it reads of the answers. Pure; any thread.
 *
 * (peer: core/internal/sweeps/scheduler/api.go, core/internal/gql) */
#ifndef TARE_SERVICE_SWEEP_SWEEP_QUERY_H
#define TARE_SERVICE_SWEEP_SWEEP_QUERY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Operations: name and document. */
struct sweep_query {
    const char *operation, *document;
};
extern const struct sweep_query sweep_query_config, sweep_query_prior_runs, sweep_query_watched_runs,
    sweep_query_run_state, sweep_query_enqueue, sweep_query_stop_run, sweep_query_set_state;

/* ---- variables: JSON objects put together member by member ---- */

void sweep_var_text(struct buf *to, const char *name, struct str text);
void sweep_var_raw(struct buf *to, const char *name, struct str json);
void sweep_vars_end(struct buf *to);

/* The sampledHistory spec of a run's objectives: JSON in a list of JSON strings. `metrics` are JSON
 * strings with commas between them, or empty. */
void sweep_put_history_specs(struct buf *to, struct str metrics);

/* ---- answers: `data` is raw JSON ---- */

struct sweep_facts {
    char *node_id, *state, *config, *display_name, *controller_run; /* never NULL */
};

/* False: there is no such sweep, or no such project. */
bool sweep_read_facts(struct str data, struct sweep_facts *to);
void sweep_facts_fini(struct sweep_facts *f);

/* A run of a page; strings live in the page's arena, "" where the backend gave none. */
struct sweep_row {
    const char *id, *name, *state;
    struct str config, summary, history; /* JSON */
};

struct sweep_page {
    const char *state;  /* of the sweep; in the arena */
    struct sweep_row *rows;
    size_t n;
    const char *cursor; /* of the next page; NULL: there is none */
};

/* `runs_path` is where the runs are: "project.sweep.runs" or "project.runs".
 * Expected: TARE_ENOTFOUND  there is no such sweep
 *           TARE_ELIMIT     the answer does not fit into the arena */
int sweep_read_page(struct str data, const char *runs_path, struct arena *a, struct sweep_page *to);

/* ---- configurations of runs ---- */

/* {"lr": {"value": 0.1}}, as the backend keeps it, as {"lr":0.1}, sorted by name; "{}" of what is no object. */
void sweep_put_flat(struct buf *to, struct str wire);
/* The other way round. Expected: TARE_EFORMAT  no JSON object */
int sweep_put_wire(struct buf *to, struct str flat, struct err *e);

/* Are all metrics (as above) in a run's summary, none of them null? */
bool sweep_has_metrics(struct str summary, struct str metrics);

/* ---- the sweep's configuration ---- */

struct sweep_config {
    struct buf metrics; /* names of the objectives as JSON strings, with commas */
    int64_t run_cap;    /* 0: none */
};

/* Read the YAML text. Expected: TARE_EFORMAT, TARE_EINVAL (no objective, or one without a name),
 * TARE_EUNSUPPORTED (libyaml is missing). sweep_config_fini either way. */
int sweep_config_read(struct str yaml, struct sweep_config *to, struct err *e);
void sweep_config_fini(struct sweep_config *c);

#endif
