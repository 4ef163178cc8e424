/* SPDX-License-Identifier: MIT */
/* Google's TPUs, where the PCI bus shows any: by the functions of libtpu.so, and what these do not tell by
 * the gRPC service that the runtime of a program has on port 8431 of this machine. Names of metrics and
 * facts are the peer's (symon/src/tpu_libtpu.rs, which also has the layout of libtpu's table of functions).
 *
 *   tpu.N.tensorcoreUtilization, .dutyCycle, .hbmCapacityTotal, .hbmCapacityUsage, .hbmMemoryUsage, ...
 *   tpu.hloExecTiming.PROGRAM.meanUs, .p50Us ...         distributions
 *   tpu.hloQueueSize.CORE
 *
 * One source (watch/source.h): what hangs costs its own figures only. The library is not even loaded where
 * there is no TPU: it ends programs there.
 *
 * WANDB_LIBTPU_PATH, TPU_LIBRARY_PATH and LIBTPU_PATH name the library, TARE_TPU_PORT another port. */
#ifndef TARE_SERVICE_WATCH_TPU_H
#define TARE_SERVICE_WATCH_TPU_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Append the figures as StatsItems; what has not come `wait_ns` after it was asked for is left out.
 * Any thread. */
void tpu_read(struct buf *items, int64_t wait_ns);

/* Append the field of an EnvironmentRecord. Any thread. */
void tpu_put_facts(struct buf *to);

/* ---- what is asked for (tpu_metrics.c) ---- */

enum tpu_shape {
    TPU_GAUGE,  /* a number a device */
    TPU_DUTY,   /* a number a chip, told for each of its devices */
    TPU_LABELED, /* distributions: "LABEL, mean, p50, p90, p95, p999" */
    TPU_FLAT,    /* one without a label */
    TPU_KEYED,   /* "LABEL: number" */
};

struct tpu_metric {
    const char *sdk[4]; /* its names in libtpu, the first that gives anything is taken; NULL at the end */
    const char *grpc;   /* its name there, or NULL */
    const char *key;    /* tpu.KEY, of gauges tpu.N.KEY */
    const char *unit;   /* behind the name of a statistic: "Us" */
    enum tpu_shape shape;
};

enum { TPU_N_METRICS = 18 };
extern const struct tpu_metric tpu_metrics[TPU_N_METRICS];

/* ---- figures from what they answer: pure (tpu_metrics.c) ---- */

enum { TPU_MAX_VALUES = 4096, TPU_MAX_TEXT = 65536, TPU_MAX_DEVICES = 1024, TPU_MAX_ITEMS = 1 << 20 };

struct tpu_figures {
    struct buf items, key, json; /* StatsItems; the other two are scratch */
    double total[TPU_MAX_DEVICES], used[TPU_MAX_DEVICES]; /* bytes of a device's memory; -1: not told */
};

void tpu_figures_init(struct tpu_figures *f);
void tpu_figures_fini(struct tpu_figures *f);

/* Append what libtpu says of a metric; `fanout`: devices a chip that duty cycles are told for. The number of
 * figures. */
size_t tpu_put_values(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, struct str description,
                      const struct str *values, size_t n);
/* Likewise of a MetricResponse; what is malformed is left out. */
size_t tpu_put_response(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, struct str response);
/* tpu.N.hbmMemoryUsage, of the two figures above. */
void tpu_put_memory(struct tpu_figures *f);

/* A gRPC body: one byte 0 (not compressed), four of the length (big endian), the message. */
void tpu_put_request(struct buf *body, const char *metric_name);
bool tpu_find_message(struct str body, struct str *message);

/* ---- libtpu.so (tpu_sdk.c): all on one thread ---- */

bool tpu_sdk_open(void);
/* What it tells of a metric: `values` has room for TPU_MAX_VALUES; the texts are the library's, until the next
 * call. False if it does not tell. */
bool tpu_sdk_read(const char *name, struct str *description, struct str *values, size_t *n);

#endif
