/* SPDX-License-Identifier: MIT */
#include "service/watch/sysmon.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "record/setting_wire.h"
#include "service/watch/gpu.h"
#include "service/watch/machine.h"
#include "service/watch/place.h"
#include "service/watch/source.h"
#include "service/watch/sysmon_file.h"
#include "service/watch/tpu.h"
#include "service/watch/trainium.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SET_DISABLE_STATS = 10,
    SET_PID = 42,
    SET_DISK_PATHS = 146,
    SET_DISABLE_MACHINE_INFO = 158,
    SET_INTERVAL = 174,
    SET_LABEL = 181,
    SET_GPU_DEVICE_IDS = 186,
    SET_TREE = 198,
    SET_NO_CGROUP = 207,
    SET_SELF_USAGE = 210,
};

enum { MAX_PATHS = 16 /* of disks */, USUAL_BYTES = 1024 /* of a sample */ };

enum { STATS_TIMESTAMP = 2, STATS_ITEM = 3, ITEM_KEY = 1, ITEM_VALUE = 16 };

#define MIB 1048576.0
#define GIB 1073741824.0

struct sysmon {
    struct str settings; /* borrowed */
    int32_t pid;
    bool tree, self;
    struct sysmon_group group;
    int64_t interval_ns;
    struct str label;
    int n_paths;
    char *path[MAX_PATHS];     /* whose disks are told, owned */
    struct sysmon_host *first; /* where the counters began; NULL before the first sample */
    int64_t last_ns;           /* monotonic, of the last sample; 0 for none */
    double last_cpu_s, last_self_cpu_s;
    uint64_t last_periods, last_throttled;
    uint64_t first_oom_kills; /* UINT64_MAX before the first sample */
};

int64_t sysmon_interval_ns(const struct sysmon *s)
{
    return s->interval_ns;
}

struct str sysmon_label(const struct sysmon *s)
{
    return s->label;
}

/* ---- what all runs share ---- */

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_stale(int64_t *read_ns, int64_t mono_ns)
{
    if (*read_ns != 0 && mono_ns - *read_ns <= SYSMON_HOST_NS)
        return false;
    *read_ns = mono_ns;
    return true;
}

/* The machine as it was at most SYSMON_HOST_NS ago. */
static void shared_host(struct sysmon_host *to, int64_t mono_ns)
{
    static struct sysmon_host host;
    static int64_t read_ns;
    pthread_mutex_lock(&shared_lock);
    if (is_stale(&read_ns, mono_ns))
        sysmon_read_host(&host);
    *to = host;
    pthread_mutex_unlock(&shared_lock);
}

/* What the last control group that was asked for uses; it is mostly that of all runs. */
static void shared_usage(struct sysmon_usage *to, const struct sysmon_group *g, int64_t mono_ns)
{
    static struct sysmon_group last;
    static struct sysmon_usage usage;
    static int64_t read_ns;
    if (!g->is_limited) {
        *to = (struct sysmon_usage){0};
        return;
    }
    pthread_mutex_lock(&shared_lock);
    bool same = strcmp(g->dir, last.dir) == 0 && g->has_quota == last.has_quota &&
                (g->memory_bytes > 0) == (last.memory_bytes > 0);
    if (!same || read_ns == 0 || mono_ns - read_ns > SYSMON_PROCESS_NS) {
        last = *g;
        read_ns = mono_ns;
        sysmon_read_group(&usage, g);
    }
    *to = usage;
    pthread_mutex_unlock(&shared_lock);
}

/* Processes as old as that; with the lock. */
static struct sysmon_table *shared_table(int64_t mono_ns)
{
    static struct sysmon_table table;
    static int64_t read_ns;
    if (is_stale(&read_ns, mono_ns))
        sysmon_table_look(&table);
    return &table;
}

static void shared_tree(struct sysmon_process *to, int32_t pid, int64_t mono_ns)
{
    pthread_mutex_lock(&shared_lock);
    sysmon_read_tree(to, shared_table(mono_ns), pid);
    pthread_mutex_unlock(&shared_lock);
}

enum { N_KNOWN_PROCESSES = 64 };

static struct known_process {
    int32_t pid;
    int64_t read_ns; /* 0: nothing is known */
    struct sysmon_process process;
    bool is_open;
    int fd; /* of a process that is read again and again */
} known_processes[N_KNOWN_PROCESSES];

static struct known_process *known_process(int32_t pid)
{
    return &known_processes[(uint32_t)pid % N_KNOWN_PROCESSES];
}

/* Take the open file out, with the lock. */
static int take_open(struct known_process *k)
{
    int fd = k->is_open ? k->fd : -1;
    k->is_open = false;
    return fd;
}

/* A process, likewise. The files are read without the lock: only their own reader may hang with them. */
static void shared_process(struct sysmon_process *to, int32_t pid, int64_t mono_ns)
{
    struct known_process *k = known_process(pid);
    int fd = -1;
    pthread_mutex_lock(&shared_lock);
    bool fresh = k->read_ns != 0 && k->pid == pid && mono_ns - k->read_ns <= SYSMON_PROCESS_NS;
    if (fresh)
        *to = k->process;
    else if (k->pid == pid)
        fd = take_open(k);
    pthread_mutex_unlock(&shared_lock);
    if (fresh)
        return;
    bool was_open = fd >= 0;
    sysmon_read_process(to, pid, &fd);
    if (fd >= 0 && !was_open && !sysmon_may_keep())
        sysmon_close_process(&fd);
    pthread_mutex_lock(&shared_lock);
    int old = take_open(k);
    k->pid = pid;
    k->read_ns = mono_ns;
    k->process = *to;
    k->is_open = fd >= 0;
    k->fd = fd;
    pthread_mutex_unlock(&shared_lock);
    sysmon_close_process(&old);
}

static void forget_process(int32_t pid)
{
    struct known_process *k = known_process(pid);
    int fd = -1;
    pthread_mutex_lock(&shared_lock);
    if (k->pid == pid) {
        fd = take_open(k);
        k->read_ns = 0;
    }
    sysmon_table_close(shared_table(clock_mono_ns())); /* the runs that go on open theirs again */
    pthread_mutex_unlock(&shared_lock);
    sysmon_close_process(&fd);
}

/* ---- their life ---- */

static void find_paths(struct sysmon *s)
{
    struct str path;
    for (size_t at = 0; s->n_paths < MAX_PATHS && setting_wire_list(s->settings, SET_DISK_PATHS, &at, &path);)
        s->path[s->n_paths++] = xmem_strndup(path.p, path.n);
    if (s->n_paths == 0)
        s->path[s->n_paths++] = xmem_strdup("/");
}

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
    s->self = setting_wire_bool(settings, SET_SELF_USAGE);
    s->first_oom_kills = UINT64_MAX;
    s->label = setting_wire_text(settings, SET_LABEL);
    s->interval_ns = seconds > 0 && seconds < 1e6 ? (int64_t)(seconds * 1e9) : SYSMON_DEFAULT_NS;
    if (s->interval_ns < SYSMON_LEAST_NS)
        s->interval_ns = SYSMON_LEAST_NS;
    find_paths(s);
    return s;
}

void sysmon_free(struct sysmon *s)
{
    if (!s)
        return;
    forget_process(s->pid);
    for (int i = 0; i < s->n_paths; i++)
        mem_free(s->path[i]);
    mem_free(s->first);
    mem_free(s);
}

/* ---- the record ---- */

struct sample {
    const struct sysmon *s;
    int64_t mono_ns;
    struct buf *to, name, json; /* the last two are scratch */
};

/* Of keys in three parts the middle one is a name from elsewhere. */
static void put_json_of(struct sample *p, const char *kind, const char *name, const char *what, struct str json)
{
    buf_clear(&p->name);
    buf_puts(&p->name, kind);
    buf_puts(&p->name, name);
    buf_puts(&p->name, what);
    if (p->s->label.n > 0) {
        buf_puts(&p->name, "/l:");
        buf_put_str(&p->name, p->s->label);
    }
    size_t item = wire_buf_begin(p->to, STATS_ITEM);
    wire_buf_bytes(p->to, ITEM_KEY, buf_str(&p->name));
    wire_buf_bytes(p->to, ITEM_VALUE, json);
    wire_buf_end(p->to, item);
}

static void put_json(struct sample *p, const char *key, struct str json)
{
    put_json_of(p, key, "", "", json);
}

static void put_of(struct sample *p, const char *kind, const char *name, const char *what, double v)
{
    buf_clear(&p->json);
    json_put_double(&p->json, v);
    put_json_of(p, kind, name, what, buf_str(&p->json));
}

static void put(struct sample *p, const char *key, double v)
{
    put_of(p, key, "", "", v);
}

/* How long the sample waits for what may hang. */
static int64_t wait_ns(const struct sysmon *s)
{
    return s->last_ns == 0 ? SOURCE_FIRST_NS : SOURCE_SAMPLE_NS;
}

/* StatsItems of others. */
static void put_more(struct sample *p, struct str items)
{
    struct wire_reader r = wire_open(items);
    struct wire_field f = {0};
    AUTO_BUF key = {0};
    while (wire_next(&r, &f) > 0) {
        buf_clear(&key);
        buf_put_str(&key, wire_find_bytes(f.bytes, ITEM_KEY));
        const char *z = buf_z(&key);
        if (z)
            put_json(p, z, wire_find_bytes(f.bytes, ITEM_VALUE));
    }
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
    put_of(p, "disk.", d->name, ".in", since(d->read_bytes, first ? first->read_bytes : d->read_bytes) / MIB);
    put_of(p, "disk.", d->name, ".out", since(d->written_bytes, first ? first->written_bytes : d->written_bytes) / MIB);
}

/* The devices on the way to a path; all there are where one cannot be told. */
static void want_devices(bool *wanted, const struct sysmon_host *h, const struct place *place)
{
    bool all = place->has_unknown;
    for (int i = 0; i < place->n_devices; i++) {
        const struct sysmon_device *d = find_device(h, place->device[i]);
        if (d)
            wanted[d - h->device] = true;
        all |= !d;
    }
    for (int d = 0; d < h->n_devices && all; d++)
        wanted[d] = true;
}

static void put_usage(struct sample *p, const char *path, const struct place *place)
{
    if (!place->has_usage)
        return;
    const struct statvfs *v = &place->usage;
    double block = (double)(v->f_frsize ? v->f_frsize : v->f_bsize);
    double used = (double)(v->f_blocks - v->f_bfree) * block, left = (double)v->f_bavail * block;
    put_of(p, "disk.", path, ".usagePercent", used + left > 0 ? used / (used + left) * 100 : 0);
    put_of(p, "disk.", path, ".usageGB", used / GIB);
}

/* What the program may use, where a control group says less than the machine has. The number of
 * bytes that percentages of memory are of. */
static double put_memory(struct sample *p, const struct sysmon_host *h, const struct sysmon_usage *u)
{
    double total = (double)h->memory_total, available = (double)h->memory_available;
    if (u->has_memory) {
        total = (double)p->s->group.memory_bytes;
        available = since(p->s->group.memory_bytes, u->memory_bytes);
    }
    if (total <= 0)
        return 0;
    put(p, "memory_percent", (u->has_memory ? (double)u->memory_bytes : total - available) / total * 100);
    put(p, "proc.memory.availableMB", available / MIB);
    return total;
}

static void put_group(struct sample *p, struct sysmon *s, const struct sysmon_usage *u)
{
    if (u->has_throttling) {
        if (s->last_periods > 0 && u->periods > s->last_periods && u->throttled >= s->last_throttled)
            put(p, "proc.cpu.throttledPercent",
                since(u->throttled, s->last_throttled) / since(u->periods, s->last_periods) * 100);
        s->last_periods = u->periods;
        s->last_throttled = u->throttled;
    }
    if (u->has_oom_kills) {
        if (u->oom_kills < s->first_oom_kills)
            s->first_oom_kills = u->oom_kills;
        put(p, "proc.memory.oomKills", since(u->oom_kills, s->first_oom_kills));
    }
}

/* CPU time used since the last sample, in percent of what may be used. */
static void put_cpu(struct sample *p, const char *key, double used_s, double *last_s, int64_t mono_ns)
{
    const struct sysmon *s = p->s;
    double cores = s->group.cpus > 0 ? s->group.cpus : (double)machine_cores();
    double seconds = (double)(mono_ns - s->last_ns) / 1e9;
    if (s->last_ns > 0 && seconds > 0 && used_s >= *last_s)
        put(p, key, (used_s - *last_s) / seconds * 100 / (cores > 0 ? cores : 1));
    *last_s = used_s;
}

static void put_process(struct sample *p, struct sysmon *s, double memory_bytes, int64_t mono_ns)
{
    struct sysmon_process process = {0};
    if (s->pid > 0 && s->tree)
        shared_tree(&process, s->pid, mono_ns);
    else if (s->pid > 0)
        shared_process(&process, s->pid, mono_ns);
    if (!process.found)
        return;
    put_cpu(p, "cpu", process.cpu_s, &s->last_cpu_s, mono_ns);
    put(p, "proc.memory.rssMB", (double)process.rss_bytes / MIB);
    if (memory_bytes > 0)
        put(p, "proc.memory.percent", (double)process.rss_bytes / memory_bytes * 100);
    put(p, "proc.cpu.threads", (double)process.threads);
}

/* The service: the peer's is two processes, so there it sums them. */
static void put_self(struct sample *p, struct sysmon *s, int64_t mono_ns)
{
    struct sysmon_process process;
    shared_process(&process, getpid(), mono_ns);
    if (!process.found)
        return;
    put_cpu(p, "wandb.cpu", process.cpu_s, &s->last_self_cpu_s, mono_ns);
    put(p, "wandb.memory.rssMB", (double)process.rss_bytes / MIB);
}

/* ---- GPUs ---- */

/* Whether the setting x_stats_gpu_device_ids names the device, or none. */
static bool is_watched(const struct sysmon *s, int device)
{
    struct str ids = wire_find_bytes(s->settings, SET_GPU_DEVICE_IDS);
    struct wire_reader r = wire_open(ids);
    struct wire_field f = {0};
    bool any = false;
    while (wire_next(&r, &f) > 0) {
        struct wire_reader packed = wire_open(f.type == WIRE_BYTES ? f.bytes : STR(""));
        uint64_t id = f.value;
        for (bool is_one = f.type != WIRE_BYTES; is_one || wire_get_varint(&packed, &id); is_one = false) {
            any = true;
            if ((int32_t)id == device)
                return true;
        }
    }
    return !any;
}

/* Whether the run's process uses the device, or one below it. */
static bool is_used(const struct gpu_reading *r, int device, int32_t pid, int64_t mono_ns)
{
    bool used = false;
    pthread_mutex_lock(&shared_lock);
    struct sysmon_table *table = shared_table(mono_ns);
    for (int i = 0; i < r->n_pids[device] && pid > 0 && !used; i++)
        used = sysmon_is_below(table, r->pids[device][i], pid);
    pthread_mutex_unlock(&shared_lock);
    return used;
}

static void put_gpu_metric(struct sample *p, const struct gpu_metric *m, bool used)
{
    AUTO_BUF json = {0};
    char key[96];
    if (m->is_whole)
        buf_printf(&json, "%.0f", m->value);
    else
        json_put_double(&json, m->value);
    snprintf(key, sizeof key, "gpu.%d.%s", m->device, m->name);
    put_json(p, key, buf_str(&json));
    snprintf(key, sizeof key, "gpu.process.%d.%s", m->device, m->name);
    if (used && m->of_process)
        put_json(p, key, buf_str(&json));
}

static void put_gpus(struct sample *p, int64_t mono_ns)
{
    if (!gpu_may_be())
        return;
    struct gpu_reading *r = xmem_alloc(sizeof *r);
    bool watched[GPU_MAX], used[GPU_MAX];
    bool there = gpu_read(r, wait_ns(p->s));
    for (int d = 0; there && d < GPU_MAX; d++) {
        watched[d] = is_watched(p->s, d);
        used[d] = is_used(r, d, p->s->pid, mono_ns);
    }
    for (int i = 0; there && i < r->n_metrics; i++)
        if (watched[r->metric[i].device])
            put_gpu_metric(p, &r->metric[i], used[r->metric[i].device]);
    mem_free(r);
}

static void put_tpus(struct sample *p)
{
    AUTO_BUF items = {0};
    tpu_read(&items, wait_ns(p->s));
    put_more(p, buf_str(&items));
}

static void put_trainium(void *p, const char *key, double v)
{
    put(p, key, v);
}

/* ---- a sample ---- */

/* Their threads look while the rest of the sample is taken. */
static void ask_paths(const struct sysmon *s)
{
    for (int i = 0; i < s->n_paths; i++)
        place_ask(s->path[i]);
}

static void put_paths(struct sample *p, const struct sysmon_host *h)
{
    const struct sysmon *s = p->s;
    struct place places[MAX_PATHS];
    bool wanted[SYSMON_MAX_DEVICES] = {false};
    for (int i = 0; i < s->n_paths; i++) {
        if (place_read(&places[i], s->path[i], wait_ns(s)))
            want_devices(wanted, h, &places[i]);
        else
            places[i].has_usage = false;
    }
    for (int d = 0; d < h->n_devices; d++)
        if (wanted[d])
            put_device(p, &h->device[d]);
    for (int i = 0; i < s->n_paths; i++)
        put_usage(p, s->path[i], &places[i]);
}

static void put_timestamp(struct buf *to, int64_t wall_ns)
{
    size_t mark = wire_buf_begin(to, STATS_TIMESTAMP);
    wire_buf_varint(to, 1, (uint64_t)(wall_ns / 1000000000));
    wire_buf_varint(to, 2, (uint64_t)(wall_ns % 1000000000));
    wire_buf_end(to, mark);
}

void sysmon_sample(struct sysmon *s, int64_t wall_ns, struct str more, struct buf *record)
{
    int64_t mono_ns = clock_mono_ns();
    struct sysmon_host host;
    struct sysmon_usage usage;
    struct sample p = {.s = s, .mono_ns = mono_ns, .to = record};
    size_t before = record->len;
    buf_reserve(record, USUAL_BYTES);
    ask_paths(s);
    shared_host(&host, mono_ns);
    if (s->last_ns == 0 && !setting_wire_bool(s->settings, SET_NO_CGROUP))
        sysmon_find_group(&s->group, s->pid > 0 ? s->pid : getpid(), machine_processors());
    shared_usage(&usage, &s->group, mono_ns);
    if (!s->first) {
        size_t size = offsetof(struct sysmon_host, device) + (size_t)host.n_devices * sizeof host.device[0];
        s->first = xmem_alloc(size); /* no room for devices that are not there */
        memcpy(s->first, &host, size);
    }
    put_timestamp(record, wall_ns);
    size_t empty = record->len;
    put_gpus(&p, mono_ns);
    put_tpus(&p);
    trainium_ask(s->settings);
    trainium_read(s->pid, put_trainium, &p);
    put_network(&p, &host);
    double memory_bytes = put_memory(&p, &host, &usage);
    put_group(&p, s, &usage);
    put_process(&p, s, memory_bytes, mono_ns);
    if (s->self)
        put_self(&p, s, mono_ns);
    put_paths(&p, &host);
    put_more(&p, more);
    s->last_ns = mono_ns;
    buf_fini(&p.name);
    buf_fini(&p.json);
    if (record->len == empty)
        record->len = before;
}
