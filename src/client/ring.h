/* SPDX-License-Identifier: MIT */
/* The queue between the threads that log and the courier: a bounded ring of variable-size
 * entries.
 *
 * Many producers take turns behind a mutex that is held for one small copy; the one consumer
 * takes no lock. The consumer is woken (one byte into a pipe) only if it said that it sleeps. */
#ifndef TARE_CLIENT_RING_H
#define TARE_CLIENT_RING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tare_run;

enum { RING_ALIGN = 16, RING_SKIP = 0 /* kind of the filler before a wrap */ };

struct ring_entry {
    uint32_t size; /* of header and payload, a multiple of RING_ALIGN */
    uint32_t len;  /* of the payload */
    uint16_t kind; /* an enum entry_kind, or RING_SKIP */
    uint16_t flags;
    struct tare_run *run;
    char payload[];
};

struct ring {
    char *base;
    size_t size; /* bytes, a power of two */
    pthread_mutex_t lock; /* the producers' */
    pthread_cond_t room;  /* signalled when `waiting` and the consumer has made room */
    int stalled_ms;       /* a wait of that long ran out: none that is not longer is begun until
                           * there is room again; 0: there was room at last */
    int wake_fd;          /* written to when the consumer sleeps */
    _Atomic size_t head; /* bytes ever put in */
    char apart[64];      /* the two on cache lines of their own */
    _Atomic size_t tail; /* bytes ever taken out */
    atomic_bool waiting;
    atomic_bool sleeping;
};

/* `size` is rounded up to a power of two, at least 64 KiB. 0 or TARE_ENOMEM. */
int ring_init(struct ring *r, size_t size, int wake_fd);
void ring_fini(struct ring *r);

/* The largest payload that fits: a quarter of the ring. */
size_t ring_payload_max(const struct ring *r);

/* Room for `n` bytes of payload; waits at most `wait_ms` (-1: for ever). On success the lock is
 * held until ring_put, which must follow soon. Returns NULL when the ring stayed full. */
struct ring_entry *ring_claim(struct ring *r, size_t n, int wait_ms);
void ring_put(struct ring *r, struct ring_entry *entry);

/* Consumer: the oldest entry or NULL, then give it back. */
struct ring_entry *ring_peek(struct ring *r);
void ring_drop(struct ring *r, const struct ring_entry *entry);

/* Consumer: announce sleep; false if something came meanwhile. Then ring_awake. */
bool ring_sleep(struct ring *r);
void ring_awake(struct ring *r);

#endif
