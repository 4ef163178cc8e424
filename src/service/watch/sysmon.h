/* SPDX-License-Identifier: MIT */
/* System metrics of a run: what the machine and the program's process use, as a StatsRecord every
 * few seconds, under the peer's names (peer: symon/src/host.rs).
 *
 *   cpu                       of the process, percent of the cores it may use
 *   proc.memory.rssMB, .percent, .availableMB, memory_percent, proc.cpu.threads
 *   proc.cpu.throttledPercent, proc.memory.oomKills   of a control group with limits
 *   wandb.cpu, wandb.memory.rssMB                    of the service, where the settings ask for it
 *   gpu.N.*, gpu.process.N.*  gpu.h
 *   tpu.*                     tpu.h
 *   trn.*                     trainium.h
 *   openmetrics.*, and gpu.* of other machines        scrape.h
 *   network.sent, .recv, .tcpRetransmits     since the first sample, bytes
 *   disk.DEVICE.in, .out                     since the first sample, MB
 *   disk.PATH.usagePercent, .usageGB
 *
 * What belongs to the machine and the table of processes are read at most once in SYSMON_HOST_NS for all runs
 * together, a process or control group that several watch once in SYSMON_PROCESS_NS, and paths as watch/place.h says. */
#ifndef TARE_SERVICE_WATCH_SYSMON_H
#define TARE_SERVICE_WATCH_SYSMON_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define SYSMON_HOST_NS (500LL * 1000000)
#define SYSMON_PROCESS_NS (50LL * 1000000) /* less than the least interval */
#define SYSMON_DEFAULT_NS (15LL * 1000000000)
#define SYSMON_FIRST_NS (20LL * 1000000) /* a run that ends sooner has no sample; the peer's comes then */
#define SYSMON_ANSWERS_NS (100LL * 1000000) /* endpoints are given so long for the first one */
#define SYSMON_AHEAD_NS (1000LL * 1000000) /* and asked so long before the others */
#define SYSMON_LEAST_NS (100LL * 1000000)

struct sysmon;

/* `settings` is a serialized Settings message, borrowed. NULL where it switches metrics off or is
 * empty. */
struct sysmon *sysmon_new(struct str settings);
void sysmon_free(struct sysmon *s);

/* Time between two samples. */
int64_t sysmon_interval_ns(const struct sysmon *s);

/* The setting x_label, borrowed from the settings: each key in a sample ends with "/l:LABEL". */
struct str sysmon_label(const struct sysmon *s);

/* Append the fields of a StatsRecord, at its end the StatsItems `more` (watch/scrape.h); nothing if there
 * is nothing to tell. Reads files; one thread at a time for each `s`. */
void sysmon_sample(struct sysmon *s, int64_t wall_ns, struct str more, struct buf *record);

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

enum { SYSMON_MAX_PROCESSES = 32768, SYSMON_MAX_TREE = 1024, SYSMON_GROUP_MAX = 1024 };

/* What /proc/PID/stat tells of one. */
struct sysmon_stat {
    int32_t parent;
    uint64_t ticks, threads, rss_pages;
};

/* Processes of the machine, by their numbers. There may be thousands, so which there are, and whose child each is,
 * is mostly known from before, and what one uses is read only when it is asked for, once in a look:
 * sysmon_table.c. Zeros at first. */
struct sysmon_table {
    struct sysmon_entry {
        int32_t pid;
        int fd;        /* of one that is read again and again; -1: not open */
        uint32_t look; /* the one in which it was read; 0: never */
        bool is_gone;
        struct sysmon_stat stat;
    } *entry;
    int n, cap, n_open;
    uint32_t look, listed;    /* the look at hand, and the last for which processes were listed */
    int n_all;                /* how many there were when all were listed */
    int64_t all_ns;           /* and when that was; 0: never */
    int32_t last, before;     /* the last number the kernel had given in the last listing and in the one before */
    long base;                /* where a number is in /proc, less the number; -1: not known */
};

#define SYSMON_ALL_NS (60LL * 1000000000) /* what should have been noticed before is seen by then */
enum { SYSMON_MAX_OPEN = 64, SYSMON_MANY_NEW = 256 };

/* The control group of a process; it is looked for once. */
struct sysmon_group {
    bool is_limited; /* in memory or in CPUs: else the machine's figures are meant */
    bool has_quota;
    uint64_t memory_bytes; /* 0: no limit */
    double cpus;           /* 0: no limit */
    char dir[SYSMON_GROUP_MAX];
};

struct sysmon_usage {
    bool has_memory, has_throttling, has_oom_kills;
    uint64_t memory_bytes, periods, throttled, oom_kills;
};

enum sysmon_place {
    SYSMON_NOWHERE, /* no path, or no disk: memory */
    SYSMON_UNKNOWN, /* a file system that names no device: an overlay */
    SYSMON_DEVICE,
};

void sysmon_read_host(struct sysmon_host *to);
/* `fd`, if not NULL, is -1 at first; there its file is kept open for the next call, until sysmon_close_process. */
void sysmon_read_process(struct sysmon_process *to, int32_t pid, int *fd);
bool sysmon_read_stat(struct sysmon_stat *to, int32_t pid, int *fd); /* false: it is gone */
void sysmon_add_stat(struct sysmon_process *to, const struct sysmon_stat *stat);
void sysmon_close_process(int *fd);
/* Of a machine with `n_logical` processors. */
void sysmon_find_group(struct sysmon_group *g, int32_t pid, uint32_t n_logical);
void sysmon_read_group(struct sysmon_usage *to, const struct sysmon_group *g);
/* What was read before is old from now on. */
void sysmon_table_look(struct sysmon_table *t);
/* The sum of a process and all below it, at most SYSMON_MAX_TREE; found is whether itself is there. */
void sysmon_read_tree(struct sysmon_process *to, struct sysmon_table *t, int32_t pid);
/* Whether it is `top`, or below it. */
bool sysmon_is_below(struct sysmon_table *t, int32_t pid, int32_t top);
/* Close what is kept open; it is opened again when it is read. */
void sysmon_table_close(struct sysmon_table *t);
void sysmon_table_fini(struct sysmon_table *t);
/* The kernel's name of the device under a path. */
enum sysmon_place sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX]);

#endif
