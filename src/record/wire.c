/* SPDX-License-Identifier: MIT */
#include "record/wire.h"

#include "base/buf.h"
#include "base/err.h"

static bool find(struct str message, uint32_t number, enum wire_type type, struct wire_field *to)
{
    bool found = false;
    struct wire_field f = {0};
    struct wire_reader r = wire_open(message);
    while (wire_next(&r, &f) > 0) {
        if (f.number == number && f.type == type) {
            *to = f;
            found = true;
        }
    }
    return found;
}

struct str wire_find_bytes(struct str message, uint32_t number)
{
    struct wire_field f;
    return find(message, number, WIRE_BYTES, &f) ? f.bytes : STR("");
}

uint64_t wire_find_varint(struct str message, uint32_t number)
{
    struct wire_field f;
    return find(message, number, WIRE_VARINT, &f) ? f.value : 0;
}

int wire_buf_bytes(struct buf *b, uint32_t number, struct str s)
{
    char *to = buf_reserve(b, 2 * WIRE_VARINT_MAX + s.n);
    if (!to)
        return TARE_ENOMEM;
    b->len += (size_t)(wire_put_bytes(to, number, s) - to);
    return 0;
}

int wire_buf_varint(struct buf *b, uint32_t number, uint64_t v)
{
    char *to = buf_reserve(b, 2 * WIRE_VARINT_MAX);
    if (!to)
        return TARE_ENOMEM;
    b->len += (size_t)(wire_put_varint(wire_put_tag(to, number, WIRE_VARINT), v) - to);
    return 0;
}

int wire_buf_double(struct buf *b, uint32_t number, double v)
{
    char *to = buf_reserve(b, WIRE_VARINT_MAX + 8);
    if (!to)
        return TARE_ENOMEM;
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    b->len += (size_t)(wire_put_fixed64(wire_put_tag(to, number, WIRE_FIXED64), bits) - to);
    return 0;
}

size_t wire_buf_begin(struct buf *b, uint32_t number)
{
    char *to = buf_reserve(b, WIRE_VARINT_MAX + 1);
    if (to) {
        b->len += (size_t)(wire_put_tag(to, number, WIRE_BYTES) - to);
        b->len++; /* one byte for the length */
    }
    return b->len;
}

int wire_buf_end(struct buf *b, size_t mark)
{
    if (b->failed)
        return TARE_ENOMEM;
    size_t n = b->len - mark, size = wire_varint_size(n);
    if (size > 1) {
        if (!buf_reserve(b, size - 1))
            return TARE_ENOMEM;
        memmove(b->data + mark + size - 1, b->data + mark, n);
        b->len += size - 1;
    }
    wire_put_varint(b->data + mark - 1, n);
    return 0;
}
