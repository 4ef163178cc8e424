/* SPDX-License-Identifier: MIT */
/* Values on their way from the caller to the courier: one flat run of bytes, copied quickly in
 * the caller's thread, formatted later in the courier's.
 *
 *   value = type u8, key length u16, key bytes, then by type (all native byte order, unaligned)
 *     null                                   bool      u8
 *     i64, f64        8 bytes                string, json  length u32, bytes
 *     f64/i64 array   count u32, 8 each
 *     histogram       bins u32, bins + 1 edges, bins counts (samples become one)
 *     image           bytes u32, caption length u32, bytes, caption
 *     table           columns u32, rows u32, columns as strings, cells as values with no key */
#ifndef TARE_CLIENT_PACK_H
#define TARE_CLIENT_PACK_H

#include "base/buf.h"
#include "base/str.h"
#include "tare/tare.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACK_BINS_DEFAULT = 64, PACK_BINS_MAX = 512 };

struct pack_size {
    size_t bytes;
    bool slow; /* packing takes more than a copy: do it outside any lock */
};

/* Check values and measure them. 0, or TARE_EINVAL, TARE_ELIMIT or TARE_EFORMAT with the
 * reason in last_error. */
int pack_measure(const struct tare_value *values, size_t n, struct pack_size *to);

/* Write them; returns the byte behind them. */
char *pack_write(char *to, const struct tare_value *values, size_t n);

struct packed {
    enum tare_type type;
    struct str key;
    size_t n;        /* elements, bins or columns */
    size_t n_rows;   /* of a table */
    struct str data; /* what follows, by type (a table: the columns, then the cells) */
    struct str more; /* an image's caption */
};

/* The next value at *at, which moves behind it. */
void pack_next(const char **at, struct packed *to);

/* Append the JSON of a value; not for images and tables, which become files first. */
int pack_put_json(struct buf *b, const struct packed *v);

/* Append {"columns": [...], "data": [[...], ...]} of a table. */
int pack_put_table(struct buf *b, const struct packed *table);

#endif
