/* SPDX-License-Identifier: MIT */
#include "record/check.h"

#include "base/utf8.h"
#include "record/wire.h"

enum { MAX_DEPTH = 64 };

static enum wire_type type_on_wire(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return WIRE_FIXED32;
    default:
        return WIRE_VARINT;
    }
}

/* Numbers side by side in one field, as repeated ones may stand. */
static bool check_packed(enum wire_type type, struct str bytes)
{
    struct wire_reader r = wire_open(bytes);
    uint64_t v;
    if (type == WIRE_FIXED64 || type == WIRE_FIXED32)
        return bytes.n % (type == WIRE_FIXED64 ? 8 : 4) == 0;
    while (r.p < r.end)
        if (!wire_get_varint(&r, &v))
            return false;
    return true;
}

static bool check(const ProtobufCMessageDescriptor *type, struct str message, unsigned depth);

/* Fields of bytes in our descriptors are strings in the protocol that must not be cut at a NUL. */
static bool check_field(const ProtobufCFieldDescriptor *d, const struct wire_field *f,
                        unsigned depth)
{
    enum wire_type want = type_on_wire(d->type);
    if (f->type != want)
        return d->label == PROTOBUF_C_LABEL_REPEATED && f->type == WIRE_BYTES &&
               check_packed(want, f->bytes);
    if (d->type == PROTOBUF_C_TYPE_STRING || d->type == PROTOBUF_C_TYPE_BYTES)
        return utf8_valid(f->bytes.p, f->bytes.n);
    if (d->type == PROTOBUF_C_TYPE_MESSAGE)
        return check(d->descriptor, f->bytes, depth + 1);
    return true;
}

static bool check(const ProtobufCMessageDescriptor *type, struct str message, unsigned depth)
{
    if (depth > MAX_DEPTH)
        return false;
    struct wire_reader r = wire_open(message);
    struct wire_field f = {0};
    int rc;
    while ((rc = wire_next(&r, &f)) == 1) {
        const ProtobufCFieldDescriptor *d =
            protobuf_c_message_descriptor_get_field(type, f.number);
        if (d && !check_field(d, &f, depth))
            return false;
    }
    return rc == 0;
}

bool record_check(const ProtobufCMessageDescriptor *type, struct str message)
{
    return check(type, message, 0);
}

/* ---- mending ---- */

static void mend(const ProtobufCMessageDescriptor *type, struct str message, unsigned depth);

static void mend_text(char *p, size_t n)
{
    uint32_t cp;
    for (size_t i = 0, took; i < n; i += took) {
        took = utf8_decode(p + i, n - i, &cp);
        if (took == 1 && (p[i] & 0x80))
            p[i] = '?';
    }
}

static void mend_field(const ProtobufCFieldDescriptor *d, const struct wire_field *f, unsigned depth)
{
    if (f->type != WIRE_BYTES || !f->bytes.n)
        return;
    if (d->type == PROTOBUF_C_TYPE_MESSAGE)
        mend(d->descriptor, f->bytes, depth + 1);
    else if ((d->type == PROTOBUF_C_TYPE_STRING || d->type == PROTOBUF_C_TYPE_BYTES) &&
             !utf8_valid(f->bytes.p, f->bytes.n))
        mend_text((char *)f->bytes.p, f->bytes.n);
}

static void mend(const ProtobufCMessageDescriptor *type, struct str message, unsigned depth)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f = {0};
    if (depth > MAX_DEPTH)
        return;
    while (wire_next(&r, &f) == 1) {
        const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field(type, f.number);
        if (d)
            mend_field(d, &f, depth);
    }
}

void record_mend_texts(const ProtobufCMessageDescriptor *type, char *message, size_t n)
{
    mend(type, str_make(message, n), 0);
}
