/* SPDX-License-Identifier: MIT */
#include "base/spare.h"

#include <pthread.h>

enum { N_SPARES = 6, MIN_BYTES = 256 << 10, MAX_BYTES = 64 << 20, MAX_TOTAL = 64 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spare {
    struct buf b;
    bool idle; /* has been here since the last spare_trim */
} spares[N_SPARES];
static size_t total_bytes;

/* Out of its place, under the lock. */
static struct buf lift(struct spare *s)
{
    struct buf b = s->b;
    total_bytes -= b.cap;
    *s = (struct spare){0};
    return b;
}

void spare_take(struct buf *b, size_t n)
{
    struct spare *best = NULL;
    if (n < MIN_BYTES || n > MAX_BYTES)
        return;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < N_SPARES && !b->cap; i++)
        if (spares[i].b.cap >= n && (!best || spares[i].b.cap < best->b.cap))
            best = &spares[i];
    if (best)
        *b = lift(best);
    pthread_mutex_unlock(&lock);
    buf_reserve(b, n);
}

void spare_give(struct buf *b)
{
    pthread_mutex_lock(&lock);
    bool keep = b->cap >= MIN_BYTES && b->cap <= MAX_BYTES && total_bytes + b->cap <= MAX_TOTAL;
    for (int i = 0; i < N_SPARES && keep; i++)
        if (!spares[i].b.cap) {
            buf_clear(b);
            spares[i] = (struct spare){.b = *b};
            total_bytes += b->cap;
            *b = (struct buf){0};
            break;
        }
    pthread_mutex_unlock(&lock);
    buf_fini(b);
}

/* Free those that are kept, or those of them that were here at the last trim. */
static void drop(bool all)
{
    struct buf gone[N_SPARES] = {0};
    pthread_mutex_lock(&lock);
    for (int i = 0; i < N_SPARES; i++)
        if (spares[i].b.cap && (all || spares[i].idle))
            gone[i] = lift(&spares[i]);
        else
            spares[i].idle = true;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < N_SPARES; i++)
        buf_fini(&gone[i]);
}

void spare_trim(void)
{
    drop(false);
}

void spare_clear(void)
{
    drop(true);
}
