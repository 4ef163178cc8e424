/* SPDX-License-Identifier: MIT */
/* GPUs, by NVIDIA's library, which is opened when the first run asks, and by AMD's files in /sys.
 *
 * Either may hang, so each is a source of its own (watch/source.h). AMD's are numbered behind NVIDIA's, as
 * soon as these are known.
 *
 * TARE_NVML names another library than libnvidia-ml.so.1. Names of metrics are the peer's
 * (symon/src/gpu_nvidia.rs, gpu_amd.rs). */
#ifndef TARE_SERVICE_WATCH_GPU_H
#define TARE_SERVICE_WATCH_GPU_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { GPU_MAX = 32, GPU_MAX_METRICS = 1024, GPU_MAX_PIDS = 64, GPU_TEXT = 96 };

struct gpu_metric {
    int device;
    const char *name; /* of static storage: "powerWatts" */
    double value;
    bool is_whole; /* written without a fraction */
    bool of_process; /* told again as gpu.process.N.NAME to runs that use the GPU */
};

struct gpu_facts {
    char name[GPU_TEXT], architecture[GPU_TEXT], uuid[GPU_TEXT], pci_bus_id[GPU_TEXT];
    uint64_t memory_bytes;
    uint32_t cuda_cores;
    int32_t numa_node; /* -1: none */
};

struct gpu_reading {
    int n_gpus; /* of NVIDIA's, numbered from 0 */
    int n_metrics;
    char cuda_version[GPU_TEXT];
    struct gpu_facts facts[GPU_MAX]; /* of NVIDIA's */
    int first_amd, n_amd;            /* AMD's: `n_amd` from the number `first_amd` on */
    char amd_name[256];              /* of the first of them */
    size_t amd_bytes;
    char amd_facts[16384]; /* GpuAmdInfos, as fields of an EnvironmentRecord */
    int32_t pids[GPU_MAX][GPU_MAX_PIDS]; /* who uses it */
    int n_pids[GPU_MAX];
    struct gpu_metric metric[GPU_MAX_METRICS];
};

/* Copy readings that are fresh (watch/source.h); one that has not come `wait_ns` after it was asked for is
 * left out. False if there is none. Any thread. */
bool gpu_read(struct gpu_reading *to, int64_t wait_ns);

/* Append the GPU fields of an EnvironmentRecord. Any thread. */
void gpu_put_facts(struct buf *to, const struct gpu_reading *r);

/* ---- for the sources ---- */

void gpu_add(struct gpu_reading *r, const struct gpu_metric *m);

/* NVML; called on one thread, with a reading of zeros. False if there is none to be used. */
bool gpu_nvidia_open(void);
void gpu_nvidia_read(struct gpu_reading *to);

/* AMD's cards in /sys: likewise, on another; numbered from 0 here. The first tells in no time where their
 * driver is not there. */
bool gpu_amd_may_be(void);
bool gpu_amd_open(void);
void gpu_amd_read(struct gpu_reading *to);

#endif
