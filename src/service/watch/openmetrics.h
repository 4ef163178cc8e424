/* SPDX-License-Identifier: MIT */
/* What a Prometheus or OpenMetrics endpoint tells, as items of a StatsRecord:
 *
 *   openmetrics.ENDPOINT.METRIC.N    N numbers the sets of labels of a metric, in the order in which
 *                                    they were seen first
 *
 * Gauges and counters whose type stands before them count, all else is passed over, as with the peer
 * (symon/src/scrape.rs). One thread at a time for each object. */
#ifndef TARE_SERVICE_WATCH_OPENMETRICS_H
#define TARE_SERVICE_WATCH_OPENMETRICS_H

#include "base/buf.h"
#include "base/str.h"

#define OPENMETRICS_MAX_SERIES 65536 /* sets of labels that are numbered; others are left out */
#define OPENMETRICS_MAX_LABELS 128   /* of a sample; one with more is left out */

struct openmetrics;

/* Of the endpoint called `name`. `filters` is a serialized OpenMetricsFilters; if it is empty, all is
 * kept. A filter that is no pattern (watch/pattern.h) keeps nothing, which is said once. */
struct openmetrics *openmetrics_new(struct str name, struct str filters);
void openmetrics_free(struct openmetrics *o);

/* Append a StatsItem for each sample of `text` that is kept; what is malformed is passed over. */
void openmetrics_read(struct openmetrics *o, struct str text, struct buf *items);

/* A number as Rust's f64 reads it: "12", ".5", "+1e3", "NaN", "-inf". False if it is none. */
bool openmetrics_number(struct str text, double *v);

/* Append a StatsItem: a key and a number, null if it is not finite. */
void openmetrics_put(struct buf *items, struct str key, double v);

#endif
