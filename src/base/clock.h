/* SPDX-License-Identifier: MIT */
/* Time, with a seam for tests. Any thread. */
#ifndef TARE_BASE_CLOCK_H
#define TARE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since the epoch (UTC); may jump. */
int64_t clock_wall_ns(void);
/* Nanoseconds since some fixed moment; never goes back. */
int64_t clock_mono_ns(void);
/* The same as clock_wall_ns in seconds. */
double clock_wall_s(void);
/* Wall time as it would be had nobody set the clock since the first call: to measure with, and to say when
 * something is due. */
int64_t clock_steady_ns(void);
/* What the wall clock shows now at a moment of the steady one: to write down. The same if it was not
 * set by more than CLOCK_JUMP_NS. */
#define CLOCK_JUMP_NS INT64_C(1000000000)
int64_t clock_shown_ns(int64_t steady_ns);

/* So long from now on CLOCK_MONOTONIC, for waits on conditions; not faked. */
struct timespec clock_mono_after(int ms);

/* Make the clocks answer *wall_ns and *mono_ns; NULL, NULL brings the real ones back. Tests only. */
void clock_fake(const int64_t *wall_ns, const int64_t *mono_ns);

#endif
