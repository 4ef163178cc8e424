/* SPDX-License-Identifier: MIT */
/* A stand-in for libtpu.so. FAKE_LIBTPU says how it is: "" has some metrics, "old" is a table of another
 * version, "error" makes no client, "hang" hangs in the first metric, "wild" gives counts and texts that
 * cannot be. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct error {
    const char *text;
};

static struct metric {
    const char *name, *description, *values[4];
    size_t n;
} metrics[] = {
    {"tensorcore_util", "", {"75.5", " 80.25 "}, 2},
    {"duty_cycle_pct", "", {"42", "nonsense", "80"}, 3},
    {"hbm_capacity_total", "", {"200", "400"}, 2},
    {"hbm_capacity_usage", "", {"50", "300"}, 2},
    {"grpc_tcp_min_rtt", "mean, p50, p90, p95, p999", {"10.0, 20.0, 30.0, 40.0, 50.0"}, 1},
    {"tcp_delivery_rate", "p50, p90, p95, p999", {"100", "200", "300", "400"}, 4},
    {"hlo_exec_timing", "Mean, P50, P90, P99, P999",
     {"[\"main+1\", 100.0, 50.0, 90.0, '95.0', 999.0]", "short", "x, 1, 2"}, 3},
    {"hlo_queue_size", "", {"tensor_core-0: 5", "  GPU+Memory 100% :7", "42", "x: y"}, 4},
    {"throttled", "", {NULL}, 0},
};

static int mode(const char *name)
{
    const char *set = getenv("FAKE_LIBTPU");
    return set && strcmp(set, name) == 0;
}

static void *fail(const char *text)
{
    struct error *e = malloc(sizeof *e); /* a leak if it is not destroyed */
    e->text = text;
    return e;
}

static void *error_message(void *args)
{
    struct {
        struct error *error;
        const char *text;
        size_t n;
    } *a = args;
    a->text = a->error->text;
    a->n = strlen(a->text);
    return NULL;
}

static void *destroy_error(void *args)
{
    free(*(void **)args);
    return NULL;
}

static void *create_client(void *args)
{
    static int client;
    if (mode("error"))
        return fail("no such device");
    *(void **)args = &client;
    return NULL;
}

static void *destroy_client(void *args)
{
    return NULL;
}

static void *get_metric(void *args)
{
    struct {
        void *client;
        const char *name;
        struct metric *metric;
    } *a = args;
    while (mode("hang"))
        pause();
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(a->name, metrics[i].name) == 0) {
            a->metric = &metrics[i];
            return NULL;
        }
    return fail("no such metric");
}

static void *get_description(void *args)
{
    struct {
        struct metric *metric;
        const char *text;
        size_t n;
    } *a = args;
    a->text = mode("wild") ? NULL : a->metric->description;
    a->n = strlen(a->metric->description);
    return NULL;
}

static void *get_values(void *args)
{
    struct {
        struct metric *metric;
        const char *const *values;
        size_t n;
    } *a = args;
    a->values = a->metric->values;
    a->n = mode("wild") ? (size_t)1 << 40 : a->metric->n;
    return NULL;
}

const void *GetLibtpuSdkApi(void)
{
    static struct {
        unsigned head[2];
        void *(*slot[12])(void *);
    } table = {{0, 1}, {error_message, destroy_error, NULL, create_client, destroy_client, NULL, NULL, NULL, NULL,
                        get_metric, get_description, get_values}};
    table.head[1] = mode("old") ? 0 : 1;
    return &table;
}
