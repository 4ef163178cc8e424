/* SPDX-License-Identifier: MIT */
/* The steps of RFC 1321 on vectors. The loop is compiled three times: for any CPU, for AVX2, and for AVX-512, which
 * rotates in one instruction and mixes three words in another (8 lanes then take as long as one does without).
 * Three and four streams take vectors of half the width: there are fewer words to gather. Two are quickest in the plain
 * registers. Seconds a GB on Zen 5: one 1.2, two 0.61, three 0.91, four 0.68, five 0.55, eight 0.34. */
#include "base/md5_lanes.h"

#include "base/md5_rounds.h"

#include <string.h>

typedef uint32_t four __attribute__((vector_size(16)));
typedef uint32_t eight __attribute__((vector_size(32)));

static uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap32(w);
#endif
    return w;
}

#define STEP(mix, a, b, c, d, i, word, shift)        \
    a += w[(word) & 15] + md5_k[i] + mix(b, c, d);    \
    a = ((a << (shift)) | (a >> (32 - (shift)))) + b;

/* `name`(d, p, n_lanes, n_bytes) on vectors of `lanes` words. Lanes that nobody wants go with the first. */
#define DEFINE_LANES(name, vector, lanes, gather, attributes)                                                \
    attributes static void name(struct digest *const *to, const uint8_t *const *from, int n_lanes, size_t n_bytes) \
    {                                                                                                        \
        vector h[4], w[16];                                                                                  \
        const uint8_t *p[lanes];                                                                             \
        for (int k = 0; k < (lanes); k++) {                                                                  \
            p[k] = from[k < n_lanes ? k : 0];                                                                \
            for (int j = 0; j < 4; j++)                                                                      \
                h[j][k] = to[k < n_lanes ? k : 0]->h[j];                                                     \
        }                                                                                                    \
        for (size_t at = 0; at < n_bytes; at += DIGEST_BLOCK) {                                              \
            vector a = h[0], b = h[1], c = h[2], d = h[3];                                                   \
            for (int j = 0; j < 16; j++)                                                                     \
                w[j] = (vector)gather(at + 4 * (size_t)j);                                                   \
            MD5_ROUNDS(STEP, MD5_G)                                                                          \
            h[0] += a;                                                                                       \
            h[1] += b;                                                                                       \
            h[2] += c;                                                                                       \
            h[3] += d;                                                                                       \
        }                                                                                                    \
        for (int k = 0; k < n_lanes; k++)                                                                    \
            for (int j = 0; j < 4; j++)                                                                      \
                to[k]->h[j] = h[j][k];                                                                       \
    }

#define GATHER_4(i) {word_at(p[0] + (i)), word_at(p[1] + (i)), word_at(p[2] + (i)), word_at(p[3] + (i))}
#define GATHER_8(i)                                                                            \
    {word_at(p[0] + (i)), word_at(p[1] + (i)), word_at(p[2] + (i)), word_at(p[3] + (i)),       \
     word_at(p[4] + (i)), word_at(p[5] + (i)), word_at(p[6] + (i)), word_at(p[7] + (i))}

DEFINE_LANES(lanes_4, four, 4, GATHER_4, )
DEFINE_LANES(lanes_8, eight, 8, GATHER_8, )
#if defined(__x86_64__)
DEFINE_LANES(lanes_4_avx2, four, 4, GATHER_4, __attribute__((target("avx2"))))
DEFINE_LANES(lanes_8_avx2, eight, 8, GATHER_8, __attribute__((target("avx2"))))
DEFINE_LANES(lanes_4_avx512, four, 4, GATHER_4, __attribute__((target("avx512f,avx512vl"))))
DEFINE_LANES(lanes_8_avx512, eight, 8, GATHER_8, __attribute__((target("avx512f,avx512vl"))))
#endif

/* Two streams in the plain registers, a step of one between two of the other: neither waits long for its chain. `n_lanes`
 * is 2. */
#define STEP_2(mix, a, b, c, d, i, word, shift)                                    \
    a##0 += word_at(p + 4 * ((word) & 15)) + md5_k[i];                              \
    a##1 += word_at(q + 4 * ((word) & 15)) + md5_k[i];                              \
    a##0 += mix(b##0, c##0, d##0);                                                  \
    a##1 += mix(b##1, c##1, d##1);                                                  \
    a##0 = (a##0 << (shift) | a##0 >> (32 - (shift))) + b##0;                       \
    a##1 = (a##1 << (shift) | a##1 >> (32 - (shift))) + b##1;

static void lanes_2(struct digest *const *to, const uint8_t *const *from, int n_lanes, size_t n_bytes)
{
    uint32_t *h = to[0]->h, *g = to[1]->h;
    const uint8_t *p = from[0], *q = from[1];
    (void)n_lanes;
    for (const uint8_t *end = p + n_bytes; p < end; p += DIGEST_BLOCK, q += DIGEST_BLOCK) {
        uint32_t a0 = h[0], b0 = h[1], c0 = h[2], d0 = h[3], a1 = g[0], b1 = g[1], c1 = g[2], d1 = g[3];
        MD5_ROUNDS(STEP_2, MD5_G_SUM)
        h[0] += a0;
        h[1] += b0;
        h[2] += c0;
        h[3] += d0;
        g[0] += a1;
        g[1] += b1;
        g[2] += c1;
        g[3] += d1;
    }
}

typedef void add_lanes(struct digest *const *to, const uint8_t *const *from, int n_lanes, size_t n_bytes);

/* NULL: md5_add is faster. */
static add_lanes *choose(int n_lanes)
{
    if (n_lanes < 3)
        return n_lanes == 2 ? lanes_2 : NULL;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vl"))
        return n_lanes > 4 ? lanes_8_avx512 : lanes_4_avx512;
    if (__builtin_cpu_supports("avx2"))
        return n_lanes > 4 ? lanes_8_avx2 : lanes_4_avx2;
#endif
    return n_lanes > 4 ? lanes_8 : lanes_4;
}

void md5_add_lanes(struct digest *const *d, const uint8_t *const *p, int n_lanes, size_t n_bytes)
{
    add_lanes *add = choose(n_lanes);
    if (!add) {
        md5_add(d[0], p[0], n_bytes);
        return;
    }
    add(d, p, n_lanes, n_bytes);
    for (int k = 0; k < n_lanes; k++)
        d[k]->n_bytes += n_bytes;
}
