/* SPDX-License-Identifier: MIT */
#include "server/http/inner.h"

#include <libdeflate.h>

/* The length that the last member says it has, modulo 2^32. A hint: it comes from outside. */
static size_t length_hint(const struct buf *b)
{
    uint32_t n;
    memcpy(&n, b->data + b->len - 4, 4);
    return n;
}

struct room {
    size_t max;
    struct budget *memory;
    size_t *taken;
};

/* Room for `cap` bytes in all. */
static int grow(struct buf *out, size_t cap, const struct room *room)
{
    size_t more = cap - out->cap;
    if (!budget_take(room->memory, more, *room->taken))
        return TARE_EFULL;
    *room->taken += more;
    return buf_reserve(out, cap - out->len) ? 0 : TARE_ENOMEM;
}

static int unpack(struct libdeflate_decompressor *d, const struct buf *in, const struct room *r, struct buf *out)
{
    size_t at = 0;
    while (at < in->len) { /* members follow each other */
        size_t room = out->cap - out->len, used = 0, made = 0;
        enum libdeflate_result rc =
            libdeflate_gzip_decompress_ex(d, in->data + at, in->len - at, out->data + out->len, room,
                                          &used, &made);
        if (rc == LIBDEFLATE_INSUFFICIENT_SPACE) {
            if (out->cap > r->max)
                return TARE_ELIMIT;
            int full = grow(out, out->cap * 2 < r->max ? out->cap * 2 : r->max + 1, r);
            if (full)
                return full;
            continue;
        }
        if (rc != LIBDEFLATE_SUCCESS || !used)
            return TARE_EFORMAT;
        at += used;
        out->len += made;
    }
    return out->len > r->max ? TARE_ELIMIT : 0;
}

int http_gunzip(struct buf *body, size_t max, struct budget *memory, size_t *taken)
{
    if (body->len < 18)
        return TARE_EFORMAT;
    struct buf out = {0};
    const struct room room = {max, memory, taken};
    size_t hint = length_hint(body);
    if (hint < body->len || hint > max)
        hint = body->len * 4 < max ? body->len * 4 : max;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    int rc = d ? grow(&out, hint + 1, &room) : TARE_ENOMEM;
    if (!rc)
        rc = unpack(d, body, &room, &out);
    libdeflate_free_decompressor(d);
    if (rc) {
        buf_fini(&out);
        return rc;
    }
    buf_fini(body);
    *body = out;
    return 0;
}
