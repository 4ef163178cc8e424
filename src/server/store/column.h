/* SPDX-License-Identifier: MIT */
/* One column of history: the values of one key over a range of rows, in memory and as bytes.
 *
 * A value is a null, a boolean, a 64-bit integer, a double, or a text: raw JSON as it came, which holds
 * strings (with their quotes), lists, media objects, integers beyond 64 bits. A column may lack values
 * in some rows and mix kinds. Encoding and decoding gives back every bit.
 *
 * A column is one thread's at a time. Out of memory is sticky (`failed`), so a builder checks once. */
#ifndef TARE_SERVER_STORE_COLUMN_H
#define TARE_SERVER_STORE_COLUMN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum value_kind { V_NULL, V_FALSE, V_TRUE, V_INT, V_DOUBLE, V_TEXT, V_KINDS };

struct column {
    uint32_t n, cap; /* values */
    uint32_t *rows;  /* row of each value, rising; NULL while value i is in row i */
    uint8_t *kinds;  /* kind of each value; NULL while all are `kind` */
    uint8_t kind;
    bool failed;    /* out of memory: values are missing */
    uint64_t *bits; /* V_INT: the integer; V_DOUBLE: its bits; V_TEXT: offset << 32 | length in `text` */
    struct buf text;
};

void column_fini(struct column *c);
void column_clear(struct column *c); /* keeps the memory */

/* Room for `n` values in all. 0 or TARE_ENOMEM. */
int column_reserve(struct column *c, uint32_t n);

/* Add a value for `row`, which is at or after the last one's; the same row again overwrites. */
void column_add(struct column *c, uint32_t row, enum value_kind kind, uint64_t bits);
void column_add_text(struct column *c, uint32_t row, struct str json);

static inline enum value_kind column_kind(const struct column *c, uint32_t i)
{
    return (enum value_kind)(c->kinds ? c->kinds[i] : c->kind);
}

static inline uint32_t column_row(const struct column *c, uint32_t i)
{
    return c->rows ? c->rows[i] : i;
}

static inline struct str column_text(const struct column *c, uint32_t i)
{
    return str_make(c->text.data + (c->bits[i] >> 32), c->bits[i] & 0xffffffff);
}

static inline uint64_t bits_of_double(double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

static inline double double_of_bits(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* The number that a text is: an integer beyond 64 bits, to the precision of a double. */
bool text_number(struct str json, double *to);

/* The value as a number; false if it is none (V_NULL, other V_TEXT). Booleans are 0 and 1. */
static inline bool column_number(const struct column *c, uint32_t i, double *to)
{
    switch (column_kind(c, i)) {
    case V_INT:
        *to = (double)(int64_t)c->bits[i];
        return true;
    case V_DOUBLE:
        *to = double_of_bits(c->bits[i]);
        return true;
    case V_FALSE:
    case V_TRUE:
        *to = column_kind(c, i) == V_TRUE;
        return true;
    case V_TEXT:
        return text_number(column_text(c, i), to);
    default:
        return false;
    }
}

/* Index of the first value whose row is `row` or later; n if there is none. */
uint32_t column_find(const struct column *c, uint32_t row);

/* Append values [from, to) of `src`, their rows moved by `shift`. */
void column_append(struct column *c, const struct column *src, uint32_t from, uint32_t to, int64_t shift);

/* Append value `i` as JSON. `strict`: NaN and infinities in quotes. */
int column_put_json(struct buf *to, const struct column *c, uint32_t i, bool strict);

#endif
