/* SPDX-License-Identifier: MIT */
/* Making and changing sweeps, agents signing on, and their heartbeats. */
#include "server/resolve/sweep_rows.h"

#include "base/json.h"
#include "base/random.h"
#include "server/sweep/yaml_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_CONFIG_BYTES = 1 << 20 };

struct change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t sweep_id, agent_id;
    const char *config_json; /* of a new configuration; NULL: none was given */
    const char *method;
    struct str display_name; /* the configuration's `name` */
    const char *warning;     /* NULL: none */
    struct buf commands;
    bool refused;            /* by the search method: commands stay empty */
};

/* ---- upsertSweep ---- */

/* A scheduler of its own decides what runs: the server need not be able to search. */
static bool is_searched_elsewhere(const struct change *k, const json_t *config)
{
    if (sweep_has_scheduler(config))
        return true;
    return gql_in_str(k->in, "launchScheduler").n > 2 && !json_object_size(json_object_get(config, "parameters"));
}

/* Read the YAML and see whether it can be searched. */
static int take_config(struct change *k, struct err *e)
{
    struct str yaml = gql_in_str(k->in, "config");
    struct sweep_space *space = NULL;
    if (!yaml.n)
        return 0;
    if (yaml.n > MAX_CONFIG_BYTES)
        return err_set(e, TARE_ELIMIT, "the sweep's configuration is larger than %d bytes", MAX_CONFIG_BYTES);
    json_t *config = yaml_to_json(yaml, e);
    int rc = !config ? e->code : is_searched_elsewhere(k, config) ? 0 : sweep_space_new(config, &space, e);
    if (rc < 0) {
        err_prefix(e, "sweep configuration: ");
        json_decref(config);
        return rc;
    }
    char *text = json_dumps(config, JSON_COMPACT | JSON_REAL_PRECISION(17));
    const char *method = json_string_value(json_object_get(config, "method"));
    const char *name = json_string_value(json_object_get(config, "name"));
    k->config_json = text ? arena_strdup(k->arena, text) : NULL;
    k->method = arena_strdup(k->arena, method ? method : "");
    if (name)
        k->display_name = str_of(arena_strdup(k->arena, name));
    if (space && !sweep_space_offered(space))
        k->warning = arena_printf(k->arena, "this server does not search by method '%s' yet: agents of this sweep "
                                            "get no runs; use grid or random", k->method);
    else if (space && json_object_get(config, "early_terminate"))
        k->warning = "early_terminate is not supported by this server yet: runs are not ended early";
    free(text);
    sweep_space_free(space);
    json_decref(config);
    return k->config_json && k->method ? 0 : err_set(e, TARE_ENOMEM, "out of memory");
}

static bool is_state(struct str s)
{
    static const char *const known[] = {"PENDING", "RUNNING", "PAUSED", "CANCELED", "FINISHED"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eqz(s, known[i]))
            return true;
    return false;
}

static int insert_sweep(const struct accessor *a, struct change *k)
{
    struct str entity = gql_in_str(k->in, "entityName"), project = gql_in_str(k->in, "projectName");
    struct project_row p;
    char name[9];
    int64_t id;
    uint32_t seed = random_u32();
    if (!k->config_json)
        return err_set(a->e, TARE_EINVAL, "a new sweep needs a configuration");
    entity = entity.n ? entity : (struct str){0};
    project = project.n ? project : STR("uncategorized");
    int rc = access_project(a, entity, project, ACCESS_WRITE, &p);
    if (rc == TARE_ENOTFOUND && (rc = project_make(a, entity, project, &id)) >= 0)
        rc = access_project_id(a, id, ACCESS_WRITE, &p);
    if (rc)
        return rc;
    random_id(name, 8);
    rc = db_get_int(a->db, a->e, &k->sweep_id,
                    "INSERT INTO sweeps (project_id, name, config, config_json, method, seed, user_id, created_at, "
                    "updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING id",
                    DB_ARGS(db_i(p.id), db_t(name), db_s(gql_in_str(k->in, "config")), db_t(k->config_json),
                            db_t(k->method), db_i((int64_t)seed), db_i(k->user->id), db_i(now_us())));
    struct str launch = gql_in_str(k->in, "launchScheduler");
    if (rc >= 0 && launch.n)
        rc = launch_sweep_scheduler(a, &p, launch, str_of(name), gql_in_str(k->in, "templateVariableValues"));
    return rc < 0 ? rc : 0;
}

static int upsert_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct str state = gql_in_str(k->in, "state"), id = gql_in_str(k->in, "id");
    struct str display = gql_in_str(k->in, "displayName");
    int rc = take_config(k, e);
    if (rc == 0 && state.n && !is_state(state))
        rc = err_set(e, TARE_EINVAL, "'%.*s' is no state of a sweep", STR_ARG(state));
    if (rc == 0 && id.n) {
        struct sweep_row s;
        if (!id_parse(id, "Sweep", &k->sweep_id))
            return err_set(e, TARE_ENOTFOUND, "there is no such sweep");
        rc = load_sweep(&a, k->sweep_id, ACCESS_WRITE, &s);
    } else if (rc == 0) {
        rc = insert_sweep(&a, k);
    }
    if (rc)
        return rc;
    rc = db_exec(db, e,
                 "UPDATE sweeps SET config = COALESCE($2, config), config_json = COALESCE($3, config_json), "
                 "method = COALESCE($4, method), state = COALESCE($5, state), description = COALESCE($6, description), "
                 "display_name = COALESCE($7, display_name), controller = COALESCE($8, controller), "
                 "scheduler = COALESCE($9, scheduler), prior_filters = COALESCE($10, prior_filters), "
                 "template_values = COALESCE($11, template_values), updated_at = $12 WHERE id = $1",
                 DB_ARGS(db_i(k->sweep_id), k->config_json ? db_s(gql_in_str(k->in, "config")) : db_n(),
                         db_t(k->config_json), db_t(k->method), state.n ? db_s(state) : db_n(),
                         db_s(gql_in_str(k->in, "description")), display.p ? db_s(display) : db_s(k->display_name),
                         db_s(gql_in_str(k->in, "controller")), db_s(gql_in_str(k->in, "scheduler")),
                         db_s(gql_in_str(k->in, "priorRunsFilters")), db_s(gql_in_str(k->in, "templateVariableValues")),
                         db_i(now_us())));
    return rc < 0 ? rc : 0;
}

void resolve_Mutation_upsertSweep(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct change k = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, upsert_job, &k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_UpsertSweepPayload, &k);
}

void resolve_UpsertSweepPayload_sweep(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct sweep_row s;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_sweep(&a, ((const struct change *)obj)->sweep_id, ACCESS_READ, &s);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_Sweep, &s);
}

void resolve_UpsertSweepPayload_configValidationWarnings(struct gql_call *c, const void *obj)
{
    const struct change *k = obj;
    gql_list_begin(c);
    if (k->warning)
        gql_strz(c, k->warning);
    gql_list_end(c);
}

FIELD_NULL(UpsertSweepPayload, clientMutationId)

/* ---- agents ---- */

static int agent_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct str entity = gql_in_str(k->in, "entityName"), project = gql_in_str(k->in, "projectName");
    struct project_row p;
    struct sweep_row s;
    char name[9];
    int rc = access_project(&a, entity.n ? entity : (struct str){0}, project.n ? project : STR("uncategorized"),
                            ACCESS_WRITE, &p);
    if (rc == 0)
        rc = load_sweep_named(&a, &p, gql_in_str(k->in, "sweep"), &s);
    if (rc)
        return rc;
    random_id(name, 8);
    rc = db_get_int(db, e, &k->agent_id,
                    "INSERT INTO agents (sweep_id, name, host, created_at, heartbeat_at) VALUES ($1, $2, $3, $4, $4) "
                    "RETURNING id",
                    DB_ARGS(db_i(s.id), db_t(name), db_s(gql_in_str(k->in, "host").p ? gql_in_str(k->in, "host") : STR("")),
                            db_i(now_us())));
    if (rc >= 0)
        rc = db_exec(db, e, "UPDATE sweeps SET state = 'RUNNING', heartbeat_at = $2 WHERE id = $1 AND state = 'PENDING'",
                     DB_ARGS(db_i(s.id), db_i(now_us())));
    return rc < 0 ? rc : 0;
}

static void answer_agent(struct gql_call *c, int64_t id)
{
    struct err e;
    struct accessor a;
    struct agent_row agent;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_agent(&a, id, ACCESS_READ, &agent);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_Agent, &agent);
}

void resolve_Mutation_createAgent(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct change k = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, agent_job, &k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_CreateAgentPayload, &k);
}

FIELD_(CreateAgentPayload, agent, answer_agent(c, ROW_(change)->agent_id))

/* ---- heartbeats ---- */

static int heartbeat_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct agent_row agent;
    int64_t now = now_us();
    buf_clear(&k->commands);
    if (!gql_in_id(k->in, "id", "Agent", &k->agent_id))
        return err_set(e, TARE_ENOTFOUND, "there is no such agent");
    int rc = load_agent(&a, k->agent_id, ACCESS_WRITE, &agent);
    if (rc == 0)
        rc = db_exec(db, e, "UPDATE agents SET heartbeat_at = $2, metrics = $3, run_state = $4 WHERE id = $1",
                     DB_ARGS(db_i(agent.id), db_i(now), db_s(gql_in_str(k->in, "metrics")),
                             db_s(gql_in_str(k->in, "runState"))));
    if (rc >= 0)
        rc = db_exec(db, e, "UPDATE sweeps SET heartbeat_at = $2 WHERE id = $1", DB_ARGS(db_i(agent.sweep_id), db_i(now)));
    return rc < 0 ? rc : sweep_schedule(&a, &agent, gql_in_str(k->in, "runState"), now, &k->commands);
}

void resolve_Mutation_agentHeartbeat(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct change k = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, heartbeat_job, &k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_AgentHeartbeatPayload, &k);
    buf_fini(&k.commands);
}

FIELD_(AgentHeartbeatPayload, agent, answer_agent(c, ROW_(change)->agent_id))
FIELD_(AgentHeartbeatPayload, commands, gql_str(c, buf_str(&ROW_(change)->commands)))
