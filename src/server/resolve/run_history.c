/* SPDX-License-Identifier: MIT */
/* What a run logged: history, system events, their tails, keys and samples. */
#include "base/json.h"
#include "server/graphql/coerce.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_rows.h"
#include "server/store/history.h"

enum { DEFAULT_SAMPLES = 500, MAX_SPEC_KEYS = 1000 };

/* Rows as items of a list of strings. */
static int put_string_row(void *arg, struct str row)
{
    struct gql_call *c = arg;
    gql_str(c, row);
    return gql_failed(c) ? TARE_ECANCELLED : 0;
}

static void answer_lines(struct gql_call *c, const struct history_query *q)
{
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    gql_list_begin(c);
    int rc = history_scan(a.db, q, put_string_row, c, &e);
    gql_list_end(c);
    if (rc < 0 && !gql_failed(c))
        fail_with(c, rc, &e);
}

/* A window of steps comes whole; without one the run is thinned to `samples` rows. */
void resolve_Run_history(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct history_query q = {.run = r->id, .stream = HISTORY_METRICS,
                              .min_step = gql_arg_int(c, "minStep", INT64_MIN),
                              .max_step = gql_arg_int(c, "maxStep", INT64_MAX)};
    if (q.max_step == INT64_MAX)
        q.samples = page_size(c, "samples", DEFAULT_SAMPLES, 1 << 30);
    answer_lines(c, &q);
}

void resolve_Run_events(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct history_query q = {.run = r->id, .stream = HISTORY_EVENTS, .min_step = INT64_MIN,
                              .max_step = INT64_MAX,
                              .samples = page_size(c, "samples", DEFAULT_SAMPLES, 1 << 30)};
    answer_lines(c, &q);
}

/* {"keys": […], "minStep": a, "maxStep": b (inclusive here), "samples": n} */
static bool take_spec(struct gql_call *c, struct str text, struct history_query *q)
{
    struct gql_value v;
    const struct gql_value *keys;
    if (gql_value_from_json(gql_arena(c), text, &v) || v.kind != GQL_OBJECT)
        return false;
    q->min_step = gql_in_int(&v, "minStep", INT64_MIN);
    q->max_step = gql_in_int(&v, "maxStep", INT64_MAX - 1) + 1;
    q->samples = gql_in_int(&v, "samples", DEFAULT_SAMPLES);
    if (q->samples < 0)
        q->samples = 0;
    keys = gql_in(&v, "keys");
    if (!keys || keys->kind != GQL_LIST || keys->n > MAX_SPEC_KEYS)
        return !keys || keys->kind == GQL_NULL;
    struct str *names = arena_alloc(gql_arena(c), sizeof *names * (keys->n + 1u));
    if (!names)
        return false;
    for (const struct gql_value *k = keys->first; k; k = k->next) {
        bool again = k->kind != GQL_STRING;
        for (uint32_t i = 0; i < q->n_keys && !again; i++)
            again = str_eq(names[i], k->s);
        if (!again)
            names[q->n_keys++] = k->s;
    }
    q->keys = names;
    return true;
}

void resolve_Run_sampledHistory(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    const struct gql_value *specs = gql_arg(c, "specs");
    struct err e;
    struct accessor a;
    int rc = 0;
    if (!accessor_of(c, &e, &a))
        return;
    gql_list_begin(c);
    for (const struct gql_value *s = specs->first; s && !rc && !gql_failed(c); s = s->next) {
        struct history_query q = {.run = r->id, .stream = HISTORY_METRICS, .strict = true};
        if (!take_spec(c, s->s, &q)) {
            gql_fail(c, 400, "a spec of sampledHistory is not what it should be");
            break;
        }
        struct buf *to = gql_raw_begin(c);
        buf_putc(to, '[');
        rc = history_scan(a.db, &q, NULL, to, &e);
        buf_putc(to, ']');
        gql_raw_end(c);
    }
    gql_list_end(c);
    if (rc < 0 && !gql_failed(c))
        fail_with(c, rc, &e);
}

static void answer_keys(struct gql_call *c, const struct run_row *r, enum history_stream stream)
{
    AUTO_BUF b = {0};
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = history_keys(a.db, r->id, stream, &b, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_json(c, buf_str(&b));
}

void resolve_Run_historyKeys(struct gql_call *c, const void *obj)
{
    answer_keys(c, obj, HISTORY_METRICS);
}

void resolve_Run_eventsKeys(struct gql_call *c, const void *obj)
{
    answer_keys(c, obj, HISTORY_EVENTS);
}

/* The last line as a JSON list of one string, itself in a string. */
static void answer_tail(struct gql_call *c, const struct run_row *r, enum history_stream stream)
{
    AUTO_BUF line = {0}, list = {0};
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = history_last_line(a.db, r->id, stream, &line, &e);
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    buf_putc(&list, '[');
    if (line.len)
        json_put_string(&list, buf_str(&line));
    buf_putc(&list, ']');
    gql_str(c, buf_str(&list));
}

void resolve_Run_historyTail(struct gql_call *c, const void *obj)
{
    answer_tail(c, obj, HISTORY_METRICS);
}

void resolve_Run_eventsTail(struct gql_call *c, const void *obj)
{
    answer_tail(c, obj, HISTORY_EVENTS);
}

/* Nothing is exported to Parquet: clients then read all of it live. */
void resolve_Run_parquetHistory(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_ParquetHistory, obj);
}

FIELD_(ParquetHistory, parquetUrls, (void)obj; gql_list_begin(c); gql_list_end(c))
FIELD_(ParquetHistory, liveData, (void)obj; gql_list_begin(c); gql_list_end(c))

/* What the machine showed last. */
void resolve_Run_systemMetrics(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    AUTO_BUF line = {0};
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = r->events_lines ? history_last_line(a.db, r->id, HISTORY_EVENTS, &line, &e) : 0;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_str(c, line.len ? buf_str(&line) : STR("{}"));
}

/* ---- rewind ---------------------------------------------------------------------------- */

struct rewind {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    struct run_row run;
};

static int rewind_job(struct db_conn *db, void *arg, struct err *e)
{
    struct rewind *w = arg;
    const struct accessor a = {db, w->user, w->arena, e};
    struct project_row p;
    int64_t lines = 0, step = (int64_t)gql_in_float(w->in, "metricValue", -1);
    if (!str_eqz(gql_in_str(w->in, "metricName"), "_step"))
        return err_set(e, TARE_EINVAL, "a run can only be rewound to a _step");
    int rc = access_project(&a, gql_in_str(w->in, "entityName"), gql_in_str(w->in, "projectName"), ACCESS_WRITE, &p);
    if (!rc)
        rc = access_run(&a, &p, gql_in_str(w->in, "runName"), 0, &w->run);
    return rc ? rc : history_rewind(db, w->run.id, step, &lines, e);
}

void resolve_Mutation_rewindRun(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct accessor a;
    struct rewind w = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, rewind_job, &w, &e);
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    rc = access_run_id(&a, w.run.id, ACCESS_READ, RUN_ALL, &w.run);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_RewindRunPayload, &w);
}

FIELD_(RewindRunPayload, rewoundRun, gql_object(c, TYPE_Run, &ROW_(rewind)->run))
