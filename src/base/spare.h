/* SPDX-License-Identifier: MIT */
/* A few large buffers that were given back, for those who want one next. Memory that is new costs a
 * page fault and the clearing of a page each 4 KiB: a fifth of what it takes to store a body of 1 MiB.
 * Any thread. */
#ifndef TARE_BASE_SPARE_H
#define TARE_BASE_SPARE_H

#include "base/buf.h"

/* Room for `n` bytes in `b`, which is empty and has none. Only sizes that are kept are looked for;
 * others get none here. */
void spare_take(struct buf *b, size_t n);
/* As buf_fini. */
void spare_give(struct buf *b);
/* Free those that nobody has wanted since the last call. */
void spare_trim(void);
/* Free all that are kept. */
void spare_clear(void);

#endif
