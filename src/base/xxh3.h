/* SPDX-License-Identifier: MIT */
/* XXH3 with 128 bits, no seed: the other digest of artifact files (their entries say
 * {"alg":"XXH128"}). Not for anything that must resist an attacker. Any thread. */
#ifndef TARE_BASE_XXH3_H
#define TARE_BASE_XXH3_H

#include <stddef.h>
#include <stdint.h>

enum { XXH128_BYTES = 16, XXH3_BUFFER = 512, XXH3_STRIPE = 64 };

struct xxh3 {
    uint64_t acc[8];
    uint64_t n_bytes;
    size_t n_stripes;             /* of the block at hand */
    size_t n;                     /* bytes in `buffer` */
    uint8_t last[XXH3_STRIPE];    /* what came before them */
    uint8_t buffer[XXH3_BUFFER];
};

void xxh3_init(struct xxh3 *x);
void xxh3_add(struct xxh3 *x, const void *p, size_t n);
/* The canonical form: big-endian, high half first. */
void xxh3_end(const struct xxh3 *x, uint8_t to[XXH128_BYTES]);

#endif
