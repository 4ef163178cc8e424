/* SPDX-License-Identifier: MIT */
/* One read at a time: a worker reads and checks CURSOR_BATCH_BYTES of records and puts them behind
 * one another in `batch`; the loop gives them to the owner, as many as it takes; when the last is
 * given the next read begins, or, at the end, the wait for more.
 *
 *   READY ──► READING ──► GIVING ──► READY      (`step` makes every move)
 *
 * At its end a cursor holds no descriptor and no buffer, so a thousand quiet runs cost nothing. */
#include "service/stream/cursor.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/os.h"
#include "journal/reader.h"
#include "loop/worker.h"
#include "service/limits.h"
#include "service/stream/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* What stands in `batch` before the bytes of a record, or for a gap. */
struct entry {
    uint64_t end; /* offset behind it */
    struct journal_gap gap;
    size_t n;
    bool is_gap;
};

struct cursor {
    uv_loop_t *loop;
    struct cursor_owner owner;
    char *path; /* NULL: a memory file */
    bool own;   /* this process writes it */
    bool live;  /* someone else still may */
    bool final; /* it will grow no more */
    bool wanted; /* the owner takes records */
    bool giving; /* inside a call of the owner */
    bool freed;
    bool told;  /* at_end was called for this end */
    bool failed;
    bool use_writers; /* the path cannot be opened: read through the writer's descriptor */
    uint64_t end;    /* of whole records, while `own` */
    uint64_t offset; /* behind the last record given */
    uint64_t hurry_until_ms;

    struct buf batch;
    size_t batch_at; /* what of it is given */

    /* the worker's while `work.busy` */
    struct work work;
    struct journal_reader reader; /* fd -1: not open */
    uint64_t read_from, read_to;
    uint64_t limit; /* what of the file may be read */
    bool growing;   /* its end is not judged */
    int given_fd;   /* read this instead of opening the path; -1 */
    struct spill *spill;      /* is open instead of a file */
    struct spill *next_spill; /* to be opened; NULL for the file */
    bool reopen;              /* what is open is not what is to be read any more */
    bool at_end;
    int rc;

    uv_timer_t timer;
    bool waiting; /* for the timer */
    bool waited;  /* long enough: read what there is */
};

static void step(struct cursor *c);

/* -- on a worker thread ------------------------------------------------------------------------ */

static int open_file(struct cursor *c)
{
    uint64_t at = c->read_to;
    if (c->next_spill) {
        c->spill = c->next_spill;
        c->next_spill = NULL;
        journal_reader_init_read(&c->reader, spill_read, c->spill);
        c->reader.window_bytes = CURSOR_WINDOW_BYTES;
        if (at)
            journal_reader_seek(&c->reader, at);
        return 0;
    }
    int fd = c->given_fd >= 0 ? c->given_fd
             : c->path        ? os->open(c->path, O_RDONLY | O_NONBLOCK, 0)
                              : -EMFILE; /* the writer's could not be duplicated */
    if (fd < 0)
        return fd;
    journal_reader_init_fd(&c->reader, fd);
    c->reader.window_bytes = CURSOR_WINDOW_BYTES;
    if (at)
        journal_reader_seek(&c->reader, at);
    return 0;
}

static void put_entry(struct cursor *c, const struct journal_item *item, bool is_gap)
{
    struct entry e = {.end = journal_reader_offset(&c->reader), .is_gap = is_gap};
    if (is_gap)
        e.gap = item->gap;
    else
        e.n = item->bytes.n;
    if (!buf_reserve(&c->batch, sizeof e + e.n))
        return;
    buf_append(&c->batch, &e, sizeof e);
    buf_append(&c->batch, item->bytes.p, e.n);
}

static int read_batch(struct cursor *c)
{
    while (c->batch.len < CURSOR_BATCH_BYTES) {
        struct journal_item item;
        int rc = journal_reader_next(&c->reader, &item);
        if (rc < 0)
            return rc;
        if (rc == JOURNAL_END) {
            c->at_end = true;
            return 0;
        }
        put_entry(c, &item, rc == JOURNAL_GAP);
        if (c->batch.failed)
            return TARE_ENOMEM;
    }
    return 0;
}

static bool is_open(const struct cursor *c)
{
    return c->reader.fd >= 0 || c->reader.read;
}

static void close_file(struct cursor *c)
{
    if (is_open(c))
        journal_reader_close(&c->reader);
    spill_unref(c->spill);
    c->spill = NULL;
}

static void on_run(struct work *w)
{
    struct cursor *c = (struct cursor *)((char *)w - offsetof(struct cursor, work));
    if (c->reopen)
        close_file(c);
    c->reopen = false;
    c->rc = is_open(c) ? 0 : open_file(c);
    if (c->rc == 0) {
        if (c->reader.limit != c->limit)
            journal_reader_rest(&c->reader); /* what was the end may be none */
        c->reader.live = c->growing;
        c->reader.limit = c->limit;
        c->rc = read_batch(c);
        c->read_to = journal_reader_offset(&c->reader);
    }
    if (c->rc || (c->at_end && !c->reader.assembling && !c->reader.searching))
        close_file(c);
    else if (c->at_end)
        journal_reader_rest(&c->reader);
}

/* -- on the loop ------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t)
{
    struct cursor *c = t->data;
    c->waiting = false;
    c->waited = true;
    c->at_end = false;
    step(c);
}

static void wait_for(struct cursor *c, uint64_t ms)
{
    c->waiting = true;
    uv_timer_start(&c->timer, on_timer, ms, 0);
}

/* From the file or from what it does not hold: to be opened, if it isn't. Returns where the file ends. */
static uint64_t choose_source(struct cursor *c)
{
    struct spill *spill = c->own && c->owner.spill ? c->owner.spill(c->owner.ctx) : NULL;
    uint64_t file_end = spill ? spill_start(spill) : UINT64_MAX;
    struct spill *wanted = c->read_to >= file_end ? spill : NULL;
    spill_unref(c->next_spill);
    c->next_spill = NULL;
    c->reopen = wanted != c->spill;
    if (wanted && c->reopen)
        c->next_spill = spill_ref(wanted);
    return wanted ? UINT64_MAX : file_end;
}

static void start_read(struct cursor *c)
{
    c->at_end = c->waited = false;
    c->given_fd = -1;
    uint64_t file_end = choose_source(c);
    if ((!is_open(c) || c->reopen) && !c->next_spill && c->own && (!c->path || c->use_writers)) {
        int fd = c->owner.writer_fd ? c->owner.writer_fd(c->owner.ctx) : -1;
        c->given_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    }
    c->read_from = c->read_to;
    c->limit = c->own ? c->end : UINT64_MAX;
    if (c->limit > file_end)
        c->limit = file_end;
    c->growing = c->live || (c->own && !c->final);
    buf_clear(&c->batch);
    c->batch_at = 0;
    work_start(c->loop, &c->work);
}

/* Nothing of ours is in the journal's way when it cannot be read for want of descriptors or memory. */
static bool is_passing(int error)
{
    return error == -EMFILE || error == -ENFILE || error == TARE_ENOMEM || error == -ENOMEM ||
           error == -EINTR || error == -EAGAIN;
}

static void on_failed(struct cursor *c, int rc)
{
    char why[512];
    if (is_passing(rc) || (c->own && !c->use_writers)) {
        c->use_writers = c->own;
        wait_for(c, CURSOR_LOOK_MS);
        return;
    }
    c->failed = true;
    snprintf(why, sizeof why, "reading %.300s: %s", c->path ? c->path : "the journal in memory",
             err_text(rc));
    c->owner.failed(c->owner.ctx, rc, why);
}

static void cursor_destroy(uv_handle_t *h)
{
    struct cursor *c = h->data;
    close_file(c);
    spill_unref(c->next_spill);
    buf_fini(&c->batch);
    mem_free(c->path);
    mem_free(c);
}

static void close_cursor(struct cursor *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->timer))
        uv_close((uv_handle_t *)&c->timer, cursor_destroy);
}

static void on_done(struct work *w)
{
    struct cursor *c = (struct cursor *)((char *)w - offsetof(struct cursor, work));
    if (c->freed)
        close_cursor(c);
    else
        step(c);
}

/* Give what is in the batch; false when the owner has enough, or is gone. */
static bool give_batch(struct cursor *c)
{
    c->giving = true;
    while (c->wanted && !c->freed && c->batch_at < c->batch.len) {
        struct entry e;
        memcpy(&e, c->batch.data + c->batch_at, sizeof e);
        struct str bytes = str_make(c->batch.data + c->batch_at + sizeof e, e.n);
        c->batch_at += sizeof e + e.n;
        c->offset = e.end;
        c->told = false;
        if (!e.is_gap) {
            c->wanted = false; /* unless it says so, or cursor_go from inside */
            c->wanted = c->owner.record(c->owner.ctx, bytes, e.end) || c->wanted;
        } else if (c->owner.gap) {
            c->owner.gap(c->owner.ctx, &e.gap);
        }
    }
    c->giving = false;
    return c->wanted && !c->freed;
}

static void on_at_end(struct cursor *c)
{
    buf_fini(&c->batch);
    c->batch_at = 0;
    if (!c->told) {
        c->told = c->giving = true;
        c->owner.at_end(c->owner.ctx);
        c->giving = false;
    }
    if (!c->freed && c->live && !c->waiting)
        wait_for(c, CURSOR_LOOK_MS);
}

static bool is_urgent(const struct cursor *c)
{
    return c->final || c->end - c->read_to >= CURSOR_BATCH_BYTES / 2 ||
           uv_now(c->loop) < c->hurry_until_ms;
}

/* More may be read: at once or a little later. */
static void read_on(struct cursor *c)
{
    bool stuck = c->at_end && c->read_to == c->read_from; /* damaged: wait for more */
    if (c->own && (c->read_to >= c->end || stuck))
        on_at_end(c);
    else if (!c->own || c->waited || is_urgent(c))
        start_read(c);
    else if (!c->waiting)
        wait_for(c, CURSOR_GATHER_MS);
}

static void step(struct cursor *c)
{
    if (c->work.busy || c->giving || c->failed)
        return;
    if (give_batch(c)) {
        int rc = c->rc;
        c->rc = 0; /* the worker's again once it reads on */
        if (rc)
            on_failed(c, rc);
        else if (c->at_end && !c->own)
            on_at_end(c);
        else
            read_on(c);
    }
    if (c->freed && !c->work.busy)
        close_cursor(c);
}

/* -- life -------------------------------------------------------------------------------------- */

static struct cursor *make(uv_loop_t *loop, const char *path, uint64_t from,
                           const struct cursor_owner *owner)
{
    struct cursor *c = xmem_calloc(1, sizeof *c);
    c->loop = loop;
    c->owner = *owner;
    c->path = path ? xmem_strdup(path) : NULL;
    c->offset = c->read_to = from;
    c->reader.fd = c->given_fd = -1;
    c->work = (struct work){.run = on_run, .done = on_done};
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    return c;
}

struct cursor *cursor_new(uv_loop_t *loop, const char *path, uint64_t from, bool live,
                          const struct cursor_owner *owner)
{
    struct cursor *c = make(loop, path, from, owner);
    c->live = live;
    return c;
}

struct cursor *cursor_follow(uv_loop_t *loop, const char *path, uint64_t from,
                             const struct cursor_owner *owner)
{
    struct cursor *c = make(loop, path, from, owner);
    c->own = true;
    return c;
}

void cursor_free(struct cursor *c)
{
    if (!c)
        return;
    c->freed = true;
    uv_timer_stop(&c->timer);
    if (!c->work.busy && !c->giving)
        close_cursor(c);
}

void cursor_go(struct cursor *c)
{
    c->wanted = true;
    if (c->giving || c->work.busy)
        return;
    if (!c->waiting)
        wait_for(c, 0);
}

/* What the file has by now: the memory is free, also while the owner takes nothing. */
static void leave_old_spill(struct cursor *c)
{
    if (!c->work.busy && c->spill && (!c->owner.spill || c->owner.spill(c->owner.ctx) != c->spill))
        close_file(c);
}

void cursor_more(struct cursor *c, uint64_t end, bool final)
{
    leave_old_spill(c);
    if (end == c->end && final == c->final)
        return;
    c->told = false;
    c->end = end;
    c->final |= final;
    if (c->giving || c->work.busy || !c->wanted)
        return;
    if (c->waiting && is_urgent(c)) {
        uv_timer_stop(&c->timer);
        c->waiting = false;
    }
    if (!c->waiting)
        wait_for(c, is_urgent(c) ? 0 : CURSOR_GATHER_MS);
}

void cursor_end_live(struct cursor *c)
{
    c->live = c->told = false;
    if (c->wanted && !c->giving && !c->work.busy && !c->failed)
        wait_for(c, 0);
}

void cursor_hurry(struct cursor *c)
{
    c->hurry_until_ms = uv_now(c->loop) + CURSOR_HURRY_MS;
    if (c->waiting)
        wait_for(c, 0);
}

uint64_t cursor_offset(const struct cursor *c)
{
    return c->offset;
}
