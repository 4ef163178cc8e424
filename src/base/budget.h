/* SPDX-License-Identifier: MIT */
/* Memory that many share: who wants some asks first, and gives back what was taken. Any thread. */
#ifndef TARE_BASE_BUDGET_H
#define TARE_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    atomic_size_t used_bytes;
    size_t max_bytes;
};

/* Also beyond the maximum: for what is there already. */
static inline void budget_add(struct budget *b, size_t n)
{
    atomic_fetch_add(&b->used_bytes, n);
}

static inline void budget_give(struct budget *b, size_t n)
{
    atomic_fetch_sub(&b->used_bytes, n);
}

/* `own`: what the asker has taken already. The last quarter is for those that want little.
 * False: that is more than there is, and nothing was taken. */
static inline bool budget_take(struct budget *b, size_t n, size_t own)
{
    size_t little = b->max_bytes / 1024;
    size_t max = own > little || n > little - own ? b->max_bytes - b->max_bytes / 4 : b->max_bytes;
    size_t used = atomic_load(&b->used_bytes);
    do {
        if (n > max || used > max - n)
            return false;
    } while (!atomic_compare_exchange_weak(&b->used_bytes, &used, used + n));
    return true;
}

#endif
