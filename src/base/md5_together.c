/* SPDX-License-Identifier: MIT */
/* A table with seats, one for each thread that has bytes to add. Whoever finds no driver becomes the driver: a
 * step of STEP_BYTES for all seats at once, again and again, until its own bytes are in; then it leaves, and
 * one of those that still sit there drives on. Who comes while a step is done is taken along from the next one
 * on, so two streams whose blocks come at different times still share most of their way. */
#include "base/md5_lanes.h"

#include <pthread.h>
#include <stdbool.h>

enum { STEP_BYTES = 16 * 1024 };

struct seat {
    struct seat *next;
    struct digest *d;
    const uint8_t *p;
    size_t n; /* left; 0: done. Under the mutex, as all of it */
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t news; /* someone is done, or the driver has left */
    struct seat *first, **end;
    bool has_driver;
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER, .end = &table.first};

/* One step for the first seats. The mutex is held, but not while the sums are made. */
static void drive(void)
{
    struct digest *d[MD5_LANES];
    const uint8_t *p[MD5_LANES];
    size_t step = STEP_BYTES;
    int n = 0, n_left = 0;
    for (struct seat *s = table.first; s && n < MD5_LANES; s = s->next, n++) {
        d[n] = s->d;
        p[n] = s->p;
        step = s->n < step ? s->n : step;
    }
    pthread_mutex_unlock(&table.mutex);
    md5_add_lanes(d, p, n, step);
    pthread_mutex_lock(&table.mutex);
    for (struct seat **at = &table.first; n > 0; n--) {
        struct seat *s = *at;
        s->p += step;
        s->n -= step;
        if (s->n > 0) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        if (!s->next)
            table.end = at;
        n_left++;
    }
    if (n_left)
        pthread_cond_broadcast(&table.news);
}

static void sit_down(struct digest *d, const uint8_t *p, size_t n)
{
    struct seat mine = {.d = d, .p = p, .n = n};
    pthread_mutex_lock(&table.mutex);
    *table.end = &mine;
    table.end = &mine.next;
    while (mine.n > 0 && table.has_driver)
        pthread_cond_wait(&table.news, &table.mutex);
    if (mine.n > 0) {
        table.has_driver = true;
        while (mine.n > 0)
            drive();
        table.has_driver = false;
        pthread_cond_broadcast(&table.news);
    }
    pthread_mutex_unlock(&table.mutex);
}

void md5_add_together(struct digest *d, const void *p, size_t n)
{
    const uint8_t *at = p;
    size_t first = (DIGEST_BLOCK - d->n_bytes % DIGEST_BLOCK) % DIGEST_BLOCK;
    first = first < n ? first : n;
    md5_add(d, at, first);
    at += first;
    n -= first;
    size_t whole = n - n % DIGEST_BLOCK;
    if (whole > 0)
        sit_down(d, at, whole);
    md5_add(d, at + whole, n - whole);
}
