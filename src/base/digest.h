/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4; names of media files) and MD5 (RFC 1321; digests of artifacts), for the client library
 * and for small things in the service, where libcrypto is not at hand. Any thread. */
#ifndef TARE_BASE_DIGEST_H
#define TARE_BASE_DIGEST_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, MD5_BYTES = 16, DIGEST_BLOCK = 64 };

struct digest {
    uint32_t h[8];
    uint64_t n_bytes;
    uint8_t block[DIGEST_BLOCK];
};

void sha256_init(struct digest *d);
void sha256_add(struct digest *d, const void *p, size_t n);
void sha256_end(struct digest *d, uint8_t to[SHA256_BYTES]);

extern const uint32_t md5_k[64]; /* what each step adds: also for md5_lanes.c */
void md5_init(struct digest *d);
void md5_add(struct digest *d, const void *p, size_t n);
void md5_end(struct digest *d, uint8_t to[MD5_BYTES]);

/* All of it at once, as lower-case hex and a NUL. */
void sha256_hex(char to[2 * SHA256_BYTES + 1], const void *p, size_t n);

/* HMAC-SHA256 (RFC 2104). */
void hmac_sha256(uint8_t to[SHA256_BYTES], const void *key, size_t key_n, const void *p, size_t n);

/* Lower-case hex, NUL-terminated: 2 * n + 1 bytes. */
void digest_hex(char *to, const uint8_t *bytes, size_t n);
/* The other way: exactly `n` bytes from lower-case digits, else false and `to` undefined. */
bool digest_from_hex(uint8_t *to, size_t n, struct str hex);

#endif
