/* SPDX-License-Identifier: MIT */
/* What one run sends to the service, in order: frames that are built, of these what was sent, of
 * these what the service is known to have dealt with. The rest is kept, so that it can be written
 * to a file if the service dies. Positions count bytes since the run began. Courier only. */
#ifndef TARE_CLIENT_OUTBOX_H
#define TARE_CLIENT_OUTBOX_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox_chunk;

struct outbox {
    struct outbox_chunk *first, *last, *sending;
    uint64_t built, sent, acked, released;
};

void outbox_fini(struct outbox *o);

/* Append one frame: the header is put before `message`. 0 or TARE_ENOMEM. */
int outbox_put(struct outbox *o, struct str message);

/* Bytes to send next (n == 0: none), and that `n` of them are gone. What follows a partly sent
 * frame is always its rest. */
struct str outbox_unsent(struct outbox *o);
void outbox_sent(struct outbox *o, size_t n);

/* Everything up to `position` was dealt with. Chunks wholly before `position - keep` are freed. */
void outbox_ack(struct outbox *o, uint64_t position, size_t keep);

/* Bytes held. */
static inline uint64_t outbox_held(const struct outbox *o)
{
    return o->built - o->released;
}

/* Call `each` with every message still held, oldest first, and forget them all. Stops at its
 * first error. */
int outbox_take_all(struct outbox *o, int (*each)(void *arg, struct str message), void *arg);

#endif
