/* SPDX-License-Identifier: MIT */
/* The headers Range and Content-Range (RFC 9110, 14). Pure. */
#ifndef TARE_SERVER_HTTP_RANGE_H
#define TARE_SERVER_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of a file that are asked for: all, a part that lies within it, or one that it does not have. */
struct http_range {
    int64_t first, n;
    enum { HTTP_RANGE_ALL, HTTP_RANGE_PART, HTTP_RANGE_BAD } kind;
};

/* What `text` (NULL: no header) asks of a file of `size` bytes. What is not one range of bytes is ignored. */
struct http_range http_range_parse(const char *text, int64_t size);

/* "bytes 5-9/10"; with an asterisk for the two numbers, *first and *last are -1. False for anything else: then
 * all three are undefined. 0 <= *first <= *last < *total. */
bool http_content_range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total);

#endif
