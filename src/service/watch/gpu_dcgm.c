/* SPDX-License-Identifier: MIT */
/* NVIDIA's profiling figures by DCGM, from its service on this machine (nv-hostengine, port 5555), where
 * --enable-dcgm-profiling asks for them. Types and numbers are those of dcgm_structs.h and dcgm_fields.h, API
 * version 4; which fields, how often and under which names are the peer's (symon/src/gpu_nvidia_dcgm.rs).
 *
 * A value takes 4,120 bytes, 4,096 of them for blobs; the version before it says so, and that counts. */
#include "service/watch/gpu.h"

#include "base/diag.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NO_DATA = -35 };
enum { ENTITY_GPU = 0, ENTITY_VGPU = 1 };
enum { MAX_GROUPS = 10, MAX_IN_GROUP = 64, GROUPS_VERSION = 3, VALUE_HEAD = 24 };

#define ALL_GPUS ((uintptr_t)0x7fffffff)
#define HOST "localhost:5555"
#define EVERY_US 5000000 /* the service's own pace */
#define BLANK_DOUBLE 140737488355328.0
#define BLANK_INT INT64_C(0x7ffffffffffffff0)

struct metric_groups {
    uint32_t version, unused, gpu, n;
    struct {
        uint16_t major, minor;
        uint32_t n;
        uint16_t field[MAX_IN_GROUP];
    } group[MAX_GROUPS];
};

struct value {
    uint32_t version; /* its low 24 bits: how many bytes it takes */
    uint16_t field, type;
    int32_t status;
    int64_t us;
    union {
        int64_t i;
        double d;
    } value;
};

typedef int on_values(uint32_t entity_kind, uint32_t entity, struct value *values, int n, void *ctx);

static struct {
    int (*init)(void);
    int (*connect)(const char *, void **);
    int (*groups)(void *, struct metric_groups *);
    int (*make_fields)(void *, int, const uint16_t *, const char *, uintptr_t *);
    int (*watch)(void *, uintptr_t, uintptr_t, int64_t, double, int);
    int (*update)(void *, int);
    int (*latest)(void *, uintptr_t, uintptr_t, on_values *, void *);
} dcgm;

static const struct {
    void *to;
    const char *name;
} functions[] = {
    {&dcgm.init, "dcgmInit"},
    {&dcgm.connect, "dcgmConnect"},
    {&dcgm.groups, "dcgmProfGetSupportedMetricGroups"},
    {&dcgm.make_fields, "dcgmFieldGroupCreate"},
    {&dcgm.watch, "dcgmWatchFields"},
    {&dcgm.update, "dcgmUpdateAllFields"},
    {&dcgm.latest, "dcgmGetLatestValues_v2"},
};

static const struct metric {
    uint16_t field;
    const char *name;
    double scale; /* ratios become percent */
} metrics[] = {
    {1002, "smActive", 100},       {1003, "smOccupancy", 100},    {1004, "pipeTensorActive", 100},
    {1005, "dramActive", 100},     {1006, "pipeFp64Active", 100}, {1007, "pipeFp32Active", 100},
    {1008, "pipeFp16Active", 100}, {1014, "pipeTensorHmmaActive", 100},
    {1009, "pcieTxBytes", 1},      {1010, "pcieRxBytes", 1},      {1011, "nvlinkTxBytes", 1},
    {1012, "nvlinkRxBytes", 1},
};

enum { N_METRICS = sizeof metrics / sizeof *metrics };

static void *handle; /* of the connection, which ends with the process */
static uintptr_t fields;
static atomic_bool enabled;

void gpu_enable_dcgm(void)
{
    atomic_store(&enabled, true);
}

bool gpu_dcgm_may_be(void)
{
    return atomic_load(&enabled);
}

/* ---- opening ---- */

static bool load(void)
{
    const char *set = getenv("TARE_DCGM");
    void *lib = dlopen(set && *set ? set : "libdcgm.so.4", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; lib && i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(lib, functions[i].name);
        if (!found)
            return false;
        memcpy(functions[i].to, &found, sizeof found);
    }
    return lib != NULL;
}

static bool is_supported(const struct metric_groups *g, uint16_t field)
{
    for (uint32_t i = 0; i < g->n && i < MAX_GROUPS; i++)
        for (uint32_t k = 0; k < g->group[i].n && k < MAX_IN_GROUP; k++)
            if (g->group[i].field[k] == field)
                return true;
    return false;
}

/* Those of ours that the GPUs have; all where they do not say. */
static int choose(uint16_t chosen[N_METRICS])
{
    struct metric_groups g = {.version = sizeof g | GROUPS_VERSION << 24};
    bool known = dcgm.groups(handle, &g) == OK;
    int n = 0;
    for (int i = 0; i < N_METRICS; i++)
        if (!known || is_supported(&g, metrics[i].field))
            chosen[n++] = metrics[i].field;
    return n;
}

bool gpu_dcgm_open(void)
{
    uint16_t chosen[N_METRICS];
    int rc, n;
    if (!load())
        return false;
    if ((rc = dcgm.init()) != OK || (rc = dcgm.connect(HOST, &handle)) != OK) {
        diag_warn("gpu: DCGM gives error %d: no profiling figures", rc);
        return false;
    }
    if ((n = choose(chosen)) == 0)
        return false;
    if ((rc = dcgm.make_fields(handle, n, chosen, "tare", &fields)) != OK ||
        (rc = dcgm.watch(handle, ALL_GPUS, fields, EVERY_US, 0, 2)) != OK) {
        diag_warn("gpu: DCGM gives error %d: no profiling figures", rc);
        return false;
    }
    return true;
}

/* ---- reading ---- */

static bool number(const struct value *v, double *to)
{
    if (v->status != OK)
        return false;
    *to = v->type == 'd' ? v->value.d : (double)v->value.i;
    return v->type == 'd' ? v->value.d > -BLANK_DOUBLE && v->value.d < BLANK_DOUBLE
                          : v->type == 'i' && v->value.i >= 0 && v->value.i < BLANK_INT;
}

static void put_value(struct gpu_reading *to, uint32_t gpu, const struct value *v)
{
    double x;
    for (int i = 0; i < N_METRICS; i++)
        if (metrics[i].field == v->field && number(v, &x)) {
            struct gpu_metric m = {.device = (int)gpu, .name = metrics[i].name, .value = x * metrics[i].scale};
            gpu_add(to, &m);
        }
}

static int on_latest(uint32_t kind, uint32_t gpu, struct value *values, int n, void *ctx)
{
    if (!values || (kind != ENTITY_GPU && kind != ENTITY_VGPU) || gpu >= GPU_MAX)
        return 0;
    const char *at = (const char *)values;
    for (int i = 0; i < n; i++) {
        struct value v;
        memcpy(&v, at, sizeof v);
        size_t size = v.version & 0xffffff;
        if (size < VALUE_HEAD + sizeof v.value)
            return 0; /* of a kind that is not known */
        put_value(ctx, gpu, &v);
        at += size;
    }
    return 0;
}

void gpu_dcgm_read(struct gpu_reading *to)
{
    static int told;
    dcgm.update(handle, 0);
    int rc = dcgm.latest(handle, ALL_GPUS, fields, on_latest, to);
    if (rc != OK && rc != NO_DATA && rc != told)
        diag_warn("gpu: DCGM gives error %d", rc);
    told = rc;
}
