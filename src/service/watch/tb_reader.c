/* SPDX-License-Identifier: MIT */
#include "service/watch/tb_reader.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "record/wire.h"
#include "service/watch/tfevents.h"

#include <dirent.h>
#include <fcntl.h>

enum { CHUNK_BYTES = 1 << 20 };
enum { RECORD_FILES = 6, POLICY_END = 1 };

void tb_reader_init(struct tb_reader *r)
{
    *r = (struct tb_reader){0};
}

void tb_reader_fini(struct tb_reader *r)
{
    tb_converter_fini(&r->converter);
    buf_fini(&r->data);
    char *owned[] = {r->dir, r->files_dir, r->host, r->save_path, r->root, r->current};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(owned[i]);
}

/* The name of the first fitting file behind `after` (NULL: of all), by bytes; heap, NULL if none. */
static char *find_next(const struct tb_reader *r, const char *after)
{
    char *best = NULL;
    DIR *d = opendir(r->dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if ((after && strcmp(e->d_name, after) <= 0) || (best && strcmp(e->d_name, best) >= 0) ||
            !tfevents_name_fits(str_of(e->d_name), r->start_s, str_of(r->host)))
            continue;
        mem_free(best);
        best = xmem_strdup(e->d_name);
    }
    if (d)
        closedir(d);
    return best;
}

/* ---- keeping the files ---- */

/* Where `file` goes in the run's folder; heap, NULL if that is nowhere. */
static char *run_path(const struct tb_reader *r, const char *file)
{
    struct str base = path_base(str_of(file));
    if (*r->save_path) {
        AUTO_FREE char *name = xmem_strndup(base.p, base.n);
        return path_join(r->save_path, name);
    }
    struct str rest = str_of(file), root = str_of(r->root);
    if (root.n > 0 && !str_starts(rest, root))
        return NULL;
    rest.p += root.n;
    rest.n -= root.n;
    while (rest.n > 0 && rest.p[0] == '/') {
        rest.p++;
        rest.n--;
    }
    return xmem_strndup(rest.p, rest.n);
}

static int link_file(const struct tb_reader *r, const char *file, const char *name)
{
    AUTO_FREE char *link = path_join(r->files_dir, name);
    if (!link)
        return TARE_ENOMEM;
    struct str dir = path_dir(str_of(link));
    AUTO_FREE char *folder = xmem_strndup(dir.p, dir.n);
    int rc = os_mkdirs(folder, 0777);
    return rc < 0 ? rc : os->symlink(file, link);
}

/* Link the file that is read from now on into the run's folder, to be uploaded at its end. */
static void save_file(struct tb_reader *r, struct buf *records)
{
    AUTO_FREE char *file = path_join(r->dir, r->current);
    AUTO_FREE char *name = file ? run_path(r, file) : NULL;
    if (!name || !path_is_safe(str_of(name))) {
        diag_warn("tensorboard: %s is not kept: it is not below %s", r->current, r->root);
        return;
    }
    int rc = link_file(r, file, name);
    if (rc < 0) {
        diag_warn("tensorboard: %s is not kept: %s", file, err_text(rc));
        return;
    }
    AUTO_BUF record = {0};
    size_t files = wire_buf_begin(&record, RECORD_FILES);
    size_t item = wire_buf_begin(&record, 1);
    wire_buf_bytes(&record, 1, str_of(name));
    wire_buf_varint(&record, 2, POLICY_END);
    wire_buf_end(&record, item);
    wire_buf_end(&record, files);
    tb_put_record(records, buf_str(&record));
}

/* Takes `name`. */
static void go_to_file(struct tb_reader *r, char *name, struct buf *records)
{
    mem_free(r->current);
    r->current = name;
    r->offset = 0;
    r->stuck_ns = 0;
    r->damaged = false;
    buf_fini(&r->data);
    if (r->save)
        save_file(r, records);
}

/* ---- reading ---- */

/* Understand the whole records in `data`. */
static void take_events(struct tb_reader *r, struct buf *records)
{
    size_t at = 0;
    for (;;) {
        struct str event;
        size_t taken = 0;
        int rc = tfevents_next((struct str){r->data.data + at, r->data.len - at}, &event, &taken);
        r->damaged = rc < 0;
        if (rc <= 0)
            break;
        tb_convert(&r->converter, event, records);
        at += taken;
    }
    buf_consume(&r->data, at);
    r->offset += at;
    if (at > 0)
        r->stuck_ns = 0;
}

/* Read on to the end of the current file or of the budget; the bytes read. */
static size_t read_current(struct tb_reader *r, size_t budget, struct buf *records)
{
    AUTO_FREE char *path = path_join(r->dir, r->current);
    int fd = path ? os->open(path, O_RDONLY | O_NONBLOCK, 0) : TARE_ENOMEM; /* a pipe must not hold up the worker */
    size_t n_read = 0;
    if (r->damaged)
        buf_clear(&r->data);
    while (fd >= 0 && n_read < budget) {
        char *to = buf_reserve(&r->data, CHUNK_BYTES);
        ssize_t n = to ? os->pread(fd, to, CHUNK_BYTES, (off_t)(r->offset + r->data.len)) : 0;
        if (n <= 0)
            break;
        r->data.len += (size_t)n;
        n_read += (size_t)n;
        take_events(r, records);
        if (r->damaged)
            break;
    }
    if (fd >= 0)
        os->close(fd);
    if (r->data.len == 0)
        buf_fini(&r->data);
    return n_read;
}

/* What is left of the current file will not become a record any more. */
static bool is_given_up(struct tb_reader *r, int64_t now_ns, bool is_last)
{
    if (r->stuck_ns == 0)
        r->stuck_ns = now_ns;
    if (!is_last && now_ns - r->stuck_ns < TB_PATIENCE_NS)
        return false;
    diag_warn("tensorboard: %s/%s is %s at byte %llu: the rest is left out", r->dir, r->current,
              r->damaged ? "damaged" : "cut off", (unsigned long long)r->offset);
    return true;
}

static bool read_files(struct tb_reader *r, int64_t now_ns, bool is_last, struct buf *records)
{
    for (size_t budget = TB_READ_BYTES; budget > 0;) {
        if (!r->current) {
            char *first = find_next(r, NULL);
            if (!first)
                return true;
            go_to_file(r, first, records);
        }
        /* Before reading: once a later file exists, this one does not grow any more. */
        char *next = find_next(r, r->current);
        size_t n = read_current(r, budget, records);
        if (n >= budget) {
            mem_free(next);
            return false;
        }
        budget -= n;
        if (!next || (r->data.len > 0 && !is_given_up(r, now_ns, is_last))) {
            mem_free(next);
            return true;
        }
        go_to_file(r, next, records);
    }
    return false;
}

bool tb_reader_read(struct tb_reader *r, int64_t now_ns, bool is_last, struct buf *records)
{
    bool at_end = read_files(r, now_ns, is_last, records);
    if (at_end && is_last)
        tb_convert_end(&r->converter, records);
    return at_end;
}
