/* SPDX-License-Identifier: MIT */
/* Small mutations of runs: delete, state, stop, alert. */
#include "base/json.h"
#include "server/artifact/artifact.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_rows.h"
#include "server/webhook/webhook.h"

#include <time.h>

struct run_change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    const char *base_url; /* of this server, for links */
    int (*apply)(const struct accessor *a, const struct run_change *ch, const struct run_row *r);
};

/* Deleting again what is deleted is fine. */
static int judge_gone(const struct accessor *a, int64_t id)
{
    struct project_row p;
    int64_t project = 0;
    int rc = db_get_int(a->db, a->e, &project, "SELECT project_id FROM runs WHERE id = $1 AND deleted_at IS NOT NULL",
                        DB_ARGS(db_i(id)));
    if (rc < 0)
        return rc;
    rc = rc ? access_project_id(a, project, ACCESS_WRITE, &p) : TARE_ENOTFOUND;
    return rc ? err_set(a->e, TARE_ENOTFOUND, "run not found") : 0;
}

static int apply_delete(const struct accessor *a, const struct run_change *ch, const struct run_row *r);

/* Up to the next ':', which is taken too. */
static struct str take_part(struct str *rest)
{
    const char *colon = memchr(rest->p, ':', rest->n);
    struct str part = str_make(rest->p, colon ? (size_t)(colon - rest->p) : rest->n);
    size_t gone = part.n + (colon ? 1 : 0);
    *rest = str_make(rest->p + gone, rest->n - gone);
    return part;
}

/* Schedulers of launched sweeps make run ids up themselves: "Run:v1:NAME:PROJECT:ENTITY". */
static int find_by_made_up_id(const struct accessor *a, struct str id, struct run_row *r)
{
    char space[1024];
    struct project_row p;
    struct str rest = id_plain(id, space, sizeof space);
    if (!str_starts(rest, STR("Run:v1:")))
        return err_set(a->e, TARE_ENOTFOUND, "run not found");
    rest = str_make(rest.p + 7, rest.n - 7);
    struct str name = take_part(&rest), project = take_part(&rest);
    int rc = access_project(a, rest, project, ACCESS_WRITE, &p);
    return rc ? rc : access_run(a, &p, name, 0, r);
}

static int by_id_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct run_change *ch = arg;
    const struct accessor a = {db, ch->user, ch->arena, e};
    struct run_row r;
    int64_t id = 0;
    if (!gql_in_id(ch->in, "id", "Run", &id)) {
        int found = find_by_made_up_id(&a, gql_in_str(ch->in, "id"), &r);
        return found ? found : ch->apply(&a, ch, &r);
    }
    int rc = access_run_id(&a, id, ACCESS_WRITE, 0, &r);
    if (rc == TARE_ENOTFOUND && ch->apply == apply_delete)
        return judge_gone(&a, id);
    return rc ? rc : ch->apply(&a, ch, &r);
}

static void run_change(struct gql_call *c, db_job_fn job,
                       int (*apply)(const struct accessor *, const struct run_change *, const struct run_row *))
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct run_change ch = {q->user, q->arena, gql_arg(c, "input"), request_base_url(q), apply};
    int rc = request_write(q, job, &ch, &e);
    if (rc >= 0 && apply == apply_delete)
        q->server->empty_soon = true;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

/* The name becomes free; the janitor clears the rest away. */
static int apply_delete(const struct accessor *a, const struct run_change *ch, const struct run_row *r)
{
    int rc = gql_in_bool(ch->in, "deleteArtifacts", false) ? artifact_delete_of_run(a->db, r->id, now_us(), a->e) : 0;
    if (rc < 0)
        return rc;
    return db_exec(a->db, a->e, "UPDATE runs SET deleted_at = $2, name = name || '/' || id WHERE id = $1",
                   DB_ARGS(db_i(r->id), db_i(now_us())));
}

void resolve_Mutation_deleteRun(struct gql_call *c, const void *obj)
{
    run_change(c, by_id_job, apply_delete);
}

/* The moves that W&B's client documents: back to the queue, or given up. A sweep's runs are the sweep's. */
static bool may_become(const struct run_row *r, struct str state)
{
    static const char *const to_pending[] = {"running", "failed", "crashed", "preempted", "pending", NULL};
    static const char *const to_failed[] = {"pending", "running", "failed", NULL};
    const char *const *from = str_eqz(state, "pending") ? to_pending : str_eqz(state, "failed") ? to_failed : NULL;
    while (from && *from && !str_eqz(r->state, *from))
        from++;
    return from && *from && !r->sweep_id;
}

static int apply_state(const struct accessor *a, const struct run_change *ch, const struct run_row *r)
{
    struct str state = gql_in_str(ch->in, "state");
    if (!may_become(r, state))
        return err_set(a->e, TARE_EINVAL, "a%s run that is %.*s cannot become %.*s", r->sweep_id ? " sweep's" : "",
                       STR_ARG(r->state), STR_ARG(state));
    return db_exec(a->db, a->e, "UPDATE runs SET state = $2, updated_at = $3 WHERE id = $1",
                   DB_ARGS(db_i(r->id), db_s(gql_in_str(ch->in, "state")), db_i(now_us())));
}

void resolve_Mutation_updateRunState(struct gql_call *c, const void *obj)
{
    run_change(c, by_id_job, apply_state);
}

/* The program hears of it in the answer to its next file stream request. A run that waits for an agent
 * never begins. */
static int apply_stop(const struct accessor *a, const struct run_change *ch, const struct run_row *r)
{
    return db_exec(a->db, a->e, "UPDATE runs SET stop_requested = 1, updated_at = $2, state = CASE WHEN state = 'pending' "
                                "AND sweep_id IS NOT NULL AND agent_id IS NULL THEN 'killed' ELSE state END WHERE id = $1",
                   DB_ARGS(db_i(r->id), db_i(now_us())));
}

void resolve_Mutation_stopRun(struct gql_call *c, const void *obj)
{
    run_change(c, by_id_job, apply_stop);
}

/* ---- alerts ---- */

/* Another with this title came less than the time ago that its sender wants to be left alone. */
static int is_too_soon(const struct accessor *a, const struct run_row *r, struct str title, int64_t wait_ms, int64_t now)
{
    int64_t n = 0;
    int rc = db_get_int(a->db, a->e, &n, "SELECT count(*) FROM alerts WHERE run_id = $1 AND title = $2 AND created_at > $3",
                        DB_ARGS(db_i(r->id), db_s(title), db_i(now - wait_ms * 1000)));
    return rc < 0 ? rc : n > 0;
}

static void put_member(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
    if (value.p)
        json_put_string(b, value);
    else
        buf_puts(b, "null");
}

static void put_time(struct buf *b, int64_t us)
{
    char text[40];
    struct tm tm;
    time_t s = (time_t)(us / 1000000);
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    put_member(b, "timestamp", str_of(text));
}

/* What docs/webhooks.md shows. */
static void put_alert(struct buf *b, const struct run_change *ch, const struct project_row *p, const struct run_row *r,
                      int64_t now)
{
    AUTO_BUF url = {0};
    struct str text = gql_in_str(ch->in, "text");
    buf_printf(&url, "%s/", ch->base_url);
    http_url_encode(&url, p->entity.name, false);
    buf_putc(&url, '/');
    http_url_encode(&url, p->name, false);
    buf_puts(&url, "/runs/");
    http_url_encode(&url, r->name, false);
    buf_putc(b, '{');
    put_member(b, "type", STR("run.alert"));
    put_time(b, now);
    buf_puts(b, ",\"data\":{");
    put_member(b, "title", gql_in_str(ch->in, "title"));
    put_member(b, "text", text.p ? text : STR(""));
    put_member(b, "severity", gql_in_str(ch->in, "severity"));
    put_member(b, "entity", p->entity.name);
    put_member(b, "project", p->name);
    put_member(b, "user", str_of(ch->user->name));
    buf_puts(b, ",\"run\":{");
    put_member(b, "id", r->name);
    put_member(b, "name", r->display_name);
    put_member(b, "state", r->state);
    put_member(b, "url", buf_str(&url));
    buf_puts(b, "}}}");
}

static int alert_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct run_change *ch = arg;
    const struct accessor a = {db, ch->user, ch->arena, e};
    struct project_row p;
    struct run_row r;
    AUTO_BUF body = {0};
    struct str title = gql_in_str(ch->in, "title"), text = gql_in_str(ch->in, "text");
    int64_t wait_ms = gql_in_int(ch->in, "waitDuration", 0), now = now_us();
    int rc = access_project(&a, gql_in_str(ch->in, "entityName"), gql_in_str(ch->in, "projectName"), ACCESS_WRITE, &p);
    if (!rc)
        rc = access_run(&a, &p, gql_in_str(ch->in, "runName"), 0, &r);
    if (rc || (rc = is_too_soon(&a, &r, title, wait_ms, now)) < 0)
        return rc;
    bool quiet = rc == 1;
    rc = db_exec(db, e,
                 "INSERT INTO alerts (run_id, title, text, severity, wait_ms, created_at)"
                 " VALUES ($1, $2, $3, $4, $5, $6)",
                 DB_ARGS(db_i(r.id), db_s(title), db_s(text.p ? text : STR("")),
                         db_s(gql_in_str(ch->in, "severity")), db_i(wait_ms), db_i(now)));
    if (rc < 0 || quiet)
        return rc;
    put_alert(&body, ch, &p, &r, now);
    return body.failed ? TARE_ENOMEM : webhook_enqueue(db, p.entity.id, p.id, buf_str(&body), now, e);
}

void resolve_Mutation_notifyScriptableRunAlert(struct gql_call *c, const void *obj)
{
    run_change(c, alert_job, NULL);
    webhook_sender_wake(request_of(c)->server->webhooks);
}
