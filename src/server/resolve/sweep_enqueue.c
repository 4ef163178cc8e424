/* SPDX-License-Identifier: MIT */
/* Runs of a sweep that someone else has chosen: a scheduler, or a program through the public API. They wait
 * for the sweep's agents, the oldest first (sweep_schedule.c). */
#include "server/resolve/sweep_rows.h"

#include <stdlib.h>

enum { MAX_CONFIG_BYTES = 1 << 20 };

struct enqueue {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    char name[9];
};

/* {"lr": {"value": 0.1}} or {"lr": 0.1}: the first is what agents get. The caller frees it. */
static int read_args(struct str text, char **to, struct err *e)
{
    json_t *config = text.n <= MAX_CONFIG_BYTES ? json_loadb(text.p, text.n, 0, NULL) : NULL, *v;
    json_t *args = json_object();
    const char *name;
    if (!json_is_object(config)) {
        json_decref(config);
        json_decref(args);
        return err_set(e, TARE_EINVAL, "the run's configuration is no JSON object of at most %d bytes", MAX_CONFIG_BYTES);
    }
    json_object_foreach(config, name, v)
        json_object_set_new(args, name, json_object_get(v, "value") ? json_incref(v) : json_pack("{s:O}", "value", v));
    *to = json_dumps(args, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(config);
    json_decref(args);
    return *to ? 0 : err_set(e, TARE_ENOMEM, "out of memory");
}

static int enqueue_job(struct db_conn *db, void *arg, struct err *e)
{
    struct enqueue *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    struct sweep_row s;
    int64_t id = 0;
    char *args = NULL;
    if (!gql_in_id(k->in, "id", "Sweep", &id))
        return err_set(e, TARE_ENOTFOUND, "there is no such sweep");
    int rc = load_sweep(&a, id, ACCESS_WRITE, &s);
    if (rc == 0 && (str_eqz(s.state, "FINISHED") || str_eqz(s.state, "CANCELED")))
        rc = err_set(e, TARE_EINVAL, "the sweep is %.*s: it takes no more runs", STR_ARG(s.state));
    if (rc == 0)
        rc = read_args(gql_in_str(k->in, "config"), &args, e);
    if (rc == 0)
        rc = sweep_make_run(&a, &s, 0, gql_in_str(k->in, "displayName"), str_of(args), now_us(), k->name, &id);
    free(args);
    return rc;
}

void resolve_Mutation_enqueueSweepRun(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct enqueue k = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, enqueue_job, &k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_EnqueueSweepRunPayload, &k);
}

FIELD_(EnqueueSweepRunPayload, id, gql_strz(c, ROW_(enqueue)->name))
FIELD_NULL(EnqueueSweepRunPayload, runQueueItemId)
FIELD_NULL(EnqueueSweepRunPayload, clientMutationId)
