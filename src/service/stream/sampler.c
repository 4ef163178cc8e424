/* SPDX-License-Identifier: MIT */
#include "service/stream/sampler.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

void sampler_init(struct sampler *s, uint64_t seed)
{
    *s = (struct sampler){.random = seed | 1};
}

void sampler_fini(struct sampler *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        mem_free(s->at[i].values);
    mem_free(s->at);
    *s = (struct sampler){0};
}

/* xorshift64*; in (0, 1]. */
static double draw(struct sampler *s)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (double)((s->random * 0x2545f4914f6cdd1du >> 11) + 1) * 0x1p-53;
}

static void draw_next(struct sampler *s, struct sample *m)
{
    m->w *= exp(log(draw(s)) / SAMPLER_SIZE);
    double skip = floor(log(draw(s)) / log1p(-m->w));
    m->next = skip < 0x1p62 ? m->seen + (uint64_t)skip : UINT64_MAX;
}

static struct sample *sample_for(struct sampler *s, uint32_t slot)
{
    if (slot >= s->n) {
        uint32_t n = slot + 8;
        s->at = xmem_realloc(s->at, n * sizeof *s->at);
        memset(s->at + s->n, 0, (n - s->n) * sizeof *s->at);
        s->n = n;
    }
    return &s->at[slot];
}

void sampler_keep(struct sampler *s, uint32_t slot, double v)
{
    struct sample *m = sample_for(s, slot);
    m->seen++;
    if (m->n < SAMPLER_SIZE) {
        if (m->n == m->cap) {
            m->cap = m->cap ? m->cap * 2 : 6;
            m->values = xmem_realloc(m->values, m->cap * sizeof *m->values);
        }
        m->values[m->n++] = (float)v;
        m->w = 1;
        if (m->n < SAMPLER_SIZE)
            return;
    } else { /* a random one goes, the rest moves up: the order stays */
        uint32_t gone = (uint32_t)((draw(s) - 0x1p-53) * SAMPLER_SIZE);
        memmove(m->values + gone, m->values + gone + 1,
                (SAMPLER_SIZE - 1 - gone) * sizeof *m->values);
        m->values[SAMPLER_SIZE - 1] = (float)v;
    }
    draw_next(s, m);
}
