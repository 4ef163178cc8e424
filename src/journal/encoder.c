/* SPDX-License-Identifier: MIT */
#include "journal/encoder.h"

#include "base/crc32.h"
#include "base/err.h"

#include <string.h>

void journal_put_header(uint8_t to[JOURNAL_HEADER_BYTES])
{
    memcpy(to, JOURNAL_IDENT, 4);
    to[4] = JOURNAL_MAGIC & 0xff;
    to[5] = JOURNAL_MAGIC >> 8;
    to[6] = JOURNAL_VERSION;
}

void journal_encoder_init(struct journal_encoder *enc, uint64_t offset)
{
    enc->offset = offset;
}

/* Write one chunk at `to`; returns its size. */
static size_t put_chunk(uint8_t *to, enum journal_chunk_type type, const void *data, size_t n)
{
    to[4] = (uint8_t)n;
    to[5] = (uint8_t)(n >> 8);
    to[6] = (uint8_t)type;
    if (n)
        memcpy(to + JOURNAL_CHUNK_HEADER_BYTES, data, n);
    uint32_t crc = crc32_ieee(0, to + 6, n + 1);
    to[0] = (uint8_t)crc;
    to[1] = (uint8_t)(crc >> 8);
    to[2] = (uint8_t)(crc >> 16);
    to[3] = (uint8_t)(crc >> 24);
    return JOURNAL_CHUNK_HEADER_BYTES + n;
}

/* First, middle and last chunks, from the middle of a block with `left` bytes (at least 7). */
static size_t put_split(uint8_t *to, size_t left, const uint8_t *data, size_t n)
{
    size_t used = 0;
    for (enum journal_chunk_type type = JOURNAL_FIRST; type != JOURNAL_LAST;) {
        size_t room = left - JOURNAL_CHUNK_HEADER_BYTES;
        used += put_chunk(to + used, type, data, room);
        data += room;
        n -= room;
        left = JOURNAL_BLOCK_BYTES;
        type = n > JOURNAL_CHUNK_MAX ? JOURNAL_MIDDLE : JOURNAL_LAST;
    }
    return used + put_chunk(to + used, JOURNAL_LAST, data, n);
}

int journal_encode(struct journal_encoder *enc, struct buf *out, const void *record, size_t n)
{
    size_t left = journal_block_left(enc->offset);
    size_t pad = left < JOURNAL_CHUNK_HEADER_BYTES ? left : 0;
    size_t most = pad + n + JOURNAL_CHUNK_HEADER_BYTES * (n / JOURNAL_CHUNK_MAX + 3);
    if (most < n || out->failed)
        return TARE_ENOMEM;
    uint8_t *to = (uint8_t *)buf_reserve(out, most);
    if (!to) {
        out->failed = false; /* this record is lost; the next may fit */
        return TARE_ENOMEM;
    }
    if (pad) {
        memset(to, 0, pad);
        left = JOURNAL_BLOCK_BYTES;
    }
    size_t used = pad;
    if (n <= left - JOURNAL_CHUNK_HEADER_BYTES)
        used += put_chunk(to + pad, JOURNAL_FULL, record, n);
    else
        used += put_split(to + pad, left, record, n);
    out->len += used;
    enc->offset += used;
    return 0;
}

size_t journal_whole_records(const void *chunks, size_t n, uint64_t offset)
{
    const uint8_t *p = chunks;
    size_t at = 0, whole = 0;
    for (;;) {
        size_t left = journal_block_left(offset + at);
        if (left < JOURNAL_CHUNK_HEADER_BYTES) {
            at += left;
            continue;
        }
        if (at > n || n - at < JOURNAL_CHUNK_HEADER_BYTES)
            return whole;
        size_t size = JOURNAL_CHUNK_HEADER_BYTES + (size_t)(p[at + 4] | p[at + 5] << 8);
        if (n - at < size)
            return whole;
        uint8_t type = p[at + 6];
        at += size;
        if (type == JOURNAL_FULL || type == JOURNAL_LAST)
            whole = at;
    }
}
