/* SPDX-License-Identifier: MIT */
/* UTF-8 and the width of characters on a terminal. Any thread. */
#ifndef TARE_BASE_UTF8_H
#define TARE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_MAX = 4, UTF8_BAD = 0xFFFD };

/* Decode the character at the start of the `n` > 0 bytes at `p` into *cp. Returns the bytes it
 * took, at least 1; a malformed or cut sequence takes one byte and gives UTF8_BAD. */
size_t utf8_decode(const char *p, size_t n, uint32_t *cp);

/* True if all `n` bytes are well-formed characters. */
bool utf8_valid(const char *p, size_t n);

/* Encode `cp` (a bad one as UTF8_BAD); returns the bytes written. */
size_t utf8_encode(char to[UTF8_MAX], uint32_t cp);

/* Columns a terminal gives to `cp`: 0 for combining and zero-width characters, 2 for wide ones,
 * else 1. Control characters are the caller's business and count as 1. */
int utf8_width(uint32_t cp);

#endif
