/* SPDX-License-Identifier: MIT */
/* SHA-256 straight from FIPS 180-4: what it is taken of is small. MD5 (RFC 1321) with speed in mind, for it is what
 * artifacts are named by; several streams at once: md5_together.c. */
#include "base/digest.h"

#include "base/md5_rounds.h"

#include <string.h>

static uint32_t rotr(uint32_t v, int n)
{
    return v >> n | v << (32 - n);
}

static uint32_t rotl(uint32_t v, int n)
{
    return v << n | v >> (32 - n);
}

/* Gather bytes into blocks and hand each full one to `compress`. */
static void add(struct digest *d, const void *p, size_t n,
                void (*compress)(uint32_t *h, const uint8_t *block))
{
    const uint8_t *at = p;
    size_t have = d->n_bytes % DIGEST_BLOCK;
    d->n_bytes += n;
    while (n) {
        size_t k = DIGEST_BLOCK - have < n ? DIGEST_BLOCK - have : n;
        memcpy(d->block + have, at, k);
        at += k;
        n -= k;
        have += k;
        if (have == DIGEST_BLOCK) {
            compress(d->h, d->block);
            have = 0;
        }
    }
}

/* A bit, zeros, and the number of bits in the last eight bytes of a block; then `n` bytes of the words. */
static void end(struct digest *d, uint8_t *to, int n, bool big_endian,
                void (*compress)(uint32_t *h, const uint8_t *block))
{
    uint64_t bits = d->n_bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (big_endian ? 56 - 8 * i : 8 * i));
    add(d, "\x80", 1, compress);
    while (d->n_bytes % DIGEST_BLOCK != DIGEST_BLOCK - sizeof length)
        add(d, "", 1, compress);
    add(d, length, sizeof length, compress);
    for (int i = 0; i < n; i++)
        to[i] = (uint8_t)(d->h[i / 4] >> (big_endian ? 24 - 8 * (i % 4) : 8 * (i % 4)));
}

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void sha256_schedule(uint32_t w[64], const uint8_t *block)
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

static void sha256_compress(uint32_t *h, const uint8_t *block)
{
    uint32_t w[64], v[8];
    sha256_schedule(w, block);
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
        uint32_t ch = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t t1 = v[7] + s1 + ch + sha256_k[i] + w[i];
        uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
        uint32_t maj = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + s0 + maj;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void sha256_init(struct digest *d)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(d->h, start, sizeof start);
    d->n_bytes = 0;
}

void sha256_add(struct digest *d, const void *p, size_t n)
{
    add(d, p, n, sha256_compress);
}

void sha256_end(struct digest *d, uint8_t to[SHA256_BYTES])
{
    end(d, to, SHA256_BYTES, true, sha256_compress);
}

/* floor(2^32 * |sin(i + 1)|) */
const uint32_t md5_k[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

#define STEP(mix, a, b, c, d, i, word, shift) a += md5_k[i] + w[(word) & 15], a += mix(b, c, d), a = b + rotl(a, shift);

static void md5_compress(uint32_t *h, const uint8_t *block)
{
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], w[16];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[3] << 24 | (uint32_t)block[2] << 16 | (uint32_t)block[1] << 8 | block[0];
    MD5_ROUNDS(STEP, MD5_G_SUM)
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
}
#undef STEP

void md5_init(struct digest *d)
{
    static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    memcpy(d->h, start, sizeof start);
    d->n_bytes = 0;
}

void md5_add(struct digest *d, const void *p, size_t n)
{
    add(d, p, n, md5_compress);
}

void md5_end(struct digest *d, uint8_t to[MD5_BYTES])
{
    end(d, to, MD5_BYTES, false, md5_compress);
}

void digest_hex(char *to, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        *to++ = "0123456789abcdef"[bytes[i] >> 4];
        *to++ = "0123456789abcdef"[bytes[i] & 15];
    }
    *to = 0;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_from_hex(uint8_t *to, size_t n, struct str hex)
{
    if (hex.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void sha256_hex(char to[2 * SHA256_BYTES + 1], const void *p, size_t n)
{
    struct digest d;
    uint8_t sum[SHA256_BYTES];
    sha256_init(&d);
    sha256_add(&d, p, n);
    sha256_end(&d, sum);
    digest_hex(to, sum, sizeof sum);
}

void hmac_sha256(uint8_t to[SHA256_BYTES], const void *key, size_t key_n, const void *p, size_t n)
{
    struct digest d;
    uint8_t block[DIGEST_BLOCK] = {0};
    if (key_n > DIGEST_BLOCK) {
        sha256_init(&d);
        sha256_add(&d, key, key_n);
        sha256_end(&d, block);
    } else if (key_n) {
        memcpy(block, key, key_n);
    }
    for (int i = 0; i < DIGEST_BLOCK; i++)
        block[i] ^= 0x36;
    sha256_init(&d);
    sha256_add(&d, block, sizeof block);
    sha256_add(&d, p, n);
    sha256_end(&d, to);
    for (int i = 0; i < DIGEST_BLOCK; i++)
        block[i] ^= 0x36 ^ 0x5c;
    sha256_init(&d);
    sha256_add(&d, block, sizeof block);
    sha256_add(&d, to, SHA256_BYTES);
    sha256_end(&d, to);
}
