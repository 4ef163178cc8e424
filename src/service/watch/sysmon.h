/* SPDX-License-Identifier: MIT */
/* System metrics of a run: what the machine and the program's process use, as a StatsRecord every
 * few seconds, under the peer's names (peer: symon/src/host.rs).
 *
 *   cpu                       of the process, percent of the cores it may use
 *   proc.memory.rssMB, .percent, .availableMB, memory_percent, proc.cpu.threads
 *   network.sent, .recv, .tcpRetransmits     since the first sample, bytes
 *   disk.DEVICE.in, .out                     since the first sample, MB
 *   disk.PATH.usagePercent, .usageGB
 *
 * What belongs to the machine is read at most once in SYSMON_HOST_NS for all runs together. */
#ifndef TARE_SERVICE_WATCH_SYSMON_H
#define TARE_SERVICE_WATCH_SYSMON_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define SYSMON_HOST_NS (500LL * 1000000)
#define SYSMON_DEFAULT_NS (15LL * 1000000000)
#define SYSMON_FIRST_NS (1000LL * 1000000) /* runs that end sooner are not worth a sample */
#define SYSMON_LEAST_NS (100LL * 1000000)

struct sysmon;

/* `settings` is a serialized Settings message, borrowed. NULL where it switches metrics off or is
 * empty. */
struct sysmon *sysmon_new(struct str settings);
void sysmon_free(struct sysmon *s);

/* Time between two samples. */
int64_t sysmon_interval_ns(const struct sysmon *s);

/* Append the fields of a StatsRecord; nothing if there is nothing to tell. Reads files; one thread
 * at a time for each `s`. */
void sysmon_sample(struct sysmon *s, int64_t wall_ns, struct buf *record);

/* ---- what the platform shows: sysmon_linux.c, sysmon_none.c ---- */

enum { SYSMON_MAX_DEVICES = 64, SYSMON_NAME_MAX = 48 };

struct sysmon_device {
    char name[SYSMON_NAME_MAX];
    uint64_t read_bytes, written_bytes; /* since the machine started */
};

struct sysmon_host {
    uint64_t memory_total, memory_available; /* bytes; 0 if not known */
    uint64_t sent, received, retransmits;    /* since the machine started */
    bool has_network, has_retransmits;
    int n_devices;
    struct sysmon_device device[SYSMON_MAX_DEVICES];
};

struct sysmon_process {
    bool found;
    uint64_t rss_bytes, threads;
    double cpu_s; /* used since it started */
};

/* 0 where there is no limit. */
struct sysmon_limits {
    uint64_t memory_bytes, memory_used_bytes;
    double cpus;
};

void sysmon_read_host(struct sysmon_host *to);
/* The process, and all below it if `tree`. */
void sysmon_read_process(struct sysmon_process *to, int32_t pid, bool tree);
/* Of the control group that holds the process. */
void sysmon_read_limits(struct sysmon_limits *to, int32_t pid);
/* The kernel's name of the device under a path; false if there is none (an overlay). */
bool sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX]);

#endif
