/* SPDX-License-Identifier: MIT */
#include "client/ring.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int ring_init(struct ring *r, size_t size, int wake_fd)
{
    size_t pow2 = 65536;
    while (pow2 < size && pow2 < (size_t)1 << 31)
        pow2 *= 2;
    memset(r, 0, sizeof *r);
    r->base = mmap(NULL, pow2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->base == MAP_FAILED)
        return TARE_ENOMEM;
    r->size = pow2;
    r->wake_fd = wake_fd;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->room, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&r->lock, NULL);
    return 0;
}

void ring_fini(struct ring *r)
{
    if (!r->base)
        return;
    munmap(r->base, r->size);
    pthread_cond_destroy(&r->room);
    pthread_mutex_destroy(&r->lock);
    r->base = NULL;
}

size_t ring_payload_max(const struct ring *r)
{
    return r->size / 4;
}

static size_t room(struct ring *r)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    return r->size - (head - atomic_load_explicit(&r->tail, memory_order_acquire));
}

/* Bytes to claim for an entry of `size`: also the rest up to the end where it would not fit. */
static size_t with_filler(struct ring *r, size_t size)
{
    size_t at = atomic_load_explicit(&r->head, memory_order_relaxed) & (r->size - 1);
    return r->size - at < size ? r->size - at + size : size;
}

static struct timespec deadline_in(int ms)
{
    int64_t ns = clock_mono_ns() + (int64_t)ms * 1000000;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* The lock is held. False when the ring stayed full. */
static bool wait_for_room(struct ring *r, size_t need, int wait_ms)
{
    if (wait_ms >= 0 && wait_ms <= r->stalled_ms)
        return false;
    struct timespec end = deadline_in(wait_ms);
    int rc = 0;
    while (rc == 0) {
        atomic_store(&r->waiting, true);
        if (room(r) >= need)
            return true;
        rc = wait_ms < 0 ? pthread_cond_wait(&r->room, &r->lock)
                         : pthread_cond_timedwait(&r->room, &r->lock, &end);
    }
    bool full = room(r) < need;
    r->stalled_ms = full ? wait_ms : 0;
    return !full;
}

struct ring_entry *ring_claim(struct ring *r, size_t n, int wait_ms)
{
    size_t size = (sizeof(struct ring_entry) + n + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
    pthread_mutex_lock(&r->lock);
    if (room(r) < with_filler(r, size) && !wait_for_room(r, 2 * size, wait_ms)) {
        pthread_mutex_unlock(&r->lock);
        return NULL;
    }
    r->stalled_ms = 0;
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t at = head & (r->size - 1);
    if (r->size - at < size) {
        struct ring_entry *skip = (struct ring_entry *)(r->base + at);
        skip->size = (uint32_t)(r->size - at);
        skip->kind = RING_SKIP;
        atomic_store_explicit(&r->head, head + (r->size - at), memory_order_release);
        at = 0;
    }
    struct ring_entry *e = (struct ring_entry *)(r->base + at);
    e->size = (uint32_t)size;
    e->len = (uint32_t)n;
    e->flags = 0;
    return e;
}

void ring_put(struct ring *r, struct ring_entry *entry)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store(&r->head, head + entry->size);
    bool wake = atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, false);
    pthread_mutex_unlock(&r->lock);
    if (wake)
        (void)!write(r->wake_fd, "", 1); /* a full pipe wakes as well */
}

void ring_drop(struct ring *r, const struct ring_entry *entry)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store(&r->tail, tail + entry->size);
    if (atomic_load_explicit(&r->waiting, memory_order_seq_cst)) {
        pthread_mutex_lock(&r->lock);
        atomic_store(&r->waiting, false);
        r->stalled_ms = 0;
        pthread_cond_broadcast(&r->room);
        pthread_mutex_unlock(&r->lock);
    }
}

struct ring_entry *ring_peek(struct ring *r)
{
    for (;;) {
        size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
        if (atomic_load_explicit(&r->head, memory_order_acquire) == tail)
            return NULL;
        struct ring_entry *e = (struct ring_entry *)(r->base + (tail & (r->size - 1)));
        if (e->kind != RING_SKIP)
            return e;
        ring_drop(r, e);
    }
}

bool ring_sleep(struct ring *r)
{
    atomic_store(&r->sleeping, true);
    if (atomic_load(&r->head) == atomic_load_explicit(&r->tail, memory_order_relaxed))
        return true;
    atomic_store(&r->sleeping, false);
    return false;
}

void ring_awake(struct ring *r)
{
    atomic_store(&r->sleeping, false);
}
