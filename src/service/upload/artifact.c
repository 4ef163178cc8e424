/* SPDX-License-Identifier: MIT */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "record/wire.h"
#include "service/limits.h"

#include <stdio.h>
#include <utlist.h>

/* proto/request.proto, files.proto */
enum { LOG_ARTIFACT = 1, LOG_HISTORY_STEP = 2, LOG_STAGING_DIR = 3 };
enum { LOG_RESPONSE_ID = 1, LOG_RESPONSE_ERROR = 2 };
enum { ARTIFACT_TYPE = 4, ARTIFACT_NAME = 5 };
enum { OP_DESC = 1, OP_RUNTIME = 2, OP_PROGRESS = 3, OP_ERROR = 4, STATS_OPERATIONS = 1 };

/* ---- answers ---- */

static void answer(struct save *s)
{
    struct artifacts *a = s->owner;
    AUTO_BUF response = {0};
    if (!s->ask)
        return;
    if (!s->err.code && s->artifact_id && artifacts_are_wanted(a))
        a->owner.logged(a->owner.ctx, save_text(s, ARTIFACT_TYPE), s->name, s->artifact_id);
    if (s->err.code)
        wire_buf_bytes(&response, LOG_RESPONSE_ERROR, str_of(s->err.text));
    else
        wire_buf_bytes(&response, LOG_RESPONSE_ID, str_of(s->artifact_id ? s->artifact_id : ""));
    struct artifact_ask *ask = s->ask;
    s->ask = NULL;
    ask->done(ask, buf_str(&response));
}

void artifacts_logged(struct save *s)
{
    answer(s);
    artifacts_wake(s->owner);
}

static void free_save(struct save *s)
{
    mem_free(s->leftover);
    save_files_fini(s);
    manifest_fini(&s->manifest);
    buf_fini(&s->record);
    buf_fini(&s->headers);
    buf_fini(&s->text);
    buf_fini(&s->variables);
    graphql_call_fini(&s->call);
    mem_free(s->staging);
    mem_free(s->name);
    mem_free(s->artifact_id);
    mem_free(s->base_id);
    mem_free(s->manifest_id);
    mem_free(s->url);
    mem_free(s->client_id);
    mem_free(s);
}

void artifacts_ended(struct save *s)
{
    struct artifacts *a = s->owner;
    DL_DELETE(a->saves, s);
    a->n_saves--;
    if (s->err.code) {
        diag_error("artifact %s: %s", s->name, s->err.text);
        if (!s->ask)
            a->error = a->error ? a->error : s->err.code;
    }
    if (s->err.code && !s->ask && artifacts_are_wanted(a)) {
        char text[sizeof s->err.text + 256];
        snprintf(text, sizeof text, "Failed to log artifact %.200s: %s", s->name, s->err.text);
        a->owner.tell(a->owner.ctx, true, text);
    }
    answer(s);
    free_save(s);
    artifacts_wake(a);
    artifacts_release(a);
}

/* ---- going on ---- */

static void on_timer(uv_timer_t *timer)
{
    artifacts_look(timer->data);
}

void artifacts_wake(struct artifacts *a)
{
    if (!a->over)
        uv_timer_start(&a->timer, on_timer, 0, 0);
}

/* True if an older save of that name is under way. */
static bool has_elder(const struct artifacts *a, const struct save *s)
{
    const struct save *other;
    DL_FOREACH (a->saves, other) {
        if (other == s)
            return false;
        if (other->state != SAVE_SWEEPING && strcmp(other->name, s->name) == 0)
            return true;
    }
    return false;
}

static void cancel_all(struct artifacts *a)
{
    struct save *s, *next;
    DL_FOREACH_SAFE (a->saves, s, next)
        save_cancel(s);
    link_cancel_all(a);
    fetch_cancel_all(a);
}

void artifacts_look(struct artifacts *a)
{
    struct save *s, *next;
    if (a->over)
        return;
    DL_FOREACH_SAFE (a->saves, s, next)
        if (a->aborted && s->state == SAVE_QUEUED)
            save_fail(s, TARE_ECANCELLED, "the upload was given up");
    if ((a->finishing || a->aborted) && a->n_saves == 0 && a->n_links == 0 && a->n_fetches == 0) {
        a->over = true;
        a->owner.finished(a->owner.ctx, a->error);
        return;
    }
    if (a->aborted)
        return;
    fetch_begin_all(a); /* needs no run */
    if (!a->run_id)
        return;
    link_begin_all(a);
    int n_active = 0;
    DL_FOREACH_SAFE (a->saves, s, next) {
        if (s->state == SAVE_QUEUED && n_active < ARTIFACT_SAVES && !has_elder(a, s))
            save_begin(s);
        n_active += s->state != SAVE_QUEUED && s->state != SAVE_SWEEPING;
    }
}

/* ---- public ---- */

struct artifacts *artifacts_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                const struct artifacts_owner *owner)
{
    struct artifacts *a = xmem_calloc(1, sizeof *a);
    a->backend = b;
    a->loop = loop;
    a->owner = *owner;
    a->cache = artifact_cache_dir();
    retry_policy_of(&a->policy, settings, BACKEND_FILE);
    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    a->n_open = 1;
    return a;
}

void artifacts_release(struct artifacts *a)
{
    if (--a->n_open > 0)
        return;
    mem_free(a->entity);
    mem_free(a->project);
    mem_free(a->run_id);
    mem_free(a->cache);
    mem_free(a);
}

static void on_timer_closed(uv_handle_t *timer)
{
    artifacts_release(timer->data);
}

void artifacts_free(struct artifacts *a)
{
    if (!a)
        return;
    a->is_freed = a->over = true;
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    cancel_all(a);
}

void artifacts_start(struct artifacts *a, const char *entity, const char *project, const char *run_id)
{
    a->entity = xmem_strdup(entity);
    a->project = xmem_strdup(project);
    a->run_id = xmem_strdup(run_id);
    artifacts_wake(a);
}

static void add(struct artifacts *a, struct str record, int64_t step, struct str staging, struct artifact_ask *ask)
{
    struct save *s = xmem_calloc(1, sizeof *s);
    struct str name = wire_find_bytes(record, ARTIFACT_NAME);
    a->over = a->is_freed; /* it may have been finished before */
    s->owner = a;
    s->ask = ask;
    s->history_step = step;
    s->name = xmem_strndup(name.n ? name.p : "", name.n);
    s->staging = xmem_strndup(staging.n ? staging.p : "", staging.n);
    s->began_ns = clock_mono_ns();
    buf_put_str(&s->record, record);
    if (s->record.failed)
        err_set(&s->err, TARE_ENOMEM, "out of memory");
    DL_APPEND(a->saves, s);
    a->n_saves++;
    a->n_open++;
    artifacts_wake(a);
}

void artifacts_save(struct artifacts *a, struct str artifact_record)
{
    add(a, artifact_record, 0, (struct str){0}, NULL);
}

void artifacts_log(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    add(a, wire_find_bytes(request, LOG_ARTIFACT), (int64_t)wire_find_varint(request, LOG_HISTORY_STEP),
        wire_find_bytes(request, LOG_STAGING_DIR), ask);
}

void artifacts_count_file(struct artifacts *a)
{
    a->progress.n_artifact++;
}

void artifacts_progress(const struct artifacts *a, struct files_progress *to)
{
    to->uploaded_bytes += a->progress.uploaded_bytes;
    to->total_bytes += a->progress.total_bytes;
    to->deduped_bytes += a->progress.deduped_bytes;
    to->n_artifact += a->progress.n_artifact;
}

int artifacts_operations(const struct artifacts *a, struct buf *to, int room)
{
    const struct save *s;
    DL_FOREACH (a->saves, s) {
        if (room-- <= 0)
            break;
        AUTO_BUF text = {0};
        size_t mark = wire_buf_begin(to, STATS_OPERATIONS);
        buf_printf(&text, "uploading artifact %s", s->name);
        wire_buf_bytes(to, OP_DESC, buf_str(&text));
        wire_buf_double(to, OP_RUNTIME, (double)(clock_mono_ns() - s->began_ns) / 1e9);
        if (s->is_calling && s->call.why[0])
            wire_buf_bytes(to, OP_ERROR, str_of(s->call.why));
        if (s->files.n_files > 0) {
            buf_clear(&text);
            buf_printf(&text, "%llu/%llu files", (unsigned long long)s->files.n_done,
                       (unsigned long long)s->files.n_files);
            wire_buf_bytes(to, OP_PROGRESS, buf_str(&text));
        }
        save_files_operations(s, to, 10);
        wire_buf_end(to, mark);
    }
    return a->n_saves + fetch_operations(a, to, room);
}

void artifacts_finish(struct artifacts *a)
{
    a->finishing = true;
    a->over = a->is_freed;
    artifacts_wake(a);
}

void artifacts_abort(struct artifacts *a)
{
    if (a->n_saves + a->n_links + a->n_fetches > 0 && a->error == 0)
        a->error = TARE_ECANCELLED;
    a->aborted = true;
    cancel_all(a);
    artifacts_wake(a);
}
