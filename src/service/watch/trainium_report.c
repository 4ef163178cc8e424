/* SPDX-License-Identifier: MIT */
/* { "neuron_runtime_data": [{ "pid": 1, "report": {
 *       "neuroncore_counters": { "neuroncores_in_use": { CORE: { "neuroncore_utilization": percent }}},
 *       "memory_used": { "neuron_runtime_used_bytes": { "host": bytes, "neuron_device": bytes,
 *           "usage_breakdown": { "host": { KIND: bytes },
 *                                "neuroncore_memory_usage": { CORE: { KIND: bytes }}}}}}}],
 *   "neuron_hardware_info": { "neuron_device_count": n, "neuroncore_per_device_count": n }}
 *
 * Anything may be missing or of another type: it is left out. */
#include "service/watch/trainium.h"

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>

bool trainium_is_report(struct str line)
{
    const char *end = line.p + line.n, *p = json_skip_space(line.p, end);
    return p < end && *p == '{' && json_valid(line) && utf8_valid(line.p, line.n);
}

/* ---- members ---- */

static bool opens_with(struct str value, char bracket)
{
    return value.n > 0 && value.p[0] == bracket;
}

static bool next_member(const char **at, struct str object, struct json_item *item)
{
    if (!*at)
        *at = object.p + 1;
    return json_next_member(at, object.p + object.n, item) > 0;
}

/* The last member of that name; empty if there is none, or `object` is no object. */
static struct str find(struct str object, const char *name)
{
    struct str found = STR("");
    struct json_item item;
    for (const char *at = NULL; opens_with(object, '{') && next_member(&at, object, &item);)
        if (str_eqz(item.key, name))
            found = item.value;
    return found;
}

static bool number(struct str value, double *v)
{
    return value.n > 0 && (*value.p == '-' || (*value.p >= '0' && *value.p <= '9')) &&
           number_parse_double(value.p, value.n, v) == value.n && isfinite(*v);
}

/* ---- figures ---- */

struct figures {
    const char *rank;
    trainium_put *put;
    void *ctx;
    struct buf key;
};

static bool is_wanted(const struct figures *f, struct str core)
{
    return !f->rank || str_eqz(core, f->rank);
}

/* A figure named trn.[CORE.]GROUP[.KIND]. */
static void put(struct figures *f, struct str core, const char *group, struct str kind, struct str value)
{
    double v;
    if (!number(value, &v))
        return;
    buf_clear(&f->key);
    buf_puts(&f->key, "trn.");
    if (core.n > 0 && (json_unescape(&f->key, core) < 0 || buf_putc(&f->key, '.') < 0))
        return;
    buf_puts(&f->key, group);
    if (kind.n > 0 && (buf_putc(&f->key, '.') < 0 || json_unescape(&f->key, kind) < 0))
        return;
    const char *z = buf_z(&f->key);
    if (z && strlen(z) == f->key.len)
        f->put(f->ctx, z, v);
}

static void put_kinds(struct figures *f, struct str core, const char *group, struct str kinds)
{
    struct json_item item;
    for (const char *at = NULL; opens_with(kinds, '{') && next_member(&at, kinds, &item);)
        put(f, core, group, item.key, item.value);
}

static void put_process(struct figures *f, struct str report)
{
    struct str cores = find(find(report, "neuroncore_counters"), "neuroncores_in_use");
    struct str used = find(find(report, "memory_used"), "neuron_runtime_used_bytes");
    struct str by_kind = find(used, "usage_breakdown"), by_core = find(by_kind, "neuroncore_memory_usage");
    struct json_item item;
    for (const char *at = NULL; opens_with(cores, '{') && next_member(&at, cores, &item);)
        if (is_wanted(f, item.key))
            put(f, item.key, "neuroncore_utilization", STR(""), find(item.value, "neuroncore_utilization"));
    put(f, STR(""), "host_total_memory_usage", STR(""), find(used, "host"));
    put(f, STR(""), "neuron_device_total_memory_usage", STR(""), find(used, "neuron_device"));
    put_kinds(f, STR(""), "host_memory_usage", find(by_kind, "host"));
    for (const char *at = NULL; opens_with(by_core, '{') && next_member(&at, by_core, &item);)
        if (is_wanted(f, item.key))
            put_kinds(f, item.key, "neuroncore_memory_usage", item.value);
}

static struct str whole(struct str report)
{
    const char *end = report.p + report.n, *p = json_skip_space(report.p, end);
    return (struct str){p, (size_t)(end - p)};
}

void trainium_report_read(struct str report, int32_t pid, const char *rank, trainium_put *put_one, void *ctx)
{
    struct figures f = {.rank = rank, .put = put_one, .ctx = ctx};
    struct str all = find(whole(report), "neuron_runtime_data");
    const char *at = all.p + 1;
    struct json_item item;
    while (opens_with(all, '[') && json_next_element(&at, all.p + all.n, &item) > 0) {
        double v;
        if (!number(find(item.value, "pid"), &v) || (v != (double)pid && !rank))
            continue;
        put_process(&f, find(item.value, "report"));
        break; /* under torchrun every process has its core in the first */
    }
    buf_fini(&f.key);
}

static uint32_t count(struct str value)
{
    double v;
    return number(value, &v) && v >= 0 && v <= (double)UINT32_MAX && v == floor(v) ? (uint32_t)v : 0;
}

bool trainium_report_facts(struct str report, uint32_t *devices, uint32_t *cores)
{
    struct str info = find(whole(report), "neuron_hardware_info");
    if (!opens_with(info, '{'))
        return false;
    *devices = count(find(info, "neuron_device_count"));
    *cores = count(find(info, "neuroncore_per_device_count"));
    return true;
}
