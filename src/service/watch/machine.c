/* SPDX-License-Identifier: MIT */
#include "service/watch/machine.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "base/random.h"
#include "record/setting_wire.h"
#include "service/watch/gpu.h"
#include "service/watch/place.h"
#include "service/watch/source.h"
#include "service/watch/tpu.h"
#include "service/watch/trainium.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Of EnvironmentRecord. */
enum {
    OS = 1, PYTHON, STARTED_AT, DOCKER, ARGS, PROGRAM, CODE_PATH, CODE_PATH_LOCAL, GIT, EMAIL, ROOT,
    HOST, USERNAME, EXECUTABLE, COLAB, CPU_COUNT, CPU_COUNT_LOGICAL, GPU, GPU_COUNT, DISK, MEMORY,
    CPU, SLURM = 27, WRITER_ID = 199,
};

/* Of Settings. */
enum {
    SET_ARGS = 1, SET_START_TIME = 41, SET_DISK_PATHS = 146, SET_CPU_COUNT = 194,
    SET_CPU_LOGICAL_COUNT = 195, SET_GPU_COUNT = 196, SET_GPU_TYPE = 197,
};

static const struct {
    uint32_t field, setting;
} texts[] = {
    {OS, 32},       {PYTHON, 34}, {DOCKER, 67}, {PROGRAM, 95},  {CODE_PATH, 96}, {CODE_PATH_LOCAL, 163},
    {EMAIL, 68},    {ROOT, 105},  {HOST, 77},   {USERNAME, 141}, {EXECUTABLE, 13}, {COLAB, 160},
};

void machine_writer_id(char to[WRITER_ID_LEN + 1], int64_t now_ns)
{
    unsigned char b[16];
    random_bytes(b, sizeof b);
    uint64_t ms = (uint64_t)(now_ns / 1000000);
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (40 - 8 * i));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x70);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    for (int i = 0, at = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            to[at++] = '-';
        at += snprintf(to + at, 3, "%02x", b[i]);
    }
}

static void put_text(struct buf *to, uint32_t field, struct str text)
{
    if (text.n > 0)
        wire_buf_bytes(to, field, text);
}

static void put_count(struct buf *to, uint32_t field, uint64_t v)
{
    if (v > 0)
        wire_buf_varint(to, field, v);
}

/* ---- the program ---- */

static void put_started_at(struct buf *to, double seconds)
{
    int64_t us = (int64_t)(seconds * 1e6);
    size_t mark = wire_buf_begin(to, STARTED_AT);
    put_count(to, 1, (uint64_t)(us / 1000000));
    put_count(to, 2, (uint64_t)(us % 1000000 * 1000));
    wire_buf_end(to, mark);
}

static void put_pair(struct buf *to, uint32_t field, struct str a, struct str b)
{
    size_t mark = wire_buf_begin(to, field);
    put_text(to, 1, a);
    put_text(to, 2, b);
    wire_buf_end(to, mark);
}

/* SLURM_JOB_ID=7 becomes job_id: 7. */
static void put_slurm(struct buf *to)
{
    for (char **v = environ; v && *v; v++) {
        const char *equals = strchr(*v, '=');
        if (strncmp(*v, "SLURM_", 6) != 0 || !equals)
            continue;
        char name[256];
        size_t n = (size_t)(equals - *v) - 6;
        if (n > sizeof name)
            continue;
        for (size_t i = 0; i < n; i++)
            name[i] = (char)tolower((unsigned char)(*v)[6 + i]);
        put_pair(to, SLURM, (struct str){name, n}, str_of(equals + 1));
    }
}

void machine_put_program(struct buf *to, struct str settings, struct str_pair git,
                         const char *writer_id)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_text(to, texts[i].field, setting_wire_text(settings, texts[i].setting));
    put_started_at(to, setting_wire_double(settings, SET_START_TIME));
    struct str arg;
    for (size_t at = 0; setting_wire_list(settings, SET_ARGS, &at, &arg);)
        wire_buf_bytes(to, ARGS, arg);
    if (git.remote_url.n > 0 || git.commit.n > 0)
        put_pair(to, GIT, git.remote_url, git.commit);
    put_slurm(to);
    wire_buf_bytes(to, WRITER_ID, str_of(writer_id));
}

/* ---- the machine ---- */

struct cpus {
    uint32_t physical, logical;
    char model[128];
};

static void copy_value(char *to, size_t size, const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon)
        return;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(to, size, "%.*s", (int)strcspn(colon, "\n"), colon);
}

/* Cores are told apart by (physical id, core id); machines that name neither have as many cores
 * as processors. */
static void read_cpuinfo(struct cpus *c)
{
    struct {
        long package, core;
    } seen[4096];
    uint32_t n_seen = 0;
    char line[1024];
    long package = 0;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "physical id", 11) == 0 && strchr(line, ':')) {
            package = strtol(strchr(line, ':') + 1, NULL, 10);
        } else if (strncmp(line, "core id", 7) == 0 && strchr(line, ':')) {
            long core = strtol(strchr(line, ':') + 1, NULL, 10);
            uint32_t i = 0;
            while (i < n_seen && (seen[i].package != package || seen[i].core != core))
                i++;
            if (i == n_seen && n_seen < sizeof seen / sizeof *seen) {
                seen[n_seen].package = package;
                seen[n_seen++].core = core;
            }
        } else if (strncmp(line, "model name", 10) == 0 && !c->model[0]) {
            copy_value(c->model, sizeof c->model, line);
        }
    }
    if (f)
        fclose(f);
    c->physical = n_seen;
}

static struct cpus cpus; /* they do not change: read once */

static void read_cpus(void)
{
    read_cpuinfo(&cpus);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    cpus.logical = online > 0 ? (uint32_t)online : 0;
    if (cpus.physical == 0)
        cpus.physical = cpus.logical;
}

static void know_cpus(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_cpus);
}

uint32_t machine_cores(void)
{
    know_cpus();
    return cpus.physical;
}

uint32_t machine_processors(void)
{
    know_cpus();
    return cpus.logical;
}

static void put_disk(struct buf *to, const char *path)
{
    struct place place;
    if (!place_read(&place, path, SOURCE_FACTS_NS) || !place.has_usage)
        return;
    const struct statvfs *s = &place.usage;
    uint64_t block = s->f_frsize ? s->f_frsize : s->f_bsize;
    size_t entry = wire_buf_begin(to, DISK);
    wire_buf_bytes(to, 1, str_of(path));
    size_t info = wire_buf_begin(to, 2);
    put_count(to, 1, s->f_blocks * block);
    put_count(to, 2, (s->f_blocks - s->f_bfree) * block);
    wire_buf_end(to, info);
    wire_buf_end(to, entry);
}

static void ask_disk(struct buf *to, const char *path)
{
    (void)to;
    place_ask(path);
}

static void each_disk(struct buf *to, struct str settings, void (*call)(struct buf *to, const char *path))
{
    struct str path;
    size_t at = 0, n = 0;
    for (; setting_wire_list(settings, SET_DISK_PATHS, &at, &path); n++) {
        AUTO_FREE char *z = mem_strndup(path.p, path.n);
        if (z)
            call(to, z);
    }
    if (n == 0)
        call(to, "/");
}

static void put_disks(struct buf *to, struct str settings)
{
    each_disk(to, settings, ask_disk);
    each_disk(to, settings, put_disk);
}

static void put_memory(struct buf *to)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page_bytes <= 0)
        return;
    size_t mark = wire_buf_begin(to, MEMORY);
    wire_buf_varint(to, 1, (uint64_t)pages * (uint64_t)page_bytes);
    wire_buf_end(to, mark);
}

static uint64_t or_setting(uint64_t found, struct str settings, uint32_t number)
{
    int64_t set = setting_wire_int(settings, number);
    return set > 0 ? (uint64_t)set : found;
}

/* What the settings say of GPUs stands behind what was found, so that it counts. */
static void put_gpus(struct buf *to, struct str settings, struct str more)
{
    struct gpu_reading *r = xmem_alloc(sizeof *r);
    if (gpu_read(r, SOURCE_FACTS_NS))
        gpu_put_facts(to, r);
    mem_free(r);
    tpu_put_facts(to);
    trainium_ask(settings);
    trainium_put_facts(to, TRAINIUM_FACTS_NS);
    buf_put_str(to, more);
    put_text(to, GPU, setting_wire_text(settings, SET_GPU_TYPE));
    put_count(to, GPU_COUNT, or_setting(0, settings, SET_GPU_COUNT));
}

void machine_put_host(struct buf *to, struct str settings, struct str gpus, const char *writer_id)
{
    know_cpus();
    put_count(to, CPU_COUNT, or_setting(cpus.physical, settings, SET_CPU_COUNT));
    put_count(to, CPU_COUNT_LOGICAL, or_setting(cpus.logical, settings, SET_CPU_LOGICAL_COUNT));
    put_gpus(to, settings, gpus);
    put_disks(to, settings);
    put_memory(to);
    if (cpus.model[0]) {
        size_t mark = wire_buf_begin(to, CPU);
        wire_buf_bytes(to, 3, str_of(cpus.model));
        wire_buf_end(to, mark);
    }
    wire_buf_bytes(to, WRITER_ID, str_of(writer_id));
}
