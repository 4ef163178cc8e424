/* SPDX-License-Identifier: MIT */
#include "service/watch/gpu.h"

#include "record/wire.h"
#include "service/watch/source.h"
#include "service/watch/sysmon_file.h"

#include <stdlib.h>
#include <string.h>

#define READER(maker)                                                                                 \
    static void read_##maker(struct source *s, void *to)                                              \
    {                                                                                                 \
        memset(to, 0, sizeof(struct gpu_reading));                                                    \
        gpu_##maker##_read(to);                                                                       \
    }
READER(nvidia)
READER(dcgm)
READER(amd)
READER(intel)

enum { NVIDIA, DCGM, AMD, INTEL, N_SOURCES };

#define READING sizeof(struct gpu_reading)

static struct source sources[N_SOURCES] = {
    [NVIDIA] = {.open = gpu_nvidia_open, .read = read_nvidia, .size = READING},
    [DCGM] = {.may_be = gpu_dcgm_may_be, .open = gpu_dcgm_open, .read = read_dcgm, .size = READING},
    [AMD] = {.may_be = gpu_amd_may_be, .open = gpu_amd_open, .read = read_amd, .size = READING},
    [INTEL] = {.may_be = gpu_intel_may_be, .open = gpu_intel_open, .read = read_intel, .size = READING},
};

/* ---- one reading of them all: with the lock ---- */

static bool has_metric(const struct gpu_reading *r, const struct gpu_metric *m, int n)
{
    for (int i = 0; i < n; i++)
        if (r->metric[i].device == m->device && strcmp(r->metric[i].name, m->name) == 0)
            return true;
    return false;
}

/* What NVML has told already by the GPU's own counters stands. */
static void add_dcgm(struct gpu_reading *to, const struct gpu_reading *dcgm)
{
    int n_told = to->n_metrics;
    for (int i = 0; i < dcgm->n_metrics; i++)
        if (!has_metric(to, &dcgm->metric[i], n_told))
            gpu_add(to, &dcgm->metric[i]);
}

/* Behind the `first` GPUs of others, as they told last: numbers stay where they are when one hangs. */
static void append(struct gpu_reading *to, const struct gpu_reading *more, int first)
{
    int room = GPU_MAX - first, n = more->n_others < room ? more->n_others : room;
    for (int i = 0; i < more->n_metrics; i++) {
        struct gpu_metric m = more->metric[i];
        if (m.device >= n)
            continue;
        m.device += first;
        gpu_add(to, &m);
    }
    to->n_others += n;
    if (!*to->other_name)
        memcpy(to->other_name, more->other_name, sizeof to->other_name);
    if (to->other_bytes == 0) {
        memcpy(to->other_facts, more->other_facts, more->other_bytes);
        to->other_bytes = more->other_bytes;
    }
}

static int count_of(const struct gpu_reading *r)
{
    return r ? r->n_gpus + r->n_others : 0;
}

bool gpu_may_be(void)
{
    bool any = false;
    sources_lock();
    for (int i = 0; i < N_SOURCES; i++)
        any |= sources[i].state != SOURCE_ABSENT;
    sources_unlock();
    return any;
}

bool gpu_read(struct gpu_reading *to, int64_t wait_ns)
{
    const struct gpu_reading *last[N_SOURCES];
    bool fresh[N_SOURCES], any = false;
    sources_lock();
    for (int i = 0; i < N_SOURCES; i++)
        source_ask(&sources[i]);
    for (int i = 0; i < N_SOURCES; i++)
        source_wait(&sources[i], wait_ns);
    for (int i = 0; i < N_SOURCES; i++) {
        last[i] = source_last(&sources[i]);
        any |= fresh[i] = source_is_fresh(&sources[i], wait_ns);
    }
    if (fresh[NVIDIA])
        memcpy(to, last[NVIDIA], sizeof *to);
    else if (any)
        memset(to, 0, sizeof *to);
    if (fresh[DCGM])
        add_dcgm(to, last[DCGM]);
    if (fresh[AMD])
        append(to, last[AMD], count_of(last[NVIDIA]));
    if (fresh[INTEL])
        append(to, last[INTEL], count_of(last[NVIDIA]) + count_of(last[AMD]));
    sources_unlock();
    return any && (to->n_gpus + to->n_others > 0 || to->n_metrics > 0);
}

void gpu_add(struct gpu_reading *r, const struct gpu_metric *m)
{
    if (r->n_metrics < GPU_MAX_METRICS)
        r->metric[r->n_metrics++] = *m;
}

bool gpu_card_text(int card, const char *name, char to[GPU_FILE])
{
    if (!sysmon_read_text(to, GPU_FILE, "/sys/class/drm/card%d/%s", card, name))
        return false;
    to[strcspn(to, "\n")] = 0;
    return true;
}

bool gpu_card_number(int card, const char *name, double *v)
{
    char text[GPU_FILE], *end;
    if (!gpu_card_text(card, name, text))
        return false;
    *v = strtod(text, &end);
    return end != text;
}

/* ---- facts: of EnvironmentRecord and GpuNvidiaInfo ---- */

enum { ENV_GPU = 18, ENV_GPU_COUNT = 19, ENV_GPU_NVIDIA = 24, ENV_CUDA_VERSION = 25 };
enum { INFO_NAME = 1, INFO_MEMORY, INFO_CORES, INFO_ARCHITECTURE, INFO_UUID, INFO_PCI, INFO_NUMA };

static void put_text(struct buf *to, uint32_t field, const char *text)
{
    if (*text)
        wire_buf_bytes(to, field, str_of(text));
}

static void put_number(struct buf *to, uint32_t field, uint64_t v)
{
    if (v > 0)
        wire_buf_varint(to, field, v);
}

static void put_gpu(struct buf *to, const struct gpu_facts *f)
{
    size_t mark = wire_buf_begin(to, ENV_GPU_NVIDIA);
    put_text(to, INFO_NAME, f->name);
    put_number(to, INFO_MEMORY, f->memory_bytes);
    put_number(to, INFO_CORES, f->cuda_cores);
    put_text(to, INFO_ARCHITECTURE, f->architecture);
    put_text(to, INFO_UUID, f->uuid);
    put_text(to, INFO_PCI, f->pci_bus_id);
    if (f->numa_node >= 0)
        wire_buf_varint(to, INFO_NUMA, (uint64_t)f->numa_node);
    wire_buf_end(to, mark);
}

void gpu_put_facts(struct buf *to, const struct gpu_reading *r)
{
    /* the peer's last word is AMD's; of Intel's it knows nothing */
    put_text(to, ENV_GPU, r->other_bytes > 0 || r->n_gpus == 0 ? r->other_name : r->facts[0].name);
    put_number(to, ENV_GPU_COUNT, (uint64_t)(r->n_gpus + r->n_others));
    for (int i = 0; i < r->n_gpus; i++)
        put_gpu(to, &r->facts[i]);
    buf_put_str(to, str_make(r->other_facts, r->other_bytes));
    put_text(to, ENV_CUDA_VERSION, r->cuda_version);
}
