/* SPDX-License-Identifier: MIT */
/* The last samples of a run's system metrics, for the request get_system_metrics. */
#ifndef TARE_SERVICE_WATCH_SYSMON_BUFFER_H
#define TARE_SERVICE_WATCH_SYSMON_BUFFER_H

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

enum { SYSMON_BUFFER_MAX = 10000 }; /* samples, where the setting says "all" or more */

struct sysmon_buffer {
    struct buf *samples; /* StatsRecords; a ring of `limit` places, NULL before the first */
    uint32_t limit;      /* how many are kept; 0 for none */
    uint64_t n_taken;    /* since the start */
};

/* `size` is the setting x_stats_buffer_size: 0 keeps none, a negative one all. */
void sysmon_buffer_init(struct sysmon_buffer *b, int64_t size);
void sysmon_buffer_fini(struct sysmon_buffer *b);

void sysmon_buffer_add(struct sysmon_buffer *b, struct str stats_record);

/* Append the fields of a GetSystemMetricsResponse: the values by key, oldest first. Keys are told
 * without the `label` that the samples' have (sysmon_label). */
void sysmon_buffer_put(const struct sysmon_buffer *b, struct str label, struct buf *to);

#endif
