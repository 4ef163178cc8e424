/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include "base/alloc.h"
#include "base/budget.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK = 1024, MAX_BLOCK = 64 * 1024, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* of data */
    _Alignas(ALIGN) char data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

static struct arena_block *block_new(struct arena *a, size_t size_bytes)
{
    if (a->budget && !budget_take(a->budget, size_bytes, a->used_bytes))
        return NULL;
    struct arena_block *b = mem_alloc(sizeof *b + size_bytes);
    if (b)
        b->size_bytes = size_bytes;
    else if (a->budget)
        budget_give(a->budget, size_bytes);
    return b;
}

static void block_free(struct arena *a, struct arena_block *b)
{
    if (b && a->budget)
        budget_give(a->budget, b->size_bytes);
    mem_free(b);
}

/* As after arena_init. The blocks are gone, or somebody has them. */
static void make_empty(struct arena *a)
{
    *a = (struct arena){.limit_bytes = a->limit_bytes, .budget = a->budget};
}

void arena_fini(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        block_free(a, b);
    }
    make_empty(a);
}

static void use_block(struct arena *a, struct arena_block *b)
{
    a->head = b;
    a->at = b->data;
    a->end = b->data + b->size_bytes;
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        if (b->size_bytes <= MAX_BLOCK && (!keep || b->size_bytes > keep->size_bytes)) {
            block_free(a, keep);
            keep = b;
        } else {
            block_free(a, b);
        }
    }
    make_empty(a);
    if (keep) {
        keep->next = NULL;
        use_block(a, keep);
    }
}

/* A request larger than a quarter of the largest block gets its own, behind the head, so that
 * the rest of the head is not wasted. */
static void *alloc_large(struct arena *a, size_t size_bytes)
{
    struct arena_block *b = block_new(a, size_bytes);
    if (!b)
        return NULL;
    if (a->head) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = NULL;
        use_block(a, b);
        a->at = a->end;
    }
    return b->data;
}

static void *take(struct arena *a, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    size_t n = (size_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n == 0)
        n = ALIGN;
    if (a->limit_bytes && (n > a->limit_bytes || a->used_bytes > a->limit_bytes - n))
        return NULL;
    void *p;
    if (n <= (size_t)(a->end - a->at)) {
        p = a->at;
        a->at += n;
    } else if (n > MAX_BLOCK / 4) {
        p = alloc_large(a, n);
    } else {
        size_t size = a->head ? a->head->size_bytes * 2 : FIRST_BLOCK;
        while (size < n)
            size *= 2;
        if (size > MAX_BLOCK)
            size = MAX_BLOCK;
        struct arena_block *b = block_new(a, size);
        if (!b)
            return NULL;
        b->next = a->head;
        use_block(a, b);
        p = a->at;
        a->at += n;
    }
    if (p)
        a->used_bytes += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    void *p = take(a, size_bytes);
    a->failed |= !p;
    return p;
}

void *arena_calloc(struct arena *a, size_t size_bytes)
{
    void *p = arena_alloc(a, size_bytes);
    return p ? memset(p, 0, size_bytes) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    if (len > SIZE_MAX / 4)
        return NULL;
    char *copy = arena_alloc(a, len + 1);
    if (copy) {
        if (len)
            memcpy(copy, s, len);
        copy[len] = 0;
    }
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}
