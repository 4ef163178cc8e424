/* SPDX-License-Identifier: MIT */
/* Metric definitions (define_metric): which statistics a metric's summary shows, and which metric
 * is the x axis of another.
 *
 * Definitions are by name, or by glob (a prefix and '*'), which a metric that is logged for the
 * first time is matched with. A step metric that is not logged with a row, but that a metric of
 * the row is defined by with step_sync, is added to the row with its last value.
 *
 * The rules are the peer's (core/internal/runmetric). "best" and "copy" of a definition have no
 * effect there, nor here; `goal` is only kept. One thread. */
#ifndef TARE_RECORD_METRIC_H
#define TARE_RECORD_METRIC_H

#include "base/str.h"
#include "record/summary.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct row;

enum { METRIC_NONE = UINT32_MAX };
enum { METRIC_GOAL_UNSET = 0, METRIC_GOAL_MINIMIZE = 1, METRIC_GOAL_MAXIMIZE = 2 };

struct metric {
    char *name, *step; /* owned; step NULL: the run's own step */
    uint32_t name_len, step_len;
    uint32_t step_at; /* in metrics.steps, METRIC_NONE without a step */
    bool is_glob, step_sync, hidden;
    bool expanded; /* made from a glob, not by the user */
    bool none;     /* no summary */
    uint8_t track; /* SUMMARY_* flags */
    uint8_t goal;  /* METRIC_GOAL_* */
};

/* A metric that others use as their x axis. */
struct metric_step {
    char *name;
    uint32_t name_len;
    uint32_t slot; /* in the summary */
    char *text; /* its last number as it was logged; "0" before */
    uint32_t text_len;
    double value;
};

struct metrics {
    struct metric *at; /* in order of definition */
    uint32_t n, cap;
    uint32_t *globs; /* numbers of those that are globs */
    uint32_t n_globs;
    struct metric_step *steps;
    uint32_t n_steps;
    uint32_t generation; /* grows with every change; never 0 */
    uint32_t *index;     /* open addressing over name and kind: number + 1, 0 is free */
    uint32_t index_cap;  /* a power of two */
    uint64_t seed;
};

void metrics_init(struct metrics *m, uint64_t seed);
void metrics_fini(struct metrics *m);

/* Apply a MetricRecord in wire form and configure the summary. 0, or TARE_EFORMAT (malformed), or
 * TARE_EINVAL (neither name, glob nor step metric: nothing is changed). */
int metrics_apply(struct metrics *m, struct summary *s, struct str record);

/* The definition of a plain name, METRIC_NONE if there is none. */
uint32_t metrics_find(const struct metrics *m, struct str name);

/* Append what a run's config says of its definitions (`_wandb.m`): a JSON array of MetricRecords as
 * objects keyed by field numbers, step metrics by their places in it. With `expand`, for backends
 * that match no globs, what globs have made stands there instead of the globs. */
void metrics_put_config(const struct metrics *m, bool expand, struct buf *to);

/* Append the fields of the MetricRecord that defines metric number `at`, with the mark
 * (expanded_from_glob) of one that a glob has made. */
void metrics_put_record(const struct metrics *m, uint32_t at, struct buf *to);

/* What definitions do to a row that is complete: match the keys of its first `n_logged` entries with
 * globs, note the values of step metrics and add those that are missing. */
void metrics_row(struct metrics *m, struct row *row, uint32_t n_logged);

#endif
