/* SPDX-License-Identifier: MIT */
#include "service/upload/file_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/limits.h"

#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <utlist.h>

enum { SET_IGNORE_GLOBS = 78 }; /* proto/settings.proto */
enum { OP_DESC = 1, OP_RUNTIME = 2, OP_PROGRESS = 3, OP_ERROR = 4, STATS_OPERATIONS = 1 };

static void on_timer(uv_timer_t *timer)
{
    struct files *f = timer->data;
    f->timer_armed = false;
    files_look(f);
}

/* ---- what the person is told ---- */

/* What is not there will not be there the next time either: no reason to call the run unsent. */
static bool is_gone(int error)
{
    return error == UV_ENOENT || error == UV_ENOTDIR || error == TARE_EUNSUPPORTED;
}

void file_failed(struct files *f, const struct file *file, int error, const char *why)
{
    char text[600];
    int64_t now = clock_mono_ns();
    diag_error("could not upload %s: %s", file->path, why);
    f->error = f->error || is_gone(error) ? f->error : error;
    f->n_failed++;
    if (f->n_failed_told > 0 && now - f->told_ns < TELL_AGAIN_NS)
        return;
    f->told_ns = now;
    f->n_failed_told = f->n_failed;
    snprintf(text, sizeof text, "Could not upload %.200s: %.300s", file->path, why);
    f->owner.tell(f->owner.ctx, false, text);
}

/* ---- known files ---- */

/* "a/./b//c" -> "a/b/c", as the peer cleans paths. False if it does not stay in the folder. */
static bool clean(struct str path, struct buf *to)
{
    if (path.n > FILES_NAME_BYTES || !path_is_safe(path))
        return false;
    for (size_t at = 0; at < path.n;) {
        const char *p = path.p + at, *slash = memchr(p, '/', path.n - at);
        struct str part = {p, slash ? (size_t)(slash - p) : path.n - at};
        at += part.n + 1;
        if (part.n == 0 || str_eqz(part, "."))
            continue;
        if (to->len > 0)
            buf_putc(to, '/');
        buf_put_str(to, part);
    }
    return to->len > 0;
}

static struct file *known_file(struct files *f, struct str path)
{
    AUTO_BUF name = {0};
    struct file *file;
    if (!clean(path, &name)) {
        diag_warn("no file of the run: %.*s", STR_ARG(path));
        return NULL;
    }
    HASH_FIND(hh, f->known, name.data, name.len, file);
    if (file)
        return file;
    file = xmem_calloc(1, sizeof *file + name.len + 1);
    memcpy(file->path, name.data, name.len);
    file->owner = f;
    HASH_ADD_KEYPTR(hh, f->known, file->path, name.len, file);
    return file;
}

/* `*` stays within one part of the path, as with the peer (filepath.Match). */
static bool is_ignored(const struct files *f, const struct file *file)
{
    size_t at = 0;
    struct str glob;
    while (setting_wire_list(buf_str(&f->settings), SET_IGNORE_GLOBS, &at, &glob)) {
        AUTO_FREE char *pattern = xmem_strndup(glob.p, glob.n);
        if (fnmatch(pattern, file->path, FNM_PATHNAME) == 0)
            return true;
    }
    return false;
}

static void set_kind(struct file *file, enum file_kind kind)
{
    bool is_media = kind == FILE_OTHER && str_starts(str_of(file->path), STR("media"));
    file->kind = is_media ? FILE_MEDIA : kind > FILE_ARTIFACT ? FILE_OTHER : kind;
}

/* ---- gathering ---- */

static void arm(struct files *f, uint64_t ms)
{
    if (f->over || (f->timer_armed && ms > 0))
        return;
    f->timer_armed = true;
    uv_timer_start(&f->timer, on_timer, ms, 0);
}

void file_gather(struct files *f, struct file *file)
{
    if (f->aborted || f->over)
        return;
    if (file->place == ASKED || file->place == MOVING)
        file->again = true;
    if (file->place != QUIET || is_ignored(f, file))
        return;
    file->again = false;
    file->place = GATHERED;
    DL_APPEND(f->gathered, file);
    arm(f, f->finishing ? 0 : FILES_GATHER_MS);
}

static void on_change(void *ctx, void *what)
{
    file_gather(ctx, what);
}

static void watch(struct files *f, struct file *file)
{
    AUTO_FREE char *path = path_join(f->dir, file->path);
    if (file->live || !path)
        return;
    file->live = true;
    if (!f->watch)
        f->watch = file_watch_new(f->loop, on_change, f);
    file_watch_add(f->watch, path, file);
}

void files_add(struct files *f, struct str path, enum file_policy policy, enum file_kind kind)
{
    struct file *file = f->finishing ? NULL : known_file(f, path);
    if (!file)
        return;
    set_kind(file, kind);
    if (policy != FILE_NOW)
        file->at_end = true;
    if (policy != FILE_END)
        file_gather(f, file);
    if (policy == FILE_LIVE)
        watch(f, file);
}

/* ---- files that are written here ---- */

struct put {
    struct files *owner;
    struct file *file;
    struct work work;
    char *full_path;
    int error;
};

static void start_put(struct files *f, struct file *file);

static void put_run(struct work *w)
{
    struct put *p = (struct put *)((char *)w - offsetof(struct put, work));
    struct str dir = path_dir(str_of(p->full_path));
    AUTO_FREE char *parent = mem_strndup(dir.p, dir.n);
    p->error = parent ? os_mkdirs(parent, 0755) : TARE_ENOMEM;
    if (!p->error)
        p->error = os_write_file(p->full_path, p->file->bytes.data, p->file->bytes.len, 0644);
}

static void put_done(struct work *w)
{
    struct put *p = (struct put *)((char *)w - offsetof(struct put, work));
    struct files *f = p->owner;
    struct file *file = p->file;
    f->n_writing--;
    file->is_writing = false;
    if (p->error) /* it goes up from memory then */
        diag_info("could not write %s: %s", p->full_path, err_text(p->error));
    else
        buf_fini(&file->bytes);
    if (file->next_bytes.len > 0 && !f->is_freed)
        start_put(f, file);
    mem_free(p->full_path);
    mem_free(p);
    if (!f->is_freed)
        files_look(f);
    file_free_later(f);
}

static void start_put(struct files *f, struct file *file)
{
    struct put *p = xmem_calloc(1, sizeof *p);
    buf_fini(&file->bytes);
    file->bytes = file->next_bytes;
    file->next_bytes = (struct buf){0};
    file->is_writing = true;
    file->is_up = false;
    p->owner = f;
    p->file = file;
    p->full_path = path_join(f->dir, file->path);
    p->work.run = put_run;
    p->work.done = put_done;
    f->n_writing++;
    f->n_open++;
    work_start(f->loop, &p->work);
}

void files_put(struct files *f, const char *path, struct str bytes, enum file_kind kind)
{
    struct file *file = f->finishing ? NULL : known_file(f, str_of(path));
    if (!file)
        return;
    set_kind(file, kind);
    buf_clear(&file->next_bytes);
    buf_put_str(&file->next_bytes, bytes);
    if (!file->is_writing && (file->place == QUIET || file->place == GATHERED))
        start_put(f, file); /* else when what is on its way is up: see write_waiting */
    file_gather(f, file);
}

/* ---- going on ---- */

static bool is_idle(const struct files *f)
{
    return !f->batch && f->n_uploads == 0 && f->n_writing == 0;
}

static void end(struct files *f)
{
    f->over = true;
    uv_timer_stop(&f->timer);
    if (f->n_failed > f->n_failed_told && !f->aborted) {
        char text[128];
        snprintf(text, sizeof text, "%llu files of the run could not be uploaded.", (unsigned long long)f->n_failed);
        f->owner.tell(f->owner.ctx, false, text);
    }
    f->owner.finished(f->owner.ctx, f->cut_off ? TARE_ECANCELLED : f->error);
}

/* Files that were put while their older bytes were going up. */
static void write_waiting(struct files *f)
{
    struct file *file;
    DL_FOREACH (f->gathered, file)
        if (file->next_bytes.len > 0 && !file->is_writing)
            start_put(f, file);
}

void files_look(struct files *f)
{
    if (f->over)
        return;
    write_waiting(f);
    if (is_idle(f) && (f->aborted || (f->finishing && !f->gathered))) {
        end(f);
        return;
    }
    if (f->run_id && !f->aborted && !f->timer_armed)
        file_batch_begin(f);
}

/* ---- public ---- */

struct files *files_new(struct backend *b, struct str settings, uv_loop_t *loop, const char *files_dir,
                        const struct files_owner *owner)
{
    struct files *f = xmem_calloc(1, sizeof *f);
    f->backend = b;
    f->loop = loop;
    f->owner = *owner;
    f->dir = xmem_strdup(files_dir);
    struct str globs = wire_find_bytes(settings, SET_IGNORE_GLOBS);
    if (globs.n > 0)
        wire_buf_bytes(&f->settings, SET_IGNORE_GLOBS, globs);
    retry_policy_of(&f->policy, settings, BACKEND_FILE);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    f->n_open = 1;
    return f;
}

void file_free_later(struct files *f)
{
    if (--f->n_open > 0)
        return;
    struct file *file, *next;
    HASH_ITER (hh, f->known, file, next) {
        HASH_DEL(f->known, file);
        buf_fini(&file->bytes);
        buf_fini(&file->next_bytes);
        mem_free(file);
    }
    buf_fini(&f->settings);
    mem_free(f->dir);
    mem_free(f->entity);
    mem_free(f->project);
    mem_free(f->run_id);
    mem_free(f);
}

static void on_timer_closed(uv_handle_t *timer)
{
    file_free_later(timer->data);
}

void files_free(struct files *f)
{
    if (!f)
        return;
    f->is_freed = f->over = true;
    file_watch_free(f->watch);
    f->watch = NULL;
    file_batch_cancel(f);
    file_uploads_close(f);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

void files_start(struct files *f, const char *entity, const char *project, const char *run_id)
{
    f->entity = xmem_strdup(entity);
    f->project = xmem_strdup(project);
    f->run_id = xmem_strdup(run_id);
    if (f->gathered)
        arm(f, 0);
}

void files_progress(const struct files *f, struct files_progress *to)
{
    *to = f->progress;
}

static void put_bytes(struct buf *to, uint64_t n)
{
    if (n < 1024)
        buf_printf(to, "%lluB", (unsigned long long)n);
    else if (n < 1024 * 1024)
        buf_printf(to, "%.1fKB", (double)n / 1024);
    else if (n < 1024 * 1024 * 1024)
        buf_printf(to, "%.1fMB", (double)n / (1024 * 1024));
    else
        buf_printf(to, "%.2fGB", (double)n / (1024.0 * 1024 * 1024));
}

static void put_operation(struct buf *to, const struct upload *u)
{
    const struct transfer *t = &u->transfer;
    AUTO_BUF text = {0};
    size_t mark = wire_buf_begin(to, STATS_OPERATIONS);
    buf_printf(&text, "uploading %s", u->file->path);
    wire_buf_bytes(to, OP_DESC, buf_str(&text));
    wire_buf_double(to, OP_RUNTIME, (double)(clock_mono_ns() - t->began_ns) / 1e9);
    if (t->total > 0) {
        buf_clear(&text);
        put_bytes(&text, t->sent);
        buf_putc(&text, '/');
        put_bytes(&text, t->total);
        wire_buf_bytes(to, OP_PROGRESS, buf_str(&text));
    }
    if (t->why[0]) {
        buf_clear(&text);
        buf_printf(&text, "%s%s", t->status ? "retrying " : "retrying: ", t->why);
        wire_buf_bytes(to, OP_ERROR, buf_str(&text));
    }
    wire_buf_end(to, mark);
}

int files_operations(const struct files *f, struct buf *to, int room)
{
    const struct upload *u;
    DL_FOREACH (f->uploads, u) {
        if (room-- <= 0)
            break;
        put_operation(to, u);
    }
    return f->n_uploads;
}

void files_finish(struct files *f)
{
    struct file *file, *next;
    if (f->finishing)
        return;
    HASH_ITER (hh, f->known, file, next)
        if (file->at_end)
            file_gather(f, file);
    f->finishing = true;
    file_watch_free(f->watch);
    f->watch = NULL;
    arm(f, 0);
}

void files_abort(struct files *f)
{
    f->cut_off = f->gathered || !is_idle(f);
    f->aborted = true;
    file_batch_cancel(f);
    file_uploads_cancel(f);
    arm(f, 0);
}
