/* SPDX-License-Identifier: MIT */
/* Reading sweeps and agents. */
#include "server/resolve/sweep_rows.h"

#include "server/filter/filter.h"
#include "server/resolve/artifact_rows.h"
#include "server/resolve/run_list.h"

#define SWEEP_SQL                                                                                          \
    "SELECT id, user_id, cursor, seed, created_at, updated_at, heartbeat_at, name, display_name, "         \
    "description, config, config_json, method, state, controller, scheduler, prior_filters, best_loss, "   \
    "project_id FROM sweeps WHERE deleted_at IS NULL AND "

static void take_sweep(const struct accessor *a, struct db_rows *rows, struct sweep_row *out)
{
    struct str *const texts[] = {&out->name, &out->display_name, &out->description, &out->config,
                                 &out->config_json, &out->method, &out->state, &out->controller,
                                 &out->scheduler, &out->prior_filters};
    *out = (struct sweep_row){.id = db_int(rows, 0), .user_id = db_int(rows, 1), .cursor = db_int(rows, 2),
                              .seed = db_int(rows, 3), .created_us = db_int(rows, 4), .updated_us = db_int(rows, 5),
                              .heartbeat_us = db_int(rows, 6)};
    for (int i = 0; i < 10; i++)
        *texts[i] = access_keep(a, db_str(rows, 7 + i));
    out->has_best = !db_is_null(rows, 17);
    out->best_loss = db_real(rows, 17);
}

int load_sweep(const struct accessor *a, int64_t id, enum access need, struct sweep_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    int rc = db_first(a->db, a->e, &rows, SWEEP_SQL "id = $1", DB_ARGS(db_i(id)));
    if (rc <= 0 || !p)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no such sweep");
    take_sweep(a, rows, out);
    out->project = p;
    rc = access_project_id(a, db_int(rows, 18), need, p);
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "there is no such sweep") : rc;
}

int load_sweep_named(const struct accessor *a, const struct project_row *p, struct str name,
                     struct sweep_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows, SWEEP_SQL "project_id = $1 AND name = $2", DB_ARGS(db_i(p->id), db_s(name)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no sweep '%.*s'", STR_ARG(name));
    take_sweep(a, rows, out);
    out->project = p;
    return 0;
}

int sweep_space_of(const struct sweep_row *s, struct sweep_space **out, struct err *e)
{
    json_t *config = json_loadb(s->config_json.p, s->config_json.n, 0, NULL);
    int rc = config ? sweep_space_new(config, out, e) : err_set(e, TARE_EINVAL, "the sweep's configuration is damaged");
    json_decref(config);
    return rc;
}

bool sweep_has_scheduler(const json_t *config)
{
    const char *engine = json_string_value(json_object_get(json_object_get(config, "scheduler"), "engine"));
    return engine && *engine;
}

bool sweep_row_has_scheduler(const struct sweep_row *s)
{
    json_t *config = json_loadb(s->config_json.p, s->config_json.n, 0, NULL);
    bool has = sweep_has_scheduler(config);
    json_decref(config);
    return has;
}

int64_t sweep_expected(const struct sweep_row *s)
{
    struct sweep_space *space = NULL;
    int64_t n = -1, cap;
    if (sweep_space_of(s, &space, NULL) < 0)
        return -1;
    n = sweep_space_size(space);
    cap = sweep_space_run_cap(space);
    sweep_space_free(space);
    return cap > 0 && (n < 0 || cap < n) ? cap : n;
}

/* ---- finding ---- */

void resolve_Project_sweep(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct sweep_row s;
    if (accessor_of(c, &e, &a))
        answer_found(c, load_sweep_named(&a, obj, gql_arg_str(c, "sweepName"), &s), &e, TYPE_Sweep, &s);
}

static int sweep_filter_get(void *ctx, struct str key, struct filter_value *out)
{
    const struct filter_ctx *f = ctx;
    const struct sweep_row *s = f->row;
    *out = (struct filter_value){.kind = FILTER_STRING};
    if (str_eqz(key, "name"))
        out->s = s->name;
    else if (str_eqz(key, "displayName") || str_eqz(key, "display_name"))
        out->s = s->display_name;
    else if (str_eqz(key, "state"))
        out->s = s->state;
    else if (str_eqz(key, "method"))
        out->s = s->method;
    else if (str_eqz(key, "description"))
        out->s = s->description;
    else if (str_eqz(key, "createdAt") || str_eqz(key, "created_at"))
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = s->created_us};
    else if (str_eqz(key, "updatedAt") || str_eqz(key, "updated_at"))
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = s->updated_us};
    else
        return TARE_EINVAL;
    if (out->kind == FILTER_STRING && !out->s.p)
        out->kind = FILTER_MISSING;
    return 0;
}

static int take_in_project(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    take_sweep(a, rows, to);
    ((struct sweep_row *)to)->project = of;
    return 0;
}

static const struct list_shape sweep_list = {TYPE_SweepConnection, TYPE_SweepEdge, TYPE_Sweep, sizeof(struct sweep_row),
                                             take_in_project};

void resolve_Project_sweeps(struct gql_call *c, const void *obj)
{
    const struct project_row *p = obj;
    answer_filtered_list(c, &sweep_list, p, sweep_filter_get, "-created_at",
                         SWEEP_SQL "project_id = $1 ORDER BY created_at DESC, id DESC", DB_ARGS(db_i(p->id)));
}

static void answer_count(struct gql_call *c, const char *sql, int64_t id)
{
    struct err e;
    struct accessor a;
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_get_int(a.db, &e, &n, sql, DB_ARGS(db_i(id)));
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_int(c, n);
}

void resolve_Project_totalSweeps(struct gql_call *c, const void *obj)
{
    answer_count(c, "SELECT COUNT(*) FROM sweeps WHERE project_id = $1 AND deleted_at IS NULL",
                 ((const struct project_row *)obj)->id);
}

/* ---- fields ---- */

FIELD_ID(Sweep, id, sweep_row, "Sweep", id)
FIELD_STR(Sweep, name, sweep_row, name)
FIELD_STR(Sweep, displayName, sweep_row, display_name)
FIELD_STR(Sweep, method, sweep_row, method)
FIELD_STR(Sweep, state, sweep_row, state)
FIELD_STR(Sweep, description, sweep_row, description)
FIELD_STR(Sweep, config, sweep_row, config)
FIELD_STR(Sweep, controller, sweep_row, controller)
FIELD_STR(Sweep, scheduler, sweep_row, scheduler)
FIELD_TIME(Sweep, createdAt, sweep_row, created_us)
FIELD_TIME(Sweep, updatedAt, sweep_row, updated_us)
FIELD_TIME(Sweep, heartbeatAt, sweep_row, heartbeat_us)
FIELD_CONST_BOOL(Sweep, earlyStopJobRunning, false)
FIELD_(Sweep, project, gql_object(c, TYPE_Project, ROW_(sweep_row)->project))
FIELD_(Sweep, user, answer_user_id(c, ROW_(sweep_row)->user_id))
FIELD_(Sweep, runCount, answer_count(c, "SELECT COUNT(*) FROM runs WHERE sweep_id = $1 AND deleted_at IS NULL",
                                     ROW_(sweep_row)->id))

void resolve_Sweep_controllerRunName(struct gql_call *c, const void *obj)
{
    const struct sweep_row *s = obj;
    if (sweep_row_has_scheduler(s))
        gql_strz(c, arena_printf(gql_arena(c), "%.*s-controller", STR_ARG(s->name)));
}

void resolve_Sweep_bestLoss(struct gql_call *c, const void *obj)
{
    const struct sweep_row *s = obj;
    if (s->has_best)
        gql_float(c, s->best_loss);
}

void resolve_Sweep_runCountExpected(struct gql_call *c, const void *obj)
{
    int64_t n = sweep_expected(obj);
    if (n >= 0)
        gql_int(c, n);
}

void resolve_Sweep_runs(struct gql_call *c, const void *obj)
{
    const struct sweep_row *s = obj;
    answer_run_list(c, &(struct run_scope){.project = s->project, .sweep_id = s->id});
}

/* The runs that the sweep was told to take along, by the names in its filter {"$or": [{"name": …}, …]}. */
void resolve_Sweep_priorRuns(struct gql_call *c, const void *obj)
{
    const struct sweep_row *s = obj;
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    json_t *filter = s->prior_filters.n ? json_loadb(s->prior_filters.p, s->prior_filters.n, 0, NULL) : NULL;
    json_t *item;
    size_t i;
    int rc = 0;
    json_array_foreach(json_object_get(filter, "$or"), i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        struct run_row r;
        if (name && rc == 0 && access_run(&a, s->project, str_of(name), 0, &r) == 0)
            rc = buf_append(&all, &r, sizeof r);
    }
    json_decref(filter);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        answer_page(c, TYPE_SweepPriorRunConnection, TYPE_SweepPriorRunEdge, TYPE_Run, all.data,
                    all.len / sizeof(struct run_row), sizeof(struct run_row));
}

/* ---- agents ---- */

#define AGENT_SQL "SELECT id, sweep_id, total_runs, created_at, heartbeat_at, name, host, state FROM agents WHERE "

static int take_agent(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct agent_row *)to = (struct agent_row){.id = db_int(rows, 0), .sweep_id = db_int(rows, 1), .total_runs = db_int(rows, 2),
                              .created_us = db_int(rows, 3), .heartbeat_us = db_int(rows, 4),
                              .name = access_keep(a, db_str(rows, 5)), .host = access_keep(a, db_str(rows, 6)),
                              .state = access_keep(a, db_str(rows, 7)), .sweep = of};
    return 0;
}

static const struct list_shape agent_list = {TYPE_AgentConnection, TYPE_AgentEdge, TYPE_Agent, sizeof(struct agent_row),
                                             take_agent};

int load_agent(const struct accessor *a, int64_t id, enum access need, struct agent_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct sweep_row *s = arena_calloc(a->arena, sizeof *s);
    int rc = db_first(a->db, a->e, &rows, AGENT_SQL "id = $1", DB_ARGS(db_i(id)));
    if (rc <= 0 || !s)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no such agent");
    take_agent(a, rows, s, out);
    return load_sweep(a, out->sweep_id, need, s);
}

/* `agentName` is the id or the name. */
void resolve_Sweep_agent(struct gql_call *c, const void *obj)
{
    const struct sweep_row *s = obj;
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    int64_t id = -1;
    struct str name = gql_arg_str(c, "agentName");
    if (!accessor_of(c, &e, &a))
        return;
    if (!id_parse(name, "Agent", &id))
        id = -1;
    int rc = db_first(a.db, &e, &rows, AGENT_SQL "sweep_id = $1 AND (id = $2 OR name = $3)",
                      DB_ARGS(db_i(s->id), db_i(id), db_s(name)));
    struct agent_row agent;
    rc = rc == 1 ? take_agent(&a, rows, s, &agent) : rc < 0 ? rc : TARE_ENOTFOUND;
    answer_found(c, rc, &e, TYPE_Agent, &agent);
}

void resolve_Sweep_agents(struct gql_call *c, const void *obj)
{
    answer_list(c, &agent_list, obj, AGENT_SQL "sweep_id = $1 ORDER BY id",
                DB_ARGS(db_i(((const struct sweep_row *)obj)->id)));
}

/* An agent that was not heard of for a minute (it speaks every five seconds) is gone. */
void resolve_Agent_state(struct gql_call *c, const void *obj)
{
    const struct agent_row *agent = obj;
    gql_str(c, now_us() - agent->heartbeat_us > 60 * 1000000 ? STR("CRASHED") : agent->state);
}

FIELD_ID(Agent, id, agent_row, "Agent", id)
FIELD_STR(Agent, name, agent_row, name)
FIELD_STR(Agent, host, agent_row, host)
FIELD_INT(Agent, totalRuns, agent_row, total_runs)
FIELD_TIME(Agent, createdAt, agent_row, created_us)
FIELD_TIME(Agent, heartbeatAt, agent_row, heartbeat_us)
FIELD_(Agent, sweep, gql_object(c, TYPE_Sweep, ROW_(agent_row)->sweep))

void resolve_Agent_runs(struct gql_call *c, const void *obj)
{
    const struct agent_row *agent = obj;
    answer_run_list(c, &(struct run_scope){.project = agent->sweep->project, .agent_id = agent->id});
}
