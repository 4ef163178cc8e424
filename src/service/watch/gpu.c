/* SPDX-License-Identifier: MIT */
#include "service/watch/gpu.h"

#include "record/wire.h"
#include "service/watch/source.h"

#include <string.h>

static void read_nvidia(void *to)
{
    memset(to, 0, sizeof(struct gpu_reading));
    gpu_nvidia_read(to);
}

static void read_amd(void *to)
{
    memset(to, 0, sizeof(struct gpu_reading));
    gpu_amd_read(to);
}

enum { NVIDIA, AMD, N_SOURCES };

static struct source sources[N_SOURCES] = {
    [NVIDIA] = SOURCE(.open = gpu_nvidia_open, .read = read_nvidia, .size = sizeof(struct gpu_reading)),
    [AMD] = SOURCE(.may_be = gpu_amd_may_be, .open = gpu_amd_open, .read = read_amd,
                   .size = sizeof(struct gpu_reading)),
};

/* AMD's behind the `n_others` that NVML told last: their numbers stay where they are when it hangs. */
static void append_amd(struct gpu_reading *to, const struct gpu_reading *amd, int n_others)
{
    int room = GPU_MAX - n_others, n = amd->n_amd < room ? amd->n_amd : room;
    for (int i = 0; i < amd->n_metrics; i++) {
        struct gpu_metric m = amd->metric[i];
        if (m.device >= n)
            continue;
        m.device += n_others;
        gpu_add(to, &m);
    }
    to->first_amd = n_others;
    to->n_amd = n;
    memcpy(to->amd_name, amd->amd_name, sizeof to->amd_name);
    memcpy(to->amd_facts, amd->amd_facts, amd->amd_bytes);
    to->amd_bytes = amd->amd_bytes;
}

bool gpu_read(struct gpu_reading *to, int64_t wait_ns)
{
    sources_lock();
    for (int i = 0; i < N_SOURCES; i++)
        source_ask(&sources[i]);
    for (int i = 0; i < N_SOURCES; i++)
        source_wait(&sources[i], wait_ns);
    const struct gpu_reading *nvidia = source_last(&sources[NVIDIA]), *amd = source_last(&sources[AMD]);
    bool has_nvidia = source_is_fresh(&sources[NVIDIA], wait_ns), has_amd = source_is_fresh(&sources[AMD], wait_ns);
    if (has_nvidia)
        memcpy(to, nvidia, sizeof *to);
    else if (has_amd)
        memset(to, 0, sizeof *to);
    if (has_amd)
        append_amd(to, amd, nvidia ? nvidia->n_gpus : 0);
    sources_unlock();
    return (has_nvidia && to->n_gpus > 0) || (has_amd && to->n_amd > 0);
}

void gpu_add(struct gpu_reading *r, const struct gpu_metric *m)
{
    if (r->n_metrics < GPU_MAX_METRICS)
        r->metric[r->n_metrics++] = *m;
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
    put_text(to, ENV_GPU, r->n_amd > 0 ? r->amd_name : r->facts[0].name);
    put_number(to, ENV_GPU_COUNT, (uint64_t)(r->n_gpus + r->n_amd));
    for (int i = 0; i < r->n_gpus; i++)
        put_gpu(to, &r->facts[i]);
    buf_put_str(to, str_make(r->amd_facts, r->amd_bytes));
    put_text(to, ENV_CUDA_VERSION, r->cuda_version);
}
