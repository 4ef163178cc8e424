/* SPDX-License-Identifier: MIT */
/* The life of a sender:
 *
 *   READING ─ exit record, or the journal's end ─► ENDING_RUN ─► ENDING_ARTIFACTS [─► ENDING_JOB]
 *                                            ─► ENDING_FILES ─► ENDING_STREAM ─► ENDED
 *
 * The order of the end is the peer's (stream/sender.go, finishRunSync): the console, then the run's
 * summary and config, artifacts, the job made of them, then files, then the exit code; what makes work ends before what does it.
 * While READING, the cursor stops whenever something must come first: the backend's answer to the
 * run record, room in the file stream, the form of console lines. */
#include "service/stream/sender_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/random.h"
#include "record/check.h"
#include "record/record.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/limits.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    SET_SHARED = 162,
    SET_PRIMARY = 182,
    SET_UPDATE_FINISH_STATE = 183,
    SET_SERVER_SIDE_SUMMARY = 189,
};

void sender_tell(struct sender *s, bool error, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->owner.tell(s->owner.ctx, error, text);
}

/* -- records ------------------------------------------------------------------------------------- */

static void begin_end(struct sender *s);

static void send_run(struct sender *s, struct str record)
{
    upsert_run(s, record);
}

static void send_environment(struct sender *s, struct str record)
{
    upsert_environment(s, record);
    sender_put_metadata_file(s);
}

/* Nothing that follows is sent. */
static void send_exit(struct sender *s, struct str record)
{
    enum { EXIT_CODE = 1, NOT_COMPLETE = 3 };
    bool may_end = !setting_wire_has(s->o.settings, SET_UPDATE_FINISH_STATE) ||
                   setting_wire_bool(s->o.settings, SET_UPDATE_FINISH_STATE);
    s->exit_seen = true;
    s->exit_code = (int32_t)wire_find_varint(record, EXIT_CODE);
    s->complete = may_end && !wire_find_varint(record, NOT_COMPLETE);
}

enum { KIND_HISTORY = 2 };

/* By field number in Record. */
static void (*const kinds[])(struct sender *s, struct str record) = {
    [2] = send_history,     [3] = send_summary,         [5] = upsert_config,
    [6] = send_files,       [7] = send_stats,           [8] = send_artifact,
    [10] = send_alert,      [11] = upsert_telemetry,    [12] = upsert_metric,
    [13] = send_output_raw, [17] = send_run,            [18] = send_exit,
    [23] = send_preempting, [25] = send_use_artifact,   [26] = send_environment,
    [27] = send_output_logger,
};

enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* Our own handler has checked what it kept; others may have written anything. Rows of history are
 * checked where they are read. */
static bool is_well_formed(const struct wire_field *f)
{
    if (f->number == KIND_HISTORY)
        return true;
    const ProtobufCFieldDescriptor *d =
        protobuf_c_message_descriptor_get_field(&pb__record__descriptor, f->number);
    return !d || record_check(d->descriptor, f->bytes);
}

static void send_record(struct sender *s, struct str record)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    while (wire_next(&r, &f) == 1) {
        if (f.type != WIRE_BYTES || f.number >= N_KINDS || !kinds[f.number])
            continue;
        if (!s->o.is_sync || is_well_formed(&f))
            kinds[f.number](s, f.bytes);
        else
            diag_warn("sender: a malformed record of kind %u is left out", f.number);
        return;
    }
}

/* Must something come before the next record? */
static bool is_held(const struct sender *s)
{
    bool run_waits = s->upsert.state != UPSERT_NONE && s->upsert.state != UPSERT_READY;
    return run_waits || console_waits(s) || filestream_is_full(s->filestream);
}

static bool on_record(void *ctx, struct str record, uint64_t end)
{
    struct sender *s = ctx;
    send_record(s, record);
    filestream_mark(s->filestream, end);
    if (s->exit_seen)
        begin_end(s);
    return s->stage == SENDER_READING && !is_held(s);
}

void sender_go_on(struct sender *s)
{
    if (s->stage == SENDER_READING && s->cursor && !is_held(s))
        cursor_go(s->cursor);
    else if (s->stage != SENDER_READING)
        sender_end_on(s);
}

static void on_gap(void *ctx, const struct journal_gap *gap)
{
    struct sender *s = ctx;
    (void)gap;
    if (!s->gap_told)
        sender_tell(s, false, "A part of the run's file is damaged and was left out: %s",
                    s->journal_path ? s->journal_path : "");
    s->gap_told = true;
}

/* All that there is was given. A journal of the past that ends without an exit record is of a run
 * that crashed. */
static void on_at_end(void *ctx)
{
    struct sender *s = ctx;
    console_flush(s);
    if (!s->final || s->stage != SENDER_READING)
        return;
    s->exit_code = 1;
    s->complete = s->o.is_sync && !s->o.changes.keep_unfinished;
    begin_end(s);
}

static void on_failed(void *ctx, int error, const char *why)
{
    struct sender *s = ctx;
    sender_tell(s, true, "%s", why);
    s->error = error;
    uv_timer_start(&s->bound, s->on_bound, 0, 0);
}

/* -- the run ----------------------------------------------------------------------------------------- */

void sender_run_known(struct sender *s)
{
    const struct run_params *p = &s->upsert.params;
    const char *entity = run_text(p, RUN_TEXT_ENTITY), *project = run_text(p, RUN_TEXT_PROJECT);
    AUTO_BUF run = {0};
    s->line.next_step = p->starting_step;
    filestream_start(s->filestream, entity, project, run_text(p, RUN_TEXT_ID), &p->offsets);
    files_start(s->files, entity, project, run_text(p, RUN_TEXT_ID));
    artifacts_start(s->artifacts, entity, project, run_text(p, RUN_TEXT_ID));
    run_put_record(p, &s->upsert.config, buf_str(&s->upsert.record), &run);
    s->owner.run_ready(s->owner.ctx, buf_str(&run));
    if (!s->freed)
        sender_go_on(s);
}

void sender_run_refused(struct sender *s, const struct run_error *e)
{
    s->stage = SENDER_ENDED;
    s->owner.run_failed(s->owner.ctx, e->code, e->message);
}

/* -- the end ----------------------------------------------------------------------------------------- */

static void end(struct sender *s)
{
    s->stage = SENDER_ENDED;
    uv_timer_stop(&s->bound);
    if (!s->error)
        upsert_set_done(s);
    s->owner.finished(s->owner.ctx, s->error);
}

static void begin_end(struct sender *s)
{
    if (s->stage != SENDER_READING)
        return;
    s->stage = SENDER_ENDING_RUN;
    if (s->upsert.state != UPSERT_READY) { /* the journal of a run that never began */
        s->error = s->error ? s->error : TARE_EFORMAT;
        uv_timer_start(&s->bound, s->on_bound, 0, 0);
        return;
    }
    console_end(s);
    sender_put_summary_file(s);
    upsert_finish(s);
    sender_end_on(s);
}

void sender_end_on(struct sender *s)
{
    if (s->stage != SENDER_ENDING_RUN || !upsert_is_done(s) || s->alerts || console_waits(s))
        return;
    sender_put_config_file(s);
    s->stage = SENDER_ENDING_ARTIFACTS;
    artifacts_finish(s->artifacts);
}

void sender_job_over(struct sender *s)
{
    artifacts_finish(s->artifacts);
}

static void on_artifacts_finished(void *ctx, int error)
{
    struct sender *s = ctx;
    s->error = s->error ? s->error : error;
    if (s->stage == SENDER_ENDING_ARTIFACTS && job_is_wanted(s->job)) {
        s->stage = SENDER_ENDING_JOB;
        sender_begin_job(s);
        return;
    }
    s->stage = SENDER_ENDING_FILES;
    files_finish(s->files);
}

static void on_files_finished(void *ctx, int error)
{
    struct sender *s = ctx;
    s->error = s->error ? s->error : error;
    s->stage = SENDER_ENDING_STREAM;
    filestream_finish(s->filestream, s->complete, s->exit_code);
}

static void on_stream_finished(void *ctx, int error)
{
    struct sender *s = ctx;
    s->error = s->error ? s->error : error;
    end(s);
}

/* Let go of everything that could still bring something. */
static void give_up(struct sender *s)
{
    sender_progress(s, &s->progress);
    cursor_free(s->cursor);
    s->cursor = NULL;
    artifacts_free(s->artifacts);
    s->artifacts = NULL;
    files_free(s->files);
    s->files = NULL;
    filestream_free(s->filestream);
    s->filestream = NULL;
    upsert_abort(s);
    alerts_abort(s);
    sender_job_abort(s);
    end(s);
}

static void on_bound(uv_timer_t *t)
{
    struct sender *s = t->data;
    if (s->stage == SENDER_ENDED)
        return;
    if (!s->error) {
        s->error = TARE_ETIMEOUT;
        sender_tell(s, true, "Timed out finishing run.");
    }
    give_up(s);
}

void sender_bound_finish(struct sender *s, int64_t give_up_ns)
{
    int64_t left_ms = (give_up_ns - clock_mono_ns()) / 1000000;
    if (s->stage != SENDER_ENDED && !s->error)
        uv_timer_start(&s->bound, s->on_bound, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

void sender_abort(struct sender *s)
{
    if (s->stage == SENDER_ENDED)
        return;
    s->error = s->error ? s->error : TARE_ECANCELLED;
    uv_timer_start(&s->bound, s->on_bound, 0, 0);
}

/* -- what its parts say --------------------------------------------------------------------------------- */

static void on_summary(void *ctx, struct buf *to)
{
    sender_put_summary(ctx, to);
}

static void on_drained(void *ctx)
{
    sender_go_on(ctx);
}

static void on_reached(void *ctx, uint64_t mark)
{
    struct sender *s = ctx;
    s->owner.reached(s->owner.ctx, mark);
}

static void on_tell(void *ctx, bool error, const char *text)
{
    sender_tell(ctx, error, "%s", text);
}

static void on_uploaded(void *ctx, const char *path)
{
    struct sender *s = ctx;
    filestream_uploaded(s->filestream, path);
}

static void on_logged(void *ctx, struct str type, const char *name, const char *id)
{
    sender_logged_artifact(ctx, type, name, id);
}

static int on_writer_fd(void *ctx)
{
    struct sender *s = ctx;
    return s->owner.writer_fd ? s->owner.writer_fd(s->owner.ctx) : -1;
}

static struct spill *on_spill(void *ctx)
{
    struct sender *s = ctx;
    return s->owner.spill ? s->owner.spill(s->owner.ctx) : NULL;
}

/* -- life -------------------------------------------------------------------------------------------- */

static void make_parts(struct sender *s)
{
    struct filestream_owner stream_owner = {s, on_summary, on_drained, on_reached, on_tell,
                                            on_stream_finished, s->o.is_sync};
    struct files_owner files_owner = {s, on_uploaded, on_tell, on_files_finished};
    struct artifacts_owner artifacts_owner = {s, on_tell, on_logged, on_artifacts_finished};
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    s->filestream = filestream_new(s->backend, s->o.settings, s->o.loop, &stream_owner);
    s->files = files_new(s->backend, s->o.settings, s->o.loop, s->files_dir, &files_owner);
    s->artifacts = artifacts_new(s->backend, s->o.settings, s->o.loop, &artifacts_owner);
    history_line_init(&s->line, 0, seed);
    summary_init(&s->summary, seed);
    s->step_slot = summary_slot_z(&s->summary, "_step");
    s->last_step = -1;
    upsert_init(s);
    uv_timer_init(s->o.loop, &s->bound);
    s->bound.data = s;
    s->n_open++;
}

struct sender *sender_new(const struct sender_options *o, const struct sender_owner *owner,
                          struct err *e)
{
    struct backend *b = backend_new(o->http, o->loop, o->settings, o->url, o->key, e);
    if (!b)
        return NULL;
    struct sender *s = xmem_calloc(1, sizeof *s);
    s->owner = *owner;
    s->o = *o;
    s->backend = b;
    s->on_bound = on_bound;
    s->files_dir = xmem_strdup(o->files_dir ? o->files_dir : "");
    s->shared = setting_wire_bool(o->settings, SET_SHARED);
    s->primary = setting_wire_bool(o->settings, SET_PRIMARY);
    s->server_side_summary = setting_wire_bool(o->settings, SET_SERVER_SIDE_SUMMARY);
    s->job = job_new(o->settings);
    make_parts(s);
    return s;
}

/* The last that pointed here has gone. */
void sender_release(struct sender *s)
{
    if (--s->n_open > 0)
        return;
    upsert_fini(s);
    console_fini(s);
    history_line_fini(&s->line);
    summary_fini(&s->summary);
    buf_fini(&s->text);
    job_free(s->job);
    mem_free(s->files_dir);
    mem_free(s->journal_path);
    mem_free(s);
}

static void on_closed(uv_handle_t *h)
{
    sender_release(h->data);
}

void sender_free(struct sender *s)
{
    if (!s)
        return;
    s->freed = true;
    s->stage = SENDER_ENDED;
    cursor_free(s->cursor);
    artifacts_free(s->artifacts);
    files_free(s->files);
    filestream_free(s->filestream);
    alerts_abort(s);
    sender_job_abort(s);
    upsert_close(s);
    uv_close((uv_handle_t *)&s->bound, on_closed);
    backend_close(s->backend);
}

static void start(struct sender *s, const char *path)
{
    s->journal_path = path ? xmem_strdup(path) : NULL;
    cursor_go(s->cursor);
}

void sender_follow(struct sender *s, const char *path)
{
    struct cursor_owner owner = {s, on_record, on_gap, on_at_end, on_failed, on_writer_fd, on_spill};
    s->cursor = cursor_follow(s->o.loop, path, 0, &owner);
    start(s, path);
}

void sender_read(struct sender *s, const char *path, bool live)
{
    struct cursor_owner owner = {s, on_record, on_gap, on_at_end, on_failed, NULL, NULL};
    s->cursor = cursor_new(s->o.loop, path, 0, live, &owner);
    s->final = !live;
    start(s, path);
}

void sender_more(struct sender *s, uint64_t to, bool final)
{
    s->final |= final;
    if (s->cursor)
        cursor_more(s->cursor, to, final);
}

void sender_end_live(struct sender *s)
{
    s->final = true;
    if (s->cursor)
        cursor_end_live(s->cursor);
}

void sender_hurry(struct sender *s)
{
    if (s->cursor)
        cursor_hurry(s->cursor);
}

uint64_t sender_offset(const struct sender *s)
{
    return s->cursor ? cursor_offset(s->cursor) : UINT64_MAX;
}

bool sender_artifact(struct sender *s, enum sender_artifact_kind what, struct str request,
                     struct artifact_ask *ask)
{
    static void (*const begins[])(struct artifacts *a, struct str request, struct artifact_ask *ask) = {
        [SENDER_LOG_ARTIFACT] = artifacts_log,
        [SENDER_LINK_ARTIFACT] = artifacts_link,
        [SENDER_DOWNLOAD_ARTIFACT] = artifacts_download,
    };
    if (!s->artifacts || s->stage > SENDER_ENDING_JOB)
        return false;
    begins[what](s->artifacts, request, ask);
    return true;
}

/* -- how it goes --------------------------------------------------------------------------------------- */

const char *sender_display_name(const struct sender *s)
{
    return run_text(&s->upsert.params, RUN_TEXT_DISPLAY_NAME);
}

int64_t sender_runtime_ms(const struct sender *s)
{
    return s->upsert.params.runtime_ms;
}

struct backend *sender_backend(const struct sender *s)
{
    return s->backend;
}

bool sender_should_stop(const struct sender *s)
{
    return s->filestream && filestream_is_stopped(s->filestream);
}

void sender_progress(const struct sender *s, struct files_progress *to)
{
    *to = s->progress;
    if (s->files)
        files_progress(s->files, to);
    if (s->artifacts)
        artifacts_progress(s->artifacts, to);
}

void sender_operations(const struct sender *s, struct buf *to)
{
    enum { TOTAL_OPERATIONS = 2, MAX_LISTED = 10 };
    int n = upsert_operations(s, to);
    if (s->filestream)
        n += filestream_operations(s->filestream, to);
    if (s->files)
        n += files_operations(s->files, to, MAX_LISTED - n);
    if (s->artifacts)
        n += artifacts_operations(s->artifacts, to, MAX_LISTED - n);
    if (n)
        wire_buf_varint(to, TOTAL_OPERATIONS, (uint64_t)n);
}

void sender_network(struct sender *s, struct buf *to)
{
    backend_take_answers(s->backend, to);
}
