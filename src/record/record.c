/* SPDX-License-Identifier: MIT */
#include "record/record.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* An arena in the shape that protobuf-c asks for. It remembers whether it ever ran out, since
 * protobuf-c answers NULL for that and for malformed bytes alike. */
struct arena_allocator {
    ProtobufCAllocator base;
    struct arena *arena;
    bool ran_out;
};

static void *on_alloc(void *data, size_t size_bytes)
{
    struct arena_allocator *self = data;
    void *p = arena_alloc(self->arena, size_bytes);
    if (!p)
        self->ran_out = true;
    return p;
}

static void on_free(void *data, void *p)
{
    (void)data; /* the arena frees all at once */
    (void)p;
}

int record_unpack(const ProtobufCMessageDescriptor *type, struct arena *a, const void *bytes,
                  size_t len, ProtobufCMessage **out, struct err *e)
{
    struct arena_allocator allocator = {.arena = a};
    allocator.base = (ProtobufCAllocator){on_alloc, on_free, &allocator};
    static const uint8_t nothing[1];
    ProtobufCMessage *m =
        protobuf_c_message_unpack(type, &allocator.base, len, bytes ? bytes : nothing);
    if (!m && allocator.ran_out)
        return err_set(e, TARE_ELIMIT, "a message of %zu bytes needs too much memory", len);
    if (!m)
        return err_set(e, TARE_EFORMAT, "%zu bytes are not a valid message", len);
    *out = m;
    return 0;
}

int record_decode(struct arena *a, const void *bytes, size_t len, Pb__Record **out, struct err *e)
{
    ProtobufCMessage *m;
    int rc = record_unpack(&pb__record__descriptor, a, bytes, len, &m, e);
    if (rc == 0)
        *out = (Pb__Record *)m;
    return rc;
}

int record_decode_request(struct arena *a, const void *bytes, size_t len, Pb__ServerRequest **out,
                          struct err *e)
{
    ProtobufCMessage *m;
    int rc = record_unpack(&pb__server_request__descriptor, a, bytes, len, &m, e);
    if (rc == 0)
        *out = (Pb__ServerRequest *)m;
    return rc;
}

int record_decode_response(struct arena *a, const void *bytes, size_t len,
                           Pb__ServerResponse **out, struct err *e)
{
    ProtobufCMessage *m;
    int rc = record_unpack(&pb__server_response__descriptor, a, bytes, len, &m, e);
    if (rc == 0)
        *out = (Pb__ServerResponse *)m;
    return rc;
}

int record_encode(struct buf *b, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    if (n == 0)
        return 0;
    char *room = buf_reserve(b, n);
    if (!room)
        return TARE_ENOMEM;
    b->len += protobuf_c_message_pack(m, (uint8_t *)room);
    return 0;
}

void *record_new(struct arena *a, const ProtobufCMessageDescriptor *type)
{
    void *m = arena_alloc(a, type->sizeof_message);
    if (m)
        type->message_init(m);
    return m;
}

void *record_list_add(struct arena *a, void *list, size_t n, void *item)
{
    void **items = list;
    if ((n & (n - 1)) == 0) { /* full at 0, 1, 2, 4, 8, ... */
        size_t cap = n ? 2 * n : 1;
        void **more = arena_alloc(a, cap * sizeof *more);
        if (!more)
            return NULL;
        if (n)
            memcpy(more, items, n * sizeof *more);
        items = more;
    }
    items[n] = item;
    return items;
}
