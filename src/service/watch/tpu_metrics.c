/* SPDX-License-Identifier: MIT */
/* What libtpu and the runtime's service say, as figures under the peer's names.
 *
 * libtpu gives texts: a number a device, "LABEL, mean, p50, p90, p95, p999", or "LABEL: number". The service
 * gives messages (Google's tpu_metric_service.proto, of cloud-accelerator-diagnostics):
 *
 *   MetricRequest   1 metric_name
 *   MetricResponse  1 TpuMetric { 3 Metric* }
 *   Metric          1 Attribute { 2 AttrValue { 1 string | 2 bool | 3 int | 4 double | 6 list } },
 *                   3 Gauge { 1 double | 2 int | 3 string | 4 bool } | 4 Counter | 5 Distribution | 6 Summary
 *   Distribution    1 count, 2 mean, 6 BucketOptions { 2 Exponential { 1 n, 2 growth, 3 scale } |
 *                   3 Explicit { 1 bounds* } | 4 Linear { 1 n, 2 width, 3 offset } }, 7 bucket_counts*
 *   Summary         1 sample_count, 2 sample_sum, 3 Quantile* { 1 quantile, 2 value } */
#include "service/watch/tpu.h"

#include "base/json.h"
#include "base/number.h"
#include "record/wire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LATENCY(name) "megascale." name ".microsecond.cumulative.distribution"

const struct tpu_metric tpu_metrics[TPU_N_METRICS] = {
    {{"tensorcore_util", "tensorcore_utilization"}, NULL, "tensorcoreUtilization", "", TPU_GAUGE},
    {{NULL}, "tpu.runtime.tensorcore.idle_duration.seconds", "tensorcoreIdleDuration", "", TPU_GAUGE},
    {{"duty_cycle_pct"}, "tpu.runtime.tensorcore.dutycycle.percent", "dutyCycle", "", TPU_DUTY},
    {{"hbm_capacity_total"}, "tpu.runtime.hbm.memory.total.bytes", "hbmCapacityTotal", "", TPU_GAUGE},
    {{"hbm_capacity_usage"}, "tpu.runtime.hbm.memory.usage.bytes", "hbmCapacityUsage", "", TPU_GAUGE},
    {{NULL}, "tpu.runtime.hbm.utilization.percent", "runtimeHbmUtilization", "", TPU_GAUGE},
    {{"buffer_transfer_latency"}, LATENCY("dcn_transfer_latencies"), "bufferTransferLatency", "Us", TPU_LABELED},
    {{"inbound_buffer_transfer_latency"}, LATENCY("dcn_inbound_transfer_latencies"), "inboundBufferTransferLatency",
     "Us", TPU_LABELED},
    {{"host_to_device_transfer_latency"}, LATENCY("host_to_device_transfer_latencies"),
     "hostToDeviceTransferLatency", "Us", TPU_LABELED},
    {{"device_to_host_transfer_latency"}, LATENCY("device_to_host_transfer_latencies"),
     "deviceToHostTransferLatency", "Us", TPU_LABELED},
    {{"collective_e2e_latency"}, LATENCY("collective_end_to_end_latencies"), "collectiveE2ELatency", "Us",
     TPU_LABELED},
    {{"host_compute_latency"}, LATENCY("mxla_compute_latencies"), "hostComputeLatency", "Us", TPU_LABELED},
    {{"tcp_min_rtt", "grpc_tcp_min_rtt", "grpc_tcp_min_round_trip_times"}, LATENCY("grpc_tcp_min_rtt"),
     "grpcTcpMinRtt", "Us", TPU_FLAT},
    {{"tcp_delivery_rate", "grpc_tcp_delivery_rate", "grpc_tcp_delivery_rates"},
     "megascale.grpc_tcp_delivery_rate.Mbps.cumulative.distribution", "grpcTcpDeliveryRate", "Mbps", TPU_FLAT},
    {{"hlo_execution_timing", "hlo_exec_timing"}, "hlo.execution.timing.distribution.microseconds", "hloExecTiming",
     "Us", TPU_LABELED},
    {{"hlo_queue_size"}, "hlo.queue.size.gauge", "hloQueueSize", "", TPU_KEYED},
    {{"ici_link_health"}, NULL, "iciLinkHealth", "", TPU_GAUGE},
    {{"tpu_throttle_score"}, NULL, "throttleScore", "", TPU_GAUGE},
};

/* ---- figures ---- */

enum { STATS_ITEM = 3, ITEM_KEY = 1, ITEM_VALUE = 16 };

void tpu_figures_init(struct tpu_figures *f)
{
    memset(f, 0, sizeof *f);
    for (size_t i = 0; i < TPU_MAX_DEVICES; i++)
        f->total[i] = f->used[i] = -1;
}

void tpu_figures_fini(struct tpu_figures *f)
{
    buf_fini(&f->items);
    buf_fini(&f->key);
    buf_fini(&f->json);
}

/* The figure whose name is in f->key. */
static bool put(struct tpu_figures *f, double v)
{
    if (!isfinite(v) || f->key.failed || f->items.len + f->key.len > TPU_MAX_ITEMS)
        return false;
    buf_clear(&f->json);
    json_put_double(&f->json, v);
    size_t item = wire_buf_begin(&f->items, STATS_ITEM);
    wire_buf_bytes(&f->items, ITEM_KEY, buf_str(&f->key));
    wire_buf_bytes(&f->items, ITEM_VALUE, buf_str(&f->json));
    wire_buf_end(&f->items, item);
    return true;
}

static bool put_of_device(struct tpu_figures *f, const char *name, int64_t device, double v)
{
    double *kept = strcmp(name, "hbmCapacityTotal") == 0   ? f->total
                   : strcmp(name, "hbmCapacityUsage") == 0 ? f->used
                                                           : NULL;
    if (kept && device >= 0 && device < TPU_MAX_DEVICES)
        kept[device] = v;
    buf_clear(&f->key);
    buf_printf(&f->key, "tpu.%lld.%s", (long long)device, name);
    return put(f, v);
}

void tpu_put_memory(struct tpu_figures *f)
{
    for (int i = 0; i < TPU_MAX_DEVICES; i++)
        if (f->total[i] > 0 && f->used[i] >= 0)
            put_of_device(f, "hbmMemoryUsage", i, f->used[i] / f->total[i] * 100);
}

/* ---- texts ---- */

/* Without any of two characters at either end. */
static struct str strip(struct str s, char a, char b)
{
    while (s.n > 0 && (s.p[s.n - 1] == a || s.p[s.n - 1] == b))
        s.n--;
    while (s.n > 0 && (*s.p == a || *s.p == b))
        s = str_make(s.p + 1, s.n - 1);
    return s;
}

static bool number(struct str s, double *v)
{
    s = str_trim(s);
    return s.n > 0 && number_parse_double(s.p, s.n, v) == s.n;
}

/* Letters in lower case and digits; one "_" for whatever is between them. */
static void put_label(struct buf *to, struct str label)
{
    size_t first = to->len;
    bool gap = false;
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i] >= 'A' && label.p[i] <= 'Z' ? (char)(label.p[i] | 32) : label.p[i];
        const char *word = c == '+' ? "plus" : c == '%' ? "pct" : NULL;
        bool stands = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        gap |= c == '+' || !(stands || word);
        if (!stands && !word)
            continue;
        if (gap && to->len > first)
            buf_putc(to, '_');
        gap = c == '+';
        if (word)
            buf_puts(to, word);
        else
            buf_putc(to, c);
    }
    if (to->len == first)
        buf_puts(to, "unknown");
}

enum { MAX_PARTS = 64 };

/* "[a, 'b']" by its commas; empty parts are left out. How many, at most MAX_PARTS. */
static size_t split(struct str s, struct str *parts)
{
    size_t n = 0;
    s = strip(str_trim(s), '[', ']');
    for (size_t at = 0; at < s.n && n < MAX_PARTS;) {
        const char *comma = memchr(s.p + at, ',', s.n - at);
        size_t end = comma ? (size_t)(comma - s.p) : s.n;
        struct str part = strip(str_trim(str_make(s.p + at, end - at)), '"', '\'');
        if (part.n > 0)
            parts[n++] = part;
        at = end + 1;
    }
    return n;
}

static bool mentions(struct str text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.n; i++)
        if (strncasecmp(text.p + i, word, n) == 0)
            return true;
    return false;
}

/* What number `i` of `n` is: of five or four by the peer's order. */
static void put_statistic(struct buf *to, struct str description, size_t n, size_t i)
{
    static const char *const five[] = {"mean", "p50", "p90", "p95", "p999"};
    if (n == 5 && i == 3 && mentions(description, "p99") && !mentions(description, "p95"))
        buf_puts(to, "p99");
    else if (n == 5 || n == 4)
        buf_puts(to, five[n == 5 ? i : i + 1]);
    else
        buf_printf(to, "stat%zu", i);
}

static size_t put_statistics(struct tpu_figures *f, const struct tpu_metric *m, const struct str *label,
                             struct str description, const struct str *parts, size_t n)
{
    size_t n_put = 0;
    double v;
    for (size_t i = 0; i < n; i++) {
        if (!number(parts[i], &v))
            continue;
        buf_clear(&f->key);
        buf_printf(&f->key, "tpu.%s.", m->key);
        if (label) {
            put_label(&f->key, *label);
            buf_putc(&f->key, '.');
        }
        put_statistic(&f->key, description, n, i);
        buf_puts(&f->key, m->unit);
        n_put += put(f, v);
    }
    return n_put;
}

static size_t put_keyed(struct tpu_figures *f, const struct tpu_metric *m, struct str text, size_t i)
{
    const char *colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
    size_t n = colon ? (size_t)(colon - text.p) : 0;
    double v;
    if (!number(colon ? str_make(colon + 1, text.n - n - 1) : text, &v))
        return 0;
    buf_clear(&f->key);
    buf_printf(&f->key, "tpu.%s.", m->key);
    if (colon)
        put_label(&f->key, str_make(text.p, n));
    else
        buf_printf(&f->key, "item_%zu", i);
    return put(f, v);
}

static size_t put_devices(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, const struct str *values,
                          size_t n)
{
    size_t n_put = 0;
    double v;
    for (size_t i = 0; i < n; i++)
        for (uint32_t d = 0; number(values[i], &v) && d < fanout; d++)
            n_put += put_of_device(f, m->key, (int64_t)(i * fanout + d), v);
    return n_put;
}

/* The values stand in one text, or each in its own. */
static size_t put_flat(struct tpu_figures *f, const struct tpu_metric *m, struct str description,
                       const struct str *values, size_t n)
{
    struct str parts[MAX_PARTS];
    size_t n_parts = n == 1 ? split(values[0], parts) : 0;
    if (n_parts > 1)
        return put_statistics(f, m, NULL, description, parts, n_parts);
    return put_statistics(f, m, NULL, description, values, n);
}

size_t tpu_put_values(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, struct str description,
                      const struct str *values, size_t n)
{
    struct str parts[MAX_PARTS];
    size_t n_put = 0;
    if (m->shape == TPU_GAUGE || m->shape == TPU_DUTY)
        return put_devices(f, m, m->shape == TPU_DUTY ? fanout : 1, values, n);
    if (m->shape == TPU_FLAT)
        return put_flat(f, m, description, values, n);
    for (size_t i = 0; i < n; i++) {
        if (m->shape == TPU_KEYED) {
            n_put += put_keyed(f, m, values[i], i);
            continue;
        }
        size_t n_parts = split(values[i], parts);
        if (n_parts > 1)
            n_put += put_statistics(f, m, &parts[0], description, parts + 1, n_parts - 1);
    }
    return n_put;
}

/* ---- messages ---- */

static double as_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The last field among those whose bits are set in `numbers` and whose type is theirs: of a oneof the last
 * one counts. False if there is none, or the message is malformed. */
static bool find_one(struct str message, uint32_t numbers, struct wire_field *found)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f = {0};
    int rc;
    bool any = false;
    while ((rc = wire_next(&r, &f)) > 0)
        if (f.number < 32 && (numbers >> f.number & 1)) {
            *found = f;
            any = true;
        }
    return any && rc == 0;
}

static double find_double(struct str message, uint32_t number)
{
    struct wire_field f;
    return find_one(message, 1u << number, &f) && f.type == WIRE_FIXED64 ? as_double(f.value) : 0;
}

static bool attribute(struct str metric, struct wire_field *value)
{
    struct str v = wire_find_bytes(wire_find_bytes(metric, 1), 2);
    return v.n > 0 && find_one(v, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 6, value);
}

static int64_t device_of(struct str metric)
{
    struct wire_field f;
    return attribute(metric, &f) && f.number == 3 && f.type == WIRE_VARINT ? (int64_t)f.value : 0;
}

static bool measure(struct str metric, struct wire_field *m)
{
    return find_one(metric, 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6, m) && m->type == WIRE_BYTES;
}

static bool gauge(struct str metric, double *v)
{
    struct wire_field m, f;
    if (!measure(metric, &m) || m.number != 3 || !find_one(m.bytes, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4, &f))
        return false;
    if (f.number == 1 && f.type == WIRE_FIXED64)
        *v = as_double(f.value);
    else if (f.number == 2 && f.type == WIRE_VARINT)
        *v = (double)(int64_t)f.value;
    else
        return false;
    return true;
}

/* f->key: tpu.KEY.LABEL, the label being the attribute's text or the place in the list. */
static void name_metric(struct tpu_figures *f, const struct tpu_metric *m, struct str metric, size_t i)
{
    struct wire_field value;
    buf_clear(&f->key);
    buf_printf(&f->key, "tpu.%s.", m->key);
    if (attribute(metric, &value) && value.number == 1 && value.type == WIRE_BYTES && value.bytes.n > 0)
        put_label(&f->key, value.bytes);
    else
        buf_printf(&f->key, "item_%zu", i);
}

static size_t put_named(struct tpu_figures *f, const struct tpu_metric *m, const char *statistic, double v)
{
    size_t before = f->key.len;
    buf_printf(&f->key, ".%s%s", statistic, m->unit);
    size_t n = put(f, v);
    f->key.len = before;
    return n;
}

static const struct quantile {
    double quantile;
    const char *name;
} quantiles[] = {{0.5, "p50"}, {0.9, "p90"}, {0.95, "p95"}, {0.99, "p99"}, {0.999, "p999"}};

enum { N_QUANTILES = sizeof quantiles / sizeof *quantiles };

static size_t put_summary(struct tpu_figures *f, const struct tpu_metric *m, struct str summary)
{
    double count = (double)wire_find_varint(summary, 1);
    size_t n_put = count > 0 ? put_named(f, m, "mean", find_double(summary, 2) / count) : 0;
    struct wire_reader r = wire_open(summary);
    struct wire_field q = {0};
    while (wire_next(&r, &q) > 0) {
        double quantile = find_double(q.bytes, 1);
        for (int i = 0; q.number == 3 && i < N_QUANTILES; i++)
            if (fabs(quantile - quantiles[i].quantile) < 1e-9)
                n_put += put_named(f, m, quantiles[i].name, find_double(q.bytes, 2));
    }
    return n_put;
}

/* ---- distributions: counts of buckets, of which percentiles are interpolated ---- */

enum { MAX_BUCKETS = 4096 };

struct buckets {
    double count[MAX_BUCKETS], total;
    size_t n;
    double bound[MAX_BUCKETS]; /* upper ones; the last bucket has none */
    size_t n_bounds;
};

static void add_count(struct buckets *b, uint64_t v)
{
    double count = (int64_t)v > 0 ? (double)v : 0;
    if (b->n == MAX_BUCKETS)
        return;
    b->count[b->n++] = count;
    b->total += count;
}

/* Packed or one by one. */
static void read_counts(struct buckets *b, struct str distribution)
{
    struct wire_reader r = wire_open(distribution);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        uint64_t v;
        struct wire_reader packed = wire_open(f.bytes);
        if (f.number == 7 && f.type == WIRE_VARINT)
            add_count(b, f.value);
        while (f.number == 7 && f.type == WIRE_BYTES && wire_get_varint(&packed, &v))
            add_count(b, v);
    }
}

static void add_bound(struct buckets *b, double v)
{
    if (b->n_bounds < MAX_BUCKETS)
        b->bound[b->n_bounds++] = v;
}

static void read_explicit(struct buckets *b, struct str options)
{
    struct wire_reader r = wire_open(options);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        if (f.number == 1 && f.type == WIRE_FIXED64)
            add_bound(b, as_double(f.value));
        for (size_t i = 0; f.number == 1 && f.type == WIRE_BYTES && i + 8 <= f.bytes.n; i += 8) {
            uint64_t bits = 0;
            for (int k = 7; k >= 0; k--)
                bits = bits << 8 | (unsigned char)f.bytes.p[i + (size_t)k];
            add_bound(b, as_double(bits));
        }
    }
}

static void read_bounds(struct buckets *b, struct str distribution)
{
    struct wire_field f;
    if (!find_one(wire_find_bytes(distribution, 6), 1u << 2 | 1u << 3 | 1u << 4, &f) || f.type != WIRE_BYTES)
        return;
    int32_t n = (int32_t)wire_find_varint(f.bytes, 1);
    double first = find_double(f.bytes, 2), second = find_double(f.bytes, 3);
    if (f.number == 3)
        read_explicit(b, f.bytes);
    for (int32_t i = 1; f.number != 3 && i <= n && i <= MAX_BUCKETS; i++)
        add_bound(b, f.number == 2 ? second * pow(first, i) : second + first * i);
}

static double percentile(const struct buckets *b, double quantile)
{
    double target = b->total * quantile, sum = 0;
    for (size_t i = 0; i < b->n; i++) {
        sum += b->count[i];
        if (sum < target || b->n_bounds == 0)
            continue;
        double low = i == 0 ? 0 : b->bound[i < b->n_bounds ? i - 1 : b->n_bounds - 1];
        double high = b->bound[i < b->n_bounds ? i : b->n_bounds - 1];
        return low + (target - (sum - b->count[i])) / b->count[i] * (high - low);
    }
    return b->n_bounds > 0 ? b->bound[b->n_bounds - 1] : 0;
}

static size_t put_distribution(struct tpu_figures *f, const struct tpu_metric *m, struct str distribution)
{
    static const int told[] = {0, 1, 2, 4}; /* without p99 */
    struct buckets b = {.total = 0};
    if ((int64_t)wire_find_varint(distribution, 1) <= 0)
        return 0;
    size_t n_put = put_named(f, m, "mean", find_double(distribution, 2));
    read_counts(&b, distribution);
    read_bounds(&b, distribution);
    for (size_t i = 0; b.total > 0 && i < sizeof told / sizeof *told; i++)
        n_put += put_named(f, m, quantiles[told[i]].name, percentile(&b, quantiles[told[i]].quantile));
    return n_put;
}

static size_t put_metric(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, struct str metric,
                         size_t i)
{
    struct wire_field what;
    double v;
    size_t n_put = 0;
    if (m->shape == TPU_GAUGE || m->shape == TPU_DUTY) {
        uint64_t device = (uint64_t)device_of(metric) * fanout;
        for (uint32_t d = 0; gauge(metric, &v) && d < (m->shape == TPU_DUTY ? fanout : 1); d++)
            n_put += put_of_device(f, m->key, (int64_t)(device + d), v);
        return n_put;
    }
    name_metric(f, m, metric, i);
    if (m->shape == TPU_KEYED)
        return gauge(metric, &v) && put(f, v);
    if (!measure(metric, &what) || what.number < 5)
        return 0;
    return what.number == 6 ? put_summary(f, m, what.bytes) : put_distribution(f, m, what.bytes);
}

size_t tpu_put_response(struct tpu_figures *f, const struct tpu_metric *m, uint32_t fanout, struct str response)
{
    struct wire_reader r = wire_open(wire_find_bytes(response, 1));
    struct wire_field metric = {0};
    size_t i = 0, n_put = 0;
    while (wire_next(&r, &metric) > 0)
        if (metric.number == 3 && metric.type == WIRE_BYTES)
            n_put += put_metric(f, m, fanout, metric.bytes, i++);
    return n_put;
}

/* ---- gRPC ---- */

void tpu_put_request(struct buf *body, const char *metric_name)
{
    size_t n = wire_bytes_size(1, strlen(metric_name));
    buf_putc(body, 0);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(body, (char)(n >> shift));
    wire_buf_bytes(body, 1, str_of(metric_name));
}

bool tpu_find_message(struct str body, struct str *message)
{
    if (body.n < 5 || body.p[0] != 0)
        return false;
    size_t n = 0;
    for (int i = 1; i < 5; i++)
        n = n << 8 | (unsigned char)body.p[i];
    *message = str_make(body.p + 5, body.n - 5);
    return n == body.n - 5;
}
