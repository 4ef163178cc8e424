/* SPDX-License-Identifier: MIT */
#include "loop/out_queue.h"

#include "base/err.h"

#include <assert.h>

size_t out_queue_total_bytes;

static void account(struct out_queue *q)
{
    out_queue_total_bytes -= q->bytes;
    q->bytes = q->waiting.len + q->sending.len;
    out_queue_total_bytes += q->bytes;
}

void out_queue_init(struct out_queue *q, uv_stream_t *to, void (*on_drained)(struct out_queue *))
{
    *q = (struct out_queue){.to = to, .on_drained = on_drained};
    q->req.data = q;
}

void out_queue_fini(struct out_queue *q)
{
    assert(!q->busy);
    buf_fini(&q->waiting);
    buf_fini(&q->sending);
    account(q);
}

static void fail(struct out_queue *q, int rc)
{
    if (!q->error)
        q->error = rc;
    buf_fini(&q->waiting);
    if (!q->busy)
        buf_fini(&q->sending);
    account(q);
}

char *out_queue_room(struct out_queue *q, size_t n)
{
    if (q->error)
        return NULL;
    char *to = buf_reserve(&q->waiting, n);
    q->waiting.failed = false; /* the next, smaller one may fit */
    if (!to)
        return NULL;
    q->waiting.len += n;
    account(q);
    return to;
}

static void on_written(uv_write_t *req, int status)
{
    struct out_queue *q = req->data;
    q->busy = false;
    buf_fini(&q->sending);
    if (status < 0)
        fail(q, status);
    account(q);
    out_queue_flush(q);
    q->on_drained(q);
}

/* What the kernel did not take at once is sent by libuv when there is room. */
static void send_rest(struct out_queue *q, size_t from)
{
    uv_buf_t piece = {.base = q->waiting.data + from, .len = q->waiting.len - from};
    buf_consume(&q->waiting, from);
    piece.base = q->waiting.data;
    q->sending = q->waiting;
    q->waiting = (struct buf){0};
    q->busy = true;
    int rc = uv_write(&q->req, q->to, &piece, 1, on_written);
    if (rc < 0) {
        q->busy = false;
        fail(q, rc);
    }
}

void out_queue_flush(struct out_queue *q)
{
    if (q->busy || q->waiting.len == 0)
        return;
    uv_buf_t all = {.base = q->waiting.data, .len = q->waiting.len};
    int sent = uv_try_write(q->to, &all, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        fail(q, sent);
        return;
    }
    if (sent > 0 && (size_t)sent == q->waiting.len)
        buf_fini(&q->waiting);
    else
        send_rest(q, sent > 0 ? (size_t)sent : 0);
    account(q);
}
