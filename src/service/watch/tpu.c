/* SPDX-License-Identifier: MIT */
#include "service/watch/tpu.h"

#include "base/alloc.h"
#include "loop/module.h"
#include "record/wire.h"
#include "service/watch/source.h"
#include "service/watch/sysmon_file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENV_TPU = 29, INFO_NAME = 1, INFO_HBM, INFO_DEVICES, INFO_COUNT };
enum { GRPC_PORT = 8431, PROBE_TIMEOUT_US = 100000, GRPC_TIMEOUT_MS = 500, GRPC_MAX_BYTES = 4 << 20 /* gRPC's own */ };

/* ---- chips ---- */

#define GOOGLE "0x1ae0"

static const struct chip {
    const char *device, *subsystem; /* PCI numbers; NULL: any */
    const char *name;
    uint32_t hbm_gib, devices_per_chip, fanout;
} chips[] = {
    {"0x0027", "0x004e", "v2", 8, 2, 2}, {"0x0027", "0x004f", "v3", 16, 2, 2}, {"0x005e", NULL, "v4", 32, 1, 1},
    {"0x0063", NULL, "v5e", 16, 1, 1},   {"0x0062", NULL, "v5p", 95, 1, 1},    {"0x006f", NULL, "v6e", 32, 1, 1},
    {"0x0076", NULL, "7x", 192, 2, 1},
};

enum { N_CHIPS = sizeof chips / sizeof *chips };

static const struct chip *chip; /* the kind there are most of; NULL: none */
static uint32_t n_chips;

static bool attribute_is(const char *device, const char *name, const char *value)
{
    char text[64];
    if (!sysmon_read_text(text, sizeof text, "/sys/bus/pci/devices/%.64s/%s", device, name))
        return false;
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, value) == 0;
}

static void count_device(const char *device, uint32_t counts[N_CHIPS])
{
    if (!attribute_is(device, "vendor", GOOGLE))
        return;
    for (size_t i = 0; i < N_CHIPS; i++)
        if (attribute_is(device, "device", chips[i].device) &&
            (!chips[i].subsystem || attribute_is(device, "subsystem_device", chips[i].subsystem)))
            counts[i]++;
}

/* Reads what the kernel knows anyway: no device is asked. */
static void find_chips(void)
{
    char path[PATH_MAX];
    uint32_t counts[N_CHIPS] = {0};
    snprintf(path, sizeof path, "%.2048s/sys/bus/pci/devices", sysmon_root());
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (*e->d_name != '.')
            count_device(e->d_name, counts);
    if (d)
        closedir(d);
    for (size_t i = 0; i < N_CHIPS; i++)
        if (counts[i] > n_chips) {
            chip = &chips[i];
            n_chips = counts[i];
        }
}

static bool any_chips(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_chips);
    return chip != NULL;
}

void tpu_put_facts(struct buf *to)
{
    if (!any_chips())
        return;
    size_t mark = wire_buf_begin(to, ENV_TPU);
    wire_buf_bytes(to, INFO_NAME, str_of(chip->name));
    wire_buf_varint(to, INFO_HBM, chip->hbm_gib);
    wire_buf_varint(to, INFO_DEVICES, chip->devices_per_chip);
    wire_buf_varint(to, INFO_COUNT, n_chips);
    wire_buf_end(to, mark);
}

/* ---- the thread ---- */

static bool has_sdk;
static const char *sdk_name[TPU_N_METRICS]; /* which of its names a metric has there; NULL: not known yet */

static bool open_library(void)
{
    module_uplink(); /* before it: one that hangs while it is loaded keeps all others from that */
    has_sdk = tpu_sdk_open();
    return true;
}

/* The number of figures that libtpu gives of a metric. */
static size_t read_sdk(struct tpu_figures *f, int i)
{
    static struct str values[TPU_MAX_VALUES]; /* of the one thread */
    const struct tpu_metric *m = &tpu_metrics[i];
    struct str description;
    size_t n = 0;
    const char *name = sdk_name[i];
    if (name && !tpu_sdk_read(name, &description, values, &n))
        return 0;
    for (int k = 0; !name && k < 4 && m->sdk[k]; k++)
        if (tpu_sdk_read(m->sdk[k], &description, values, &n) && n > 0)
            name = sdk_name[i] = m->sdk[k];
    return name ? tpu_put_values(f, m, chip->fanout, description, values, n) : 0;
}

static uint16_t grpc_port(void)
{
    const char *set = getenv("TARE_TPU_PORT");
    long port = set ? strtol(set, NULL, 10) : 0;
    return port > 0 && port < 65536 ? (uint16_t)port : GRPC_PORT;
}

/* On this machine that is known at once, and costs less than to load what speaks HTTP. */
static bool somebody_listens(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(grpc_port()),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval most = {.tv_usec = PROBE_TIMEOUT_US};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) == 0 &&
               connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* False: nobody answers, so nothing more is asked this time. */
static bool read_grpc(struct tpu_figures *f, const struct uplink *uplink, const struct tpu_metric *m)
{
    AUTO_BUF body = {0}, answer = {0};
    char url[128];
    struct str message;
    int status = -1;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/tpu.monitoring.runtime.RuntimeMetricService/GetRuntimeMetric",
             grpc_port());
    tpu_put_request(&body, m->grpc);
    if (uplink->grpc_call(url, buf_str(&body), GRPC_TIMEOUT_MS, GRPC_MAX_BYTES, &answer, &status) != 0)
        return false;
    if (status == 0 && tpu_find_message(buf_str(&answer), &message))
        tpu_put_response(f, m, chip->fanout, message);
    return true;
}

struct reading {
    struct buf items;
};

static void read_all(struct source *s, void *to)
{
    struct reading *r = to;
    struct tpu_figures *f = xmem_alloc(sizeof *f);
    bool missing[TPU_N_METRICS], any = false;
    tpu_figures_init(f);
    for (int i = 0; i < TPU_N_METRICS; i++) {
        missing[i] = (!has_sdk || read_sdk(f, i) == 0) && tpu_metrics[i].grpc;
        any |= missing[i];
    }
    const struct uplink *uplink = any && somebody_listens() ? module_uplink() : NULL;
    for (int i = 0; uplink && i < TPU_N_METRICS; i++)
        if (missing[i] && !read_grpc(f, uplink, &tpu_metrics[i]))
            break;
    tpu_put_memory(f);
    buf_clear(&r->items);
    if (!f->items.failed)
        buf_put_str(&r->items, buf_str(&f->items));
    tpu_figures_fini(f);
    mem_free(f);
}

void tpu_read(struct buf *items, int64_t wait_ns)
{
    static struct source source = {
        .may_be = any_chips, .open = open_library, .read = read_all, .size = sizeof(struct reading)};
    sources_lock();
    source_ask(&source);
    source_wait(&source, wait_ns);
    const struct reading *r = source_is_fresh(&source, wait_ns) ? source_last(&source) : NULL;
    if (r)
        buf_put_str(items, buf_str(&r->items));
    sources_unlock();
}
