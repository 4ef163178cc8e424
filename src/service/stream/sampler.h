/* SPDX-License-Identifier: MIT */
/* A random sample of each metric's numbers, in the order they came: what the client draws as a
 * sparkline when the run ends. Reservoir sampling (Li's algorithm L): after the first
 * SAMPLER_SIZE numbers most are skipped without drawing a random number.
 *
 * As the peer (core/internal/sampler): 48 numbers as floats, for keys of one label. One thread. */
#ifndef TARE_SERVICE_STREAM_SAMPLER_H
#define TARE_SERVICE_STREAM_SAMPLER_H

#include "base/buf.h"

#include <stdint.h>

enum { SAMPLER_SIZE = 48 };

struct sample {
    float *values; /* owned */
    uint32_t n, cap;
    uint64_t seen; /* numbers so far */
    uint64_t next; /* index of the next one to keep, once there are SAMPLER_SIZE */
    double w;      /* algorithm L's w */
};

struct sampler {
    struct sample *at; /* by the key's slot in the summary */
    uint32_t n;
    uint64_t random; /* state of the generator */
};

void sampler_init(struct sampler *s, uint64_t seed);
void sampler_fini(struct sampler *s);

/* Out of line: the number is kept. */
void sampler_keep(struct sampler *s, uint32_t slot, double v);

/* One more number of the metric in `slot`. */
static inline void sampler_add(struct sampler *s, uint32_t slot, double v)
{
    if (slot < s->n && s->at[slot].n == SAMPLER_SIZE && s->at[slot].seen != s->at[slot].next)
        s->at[slot].seen++;
    else
        sampler_keep(s, slot, v);
}

#endif
