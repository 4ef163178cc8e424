/* SPDX-License-Identifier: MIT */
/* The steps of RFC 1321 on vectors. The loop is compiled three times: for any CPU, for AVX2, and for AVX-512, which
 * rotates in one instruction and mixes three words in another (8 lanes then take as long as one does without).
 * Two to four streams take vectors of half the width: there are fewer words to gather. */
#include "base/md5_lanes.h"

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

#define F(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define G(b, c, d) ((c) ^ ((d) & ((b) ^ (c))))
#define H(b, c, d) ((b) ^ (c) ^ (d))
#define I(b, c, d) ((c) ^ ((b) | ~(d)))

#define STEP(mix, a, b, c, d, i, word, shift)        \
    a += w[(word) & 15] + md5_k[i] + mix(b, c, d);    \
    a = ((a << (shift)) | (a >> (32 - (shift)))) + b;
/* Four steps of a round, from step `i` on: step k takes word (k * mul + plus) mod 16. */
#define STEPS(mix, i, mul, plus, s0, s1, s2, s3)             \
    STEP(mix, a, b, c, d, i, (i) * (mul) + (plus), s0)         \
    STEP(mix, d, a, b, c, i + 1, (i + 1) * (mul) + (plus), s1) \
    STEP(mix, c, d, a, b, i + 2, (i + 2) * (mul) + (plus), s2) \
    STEP(mix, b, c, d, a, i + 3, (i + 3) * (mul) + (plus), s3)
#define ROUND(mix, i, mul, plus, s0, s1, s2, s3)      \
    STEPS(mix, i, mul, plus, s0, s1, s2, s3)          \
    STEPS(mix, i + 4, mul, plus, s0, s1, s2, s3)      \
    STEPS(mix, i + 8, mul, plus, s0, s1, s2, s3)      \
    STEPS(mix, i + 12, mul, plus, s0, s1, s2, s3)

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
            ROUND(F, 0, 1, 0, 7, 12, 17, 22)                                                                 \
            ROUND(G, 16, 5, 1, 5, 9, 14, 20)                                                                 \
            ROUND(H, 32, 3, 5, 4, 11, 16, 23)                                                                \
            ROUND(I, 48, 7, 0, 6, 10, 15, 21)                                                                \
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

typedef void add_lanes(struct digest *const *to, const uint8_t *const *from, int n_lanes, size_t n_bytes);

/* NULL: md5_add is as fast. A single stream in a vector is slower on some CPUs (Zen 5: 2.8 s a GB instead of 1.55),
 * a little faster on others. */
static add_lanes *choose(int n_lanes)
{
    if (n_lanes == 1)
        return NULL;
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
