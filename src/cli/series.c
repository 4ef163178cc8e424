/* SPDX-License-Identifier: MIT */
#include "cli/series.h"

#include "base/alloc.h"

#include <math.h>

struct series *series_new(struct str name)
{
    struct series *s = xmem_calloc(1, sizeof *s);
    s->name = xmem_strndup(name.p, name.n);
    s->stride = 1;
    s->last = NAN;
    return s;
}

void series_free(struct series *s)
{
    if (!s)
        return;
    mem_free(s->name);
    mem_free(s->at);
    mem_free(s);
}

static void join(struct series_point *a, const struct series_point *b)
{
    a->x = b->x;
    a->lo = fmin(a->lo, b->lo);
    a->hi = fmax(a->hi, b->hi);
    a->last = b->last;
    a->n += b->n;
}

static void halve(struct series *s)
{
    for (size_t i = 0; i < s->n / 2; i++) {
        struct series_point p = s->at[2 * i];
        join(&p, &s->at[2 * i + 1]);
        s->at[i] = p;
    }
    s->n /= 2;
    s->stride *= 2;
}

void series_add(struct series *s, double x, double y)
{
    s->last = y;
    if (!isfinite(y) || !isfinite(x)) {
        s->n_not_finite++;
        return;
    }
    bool first = s->n_points++ == 0;
    s->x_lo = first ? x : fmin(s->x_lo, x);
    s->x_hi = first ? x : fmax(s->x_hi, x);
    s->lo = first ? y : fmin(s->lo, y);
    s->hi = first ? y : fmax(s->hi, y);
    struct series_point p = {x, y, y, y, 1};
    if (s->n && s->at[s->n - 1].n < s->stride) {
        join(&s->at[s->n - 1], &p);
        return;
    }
    if (s->n == SERIES_MAX)
        halve(s); /* what is left is full, so a new one begins */
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->at = xmem_realloc(s->at, s->cap * sizeof *s->at);
    }
    s->at[s->n++] = p;
}
