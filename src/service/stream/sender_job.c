/* SPDX-License-Identifier: MIT */
/* The job of a run at its end, when all artifacts are with the backend (its code may be one of them)
 * and no record follows.
 *
 *   built on a worker ─┬─► an artifact, saved like any other ─┐
 *                      ├─► a known job's new metadata ────────┼─► sender_job_over
 *                      └─► nothing ───────────────────────────┘
 *
 * Whatever goes wrong with it is noted and does not concern the run. (peer: sender.go, sendJobFlush) */
#include "service/stream/sender_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/stream/sender_queries.h"
#include "service/upload/job.h"
#include "service/watch/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER_TEMPLATE "/tare-job-XXXXXX"

struct job_call {
    struct sender *sender;
    struct work work;
    struct artifact_ask ask;
    struct graphql_call call;
    struct buf config, summary, metadata; /* of the run, for the worker */
    struct job_run run;
    char *folder; /* NULL: none was made */
    struct buf made; /* an ArtifactRecord, or the metadata of a known job */
    struct buf variables;
    const char *why; /* there is none */
    struct err err;
    bool is_calling;
};

#define OF(p, member) ((struct job_call *)((char *)(p) - offsetof(struct job_call, member)))

static void free_call(struct job_call *c)
{
    struct sender *s = c->sender;
    s->job_call = NULL;
    buf_fini(&c->config);
    buf_fini(&c->summary);
    buf_fini(&c->metadata);
    buf_fini(&c->made);
    buf_fini(&c->variables);
    graphql_call_fini(&c->call);
    mem_free(c->folder);
    mem_free(c);
    if (!s->freed && s->stage == SENDER_ENDING_JOB)
        sender_job_over(s);
    sender_release(s);
}

/* ---- its folder ---- */

static void clean_run(struct work *w)
{
    struct job_call *c = OF(w, work);
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/wandb-job.json", c->folder);
    unlink(buf_z(&path));
    rmdir(c->folder);
}

static void clean_done(struct work *w)
{
    free_call(OF(w, work));
}

static void clean(struct job_call *c)
{
    if (c->err.code)
        diag_warn("run %s: no job: %s", c->run.id, c->err.text);
    else if (c->why)
        diag_info("run %s: no job: %s", c->run.id, c->why);
    if (!c->folder) {
        free_call(c);
        return;
    }
    c->work = (struct work){.run = clean_run, .done = clean_done};
    work_start(c->sender->o.loop, &c->work);
}

/* ---- the artifact ---- */

static void on_saved(struct artifact_ask *ask, struct str response)
{
    enum { ERROR_MESSAGE = 2 };
    struct job_call *c = OF(ask, ask);
    struct str error = wire_find_bytes(response, ERROR_MESSAGE);
    if (error.n)
        err_set(&c->err, TARE_EPROTO, "%.*s", STR_ARG(error));
    clean(c);
}

static void save(struct job_call *c)
{
    enum { LOG_ARTIFACT = 1 };
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, LOG_ARTIFACT, buf_str(&c->made));
    c->ask.done = on_saved;
    artifacts_log(c->sender->artifacts, buf_str(&request), &c->ask);
}

/* ---- a known job ---- */

static void on_updated(struct graphql_call *call)
{
    struct job_call *c = OF(call, call);
    c->is_calling = false;
    if (call->error)
        err_set(&c->err, call->error, "%s", call->why);
    clean(c);
}

static void update(struct job_call *c)
{
    buf_puts(&c->variables, "{\"artifactID\":");
    json_put_string(&c->variables, str_of(job_partial_id(c->sender->job)));
    buf_puts(&c->variables, ",\"metadata\":");
    json_put_string(&c->variables, buf_str(&c->made));
    buf_putc(&c->variables, '}');
    c->call = (struct graphql_call){
        .operation = "UpdateArtifact",
        .document = UPDATE_ARTIFACT,
        .variables = buf_str(&c->variables),
        .done = on_updated,
    };
    c->is_calling = true;
    graphql_send(c->sender->backend, &c->call);
}

/* ---- what there is ---- */

static char *make_folder(struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    AUTO_BUF path = {0};
    buf_printf(&path, "%s" FOLDER_TEMPLATE, tmp && *tmp ? tmp : "/tmp");
    char *folder = xmem_strdup(buf_z(&path));
    if (mkdtemp(folder))
        return folder;
    err_set(e, -errno, "%s: %s", folder, err_text(-errno));
    mem_free(folder);
    return NULL;
}

static void build_run(struct work *w)
{
    struct job_call *c = OF(w, work);
    const struct job *job = c->sender->job;
    if (job_partial_id(job)) {
        job_metadata(job, &c->run, &c->made, &c->err);
        return;
    }
    c->folder = make_folder(&c->err);
    if (c->folder)
        job_build(job, &c->run, c->folder, &c->made, &c->why, &c->err);
}

static void build_done(struct work *w)
{
    struct job_call *c = OF(w, work);
    struct sender *s = c->sender;
    if (s->freed || s->stage != SENDER_ENDING_JOB || c->err.code || c->made.len == 0)
        clean(c);
    else if (job_partial_id(s->job))
        update(c);
    else
        save(c);
}

void sender_begin_job(struct sender *s)
{
    const struct run_params *p = &s->upsert.params;
    struct job_call *c = s->job_call = xmem_calloc(1, sizeof *c);
    c->sender = s;
    config_put_json(&s->upsert.config, &c->config);
    sender_put_summary(s, &c->summary);
    if (s->primary)
        machine_put_json(&c->metadata, buf_str(&s->upsert.environment));
    c->run = (struct job_run){
        .entity = run_text(p, RUN_TEXT_ENTITY),
        .project = run_text(p, RUN_TEXT_PROJECT),
        .id = run_text(p, RUN_TEXT_ID),
        .files_dir = s->files_dir,
        .config = buf_str(&c->config),
        .summary = buf_str(&c->summary),
        .metadata = buf_str(&c->metadata),
    };
    s->n_open++;
    c->work = (struct work){.run = build_run, .done = build_done};
    work_start(s->o.loop, &c->work);
}

void sender_job_abort(struct sender *s)
{
    if (s->job_call && s->job_call->is_calling)
        graphql_cancel(s->backend, &s->job_call->call);
}

/* ---- what the run tells ---- */

void send_use_artifact(struct sender *s, struct str record)
{
    job_use_artifact(s->job, record);
}

void sender_job_input(struct sender *s, struct str request)
{
    if (s->stage < SENDER_ENDING_JOB)
        job_add_input(s->job, request);
}

void sender_logged_artifact(struct sender *s, struct str type, const char *name, const char *id)
{
    if (s->stage < SENDER_ENDING_JOB && str_eqz(type, "code"))
        job_set_code(s->job, id, name);
}
