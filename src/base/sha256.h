/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) for small things where libcrypto is not at hand. Any thread. */
#ifndef TARE_BASE_SHA256_H
#define TARE_BASE_SHA256_H

#include <stddef.h>

enum { SHA256_HEX_LEN = 64 };

/* The digest of `n` bytes as lower-case hex and a NUL. */
void sha256_hex(char to[SHA256_HEX_LEN + 1], const void *p, size_t n);

#endif
