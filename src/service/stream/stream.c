/* SPDX-License-Identifier: MIT */
/* The life of a stream:
 *
 *   OPENING ─► OPEN ─► FINISHING (jobs, then late answers, then the journal) ─► CLOSED
 *      │
 *      └─► CLOSED (the journal cannot be opened)
 *
 * `advance` makes every move that is due; whatever happens (a job done, bytes written) calls it. */
#include "service/stream/stream.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "loop/worker.h"
#include "record/wire.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/stream/footer.h"
#include "service/stream/journal_stage.h"
#include "service/stream/stream_online.h"
#include "service/stream/stream_private.h"
#include "service/stream/stream_settings.h"
#include "service/watch/scrape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { RECORD_EXIT = 18, EXIT_CODE = 1, RESPONSE_FINISH = 4, MAX_TIMER_MS = 3600 * 1000 };

/* An answer that waits until its bytes are in the file and the jobs before it are done. */
struct late_reply {
    struct late_reply *prev, *next;
    uint64_t serial;
    uint64_t offset; /* of the journal */
    uint64_t job;    /* number of the last job before it */
    size_t n;
    char result[];
};

struct job {
    struct job *prev, *next;
    struct handler_job *job;
};

static void advance(struct stream *s);

/* -- what the handler decides ------------------------------------------------------------------ */

static void on_append(void *ctx, struct str record)
{
    struct stream *s = ctx;
    journal_stage_append(&s->journal, record, s->must_keep);
    turn_add(&s->service->turn, &s->task);
}

static void answer(struct stream *s, uint64_t serial, struct str result)
{
    struct asked to;
    if (mailbox_take(&s->service->mailbox, serial, &to))
        connection_respond_result(to.connection, to.request_id, to.mailbox_slot, result);
}

static void answer_error(struct stream *s, uint64_t serial, const char *message)
{
    struct asked to;
    if (mailbox_take(&s->service->mailbox, serial, &to))
        connection_respond_error(to.connection, to.request_id, message);
}

static void on_reply(void *ctx, const struct reply_to *to, struct str result, enum reply_when when)
{
    struct stream *s = ctx;
    if (!to->wanted)
        return;
    if (when == REPLY_NOW) {
        answer(s, to->connection_id, result);
        return;
    }
    if (when == REPLY_WHEN_SENT && s->online) {
        online_answer_exit(s->online, to->connection_id);
        turn_add(&s->service->turn, &s->task);
        return;
    }
    struct late_reply *r = xmem_alloc(sizeof *r + result.n);
    *r = (struct late_reply){.serial = to->connection_id,
                             .offset = journal_stage_end(&s->journal),
                             .job = s->jobs_made,
                             .n = result.n};
    if (result.n)
        memcpy(r->result, result.p, result.n);
    DL_APPEND(s->late_replies, r);
    turn_add(&s->service->turn, &s->task);
}

static void on_fail(void *ctx, const struct reply_to *to, const char *message)
{
    if (to->wanted)
        answer_error(ctx, to->connection_id, message);
}

static void on_ask(void *ctx, enum handler_ask what, struct buf *to)
{
    struct stream *s = ctx;
    online_ask(s->online, what, to);
}

static void on_artifact(void *ctx, uint32_t kind, struct str request, const struct reply_to *to)
{
    struct stream *s = ctx;
    online_artifact(s->online, kind, request, to->wanted ? to->connection_id : 0);
}

static void on_job_input(void *ctx, struct str request)
{
    struct stream *s = ctx;
    online_job_input(s->online, request);
}

static void on_probed(void *ctx)
{
    struct stream *s = ctx;
    online_probed(s->online);
}

static struct scrape *scrape_of(struct stream *s)
{
    if (!s->scrape)
        s->scrape = scrape_new(service_scraper(s->service), s->settings.raw);
    return s->scrape;
}

static void on_scrape(void *ctx, struct buf *to)
{
    if (to)
        scrape_take(scrape_of(ctx), to);
    else
        scrape_ask(scrape_of(ctx));
}

static void on_gpus(void *ctx, struct str fields)
{
    struct stream *s = ctx;
    handler_gpus(s->handler, fields);
    turn_add(&s->service->turn, &s->task);
}

static void on_scrape_gpus(void *ctx)
{
    scrape_facts(scrape_of(ctx), on_gpus, ctx);
}

static void on_job_run(struct work *w)
{
    struct stream *s = (struct stream *)((char *)w - offsetof(struct stream, job_work));
    s->jobs->job->run(s->jobs->job);
}

static void next_job(struct stream *s)
{
    if (s->jobs && !s->job_work.busy)
        work_start(&s->service->loop, &s->job_work);
}

static void on_job_done(struct work *w)
{
    struct stream *s = (struct stream *)((char *)w - offsetof(struct stream, job_work));
    struct job *j = s->jobs;
    DL_DELETE(s->jobs, j);
    s->jobs_done++;
    j->job->done(j->job, s->handler);
    mem_free(j);
    next_job(s);
    turn_add(&s->service->turn, &s->task);
}

static void on_work(void *ctx, struct handler_job *job)
{
    struct stream *s = ctx;
    struct job *j = xmem_calloc(1, sizeof *j);
    j->job = job;
    s->jobs_made++;
    DL_APPEND(s->jobs, j);
    next_job(s);
}

/* -- answers that wait ------------------------------------------------------------------------- */

static void drop_late_reply(struct stream *s, struct late_reply *r)
{
    DL_DELETE(s->late_replies, r);
    mem_free(r);
}

static void send_late_replies(struct stream *s)
{
    struct late_reply *r;
    while ((r = s->late_replies) && s->journal.state != JS_OPENING &&
           r->offset <= s->journal.written && r->job <= s->jobs_done) {
        answer(s, r->serial, str_make(r->result, r->n));
        drop_late_reply(s, r);
    }
}

static void fail_late_replies(struct stream *s, const char *message)
{
    while (s->late_replies) {
        answer_error(s, s->late_replies->serial, message);
        drop_late_reply(s, s->late_replies);
    }
}

static void wake_waiters(struct stream *s)
{
    while (s->waiters) {
        struct connection *c = s->waiters;
        stream_remove_waiter(s, c);
        connection_go_on(c);
    }
}

/* -- the journal's news ------------------------------------------------------------------------ */

static void on_open_failed(struct stream *s)
{
    char text[640];
    snprintf(text, sizeof text, "cannot keep run %.64s: %.300s: %s", s->settings.run_id,
             s->journal.path ? s->journal.path : s->settings.sync_file,
             err_text(s->journal.error));
    diag_error("%s", text);
    if (s->open_serial)
        answer_error(s, s->open_serial, text);
    fail_late_replies(s, text);
    if (!s->removed)
        streams_remove(&s->service->streams, stream_id(s));
    s->state = STREAM_FINISHING;
    s->journal_closed = true;
    handler_close(s->handler, clock_steady_ns());
    advance(s);
}

static void on_opened(struct stream *s)
{
    struct asked to;
    if (s->state == STREAM_OPENING)
        s->state = STREAM_OPEN;
    if (s->journal.renamed) {
        char text[512];
        snprintf(text, sizeof text, "%.200s exists already; this run is kept in %.200s",
                 s->settings.sync_file, s->journal.path);
        handler_warn(s->handler, text);
        diag_warn("%s", text);
    }
    if (s->open_serial && mailbox_take(&s->service->mailbox, s->open_serial, &to))
        connection_respond(to.connection, to.request_id, 0, (struct str){0});
    if (s->online)
        online_journal_opened(s->online);
}

static void on_refused(struct stream *s)
{
    struct journal_stage *j = &s->journal;
    if ((j->error == -EMFILE || j->error == -ENFILE) &&
        streams_spare_a_descriptor(&s->service->streams)) {
        if (j->state == JS_OPENING)
            j->error = 0;
        return;
    }
    char text[512];
    snprintf(text, sizeof text,
             "could not write to %.200s: %s; what is logged is kept in memory and tried again",
             j->path ? j->path : s->settings.sync_file, err_text(j->error));
    if (j->tries == 1) {
        diag_error("%s", text);
        handler_warn(s->handler, text);
        wake_waiters(s);
    }
    if (j->tries >= JOURNAL_END_TRIES)
        fail_late_replies(s, text);
}

static void on_spilled(struct stream *s)
{
    struct journal_stage *j = &s->journal;
    char text[512];
    snprintf(text, sizeof text,
             "could not write to %.200s: %s; the run goes on to the backend, and to the file when there is room",
             j->path ? j->path : s->settings.sync_file, err_text(j->error));
    diag_error("%s", text);
    handler_warn(s->handler, text);
}

static void on_left(struct stream *s)
{
    const struct journal_stage *j = &s->journal;
    char text[512];
    snprintf(text, sizeof text,
             "%.200s has not taken %llu MB: the run goes on to the backend alone, what is sent is not kept for the file",
             j->path, (unsigned long long)((j->written - j->saved) >> 20));
    diag_error("%s", text);
    handler_warn(s->handler, text);
}

static void on_recovered(struct stream *s)
{
    char text[256];
    snprintf(text, sizeof text, "writing to the run's file works again; %llu records were lost",
             (unsigned long long)s->journal.dropped);
    diag_warn("run %s: %s", s->settings.run_id, text);
    handler_warn(s->handler, text);
}

static void on_journal(struct journal_stage *j, enum journal_event what)
{
    struct stream *s = (struct stream *)((char *)j - offsetof(struct stream, journal));
    switch (what) {
    case JOURNAL_OPENED: on_opened(s); break;
    case JOURNAL_OPEN_FAILED: on_open_failed(s); return;
    case JOURNAL_REFUSED: on_refused(s); return;
    case JOURNAL_SPILLED: on_spilled(s); break;
    case JOURNAL_LEFT: on_left(s); return;
    case JOURNAL_RECOVERED: on_recovered(s); break;
    case JOURNAL_WRITTEN: break;
    case JOURNAL_CLOSED: s->journal_closed = true; break;
    }
    advance(s);
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *t)
{
    struct stream *s = t->data;
    s->deadline_ns = INT64_MAX;
    handler_tick(s->handler, clock_steady_ns());
    turn_add(&s->service->turn, &s->task);
}

static void set_deadline(struct stream *s)
{
    int64_t at = s->state == STREAM_FINISHING ? INT64_MAX : handler_deadline(s->handler);
    if (at == s->deadline_ns)
        return;
    s->deadline_ns = at;
    if (at == INT64_MAX) {
        uv_timer_stop(&s->timer);
        return;
    }
    int64_t ms = (at - clock_steady_ns() + 999999) / 1000000;
    ms = ms < 1 ? 1 : ms > MAX_TIMER_MS ? MAX_TIMER_MS : ms;
    uv_timer_start(&s->timer, on_deadline, (uint64_t)ms, 0);
}

/* At the end of a turn in which records came or work was done. */
static void on_turn(struct turn_task *t)
{
    struct stream *s = (struct stream *)((char *)t - offsetof(struct stream, task));
    set_deadline(s);
    if (s->late_replies || s->state == STREAM_FINISHING ||
        s->journal.pending.len >= JOURNAL_GATHER_BYTES)
        journal_stage_flush(&s->journal);
    else if (s->journal.pending.len)
        streams_write_soon(&s->service->streams, s);
    advance(s);
}

static void stream_free(struct stream *s)
{
    handler_free(s->handler);
    journal_stage_fini(&s->journal);
    stream_settings_fini(&s->settings);
    mem_free(s->told_waits);
    mem_free(s);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct stream *s = h->data;
    if (--s->open_handles == 0)
        stream_free(s);
}

static void print_footer(const struct stream *s)
{
    struct footer f = {.sync = true};
    if (s->online)
        online_put_footer(s->online, &f);
    footer_print(&s->service->loop, &s->settings, &f);
}

/* Everything is written, or will never be. */
static void close_stream(struct stream *s)
{
    struct service *service = s->service;
    struct asked to;
    s->state = STREAM_CLOSED;
    if (s->close_serial && mailbox_take(&service->mailbox, s->close_serial, &to))
        connection_respond(to.connection, to.request_id, RESPONSE_FINISH, (struct str){0});
    fail_late_replies(s, "the run's file could not be written");
    while (mailbox_take_any(&service->mailbox, &s->requests, &to))
        connection_respond_error(to.connection, to.request_id, "No response.");
    wake_waiters(s);
    if (s->print_footer)
        print_footer(s);
    online_free(s->online);
    s->online = NULL;
    scrape_free(s->scrape);
    s->scrape = NULL;
    turn_remove(&service->turn, &s->task);
    streams_closed(&service->streams, s);
    s->journal.retry.data = s;
    uv_close((uv_handle_t *)&s->journal.retry, on_timer_closed);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    s->open_handles = 2;
    service_streams_changed(service);
}

static void advance(struct stream *s)
{
    send_late_replies(s);
    if (s->waiters && !stream_is_full(s))
        wake_waiters(s);
    if (s->online)
        online_advance(s->online);
    if (s->state != STREAM_FINISHING || s->jobs)
        return;
    if (s->online && !s->journal_closed && !online_is_over(s->online))
        return; /* it reads the journal still */
    if (!s->journal_closed)
        journal_stage_close(&s->journal);
    else
        close_stream(s);
}

struct stream *stream_new(struct service *service, struct str id, struct str settings,
                          struct err *e)
{
    struct stream *s = mem_calloc(1, sizeof *s + id.n);
    if (!s) {
        err_set(e, TARE_ENOMEM, "out of memory for a stream");
        return NULL;
    }
    if (stream_settings_init(&s->settings, settings, e)) {
        mem_free(s);
        return NULL;
    }
    s->service = service;
    s->id_len = id.n;
    if (id.n)
        memcpy(s->id, id.p, id.n);
    s->out = (struct handler_out){s, on_append, on_reply, on_fail, on_work,
                                  s->settings.offline ? NULL : on_ask,
                                  s->settings.offline ? NULL : on_artifact, on_job_input,
                                  s->settings.offline ? NULL : on_probed,
                                  scrape_is_wanted(s->settings.raw) ? on_scrape : NULL,
                                  scrape_has_exporter(s->settings.raw) ? on_scrape_gpus : NULL};
    s->handler = handler_new(&s->settings, &s->out, clock_steady_ns());
    if (!s->handler) {
        err_set(e, TARE_ENOMEM, "out of memory for a stream");
        stream_settings_fini(&s->settings);
        mem_free(s);
        return NULL;
    }
    s->online = s->settings.offline ? NULL : online_new(s);
    s->task.run = on_turn;
    s->job_work.run = on_job_run;
    s->job_work.done = on_job_done;
    s->deadline_ns = INT64_MAX;
    uv_timer_init(&service->loop, &s->timer);
    s->timer.data = s;
    journal_stage_open(&s->journal, &service->loop, &s->settings, service->diag_path, on_journal);
    s->journal.spills = s->online && !s->settings.skip_journal;
    return s;
}

void stream_answer_when_open(struct stream *s, uint64_t serial)
{
    s->open_serial = serial;
}

int stream_record(struct stream *s, struct str record, const struct reply_to *to, bool is_exit,
                  int64_t now_ns)
{
    if (is_exit && !s->exit_seen && s->online)
        online_exit(s->online, to->wanted ? to->connection_id : 0);
    s->exit_seen |= is_exit;
    s->must_keep = is_exit;
    int rc = handler_record(s->handler, record, to, now_ns);
    s->must_keep = false;
    turn_add(&s->service->turn, &s->task);
    return rc;
}

bool stream_is_full(const struct stream *s)
{
    return journal_stage_is_full(&s->journal) || (s->online && online_is_full(s->online));
}

void stream_add_waiter(struct stream *s, struct connection *c)
{
    DL_APPEND2(s->waiters, c, wait_prev, wait_next);
}

void stream_remove_waiter(struct stream *s, struct connection *c)
{
    DL_DELETE2(s->waiters, c, wait_prev, wait_next);
}

void stream_finish(struct stream *s)
{
    if (s->state == STREAM_FINISHING || s->state == STREAM_CLOSED)
        return;
    s->state = STREAM_FINISHING;
    s->must_keep = true;
    handler_close(s->handler, clock_steady_ns());
    uv_timer_stop(&s->timer);
    turn_add(&s->service->turn, &s->task);
}

void stream_answer_when_closed(struct stream *s, uint64_t serial)
{
    s->close_serial = serial;
}

void stream_end(struct stream *s, bool give_exit, int exit_code)
{
    if (give_exit && s->state < STREAM_FINISHING) {
        static const struct reply_to nobody;
        char exit[WIRE_VARINT_MAX + 1], record[sizeof exit + 8];
        char *end = wire_put_varint(wire_put_tag(exit, EXIT_CODE, WIRE_VARINT),
                                    (uint64_t)(int64_t)exit_code);
        struct str body = str_make(exit, exit_code ? (size_t)(end - exit) : 0);
        end = wire_put_bytes(record, RECORD_EXIT, body);
        if (!s->exit_seen)
            stream_record(s, str_make(record, (size_t)(end - record)), &nobody, true,
                          clock_steady_ns());
        s->print_footer = !s->settings.silent;
    }
    if (s->online && s->service->torn_down)
        online_exit_unwanted(s->online); /* an interrupted finish() whose cancelling came too late to be sent */
    if (s->online)
        online_bound(s->online, (give_exit ? ONLINE_END_MS : ONLINE_PART_MS) * INT64_C(1000000));
    stream_finish(s);
}

void stream_tell_waits(struct stream *s)
{
    AUTO_BUF text = {0};
    if (!s->print_footer)
        return;
    buf_printf(&text, "Run %.100s is being finished: ", s->settings.run_id);
    if (s->online && !online_is_over(s->online))
        online_put_waits(s->online, &text);
    else if (s->journal.state == JS_OPENING)
        buf_printf(&text, "opening %.500s", s->settings.sync_file);
    else
        buf_printf(&text, "writing %.500s", s->journal.path ? s->journal.path : "its records");
    bool is_first = !s->told_waits;
    if (!buf_z(&text) || (!is_first && strcmp(s->told_waits, buf_z(&text)) == 0))
        return;
    mem_free(s->told_waits);
    s->told_waits = xmem_strdup(buf_z(&text));
    if (is_first)
        buf_puts(&text, " (Control-C: do not wait)");
    footer_say(&s->service->loop, buf_z(&text));
}

void stream_bound(struct stream *s, int64_t within_ns)
{
    if (s->online)
        online_bound(s->online, within_ns);
}

struct str stream_id(const struct stream *s)
{
    return str_make(s->id, s->id_len);
}

struct str stream_settings_bytes(const struct stream *s)
{
    return s->settings.raw;
}

struct request_list *stream_requests(struct stream *s)
{
    return &s->requests;
}

void stream_cancelled(struct request_list *requests, uint64_t serial)
{
    struct stream *s = (struct stream *)((char *)requests - offsetof(struct stream, requests));
    handler_cancel(s->handler, serial);
    if (s->online)
        online_cancelled(s->online, serial);
}

bool stream_park(struct stream *s)
{
    return journal_stage_park(&s->journal);
}
