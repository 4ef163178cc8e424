/* SPDX-License-Identifier: MIT */
#include "client/message.h"

#include "base/err.h"
#include "base/utf8.h"
#include "record/wire.h"

static bool is_ascii(struct str text)
{
    size_t at = 0;
    uint64_t bits = 0, w;
    for (; at + 8 <= text.n; at += 8) {
        memcpy(&w, text.p + at, sizeof w);
        bits |= w;
    }
    for (; at < text.n; at++)
        bits |= (unsigned char)text.p[at];
    return !(bits & UINT64_C(0x8080808080808080));
}

static int put_repaired(struct buf *b, uint32_t number, struct str text)
{
    AUTO_BUF good = {0};
    while (text.n) {
        uint32_t cp;
        size_t n = utf8_decode(text.p, text.n, &cp);
        char *to = buf_reserve(&good, UTF8_MAX);
        if (!to)
            return TARE_ENOMEM;
        good.len += utf8_encode(to, cp);
        text.p += n, text.n -= n;
    }
    return wire_buf_bytes(b, number, buf_str(&good));
}

int message_put_text(struct buf *b, uint32_t number, struct str text)
{
    if (!text.n)
        return 0;
    if (!is_ascii(text) && !utf8_valid(text.p, text.n))
        return put_repaired(b, number, text);
    return wire_buf_bytes(b, number, text);
}

int message_put_z(struct buf *b, uint32_t number, const char *text)
{
    return message_put_text(b, number, str_of(text));
}

int message_put_bool(struct buf *b, uint32_t number, bool on)
{
    return on ? wire_buf_varint(b, number, 1) : 0;
}

int message_put_time(struct buf *b, uint32_t number, int64_t ns)
{
    size_t at = wire_buf_begin(b, number);
    wire_buf_varint(b, 1, (uint64_t)(ns / 1000000000));
    wire_buf_varint(b, 2, (uint64_t)(ns % 1000000000));
    return wire_buf_end(b, at);
}

int message_put_empty(struct buf *b, uint32_t number)
{
    return wire_buf_bytes(b, number, (struct str){0});
}

void message_open(struct message *m, struct buf *b)
{
    m->b = b;
    m->record = wire_buf_begin(b, REQ_RECORD);
}

int message_close(struct message *m, const char *stream_id, const char *slot, bool local)
{
    struct buf *b = m->b;
    size_t at;
    if (local || slot) {
        at = wire_buf_begin(b, RECORD_CONTROL);
        message_put_bool(b, CONTROL_LOCAL, local);
        message_put_z(b, CONTROL_SLOT, slot);
        wire_buf_end(b, at);
    }
    at = wire_buf_begin(b, RECORD_INFO);
    message_put_z(b, INFO_STREAM_ID, stream_id);
    wire_buf_end(b, at);
    wire_buf_end(b, m->record);
    return message_put_z(b, REQ_ID, slot);
}

int message_put_request(struct buf *b, uint32_t request, const char *stream_id, const char *slot)
{
    struct message m;
    message_open(&m, b);
    size_t at = wire_buf_begin(b, RECORD_REQUEST);
    message_put_empty(b, request);
    wire_buf_end(b, at);
    return message_close(&m, stream_id, slot, request != REQUEST_SHUTDOWN);
}

static bool find(struct str message, uint32_t number, struct wire_field *f)
{
    struct wire_reader r = wire_open(message);
    while (message.p && wire_next(&r, f) > 0)
        if (f->number == number)
            return true;
    return false;
}

struct str message_get(struct str message, uint32_t number)
{
    struct wire_field f;
    if (!find(message, number, &f) || f.type != WIRE_BYTES)
        return (struct str){0};
    return f.bytes;
}

bool message_has(struct str message, uint32_t number)
{
    struct wire_field f;
    return find(message, number, &f);
}

uint64_t message_get_varint(struct str message, uint32_t number)
{
    struct wire_field f;
    return find(message, number, &f) && f.type == WIRE_VARINT ? f.value : 0;
}
