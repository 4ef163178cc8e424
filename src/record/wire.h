/* SPDX-License-Identifier: MIT */
/* Protobuf's wire format, walked and written in place. No dependencies: the client library and the
 * service's hot path use the same helpers.
 *
 *   field = varint(number << 3 | type) value
 *   type 0: varint    1: 8 bytes LE    2: varint length, bytes    5: 4 bytes LE
 *
 * Source: the Protocol Buffers encoding guide. Groups (types 3, 4) are refused. Any thread. */
#ifndef TARE_RECORD_WIRE_H
#define TARE_RECORD_WIRE_H

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum {
    WIRE_VARINT_MAX = 10, /* bytes of a number of 64 bits */
    WIRE_TAG_MAX = 5,     /* of a tag or a length, numbers of 32 bits: no decoder takes more */
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;   /* of a varint or fixed field */
    struct str bytes; /* of a WIRE_BYTES field; points into the message; else empty */
};

/* Position in a message: start with p = its first byte. */
struct wire_reader {
    const char *p, *end;
};

static inline struct wire_reader wire_open(struct str message)
{
    return (struct wire_reader){message.p, message.n ? message.p + message.n : message.p};
}

/* Read a varint; false if it is cut off or longer than 10 bytes. */
static inline bool wire_get_varint(struct wire_reader *r, uint64_t *to)
{
    if (r->p < r->end && (unsigned char)*r->p < 0x80) {
        *to = (unsigned char)*r->p++;
        return true;
    }
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && r->p < r->end; shift += 7) {
        unsigned char c = (unsigned char)*r->p++;
        v |= (uint64_t)(c & 0x7f) << (shift < 64 ? shift : 63);
        if (c < 0x80) {
            *to = v;
            return true;
        }
    }
    return false;
}

/* The next field: 1, or 0 at the end of the message, or -1 if the message is malformed. */
static inline int wire_next(struct wire_reader *r, struct wire_field *f)
{
    if (r->p >= r->end)
        return 0;
    uint64_t tag;
    const char *at = r->p;
    if (!wire_get_varint(r, &tag) || r->p - at > WIRE_TAG_MAX || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return -1;
    f->number = (uint32_t)(tag >> 3);
    f->type = (enum wire_type)(tag & 7);
    f->bytes = (struct str){0}; /* so that a field of an unexpected type has no bytes, not stale ones */
    size_t left = (size_t)(r->end - r->p);
    switch (f->type) {
    case WIRE_VARINT:
        return wire_get_varint(r, &f->value) ? 1 : -1;
    case WIRE_BYTES:
        at = r->p;
        if (!wire_get_varint(r, &f->value) || r->p - at > WIRE_TAG_MAX ||
            f->value > (uint64_t)(r->end - r->p))
            return -1;
        f->bytes = str_make(r->p, (size_t)f->value);
        r->p += f->value;
        return 1;
    case WIRE_FIXED64:
    case WIRE_FIXED32: {
        size_t n = f->type == WIRE_FIXED64 ? 8 : 4;
        if (left < n)
            return -1;
        f->value = 0;
        for (size_t i = 0; i < n; i++)
            f->value |= (uint64_t)(unsigned char)r->p[i] << 8 * i;
        r->p += n;
        return 1;
    }
    default:
        return -1;
    }
}

static inline size_t wire_varint_size(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

/* Write at `to` (which has room for WIRE_VARINT_MAX bytes); returns the byte behind it. */
static inline char *wire_put_varint(char *to, uint64_t v)
{
    while (v >= 0x80) {
        *to++ = (char)(v | 0x80);
        v >>= 7;
    }
    *to++ = (char)v;
    return to;
}

static inline char *wire_put_tag(char *to, uint32_t number, enum wire_type type)
{
    return wire_put_varint(to, (uint64_t)number << 3 | (uint64_t)type);
}

static inline char *wire_put_fixed64(char *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        *to++ = (char)(v >> 8 * i);
    return to;
}

/* Size of a WIRE_BYTES field with tag and length. */
static inline size_t wire_bytes_size(uint32_t number, size_t n)
{
    return wire_varint_size((uint64_t)number << 3) + wire_varint_size(n) + n;
}

/* Tag, length and the bytes themselves. */
static inline char *wire_put_bytes(char *to, uint32_t number, struct str s)
{
    to = wire_put_tag(to, number, WIRE_BYTES);
    to = wire_put_varint(to, s.n);
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

/* The last field `number` of a message, of the type asked for: empty or 0 where there is none, or
 * the message is malformed before it. For cold paths. */
struct str wire_find_bytes(struct str message, uint32_t number);
uint64_t wire_find_varint(struct str message, uint32_t number);

struct buf;
/* The same, appended to a buffer: 0 or TARE_ENOMEM. */
int wire_buf_bytes(struct buf *b, uint32_t number, struct str s);
int wire_buf_varint(struct buf *b, uint32_t number, uint64_t v);
int wire_buf_double(struct buf *b, uint32_t number, double v);

/* A nested message whose length is not known yet: begin, append its fields, end. `end` moves the
 * contents if the length takes more than the one byte that was kept free. */
size_t wire_buf_begin(struct buf *b, uint32_t number);
int wire_buf_end(struct buf *b, size_t mark);

#endif
