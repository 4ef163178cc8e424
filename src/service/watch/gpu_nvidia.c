/* SPDX-License-Identifier: MIT */
/* NVIDIA's management library (NVML). Its types and numbers are those of nvml.h, API version 12; a
 * function that a driver lacks, and a figure that a GPU has failed to give once, are left out (the
 * peer does so too: asking again is dear). */
#include "service/watch/gpu.h"
#include "service/watch/sysmon_file.h"

#include "base/clock.h"
#include "base/diag.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0

typedef void *nvml_device;

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_utilization {
    unsigned gpu, memory;
};

struct nvml_pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml_process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

struct nvml_gpm_metric {
    unsigned id;
    int rc;
    double value;
    const char *short_name, *long_name, *unit;
};

enum { GPM_VERSION = 1, GPM_ROOM = 512 /* more than any version's array has */ };

struct nvml_gpm {
    unsigned version, n_metrics;
    void *before, *after;
    struct nvml_gpm_metric metric[GPM_ROOM];
};

struct nvml_gpm_support {
    unsigned version, supported;
};

/* Every function that is called; all return 0 for success. The first ones are needed. */
static struct {
    int (*init)(void);
    int (*cuda_version)(int *);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, nvml_device *);
    int (*name)(nvml_device, char *, unsigned);
    int (*uuid)(nvml_device, char *, unsigned);
    int (*cores)(nvml_device, unsigned *);
    int (*architecture)(nvml_device, unsigned *);
    int (*pci)(nvml_device, struct nvml_pci *);
    int (*utilization)(nvml_device, struct nvml_utilization *);
    int (*memory)(nvml_device, struct nvml_memory *);
    int (*temperature)(nvml_device, int, unsigned *);
    int (*power)(nvml_device, unsigned *);
    int (*power_limit)(nvml_device, unsigned *);
    int (*energy)(nvml_device, unsigned long long *);
    int (*clock)(nvml_device, int, unsigned *);
    int (*errors)(nvml_device, int, int, int, unsigned long long *);
    int (*fan)(nvml_device, unsigned, unsigned *);
    int (*pcie)(nvml_device, int, unsigned *);
    int (*compute)(nvml_device, unsigned *, struct nvml_process *);
    int (*graphics)(nvml_device, unsigned *, struct nvml_process *);
    int (*gpm_support)(nvml_device, struct nvml_gpm_support *);
    int (*gpm_alloc)(void **);
    int (*gpm_sample)(nvml_device, void *);
    int (*gpm_metrics)(struct nvml_gpm *);
} nvml;

static const struct {
    void *to;
    const char *name;
} functions[] = {
    {&nvml.init, "nvmlInit_v2"},
    {&nvml.cuda_version, "nvmlSystemGetCudaDriverVersion_v2"},
    {&nvml.count, "nvmlDeviceGetCount_v2"},
    {&nvml.by_index, "nvmlDeviceGetHandleByIndex_v2"},
    {&nvml.name, "nvmlDeviceGetName"},
    {&nvml.uuid, "nvmlDeviceGetUUID"},
    {&nvml.cores, "nvmlDeviceGetNumGpuCores"},
    {&nvml.architecture, "nvmlDeviceGetArchitecture"},
    {&nvml.pci, "nvmlDeviceGetPciInfo_v3"},
    {&nvml.utilization, "nvmlDeviceGetUtilizationRates"},
    {&nvml.memory, "nvmlDeviceGetMemoryInfo"},
    {&nvml.temperature, "nvmlDeviceGetTemperature"},
    {&nvml.power, "nvmlDeviceGetPowerUsage"},
    {&nvml.power_limit, "nvmlDeviceGetEnforcedPowerLimit"},
    {&nvml.energy, "nvmlDeviceGetTotalEnergyConsumption"},
    {&nvml.clock, "nvmlDeviceGetClockInfo"},
    {&nvml.errors, "nvmlDeviceGetMemoryErrorCounter"},
    {&nvml.fan, "nvmlDeviceGetFanSpeed_v2"},
    {&nvml.pcie, "nvmlDeviceGetPcieThroughput"},
    {&nvml.compute, "nvmlDeviceGetComputeRunningProcesses_v3"},
    {&nvml.graphics, "nvmlDeviceGetGraphicsRunningProcesses_v3"},
    {&nvml.gpm_support, "nvmlGpmQueryDeviceSupport"},
    {&nvml.gpm_alloc, "nvmlGpmSampleAlloc"},
    {&nvml.gpm_sample, "nvmlGpmSampleGet"},
    {&nvml.gpm_metrics, "nvmlGpmMetricsGet"},
};

enum { N_NEEDED = 4, GPM_LEAST_NS = 100 * 1000000 };

/* What is kept of a GPU between readings. */
static struct gpu {
    struct gpu_facts facts;
    uint32_t failed; /* a bit for each figure that it does not give */
    bool has_gpm;
    void *gpm[2]; /* two samples, the last one first */
    int64_t gpm_ns;
} gpus[GPU_MAX];

static unsigned n_gpus;
static char cuda_version[GPU_TEXT];

/* ---- opening ---- */

static void read_numa_node(struct gpu_facts *f, const struct nvml_pci *p)
{
    char text[32];
    if (!sysmon_read_text(text, sizeof text, "/sys/bus/pci/devices/%04x:%02x:%02x.0/numa_node", p->domain,
                          p->bus, p->device))
        return;
    f->numa_node = isdigit((unsigned char)text[0]) ? (int32_t)strtol(text, NULL, 10) : -1;
}

static const char *architecture_name(unsigned n)
{
    static const char *const names[] = {[2] = "Kepler", "Maxwell", "Pascal", "Volta", "Turing",
                                        "Ampere",       "Ada",     "Hopper", "Blackwell"};
    return n >= 2 && n < sizeof names / sizeof *names ? names[n] : "Unknown";
}

static void read_facts(struct gpu *g, nvml_device d)
{
    struct gpu_facts *f = &g->facts;
    struct nvml_pci pci = {0};
    unsigned n;
    if (nvml.name && nvml.name(d, f->name, sizeof f->name) != 0)
        f->name[0] = 0;
    if (nvml.uuid && nvml.uuid(d, f->uuid, sizeof f->uuid) != 0)
        f->uuid[0] = 0;
    if (nvml.cores && nvml.cores(d, &n) == 0)
        f->cuda_cores = n;
    if (nvml.architecture && nvml.architecture(d, &n) == 0)
        snprintf(f->architecture, sizeof f->architecture, "%s", architecture_name(n));
    if (nvml.pci && nvml.pci(d, &pci) == 0) {
        snprintf(f->pci_bus_id, sizeof f->pci_bus_id, "%.31s", pci.bus_id);
        read_numa_node(f, &pci);
    }
    f->name[GPU_TEXT - 1] = f->uuid[GPU_TEXT - 1] = 0;
}

static void open_gpm(struct gpu *g, nvml_device d)
{
    struct nvml_gpm_support s = {.version = GPM_VERSION};
    g->has_gpm = nvml.gpm_support && nvml.gpm_alloc && nvml.gpm_sample && nvml.gpm_metrics &&
                 nvml.gpm_support(d, &s) == 0 && s.supported && nvml.gpm_alloc(&g->gpm[0]) == 0 &&
                 nvml.gpm_alloc(&g->gpm[1]) == 0;
}

static bool load(void)
{
    const char *set = getenv("TARE_NVML");
    void *lib = dlopen(set && *set ? set : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return false;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(lib, functions[i].name);
        memcpy(functions[i].to, &found, sizeof found);
        if (!found && i < N_NEEDED)
            return false;
    }
    return true;
}

bool gpu_nvidia_open(void)
{
    int rc, version = 0;
    nvml_device d;
    if (!load())
        return false;
    if ((rc = nvml.init()) != 0 || (rc = nvml.cuda_version(&version)) != 0 ||
        (rc = nvml.count(&n_gpus)) != 0) {
        diag_warn("gpu: NVML gives error %d: no figures of GPUs", rc);
        return false;
    }
    snprintf(cuda_version, sizeof cuda_version, "%d.%d", version / 1000, version % 1000 / 10);
    if (n_gpus > GPU_MAX)
        n_gpus = GPU_MAX;
    for (unsigned i = 0; i < n_gpus; i++) {
        gpus[i].facts.numa_node = -1;
        if (nvml.by_index(i, &d) != 0)
            continue;
        read_facts(&gpus[i], d);
        open_gpm(&gpus[i], d);
    }
    return n_gpus > 0;
}

/* ---- reading ---- */

enum figure { UTILIZATION, MEMORY, TEMPERATURE, POWER, POWER_LIMIT, ENERGY, SM_CLOCK, MEMORY_CLOCK,
              CORRECTED, UNCORRECTED, FAN, PCIE };

struct read {
    struct gpu_reading *to;
    struct gpu *gpu;
    nvml_device device;
    int index;
};

/* Whether to ask for a figure at all. */
static bool wants(const struct read *r, enum figure f, bool has_function)
{
    return has_function && !(r->gpu->failed & 1u << f);
}

static bool worked(struct read *r, enum figure f, int rc)
{
    if (rc != 0)
        r->gpu->failed |= 1u << f;
    return rc == 0;
}

static void put(struct read *r, const char *name, double v, bool is_whole, bool of_process)
{
    gpu_add(r->to, &(struct gpu_metric){r->index, name, v, is_whole, of_process});
}

static void read_use(struct read *r)
{
    struct nvml_utilization u;
    struct nvml_memory m;
    unsigned celsius;
    if (wants(r, UTILIZATION, nvml.utilization) && worked(r, UTILIZATION, nvml.utilization(r->device, &u))) {
        put(r, "gpu", u.gpu, false, true);
        put(r, "memory", u.memory, true, true);
    }
    if (wants(r, MEMORY, nvml.memory) && worked(r, MEMORY, nvml.memory(r->device, &m))) {
        r->to->facts[r->index].memory_bytes = m.total;
        put(r, "memoryAllocated", m.total ? (double)m.used / (double)m.total * 100 : 0, false, true);
        put(r, "memoryAllocatedBytes", (double)m.used, true, true);
    }
    if (wants(r, TEMPERATURE, nvml.temperature) && worked(r, TEMPERATURE, nvml.temperature(r->device, 0, &celsius)))
        put(r, "temp", celsius, false, true);
}

static void read_power(struct read *r)
{
    unsigned mw, limit_mw;
    unsigned long long mj;
    if (wants(r, POWER, nvml.power) && worked(r, POWER, nvml.power(r->device, &mw))) {
        put(r, "powerWatts", mw / 1000.0, false, true);
        if (wants(r, POWER_LIMIT, nvml.power_limit) &&
            worked(r, POWER_LIMIT, nvml.power_limit(r->device, &limit_mw))) {
            put(r, "enforcedPowerLimitWatts", limit_mw / 1000.0, false, true);
            put(r, "powerPercent", limit_mw ? (double)mw / limit_mw * 100 : 0, false, true);
        }
    }
    if (wants(r, ENERGY, nvml.energy) && worked(r, ENERGY, nvml.energy(r->device, &mj)))
        put(r, "energyJoules", (double)mj / 1000, false, false);
}

static void read_clocks(struct read *r)
{
    enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };
    unsigned mhz;
    if (wants(r, SM_CLOCK, nvml.clock) && worked(r, SM_CLOCK, nvml.clock(r->device, CLOCK_SM, &mhz)))
        put(r, "smClock", mhz, true, false);
    if (wants(r, MEMORY_CLOCK, nvml.clock) && worked(r, MEMORY_CLOCK, nvml.clock(r->device, CLOCK_MEMORY, &mhz)))
        put(r, "memoryClock", mhz, true, false);
}

static void read_health(struct read *r)
{
    enum { VOLATILE = 0, DEVICE_MEMORY = 2 };
    unsigned long long n;
    unsigned percent;
    if (wants(r, CORRECTED, nvml.errors) &&
        worked(r, CORRECTED, nvml.errors(r->device, 0, VOLATILE, DEVICE_MEMORY, &n)))
        put(r, "correctedMemoryErrors", (double)n, true, false);
    if (wants(r, UNCORRECTED, nvml.errors) &&
        worked(r, UNCORRECTED, nvml.errors(r->device, 1, VOLATILE, DEVICE_MEMORY, &n)))
        put(r, "uncorrectedMemoryErrors", (double)n, true, false);
    if (wants(r, FAN, nvml.fan) && worked(r, FAN, nvml.fan(r->device, 0, &percent)))
        put(r, "fanSpeed", percent, true, false);
}

static void read_pcie(struct read *r)
{
    unsigned sent_kb, received_kb;
    if (r->gpu->has_gpm || !wants(r, PCIE, nvml.pcie) || !worked(r, PCIE, nvml.pcie(r->device, 0, &sent_kb)) ||
        !worked(r, PCIE, nvml.pcie(r->device, 1, &received_kb)))
        return;
    put(r, "pcieTxBytes", sent_kb * 1024.0, false, false);
    put(r, "pcieRxBytes", received_kb * 1024.0, false, false);
}

/* Figures of the time between two samples (Hopper and later). */
static const struct {
    unsigned id;
    const char *name;
    double scale;
} gpm_metrics[] = {
    {2, "smActive", 1},        {3, "smOccupancy", 1},
    {5, "pipeTensorActive", 1}, {10, "dramActive", 1},
    {11, "pipeFp64Active", 1}, {12, "pipeFp32Active", 1},
    {13, "pipeFp16Active", 1}, {7, "pipeTensorHmmaActive", 1},
    {20, "pcieTxBytes", MIB},  {21, "pcieRxBytes", MIB},
    {61, "nvlinkTxBytes", MIB}, {60, "nvlinkRxBytes", MIB},
};

static void put_gpm(struct read *r)
{
    static struct nvml_gpm g; /* of the one thread */
    g = (struct nvml_gpm){.version = GPM_VERSION, .before = r->gpu->gpm[1], .after = r->gpu->gpm[0]};
    for (size_t i = 0; i < sizeof gpm_metrics / sizeof *gpm_metrics; i++)
        g.metric[g.n_metrics++].id = gpm_metrics[i].id;
    r->gpu->has_gpm = nvml.gpm_metrics(&g) == 0;
    for (size_t i = 0; r->gpu->has_gpm && i < sizeof gpm_metrics / sizeof *gpm_metrics; i++)
        if (g.metric[i].rc == 0)
            put(r, gpm_metrics[i].name, g.metric[i].value * gpm_metrics[i].scale, false, false);
}

static void read_gpm(struct read *r)
{
    struct gpu *g = r->gpu;
    int64_t now_ns = clock_mono_ns();
    if (!g->has_gpm || (g->gpm_ns > 0 && now_ns - g->gpm_ns < GPM_LEAST_NS))
        return;
    void *oldest = g->gpm[1];
    g->gpm[1] = g->gpm[0];
    g->gpm[0] = oldest;
    g->has_gpm = nvml.gpm_sample(r->device, g->gpm[0]) == 0;
    if (g->has_gpm && g->gpm_ns > 0)
        put_gpm(r);
    g->gpm_ns = now_ns;
}

static void add_pids(struct read *r, int (*list)(nvml_device, unsigned *, struct nvml_process *))
{
    struct nvml_process all[GPU_MAX_PIDS];
    unsigned n = GPU_MAX_PIDS;
    int *n_pids = &r->to->n_pids[r->index];
    if (!list || list(r->device, &n, all) != 0)
        return;
    for (unsigned i = 0; i < n && i < GPU_MAX_PIDS && *n_pids < GPU_MAX_PIDS; i++)
        r->to->pids[r->index][(*n_pids)++] = (int32_t)all[i].pid;
}

static void read_gpu(struct read *r)
{
    add_pids(r, nvml.compute);
    add_pids(r, nvml.graphics);
    read_use(r);
    read_power(r);
    read_clocks(r);
    read_health(r);
    read_pcie(r);
    read_gpm(r);
}

void gpu_nvidia_read(struct gpu_reading *to)
{
    to->n_gpus = (int)n_gpus;
    memcpy(to->cuda_version, cuda_version, sizeof cuda_version);
    for (unsigned i = 0; i < n_gpus; i++) {
        struct read r = {.to = to, .gpu = &gpus[i], .index = (int)i};
        to->facts[i] = gpus[i].facts;
        if (nvml.by_index(i, &r.device) == 0)
            read_gpu(&r);
    }
}
