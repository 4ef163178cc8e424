/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include "base/alloc.h"
#include "base/err.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { MIN_CAP = 64, PAGE = 4096 };
#define MANY ((size_t)4 << 20)

/* A large buffer is written once from end to end; with small pages the faults would cost more than that. All
 * pages of its mapping are named: one of two kinds could not be moved when it grows. */
static void prefer_huge_pages(char *data, size_t cap)
{
#ifdef MADV_HUGEPAGE
    char *first = data - (uintptr_t)data % PAGE;
    madvise(first, (cap + (size_t)(data - first) + PAGE - 1) / PAGE * PAGE, MADV_HUGEPAGE);
#else
    (void)data, (void)cap;
#endif
}

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

void buf_fini_ptr(struct buf *b)
{
    buf_fini(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n <= b->cap - b->len)
        return b->data ? b->data + b->len : (char *)"";
    if (n > SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return NULL;
    }
    size_t cap = b->cap ? b->cap * 2 : MIN_CAP;
    while (cap < b->len + n)
        cap *= 2;
    char *data = mem_realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    if (cap >= MANY)
        prefer_huge_pages(data, cap);
    return data + b->len;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return b->failed ? TARE_ENOMEM : 0;
    char *to = buf_reserve(b, n);
    if (!to)
        return TARE_ENOMEM;
    memcpy(to, p, n);
    b->len += n;
    return 0;
}

int buf_puts(struct buf *b, const char *z)
{
    return buf_append(b, z, strlen(z));
}

int buf_put_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.n);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->failed ? 0 : b->cap - b->len;
    int n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
    int rc = 0;
    if (n < 0) {
        rc = TARE_EINVAL;
    } else if ((size_t)n < room) {
        b->len += (size_t)n;
    } else {
        char *to = buf_reserve(b, (size_t)n + 1);
        if (to) {
            vsnprintf(to, (size_t)n + 1, fmt, again);
            b->len += (size_t)n;
        } else {
            rc = TARE_ENOMEM;
        }
    }
    va_end(again);
    return rc;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return rc;
}

int buf_put_percent(struct buf *b, struct str s, const char *also)
{
    for (size_t i = 0; i < s.n && !b->failed; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && (strchr("-._~", c) || strchr(also, c)));
        if (plain)
            buf_putc(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
    return b->failed ? TARE_ENOMEM : 0;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

const char *buf_z(struct buf *b)
{
    char *to = buf_reserve(b, 1);
    if (!to)
        return NULL;
    *to = 0;
    return b->data;
}
