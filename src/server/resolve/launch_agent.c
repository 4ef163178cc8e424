/* SPDX-License-Identifier: MIT */
/* Launch agents: who polls run queues, and how it is. */
#include "base/json.h"
#include "server/resolve/fields.h"

struct agent_row {
    int64_t id, project_id, heartbeat_us;
    struct str queues, hostname, status;
};

struct agent_change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t id;
};

static bool change(struct gql_call *c, struct agent_change *k, db_job_fn job)
{
    struct request *q = request_of(c);
    *k = (struct agent_change){.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    return write_job(c, job, k);
}

static int load_agent(const struct accessor *a, int64_t id, enum access need, struct agent_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct project_row p;
    int rc = db_first(a->db, a->e, &rows,
                      "SELECT project_id, heartbeat_at, queues, hostname, status FROM launch_agents WHERE id = $1",
                      DB_ARGS(db_i(id)));
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(a->e, TARE_ENOTFOUND, "launch agent not found");
    *out = (struct agent_row){id, db_int(rows, 0), db_int(rows, 1), access_keep(a, db_str(rows, 2)),
                              access_keep(a, db_str(rows, 3)), access_keep(a, db_str(rows, 4))};
    return access_project_id(a, out->project_id, need, &p);
}

void resolve_Query_launchAgent(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct agent_row agent;
    int64_t id;
    if (gql_arg_id(c, "id", "LaunchAgent", &id) && accessor_of(c, &e, &a))
        answer_found(c, load_agent(&a, id, ACCESS_READ, &agent), &e, TYPE_LaunchAgent, &agent);
}

FIELD_ID(LaunchAgent, id, agent_row, "LaunchAgent", id)
FIELD_STR(LaunchAgent, name, agent_row, hostname)
FIELD_STR(LaunchAgent, hostname, agent_row, hostname)
FIELD_STR(LaunchAgent, agentStatus, agent_row, status)
FIELD_(LaunchAgent, runQueues, gql_json(c, ROW_(agent_row)->queues))
FIELD_CONST_BOOL(LaunchAgent, stopPolling, false)
FIELD_TIME(LaunchAgent, heartbeatAt, agent_row, heartbeat_us)

static int create_job(struct db_conn *db, void *arg, struct err *e)
{
    struct agent_change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct project_row p;
    AUTO_BUF queues = {0};
    int rc = access_project(&a, gql_in_str(k->in, "entityName"), gql_in_str(k->in, "projectName"), ACCESS_WRITE, &p);
    if (rc)
        return rc;
    gql_value_json(gql_in(k->in, "runQueues"), &queues);
    return db_get_int(db, e, &k->id,
                      "INSERT INTO launch_agents (project_id, queues, hostname, config, version, user_id, created_at,"
                      " heartbeat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id",
                      DB_ARGS(db_i(p.id), db_s(buf_str(&queues)), db_s(gql_in_str(k->in, "hostname")),
                              db_s(gql_in_str(k->in, "agentConfig")), db_s(gql_in_str(k->in, "version")),
                              db_i(k->user->id), db_i(now_us())));
}

void resolve_Mutation_createLaunchAgent(struct gql_call *c, const void *obj)
{
    struct agent_change k;
    if (change(c, &k, create_job))
        gql_object(c, TYPE_CreateLaunchAgentPayload, &k);
}

FIELD_ID(CreateLaunchAgentPayload, launchAgentId, agent_change, "LaunchAgent", id)
FIELD_CONST_BOOL(CreateLaunchAgentPayload, success, true)

static int update_job(struct db_conn *db, void *arg, struct err *e)
{
    struct agent_change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct agent_row agent;
    int rc = gql_in_id(k->in, "launchAgentId", "LaunchAgent", &k->id)
                 ? load_agent(&a, k->id, ACCESS_WRITE, &agent)
                 : err_set(e, TARE_ENOTFOUND, "launch agent not found");
    return rc ? rc
              : db_exec(db, e, "UPDATE launch_agents SET status = COALESCE($2, status), heartbeat_at = $3 WHERE id = $1",
                        DB_ARGS(db_i(k->id), db_s(gql_in_str(k->in, "agentStatus")), db_i(now_us())));
}

void resolve_Mutation_updateLaunchAgent(struct gql_call *c, const void *obj)
{
    struct agent_change k;
    if (change(c, &k, update_job))
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}
