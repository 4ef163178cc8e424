/* SPDX-License-Identifier: MIT */
/* A DCGM exporter behind a Prometheus server: GPUs of other machines, by instant queries such as
 *
 *   http://gateway:9400/api/v1/query?query=DCGM_FI_DEV_GPU_TEMP&query=DCGM_FI_DEV_POWER_USAGE
 *
 * each of which is asked for by itself. Its fields are told as gpu.N.METRIC/l:NODE, as by the peer
 * (symon/src/scrape.rs). Pure functions; any thread. */
#ifndef TARE_SERVICE_WATCH_DCGM_H
#define TARE_SERVICE_WATCH_DCGM_H

#include "base/buf.h"
#include "base/str.h"

enum { DCGM_MAX_QUERIES = 64 };

/* Append the URL of query number `i` (from 0); false if the setting has no such one. */
bool dcgm_url(const char *setting, int i, struct buf *to);

/* Read one answer: append a StatsItem for each known field of a GPU to `items`, and, of those that
 * name their model and UUID, the field gpu_nvidia of an EnvironmentRecord to `gpus`. 0, or TARE_EFORMAT
 * with the reason in `why`. */
int dcgm_read(struct str json, struct buf *items, struct buf *gpus, char why[256]);

/* Append the GPU fields of an EnvironmentRecord; nothing if `gpus` is empty. */
void dcgm_put_facts(struct buf *to, struct str gpus);

#endif
