/* SPDX-License-Identifier: MIT */
/* The life of one journal in an operation:
 *
 *   LOOKING ──► WAITING ──► SENDING ──► DONE
 *      └───────────┴───────────┴──────► FAILED
 *
 *   LOOKING  a worker reads it up to its run record (in live mode until there is one)
 *   WAITING  until all have been looked into, until those of the same run that began earlier are
 *            DONE, and until fewer than `parallelism` are SENDING
 *   SENDING  a sender has it
 *
 * `step` makes all moves, from a timer that fires at once, never inside a sender's call: so a sender
 * is never freed by its own callback. The peer gives up all journals when one cannot be looked into;
 * here each fails for itself. The peer marks a journal as synced although its sender gave up; here
 * only what arrived is marked. */
#include "service/sync.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/path.h"
#include "loop/worker.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/sync_look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Field numbers: Settings, RunRecord, OperationStats, Operation. */
enum {
    SETTING_INIT_TIMEOUT = 79,
    SETTING_OFFLINE = 30,
    SETTING_SYNC_DIR = 133,
    SETTING_FINISH_TIMEOUT = 206,
    WRAPPER_VALUE = 1,
    RUN_ID = 1,
    RUN_ENTITY = 2,
    RUN_PROJECT = 3,
    RUN_DISPLAY_NAME = 8,
    STATS_LABEL = 3,
};

struct item {
    struct sync *sync;
    char *path, *shown;
    char *files_dir;
    char *run, *url;
    char why[512];
    enum sync_state state;
    int64_t start_ns;
    uint64_t bytes, reached;
    bool looked;   /* into, once */
    bool finished; /* the sender has said so: to be freed by step */
    bool left;     /* by its writer */
    int error;     /* of its end */
    struct buf settings;
    struct sender *sender;

    /* the worker's while `work.busy` */
    struct work work;
    bool marking; /* else looking */
    struct sync_look look;

    /* live mode; the watcher's while `sync->watch.busy` */
    struct {
        bool on, is_written, was_written;
        uint64_t bytes, last_bytes;
        int n_still; /* looks without a writer, and without growth */
    } seen;
};

struct sync {
    struct sync_options o;
    struct sync_owner owner;
    struct buf settings;
    char *cwd, *url, *key, *entity, *project, *run_id, *job_type;
    struct tag_rename *tags;
    struct item **items;
    size_t n_items, n_busy;
    unsigned parallelism;
    bool started, aborted, over, freed;
    uv_timer_t timer;      /* step */
    uv_timer_t look_timer; /* live mode: look again */
    uv_timer_t watch_timer;
    struct work watch;     /* who writes to what is followed */
    int n_handles;
};

static void look_later(struct sync *s);

/* -- saying ------------------------------------------------------------------------------------ */

static void tell(const struct item *it, enum sync_severity severity, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(const struct item *it, enum sync_severity severity, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    it->sync->owner.tell(it->sync->owner.ctx, severity, it->run ? it->run : "", text);
}

static void step_soon(struct sync *s);

static void fail(struct item *it, const char *why)
{
    it->state = SYNC_FAILED;
    snprintf(it->why, sizeof it->why, "%s", why);
    tell(it, SYNC_ERROR, "%s", why);
    step_soon(it->sync);
}

/* -- looking into a journal -------------------------------------------------------------------- */

static void on_look(struct work *w)
{
    struct item *it = (struct item *)((char *)w - offsetof(struct item, work));
    sync_look(&it->look, it->path, it->shown);
}

/* -- what a journal's run is ------------------------------------------------------------------- */

static void put_part(struct buf *b, const char *part)
{
    if (!*part)
        return;
    if (b->len)
        buf_putc(b, '/');
    buf_puts(b, part);
}

static const char *or_logged(const char *change, const char *logged)
{
    return change && *change ? change : logged;
}

static char *run_path(const struct item *it)
{
    const struct sender_changes *c = &it->sync->o.changes;
    const char *id = or_logged(c->run_id, it->look.id);
    struct buf b = {0};
    put_part(&b, or_logged(c->entity, it->look.entity));
    put_part(&b, or_logged(c->project, it->look.project));
    put_part(&b, *id ? id : "<no ID>");
    char *path = xmem_strdup(buf_z(&b));
    buf_fini(&b);
    return path;
}

static void on_looked(struct work *w)
{
    struct item *it = (struct item *)((char *)w - offsetof(struct item, work));
    struct sync *s = it->sync;
    s->n_busy--;
    if (s->freed || s->aborted) {
        step_soon(s);
        return;
    }
    it->looked = true;
    if (it->look.rc == TARE_ENOTFOUND && s->o.live && it->look.id) {
        sync_look_fini(&it->look);
        look_later(s); /* its writer has not come so far */
        step_soon(s);
        return;
    }
    if (it->look.rc < 0) {
        fail(it, it->look.why);
        return;
    }
    it->run = run_path(it);
    it->bytes = it->look.bytes;
    it->start_ns = it->look.start_ns;
    it->state = SYNC_WAITING;
    if (sync_is_newer(it->look.producer))
        tell(it, SYNC_WARNING,
             "Syncing a run generated with a newer SDK version (%s) may not work as expected.",
             it->look.producer);
    step_soon(s);
}

static void look(struct item *it)
{
    it->work.run = on_look;
    it->work.done = on_looked;
    it->sync->n_busy++;
    work_start(it->sync->o.loop, &it->work);
}

static void on_look_again(uv_timer_t *t)
{
    struct sync *s = t->data;
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i]->state == SYNC_LOOKING && !s->items[i]->work.busy)
            look(s->items[i]);
}

static void look_later(struct sync *s)
{
    if (!uv_is_active((uv_handle_t *)&s->look_timer))
        uv_timer_start(&s->look_timer, on_look_again, CURSOR_LOOK_MS, 0);
}

/* -- who writes to what is followed ------------------------------------------------------------ */

static void on_watch(struct work *w)
{
    struct sync *s = (struct sync *)((char *)w - offsetof(struct sync, watch));
    for (size_t i = 0; i < s->n_items; i++) {
        struct item *it = s->items[i];
        struct stat st;
        if (!it->seen.on)
            continue;
        it->seen.bytes = stat(it->path, &st) == 0 ? (uint64_t)st.st_size : 0;
        it->seen.is_written = s->o.is_written(it->path);
    }
}

static void note_writer(struct item *it)
{
    bool is_still = !it->seen.is_written && it->seen.bytes == it->seen.last_bytes;
    it->seen.n_still = is_still ? it->seen.n_still + 1 : 0;
    it->seen.last_bytes = it->seen.bytes;
    it->seen.was_written |= it->seen.is_written;
    bool is_left = it->seen.was_written && it->seen.n_still >= SYNC_LEFT_LOOKS;
    bool is_idle = !it->seen.was_written && it->seen.n_still == SYNC_STILL_LOOKS;
    if (it->state == SYNC_LOOKING && !it->work.busy && (is_left || is_idle)) {
        fail(it, it->look.why); /* every program says first which run it is */
    } else if (it->state == SYNC_SENDING && is_left && !it->left) {
        it->left = true;
        tell(it, SYNC_WARNING, "Its program has gone without finishing it: %s is brought as it is.", it->shown);
        sender_end_live(it->sender);
    } else if (it->state == SYNC_SENDING && is_idle) {
        tell(it, SYNC_WARNING,
             "%s does not grow, and nothing on this machine writes to it. If its program has ended, press Control-C: "
             "without --live it is brought as it is.",
             it->shown);
    }
}

static void on_watched(struct work *w)
{
    struct sync *s = (struct sync *)((char *)w - offsetof(struct sync, watch));
    s->n_busy--;
    for (size_t i = 0; !s->freed && !s->aborted && i < s->n_items; i++)
        if (s->items[i]->seen.on)
            note_writer(s->items[i]);
    step_soon(s);
}

static void on_watch_time(uv_timer_t *t)
{
    struct sync *s = t->data;
    bool any = false;
    if (s->watch.busy || s->freed || s->over)
        return;
    for (size_t i = 0; i < s->n_items; i++) {
        struct item *it = s->items[i];
        it->seen.on = it->state == SYNC_LOOKING || (it->state == SYNC_SENDING && !it->finished);
        any |= it->seen.on;
    }
    if (!any)
        return;
    s->watch.run = on_watch;
    s->watch.done = on_watched;
    s->n_busy++;
    work_start(s->o.loop, &s->watch);
}

/* -- sending ----------------------------------------------------------------------------------- */

static void on_run_ready(void *ctx, struct str run)
{
    struct item *it = ctx;
    struct str name = wire_find_bytes(run, RUN_DISPLAY_NAME);
    struct buf b = {0};
    buf_printf(&b, "%s/", backend_app_url(sender_backend(it->sender)));
    buf_put_percent(&b, wire_find_bytes(run, RUN_ENTITY), PERCENT_PATH);
    buf_putc(&b, '/');
    buf_put_percent(&b, wire_find_bytes(run, RUN_PROJECT), PERCENT_PATH);
    buf_puts(&b, "/runs/");
    buf_put_percent(&b, wire_find_bytes(run, RUN_ID), PERCENT_PATH);
    mem_free(it->url);
    it->url = xmem_strdup(buf_z(&b));
    buf_fini(&b);
    tell(it, SYNC_INFO, "View run %.*s%sat %s", STR_ARG(name), name.n ? " " : "", it->url);
}

static void end_item(struct item *it, int error)
{
    if (it->finished)
        return;
    it->finished = true;
    it->error = error;
    step_soon(it->sync);
}

static void on_run_failed(void *ctx, int code, const char *message)
{
    struct item *it = ctx;
    (void)code;
    snprintf(it->why, sizeof it->why, "%s", message);
    end_item(it, TARE_EPROTO);
}

static void on_reached(void *ctx, uint64_t offset)
{
    ((struct item *)ctx)->reached = offset;
}

static void on_tell(void *ctx, bool error, const char *text)
{
    tell(ctx, error ? SYNC_ERROR : SYNC_WARNING, "%s", text);
}

static void on_finished(void *ctx, int error)
{
    end_item(ctx, error);
}

/* The settings of the operation, for the folder the journal lies in. The operation is a new one:
 * what the program said of its own (offline, how long it waits) does not count.
 * (peer: runsync/syncsettings.go) */
static void fill_settings(struct item *it, struct str from)
{
    struct wire_field f;
    const char *at = from.p;
    for (struct wire_reader r = wire_open(from); wire_next(&r, &f) > 0; at = r.p)
        if (f.number != SETTING_OFFLINE && f.number != SETTING_FINISH_TIMEOUT &&
            f.number != SETTING_INIT_TIMEOUT && f.number != SETTING_SYNC_DIR)
            buf_append(&it->settings, at, (size_t)(r.p - at));
    size_t mark = wire_buf_begin(&it->settings, SETTING_SYNC_DIR);
    wire_buf_bytes(&it->settings, WRAPPER_VALUE, path_dir(str_of(it->path)));
    wire_buf_end(&it->settings, mark);
}

static void bring(struct item *it)
{
    struct sync *s = it->sync;
    struct err e = {0};
    struct str dir = path_dir(str_of(it->path));
    AUTO_FREE char *folder = xmem_strndup(dir.p, dir.n);
    const struct sender_owner owner = {
        .ctx = it,
        .run_ready = on_run_ready,
        .run_failed = on_run_failed,
        .reached = on_reached,
        .tell = on_tell,
        .finished = on_finished,
    };
    it->files_dir = path_join(folder, "files");
    fill_settings(it, buf_str(&s->settings));
    const struct sender_options o = {
        .loop = s->o.loop,
        .http = s->o.http,
        .settings = buf_str(&it->settings),
        .files_dir = it->files_dir,
        .url = s->url,
        .key = s->key,
        .changes = s->o.changes,
        .is_sync = true,
        .tells_retries = true,
    };
    it->sender = sender_new(&o, &owner, &e);
    if (!it->sender) {
        fail(it, e.text);
        return;
    }
    it->state = SYNC_SENDING;
    sender_read(it->sender, it->path, s->o.live);
}

/* -- the end of one ---------------------------------------------------------------------------- */

static void on_mark(struct work *w)
{
    struct item *it = (struct item *)((char *)w - offsetof(struct item, work));
    char path[PATH_MAX];
    bool fits = snprintf(path, sizeof path, "%s.synced", it->path) < (int)sizeof path; /* cut off, it could name the journal */
    int fd = fits ? os->open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -ENAMETOOLONG;
    it->look.rc = fd < 0 ? fd : os->close(fd);
}

static void on_marked(struct work *w)
{
    struct item *it = (struct item *)((char *)w - offsetof(struct item, work));
    struct sync *s = it->sync;
    s->n_busy--;
    it->state = SYNC_DONE;
    if (!s->freed && it->look.rc < 0)
        tell(it, SYNC_WARNING, "%s.synced could not be written: %s", it->shown,
             err_text(it->look.rc));
    if (!s->freed)
        tell(it, SYNC_INFO, "Finished syncing %s", it->shown);
    step_soon(s);
}

static void settle(struct item *it)
{
    sender_free(it->sender);
    it->sender = NULL;
    it->finished = false;
    if (it->error) {
        if (it->error == TARE_ECANCELLED)
            snprintf(it->why, sizeof it->why, "Cancelled.");
        else if (!*it->why)
            snprintf(it->why, sizeof it->why, "Not everything of %s arrived: %s", it->shown,
                     err_text(it->error));
        char why[sizeof it->why];
        memcpy(why, it->why, sizeof why);
        fail(it, why);
        return;
    }
    it->reached = it->bytes;
    if (it->left) { /* should its writer be back, the rest is for another sync */
        it->state = SYNC_DONE;
        tell(it, SYNC_INFO, "Finished syncing %s", it->shown);
        step_soon(it->sync);
        return;
    }
    it->marking = true;
    it->work.run = on_mark;
    it->work.done = on_marked;
    it->sync->n_busy++;
    work_start(it->sync->o.loop, &it->work);
}

/* -- the operation ----------------------------------------------------------------------------- */

static bool comes_before(const struct item *a, const struct item *b)
{
    if (a->start_ns != b->start_ns)
        return a->start_ns < b->start_ns;
    return strcmp(a->path, b->path) < 0;
}

/* May `it` begin? Not before another journal of its run that is older, nor beside any; if an older one
 * has failed, it cannot: its rows would take the place of those that are missing. */
static bool is_free(struct item *it)
{
    struct sync *s = it->sync;
    for (size_t i = 0; i < s->n_items; i++) {
        const struct item *other = s->items[i];
        if (other == it || !other->run || strcmp(other->run, it->run) != 0 || other->state == SYNC_DONE ||
            (!comes_before(other, it) && other->state != SYNC_SENDING))
            continue;
        if (other->state == SYNC_FAILED)
            fail(it, "An earlier part of the run could not be synced.");
        return false;
    }
    return true;
}

static size_t count(const struct sync *s, enum sync_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_items; i++)
        n += s->items[i]->state == state;
    return n;
}

/* At least once: in live mode, one whose run is not known yet holds up no others. */
static bool all_were_looked_into(const struct sync *s)
{
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i]->state == SYNC_LOOKING && !s->items[i]->looked)
            return false;
    return true;
}

static void begin_more(struct sync *s)
{
    if (count(s, SYNC_LOOKING) && !(s->o.live && all_were_looked_into(s)))
        return;
    size_t n_sending = count(s, SYNC_SENDING);
    for (size_t i = 0; i < s->n_items && n_sending < s->parallelism; i++)
        if (s->items[i]->state == SYNC_WAITING && is_free(s->items[i])) {
            bring(s->items[i]);
            n_sending += s->items[i]->state == SYNC_SENDING;
        }
}

static void give_up_waiting(struct sync *s)
{
    uv_timer_stop(&s->look_timer);
    for (size_t i = 0; i < s->n_items; i++) {
        struct item *it = s->items[i];
        if ((it->state == SYNC_LOOKING && !it->work.busy) || it->state == SYNC_WAITING)
            fail(it, "Cancelled.");
    }
}

static void free_all(struct sync *s);

static void on_step(uv_timer_t *t)
{
    struct sync *s = t->data;
    if (s->freed) {
        if (s->n_busy == 0)
            free_all(s);
        return;
    }
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i]->finished)
            settle(s->items[i]);
    if (s->aborted)
        give_up_waiting(s);
    else
        begin_more(s);
    if (s->n_busy == 0 && !s->over &&
        count(s, SYNC_DONE) + count(s, SYNC_FAILED) == s->n_items) {
        s->over = true;
        s->owner.finished(s->owner.ctx);
    }
}

static void step_soon(struct sync *s)
{
    if (s->started || s->freed)
        uv_timer_start(&s->timer, on_step, 0, 0);
}

static char *copy_or_null(const char *text)
{
    return text && *text ? xmem_strdup(text) : NULL;
}

static void copy_changes(struct sync *s, const struct sender_changes *c)
{
    s->o.changes.entity = s->entity = copy_or_null(c->entity);
    s->o.changes.project = s->project = copy_or_null(c->project);
    s->o.changes.run_id = s->run_id = copy_or_null(c->run_id);
    s->o.changes.job_type = s->job_type = copy_or_null(c->job_type);
    s->tags = xmem_calloc(c->n_tags + 1, sizeof *s->tags);
    for (size_t i = 0; i < c->n_tags; i++)
        s->tags[i] = (struct tag_rename){xmem_strdup(c->tags[i].from), xmem_strdup(c->tags[i].to)};
    s->o.changes.tags = s->tags;
}

struct sync *sync_new(const struct sync_options *o, const struct sync_owner *owner)
{
    struct sync *s = xmem_calloc(1, sizeof *s);
    s->o = *o;
    s->owner = *owner;
    buf_put_str(&s->settings, o->settings);
    s->cwd = copy_or_null(o->cwd);
    s->url = copy_or_null(o->url);
    s->key = copy_or_null(o->key);
    copy_changes(s, &o->changes);
    uv_timer_init(o->loop, &s->timer);
    uv_timer_init(o->loop, &s->look_timer);
    uv_timer_init(o->loop, &s->watch_timer);
    s->timer.data = s->look_timer.data = s->watch_timer.data = s;
    return s;
}

/* -- paths ------------------------------------------------------------------------------------- */

void sync_add(struct sync *s, const char *path)
{
    struct item *it = xmem_calloc(1, sizeof *it);
    it->sync = s;
    it->path = path[0] == '/' || !s->cwd ? xmem_strdup(path) : path_join(s->cwd, path);
    it->shown = sync_shown_path(it->path, s->cwd);
    s->items = xmem_realloc(s->items, (s->n_items + 1) * sizeof *s->items);
    s->items[s->n_items++] = it;
}

void sync_start(struct sync *s, unsigned parallelism)
{
    s->parallelism = parallelism ? parallelism : 1;
    s->started = true;
    for (size_t i = 0; i < s->n_items; i++) {
        struct item *it = s->items[i];
        if (it->path[0] == '/') {
            look(it);
            continue;
        }
        char why[sizeof it->why];
        snprintf(why, sizeof why, "Failed to resolve \"%s\", skipping.", it->shown);
        fail(it, why);
    }
    if (s->o.live && s->o.is_written)
        uv_timer_start(&s->watch_timer, on_watch_time, SYNC_WATCH_MS, SYNC_WATCH_MS);
    step_soon(s);
}

void sync_abort(struct sync *s)
{
    s->aborted = true;
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i]->sender && !s->items[i]->finished)
            sender_abort(s->items[i]->sender);
    step_soon(s);
}

/* -- the end ----------------------------------------------------------------------------------- */

static void free_item(struct item *it)
{
    sync_look_fini(&it->look);
    buf_fini(&it->settings);
    mem_free(it->path);
    mem_free(it->shown);
    mem_free(it->files_dir);
    mem_free(it->run);
    mem_free(it->url);
    mem_free(it);
}

static void on_closed(uv_handle_t *h)
{
    struct sync *s = h->data;
    if (--s->n_handles == 0)
        mem_free(s);
}

static void free_all(struct sync *s)
{
    for (size_t i = 0; i < s->n_items; i++)
        free_item(s->items[i]);
    for (size_t i = 0; i < s->o.changes.n_tags; i++) {
        mem_free((char *)s->tags[i].from);
        mem_free((char *)s->tags[i].to);
    }
    char *owned[] = {s->cwd, s->url, s->key, s->entity, s->project, s->run_id, s->job_type};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
    mem_free(s->tags);
    mem_free(s->items);
    buf_fini(&s->settings);
    s->n_handles = 3;
    uv_close((uv_handle_t *)&s->timer, on_closed);
    uv_close((uv_handle_t *)&s->watch_timer, on_closed);
    uv_close((uv_handle_t *)&s->look_timer, on_closed);
}

void sync_free(struct sync *s)
{
    if (!s)
        return;
    s->freed = true;
    uv_timer_stop(&s->look_timer);
    uv_timer_stop(&s->watch_timer);
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i]->sender) {
            sender_free(s->items[i]->sender);
            s->items[i]->sender = NULL;
        }
    step_soon(s);
}

/* -- looking on -------------------------------------------------------------------------------- */

size_t sync_n_files(const struct sync *s)
{
    return s->n_items;
}

struct sync_file sync_file(const struct sync *s, size_t i)
{
    const struct item *it = s->items[i];
    return (struct sync_file){
        .path = it->path,
        .shown = it->shown,
        .run = it->run ? it->run : "",
        .url = it->url ? it->url : "",
        .state = it->state,
        .bytes = it->bytes > it->reached ? it->bytes : it->reached,
        .reached = it->reached,
        .why = it->why,
    };
}

void sync_operations(const struct sync *s, struct buf *to, uint32_t number)
{
    for (size_t i = 0; i < s->n_items; i++) {
        const struct item *it = s->items[i];
        size_t mark = wire_buf_begin(to, number);
        if (it->sender)
            sender_operations(it->sender, to);
        wire_buf_bytes(to, STATS_LABEL, str_of(it->run ? it->run : it->shown));
        wire_buf_end(to, mark);
    }
}
