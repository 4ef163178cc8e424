/* SPDX-License-Identifier: MIT */
/* A growable run of bytes. Zero-initialised is empty and valid.
 *
 * Appending may fail: then the buffer is marked `failed`, its contents stay as they were, and
 * every later append fails too, so that a caller may check once at the end. */
#ifndef TARE_BASE_BUF_H
#define TARE_BASE_BUF_H

#include "base/str.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL while cap is 0; not NUL-terminated (see buf_z) */
    size_t len, cap;
    bool failed; /* an append ran out of memory */
};

void buf_fini(struct buf *b);  /* frees the bytes; the buf is empty and reusable */
void buf_clear(struct buf *b); /* empties, keeps the memory, forgets a failure */

/* Room for `n` more bytes: a pointer to them (not yet counted in len), or NULL. */
char *buf_reserve(struct buf *b, size_t n);

int buf_append(struct buf *b, const void *p, size_t n); /* 0 or TARE_ENOMEM */
int buf_puts(struct buf *b, const char *z);
int buf_put_str(struct buf *b, struct str s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As a part of a URL: letters, digits, "-._~" (RFC 3986, 2.3) and the characters of `also` stand as they
 * are, all other bytes as %XX. */
int buf_put_percent(struct buf *b, struct str s, const char *also);
/* What may stand as it is in a segment of a path, too: what Go's url.PathEscape leaves. */
#define PERCENT_PATH "$&+=:@"
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);

static inline int buf_putc(struct buf *b, char c)
{
    if (b->len < b->cap && !b->failed) {
        b->data[b->len++] = c;
        return 0;
    }
    return buf_append(b, &c, 1);
}

/* Drop the first `n` bytes; the rest moves to the front. */
void buf_consume(struct buf *b, size_t n);

/* The contents as a NUL-terminated string, valid until the next change; NULL when out of memory. */
const char *buf_z(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data, b->len};
}

void buf_fini_ptr(struct buf *b);
#define AUTO_BUF __attribute__((cleanup(buf_fini_ptr))) struct buf

#endif
