/* SPDX-License-Identifier: MIT */
/* JSON on hot paths: skip over a value, write one. Off the hot path use jansson.
 *
 * The grammar is RFC 8259 plus the bare words NaN, Infinity and -Infinity, which Python's json
 * module writes and reads. Any thread. */
#ifndef TARE_BASE_JSON_H
#define TARE_BASE_JSON_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { JSON_MAX_DEPTH = 128 };

/* The bytes after the value that starts at `p` (leading white space allowed), or NULL if there
 * is no well-formed value before `end` or it nests deeper than JSON_MAX_DEPTH. Strings must be
 * valid escapes with no raw control characters; UTF-8 is not checked. */
const char *json_skip(const char *p, const char *end);
const char *json_skip_space(const char *p, const char *end);
struct str json_trim(struct str text); /* without JSON's white space at its ends */

/* True if `text` is exactly one value, white space around it allowed. */
bool json_valid(struct str text);

/* One member of an object or element of an array, as slices of the text. */
struct json_item {
    struct str key;   /* inside the quotes, still escaped; empty in arrays */
    struct str value; /* the raw value */
};

/* Walk an object or array: start with *at = the byte after '{' or '['. Returns 1 and an item,
 * 0 at the closing bracket (*at is then behind it), or TARE_EFORMAT. */
int json_next_member(const char **at, const char *end, struct json_item *item);
int json_next_element(const char **at, const char *end, struct json_item *item);

/* Append "text" with quotes and escapes (ASCII control characters, quote, backslash). */
int json_put_string(struct buf *b, struct str text);
int json_put_escaped(struct buf *b, struct str text); /* what stands between its quotes */
int json_put_double(struct buf *b, double v); /* as number_format_double */
int json_put_i64(struct buf *b, int64_t v);

/* Append the text of a string literal's inside with escapes resolved (\uXXXX as UTF-8, a lone
 * surrogate as U+FFFD). 0, TARE_EFORMAT or TARE_ENOMEM. */
int json_unescape(struct buf *b, struct str inside);

#endif
