/* SPDX-License-Identifier: MIT */
#include "client/pack.h"

#include "base/json.h"
#include "base/number.h"
#include "client/last_error.h"

#include <math.h>
#include <string.h>

enum { KEY_MAX = 65535, SLOW_BYTES = 16384, MAX_BYTES = 1 << 30 };

static bool has_size(const struct tare_value *v)
{
    return v->n == 0 || v->as.pointer;
}

static int measure_histogram(const struct tare_histogram *h, size_t *bytes)
{
    if (!h || !h->n_bins || !h->edges || !h->counts)
        return last_error_set(TARE_EINVAL, "a histogram needs edges and counts");
    if (h->n_bins > PACK_BINS_MAX)
        return last_error_set(TARE_ELIMIT, "a histogram has at most %d bins", PACK_BINS_MAX);
    *bytes = 4 + (2 * h->n_bins + 1) * 8;
    return 0;
}

static int measure_image(const struct tare_image *image, size_t *bytes)
{
    if (!image || !image->png || image->n_bytes > MAX_BYTES)
        return last_error_set(TARE_EINVAL, "an image needs the bytes of a PNG file");
    if (image->n_bytes < 33 || memcmp(image->png, "\x89PNG\r\n\x1a\n", 8) != 0)
        return last_error_set(TARE_EFORMAT, "an image must be a PNG file");
    *bytes = 8 + image->n_bytes + (image->caption ? strlen(image->caption) : 0);
    return 0;
}

static int measure_value(const struct tare_value *v, size_t *bytes, bool *slow, bool in_table);

static int measure_table(const struct tare_table *t, size_t *bytes)
{
    if (!t || !t->n_columns || !t->columns || (t->n_rows && !t->cells))
        return last_error_set(TARE_EINVAL, "a table needs columns and cells");
    if (t->n_columns > 100000 || t->n_rows > MAX_BYTES / t->n_columns)
        return last_error_set(TARE_ELIMIT, "the table is too large");
    *bytes = 8;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!t->columns[i])
            return last_error_set(TARE_EINVAL, "a column has no name");
        *bytes += 4 + strlen(t->columns[i]);
    }
    for (size_t i = 0; i < t->n_columns * t->n_rows; i++) {
        size_t cell = 0;
        bool slow;
        int rc = measure_value(&t->cells[i], &cell, &slow, true);
        if (rc)
            return rc;
        *bytes += 3 + cell;
    }
    return 0;
}

static int measure_samples(const struct tare_value *v, size_t *bytes)
{
    if (v->n > PACK_BINS_MAX)
        return last_error_set(TARE_ELIMIT, "a histogram has at most %d bins", PACK_BINS_MAX);
    if (v->n_more && !v->as.f64s)
        return last_error_set(TARE_EINVAL, "samples are missing");
    *bytes = 4 + (2 * (v->n ? v->n : PACK_BINS_DEFAULT) + 1) * 8;
    return 0;
}

/* Bytes of what follows the key. */
static int measure_value(const struct tare_value *v, size_t *bytes, bool *slow, bool in_table)
{
    *slow = v->type >= TARE_SAMPLES;
    switch (v->type) {
    case TARE_NULL:
        *bytes = 0;
        return 0;
    case TARE_BOOL:
        *bytes = 1;
        return 0;
    case TARE_I64:
    case TARE_F64:
        *bytes = 8;
        return 0;
    case TARE_JSON:
        if (!v->as.text || !json_valid(str_make(v->as.text, v->n)))
            return last_error_set(TARE_EFORMAT, "%s: not JSON", v->key ? v->key : "a cell");
        /* fall through */
    case TARE_STRING:
        *bytes = 4 + v->n;
        return has_size(v) && v->n < MAX_BYTES ? 0 : last_error_set(TARE_EINVAL, "no text");
    case TARE_F64_ARRAY:
    case TARE_I64_ARRAY:
        *bytes = 4 + 8 * v->n;
        return has_size(v) && v->n < MAX_BYTES / 8 ? 0 : last_error_set(TARE_EINVAL, "no array");
    default:
        break;
    }
    if (in_table)
        return last_error_set(TARE_EINVAL, "a cell holds a histogram, image or table");
    if (v->type == TARE_HISTOGRAM)
        return measure_histogram(v->as.histogram, bytes);
    if (v->type == TARE_SAMPLES)
        return measure_samples(v, bytes);
    if (v->type == TARE_IMAGE)
        return measure_image(v->as.image, bytes);
    if (v->type == TARE_TABLE)
        return measure_table(v->as.table, bytes);
    return last_error_set(TARE_EINVAL, "a value has no type");
}

int pack_measure(const struct tare_value *values, size_t n, struct pack_size *to)
{
    size_t total = 0;
    bool slow = false;
    for (size_t i = 0; i < n; i++) {
        const struct tare_value *v = &values[i];
        size_t key = v->key ? strlen(v->key) : 0, bytes = 8;
        if (!key || key > KEY_MAX)
            return last_error_set(TARE_EINVAL, "a value needs a key of 1 to 65535 bytes");
        if (v->type != TARE_F64 && v->type != TARE_I64) {
            bool this_slow;
            int rc = measure_value(v, &bytes, &this_slow, false);
            if (rc)
                return rc;
            slow |= this_slow;
        }
        total += 3 + key + bytes;
    }
    if (total > MAX_BYTES)
        return last_error_set(TARE_ELIMIT, "more than 1 GiB in one call");
    *to = (struct pack_size){.bytes = total, .slow = slow || total > SLOW_BYTES};
    return 0;
}

static char *put(char *to, const void *p, size_t n)
{
    if (n)
        memcpy(to, p, n);
    return to + n;
}

static char *put_u32(char *to, size_t v)
{
    uint32_t u = (uint32_t)v;
    return put(to, &u, sizeof u);
}

static char *put_text(char *to, const char *p, size_t n)
{
    return put(put_u32(to, n), p, n);
}

static char *put_histogram(char *to, const struct tare_histogram *h)
{
    to = put_u32(to, h->n_bins);
    to = put(to, h->edges, (h->n_bins + 1) * 8);
    return put(to, h->counts, h->n_bins * 8);
}

static void sample_range(const double *x, size_t n, double *lo, double *hi)
{
    *lo = (double)INFINITY, *hi = (double)-INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            continue;
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
    if (*lo > *hi) /* no sample at all: as numpy */
        *lo = 0, *hi = 1;
    else if (*lo == *hi)
        *lo -= 0.5, *hi += 0.5;
}

/* Equal bins over the samples' range; the last one is closed, as numpy's. */
static char *put_samples(char *to, const struct tare_value *v)
{
    size_t n_bins = v->n ? v->n : PACK_BINS_DEFAULT;
    double edges[PACK_BINS_MAX + 1], lo, hi;
    int64_t counts[PACK_BINS_MAX] = {0};
    sample_range(v->as.f64s, v->n_more, &lo, &hi);
    for (size_t i = 0; i <= n_bins; i++)
        edges[i] = lo + (hi - lo) * ((double)i / (double)n_bins);
    edges[n_bins] = hi;
    for (size_t i = 0; i < v->n_more; i++) {
        double x = v->as.f64s[i];
        if (!isfinite(x))
            continue;
        double at = (x - lo) / (hi - lo) * (double)n_bins;
        size_t k = at < 0 ? 0 : at >= (double)n_bins ? n_bins - 1 : (size_t)at;
        while (k > 0 && x < edges[k])
            k--;
        while (k + 1 < n_bins && x >= edges[k + 1])
            k++;
        counts[k]++;
    }
    struct tare_histogram h = {.edges = edges, .counts = counts, .n_bins = n_bins};
    return put_histogram(to, &h);
}

static char *put_image(char *to, const struct tare_image *image)
{
    size_t caption = image->caption ? strlen(image->caption) : 0;
    to = put_u32(put_u32(to, image->n_bytes), caption);
    return put(put(to, image->png, image->n_bytes), image->caption, caption);
}

static char *put_value(char *to, const struct tare_value *v, const char *key, size_t n_key);

static char *put_table(char *to, const struct tare_table *t)
{
    to = put_u32(put_u32(to, t->n_columns), t->n_rows);
    for (size_t i = 0; i < t->n_columns; i++)
        to = put_text(to, t->columns[i], strlen(t->columns[i]));
    for (size_t i = 0; i < t->n_columns * t->n_rows; i++)
        to = put_value(to, &t->cells[i], "", 0);
    return to;
}

static char *put_value(char *to, const struct tare_value *v, const char *key, size_t n_key)
{
    enum tare_type type = v->type == TARE_SAMPLES ? TARE_HISTOGRAM : v->type;
    uint16_t n = (uint16_t)n_key;
    *to++ = (char)type;
    to = put(put(to, &n, sizeof n), key, n_key);
    switch (v->type) {
    case TARE_NULL:
        return to;
    case TARE_BOOL:
        *to++ = (char)(v->as.boolean != 0);
        return to;
    case TARE_I64:
    case TARE_F64:
        return put(to, &v->as, 8);
    case TARE_STRING:
    case TARE_JSON:
        return put_text(to, v->as.text, v->n);
    case TARE_F64_ARRAY:
    case TARE_I64_ARRAY:
        return put(put_u32(to, v->n), v->as.pointer, v->n * 8);
    case TARE_HISTOGRAM:
        return put_histogram(to, v->as.histogram);
    case TARE_SAMPLES:
        return put_samples(to, v);
    case TARE_IMAGE:
        return put_image(to, v->as.image);
    case TARE_TABLE:
        return put_table(to, v->as.table);
    }
    return to;
}

char *pack_write(char *to, const struct tare_value *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to = put_value(to, &values[i], values[i].key, strlen(values[i].key));
    return to;
}

static uint32_t get_u32(const char **at)
{
    uint32_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return v;
}

static struct str get(const char **at, size_t n)
{
    struct str s = str_make(*at, n);
    *at += n;
    return s;
}

static void next_table(const char **at, struct packed *to)
{
    to->n = get_u32(at);
    to->n_rows = get_u32(at);
    const char *from = *at;
    for (size_t i = 0; i < to->n; i++) {
        size_t n = get_u32(at);
        *at += n;
    }
    struct packed cell;
    for (size_t i = 0; i < to->n * to->n_rows; i++)
        pack_next(at, &cell);
    to->data = str_make(from, (size_t)(*at - from));
}

void pack_next(const char **at, struct packed *to)
{
    uint16_t n_key;
    memset(to, 0, sizeof *to);
    to->type = (enum tare_type)(unsigned char)*(*at)++;
    memcpy(&n_key, *at, sizeof n_key);
    *at += sizeof n_key;
    to->key = get(at, n_key);
    switch (to->type) {
    case TARE_BOOL:
        to->data = get(at, 1);
        return;
    case TARE_I64:
    case TARE_F64:
        to->data = get(at, 8);
        return;
    case TARE_STRING:
    case TARE_JSON:
        to->n = get_u32(at);
        to->data = get(at, to->n);
        return;
    case TARE_F64_ARRAY:
    case TARE_I64_ARRAY:
        to->n = get_u32(at);
        to->data = get(at, to->n * 8);
        return;
    case TARE_HISTOGRAM:
        to->n = get_u32(at);
        to->data = get(at, (2 * to->n + 1) * 8);
        return;
    case TARE_IMAGE:
        to->n = get_u32(at);
        size_t caption = get_u32(at);
        to->data = get(at, to->n);
        to->more = get(at, caption);
        return;
    case TARE_TABLE:
        next_table(at, to);
        return;
    default:
        return;
    }
}

static double f64_at(struct str s, size_t i)
{
    double v;
    memcpy(&v, s.p + 8 * i, sizeof v);
    return v;
}

static int64_t i64_at(struct str s, size_t i)
{
    int64_t v;
    memcpy(&v, s.p + 8 * i, sizeof v);
    return v;
}

static void put_f64s(struct buf *b, struct str data, size_t from, size_t n)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(b, ',');
        json_put_double(b, f64_at(data, from + i));
    }
    buf_putc(b, ']');
}

static void put_i64s(struct buf *b, struct str data, size_t from, size_t n)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(b, ',');
        json_put_i64(b, i64_at(data, from + i));
    }
    buf_putc(b, ']');
}

static void put_histogram_json(struct buf *b, const struct packed *v)
{
    buf_puts(b, "{\"_type\":\"histogram\",\"values\":");
    put_i64s(b, v->data, v->n + 1, v->n);
    buf_puts(b, ",\"bins\":");
    put_f64s(b, v->data, 0, v->n + 1);
    buf_putc(b, '}');
}

int pack_put_json(struct buf *b, const struct packed *v)
{
    switch (v->type) {
    case TARE_F64:
        json_put_double(b, f64_at(v->data, 0));
        break;
    case TARE_I64:
        json_put_i64(b, i64_at(v->data, 0));
        break;
    case TARE_BOOL:
        buf_puts(b, *v->data.p ? "true" : "false");
        break;
    case TARE_STRING:
        json_put_string(b, v->data);
        break;
    case TARE_JSON:
        buf_put_str(b, v->data);
        break;
    case TARE_F64_ARRAY:
        put_f64s(b, v->data, 0, v->n);
        break;
    case TARE_I64_ARRAY:
        put_i64s(b, v->data, 0, v->n);
        break;
    case TARE_HISTOGRAM:
        put_histogram_json(b, v);
        break;
    default:
        buf_puts(b, "null");
    }
    return b->failed ? TARE_ENOMEM : 0;
}

int pack_put_table(struct buf *b, const struct packed *table)
{
    const char *at = table->data.p;
    buf_puts(b, "{\"columns\":[");
    for (size_t i = 0; i < table->n; i++) {
        if (i)
            buf_putc(b, ',');
        size_t n = get_u32(&at);
        json_put_string(b, get(&at, n));
    }
    buf_puts(b, "],\"data\":[");
    for (size_t row = 0; row < table->n_rows; row++) {
        buf_puts(b, row ? ",[" : "[");
        for (size_t i = 0; i < table->n; i++) {
            struct packed cell;
            if (i)
                buf_putc(b, ',');
            pack_next(&at, &cell);
            pack_put_json(b, &cell);
        }
        buf_putc(b, ']');
    }
    return buf_puts(b, "]}");
}
