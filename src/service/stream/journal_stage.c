/* SPDX-License-Identifier: MIT */
/* The life of a journal:
 *
 *   OPENING ──► READY ◄──────► WRITING ──► REFUSED (waits for `retry`) ──► WRITING
 *                 │ ▲                         │
 *                 │ └── PARKING               │ ending, and too many tries
 *                 ▼ ending, nothing left      ▼
 *              CLOSING ◄──────────────────────┘ ──► CLOSED
 *
 * Of a journal that spills, a write that fails moves to the spill; JS_SAVING copies that to the file,
 * a slice at a time, every `retry`, until it has caught up. One that cannot be made begins as a spill,
 * its header included; JS_SAVING makes the file first.
 *
 * All moves happen in `step`; the pool's results and the timer only note what was and call it. */
#include "service/stream/journal_stage.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/os.h"
#include "base/path.h"
#include "service/limits.h"
#include "service/platform.h"
#include "service/stream/notes.h"
#include "service/stream/spill.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OP_OPEN, OP_WRITE, OP_SAVE, OP_PARK, OP_CLOSE };
enum { SAVE_BYTES = 1024 * 1024 };
enum { MAX_NAMES = 100, MAX_OPENS = 100, OPEN_RETRY_MS = 20, SMALL_BYTES = 2048 };

size_t journal_stage_total_bytes, journal_stage_memory_bytes;

/* -- on the pool's threads --------------------------------------------------------------------- */

static int open_memory(struct journal_stage *j)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    int fd = platform_memory_file();
    if (fd < 0)
        return fd;
    journal_put_header(header);
    int rc = os_write_all(fd, header, sizeof header, NULL);
    if (rc) {
        os->close(fd);
        return rc;
    }
    j->writer = (struct journal_writer){.fd = fd, .size = sizeof header};
    return 0;
}

/* The name of the n-th try: run-x.wandb, run-x-2.wandb, … */
static char *name_of_try(const char *path, int n)
{
    static const char suffix[] = ".wandb";
    size_t len = strlen(path), stem = len;
    char *name = mem_alloc(len + 16);
    if (!name)
        return NULL;
    if (len > sizeof suffix && strcmp(path + len - (sizeof suffix - 1), suffix) == 0)
        stem -= sizeof suffix - 1;
    if (n == 1)
        memcpy(name, path, len + 1);
    else
        snprintf(name, len + 16, "%.*s-%d%s", (int)stem, path, n, path + stem);
    return name;
}

static int create(struct journal_stage *j, const char *name)
{
    struct err e = {0};
    int rc = journal_writer_create(&j->writer, name, &e);
    if (rc != -ENOENT)
        return rc;
    struct str dir = path_dir(str_of(name));
    AUTO_FREE char *z = mem_strndup(dir.p, dir.n);
    rc = z ? os_mkdirs(z, 0777) : TARE_ENOMEM;
    return rc ? rc : journal_writer_create(&j->writer, name, &e);
}

/* A journal is never written over. A run that has the id, and in the same second the folder, of an
 * earlier one gets a file beside it; the sync tools read every .wandb file of a folder. */
static int open_file(struct journal_stage *j)
{
    int rc = TARE_EEXIST;
    for (int n = 1; n <= MAX_NAMES && (rc == TARE_EEXIST || rc == -EEXIST); n++) {
        char *name = name_of_try(j->settings->sync_file, n);
        if (!name)
            return TARE_ENOMEM;
        rc = create(j, name);
        mem_free(j->path);
        j->path = name;
        j->renamed = n > 1;
    }
    return rc;
}

static int run_open(struct journal_stage *j)
{
    int rc = j->settings->skip_journal ? open_memory(j) : open_file(j);
    if (rc)
        return rc;
    notes_leave(j->settings, j->diag_path);
    return 0;
}

static void park(struct journal_stage *j)
{
    struct stat st;
    if (os->fstat(j->writer.fd, &st) == 0) {
        j->dev = st.st_dev;
        j->ino = st.st_ino;
    }
    os->close(j->writer.fd);
    j->writer.fd = -1;
}

/* Open a parked file again, and only if it is still the same. */
static int unpark(struct journal_stage *j)
{
    if (j->writer.fd >= 0)
        return 0;
    int fd = os->open(j->path, O_RDWR, 0);
    if (fd < 0)
        return fd;
    struct stat st;
    int rc = os->fstat(fd, &st);
    if (rc == 0 && (st.st_dev != j->dev || st.st_ino != j->ino ||
                    (uint64_t)st.st_size < j->writer.size)) /* a number may be used again */
        rc = -ESTALE;
    if (rc) {
        os->close(fd);
        return rc;
    }
    j->writer.fd = fd;
    return 0;
}

/* Of a file in memory: what is neither recent nor still to be read. */
static void forget_old(struct journal_stage *j)
{
    uint64_t old = j->writer.size > MEMORY_TAIL_BYTES ? j->writer.size - MEMORY_TAIL_BYTES : 0;
    if (old > j->forget_to)
        old = j->forget_to;
    if (old)
        platform_forget(j->writer.fd, old);
}

/* What open_file could not: under the name it got to, which cursors know. */
static int make_late(struct journal_stage *j)
{
    int rc = create(j, j->path);
    if (rc)
        return rc;
    j->unmade = false;
    notes_leave(j->settings, j->diag_path);
    return 0;
}

/* A slice of the spill goes to the file: whole records, more at once if one is as long. */
static int save(struct journal_stage *j)
{
    AUTO_BUF slice = {0};
    int rc = j->unmade ? make_late(j) : unpark(j);
    uint64_t from = j->writer.size, left = spill_end(j->spill) - from;
    for (size_t want = SAVE_BYTES; rc == 0 && left; want *= 2) {
        size_t n = left < want ? (size_t)left : want;
        buf_clear(&slice);
        if (!buf_reserve(&slice, n))
            return TARE_ENOMEM;
        ssize_t got = spill_read(j->spill, slice.data, n, from);
        if (got < (ssize_t)n)
            return got < 0 ? (int)got : -EIO;
        size_t whole = n == left ? n : journal_whole_records(slice.data, n, from);
        if (whole)
            return journal_writer_append(&j->writer, slice.data, whole, &j->kept);
    }
    return rc;
}

static void on_run(struct work *w)
{
    struct journal_stage *j =
        (struct journal_stage *)((char *)w - offsetof(struct journal_stage, work));
    j->kept = 0;
    switch (j->op) {
    case OP_OPEN: j->rc = run_open(j); break;
    case OP_WRITE:
        j->rc = unpark(j);
        if (j->rc == 0)
            j->rc = journal_writer_append(&j->writer, j->writing.data, j->writing.len, &j->kept);
        if (j->settings->skip_journal)
            forget_old(j);
        break;
    case OP_SAVE: j->rc = save(j); break;
    case OP_PARK: park(j); break;
    case OP_CLOSE: j->rc = j->writer.fd < 0 ? 0 : journal_writer_close(&j->writer); break;
    }
}

/* -- the life, on the loop --------------------------------------------------------------------- */

static void start(struct journal_stage *j, enum journal_state state, int op)
{
    j->state = state;
    j->op = op;
    j->rc = 0;
    work_start(j->loop, &j->work);
}

static void start_write(struct journal_stage *j)
{
    if (j->writing.len == 0) {
        struct buf empty = j->writing;
        j->writing = j->pending;
        j->pending = empty;
        j->pending.len = 0;
    }
    j->forget_to = j->keep_from;
    start(j, JS_WRITING, OP_WRITE);
}

static void give_up(struct journal_stage *j)
{
    size_t lost = j->writing.len + j->pending.len;
    diag_error("run %s: %zu bytes could not be written to %s: %s", j->settings->run_id, lost,
               j->path, err_text(j->error));
    journal_stage_total_bytes -= lost;
    j->writing.len = j->pending.len = 0;
}

static bool is_scarcity(int error)
{
    return error == -EMFILE || error == -ENFILE;
}

size_t journal_stage_memory_limit(void)
{
    size_t left = journal_stage_memory_bytes < MEMORY_TOTAL_BYTES ? MEMORY_TOTAL_BYTES - journal_stage_memory_bytes : 0;
    return left < MEMORY_SCARCE_BYTES ? MEMORY_SCARCE_BYTES : left < MEMORY_RUN_BYTES ? left : MEMORY_RUN_BYTES;
}

static void count_memory(struct journal_stage *j)
{
    journal_stage_memory_bytes -= j->in_memory;
    j->in_memory = 0;
    if (j->spill)
        j->in_memory = spill_memory(j->spill);
    else if (j->settings->skip_journal && j->keep_from < j->written)
        j->in_memory = (size_t)(j->written - j->keep_from);
    journal_stage_memory_bytes += j->in_memory;
}

/* What is in the file, or never will be, is only kept until it is sent. */
static void forget_spilled(struct journal_stage *j)
{
    uint64_t unsaved = j->written - j->saved;
    bool is_left = unsaved > JOURNAL_FAILED_BYTES || unsaved > journal_stage_memory_limit();
    bool is_news = is_left && !j->file_left;
    j->file_left |= is_left;
    spill_forget(j->spill, j->file_left || j->keep_from < j->saved ? j->keep_from : j->saved);
    count_memory(j);
    if (is_news)
        j->on_event(j, JOURNAL_LEFT);
}

/* What is encoded goes on in memory. False: it has no room either for some of it. */
static bool spill_over(struct journal_stage *j)
{
    struct buf *const from[] = {&j->writing, &j->pending};
    for (int i = 0; i < 2; i++) {
        if (spill_append(j->spill, from[i]->data, from[i]->len))
            return false;
        journal_stage_total_bytes -= from[i]->len;
        j->written += from[i]->len;
        from[i]->len = 0;
    }
    forget_spilled(j);
    return true;
}

static void begin_spill(struct journal_stage *j)
{
    j->spill = spill_new(j->written);
    j->saved = j->written;
    if (!spill_over(j) && j->written == j->saved) { /* else the rest follows */
        spill_unref(j->spill);
        j->spill = NULL;
    }
}

/* The file cannot be made: false if memory cannot take its place. */
static bool begin_without_file(struct journal_stage *j)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    bool is_of_the_disk = j->rc != TARE_ENOMEM && j->rc != TARE_EEXIST && j->rc != -EEXIST && !is_scarcity(j->rc);
    if (!j->spills || !j->path || !is_of_the_disk)
        return false;
    journal_put_header(header);
    j->spill = spill_new(0);
    if (spill_append(j->spill, header, sizeof header)) {
        spill_unref(j->spill);
        j->spill = NULL;
        return false;
    }
    j->saved = JOURNAL_HEADER_BYTES; /* comes with the file */
    return j->unmade = true;
}

static void end_spill(struct journal_stage *j)
{
    spill_unref(j->spill); /* cursors may hold it */
    j->spill = NULL;
    j->file_left = false;
    count_memory(j);
}

/* The same as step while there is a spill. */
static void step_spilled(struct journal_stage *j)
{
    uint64_t before = j->written;
    j->state = JS_READY;
    if (j->writing.len || j->pending.len)
        spill_over(j);
    if (j->written > before)
        j->on_event(j, JOURNAL_WRITTEN);
    if (j->state != JS_READY || !j->ending)
        return;
    if (!j->file_left && j->tries < JOURNAL_END_TRIES) {
        start(j, JS_SAVING, OP_SAVE);
        return;
    }
    diag_error("run %s: %llu bytes could not be written to %s: %s", j->settings->run_id,
               (unsigned long long)(j->written - j->saved), j->path, err_text(j->error));
    end_spill(j);
    start(j, JS_CLOSING, OP_CLOSE);
}

/* Whatever comes next, now that nothing is in flight. */
static void step(struct journal_stage *j)
{
    if (j->spill) {
        step_spilled(j);
        return;
    }
    if (j->ending && j->error && j->tries >= JOURNAL_END_TRIES)
        give_up(j);
    if (j->writing.len || j->pending.len) {
        start_write(j);
        return;
    }
    if (j->writing.cap > SMALL_BYTES)
        buf_fini(&j->writing);
    if (j->pending.cap > SMALL_BYTES)
        buf_fini(&j->pending);
    if (j->ending)
        start(j, JS_CLOSING, OP_CLOSE);
    else
        j->state = JS_READY;
}

static void on_retry(uv_timer_t *t)
{
    struct journal_stage *j = t->data;
    bool may_save = j->spill && j->state == JS_READY;
    if (may_save && !j->file_left)
        start(j, JS_SAVING, OP_SAVE);
    else if (j->state == JS_REFUSED || (may_save && j->ending)) /* left since the last try */
        step(j);
    else if (j->state == JS_OPENING && !j->work.busy)
        start(j, JS_OPENING, OP_OPEN);
}

static void wait_and_retry(struct journal_stage *j, int ms)
{
    uv_timer_start(&j->retry, on_retry, (uint64_t)ms, 0);
}

static void after_open(struct journal_stage *j)
{
    if (j->rc == -EMFILE && j->opens++ < MAX_OPENS) {
        j->error = j->rc;
        j->on_event(j, JOURNAL_REFUSED); /* the owner may find a descriptor */
        if (j->error == 0) {
            wait_and_retry(j, OPEN_RETRY_MS);
            return;
        }
    }
    j->error = j->rc;
    if (j->rc && !begin_without_file(j)) {
        j->state = JS_CLOSED;
        j->on_event(j, JOURNAL_OPEN_FAILED);
        return;
    }
    j->written = JOURNAL_HEADER_BYTES;
    j->state = JS_READY;
    j->on_event(j, JOURNAL_OPENED);
    if (j->spill) {
        j->on_event(j, JOURNAL_SPILLED);
        wait_and_retry(j, j->retry_ms);
    }
    if (j->state == JS_READY)
        step(j);
}

static void after_write(struct journal_stage *j)
{
    j->written += j->kept;
    count_memory(j);
    journal_stage_total_bytes -= j->kept;
    buf_consume(&j->writing, j->kept);
    j->last_write_ms = (int64_t)uv_now(j->loop);
    if (j->rc) {
        j->error = j->rc;
        j->tries++;
        if (j->spills && !is_scarcity(j->rc))
            begin_spill(j);
        if (j->spill) {
            j->tries = 0;
            j->state = JS_READY;
            j->on_event(j, JOURNAL_SPILLED);
            wait_and_retry(j, j->retry_ms);
            if (j->state == JS_READY)
                step(j);
            return;
        }
        j->state = JS_REFUSED;
        j->on_event(j, JOURNAL_REFUSED);
        if (j->ending && j->tries >= JOURNAL_END_TRIES)
            step(j);
        else
            wait_and_retry(j, j->rc == -EMFILE ? OPEN_RETRY_MS : j->retry_ms);
        return;
    }
    bool recovered = j->error != 0;
    j->error = j->tries = 0;
    j->state = JS_READY;
    j->on_event(j, recovered ? JOURNAL_RECOVERED : JOURNAL_WRITTEN);
    if (j->state == JS_READY)
        step(j);
}

static void after_save(struct journal_stage *j)
{
    j->saved += j->kept;
    j->state = JS_READY;
    if (j->rc) {
        j->error = j->rc;
        j->tries++;
        wait_and_retry(j, j->retry_ms);
        if (j->ending && j->tries < JOURNAL_END_TRIES)
            return; /* on_retry goes on */
    } else if (j->saved == j->written) {
        end_spill(j);
        uv_timer_stop(&j->retry);
        j->error = j->tries = 0;
        j->on_event(j, JOURNAL_RECOVERED);
    } else {
        j->tries = 0;
        start(j, JS_SAVING, OP_SAVE);
        return;
    }
    if (j->state == JS_READY)
        step(j);
}

static void on_done(struct work *w)
{
    struct journal_stage *j =
        (struct journal_stage *)((char *)w - offsetof(struct journal_stage, work));
    switch (j->op) {
    case OP_OPEN: after_open(j); break;
    case OP_WRITE:
        j->parked = j->parked && j->writer.fd < 0;
        after_write(j);
        break;
    case OP_SAVE:
        j->parked = j->parked && j->writer.fd < 0;
        after_save(j);
        break;
    case OP_PARK:
        j->parked = true;
        step(j);
        break;
    case OP_CLOSE:
        if (j->rc)
            diag_error("closing %s: %s", j->path ? j->path : "a journal", err_text(j->rc));
        j->state = JS_CLOSED;
        j->on_event(j, JOURNAL_CLOSED);
        break;
    }
}

/* -- for the stream ---------------------------------------------------------------------------- */

void journal_stage_open(struct journal_stage *j, uv_loop_t *loop,
                        const struct stream_settings *settings, const char *diag_path,
                        void (*on_event)(struct journal_stage *, enum journal_event))
{
    *j = (struct journal_stage){.loop = loop,
                                .settings = settings,
                                .diag_path = diag_path,
                                .on_event = on_event,
                                .writer.fd = -1,
                                .keep_from = UINT64_MAX,
                                .retry_ms = JOURNAL_RETRY_MS,
                                .work = {.run = on_run, .done = on_done}};
    journal_encoder_init(&j->encoder, JOURNAL_HEADER_BYTES);
    uv_timer_init(loop, &j->retry);
    uv_unref((uv_handle_t *)&j->retry);
    j->retry.data = j;
    start(j, JS_OPENING, OP_OPEN);
}

void journal_stage_append(struct journal_stage *j, struct str record, bool must)
{
    if (j->error && !must && j->writing.len + j->pending.len > JOURNAL_FAILED_BYTES) {
        j->dropped++;
        return;
    }
    size_t before = j->pending.len;
    if (journal_encode(&j->encoder, &j->pending, record.p, record.n))
        j->dropped++;
    journal_stage_total_bytes += j->pending.len - before;
}

void journal_stage_flush(struct journal_stage *j)
{
    if (j->pending.len && j->spill && j->state == JS_SAVING) {
        spill_over(j); /* a disk that hangs holds nothing up */
        j->on_event(j, JOURNAL_WRITTEN);
    } else if (j->pending.len && j->state == JS_READY) {
        step(j);
    }
}

void journal_stage_sent(struct journal_stage *j, uint64_t offset)
{
    if (offset == j->keep_from)
        return;
    j->keep_from = offset;
    if (j->spill)
        forget_spilled(j);
    else
        count_memory(j);
}

bool journal_stage_is_full(const struct journal_stage *j)
{
    size_t limit = journal_stage_total_bytes > JOURNAL_PENDING_TOTAL_BYTES
                       ? JOURNAL_PENDING_SCARCE_BYTES
                       : JOURNAL_PENDING_BYTES;
    return !j->error && j->writing.len + j->pending.len > limit;
}

/* While a worker opens or closes it, it may be another's when this returns. */
int journal_stage_fd(const struct journal_stage *j)
{
    bool is_open = j->state == JS_READY || j->state == JS_REFUSED ||
                   ((j->state == JS_WRITING || j->state == JS_SAVING) && !j->parked);
    return is_open ? j->writer.fd : -1;
}

void journal_stage_close(struct journal_stage *j)
{
    if (j->ending)
        return;
    j->ending = true;
    j->tries = 0;
    if (j->state == JS_READY || j->state == JS_REFUSED) {
        uv_timer_stop(&j->retry);
        step(j);
    }
}

bool journal_stage_can_park(const struct journal_stage *j)
{
    return j->state == JS_READY && !j->pending.len && j->writer.fd >= 0 && !j->spill &&
           !j->settings->skip_journal;
}

bool journal_stage_park(struct journal_stage *j)
{
    if (!journal_stage_can_park(j))
        return false;
    start(j, JS_PARKING, OP_PARK);
    return true;
}

void journal_stage_fini(struct journal_stage *j)
{
    assert(!j->work.busy);
    journal_stage_total_bytes -= j->pending.len + j->writing.len;
    journal_stage_memory_bytes -= j->in_memory;
    buf_fini(&j->pending);
    buf_fini(&j->writing);
    spill_unref(j->spill);
    mem_free(j->path);
}
