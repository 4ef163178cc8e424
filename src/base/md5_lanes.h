/* SPDX-License-Identifier: MIT */
/* MD5 of several streams at once, a vector lane each. One stream cannot go faster than its chain of additions,
 * and that leaves most of a CPU idle: with two streams the second is nearly free, with eight all but one are. */
#ifndef TARE_BASE_MD5_LANES_H
#define TARE_BASE_MD5_LANES_H

#include "base/digest.h"

enum { MD5_LANES = 8 };

/* As md5_add(d[i], p[i], n_bytes) for each i < n_lanes <= MD5_LANES. `n_bytes` and what each digest has so far must be
 * multiples of DIGEST_BLOCK, and no digest may be there twice. Any thread. */
void md5_add_lanes(struct digest *const *d, const uint8_t *const *p, int n_lanes, size_t n_bytes);

/* As md5_add; but threads that are in here at the same time, each with another digest, share their CPU as
 * lanes: one of them works for all. It waits for no one to come, and for others only while its own bytes are
 * being added. For blocks of many KB. Any thread that may block. */
void md5_add_together(struct digest *d, const void *p, size_t n);

#endif
