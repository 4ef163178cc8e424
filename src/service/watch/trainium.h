/* SPDX-License-Identifier: MIT */
/* AWS Trainium: what neuron-monitor prints, one JSON report a line (peer: symon/src/trainium.rs, which
 * has the names; its "Neuron Monitor User Guide" the reports).
 *
 * The program is started when the first run wants system metrics, where it is installed: in PATH, or
 * in /opt/aws/neuron/bin. It ends with the service, or when no run has asked for a while. One that ends
 * by itself is not started again; one that hangs or prints nonsense costs its own figures only. */
#ifndef TARE_SERVICE_WATCH_TRAINIUM_H
#define TARE_SERVICE_WATCH_TRAINIUM_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { TRAINIUM_MAX_LINE = 1 << 20 }; /* bytes; a longer report is left out */

#define TRAINIUM_IDLE_NS (3LL * 1000000000)    /* least time without a question before it is ended */
#define TRAINIUM_STALE_NS (120LL * 1000000000) /* a report is told for so long */
#define TRAINIUM_FACTS_NS (5000LL * 1000000)   /* the first report may take seconds */

typedef void trainium_put(void *ctx, const char *key, double v);

/* A run with these settings (a serialized Settings message) wants metrics: starts the program if need
 * be. Does not wait. Any thread. */
void trainium_ask(struct str settings);

/* Give the figures of process `pid` in the latest report to `put`; of the NeuronCore LOCAL_RANK where the
 * environment has that. Any thread. */
void trainium_read(int32_t pid, trainium_put *put, void *ctx);

/* Append the field of an EnvironmentRecord; waits up to `wait_ns` for a report where the program runs.
 * Any thread. */
void trainium_put_facts(struct buf *to, int64_t wait_ns);

/* ---- one report (trainium_report.c) ---- */

/* Whether a line is one: a JSON object in UTF-8. */
bool trainium_is_report(struct str line);

/* The figures in it; `rank` is a NeuronCore's name, or NULL for all of the process. */
void trainium_report_read(struct str report, int32_t pid, const char *rank, trainium_put *put, void *ctx);

/* How many devices there are and NeuronCores on each; false if it does not say. */
bool trainium_report_facts(struct str report, uint32_t *devices, uint32_t *cores);

#endif
