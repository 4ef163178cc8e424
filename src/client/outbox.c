/* SPDX-License-Identifier: MIT */
#include "client/outbox.h"

#include "base/alloc.h"
#include "base/err.h"
#include "record/frame.h"

enum { CHUNK_MIN = 4096, CHUNK_MAX = 65536 };

/* Holds whole frames. */
struct outbox_chunk {
    struct outbox_chunk *next;
    size_t cap, len;
    size_t sent;
    char bytes[];
};

void outbox_fini(struct outbox *o)
{
    while (o->first) {
        struct outbox_chunk *c = o->first;
        o->first = c->next;
        mem_free(c);
    }
    *o = (struct outbox){0};
}

static struct outbox_chunk *grow(struct outbox *o, size_t need)
{
    size_t cap = o->last ? 2 * o->last->cap : CHUNK_MIN;
    cap = cap > CHUNK_MAX ? CHUNK_MAX : cap;
    cap = cap > need ? cap : need;
    struct outbox_chunk *c = mem_alloc(sizeof *c + cap);
    if (!c)
        return NULL;
    c->next = NULL;
    c->cap = cap;
    c->len = c->sent = 0;
    if (o->last)
        o->last->next = c;
    else
        o->first = c;
    o->last = c;
    if (!o->sending)
        o->sending = c;
    return c;
}

int outbox_put(struct outbox *o, struct str message)
{
    size_t need = FRAME_HEADER + message.n;
    struct outbox_chunk *c = o->last;
    if (message.n >= FRAME_MAX_DEFAULT)
        return TARE_ELIMIT;
    if (!c || c->cap - c->len < need)
        c = grow(o, need);
    if (!c)
        return TARE_ENOMEM;
    frame_put_header(c->bytes + c->len, (uint32_t)message.n);
    memcpy(c->bytes + c->len + FRAME_HEADER, message.p, message.n);
    c->len += need;
    o->built += need;
    return 0;
}

struct str outbox_unsent(struct outbox *o)
{
    while (o->sending && o->sending->sent == o->sending->len && o->sending->next)
        o->sending = o->sending->next;
    struct outbox_chunk *c = o->sending;
    return c ? str_make(c->bytes + c->sent, c->len - c->sent) : (struct str){0};
}

void outbox_sent(struct outbox *o, size_t n)
{
    o->sending->sent += n;
    o->sent += n;
}

void outbox_ack(struct outbox *o, uint64_t position, size_t keep)
{
    if (position > o->acked)
        o->acked = position;
    uint64_t upto = o->acked > keep ? o->acked - keep : 0;
    while (o->first && o->first != o->last && o->first->sent == o->first->len &&
           o->released + o->first->len <= upto) {
        struct outbox_chunk *c = o->first;
        o->first = c->next;
        o->released += c->len;
        if (o->sending == c)
            o->sending = c->next;
        mem_free(c);
    }
}

int outbox_take_all(struct outbox *o, int (*each)(void *arg, struct str message), void *arg)
{
    int rc = 0;
    for (struct outbox_chunk *c = o->first; c && !rc; c = c->next) {
        uint32_t n;
        for (size_t at = 0; at < c->len && !rc; at += FRAME_HEADER + n) {
            frame_peek(c->bytes + at, c->len - at, UINT32_MAX, &n);
            rc = each(arg, str_make(c->bytes + at + FRAME_HEADER, n));
        }
    }
    uint64_t built = o->built;
    outbox_fini(o);
    o->built = o->sent = o->acked = o->released = built;
    return rc;
}
