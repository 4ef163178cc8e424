/* SPDX-License-Identifier: MIT */
/* Which hyperparameters a sweep tries: grid and random search.
 *
 * A point is determined by the sweep's seed and its index alone, so nothing but two numbers has to be
 * kept, and a point asked for twice is the same. Names, defaults and formulas of the distributions are
 * those of the public sweep configuration (documentation of "sweep configuration options", and the PyPI
 * package `sweeps` 0.2.0, whose grid order is kept: parameters sorted by name, the last varies fastest).
 *
 * Bayesian search is not offered yet: such a configuration can be kept, but no point be had from it.
 * Early termination is not offered either; it is no part of the search. Any thread; a space is not changed
 * after it was made. */
#ifndef TARE_SERVER_SWEEP_SEARCH_H
#define TARE_SERVER_SWEEP_SEARCH_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct sweep_space;

/* Read `config` (the whole sweep configuration; borrowed).
 * Expected: TARE_EINVAL  `e` names the parameter and what is wrong with it */
int sweep_space_new(const json_t *config, struct sweep_space **out, struct err *e);
void sweep_space_free(struct sweep_space *s); /* NULL is fine */

/* How many points a grid has (at most INT64_MAX); -1: random search, without end. */
int64_t sweep_space_size(const struct sweep_space *s);

/* False: this server does not search by this method (bayes, custom). */
bool sweep_space_offered(const struct sweep_space *s);

/* How many runs the configuration wants at most (`run_cap`); 0: no cap. */
int64_t sweep_space_run_cap(const struct sweep_space *s);

/* Append the point as the arguments of a run: {"lr": {"value": 0.1}, "net": {"value": {"depth": 3}}}.
 * Expected: TARE_ENOTFOUND  the grid has fewer points
 *           TARE_EUNSUPPORTED, TARE_ENOMEM */
int sweep_space_point(const struct sweep_space *s, int64_t index, uint64_t seed, struct buf *args);

#endif
