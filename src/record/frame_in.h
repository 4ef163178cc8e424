/* SPDX-License-Identifier: MIT */
/* Whole frames (frame.h) out of a stream of bytes.
 *
 * Knows no sockets: bytes go in as they came, whole frames come out through a callback. A frame
 * that lies whole in the bytes given is handed out in place; only what is left over is copied.
 * Memory grows with the bytes that have come, never with the length that was announced. */
#ifndef TARE_RECORD_FRAME_IN_H
#define TARE_RECORD_FRAME_IN_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Handle one frame's payload, valid during the call. Returns 0 to go on, FRAMES_PAUSE to be
 * given no more for now (this frame counts as handled), or a negative code to stop for good. */
typedef int frame_fn(void *user, struct str payload);

enum { FRAMES_PAUSE = 1 };

struct frame_in {
    struct buf kept;    /* bytes not handled yet; starts at a frame's first byte */
    uint32_t max_bytes; /* longest payload accepted */
};

void frame_in_init(struct frame_in *f, uint32_t max_bytes);
void frame_in_fini(struct frame_in *f);

/* Take `n` bytes and hand out every frame that is now whole. With n = 0: go on after a pause.
 *
 * 0                 all whole frames handled, the rest is kept
 * FRAMES_PAUSE      the callback paused; what is left is kept
 * TARE_EPROTO       a frame does not begin with 'W'
 * TARE_ELIMIT       a frame announces more than max_bytes
 * TARE_ENOMEM       no memory for the bytes that came
 * other negative    from the callback
 * After a negative result the object may only be ended. */
int frame_in_feed(struct frame_in *f, const void *bytes, size_t n, frame_fn *fn, void *user);

/* True while the beginning of a frame waits for its end. */
static inline bool frame_in_is_partial(const struct frame_in *f)
{
    return f->kept.len > 0;
}

#endif
