/* SPDX-License-Identifier: MIT */
#include "service/stream/stream_online.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "loop/http.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/stream/footer.h"
#include "service/stream/mirrors.h"
#include "service/stream/sender.h"
#include "service/stream/spill.h"
#include "service/stream/stream_private.h"
#include "service/upload/coreweave.h"

#include <stdio.h>

enum { SET_APP_URL = 202, SET_FINISH_TIMEOUT = 206 };
enum { MAX_FINISH_TIMEOUT_S = 1000000000 };
enum { RUN_ID = 1, RUN_ENTITY = 2, RUN_PROJECT = 3 };

struct online {
    struct stream *stream;
    struct sender *sender; /* NULL before the journal is open, or where there can be none */
    struct mirrors *mirrors;
    uint64_t exit_asked;   /* who sent the exit, until the answer; 0 */
    uint64_t exit_serial;  /* the same, once nothing but the backend is waited for */
    uint64_t reached;      /* the backend has what lies before it */
    int64_t bound_ns;      /* when the end was bounded to; 0 */
    char *url; /* the run's page, once it has one */
    char *entity; /* likewise */
    struct coreweave *coreweave; /* once both are known: where it is, and that its machine is wanted */
    bool probed;
    bool over, complete, timed_out, failed, given_up, exit_seen;
    bool settled; /* the mirrors, too: the handler knows */
    bool told_full;
};

/* -- what the sender says ---------------------------------------------------------------------------- */

static void note_where(struct online *o, struct str run)
{
    AUTO_BUF url = {0};
    struct str app = setting_wire_text(o->stream->settings.raw, SET_APP_URL);
    while (app.n && app.p[app.n - 1] == '/')
        app.n--;
    buf_put_str(&url, app);
    buf_putc(&url, '/');
    buf_put_percent(&url, wire_find_bytes(run, RUN_ENTITY), PERCENT_PATH);
    buf_putc(&url, '/');
    buf_put_percent(&url, wire_find_bytes(run, RUN_PROJECT), PERCENT_PATH);
    buf_puts(&url, "/runs/");
    buf_put_percent(&url, wire_find_bytes(run, RUN_ID), PERCENT_PATH);
    o->url = xmem_strdup(buf_z(&url));
}

static void on_coreweave(void *ctx, struct str info)
{
    enum { ENVIRONMENT_COREWEAVE = 30 };
    struct online *o = ctx;
    AUTO_BUF fields = {0};
    wire_buf_bytes(&fields, ENVIRONMENT_COREWEAVE, info);
    handler_environment(o->stream->handler, buf_str(&fields));
    turn_add(&o->stream->service->turn, &o->stream->task);
}

static void ask_coreweave(struct online *o)
{
    bool ends = o->exit_seen || o->over;
    if (o->probed && o->entity && !o->coreweave && !ends)
        o->coreweave = coreweave_ask(sender_backend(o->sender), o->stream->settings.raw, str_of(o->entity),
                                     on_coreweave, o);
}

/* The run's end does not wait for it. */
static void forget_coreweave(struct online *o)
{
    coreweave_free(o->coreweave);
    o->coreweave = NULL;
}

void online_probed(struct online *o)
{
    if (!o)
        return;
    o->probed = true;
    ask_coreweave(o);
}

static void on_run_ready(void *ctx, struct str run)
{
    struct online *o = ctx;
    struct str entity = wire_find_bytes(run, RUN_ENTITY);
    note_where(o, run);
    o->entity = xmem_strndup(entity.p, entity.n);
    ask_coreweave(o);
    handler_run_known(o->stream->handler, run, sender_runtime_ms(o->sender), clock_steady_ns());
    turn_add(&o->stream->service->turn, &o->stream->task);
}

static void answer_exit(struct online *o)
{
    enum { RESULT_EXIT = 18, TIMED_OUT = 1 };
    struct asked to;
    AUTO_BUF result = {0};
    size_t mark = wire_buf_begin(&result, RESULT_EXIT);
    if (o->timed_out)
        wire_buf_varint(&result, TIMED_OUT, 1);
    wire_buf_end(&result, mark);
    if (mailbox_take(&o->stream->service->mailbox, o->exit_serial, &to))
        connection_respond_result(to.connection, to.request_id, to.mailbox_slot, buf_str(&result));
    o->exit_serial = o->exit_asked = 0;
}

/* What is not sent is nowhere but in memory. */
static bool is_in_memory(const struct stream *s)
{
    return s->settings.skip_journal || s->journal.spill;
}

/* Bytes from the offset `from` on that are in no file. */
static uint64_t only_in_memory(const struct online *o, uint64_t from)
{
    const struct journal_stage *j = &o->stream->journal;
    uint64_t end = journal_stage_end(j);
    if (!is_in_memory(o->stream))
        return 0;
    if (j->spill && from < j->saved)
        from = j->saved;
    return from < end ? end - from : 0;
}

/* How to bring what is left, and what cannot be brought. */
static void tell_of_sync(struct online *o)
{
    const struct stream_settings *s = &o->stream->settings;
    const struct journal_stage *j = &o->stream->journal;
    unsigned long long kb = (only_in_memory(o, o->reached) + 1023) / 1024;
    bool is_file_empty = s->skip_journal || (j->spill && j->saved <= JOURNAL_HEADER_BYTES);
    AUTO_BUF text = {0};
    buf_puts(&text, "Not everything reached the backend");
    if (kb && s->skip_journal)
        buf_printf(&text, ", and the run leaves no file: %llu KB of it are lost", kb);
    else if (kb)
        buf_printf(&text, ", and %llu KB of it are in no file either (%s): they are lost unless there is room at once",
                   kb, err_text(j->error));
    buf_puts(&text, ".");
    if (!is_file_empty)
        buf_printf(&text, " To upload the rest later, run: wandb sync %.600s", s->sync_dir);
    handler_warn(o->stream->handler, buf_z(&text));
}

/* Whoever waits for the end waits for the mirrors, too. */
static void settle(struct online *o)
{
    if (online_is_over(o) && !o->settled) { /* what is still to be told has been */
        o->settled = true;
        handler_sent(o->stream->handler);
    }
    if (o->exit_serial && online_is_over(o))
        answer_exit(o);
    turn_add(&o->stream->service->turn, &o->stream->task);
}

static void be_over(struct online *o, int error)
{
    if (o->over)
        return;
    o->over = true;
    forget_coreweave(o);
    o->complete = error == 0;
    o->timed_out = error == TARE_ETIMEOUT;
    if (error && !o->failed)
        tell_of_sync(o);
    mirrors_bound(o->mirrors, clock_mono_ns() + MIRROR_END_MS * INT64_C(1000000));
    settle(o);
}

static void on_mirror_tell(void *ctx, const char *text)
{
    struct online *o = ctx;
    handler_warn(o->stream->handler, text);
}

static void on_mirrors_over(void *ctx)
{
    settle(ctx);
}

static void on_run_failed(void *ctx, int code, const char *message)
{
    struct online *o = ctx;
    diag_warn("run %s: %s", o->stream->settings.run_id, message);
    o->failed = true;
    handler_run_refused(o->stream->handler, code, message);
    be_over(o, TARE_EPROTO);
}

static void on_reached(void *ctx, uint64_t offset)
{
    struct online *o = ctx;
    o->reached = offset;
    turn_add(&o->stream->service->turn, &o->stream->task);
}

static void on_tell(void *ctx, bool error, const char *text)
{
    struct online *o = ctx;
    (void)error;
    handler_warn(o->stream->handler, text);
}

static void on_finished(void *ctx, int error)
{
    be_over(ctx, error);
}

static int on_writer_fd(void *ctx)
{
    struct online *o = ctx;
    return journal_stage_fd(&o->stream->journal);
}

static struct spill *on_spill(void *ctx)
{
    struct online *o = ctx;
    return o->stream->journal.spill;
}

/* -- what the stream says ------------------------------------------------------------------------------ */

struct online *online_new(struct stream *s)
{
    struct online *o = xmem_calloc(1, sizeof *o);
    o->stream = s;
    return o;
}

void online_free(struct online *o)
{
    if (!o)
        return;
    forget_coreweave(o);
    sender_free(o->sender);
    mirrors_free(o->mirrors);
    mem_free(o->url);
    mem_free(o->entity);
    mem_free(o);
}

/* Whatever was said before there was a sender holds for it. */
static void apply_bound(struct online *o)
{
    if (!o->sender || online_is_over(o))
        return;
    if (o->given_up) {
        mirrors_abort(o->mirrors);
        sender_abort(o->sender);
    } else if (o->bound_ns) {
        mirrors_bound(o->mirrors, o->bound_ns);
        sender_bound_finish(o->sender, o->bound_ns);
    }
}

void online_journal_opened(struct online *o)
{
    struct stream *s = o->stream;
    struct err e = {0};
    struct sender_owner owner = {o,           on_run_ready, on_run_failed, on_reached, on_tell,
                                 on_finished, on_writer_fd, on_spill};
    struct sender_options options = {
        .loop = &s->service->loop,
        .http = service_http(s->service),
        .settings = s->settings.raw,
        .files_dir = s->settings.files_dir,
        .writer_id = handler_writer_id(s->handler),
    };
    o->sender = sender_new(&options, &owner, &e);
    if (!o->sender) {
        on_run_failed(o, 0, e.text);
        return;
    }
    const char *path = s->settings.skip_journal ? NULL : s->journal.path;
    struct mirrors_owner mirrors_owner = {o, on_mirror_tell, on_mirrors_over, on_writer_fd, on_spill};
    o->mirrors = mirrors_open(&options, path, &mirrors_owner);
    sender_follow(o->sender, path);
    sender_hurry(o->sender);
    apply_bound(o);
}

/* Everything that the stream will ever write is in the file, or never will be. */
static bool is_all_written(const struct stream *s)
{
    const struct journal_stage *j = &s->journal;
    return s->state == STREAM_FINISHING &&
           (j->written == journal_stage_end(j) || (j->error && j->tries >= JOURNAL_END_TRIES));
}

/* A client waits. If that is why, it is said, once. */
static void tell_of_waiting(struct online *o)
{
    char text[200];
    if (o->told_full || !online_is_full(o))
        return;
    o->told_full = true;
    snprintf(text, sizeof text,
             "%llu MB of the run wait in memory for the backend, as no file takes them: the program waits until some are sent",
             (unsigned long long)(only_in_memory(o, sender_offset(o->sender)) >> 20));
    diag_warn("run %s: %s", o->stream->settings.run_id, text);
    handler_warn(o->stream->handler, text);
}

/* The end of output.log and the like is written by jobs: the exit record waits for them. */
void online_advance(struct online *o)
{
    struct stream *s = o->stream;
    if (!o->sender || online_is_over(o) || (s->exit_seen && s->jobs))
        return;
    bool all_written = is_all_written(s);
    uint64_t keep_from = o->over ? UINT64_MAX : sender_offset(o->sender);
    uint64_t mirrored = mirrors_offset(o->mirrors), limit = journal_stage_memory_limit();
    journal_stage_sent(&s->journal, keep_from < mirrored ? keep_from : mirrored);
    mirrors_more(o->mirrors, s->journal.written, all_written);
    if (is_in_memory(s) && s->journal.written > limit)
        mirrors_leave_behind(o->mirrors, s->journal.written - limit);
    if (o->over)
        return;
    if (s->waiters)
        tell_of_waiting(o);
    if (s->late_replies || o->exit_serial || !o->url)
        sender_hurry(o->sender);
    sender_more(o->sender, s->journal.written, all_written);
}

void online_exit(struct online *o, uint64_t serial)
{
    double timeout_s = setting_wire_double(o->stream->settings.raw, SET_FINISH_TIMEOUT);
    o->exit_asked = serial;
    o->exit_seen = true;
    forget_coreweave(o);
    if (timeout_s > 0)
        online_bound(o, timeout_s < MAX_FINISH_TIMEOUT_S ? (int64_t)(timeout_s * 1e9) : INT64_MAX / 2);
}

void online_answer_exit(struct online *o, uint64_t serial)
{
    o->exit_serial = serial;
    if (online_is_over(o))
        answer_exit(o);
}

void online_exit_unwanted(struct online *o)
{
    if (!o->exit_asked)
        return;
    o->exit_serial = o->exit_asked = 0;
    o->given_up = true;
    apply_bound(o);
}

void online_cancelled(struct online *o, uint64_t serial)
{
    if (serial && serial == o->exit_asked)
        online_exit_unwanted(o);
}

void online_bound(struct online *o, int64_t within_ns)
{
    int64_t at_ns = clock_mono_ns() + within_ns;
    if (o->bound_ns && o->bound_ns <= at_ns)
        return;
    o->bound_ns = at_ns;
    apply_bound(o);
}

bool online_is_over(const struct online *o)
{
    return o->over && mirrors_are_over(o->mirrors);
}

bool online_is_full(const struct online *o)
{
    const struct journal_stage *j = &o->stream->journal;
    if (!is_in_memory(o->stream) || !o->sender || o->over)
        return false;
    uint64_t from = sender_offset(o->sender), end = journal_stage_end(j);
    if (j->spill && from < spill_start(j->spill))
        from = spill_start(j->spill);
    return end > from && end - from > journal_stage_memory_limit();
}

/* -- what clients ask ----------------------------------------------------------------------------------- */

static void put_operations(const struct online *o, struct buf *to)
{
    if (o->over)
        mirrors_operations(o->mirrors, to);
    else
        sender_operations(o->sender, to);
}

void online_put_waits(const struct online *o, struct buf *to)
{
    enum { OPERATION = 1, DESC = 1, ERROR_STATUS = 4, MOST = 5 };
    AUTO_BUF stats = {0};
    struct wire_field f;
    int n = 0;
    if (o->sender)
        put_operations(o, &stats);
    for (struct wire_reader r = wire_open(buf_str(&stats)); n < MOST && wire_next(&r, &f) > 0;) {
        if (f.number != OPERATION || f.type != WIRE_BYTES)
            continue;
        struct str what = wire_find_bytes(f.bytes, DESC), why = wire_find_bytes(f.bytes, ERROR_STATUS);
        buf_printf(to, "%s%.*s", n++ ? "; " : "", STR_ARG(what));
        if (why.n)
            buf_printf(to, " (%.*s)", STR_ARG(why));
    }
    if (!n)
        buf_puts(to, "waiting for the backend");
}

static void put_progress(const struct online *o, struct buf *to)
{
    enum { PUSHER_STATS = 3, FILE_COUNTS = 4, OPERATIONS = 5 };
    struct files_progress p;
    sender_progress(o->sender, &p);
    const uint64_t stats[] = {p.uploaded_bytes, p.total_bytes, p.deduped_bytes};
    const uint64_t counts[] = {p.n_wandb, p.n_media, p.n_artifact, p.n_other};
    size_t mark = wire_buf_begin(to, PUSHER_STATS);
    for (uint32_t i = 0; i < 3; i++)
        if (stats[i])
            wire_buf_varint(to, i + 1, stats[i]);
    wire_buf_end(to, mark);
    mark = wire_buf_begin(to, FILE_COUNTS);
    for (uint32_t i = 0; i < 4; i++)
        if (counts[i])
            wire_buf_varint(to, i + 1, counts[i]);
    wire_buf_end(to, mark);
    mark = wire_buf_begin(to, OPERATIONS);
    put_operations(o, to);
    wire_buf_end(to, mark);
}

void online_ask(struct online *o, enum handler_ask what, struct buf *to)
{
    enum { RUN_SHOULD_STOP = 1 };
    if (!o->sender)
        return;
    switch (what) {
    case ASK_STOP:
        if (sender_should_stop(o->sender))
            wire_buf_varint(to, RUN_SHOULD_STOP, 1);
        break;
    case ASK_NETWORK: sender_network(o->sender, to); break;
    case ASK_OPERATIONS: put_operations(o, to); break;
    case ASK_PROGRESS: put_progress(o, to); break;
    }
}

/* A request about artifacts until its answer. */
struct artifact_wait {
    struct artifact_ask ask;
    struct service *service; /* the stream may be gone by then */
    uint64_t serial;
    uint32_t response; /* field of Response */
};

static void on_artifact_done(struct artifact_ask *ask, struct str response)
{
    enum { RESULT_RESPONSE = 100 };
    struct artifact_wait *w = (struct artifact_wait *)((char *)ask - offsetof(struct artifact_wait, ask));
    struct asked to;
    AUTO_BUF result = {0};
    size_t mark = wire_buf_begin(&result, RESULT_RESPONSE);
    wire_buf_bytes(&result, w->response, response);
    wire_buf_end(&result, mark);
    if (w->serial && mailbox_take(&w->service->mailbox, w->serial, &to))
        connection_respond_result(to.connection, to.request_id, to.mailbox_slot, buf_str(&result));
    mem_free(w);
}

void online_artifact(struct online *o, uint32_t kind, struct str request, uint64_t serial)
{
    static const struct {
        enum sender_artifact_kind what;
        uint32_t kind, response, error_message;
    } kinds[] = {{SENDER_LOG_ARTIFACT, 13, 30, 2}, {SENDER_DOWNLOAD_ARTIFACT, 14, 31, 1},
                 {SENDER_LINK_ARTIFACT, 78, 71, 1}};
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    struct artifact_wait *w = xmem_calloc(1, sizeof *w);
    w->ask.done = on_artifact_done;
    w->service = o->stream->service;
    w->serial = serial;
    w->response = kinds[i].response;
    if (o->sender && !o->over && sender_artifact(o->sender, kinds[i].what, request, &w->ask))
        return;
    AUTO_BUF refusal = {0};
    wire_buf_bytes(&refusal, kinds[i].error_message, STR("The run is not connected to a backend any more."));
    on_artifact_done(&w->ask, buf_str(&refusal));
}

void online_job_input(struct online *o, struct str request)
{
    if (o->sender && !o->over)
        sender_job_input(o->sender, request);
}

void online_put_footer(const struct online *o, struct footer *f)
{
    f->sync = !o->complete && !o->failed && !o->stream->settings.skip_journal && !o->stream->journal.unmade &&
              handler_has_run(o->stream->handler);
    f->url = o->complete ? o->url : NULL;
    f->name = o->sender ? sender_display_name(o->sender) : "";
}
