/* SPDX-License-Identifier: MIT */
/* Memory that lives as long as one record or one request, and is freed at once.
 *
 * Blocks grow by doubling up to 64 KiB; larger requests get a block of their own. An arena
 * belongs to one thread at a time. */
#ifndef TARE_BASE_ARENA_H
#define TARE_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_block;
struct budget;

struct arena {
    struct arena_block *head; /* the block that allocations come from */
    char *at, *end;           /* free bytes of head */
    size_t used_bytes;        /* handed out since the last reset */
    size_t limit_bytes;       /* arena_alloc fails beyond it; 0 = no limit */
    struct budget *budget;    /* blocks are taken from it; NULL: none. Set it before the first allocation */
    bool failed;              /* an allocation was refused since the last reset: what was made of it may lack something */
};

void arena_init(struct arena *a, size_t limit_bytes);
void arena_fini(struct arena *a);

/* Forget all allocations; keeps one block of at most 64 KiB for the next round. */
void arena_reset(struct arena *a);

/* `size_bytes` of memory aligned for any type, or NULL: out of memory, over the limit or the budget. */
void *arena_alloc(struct arena *a, size_t size_bytes);
void *arena_calloc(struct arena *a, size_t size_bytes);

/* Copies, NUL-terminated; NULL when out of memory. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
