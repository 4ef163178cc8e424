/* SPDX-License-Identifier: MIT */
/* upsertBucket: a run comes to be, goes on, or is changed.
 *
 * One mutation serves many callers. With `id` a run is named by what we gave out; without, by its
 * name in a project, which is made if need be. What is null stays as it is. A call that has a name
 * comes from a running program: the run is then running and its heart beats; one with only the id
 * comes from someone who edits. */
#include "base/json.h"
#include "base/random.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_rows.h"
#include "server/store/history.h"
#include "server/store/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct upsert {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    const char *tags; /* JSON; NULL: leave */
    struct run_row run;
    bool inserted;
    bool is_shared; /* by a client that shares the run with others */
};

static const char *const adjectives[] = {
    "amber", "bold",  "brisk", "calm",  "clear", "cosy",  "crisp", "daring", "deep",  "dusky", "eager",
    "early", "fair",  "fleet", "fresh", "gentle", "glad",  "golden", "green", "happy", "hazel", "humble",
    "ivory", "jolly", "keen",  "light", "lively", "lunar", "mellow", "merry", "misty", "noble", "olive",
    "pale",  "proud", "quiet", "rapid", "royal", "rosy",  "scarlet", "silent", "silver", "snowy", "solar",
    "sunny", "swift", "tidy",  "vivid", "warm",  "wise",
};
static const char *const nouns[] = {
    "acorn", "badger", "beacon", "birch",  "brook",  "canyon", "cedar",  "cloud",  "comet", "coral", "crane",
    "dawn",  "delta",  "dune",   "ember",  "falcon", "fern",   "field",  "fjord",  "forest", "fox",  "glade",
    "grove", "harbor", "hawk",   "heron",  "hill",   "island", "lagoon", "lake",   "lark",  "leaf",  "lynx",
    "maple", "meadow", "moon",   "moss",   "oak",    "orchid", "otter",  "pebble", "pine",  "reef",  "ridge",
    "river", "robin",  "stone",  "valley", "wave",   "willow",
};

/* A name for people: adjective-noun-number of the run in its project. */
static int make_display_name(const struct accessor *a, int64_t project, char *to, size_t size)
{
    int64_t n = 0;
    int rc = db_get_int(a->db, a->e, &n, "SELECT count(*) FROM runs WHERE project_id = $1", DB_ARGS(db_i(project)));
    uint32_t r = random_u32();
    snprintf(to, size, "%s-%s-%lld", adjectives[r % (sizeof adjectives / sizeof *adjectives)],
             nouns[(r >> 12) % (sizeof nouns / sizeof *nouns)], (long long)n + 1);
    return rc < 0 ? rc : 0;
}

static bool is_state(struct str s)
{
    static const char *const known[] = {"running", "finished", "failed", "crashed", "killed",
                                        "pending", "preempting", "preempted"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eqz(s, known[i]))
            return true;
    return false;
}

static int insert_run(const struct accessor *a, struct upsert *u, int64_t project, struct str name)
{
    char display[96], made[9];
    struct str given = gql_in_str(u->in, "displayName");
    int64_t id = 0;
    int rc = make_display_name(a, project, display, sizeof display);
    if (rc)
        return rc;
    if (!name.n) {
        random_id(made, 8);
        name = str_of(made);
    }
    rc = db_get_int(a->db, a->e, &id,
                    "INSERT INTO runs (project_id, name, display_name, user_id, created_at, updated_at, heartbeat_at,"
                    " started_at) VALUES ($1, $2, $3, $4, $5, $5, $5, $5) RETURNING id",
                    DB_ARGS(db_i(project), db_s(name), given.n ? db_s(given) : db_t(display), db_i(a->user->id),
                            db_i(now_us())));
    u->inserted = rc >= 0;
    return rc < 0 ? rc : access_run_id(a, id, ACCESS_WRITE, 0, &u->run);
}

static int find_or_make(const struct accessor *a, struct upsert *u)
{
    struct str id_text = gql_in_str(u->in, "id"), name = gql_in_str(u->in, "name");
    struct str entity = gql_in_str(u->in, "entityName"), project = gql_in_str(u->in, "modelName");
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    int64_t id = 0;
    if (id_text.n && id_parse(id_text, "Run", &id))
        return access_run_id(a, id, ACCESS_WRITE, 0, &u->run);
    if (id_text.n && !name.n)
        return err_set(a->e, TARE_ENOTFOUND, "run not found");
    if (name.p && !project_name_ok(name)) /* a run's name is a part of URLs as well */
        return err_set(a->e, TARE_EINVAL, "invalid run name");
    if (!project.n)
        project = STR("uncategorized");
    if (!project_name_ok(project))
        return err_set(a->e, TARE_EINVAL, "invalid project name");
    if (!entity.n)
        entity = (struct str){0};
    int rc = access_project(a, entity, project, ACCESS_WRITE, p);
    if (rc == TARE_ENOTFOUND) {
        rc = project_make(a, entity, project, &id);
        if (rc >= 0)
            rc = access_project_id(a, id, ACCESS_WRITE, p);
    }
    if (rc)
        return rc;
    rc = name.n ? access_run(a, p, name, 0, &u->run) : TARE_ENOTFOUND;
    return rc == TARE_ENOTFOUND ? insert_run(a, u, p->id, name) : rc;
}

/* {NULL, 0} unless it is one JSON object (NaN and infinities allowed). */
static int check_json(const struct accessor *a, struct str s, const char *what)
{
    const char *p = s.p ? json_skip_space(s.p, s.p + s.n) : NULL;
    if (!p || (p < s.p + s.n && *p == '{' && json_valid(s)))
        return 0;
    return err_set(a->e, TARE_EINVAL, "%s is not a JSON object", what);
}

static int sweep_id(const struct accessor *a, struct upsert *u, struct db_value *out)
{
    struct str name = gql_in_str(u->in, "sweep");
    int64_t id = 0;
    *out = db_n();
    if (!name.n)
        return 0;
    int rc = db_get_int(a->db, a->e, &id,
                        "SELECT id FROM sweeps WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL",
                        DB_ARGS(db_i(u->run.project_id), db_s(name)));
    if (rc > 0)
        *out = db_i(id);
    return rc < 0 ? rc : 0;
}

/* config._wandb.value.branch_point of another run: where this one was forked from. Its history up to
 * there is copied; the count of lines in the answer tells the client where to go on. Without that run there is nothing
 * to go on from: the new one is not made, and the client's user is told. */
static int note_fork(const struct accessor *a, struct upsert *u)
{
    struct str config = gql_in_str(u->in, "config"), v, run;
    char *end;
    if (!u->inserted || !json_find(config, "_wandb", &v) || !json_find(v, "value", &v) ||
        !json_find(v, "branch_point", &v) || !json_find(v, "run_id", &run) || run.n < 3)
        return 0;
    run = str_make(run.p + 1, run.n - 2);
    if (str_eq(run, u->run.name) || !json_find(v, "step", &v))
        return 0;
    int64_t step = strtoll(v.p, &end, 10), parent = 0, lines = 0;
    int rc = db_get_int(a->db, a->e, &parent, "SELECT id FROM runs WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL",
                        DB_ARGS(db_i(u->run.project_id), db_s(run)));
    if (rc == 0)
        return err_set(a->e, TARE_ENOTFOUND, "cannot fork from run %.*s: this project has no such run", STR_ARG(run));
    if (rc < 0)
        return rc;
    rc = db_exec(a->db, a->e, "UPDATE runs SET parent_run_id = $2, parent_step = $3 WHERE id = $1",
                 DB_ARGS(db_i(u->run.id), db_i(parent), db_i(step)));
    return rc < 0 ? rc : history_copy(a->db, parent, u->run.id, step, &lines, a->e);
}

/* The configuration to be stored, {NULL, 0} to leave it: of clients that share a run each knows only its own part. */
static int take_config(const struct accessor *a, struct upsert *u, struct str *config)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF all = {0};
    *config = gql_in_str(u->in, "config");
    int rc = check_json(a, *config, "config");
    if (rc || !config->p || !u->is_shared || u->inserted)
        return rc;
    rc = db_first(a->db, a->e, &rows, "SELECT config FROM runs WHERE id = $1", DB_ARGS(db_i(u->run.id)));
    if (rc < 0)
        return rc;
    rc = shared_merge(rc == 1 ? db_str(rows, 0) : (struct str){0}, *config, &all);
    if (rc)
        return err_set(a->e, rc, "config: %s", err_text(rc));
    *config = access_keep(a, buf_str(&all));
    return config->p ? 0 : err_set(a->e, TARE_ENOMEM, "out of memory");
}

static int change(const struct accessor *a, struct upsert *u)
{
    struct str config, state = gql_in_str(u->in, "state"), display = gql_in_str(u->in, "displayName");
    bool alive = gql_in_str(u->in, "name").n > 0;
    const struct gql_value *debug = gql_in(u->in, "debug");
    struct db_value sweep;
    if (state.n && !is_state(state))
        return err_set(a->e, TARE_EINVAL, "unknown run state: %.*s", STR_ARG(state));
    if (!state.n)
        state = alive ? STR("running") : (struct str){0};
    int rc = sweep_id(a, u, &sweep);
    if (rc || (rc = take_config(a, u, &config)) ||
        (rc = check_json(a, gql_in_str(u->in, "summaryMetrics"), "summaryMetrics")))
        return rc;
    rc = db_exec(a->db, a->e,
                 "UPDATE runs SET display_name = COALESCE($2, display_name), state = COALESCE($3, state),"
                 " group_name = COALESCE($4, group_name), job_type = COALESCE($5, job_type),"
                 " description = COALESCE($6, description), notes = COALESCE($7, notes), tags = COALESCE($8, tags),"
                 " config = COALESCE($9, config), summary = COALESCE($10, summary), host = COALESCE($11, host),"
                 " program = COALESCE($12, program), repo = COALESCE($13, repo),"
                 " git_commit = COALESCE($14, git_commit), sweep_id = COALESCE($15, sweep_id),"
                 " debug = COALESCE($16, debug), updated_at = $17,"
                 " heartbeat_at = CASE WHEN $18 = 1 THEN $17 ELSE heartbeat_at END,"
                 " stop_requested = CASE WHEN $18 = 1 AND state <> 'running' THEN 0 ELSE stop_requested END,"
                 " exitcode = CASE WHEN $18 = 1 THEN NULL ELSE exitcode END"
                 " WHERE id = $1",
                 DB_ARGS(db_i(u->run.id), display.n ? db_s(display) : db_n(), state.n ? db_s(state) : db_n(),
                         db_s(gql_in_str(u->in, "groupName")), db_s(gql_in_str(u->in, "jobType")),
                         db_s(gql_in_str(u->in, "description")), db_s(gql_in_str(u->in, "notes")), db_t(u->tags),
                         db_s(config), db_s(gql_in_str(u->in, "summaryMetrics")),
                         db_s(gql_in_str(u->in, "host")), db_s(gql_in_str(u->in, "jobProgram")),
                         db_s(gql_in_str(u->in, "jobRepo")), db_s(gql_in_str(u->in, "commit")), sweep,
                         db_i_if(debug && debug->kind == GQL_BOOL, debug && debug->b), db_i(now_us()),
                         db_i(alive)));
    return rc < 0 ? rc : 0;
}

static int upsert_job(struct db_conn *db, void *arg, struct err *e)
{
    struct upsert *u = arg;
    const struct accessor a = {db, u->user, u->arena, e};
    u->inserted = false;
    int rc = find_or_make(&a, u);
    if (!rc)
        rc = change(&a, u);
    return rc ? rc : note_fork(&a, u);
}

void resolve_Mutation_upsertBucket(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct accessor a;
    struct upsert u = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    const char *shared = http_header(q->http, "X-WANDB-USE-ASYNC-FILESTREAM");
    const struct gql_value *tags = gql_in(u.in, "tags");
    AUTO_BUF text = {0};
    if (tags && tags->kind == GQL_LIST) {
        gql_value_json(tags, &text);
        u.tags = buf_z(&text);
    }
    u.is_shared = shared && strcasecmp(shared, "true") == 0;
    int rc = request_write(q, upsert_job, &u, &e);
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    rc = access_run_id(&a, u.run.id, ACCESS_READ, run_columns_wanted(c, "bucket."), &u.run);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_UpsertBucketPayload, &u);
}

FIELD_(UpsertBucketPayload, bucket, gql_object(c, TYPE_Run, &ROW_(upsert)->run))
FIELD_BOOL(UpsertBucketPayload, inserted, upsert, inserted)
FIELD_NULL(UpsertBucketPayload, clientMutationId)
