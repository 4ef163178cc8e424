/* SPDX-License-Identifier: MIT */
/* A stand-in for libdcgm.so.4 and its service with two GPUs. FAKE_DCGM says how it is broken: "error" (nobody
 * to connect to), "hang" (connecting never comes back), "empty" (no data yet), "old" (values of a size that is
 * not known). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_CONNECTED = -21, NO_DATA = -35, NOT_SUPPORTED = -6, BAD_PARAMETER = -1 };

static int mode(const char *name)
{
    const char *set = getenv("FAKE_DCGM");
    return set && strcmp(set, name) == 0;
}

static int service, n_fields;
static uint16_t fields[128];
static int64_t every_us;

int dcgmInit(void)
{
    return 0;
}

int dcgmConnect(const char *address, void **handle)
{
    while (mode("hang"))
        pause();
    if (mode("error") || strcmp(address, "localhost:5555") != 0)
        return NOT_CONNECTED;
    *handle = &service;
    return 0;
}

struct groups {
    uint32_t version, unused, gpu, n;
    struct {
        uint16_t major, minor;
        uint32_t n;
        uint16_t field[64];
    } group[10];
};

int dcgmProfGetSupportedMetricGroups(void *handle, struct groups *g)
{
    static const uint16_t first[] = {1001, 1002, 1003, 1005}, second[] = {1009, 1010, 1011};
    if (handle != &service || g->version != (sizeof *g | 3 << 24))
        return BAD_PARAMETER;
    g->n = 2;
    g->group[0].n = 4;
    memcpy(g->group[0].field, first, sizeof first);
    g->group[1].n = 3;
    memcpy(g->group[1].field, second, sizeof second);
    return 0;
}

int dcgmFieldGroupCreate(void *handle, int n, const uint16_t *ids, const char *name, uintptr_t *group)
{
    if (handle != &service || n > 128 || !*name)
        return BAD_PARAMETER;
    memcpy(fields, ids, (size_t)n * sizeof *ids);
    n_fields = n;
    *group = 77;
    return 0;
}

int dcgmWatchFields(void *handle, uintptr_t gpus, uintptr_t group, int64_t us, double age, int samples)
{
    every_us = us;
    return handle == &service && gpus == 0x7fffffff && group == 77 ? 0 : BAD_PARAMETER;
}

int dcgmUpdateAllFields(void *handle, int wait)
{
    return 0;
}

struct value {
    uint32_t version;
    uint16_t field, type;
    int32_t status;
    int64_t us;
    union {
        int64_t i;
        double d;
        char blob[4096];
    } value;
};

int dcgmGetLatestValues_v2(void *handle, uintptr_t gpus, uintptr_t group,
                           int (*each)(uint32_t, uint32_t, struct value *, int, void *), void *ctx)
{
    static struct value v[128];
    if (handle != &service || group != 77 || every_us != 5000000)
        return BAD_PARAMETER;
    if (mode("empty"))
        return NO_DATA;
    for (uint32_t gpu = 0; gpu < 2; gpu++) {
        for (int i = 0; i < n_fields; i++) {
            int is_int = fields[i] >= 1009 && fields[i] <= 1012;
            v[i] = (struct value){.version = mode("old") ? 16 : sizeof v[i] | 1 << 24, .field = fields[i],
                                  .type = is_int ? 'i' : 'd'};
            if (is_int)
                v[i].value.i = fields[i] == 1011 ? INT64_C(0x7ffffffffffffff0) : fields[i]; /* blank */
            else
                v[i].value.d = fields[i] == 1003 ? 140737488355328.0 : fields[i] / 4096.0;
            v[i].status = gpu == 1 && fields[i] == 1002 ? NOT_SUPPORTED : 0;
        }
        each(0, gpu, v, n_fields, ctx);
    }
    each(3, 0, v, n_fields, ctx); /* a part of a GPU: not asked for */
    return 0;
}
