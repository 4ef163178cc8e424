/* SPDX-License-Identifier: MIT */
/* From the algorithm's description (xxHash's doc/xxhash_spec.md, "XXH3"): up to 240 bytes have ways of
 * their own; longer inputs go through eight accumulators, 64 bytes (a stripe) at a time, 16 stripes (a
 * block) between two scramblings. The last 64 bytes are a stripe once more, whatever their place, and
 * the stripe that would end the input is only taken as that: so the buffer is consumed when more has
 * come, never before. */
#include "base/xxh3.h"

#include <string.h>

enum { STRIPES_PER_BLOCK = 16, SECRET_BYTES = 192 };

static const uint8_t secret[SECRET_BYTES] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9,
    0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78,
    0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
    0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f,
    0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
    0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
    0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
    0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

#define P32_1 UINT64_C(0x9E3779B1)
#define P32_2 UINT64_C(0x85EBCA77)
#define P32_3 UINT64_C(0xC2B2AE3D)
#define P64_1 UINT64_C(0x9E3779B185EBCA87)
#define P64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P64_3 UINT64_C(0x165667B19E3779F9)
#define P64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define P64_5 UINT64_C(0x27D4EB2F165667C5)
#define MIX_1 UINT64_C(0x165667919E3779F9)
#define MIX_2 UINT64_C(0x9FB21C651E98DF25)

struct pair {
    uint64_t low, high;
};

static uint64_t read64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static struct pair multiply(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (struct pair){(uint64_t)m, (uint64_t)(m >> 64)};
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    struct pair m = multiply(a, b);
    return m.low ^ m.high;
}

static uint64_t avalanche(uint64_t h)
{
    h ^= h >> 37;
    h *= MIX_1;
    return h ^ h >> 32;
}

static uint64_t avalanche64(uint64_t h)
{
    h ^= h >> 33;
    h *= P64_2;
    h ^= h >> 29;
    h *= P64_3;
    return h ^ h >> 32;
}

/* ---- up to 240 bytes ---- */

static struct pair hash_0(void)
{
    return (struct pair){avalanche64(read64(secret + 64) ^ read64(secret + 72)),
                         avalanche64(read64(secret + 80) ^ read64(secret + 88))};
}

static struct pair hash_1_to_3(const uint8_t *p, size_t n)
{
    uint32_t low = (uint32_t)p[0] << 16 | (uint32_t)p[n >> 1] << 24 | p[n - 1] | (uint32_t)n << 8;
    uint32_t swapped = __builtin_bswap32(low), high = swapped << 13 | swapped >> 19;
    return (struct pair){avalanche64(low ^ (uint64_t)(read32(secret) ^ read32(secret + 4))),
                         avalanche64(high ^ (uint64_t)(read32(secret + 8) ^ read32(secret + 12)))};
}

static struct pair hash_4_to_8(const uint8_t *p, size_t n)
{
    uint64_t keyed = (read32(p) + ((uint64_t)read32(p + n - 4) << 32)) ^ read64(secret + 16) ^ read64(secret + 24);
    struct pair m = multiply(keyed, P64_1 + (n << 2));
    m.high += m.low << 1;
    m.low ^= m.high >> 3;
    m.low ^= m.low >> 35;
    m.low *= MIX_2;
    m.low ^= m.low >> 28;
    m.high = avalanche(m.high);
    return m;
}

static struct pair hash_9_to_16(const uint8_t *p, size_t n)
{
    uint64_t low = read64(p), high = read64(p + n - 8);
    struct pair m = multiply(low ^ high ^ read64(secret + 32) ^ read64(secret + 40), P64_1);
    m.low += (uint64_t)(n - 1) << 54;
    high ^= read64(secret + 48) ^ read64(secret + 56);
    m.high += high + (high & UINT32_MAX) * (P32_2 - 1);
    m.low ^= __builtin_bswap64(m.high);
    struct pair h = multiply(m.low, P64_2);
    h.high += m.high * P64_2;
    return (struct pair){avalanche(h.low), avalanche(h.high)};
}

static uint64_t mix_16(const uint8_t *p, const uint8_t *key)
{
    return fold(read64(p) ^ read64(key), read64(p + 8) ^ read64(key + 8));
}

static void mix_32(struct pair *acc, const uint8_t *a, const uint8_t *b, const uint8_t *key)
{
    acc->low += mix_16(a, key);
    acc->low ^= read64(b) + read64(b + 8);
    acc->high += mix_16(b, key + 16);
    acc->high ^= read64(a) + read64(a + 8);
}

static struct pair end_mixed(struct pair acc, size_t n)
{
    uint64_t low = acc.low + acc.high, high = acc.low * P64_1 + acc.high * P64_4 + n * P64_2;
    return (struct pair){avalanche(low), 0 - avalanche(high)};
}

static struct pair hash_17_to_128(const uint8_t *p, size_t n)
{
    struct pair acc = {n * P64_1, 0};
    for (size_t i = (n - 1) / 32 + 1; i-- > 0;)
        mix_32(&acc, p + 16 * i, p + n - 16 * (i + 1), secret + 32 * i);
    return end_mixed(acc, n);
}

static struct pair hash_129_to_240(const uint8_t *p, size_t n)
{
    struct pair acc = {n * P64_1, 0};
    for (size_t i = 0; i < 128; i += 32)
        mix_32(&acc, p + i, p + i + 16, secret + i);
    acc.low = avalanche(acc.low);
    acc.high = avalanche(acc.high);
    for (size_t i = 160; i <= n; i += 32)
        mix_32(&acc, p + i - 32, p + i - 16, secret + 3 + i - 160);
    mix_32(&acc, p + n - 16, p + n - 32, secret + 103);
    return end_mixed(acc, n);
}

static struct pair hash_short(const uint8_t *p, size_t n)
{
    return n == 0     ? hash_0()
           : n <= 3   ? hash_1_to_3(p, n)
           : n <= 8   ? hash_4_to_8(p, n)
           : n <= 16  ? hash_9_to_16(p, n)
           : n <= 128 ? hash_17_to_128(p, n)
                      : hash_129_to_240(p, n);
}

/* ---- longer ---- */

static void add_stripe(uint64_t acc[8], const uint8_t *p, const uint8_t *key)
{
    for (int i = 0; i < 8; i++) {
        uint64_t data = read64(p + 8 * i), keyed = data ^ read64(key + 8 * i);
        acc[i ^ 1] += data;
        acc[i] += (keyed & UINT32_MAX) * (keyed >> 32);
    }
}

static void scramble(uint64_t acc[8])
{
    for (int i = 0; i < 8; i++)
        acc[i] = (acc[i] ^ acc[i] >> 47 ^ read64(secret + SECRET_BYTES - XXH3_STRIPE + 8 * i)) * P32_1;
}

static void add_stripes(uint64_t acc[8], size_t *n_stripes, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_stripe(acc, p + i * XXH3_STRIPE, secret + 8 * *n_stripes);
        if (++*n_stripes == STRIPES_PER_BLOCK) {
            scramble(acc);
            *n_stripes = 0;
        }
    }
}

static uint64_t merge(const uint64_t acc[8], const uint8_t *key, uint64_t sum)
{
    for (int i = 0; i < 4; i++)
        sum += fold(acc[2 * i] ^ read64(key + 16 * i), acc[2 * i + 1] ^ read64(key + 16 * i + 8));
    return avalanche(sum);
}

/* ---- public ---- */

void xxh3_init(struct xxh3 *x)
{
    static const uint64_t start[8] = {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1};
    memcpy(x->acc, start, sizeof start);
    x->n_bytes = 0;
    x->n = x->n_stripes = 0;
}

static void consume(struct xxh3 *x, const uint8_t *p)
{
    add_stripes(x->acc, &x->n_stripes, p, XXH3_BUFFER / XXH3_STRIPE);
    memcpy(x->last, p + XXH3_BUFFER - XXH3_STRIPE, XXH3_STRIPE);
}

void xxh3_add(struct xxh3 *x, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    x->n_bytes += n;
    while (n > 0) {
        if (x->n == XXH3_BUFFER) {
            consume(x, x->buffer);
            x->n = 0;
        }
        for (; x->n == 0 && n > XXH3_BUFFER; p += XXH3_BUFFER, n -= XXH3_BUFFER)
            consume(x, p);
        size_t room = XXH3_BUFFER - x->n, k = n < room ? n : room;
        memcpy(x->buffer + x->n, p, k);
        x->n += k;
        p += k;
        n -= k;
    }
}

static struct pair hash_long(const struct xxh3 *x)
{
    uint64_t acc[8];
    uint8_t stripe[XXH3_STRIPE];
    size_t n_stripes = x->n_stripes;
    memcpy(acc, x->acc, sizeof acc);
    add_stripes(acc, &n_stripes, x->buffer, (x->n - 1) / XXH3_STRIPE);
    size_t here = x->n < XXH3_STRIPE ? x->n : XXH3_STRIPE;
    memcpy(stripe, x->last + here, XXH3_STRIPE - here);
    memcpy(stripe + XXH3_STRIPE - here, x->buffer + x->n - here, here);
    add_stripe(acc, stripe, secret + SECRET_BYTES - XXH3_STRIPE - 7);
    return (struct pair){merge(acc, secret + 11, x->n_bytes * P64_1),
                         merge(acc, secret + SECRET_BYTES - XXH3_STRIPE - 11, ~(x->n_bytes * P64_2))};
}

void xxh3_end(const struct xxh3 *x, uint8_t to[XXH128_BYTES])
{
    struct pair h = x->n_bytes <= 240 ? hash_short(x->buffer, (size_t)x->n_bytes) : hash_long(x);
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(h.high >> (56 - 8 * i));
        to[8 + i] = (uint8_t)(h.low >> (56 - 8 * i));
    }
}
