/* SPDX-License-Identifier: MIT */
/* Words as byte planes: all lowest bytes, all second bytes ..., as far as any word reaches. Planes that look like
 * noise are kept apart, so that the compressor never sees them.
 *
 *   u8 width | u8 which planes are raw | planes */
#ifndef TARE_SERVER_STORE_PLANES_H
#define TARE_SERVER_STORE_PLANES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Append the planes of n words to `packed`, those of noise to `raw`. Out of memory shows in the buffers. */
void planes_put(struct buf *packed, struct buf *raw, const uint64_t *v, size_t n);

/* Take n words from the fronts of both. False if they are too short or damaged; hostile bytes are fine. */
bool planes_get(struct str *packed, struct str *raw, uint64_t *v, size_t n);

#endif
