/* SPDX-License-Identifier: MIT */
/* Planes are cut and joined eight words at a time, as 8x8 blocks of bytes that are transposed. */
#include "server/store/planes.h"

#include <stdbool.h>
#include <string.h>

enum { SAMPLE = 512 };

/* True if bytes spread so evenly that compressing them is a waste (more than about 7 bits each). */
static bool is_noise(const unsigned char *p, size_t n)
{
    if (n < 64)
        return false;
    unsigned counts[256] = {0};
    size_t step = n > SAMPLE ? n / SAMPLE : 1, sampled = 0;
    for (size_t i = 0; i < n; i += step, sampled++)
        counts[p[i]]++;
    uint64_t squares = 0;
    for (int i = 0; i < 256; i++)
        squares += (uint64_t)counts[i] * counts[i];
    /* for an even spread over s values: sampled + sampled^2 / s */
    return squares <= sampled + sampled * sampled / 110;
}

/* Word i's byte p becomes word p's byte i: halves, quarters, then bytes change places. */
static inline void transpose(uint64_t w[8])
{
    static const struct {
        unsigned shift, apart;
        uint64_t mask;
    } rounds[] = {{32, 4, 0x00000000ffffffff}, {16, 2, 0x0000ffff0000ffff}, {8, 1, 0x00ff00ff00ff00ff}};
#pragma GCC unroll 3
    for (int r = 0; r < 3; r++)
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++) {
            if (i & rounds[r].apart)
                continue;
            uint64_t *x = &w[i], *y = &w[i + rounds[r].apart];
            uint64_t t = (*x >> rounds[r].shift ^ *y) & rounds[r].mask;
            *y ^= t;
            *x ^= t << rounds[r].shift;
        }
}

static inline uint64_t load_le(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(w) : w;
}

static inline void store_le(char *p, uint64_t w)
{
    w = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(w) : w;
    memcpy(p, &w, sizeof w);
}

/* The `width` lowest planes of the words, n bytes each. */
static void cut_planes(char *to, const uint64_t *v, size_t n, unsigned width)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w[8];
        memcpy(w, v + i, sizeof w);
        transpose(w);
        for (unsigned plane = 0; plane < width; plane++)
            store_le(to + plane * n + i, w[plane]);
    }
    for (; i < n; i++)
        for (unsigned plane = 0; plane < width; plane++)
            to[plane * n + i] = (char)(v[i] >> (8 * plane));
}

static void join_planes(uint64_t *v, struct str *planes, size_t n, unsigned width)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w[8] = {0};
        for (unsigned plane = 0; plane < width; plane++)
            w[plane] = load_le(planes[plane].p + i);
        transpose(w);
        memcpy(v + i, w, sizeof w);
    }
    for (; i < n; i++) {
        v[i] = 0;
        for (unsigned plane = 0; plane < width; plane++)
            v[i] |= (uint64_t)(unsigned char)planes[plane].p[i] << (8 * plane);
    }
}

void planes_put(struct buf *packed, struct buf *raw, const uint64_t *v, size_t n)
{
    uint64_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= v[i];
    unsigned width = 0, raw_planes = 0;
    while (width < 8 && any >> (8 * width))
        width++;
    char *head = buf_reserve(packed, 2 + n * width);
    if (!head)
        return;
    char *planes = head + 2, *to = planes;
    cut_planes(planes, v, n, width);
    for (unsigned plane = 0; plane < width; plane++) {
        const char *from = planes + plane * n;
        if (is_noise((const unsigned char *)from, n)) {
            raw_planes |= 1u << plane;
            buf_append(raw, from, n);
        } else {
            memmove(to, from, n);
            to += n;
        }
    }
    head[0] = (char)width;
    head[1] = (char)raw_planes;
    packed->len += (size_t)(to - head);
}

/* The next n bytes of *from. */
static bool take(struct str *from, size_t n, struct str *to)
{
    if (from->n < n)
        return false;
    *to = str_make(from->p, n);
    *from = str_make(from->p + n, from->n - n);
    return true;
}

bool planes_get(struct str *packed, struct str *raw, uint64_t *v, size_t n)
{
    struct str head, plane[8];
    if (!take(packed, 2, &head))
        return false;
    unsigned width = (unsigned char)head.p[0], raw_planes = (unsigned char)head.p[1];
    if (width > 8)
        return false;
    for (unsigned p = 0; p < width; p++)
        if (!take(raw_planes >> p & 1 ? raw : packed, n, &plane[p]))
            return false;
    join_planes(v, plane, n, width);
    return true;
}
