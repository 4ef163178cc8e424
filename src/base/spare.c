/* SPDX-License-Identifier: MIT */
#include "base/spare.h"

#include <pthread.h>

enum { N_SPARES = 4, MIN_BYTES = 256 << 10, MAX_BYTES = 4 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct buf spares[N_SPARES];

void spare_take(struct buf *b, size_t n)
{
    if (n < MIN_BYTES || n > MAX_BYTES)
        return;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < N_SPARES && !b->cap; i++)
        if (spares[i].cap >= n) {
            *b = spares[i];
            spares[i] = (struct buf){0};
        }
    pthread_mutex_unlock(&lock);
    buf_reserve(b, n);
}

void spare_give(struct buf *b)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < N_SPARES && b->cap >= MIN_BYTES && b->cap <= MAX_BYTES; i++)
        if (!spares[i].cap) {
            spares[i] = *b;
            buf_clear(&spares[i]);
            *b = (struct buf){0};
        }
    pthread_mutex_unlock(&lock);
    buf_fini(b);
}

void spare_clear(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < N_SPARES; i++)
        buf_fini(&spares[i]);
    pthread_mutex_unlock(&lock);
}
