/* SPDX-License-Identifier: MIT */
/* Columns and other blocks as bytes: small, checked by a CRC, decoded quickly.
 *
 * A codec holds the compressor's memory and scratch; take one from the pool for a piece of work and
 * give it back. The formats are described in codec.c. */
#ifndef TARE_SERVER_STORE_CODEC_H
#define TARE_SERVER_STORE_CODEC_H

#include "server/store/column.h"

struct codec;

/* A codec of the process-wide pool; NULL when out of memory. Any thread. */
struct codec *codec_take(void);
void codec_give(struct codec *k); /* NULL is fine */
void codec_give_ptr(struct codec **k);
#define AUTO_CODEC __attribute__((cleanup(codec_give_ptr))) struct codec

/* Free what the pool holds. Tests and shutdown. */
void codec_pool_clear(void);

/* Append `c` as a block to `to`. `level` is zstd's (1 quick, 3 usual). 0 or TARE_ENOMEM. */
int codec_put_column(struct codec *k, struct buf *to, const struct column *c, int level);

/* Read a block back into an empty column; every row is < n_rows. Expected: TARE_EFORMAT (damaged), TARE_ENOMEM. */
int codec_get_column(struct codec *k, struct str block, uint32_t n_rows, struct column *to);

/* The same for plain bytes. `limit` bounds the size of what comes out. */
int codec_put_bytes(struct codec *k, struct buf *to, struct str bytes, int level);
int codec_get_bytes(struct codec *k, struct str block, size_t limit, struct buf *to);

/* Variable-length integers, little end first. */
void put_varint(struct buf *to, uint64_t v);
/* False at the end of the bytes. */
bool get_varint(struct str *from, uint64_t *v);

static inline uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
