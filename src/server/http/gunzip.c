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

static int unpack(struct libdeflate_decompressor *d, const struct buf *in, size_t max, struct buf *out)
{
    size_t at = 0;
    while (at < in->len) { /* members follow each other */
        size_t room = out->cap - out->len, used = 0, made = 0;
        enum libdeflate_result rc =
            libdeflate_gzip_decompress_ex(d, in->data + at, in->len - at, out->data + out->len, room,
                                          &used, &made);
        if (rc == LIBDEFLATE_INSUFFICIENT_SPACE) {
            if (out->cap > max)
                return TARE_ELIMIT;
            size_t want = out->cap * 2 < max ? out->cap * 2 : max + 1;
            if (!buf_reserve(out, want - out->len))
                return TARE_ENOMEM;
            continue;
        }
        if (rc != LIBDEFLATE_SUCCESS || !used)
            return TARE_EFORMAT;
        at += used;
        out->len += made;
    }
    return out->len > max ? TARE_ELIMIT : 0;
}

int http_gunzip(struct buf *body, size_t max)
{
    if (body->len < 18)
        return TARE_EFORMAT;
    struct buf out = {0};
    size_t hint = length_hint(body);
    if (hint < body->len || hint > max)
        hint = body->len * 4 < max ? body->len * 4 : max;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    int rc = d && buf_reserve(&out, hint + 1) ? unpack(d, body, max, &out) : TARE_ENOMEM;
    libdeflate_free_decompressor(d);
    if (rc) {
        buf_fini(&out);
        return rc;
    }
    buf_fini(body);
    *body = out;
    return 0;
}
