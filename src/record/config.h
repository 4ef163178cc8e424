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

#include <stddef.h>

/* The tree is kept in a table of key paths. */
struct config {
    struct summary tree;
};

void config_init(struct config *c, uint64_t seed);
void config_fini(struct config *c);

/* Apply a ConfigRecord in wire form. Items without a key or with invalid JSON are skipped and
 * counted in *n_bad. 0, or TARE_EFORMAT if the bytes are malformed. */
int config_apply(struct config *c, struct str record, size_t *n_bad);
/* Set `json` at `path` (wire form, see summary.h). TARE_EFORMAT if it is no JSON. */
int config_set(struct config *c, struct str path, struct str json);

/* The whole config as one JSON object. */
void config_put_json(const struct config *c, struct buf *to);

/* What `_wandb.t` holds of a TelemetryRecord in wire form, as a JSON object keyed by field numbers:
 * messages of flags as lists of the numbers that are set. */
void config_put_telemetry(struct str telemetry, struct str core_version, struct buf *to);

/* Append ConfigItem fields numbered 1: the config of a new run as the answer to its run record has
 * it, each top-level value wrapped as {"value": ...}, with the internal `_wandb` part. */
void config_put_run_result(struct str config_record, struct str telemetry, struct buf *to);

#endif
