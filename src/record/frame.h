/* SPDX-License-Identifier: MIT */
/* How messages stand on a socket, in both directions:
 *
 *   offset 0   1 byte   'W'
 *   offset 1   4 bytes  length of the message, little endian
 *   offset 5   length   ServerRequest (to the service) or ServerResponse (from it)
 *
 * Source: the peer's wandb/sdk/lib/service/ipc_support and core/pkg/server/tokenizer. */
#ifndef TARE_RECORD_FRAME_H
#define TARE_RECORD_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER = 5, FRAME_MAGIC = 'W' };
#define FRAME_MAX_DEFAULT ((uint32_t)1 << 31) /* bytes; the peer's limit */

static inline void frame_put_header(char to[FRAME_HEADER], uint32_t len)
{
    to[0] = FRAME_MAGIC;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (char)(len >> 8 * i);
}

/* Look at the `n` bytes at `p`, where a frame starts. Returns 1 and *len (the message's length;
 * the message may not be complete yet), 0 if more bytes are needed to tell, TARE_EPROTO for a
 * wrong first byte, TARE_ELIMIT for a length over `max`. */
int frame_peek(const char *p, size_t n, uint32_t max, uint32_t *len);

#endif
