/* SPDX-License-Identifier: MIT */
/* A quick hash of bytes for in-memory tables: not stable across versions, not for digests. */
#ifndef TARE_BASE_HASH_H
#define TARE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The mixing step of wyhash (public domain). */
static inline uint64_t hash_word(uint64_t h, uint64_t w)
{
    __uint128_t m = (__uint128_t)(h ^ w ^ 0xa0761d6478bd642fu) * 0xe7037ed1a0b428dbu;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Multiply-and-fold over 8-byte words. `seed` should be random where keys come from outside. */
static inline uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t w = 0, h = seed ^ (n * 0x9e3779b97f4a7c15u);
    for (; n >= sizeof w; n -= sizeof w, s += sizeof w) {
        memcpy(&w, s, sizeof w); /* a constant size: one load */
        h = hash_word(h, w);
    }
    if (n) {
        w = 0;
        memcpy(&w, s, n);
        h = hash_word(h, w);
    }
    h ^= h >> 32;
    return h;
}

#endif
