/* SPDX-License-Identifier: MIT */
/* What an agent is told at its heartbeat.
 *
 * An agent says which runs it holds. It is told one thing at a time, because in-process agents look at the
 * first command only:
 *
 *   1. a run of its own that someone asked to stop, or the sweep was canceled: stop that run;
 *   2. it holds a run: nothing;
 *   3. the sweep is paused: nothing; canceled or finished: exit;
 *   4. a run that waits: enqueued, or given to an agent which has died before it began: that run;
 *   5. a scheduler elsewhere enqueues the runs: nothing for now;
 *      a local controller decides: the next run on its schedule, if there is one;
 *   6. the next point of the search, unless the cap is reached;
 *   7. nothing is left: the sweep is finished once none of its runs goes on; exit.
 *
 * A run is made (state pending) in the same transaction in which it is given out, so its name and its point
 * are never given out twice. */
#include "server/resolve/sweep_rows.h"

#include "base/json.h"
#include "base/random.h"

#include <stdlib.h>

static const int64_t agent_dead_us = 120 * 1000000ll;
/* An agent that was given a run so long ago, holds none, and whose program never told of it: it did not start. */
static const int64_t not_begun_us = 60 * 1000000ll;

struct schedule {
    const struct accessor *a;
    struct agent_row *agent;
    const struct sweep_row *sweep;
    struct buf *commands;
    int64_t now;
};

static int put_simple(struct schedule *k, const char *type, struct str run)
{
    buf_printf(k->commands, "[{\"type\":\"%s\"", type);
    if (run.p) {
        buf_puts(k->commands, ",\"run_id\":");
        json_put_string(k->commands, run);
    }
    return buf_puts(k->commands, "}]");
}

/* A member of the sweep's configuration as JSON, "null" if there is none. */
static void put_config_member(struct schedule *k, const char *name)
{
    json_t *config = json_loadb(k->sweep->config_json.p, k->sweep->config_json.n, 0, NULL);
    json_t *v = json_object_get(config, name);
    char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    buf_puts(k->commands, text ? text : "null");
    free(text);
    json_decref(config);
}

static int put_run(struct schedule *k, int64_t run_id, struct str name, struct str args)
{
    char id[ID_TEXT];
    id_make(id, "Run", run_id);
    buf_puts(k->commands, "[{\"type\":\"run\",\"run_id\":");
    json_put_string(k->commands, name);
    buf_puts(k->commands, ",\"args\":");
    buf_put_str(k->commands, args);
    buf_printf(k->commands, ",\"run_storage_id\":\"%s\",\"program\":", id);
    put_config_member(k, "program");
    return buf_puts(k->commands, ",\"logs\":[]}]");
}

/* ---- 1. stops ---- */

/* The first run that the agent holds and that shall stop. 1 and a command, or 0. */
static int stop_one(struct schedule *k, json_t *held)
{
    bool canceled = str_eqz(k->sweep->state, "CANCELED");
    const char *name;
    json_t *holds;
    json_object_foreach(held, name, holds) {
        int64_t stop = 0;
        if (!json_is_true(holds))
            continue;
        int rc = db_get_int(k->a->db, k->a->e, &stop,
                            "SELECT stop_requested FROM runs WHERE sweep_id = $1 AND name = $2",
                            DB_ARGS(db_i(k->sweep->id), db_t(name)));
        if (rc < 0)
            return rc;
        if (stop || canceled)
            return put_simple(k, "stop", str_of(name)) < 0 ? TARE_ENOMEM : 1;
    }
    return 0;
}

static bool holds_any(json_t *held)
{
    const char *name;
    json_t *holds;
    json_object_foreach(held, name, holds) if (json_is_true(holds)) return true;
    return false;
}

/* Whoever waits for such a run would wait for ever. */
static int fail_not_begun(struct schedule *k)
{
    int rc = db_exec(k->a->db, k->a->e,
                     "UPDATE runs SET state = 'failed', updated_at = $2 WHERE agent_id = $1 AND state = 'pending' "
                     "AND heartbeat_at < $3", DB_ARGS(db_i(k->agent->id), db_i(k->now), db_i(k->now - not_begun_us)));
    return rc < 0 ? rc : 0;
}

/* ---- 4. and 6. runs ---- */

static int count_run(struct schedule *k)
{
    int rc = db_exec(k->a->db, k->a->e, "UPDATE agents SET total_runs = total_runs + 1 WHERE id = $1",
                     DB_ARGS(db_i(k->agent->id)));
    return rc < 0 ? rc : 0;
}

int sweep_make_run(const struct accessor *a, const struct sweep_row *s, int64_t agent_id, struct str display,
                   struct str args, int64_t now_us, char name[9], int64_t *id)
{
    int64_t nth = 0;
    random_id(name, 8);
    int rc = db_get_int(a->db, a->e, &nth, "SELECT COUNT(*) + 1 FROM runs WHERE sweep_id = $1", DB_ARGS(db_i(s->id)));
    const char *counted = arena_printf(a->arena, "sweep-run-%lld", (long long)nth);
    if (rc >= 0)
        rc = db_get_int(a->db, a->e, id,
                        "INSERT INTO runs (project_id, name, display_name, state, user_id, sweep_id, agent_id, config, "
                        "created_at, updated_at, heartbeat_at) VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $8, $8) "
                        "RETURNING id",
                        DB_ARGS(db_i(s->project->id), db_t(name), display.n ? db_s(display) : db_t(counted),
                                db_i(a->user->id), db_i(s->id), db_i_if(agent_id != 0, agent_id), db_s(args), db_i(now_us)));
    return rc < 0 ? rc : 0;
}

static int make_run(struct schedule *k, struct str args)
{
    char name[9];
    int64_t id;
    int rc = sweep_make_run(k->a, k->sweep, k->agent->id, (struct str){0}, args, k->now, name, &id);
    if (rc == 0)
        rc = count_run(k);
    return rc < 0 ? rc : put_run(k, id, str_of(name), args);
}

/* A run that waits for an agent, or that a dead one never began. 1 and a command, or 0. */
static int take_over(struct schedule *k)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(k->a->db, k->a->e, &rows,
                      "SELECT r.id, r.name, r.config FROM runs r LEFT JOIN agents g ON g.id = r.agent_id "
                      "WHERE r.sweep_id = $1 AND r.state = 'pending' AND r.deleted_at IS NULL "
                      "AND (r.agent_id IS NULL OR (g.id <> $2 AND g.heartbeat_at < $3)) ORDER BY r.id LIMIT 1",
                      DB_ARGS(db_i(k->sweep->id), db_i(k->agent->id), db_i(k->now - agent_dead_us)));
    if (rc <= 0)
        return rc;
    rc = put_run(k, db_int(rows, 0), db_str(rows, 1), db_str(rows, 2));
    if (rc >= 0)
        rc = db_exec(k->a->db, k->a->e, "UPDATE runs SET agent_id = $2, heartbeat_at = $3 WHERE id = $1",
                     DB_ARGS(db_i(db_int(rows, 0)), db_i(k->agent->id), db_i(k->now)));
    if (rc >= 0)
        rc = count_run(k);
    return rc < 0 ? rc : 1;
}

static int set_state(struct schedule *k, const char *state)
{
    int rc = db_exec(k->a->db, k->a->e, "UPDATE sweeps SET state = $2, updated_at = $3 WHERE id = $1",
                     DB_ARGS(db_i(k->sweep->id), db_t(state), db_i(k->now)));
    return rc < 0 ? rc : 0;
}

/* Nothing is left to give out. */
static int end_of_search(struct schedule *k)
{
    int64_t going_on = 0;
    int rc = db_get_int(k->a->db, k->a->e, &going_on,
                        "SELECT COUNT(*) FROM runs WHERE sweep_id = $1 AND deleted_at IS NULL "
                        "AND state IN ('running', 'pending', 'preempting')",
                        DB_ARGS(db_i(k->sweep->id)));
    if (rc >= 0 && !going_on)
        rc = set_state(k, "FINISHED");
    return rc < 0 ? rc : put_simple(k, "exit", (struct str){0});
}

static int next_point(struct schedule *k)
{
    struct sweep_space *space = NULL;
    AUTO_BUF args = {0};
    int64_t made = 0;
    int rc = sweep_space_of(k->sweep, &space, k->a->e);
    if (rc == 0)
        rc = db_get_int(k->a->db, k->a->e, &made, "SELECT COUNT(*) FROM runs WHERE sweep_id = $1 AND agent_id IS NOT NULL",
                        DB_ARGS(db_i(k->sweep->id)));
    bool capped = rc >= 0 && sweep_space_run_cap(space) > 0 && made >= sweep_space_run_cap(space);
    if (rc >= 0)
        rc = capped ? TARE_ENOTFOUND : sweep_space_point(space, k->sweep->cursor, (uint64_t)k->sweep->seed, &args);
    sweep_space_free(space);
    if (rc == TARE_ENOTFOUND)
        return end_of_search(k);
    if (rc == TARE_EUNSUPPORTED)
        return err_set(k->a->e, rc, "this server does not search by method '%.*s' yet: use grid or random",
                       STR_ARG(k->sweep->method));
    if (rc >= 0)
        rc = db_exec(k->a->db, k->a->e, "UPDATE sweeps SET cursor = cursor + 1 WHERE id = $1", DB_ARGS(db_i(k->sweep->id)));
    return rc < 0 ? rc : make_run(k, buf_str(&args));
}

/* ---- 5. others decide ---- */

/* Is the id on the list of what was scheduled already? */
static bool is_scheduled(json_t *scheduler, const char *id)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(scheduler, "scheduled"), i, item) {
        const char *have = json_string_value(json_object_get(item, "id"));
        if (have && strcmp(have, id) == 0)
            return true;
    }
    return false;
}

/* Take what the controller put on its schedule, and say in `scheduler` which run it became.
 * controller {"type": "local", "schedule": [{"id": …, "data": {"args": {…} or null}}]}
 * scheduler  {"scheduled": [{"id": …, "runid": …}]}
 * Source: the peer's wandb/wandb_controller.py. */
static int follow_controller(struct schedule *k, json_t *controller, json_t *scheduler)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(controller, "schedule"), i, item) {
        const char *id = json_string_value(json_object_get(item, "id"));
        json_t *args = json_object_get(json_object_get(item, "data"), "args");
        if (!id || is_scheduled(scheduler, id))
            continue;
        bool last = !json_is_object(args); /* no more runs will come */
        char *text = last ? NULL : json_dumps(args, JSON_COMPACT | JSON_REAL_PRECISION(17));
        int rc = last ? end_of_search(k) : text ? make_run(k, str_of(text)) : TARE_ENOMEM;
        free(text);
        json_t *list = json_object_get(scheduler, "scheduled");
        if (!list) {
            list = json_array();
            json_object_set_new(scheduler, "scheduled", list);
        }
        const char *start = rc == 0 && !last ? strstr(buf_z(k->commands), "\"run_id\":\"") : NULL;
        json_array_append_new(list, json_pack("{s:s, s:s#}", "id", id, "runid", start ? start + 10 : "", start ? 8 : 0));
        char *whole = json_dumps(scheduler, JSON_COMPACT);
        if (rc == 0)
            rc = db_exec(k->a->db, k->a->e, "UPDATE sweeps SET scheduler = $2 WHERE id = $1",
                         DB_ARGS(db_i(k->sweep->id), db_t(whole)));
        free(whole);
        return rc < 0 ? rc : 0;
    }
    return buf_puts(k->commands, "[]");
}

static int next_run(struct schedule *k)
{
    json_t *controller = k->sweep->controller.n
                             ? json_loadb(k->sweep->controller.p, k->sweep->controller.n, 0, NULL) : NULL;
    const char *type = json_string_value(json_object_get(controller, "type"));
    json_t *config = json_loadb(k->sweep->config_json.p, k->sweep->config_json.n, 0, NULL);
    const char *wanted = json_string_value(json_object_get(json_object_get(config, "controller"), "type"));
    int rc;
    if ((type && strcmp(type, "local") == 0) || (wanted && strcmp(wanted, "local") == 0)) {
        json_t *scheduler = k->sweep->scheduler.n
                                ? json_loadb(k->sweep->scheduler.p, k->sweep->scheduler.n, 0, NULL) : NULL;
        if (!json_is_object(scheduler)) {
            json_decref(scheduler);
            scheduler = json_object();
        }
        rc = follow_controller(k, controller, scheduler);
        json_decref(scheduler);
    } else if (sweep_has_scheduler(config)) {
        rc = buf_puts(k->commands, "[]");
    } else {
        rc = next_point(k);
    }
    json_decref(config);
    json_decref(controller);
    return rc;
}

int sweep_schedule(const struct accessor *a, struct agent_row *agent, struct str run_state, int64_t now_us,
                   struct buf *commands)
{
    struct schedule k = {a, agent, agent->sweep, commands, now_us};
    json_t *held = run_state.n ? json_loadb(run_state.p, run_state.n, 0, NULL) : NULL;
    struct str state = k.sweep->state;
    int rc = stop_one(&k, held);
    bool busy = holds_any(held);
    json_decref(held);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!busy && (rc = fail_not_begun(&k)) < 0)
        return rc;
    if (busy || str_eqz(state, "PAUSED"))
        return buf_puts(commands, "[]");
    if (str_eqz(state, "CANCELED") || str_eqz(state, "FINISHED"))
        return put_simple(&k, "exit", (struct str){0});
    if (str_eqz(state, "PENDING") && (rc = set_state(&k, "RUNNING")) < 0)
        return rc;
    rc = take_over(&k);
    return rc != 0 ? (rc < 0 ? rc : 0) : next_run(&k);
}
