/* SPDX-License-Identifier: MIT */
#include "client/message.h"

#include "base/err.h"
#include "record/wire.h"

/* Length of the UTF-8 sequence at `s`, 0 if it is none (RFC 3629: no overlong, no surrogates). */
static size_t sequence(const unsigned char *s, size_t n)
{
    static const unsigned char low2[] = {0x80, 0xa0, 0x80, 0x90, 0x80};
    static const unsigned char high2[] = {0xbf, 0xbf, 0x9f, 0xbf, 0x8f};
    unsigned char c = s[0];
    size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (len < 2)
        return len;
    int rule = c == 0xe0 ? 1 : c == 0xed ? 2 : c == 0xf0 ? 3 : c == 0xf4 ? 4 : 0;
    if (n < len || s[1] < low2[rule] || s[1] > high2[rule])
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static size_t valid_prefix(struct str text)
{
    const unsigned char *s = (const unsigned char *)text.p;
    size_t at = 0;
    while (at < text.n) {
        while (at + 8 <= text.n) {
            uint64_t w;
            memcpy(&w, s + at, sizeof w);
            if (w & UINT64_C(0x8080808080808080))
                break;
            at += 8;
        }
        if (at == text.n)
            break;
        size_t k = sequence(s + at, text.n - at);
        if (!k)
            break;
        at += k;
    }
    return at;
}

static int put_repaired(struct buf *b, uint32_t number, struct str text)
{
    AUTO_BUF good = {0};
    while (text.n) {
        size_t k = valid_prefix(text);
        buf_append(&good, text.p, k);
        text.p += k, text.n -= k;
        if (text.n) {
            buf_puts(&good, "\xef\xbf\xbd");
            text.p++, text.n--;
        }
    }
    return good.failed ? TARE_ENOMEM : wire_buf_bytes(b, number, buf_str(&good));
}

int message_put_text(struct buf *b, uint32_t number, struct str text)
{
    if (!text.n)
        return 0;
    if (valid_prefix(text) < text.n)
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
