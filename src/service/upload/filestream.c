/* SPDX-License-Identifier: MIT */
/* When a request is made, and what its answer means. What waits is in filestream_body.c, how a
 * request gets through in filestream_post.c.
 *
 * What a run has in its first seconds gathers, so that a short one takes one request; then the first
 * thing that is added goes out at once, and what comes later gathers for the rest of the interval and
 * for as long as a request is under way. (With the peer the first thing is a sample of system metrics,
 * right at the start; rows wait for the interval after it.) Only three things do not wait: much
 * (memory is bounded), a run that is about to be suspended, and the end. When nothing is sent, a
 * heartbeat says that the run lives.
 *
 * Marks. Things wait in the epoch in which they were added, and every request begins a new epoch.
 * With each request the last mark is noted beside its epoch; that mark is reached when a request is
 * acknowledged and nothing waits that is as old. Usually a request takes all that waits and its
 * acknowledgement reaches its mark; what does not fit, or console lines at other places, may take
 * some more. */
#include "service/upload/filestream.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/number.h"
#include "record/setting_wire.h"
#include "service/limits.h"
#include "service/upload/filestream_body.h"
#include "service/upload/filestream_post.h"
#include "service/upload/json_path.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

/* proto/settings.proto */
enum {
    SET_MAX_BYTES = 172,
    SET_INTERVAL = 175,
    SET_MAX_LINE_BYTES = 178,
    SET_STOP_ON_FATAL = 205,
    SET_NO_GZIP = 208,
};

enum { MAX_PLACES = 4, OP_DESC = 1, OP_RUNTIME = 2, OP_ERROR = 4, STATS_OPERATIONS = 1 };

/* A mark, and the epoch that was over when it was noted. */
struct place {
    uint32_t epoch;
    uint64_t mark;
};

/* How soon the timer looks. */
enum urgency { NEVER, SOMETIME, SOON, AT_ONCE };

struct filestream {
    struct backend *backend;
    struct filestream_owner owner;
    char *url; /* NULL until started */
    struct fs_waiting waiting;
    struct fs_request request; /* under way, if `posting` */
    struct fs_post post;
    uv_timer_t timer;
    enum urgency armed;
    bool posting, finishing, complete, aborted, over, is_freed;
    bool stopped, stop_on_fatal, full_told;
    bool may_gzip, gzip_asked, gzip_known, has_gzip;
    int fatal; /* the error that ended it, said to the person */
    int32_t exit_code;
    int n_open; /* handles that are to be closed before it is freed */

    size_t max_line_bytes;
    size_t counted_bytes;  /* of it in total_bytes */
    int64_t interval_ns, heartbeat_ns;
    int64_t slot_ns;       /* when the next request may go */
    int64_t sent_ns;       /* when the last was made */
    int64_t told_line_ns, told_summary_ns, told_stall_ns;
    uint64_t n_left_out;

    uint64_t mark, reached;
    struct place places[MAX_PLACES];
    int n_places;
};

/* Of all streams of the process (one loop thread). */
static size_t total_bytes;

static void look(struct filestream *f);

/* ---- what the person is told ---- */

/* True at most once in TELL_AGAIN_NS. */
static bool may_tell(int64_t *told_ns)
{
    int64_t now = clock_mono_ns();
    if (*told_ns != 0 && now - *told_ns < TELL_AGAIN_NS)
        return false;
    *told_ns = now;
    return true;
}

/* The peer's words. */
static void tell_line_left_out(struct filestream *f, size_t n)
{
    char text[128];
    f->n_left_out++;
    if (!may_tell(&f->told_line_ns))
        return;
    snprintf(text, sizeof text, "Skipped uploading run.log() data that exceeded size limit (%zu > %zu).", n,
             f->max_line_bytes);
    f->owner.tell(f->owner.ctx, false, text);
}

static void tell_summary_left_out(struct filestream *f, size_t n)
{
    char text[128];
    if (!may_tell(&f->told_summary_ns))
        return;
    snprintf(text, sizeof text, "Skipped uploading summary data that exceeded size limit (%zu > %zu bytes).", n,
             f->waiting.max_line_bytes);
    f->owner.tell(f->owner.ctx, false, text);
}

/* Once an outage, when it has lasted. */
static void tell_stall(struct filestream *f)
{
    int64_t since = f->post.failing_ns;
    if (since == 0 || clock_mono_ns() - since < FILESTREAM_STALL_NS || f->told_stall_ns == since)
        return;
    f->told_stall_ns = since;
    char text[sizeof f->post.why + 128];
    snprintf(text, sizeof text, "Uploading has stalled and is being tried again (%s). The run goes on and is kept on disk.",
             f->post.why);
    f->owner.tell(f->owner.ctx, false, text);
}

/* ---- how much waits ---- */

static void count_bytes(struct filestream *f)
{
    size_t now = f->waiting.bytes + f->request.text.len;
    total_bytes += now - f->counted_bytes;
    f->counted_bytes = now;
}

/* Requests of a run are small enough that its program has the memory; a sync is rather through sooner. */
static size_t full_bytes(const struct filestream *f)
{
    if (!f->owner.is_sync)
        return FILESTREAM_FULL_BYTES;
    return f->may_gzip ? FILESTREAM_FULL_SYNC_BYTES : FILESTREAM_FULL_HERE_BYTES;
}

static bool is_full(const struct filestream *f)
{
    size_t full = full_bytes(f);
    return !f->fatal && (f->waiting.bytes >= full ||
                         (total_bytes >= FILESTREAM_TOTAL_BYTES && f->waiting.bytes >= FILESTREAM_SCARCE_BYTES));
}

static void notice_room(struct filestream *f)
{
    if (!f->full_told || is_full(f) || f->is_freed)
        return;
    f->full_told = false;
    f->owner.drained(f->owner.ctx);
}

/* ---- marks ---- */

static void note_place(struct filestream *f)
{
    if (f->n_places == MAX_PLACES) /* the newest covers what the one before would have */
        f->n_places--;
    f->places[f->n_places++] = (struct place){f->waiting.epoch, f->mark};
}

static void notice_marks(struct filestream *f)
{
    if (f->fatal || f->posting || f->is_freed)
        return;
    uint64_t reached = f->reached;
    uint32_t oldest = fs_oldest(&f->waiting);
    int n = 0;
    while (n < f->n_places && f->places[n].epoch < oldest)
        reached = f->places[n++].mark;
    memmove(f->places, f->places + n, (size_t)(f->n_places - n) * sizeof *f->places);
    f->n_places -= n;
    if (oldest == UINT32_MAX)
        reached = f->mark;
    if (reached == f->reached)
        return;
    f->reached = reached;
    f->owner.reached(f->owner.ctx, reached);
}

/* ---- the end ---- */

/* One of what it waits for when it is freed. */
static void on_closed(struct filestream *f)
{
    if (--f->n_open > 0)
        return;
    fs_waiting_fini(&f->waiting);
    buf_fini(&f->request.text);
    mem_free(f->url);
    mem_free(f);
}

static void on_timer_closed(uv_handle_t *timer)
{
    on_closed(timer->data);
}

static void on_post_closed(struct fs_post *p)
{
    on_closed((struct filestream *)((char *)p - offsetof(struct filestream, post)));
}

static void end(struct filestream *f, int error)
{
    f->over = true;
    uv_timer_stop(&f->timer);
    if (error == 0 && f->n_left_out > 0) {
        char text[128];
        snprintf(text, sizeof text, "%llu lines of data that exceeded the size limit were not uploaded.",
                 (unsigned long long)f->n_left_out);
        f->owner.tell(f->owner.ctx, false, text);
    }
    f->owner.finished(f->owner.ctx, error);
}

/* What waits is of no use any more. */
static void forget(struct filestream *f)
{
    size_t max_request = f->waiting.max_request_bytes, max_line = f->waiting.max_line_bytes;
    fs_waiting_fini(&f->waiting);
    fs_waiting_init(&f->waiting, max_request, max_line);
    buf_fini(&f->request.text);
    f->request = (struct fs_request){0};
    count_bytes(f);
}

static void die(struct filestream *f, int error, const char *why)
{
    diag_error("file stream: fatal: %s: %s", f->url, why);
    f->fatal = error;
    f->stopped |= f->stop_on_fatal;
    forget(f);
    f->owner.tell(f->owner.ctx, true,
                  "Fatal error while uploading data. Some run data will not be synced, but it will still be "
                  "written to disk. Use `wandb sync` at the end of the run to try uploading.");
    notice_room(f);
}

/* ---- requests ---- */

static void read_answer(struct filestream *f, struct str answer)
{
    if (str_eqz(json_at(answer, "stopped"), "true"))
        f->stopped = true;
    struct str pulse = json_at(answer, "limits.heartbeat_seconds"); /* older backends */
    double s = 0;
    if (pulse.n > 0 && number_parse_double(pulse.p, pulse.n, &s) == pulse.n && s >= 1 && s <= 3600)
        f->heartbeat_ns = (int64_t)(s * 1e9);
}

static void on_posted(struct fs_post *p, int error)
{
    struct filestream *f = (struct filestream *)((char *)p - offsetof(struct filestream, post));
    f->posting = false;
    if (error && error != TARE_ECANCELLED && !f->aborted) {
        die(f, error, p->why);
    } else if (error) {
        f->aborted = true;
    } else {
        read_answer(f, buf_str(&p->http.answer));
        if (f->request.has_complete)
            f->complete = false;
        buf_fini(&f->request.text);
        f->request = (struct fs_request){0};
        count_bytes(f);
        notice_marks(f);
    }
    http_request_fini(&p->http);
    http_request_init(&p->http);
    if (!f->is_freed)
        notice_room(f);
    if (!f->is_freed)
        look(f);
}

static void on_retry(struct fs_post *p)
{
    tell_stall((struct filestream *)((char *)p - offsetof(struct filestream, post)));
}

/* The summary as it is now, into what waits. */
static void ask_summary(struct filestream *f)
{
    AUTO_BUF json = {0};
    f->owner.summary(f->owner.ctx, &json);
    f->waiting.failed |= json.failed;
    if (json.len == 0)
        f->waiting.summary_changed = false;
    else if (!fs_set_summary(&f->waiting, buf_str(&json)))
        tell_summary_left_out(f, json.len);
}

static void begin_request(struct filestream *f)
{
    if (f->waiting.summary_changed)
        ask_summary(f);
    note_place(f);
    int rc = fs_take(&f->waiting, f->complete && f->finishing ? &f->exit_code : NULL, &f->request);
    if (rc) {
        die(f, rc, err_text(rc));
        look(f);
        return;
    }
    f->sent_ns = clock_mono_ns();
    if (!f->request.is_heartbeat)
        f->slot_ns = f->sent_ns + f->interval_ns;
    f->armed = NEVER;
    f->posting = true;
    count_bytes(f);
    fs_post_start(&f->post, f->url, fs_body(&f->request), f->has_gzip && !f->request.is_heartbeat);
    notice_room(f);
}

static void on_gzip(void *ctx, bool has)
{
    struct filestream *f = ctx;
    f->gzip_known = true;
    f->has_gzip = has;
    bool was_freed = f->is_freed;
    on_closed(f);
    if (!was_freed)
        look(f);
}

/* ---- when ---- */

static enum urgency urgency_of(const struct filestream *f)
{
    if (!f->url || f->fatal)
        return NEVER;
    if (f->finishing || f->waiting.preempting || is_full(f) || f->waiting.bytes >= f->waiting.max_request_bytes)
        return AT_ONCE;
    return fs_is_empty(&f->waiting) ? SOMETIME : SOON;
}

/* Something is not with the backend. */
static bool remains(const struct filestream *f)
{
    return f->complete || f->request.text.len > 0 || !fs_is_empty(&f->waiting);
}

static void arm(struct filestream *f, int64_t wait_ns, enum urgency urgency);

/* The timer, an answer, or a feature that is known now: do what is due. */
static void look(struct filestream *f)
{
    if (f->over || f->posting || (f->gzip_asked && !f->gzip_known))
        return;
    notice_marks(f);
    if (f->is_freed)
        return;
    if (f->aborted || (f->finishing && (f->fatal || !f->url || !remains(f)))) {
        end(f, f->fatal ? f->fatal : remains(f) ? TARE_ECANCELLED : 0);
        return;
    }
    enum urgency u = urgency_of(f);
    if (u == NEVER)
        return;
    int64_t now = clock_mono_ns();
    int64_t pulse = f->sent_ns + f->heartbeat_ns;
    int64_t due = u == AT_ONCE ? now : u == SOON && f->slot_ns < pulse ? f->slot_ns : pulse;
    if (due > now) {
        arm(f, due - now, u);
    } else if (f->may_gzip && !f->gzip_asked) {
        f->gzip_asked = true;
        f->n_open++;
        backend_feature(f->backend, "FILESTREAM_GZIP", on_gzip, f);
    } else {
        begin_request(f);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct filestream *f = timer->data;
    f->armed = NEVER;
    look(f);
}

static void arm(struct filestream *f, int64_t wait_ns, enum urgency urgency)
{
    f->armed = urgency;
    uv_timer_start(&f->timer, on_timer, (uint64_t)((wait_ns + 999999) / 1000000), 0);
}

/* Something was added: let the timer look, unless it will already. */
static void added(struct filestream *f)
{
    count_bytes(f);
    if (f->posting || f->over || f->armed == AT_ONCE)
        return;
    enum urgency u = urgency_of(f);
    if (u > f->armed)
        arm(f, 0, u);
}

static void wake(struct filestream *f)
{
    if (!f->posting && !f->over)
        arm(f, 0, AT_ONCE);
}

/* ---- public ---- */

/* The settings as the peer reads them: a request may only be larger than usual, a line may also be
 * smaller. */
static void read_settings(struct filestream *f, struct str settings)
{
    size_t request = FILESTREAM_REQUEST_BYTES, summary = FILESTREAM_LINE_BYTES;
    int64_t max_request = setting_wire_int(settings, SET_MAX_BYTES);
    int64_t max_line = setting_wire_int(settings, SET_MAX_LINE_BYTES);
    double interval_s = setting_wire_double(settings, SET_INTERVAL);
    if (max_request > (int64_t)request && max_request <= INT32_MAX)
        request = (size_t)max_request;
    if (max_line > (int64_t)summary && max_line <= INT32_MAX)
        summary = (size_t)max_line;
    f->max_line_bytes = max_line > 0 && max_line <= INT32_MAX ? (size_t)max_line : FILESTREAM_LINE_BYTES;
    f->interval_ns = interval_s > 0 && interval_s < 1e6 ? (int64_t)(interval_s * 1e9) : FILESTREAM_INTERVAL_NS;
    f->heartbeat_ns = FILESTREAM_HEARTBEAT_NS;
    f->may_gzip = !setting_wire_bool(settings, SET_NO_GZIP);
    f->stop_on_fatal = setting_wire_bool(settings, SET_STOP_ON_FATAL);
    fs_waiting_init(&f->waiting, request, summary);
    retry_policy_of(&f->post.policy, settings, BACKEND_FILESTREAM);
}

struct filestream *filestream_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                  const struct filestream_owner *owner)
{
    struct filestream *f = xmem_calloc(1, sizeof *f);
    f->backend = b;
    f->owner = *owner;
    read_settings(f, settings);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    f->post.backend = b;
    f->post.loop = loop;
    f->post.done = on_posted;
    f->post.on_retry = on_retry;
    fs_post_init(&f->post);
    f->n_open = 2;
    return f;
}

void filestream_free(struct filestream *f)
{
    if (!f)
        return;
    f->is_freed = true;
    f->over = true;
    total_bytes -= f->counted_bytes;
    f->counted_bytes = 0;
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
    fs_post_close(&f->post, on_post_closed);
}

void filestream_start(struct filestream *f, const char *entity, const char *project, const char *run_id,
                      const struct filestream_offsets *from)
{
    assert(!f->url);
    AUTO_BUF url = {0};
    buf_puts(&url, backend_url(f->backend));
    buf_puts(&url, "/files/");
    buf_put_percent(&url, str_of(entity), PERCENT_PATH);
    buf_putc(&url, '/');
    buf_put_percent(&url, str_of(project), PERCENT_PATH);
    buf_putc(&url, '/');
    buf_put_percent(&url, str_of(run_id), PERCENT_PATH);
    buf_puts(&url, "/file_stream");
    f->url = xmem_strdup(buf_z(&url));
    f->waiting.history.at = from->history;
    f->waiting.events.at = from->events;
    f->waiting.console_offset = from->console;
    f->sent_ns = clock_mono_ns();
    f->slot_ns = f->sent_ns + (f->interval_ns < FILESTREAM_FIRST_NS ? f->interval_ns : FILESTREAM_FIRST_NS);
    added(f);
}

/* Nothing can be added any more, or it would be of no use. */
static bool takes(const struct filestream *f)
{
    return !f->over && !f->fatal && !f->aborted;
}

void filestream_history(struct filestream *f, struct str quoted, size_t n)
{
    if (!takes(f))
        return;
    if (n > f->max_line_bytes) {
        tell_line_left_out(f, n);
        return;
    }
    fs_add_history(&f->waiting, quoted);
    added(f);
}

void filestream_event(struct filestream *f, struct str line)
{
    if (!takes(f))
        return;
    if (line.n > f->max_line_bytes) { /* the peer is silent about these */
        diag_warn("file stream: system metrics line too long: %zu > %zu bytes", line.n, f->max_line_bytes);
        f->n_left_out++;
        return;
    }
    fs_add_event(&f->waiting, line);
    added(f);
}

void filestream_summary(struct filestream *f)
{
    if (f->waiting.summary_changed || !takes(f))
        return;
    fs_change_summary(&f->waiting);
    added(f);
}

void filestream_console(struct filestream *f, uint64_t number, struct str line)
{
    if (!takes(f))
        return;
    if (line.n > FILESTREAM_LINE_BYTES) {
        f->n_left_out++;
        return;
    }
    fs_add_console(&f->waiting, number, line);
    added(f);
}

void filestream_uploaded(struct filestream *f, const char *path)
{
    if (!takes(f))
        return;
    fs_add_uploaded(&f->waiting, str_of(path));
    added(f);
}

void filestream_preempting(struct filestream *f)
{
    if (!takes(f))
        return;
    fs_add_preempting(&f->waiting);
    added(f);
}

void filestream_mark(struct filestream *f, uint64_t mark)
{
    f->mark = mark;
    if (f->armed < SOON && !f->posting && takes(f) && fs_is_empty(&f->waiting))
        arm(f, 0, SOON);
}

bool filestream_is_full(struct filestream *f)
{
    return f->full_told = is_full(f);
}

bool filestream_is_stopped(const struct filestream *f)
{
    return f->stopped;
}

static void describe(const struct fs_request *r, struct buf *to)
{
    const char *sep = "uploading ";
    if (r->n_history > 0) {
        buf_printf(to, "%shistory steps %llu-%llu", sep, (unsigned long long)r->history_at,
                   (unsigned long long)(r->history_at + r->n_history - 1));
        sep = ", ";
    }
    if (r->has_summary) {
        buf_printf(to, "%ssummary", sep);
        sep = ", ";
    }
    if (r->n_console > 0)
        buf_printf(to, "%sconsole lines %llu-%llu", sep, (unsigned long long)r->console_at,
                   (unsigned long long)(r->console_at + r->n_console - 1));
    if (to->len == 0)
        buf_puts(to, "uploading data");
}

int filestream_operations(const struct filestream *f, struct buf *to)
{
    if (!f->posting)
        return 0;
    AUTO_BUF text = {0};
    describe(&f->request, &text);
    size_t mark = wire_buf_begin(to, STATS_OPERATIONS);
    wire_buf_bytes(to, OP_DESC, buf_str(&text));
    wire_buf_double(to, OP_RUNTIME, (double)(clock_mono_ns() - f->sent_ns) / 1e9);
    if (f->post.why[0]) {
        buf_clear(&text);
        buf_printf(&text, "%s%s", str_starts(str_of(f->post.why), STR("HTTP ")) ? "retrying " : "retrying: ", f->post.why);
        wire_buf_bytes(to, OP_ERROR, buf_str(&text));
    }
    wire_buf_end(to, mark);
    return 1;
}

void filestream_finish(struct filestream *f, bool complete, int32_t exit_code)
{
    f->finishing = true;
    f->complete = complete;
    f->exit_code = exit_code;
    wake(f);
}

void filestream_abort(struct filestream *f)
{
    f->aborted = true;
    if (f->posting)
        fs_post_cancel(&f->post);
    else
        wake(f);
}
