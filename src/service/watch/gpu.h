/* SPDX-License-Identifier: MIT */
/* GPUs: NVIDIA's by its libraries, NVML and, where asked for, DCGM, which are opened when the first run asks;
 * AMD's and Intel's by the files of their drivers in /sys.
 *
 * Each may hang, so each is a source of its own (watch/source.h). AMD's are numbered behind NVIDIA's and
 * Intel's behind these, as soon as they are known.
 *
 * TARE_NVML and TARE_DCGM name other libraries than libnvidia-ml.so.1 and libdcgm.so.4. Names of metrics are
 * the peer's (symon/src/gpu_nvidia.rs, gpu_nvidia_dcgm.rs, gpu_amd.rs). */
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
    int n_others;          /* AMD's and Intel's, behind them; of one source: from 0 */
    char other_name[256];  /* of the first of them */
    size_t other_bytes;
    char other_facts[16384]; /* GpuAmdInfos, as fields of an EnvironmentRecord */
    int32_t pids[GPU_MAX][GPU_MAX_PIDS]; /* who uses it */
    int n_pids[GPU_MAX];
    struct gpu_metric metric[GPU_MAX_METRICS];
};

/* Copy readings that are fresh (watch/source.h); one that has not come `wait_ns` after it was asked for is
 * left out. False if there is none. Any thread. */
bool gpu_read(struct gpu_reading *to, int64_t wait_ns);

/* False where it is known that there is none of any kind. Any thread. */
bool gpu_may_be(void);

/* From now on ask DCGM, too: for the service's start. */
void gpu_enable_dcgm(void);

/* Append the GPU fields of an EnvironmentRecord. Any thread. */
void gpu_put_facts(struct buf *to, const struct gpu_reading *r);

/* ---- for the sources ---- */

void gpu_add(struct gpu_reading *r, const struct gpu_metric *m);

/* A file of /sys/class/drm/cardN as text without its line break, or as the number it begins with; false if there is
 * none. */
enum { GPU_CARDS = 64, GPU_FILE = 256 };
bool gpu_card_text(int card, const char *name, char to[GPU_FILE]);
bool gpu_card_number(int card, const char *name, double *v);

/* NVML; called on one thread, with a reading of zeros. False if there is none to be used. */
bool gpu_nvidia_open(void);
void gpu_nvidia_read(struct gpu_reading *to);

/* AMD's cards in /sys: likewise, on another; numbered from 0 here. The first tells in no time where their
 * driver is not there. */
bool gpu_amd_may_be(void);
bool gpu_amd_open(void);
void gpu_amd_read(struct gpu_reading *to);

/* Likewise Intel's, and DCGM's figures of NVIDIA's. */
bool gpu_intel_may_be(void);
bool gpu_intel_open(void);
void gpu_intel_read(struct gpu_reading *to);
bool gpu_dcgm_may_be(void);
bool gpu_dcgm_open(void);
void gpu_dcgm_read(struct gpu_reading *to);

#endif
