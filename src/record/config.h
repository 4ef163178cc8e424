/* SPDX-License-Identifier: MIT */
/* A run's config: a tree of values that config records change.
 *
 * An object as a value is not a leaf: its members are merged into the tree (an empty one changes
 * nothing). Rules: the peer's core/internal/runconfig. One thread. */
#ifndef TARE_RECORD_CONFIG_H
#define TARE_RECORD_CONFIG_H

#include "base/buf.h"
#include "base/str.h"
#include "record/summary.h"

#include <stdbool.h>
#include <stddef.h>

/* The tree is kept in a table of key paths. */
struct config {
    struct summary tree;
};

void config_init(struct config *c, uint64_t seed);
void config_fini(struct config *c);

/* Apply a ConfigRecord in wire form. Items with invalid JSON are skipped and counted
 * in *n_bad. 0, or TARE_EFORMAT if the bytes are malformed. */
int config_apply(struct config *c, struct str record, size_t *n_bad);
/* Set `json` at `path` (wire form, see summary.h). TARE_EFORMAT if it is no JSON. */
int config_set(struct config *c, struct str path, struct str json);

/* Whether there is a value at or below `path` (wire form). */
bool config_has(const struct config *c, struct str path);

/* The whole config as one JSON object. */
void config_put_json(const struct config *c, struct buf *to);
/* The same as backends keep it: each top-level value wrapped as {"value": ...}. */
void config_put_wrapped(const struct config *c, struct buf *to);
/* The same as ConfigItem fields numbered 1. */
void config_put_items(const struct config *c, struct buf *to);

/* A run that goes on keeps what it had: take from `old` (wrapped, as a backend gave it) what is
 * not set here. 0 or TARE_EFORMAT. (peer: runconfig MergeResumedConfig) */
int config_merge_resumed(struct config *c, struct str old);

/* What `_wandb.t` holds of a TelemetryRecord in wire form, as a JSON object keyed by field numbers:
 * messages of flags as lists of the numbers that are set. */
void config_put_telemetry(struct str telemetry, struct str core_version, struct buf *to);

/* Set the part that is not the user's, `_wandb`: from a TelemetryRecord in wire form (merged into
 * one), the JSON texts of what metrics_put_config gives and, unless empty, of the environment. */
void config_set_internal(struct config *c, struct str telemetry, struct str metrics,
                         struct str environment);

/* Append ConfigItem fields numbered 1: the config of a new run as the answer to its run record has
 * it, each top-level value wrapped as {"value": ...}, with the internal `_wandb` part. */
void config_put_run_result(struct str config_record, struct str telemetry, struct buf *to);

#endif
