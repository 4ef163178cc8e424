/* SPDX-License-Identifier: MIT */
/* An answer, as the Prometheus documentation ("HTTP API", instant queries) has it:
 *
 *   {"status": "success", "data": {"resultType": "vector", "result": [
 *      {"metric": {"__name__": "DCGM_FI_DEV_GPU_TEMP", "gpu": "0", "hostname": "n1", ...},
 *       "value": [1700000000.1, "42"]}, ...]}}
 *   {"status": "error", "errorType": "bad_data", "error": "..."}
 */
#include "service/watch/dcgm.h"

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "loop/proxy.h"
#include "record/wire.h"
#include "service/watch/openmetrics.h"

#include <stdio.h>

enum { ENV_GPU = 18, ENV_GPU_COUNT = 19, ENV_GPU_NVIDIA = 24, INFO_NAME = 1, INFO_UUID = 5 };

static const struct {
    const char *field, *metric;
} metrics[] = {
    {"DCGM_FI_DEV_GPU_TEMP", "temp"},
    {"DCGM_FI_DEV_POWER_USAGE", "powerWatts"},
    {"DCGM_FI_DEV_GPU_UTIL", "gpu"},
    {"DCGM_FI_DEV_MEM_COPY_UTIL", "memory"},
    {"DCGM_FI_DEV_SM_CLOCK", "smClock"},
    {"DCGM_FI_DEV_FB_USED", "memoryUsed"},
    {"DCGM_FI_DEV_FB_TOTAL", "memoryTotal"},
    {"DCGM_FI_DEV_FB_FREE", "memoryFree"},
    {"DCGM_FI_PROF_PCIE_TX_BYTES", "pcieTxBytes"},
    {"DCGM_FI_PROF_PCIE_RX_BYTES", "pcieRxBytes"},
    {"DCGM_FI_PROF_NVLINK_TX_BYTES", "nvlinkTxBytes"},
    {"DCGM_FI_PROF_NVLINK_RX_BYTES", "nvlinkRxBytes"},
    {"DCGM_FI_DEV_MEMORY_TEMP", "memoryTemp"},
    {"DCGM_FI_DEV_GPU_MAX_OP_TEMP", "maxOpTemp"},
    {"DCGM_FI_DEV_MEM_MAX_OP_TEMP", "memoryMaxOpTemp"},
    {"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "totalEnergyConsumption"},
    {"DCGM_FI_PROF_SM_ACTIVE", "smActive"},
    {"DCGM_FI_PROF_SM_OCCUPANCY", "smOccupancy"},
    {"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "pipeTensorActive"},
    {"DCGM_FI_PROF_PIPE_FP64_ACTIVE", "pipeFp64Active"},
    {"DCGM_FI_PROF_PIPE_FP32_ACTIVE", "pipeFp32Active"},
    {"DCGM_FI_PROF_PIPE_FP16_ACTIVE", "pipeFp16Active"},
};

/* ---- the queries ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* As in a form: + is a blank. */
static void put_decoded(struct buf *to, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool is_code = s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0;
        int c = is_code ? hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]) : s.p[i] == '+' ? ' ' : s.p[i];
        buf_putc(to, (char)c);
        i += is_code ? 2 : 0;
    }
}

/* The value of parameter "query" number `i`; p is NULL if there is none. */
static struct str find_query(const char *url, int i)
{
    const char *at = strchr(url, '?');
    while (at) {
        const char *start = at + 1;
        size_t n = strcspn(start, "&#");
        if (n >= 6 && memcmp(start, "query=", 6) == 0 && i-- == 0)
            return (struct str){start + 6, n - 6};
        at = start[n] == '&' ? start + n : NULL;
    }
    return (struct str){0};
}

bool dcgm_url(const char *setting, int i, struct buf *to)
{
    struct url_parts parts;
    AUTO_BUF query = {0};
    struct str found = find_query(setting, i);
    if (i >= DCGM_MAX_QUERIES || !found.p || !url_split(setting, &parts))
        return false;
    struct str host = parts.authority;
    const char *at = memrchr(host.p, '@', host.n);
    if (at)
        host = (struct str){at + 1, host.n - (size_t)(at + 1 - host.p)};
    put_decoded(&query, found);
    buf_printf(to, "%s://", parts.https ? "https" : "http");
    buf_put_str(to, host);
    buf_puts(to, "/api/v1/query?query=");
    buf_put_percent(to, buf_str(&query), "");
    return !to->failed;
}

/* ---- answers ---- */

/* The member of an object, empty if there is none. */
static struct str member(struct str object, const char *key)
{
    const char *end = object.p + object.n;
    const char *at = object.n > 0 ? json_skip_space(object.p, end) : NULL;
    struct json_item item;
    if (!at || at >= end || *at++ != '{')
        return STR("");
    while (json_next_member(&at, end, &item) == 1)
        if (str_eqz(item.key, key))
            return item.value;
    return STR("");
}

/* A string's text, unescaped, into `to`; empty if it is none. */
static struct str text_of(struct buf *to, struct str value)
{
    buf_clear(to);
    if (value.n >= 2 && value.p[0] == '"')
        json_unescape(to, (struct str){value.p + 1, value.n - 2});
    return utf8_valid(to->data, to->len) ? buf_str(to) : STR("");
}

static struct str label(struct buf *to, struct str labels, const char *name)
{
    return text_of(to, member(labels, name));
}

static const char *metric_of(struct str field)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (str_eqz(field, metrics[i].field))
            return metrics[i].metric;
    return NULL;
}

/* Which GPU: its number, or that in the name of its device. */
static struct str index_of(struct buf *to, struct str labels)
{
    struct str index = label(to, labels, "gpu");
    if (index.n == 0)
        index = label(to, labels, "device");
    if (str_starts(index, STR("nvidia")))
        index = (struct str){index.p + 6, index.n - 6};
    return index;
}

static void put_item(struct buf *items, struct str labels, struct str index, double v)
{
    AUTO_BUF text = {0}, key = {0};
    const char *metric = metric_of(label(&text, labels, "__name__"));
    if (!metric)
        return;
    buf_puts(&key, "gpu.");
    buf_put_str(&key, index);
    buf_printf(&key, ".%s", metric);
    struct str node = label(&text, labels, "node");
    if (node.n == 0)
        node = label(&text, labels, "hostname");
    if (node.n > 0) {
        buf_puts(&key, "/l:");
        buf_put_str(&key, node);
    }
    openmetrics_put(items, buf_str(&key), v);
}

static void put_gpu(struct buf *gpus, struct str labels)
{
    AUTO_BUF model = {0}, uuid = {0};
    if (label(&model, labels, "modelName").n == 0 || label(&uuid, labels, "uuid").n == 0)
        return;
    size_t mark = wire_buf_begin(gpus, ENV_GPU_NVIDIA);
    wire_buf_bytes(gpus, INFO_NAME, buf_str(&model));
    wire_buf_bytes(gpus, INFO_UUID, buf_str(&uuid));
    wire_buf_end(gpus, mark);
}

/* The second element of "[1700000000.1, "42"]". */
static bool value_of(struct str pair, double *v)
{
    AUTO_BUF text = {0};
    struct json_item item = {0};
    const char *end = pair.p + pair.n;
    const char *at = pair.n > 0 ? json_skip_space(pair.p, end) : NULL;
    if (!at || at >= end || *at++ != '[' || json_next_element(&at, end, &item) != 1 ||
        json_next_element(&at, end, &item) != 1)
        return false;
    return openmetrics_number(text_of(&text, item.value), v);
}

static void take_sample(struct str sample, struct buf *items, struct buf *gpus)
{
    AUTO_BUF text = {0};
    double v;
    struct str labels = member(sample, "metric"), index = index_of(&text, labels);
    if (index.n == 0 || !value_of(member(sample, "value"), &v))
        return;
    put_item(items, labels, index, v);
    put_gpu(gpus, labels);
}

int dcgm_read(struct str json, struct buf *items, struct buf *gpus, char why[256])
{
    AUTO_BUF text = {0}, more = {0};
    if (!json_valid(json)) {
        snprintf(why, 256, "the answer is no JSON");
        return TARE_EFORMAT;
    }
    if (!str_eqz(label(&text, json, "status"), "success")) {
        struct str type = label(&text, json, "errorType"), error = label(&more, json, "error");
        snprintf(why, 256, "%.40s: %.200s", type.n ? buf_z(&text) : "", error.n ? buf_z(&more) : "");
        return TARE_EFORMAT;
    }
    struct str data = member(json, "data");
    if (!str_eqz(label(&text, data, "resultType"), "vector")) {
        snprintf(why, 256, "the result is no vector");
        return TARE_EFORMAT;
    }
    struct str result = member(data, "result");
    const char *at = result.p, *end = result.p + result.n;
    struct json_item sample;
    if (result.n == 0 || *at++ != '[')
        return 0;
    while (json_next_element(&at, end, &sample) == 1)
        take_sample(sample.value, items, gpus);
    return 0;
}

void dcgm_put_facts(struct buf *to, struct str gpus)
{
    struct wire_reader r = wire_open(gpus);
    struct wire_field f = {0};
    uint64_t n = 0;
    for (; wire_next(&r, &f) > 0; n++)
        if (n == 0)
            wire_buf_bytes(to, ENV_GPU, wire_find_bytes(f.bytes, INFO_NAME));
    if (n > 0)
        wire_buf_varint(to, ENV_GPU_COUNT, n);
    buf_put_str(to, gpus);
}
