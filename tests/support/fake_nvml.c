/* SPDX-License-Identifier: MIT */
/* A stand-in for libnvidia-ml.so.1 with two GPUs: the first like an H100, the second without most
 * figures. FAKE_NVML says how it is broken: "error" (nothing starts), "hang" (nvmlInit never comes
 * back), "load" (dlopen does not), "stall" (the second look at power hangs), "lost" (the devices are
 * gone). FAKE_NVML_PID uses the first GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNINITIALIZED = 1, NOT_SUPPORTED = 3, GPU_IS_LOST = 15 };

static int gpus[2];

static int mode(const char *name)
{
    const char *set = getenv("FAKE_NVML");
    return set && strcmp(set, name) == 0;
}

static void hang(void)
{
    for (;;)
        pause();
}

__attribute__((constructor)) static void on_load(void)
{
    if (mode("load"))
        hang();
}

int nvmlInit_v2(void)
{
    if (mode("hang"))
        hang();
    return mode("error") ? UNINITIALIZED : 0;
}

int nvmlSystemGetCudaDriverVersion_v2(int *v)
{
    *v = 12040;
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 2;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d)
{
    *d = &gpus[i];
    return mode("lost") ? GPU_IS_LOST : 0;
}

static int first(void *d)
{
    return d == &gpus[0];
}

int nvmlDeviceGetName(void *d, char *to, unsigned size)
{
    snprintf(to, size, "%s", first(d) ? "NVIDIA H100" : "Tesla K80");
    return 0;
}

int nvmlDeviceGetUUID(void *d, char *to, unsigned size)
{
    snprintf(to, size, "GPU-%d", first(d) ? 0 : 1);
    return 0;
}

int nvmlDeviceGetNumGpuCores(void *d, unsigned *n)
{
    *n = 16896;
    return first(d) ? 0 : NOT_SUPPORTED;
}

int nvmlDeviceGetArchitecture(void *d, unsigned *n)
{
    *n = first(d) ? 9 : 2;
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *d, unsigned to[2])
{
    to[0] = 75;
    to[1] = 40;
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *d, unsigned long long to[3])
{
    to[0] = 80ull << 30;
    to[1] = 20ull << 30;
    to[2] = 60ull << 30;
    return first(d) ? 0 : NOT_SUPPORTED;
}

int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *to)
{
    *to = 61;
    return 0;
}

int nvmlDeviceGetPowerUsage(void *d, unsigned *mw)
{
    static int n;
    if (n++ > 1 && mode("stall"))
        hang();
    *mw = 350500;
    return 0;
}

int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *mw)
{
    *mw = 701000;
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj)
{
    *mj = 12345;
    return first(d) ? 0 : NOT_SUPPORTED;
}

int nvmlDeviceGetClockInfo(void *d, int clock, unsigned *mhz)
{
    *mhz = clock == 1 ? 1980 : 2619;
    return first(d) ? 0 : NOT_SUPPORTED;
}

int nvmlDeviceGetPcieThroughput(void *d, int way, unsigned *kb)
{
    *kb = way == 0 ? 10 : 20;
    return first(d) ? NOT_SUPPORTED : 0;
}

struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned gi, ci;
};

int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, struct process *to)
{
    const char *pid = getenv("FAKE_NVML_PID");
    *n = first(d) && pid;
    if (*n)
        to[0] = (struct process){.pid = (unsigned)atoi(pid)};
    return 0;
}

/* ---- GPM: the first GPU has it ---- */

int nvmlGpmQueryDeviceSupport(void *d, unsigned to[2])
{
    to[1] = (unsigned)first(d);
    return 0;
}

int nvmlGpmSampleAlloc(void **to)
{
    *to = calloc(1, sizeof(int));
    return 0;
}

int nvmlGpmSampleGet(void *d, void *sample)
{
    static int n;
    *(int *)sample = ++n;
    return 0;
}

struct gpm {
    unsigned version, n;
    int *before, *after;
    struct {
        unsigned id;
        int rc;
        double value;
        char *text[3];
    } metric[333];
};

int nvmlGpmMetricsGet(struct gpm *g)
{
    if (g->version != 1 || *g->before >= *g->after)
        return NOT_SUPPORTED;
    for (unsigned i = 0; i < g->n; i++) {
        g->metric[i].rc = g->metric[i].id == 10 ? NOT_SUPPORTED : 0;
        g->metric[i].value = g->metric[i].id;
    }
    return 0;
}
