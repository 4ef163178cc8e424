/* SPDX-License-Identifier: MIT */
/* Eight bytes a round with eight tables ("slicing by 8", Kounavis and Berry 2005). The tables are
 * computed at first use; racing threads write the same values. */
#include "base/crc32.h"

#include <stdatomic.h>
#include <string.h>

static uint32_t table[8][256];
static atomic_int ready;

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        __atomic_store_n(&table[0][i], c, __ATOMIC_RELAXED);
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t c = __atomic_load_n(&table[t - 1][i], __ATOMIC_RELAXED);
            c = (c >> 8) ^ __atomic_load_n(&table[0][c & 255], __ATOMIC_RELAXED);
            __atomic_store_n(&table[t][i], c, __ATOMIC_RELAXED);
        }
    atomic_store_explicit(&ready, 1, memory_order_release);
}

uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n)
{
    if (!atomic_load_explicit(&ready, memory_order_acquire))
        make_tables();
    const unsigned char *s = p;
    uint32_t c = ~crc;
    for (; n >= 8; s += 8, n -= 8) {
        uint32_t lo = c ^ ((uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 |
                           (uint32_t)s[3] << 24);
        c = table[7][lo & 255] ^ table[6][lo >> 8 & 255] ^ table[5][lo >> 16 & 255] ^
            table[4][lo >> 24] ^ table[3][s[4]] ^ table[2][s[5]] ^ table[1][s[6]] ^ table[0][s[7]];
    }
    while (n--)
        c = table[0][(c ^ *s++) & 255] ^ (c >> 8);
    return ~c;
}
