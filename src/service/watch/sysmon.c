/* SPDX-License-Identifier: MIT */
#include "service/watch/sysmon.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "record/setting_wire.h"
#include "service/watch/machine.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/statvfs.h>

enum {
    SET_DISABLE_STATS = 10,
    SET_PID = 42,
    SET_DISK_PATHS = 146,
    SET_DISABLE_MACHINE_INFO = 158,
    SET_INTERVAL = 174,
    SET_LABEL = 181,
    SET_TREE = 198,
    SET_NO_CGROUP = 207,
};

enum { STATS_TIMESTAMP = 2, STATS_ITEM = 3, ITEM_KEY = 1, ITEM_VALUE = 16 };

#define MIB 1048576.0
#define GIB 1073741824.0

struct sysmon {
    struct str settings; /* borrowed */
    int32_t pid;
    bool tree, cgroup;
    int64_t interval_ns;
    struct str label;
    struct sysmon_host *first; /* where the counters began; NULL before the first sample */
    int64_t last_ns;           /* monotonic, of the last sample; 0 for none */
    double last_cpu_s;
};

struct sysmon *sysmon_new(struct str settings)
{
    if (settings.n == 0 || setting_wire_bool(settings, SET_DISABLE_STATS) ||
        setting_wire_bool(settings, SET_DISABLE_MACHINE_INFO))
        return NULL;
    struct sysmon *s = xmem_calloc(1, sizeof *s);
    double seconds = setting_wire_double(settings, SET_INTERVAL);
    s->settings = settings;
    s->pid = (int32_t)setting_wire_int(settings, SET_PID);
    s->tree = setting_wire_bool(settings, SET_TREE);
    s->cgroup = !setting_wire_bool(settings, SET_NO_CGROUP);
    s->label = setting_wire_text(settings, SET_LABEL);
    s->interval_ns = seconds > 0 && seconds < 1e6 ? (int64_t)(seconds * 1e9) : SYSMON_DEFAULT_NS;
    if (s->interval_ns < SYSMON_LEAST_NS)
        s->interval_ns = SYSMON_LEAST_NS;
    return s;
}

void sysmon_free(struct sysmon *s)
{
    if (s)
        mem_free(s->first);
    mem_free(s);
}

int64_t sysmon_interval_ns(const struct sysmon *s)
{
    return s->interval_ns;
}

/* The machine as it was at most SYSMON_HOST_NS ago. */
static void shared_host(struct sysmon_host *to, int64_t mono_ns)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct sysmon_host host;
    static int64_t read_ns;
    pthread_mutex_lock(&lock);
    if (read_ns == 0 || mono_ns - read_ns > SYSMON_HOST_NS) {
        sysmon_read_host(&host);
        read_ns = mono_ns;
    }
    *to = host;
    pthread_mutex_unlock(&lock);
}

/* ---- the record ---- */

struct sample {
    const struct sysmon *s;
    struct buf *to;
};

static void put(struct sample *p, const char *key, double v)
{
    AUTO_BUF name = {0}, json = {0};
    buf_puts(&name, key);
    if (p->s->label.n > 0) {
        buf_puts(&name, "/l:");
        buf_put_str(&name, p->s->label);
    }
    json_put_double(&json, v);
    size_t item = wire_buf_begin(p->to, STATS_ITEM);
    wire_buf_bytes(p->to, ITEM_KEY, buf_str(&name));
    wire_buf_bytes(p->to, ITEM_VALUE, buf_str(&json));
    wire_buf_end(p->to, item);
}

static double since(uint64_t now, uint64_t then)
{
    return now > then ? (double)(now - then) : 0;
}

static void put_network(struct sample *p, const struct sysmon_host *h)
{
    const struct sysmon_host *first = p->s->first;
    if (h->has_network) {
        put(p, "network.sent", since(h->sent, first->sent));
        put(p, "network.recv", since(h->received, first->received));
    }
    if (h->has_retransmits)
        put(p, "network.tcpRetransmits", since(h->retransmits, first->retransmits));
}

static const struct sysmon_device *find_device(const struct sysmon_host *h, const char *name)
{
    for (int i = 0; i < h->n_devices; i++)
        if (strcmp(h->device[i].name, name) == 0)
            return &h->device[i];
    return NULL;
}

static void put_device(struct sample *p, const struct sysmon_device *d)
{
    const struct sysmon_device *first = find_device(p->s->first, d->name);
    char key[SYSMON_NAME_MAX + 16];
    snprintf(key, sizeof key, "disk.%s.in", d->name);
    put(p, key, since(d->read_bytes, first ? first->read_bytes : d->read_bytes) / MIB);
    snprintf(key, sizeof key, "disk.%s.out", d->name);
    put(p, key, since(d->written_bytes, first ? first->written_bytes : d->written_bytes) / MIB);
}

/* The device under each path once; all devices if one cannot be told. */
static void put_devices(struct sample *p, const struct sysmon_host *h, char *const *paths, int n_paths)
{
    bool wanted[SYSMON_MAX_DEVICES] = {false};
    for (int i = 0; i < n_paths; i++) {
        char name[SYSMON_NAME_MAX];
        bool known = sysmon_device_of(paths[i], name) && find_device(h, name);
        for (int d = 0; d < h->n_devices; d++)
            wanted[d] |= !known || strcmp(h->device[d].name, name) == 0;
    }
    for (int d = 0; d < h->n_devices; d++)
        if (wanted[d])
            put_device(p, &h->device[d]);
}

static void put_usage(struct sample *p, const char *path)
{
    struct statvfs v;
    AUTO_BUF key = {0};
    if (statvfs(path, &v) != 0)
        return;
    double block = (double)(v.f_frsize ? v.f_frsize : v.f_bsize);
    double used = (double)(v.f_blocks - v.f_bfree) * block, left = (double)v.f_bavail * block;
    buf_printf(&key, "disk.%s.usagePercent", path);
    put(p, buf_z(&key), used + left > 0 ? used / (used + left) * 100 : 0);
    buf_clear(&key);
    buf_printf(&key, "disk.%s.usageGB", path);
    put(p, buf_z(&key), used / GIB);
}

static void put_memory(struct sample *p, const struct sysmon_host *h, const struct sysmon_limits *l)
{
    double total = (double)h->memory_total, available = (double)h->memory_available;
    if (l->memory_bytes > 0) {
        total = (double)l->memory_bytes;
        available = since(l->memory_bytes, l->memory_used_bytes);
    }
    if (total <= 0)
        return;
    put(p, "memory_percent", (total - available) / total * 100);
    put(p, "proc.memory.availableMB", available / MIB);
}

static void put_process(struct sample *p, struct sysmon *s, const struct sysmon_host *h,
                        const struct sysmon_limits *l, int64_t mono_ns)
{
    struct sysmon_process process = {0};
    if (s->pid > 0)
        sysmon_read_process(&process, s->pid, s->tree);
    if (!process.found)
        return;
    double total = (double)(l->memory_bytes ? l->memory_bytes : h->memory_total);
    double cores = l->cpus > 0 ? l->cpus : (double)machine_cores();
    double seconds = (double)(mono_ns - s->last_ns) / 1e9;
    if (s->last_ns > 0 && seconds > 0 && process.cpu_s >= s->last_cpu_s)
        put(p, "cpu", (process.cpu_s - s->last_cpu_s) / seconds * 100 / (cores > 0 ? cores : 1));
    put(p, "proc.memory.rssMB", (double)process.rss_bytes / MIB);
    if (total > 0)
        put(p, "proc.memory.percent", (double)process.rss_bytes / total * 100);
    put(p, "proc.cpu.threads", (double)process.threads);
    s->last_cpu_s = process.cpu_s;
}

/* ---- a sample ---- */

static void put_paths(struct sample *p, struct str settings, const struct sysmon_host *h)
{
    char *paths[16];
    int n = 0;
    struct str path;
    for (size_t at = 0; n < 16 && setting_wire_list(settings, SET_DISK_PATHS, &at, &path);)
        paths[n++] = xmem_strndup(path.p, path.n);
    if (n == 0)
        paths[n++] = xmem_strdup("/");
    put_devices(p, h, paths, n);
    for (int i = 0; i < n; i++) {
        put_usage(p, paths[i]);
        mem_free(paths[i]);
    }
}

static void put_timestamp(struct buf *to, int64_t wall_ns)
{
    size_t mark = wire_buf_begin(to, STATS_TIMESTAMP);
    wire_buf_varint(to, 1, (uint64_t)(wall_ns / 1000000000));
    wire_buf_varint(to, 2, (uint64_t)(wall_ns % 1000000000));
    wire_buf_end(to, mark);
}

void sysmon_sample(struct sysmon *s, int64_t wall_ns, struct buf *record)
{
    int64_t mono_ns = clock_mono_ns();
    struct sysmon_host host;
    struct sysmon_limits limits = {0};
    struct sample p = {s, record};
    size_t before = record->len;
    shared_host(&host, mono_ns);
    if (s->cgroup && s->pid > 0)
        sysmon_read_limits(&limits, s->pid);
    if (!s->first) {
        size_t size = offsetof(struct sysmon_host, device) + (size_t)host.n_devices * sizeof host.device[0];
        s->first = xmem_alloc(size); /* no room for devices that are not there */
        memcpy(s->first, &host, size);
    }
    put_timestamp(record, wall_ns);
    size_t empty = record->len;
    put_network(&p, &host);
    put_memory(&p, &host, &limits);
    put_process(&p, s, &host, &limits, mono_ns);
    put_paths(&p, s->settings, &host);
    s->last_ns = mono_ns;
    if (record->len == empty)
        record->len = before;
}
