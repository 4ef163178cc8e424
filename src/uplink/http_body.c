/* SPDX-License-Identifier: MIT */
/* curl asks for bytes and gives them from the loop, where a disk must not be waited for. So when the
 * block at hand is used up, or the one before is still being written, curl is told to pause; the
 * worker's end unpauses it (http.c). */
#include "uplink/http.h"

#include "base/alloc.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OF(w, member) ((struct http_work *)((char *)(w) - offsetof(struct http_work, member)))

static bool stop(struct http_work *w, int error)
{
    if (!w->error)
        w->error = error;
    return false;
}

static void moved(struct http_work *w)
{
    if (w->r->progress)
        w->r->progress(w->r);
}

/* ---- what is sent ---- */

static void read_run(struct work *work)
{
    struct file_block *b = (struct file_block *)((char *)work - offsetof(struct file_block, work));
    size_t want = b->n;
    b->n = b->at = 0;
    while (b->n < want) {
        ssize_t got = pread(b->fd, b->bytes + b->n, want - b->n, (off_t)(b->offset + b->n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            b->rc = got < 0 ? -errno : UV_EOF;
            return;
        }
        b->n += (size_t)got;
    }
    b->offset += b->n;
}

static void read_done(struct work *work)
{
    struct http_work *w = OF(work, up.work);
    if (w->up.rc < 0)
        stop(w, w->up.rc);
    http_block_done(w);
}

/* The next block is on its way, or an error is noted. */
static bool start_read(struct http_work *w)
{
    struct file_block *b = &w->up;
    const struct http_request *r = w->r;
    uint64_t left = r->body_at + r->body_bytes - b->offset;
    if (!b->bytes && !(b->bytes = mem_alloc(FILE_BLOCK_BYTES)))
        return stop(w, TARE_ENOMEM);
    b->fd = r->body_fd;
    b->n = left < FILE_BLOCK_BYTES ? (size_t)left : FILE_BLOCK_BYTES;
    b->work.run = read_run;
    b->work.done = read_done;
    http_start_work(w->m, &b->work);
    return true;
}

size_t http_on_read(char *to, size_t size, size_t n, void *ctx)
{
    struct http_work *w = ctx;
    struct http_request *r = w->r;
    bool is_file = r->body_fd >= 0;
    uint64_t left = (is_file ? r->body_bytes : r->body.n) - r->sent;
    n *= size;
    if (w->error || w->cancelled)
        return CURL_READFUNC_ABORT;
    if (left == 0)
        return 0;
    if (is_file && w->up.at == w->up.n)
        return start_read(w) ? CURL_READFUNC_PAUSE : CURL_READFUNC_ABORT;
    if (is_file && left > w->up.n - w->up.at)
        left = w->up.n - w->up.at;
    if (n > left)
        n = (size_t)left;
    memcpy(to, is_file ? w->up.bytes + w->up.at : r->body.p + r->sent, n);
    w->up.at += is_file ? n : 0;
    r->sent += n;
    moved(w);
    return w->cancelled ? CURL_READFUNC_ABORT : n;
}

/* A connection that was kept proved dead, or a redirect: once more from there. */
int http_on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct http_work *w = ctx;
    if (origin != SEEK_SET || offset < 0 || w->up.work.busy)
        return CURL_SEEKFUNC_FAIL;
    w->r->sent = (uint64_t)offset;
    w->up.n = w->up.at = 0;
    w->up.offset = w->r->body_at + (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- what is received ---- */

static void write_run(struct work *work)
{
    struct file_block *b = (struct file_block *)((char *)work - offsetof(struct file_block, work));
    b->rc = 0;
    for (b->at = 0; b->at < b->n;) {
        ssize_t put = pwrite(b->fd, b->bytes + b->at, b->n - b->at, (off_t)(b->offset + b->at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            b->rc = put < 0 ? -errno : TARE_EIO;
            return;
        }
        b->at += (size_t)put;
    }
    struct http_request *r = OF(b, down)->r;
    if (r->written)
        r->written(r, b->offset, b->bytes, b->n);
}

static void write_done(struct work *work)
{
    struct http_work *w = OF(work, down.work);
    if (w->down.rc < 0)
        stop(w, w->down.rc);
    http_block_done(w);
}

/* Hand the filled block to a worker and take the other one. */
static void start_write(struct http_work *w)
{
    char *full = w->fill;
    w->fill = w->down.bytes;
    w->down.bytes = full;
    w->down.n = w->n_fill;
    w->down.offset = w->down_at;
    w->down.fd = w->r->to_fd;
    w->down_at += w->n_fill;
    w->n_fill = 0;
    w->down.work.is_long = w->r->written && w->down.n >= FILE_BLOCK_BYTES / 2;
    w->down.work.run = write_run;
    w->down.work.done = write_done;
    http_start_work(w->m, &w->down.work);
}

/* Each block is a way to a worker and back, for which a busy machine takes its time: long answers take few. */
static void choose_block(struct http_work *w)
{
    curl_off_t n = 0;
    curl_easy_getinfo(w->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
    w->block_bytes = n >= BIG_ANSWER_BYTES && http_take_big(w) ? BIG_BLOCK_BYTES : FILE_BLOCK_BYTES;
}

static size_t to_file(struct http_work *w, const char *from, size_t n)
{
    if (w->block_bytes == 0)
        choose_block(w);
    if (n > w->block_bytes)
        return stop(w, TARE_ELIMIT);
    if (w->n_fill + n > w->block_bytes) {
        if (w->down.work.busy)
            return CURL_WRITEFUNC_PAUSE;
        start_write(w);
    }
    if (!w->fill && !(w->fill = mem_alloc(w->block_bytes)))
        return stop(w, TARE_ENOMEM);
    memcpy(w->fill + w->n_fill, from, n);
    w->n_fill += n;
    return n;
}

static size_t to_memory(struct http_work *w, const char *from, size_t n, bool good)
{
    struct http_request *r = w->r;
    size_t limit = good || r->keep_bytes > ERROR_BODY_BYTES ? r->keep_bytes : ERROR_BODY_BYTES;
    size_t room = limit - r->answer.len;
    if (n > room && good)
        return stop(w, TARE_ELIMIT);
    if (buf_append(&r->answer, from, n < room ? n : room) != 0)
        return stop(w, TARE_ENOMEM);
    return n;
}

size_t http_on_write(char *from, size_t size, size_t n, void *ctx)
{
    struct http_work *w = ctx;
    struct http_request *r = w->r;
    n *= size;
    if (w->error || w->cancelled)
        return 0;
    if (r->received == 0)
        w->down_at = r->resumes && r->status != 206 ? 0 : r->to_at;
    bool good = r->status >= 200 && r->status < 300;
    size_t taken = good && r->to_fd >= 0 ? to_file(w, from, n) : to_memory(w, from, n, good);
    if (taken != n)
        return taken;
    r->received += n;
    moved(w);
    return w->cancelled ? 0 : n;
}

bool http_body_flush(struct http_work *w)
{
    if (w->n_fill == 0 || w->error)
        return false;
    start_write(w);
    return true;
}

bool http_body_busy(const struct http_work *w)
{
    return w->up.work.busy || w->down.work.busy;
}

void http_body_free(struct http_work *w)
{
    if (w->block_bytes == BIG_BLOCK_BYTES)
        http_give_big(w);
    mem_free(w->up.bytes);
    mem_free(w->down.bytes);
    mem_free(w->fill);
}

/* ---- headers ---- */

static void new_answer(struct http_work *w, struct str line)
{
    struct http_request *r = w->r;
    const char *space = memchr(line.p, ' ', line.n);
    r->status = 0;
    for (const char *p = space; p && ++p < line.p + line.n && *p >= '0' && *p <= '9' && r->status < 1000;)
        r->status = r->status * 10 + (*p - '0');
    buf_clear(&r->answer_headers);
    buf_clear(&r->answer);
    w->head_whole = false;
}

size_t http_on_header(char *from, size_t size, size_t n, void *ctx)
{
    struct http_work *w = ctx;
    struct buf *to = &w->r->answer_headers;
    struct str line = str_make(from, n * size);
    n *= size;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' '))
        line.n--;
    if (str_starts(line, STR("HTTP/"))) {
        new_answer(w, line);
        return n;
    }
    if (line.n == 0)
        w->head_whole = w->r->status >= 200; /* else one that only says that another follows */
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
    if (!colon)
        return n;
    if (to->len + line.n > ANSWER_HEADER_BYTES)
        return stop(w, TARE_ELIMIT);
    for (const char *p = line.p; p < colon; p++)
        buf_putc(to, (char)tolower((unsigned char)*p));
    const char *value = colon + 1, *end = line.p + line.n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    buf_puts(to, ": ");
    buf_append(to, value, (size_t)(end - value));
    buf_putc(to, '\n');
    return n;
}
