/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648, sections 4 and 5): the standard alphabet with padding, and the one for URLs without. Any thread. */
#ifndef TARE_BASE_BASE64_H
#define TARE_BASE_BASE64_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };

/* Append `n` bytes as text: padded if STANDARD, without padding if URL. */
void base64_put(struct buf *to, enum base64_alphabet alphabet, const void *bytes, size_t n);

/* Write them with the standard alphabet, padded and NUL-terminated: (n + 2) / 3 * 4 + 1 bytes. */
void base64_text(char *to, const uint8_t *bytes, size_t n);

/* The bytes that `text` stands for, at most `size` of them, and in *n how many. Padding at the end may be there or not.
 * False: a character of another alphabet, a length that no encoding has, padding that is too long, or more than `size`
 * bytes; *n and `to` are then undefined. */
bool base64_get(struct str text, enum base64_alphabet alphabet, void *to, size_t size, size_t *n);

#endif
