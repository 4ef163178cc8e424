/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_upload.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/upload/artifact.h"
#include "service/upload/file.h"
#include "service/upload/filestream.h"
#include "service/upload/graphql.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

struct fake_upload fake_upload;

static struct filestream *stream; /* the last made */

struct backend {
    int unused;
};

struct graphql_work {
    uv_timer_t timer;
    struct graphql_call *call;
    char *data;
};

static uv_loop_t *the_loop;

void fake_upload_reset(void)
{
    buf_fini(&fake_upload.log);
    fake_upload = (struct fake_upload){0};
}

void fake_upload_answer(const char *operation, const char *data)
{
    fake_upload.answers[fake_upload.n_answers].operation = operation;
    fake_upload.answers[fake_upload.n_answers++].data = data;
}

void fake_upload_fail(const char *operation, int error, int status, const char *why)
{
    fake_upload_answer(operation, "");
    fake_upload.answers[fake_upload.n_answers - 1].error = error;
    fake_upload.answers[fake_upload.n_answers - 1].status = status;
    fake_upload.answers[fake_upload.n_answers - 1].why = why;
}

bool fake_upload_saw(const char *line)
{
    AUTO_BUF text = {0};
    buf_printf(&text, "\n%s\n", line);
    AUTO_BUF all = {0};
    buf_putc(&all, '\n');
    buf_put_str(&all, buf_str(&fake_upload.log));
    return memmem(all.data, all.len, text.data, text.len) != NULL;
}

const char *fake_upload_find(const char *text)
{
    const char *z = buf_z(&fake_upload.log);
    return z ? strstr(z, text) : NULL;
}

/* -- backend, calls ------------------------------------------------------------------------------ */

struct backend *backend_new(struct http *http, uv_loop_t *loop, struct str settings, const char *url, const char *key,
                            struct err *e)
{
    fake_upload.n_open++;
    return xmem_calloc(1, sizeof(struct backend));
}

const char *backend_url(const struct backend *b)
{
    (void)b;
    return "http://backend";
}

void backend_close(struct backend *b)
{
    fake_upload.n_open--;
    mem_free(b);
}

void backend_feature(struct backend *b, const char *name, void (*ready)(void *ctx, bool has), void *ctx)
{
    buf_printf(&fake_upload.log, "feature %s\n", name);
    ready(ctx, fake_upload.structured);
}

void backend_set_writer(struct backend *b, const char *writer_id)
{
}

void backend_take_answers(struct backend *b, struct buf *to)
{
}

static void on_freed(uv_handle_t *h)
{
    struct graphql_work *w = h->data;
    fake_upload.n_open--;
    mem_free(w->data);
    mem_free(w);
}

static void on_answer(uv_timer_t *t)
{
    struct graphql_work *w = t->data;
    struct graphql_call *c = w->call;
    c->data = str_of(w->data);
    c->done(c);
    uv_close((uv_handle_t *)t, on_freed);
}

void graphql_send(struct backend *b, struct graphql_call *c)
{
    struct graphql_work *w = c->work = xmem_calloc(1, sizeof *w);
    buf_printf(&fake_upload.log, "call %s %.*s\n", c->operation, STR_ARG(c->variables));
    fake_upload.n_open++;
    w->call = c;
    w->data = xmem_strdup("{}");
    c->status = 200;
    for (int i = 0; i < fake_upload.n_answers; i++) {
        if (strcmp(fake_upload.answers[i].operation, c->operation) != 0)
            continue;
        mem_free(w->data);
        w->data = xmem_strdup(fake_upload.answers[i].data);
        c->error = fake_upload.answers[i].error;
        c->status = c->error ? fake_upload.answers[i].status : 200;
        snprintf(c->why, sizeof c->why, "%s", c->error ? fake_upload.answers[i].why : "");
    }
    uv_timer_init(the_loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, on_answer, fake_upload.black_hole ? 100000000 : 1, 0);
}

void graphql_cancel(struct backend *b, struct graphql_call *c)
{
    c->error = TARE_ECANCELLED;
    uv_timer_start(&c->work->timer, on_answer, 0, 0);
}

void graphql_call_fini(struct graphql_call *c)
{
}

/* -- the file stream --------------------------------------------------------------------------------- */

struct filestream {
    struct filestream_owner owner;
    uv_timer_t timer;
    uint64_t mark;
    bool summary;
};

struct filestream *filestream_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                  const struct filestream_owner *owner)
{
    struct filestream *f = xmem_calloc(1, sizeof *f);
    the_loop = loop;
    fake_upload.n_open++;
    f->owner = *owner;
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    stream = f;
    return f;
}

static void on_stream_freed(uv_handle_t *h)
{
    fake_upload.n_open--;
    mem_free(h->data);
}

void filestream_free(struct filestream *f)
{
    if (f)
        uv_close((uv_handle_t *)&f->timer, on_stream_freed);
}

void filestream_start(struct filestream *f, const char *entity, const char *project, const char *run_id,
                      const struct filestream_offsets *from)
{
    buf_printf(&fake_upload.log, "start %s/%s/%s %llu\n", entity, project, run_id,
               (unsigned long long)from->history);
}

void filestream_history(struct filestream *f, struct str quoted, size_t n)
{
    AUTO_BUF line = {0};
    assert(!json_unescape(&line, str_make(quoted.p + 1, quoted.n - 2)) && line.len == n);
    buf_printf(&fake_upload.log, "history %.*s\n", STR_ARG(buf_str(&line)));
}

void filestream_event(struct filestream *f, struct str line)
{
    buf_printf(&fake_upload.log, "event %.*s\n", STR_ARG(line));
}

void filestream_summary(struct filestream *f)
{
    f->summary = true;
}

void filestream_console(struct filestream *f, uint64_t number, struct str line)
{
    buf_printf(&fake_upload.log, "console %llu %.*s\n", (unsigned long long)number, STR_ARG(line));
}

void filestream_uploaded(struct filestream *f, const char *path)
{
    buf_printf(&fake_upload.log, "uploaded %s\n", path);
}

void filestream_preempting(struct filestream *f)
{
    buf_puts(&fake_upload.log, "preempting\n");
}

void filestream_mark(struct filestream *f, uint64_t mark)
{
    f->mark = mark;
}

bool filestream_is_full(struct filestream *f)
{
    return fake_upload.full;
}

void fake_upload_drain(void)
{
    fake_upload.full = false;
    stream->owner.drained(stream->owner.ctx);
}

bool filestream_is_stopped(const struct filestream *f)
{
    return false;
}

int filestream_operations(const struct filestream *f, struct buf *to)
{
    return 0;
}

static void on_stream_finished(uv_timer_t *t)
{
    struct filestream *f = t->data;
    f->owner.reached(f->owner.ctx, f->mark);
    f->owner.finished(f->owner.ctx, 0);
}

void filestream_finish(struct filestream *f, bool complete, int32_t exit_code)
{
    if (f->summary) {
        buf_puts(&fake_upload.log, "summary ");
        f->owner.summary(f->owner.ctx, &fake_upload.log);
        buf_putc(&fake_upload.log, '\n');
    }
    buf_printf(&fake_upload.log, "finish %s %d\n", complete ? "complete" : "open", exit_code);
    uv_timer_start(&f->timer, on_stream_finished, 1, 0);
}

void filestream_abort(struct filestream *f)
{
}

/* -- files ------------------------------------------------------------------------------------------------ */

struct files {
    struct files_owner owner;
    uv_timer_t timer;
};

struct files *files_new(struct backend *b, struct str settings, uv_loop_t *loop, const char *files_dir,
                        const struct files_owner *owner)
{
    struct files *f = xmem_calloc(1, sizeof *f);
    fake_upload.n_open++;
    f->owner = *owner;
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    return f;
}

void files_free(struct files *f)
{
    if (f)
        uv_close((uv_handle_t *)&f->timer, on_stream_freed);
}

void files_start(struct files *f, const char *entity, const char *project, const char *run_id)
{
}

void files_add(struct files *f, struct str path, enum file_policy policy, enum file_kind kind)
{
    buf_printf(&fake_upload.log, "add %.*s %d %d\n", STR_ARG(path), policy, kind);
}

void files_put(struct files *f, const char *path, struct str bytes, enum file_kind kind)
{
    buf_printf(&fake_upload.log, "put %s\n%.*s\n", path, STR_ARG(bytes));
    f->owner.uploaded(f->owner.ctx, path);
}

void files_progress(const struct files *f, struct files_progress *to)
{
    *to = (struct files_progress){.total_bytes = 7};
}

int files_operations(const struct files *f, struct buf *to, int room)
{
    return 0;
}

static void on_files_finished(uv_timer_t *t)
{
    struct files *f = t->data;
    f->owner.finished(f->owner.ctx, 0);
}

void files_finish(struct files *f)
{
    buf_puts(&fake_upload.log, "files end\n");
    uv_timer_start(&f->timer, on_files_finished, 1, 0);
}

void files_abort(struct files *f)
{
}

/* -- artifacts -------------------------------------------------------------------------------------------- */

struct artifacts {
    struct artifacts_owner owner;
    uv_timer_t timer;
};

static void on_artifacts_freed(uv_handle_t *h)
{
    fake_upload.n_open--;
    mem_free(h->data);
}

struct artifacts *artifacts_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                const struct artifacts_owner *owner)
{
    struct artifacts *a = xmem_calloc(1, sizeof *a);
    fake_upload.n_open++;
    a->owner = *owner;
    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    return a;
}

void artifacts_free(struct artifacts *a)
{
    if (a)
        uv_close((uv_handle_t *)&a->timer, on_artifacts_freed);
}

void artifacts_start(struct artifacts *a, const char *entity, const char *project, const char *run_id)
{
    buf_printf(&fake_upload.log, "artifacts of %s/%s/%s\n", entity, project, run_id);
}

void artifacts_save(struct artifacts *a, struct str artifact_record)
{
    buf_printf(&fake_upload.log, "artifact %.*s\n", STR_ARG(wire_find_bytes(artifact_record, 5)));
}

static void answer_artifact(const char *what, struct artifact_ask *ask)
{
    buf_printf(&fake_upload.log, "%s\n", what);
    ask->done(ask, STR("done"));
}

void artifacts_log(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    answer_artifact("log artifact", ask);
}

void artifacts_link(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    answer_artifact("link artifact", ask);
}

void artifacts_download(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    answer_artifact("download artifact", ask);
}

void artifacts_progress(const struct artifacts *a, struct files_progress *to)
{
    to->n_artifact += 2;
}

int artifacts_operations(const struct artifacts *a, struct buf *to, int room)
{
    return 0;
}

static void on_artifacts_finished(uv_timer_t *t)
{
    struct artifacts *a = t->data;
    a->owner.finished(a->owner.ctx, 0);
}

void artifacts_finish(struct artifacts *a)
{
    buf_puts(&fake_upload.log, "artifacts end\n");
    uv_timer_start(&a->timer, on_artifacts_finished, 1, 0);
}

void artifacts_abort(struct artifacts *a)
{
}
