/* SPDX-License-Identifier: MIT */
/* A metric's points thinned out to what a terminal can show, without losing a spike: runs of
 * points become one, with their smallest and largest value. Memory is bounded. One thread. */
#ifndef TARE_CLI_SERIES_H
#define TARE_CLI_SERIES_H

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { SERIES_MAX = 1024 };

struct series_point {
    double x;      /* of the last of its points */
    double lo, hi; /* of their values */
    double last;
    uint32_t n; /* points in it */
};

struct series {
    char *name;              /* owned */
    struct series_point *at; /* grows as needed, to SERIES_MAX */
    size_t n, cap;
    uint32_t stride; /* points that make one; a power of two */
    uint64_t n_points, n_not_finite;
    double x_lo, x_hi, lo, hi, last;
};

struct series *series_new(struct str name);
void series_free(struct series *s);

/* NaN and infinities are counted, not drawn. */
void series_add(struct series *s, double x, double y);

#endif
