/* SPDX-License-Identifier: MIT */
/* Bytes that wait to be sent on one socket.
 *
 * Putting never blocks and never loses; how much may wait is the owner's decision: it looks at
 * `bytes` and stops reading its requests while that is too much. What is put between two flushes
 * go out in one write. After the first failed write everything is dropped quietly: the other side
 * no longer listens, but may still have sent requests that must be read. */
#ifndef TARE_LOOP_OUT_QUEUE_H
#define TARE_LOOP_OUT_QUEUE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct out_queue {
    uv_stream_t *to;
    void (*on_drained)(struct out_queue *q); /* some bytes have left, or the socket failed */
    struct buf waiting;                      /* not given to the kernel yet */
    struct buf sending;                      /* in the write in flight */
    size_t bytes;                            /* both together */
    int error;                               /* of the first failed write; 0 while it works */
    bool busy;                               /* a write is in flight */
    uv_write_t req;
};

/* Sum of `bytes` over all queues of the process (one loop thread). */
extern size_t out_queue_total_bytes;

void out_queue_init(struct out_queue *q, uv_stream_t *to, void (*on_drained)(struct out_queue *));
/* Only when not busy: after the handle's close callback. */
void out_queue_fini(struct out_queue *q);

/* Room for `n` bytes at the end, to be filled before the next call; NULL when there is no memory
 * or the socket has failed: what should have been sent is then lost. */
char *out_queue_room(struct out_queue *q, size_t n);

/* Give what waits to the kernel. on_drained is not called from here. */
void out_queue_flush(struct out_queue *q);

#endif
