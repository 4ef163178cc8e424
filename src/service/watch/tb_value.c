/* SPDX-License-Identifier: MIT */
#include "service/watch/tb_value.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/number.h"
#include "record/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BINS = 512 };

/* ---- repeated numbers ---- */

struct numbers {
    double *v;
    size_t n, cap;
    bool failed;
};

static void add(struct numbers *to, double v)
{
    if (to->n == to->cap) {
        size_t cap = to->cap ? 2 * to->cap : 64;
        double *more = mem_realloc(to->v, cap * sizeof *more);
        if (!more) {
            to->failed = true;
            return;
        }
        to->v = more;
        to->cap = cap;
    }
    to->v[to->n++] = v;
}

static double as_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static double as_float(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float v;
    memcpy(&v, &low, sizeof v);
    return (double)v;
}

enum number_kind { FLOAT, DOUBLE, INT };

static uint64_t read_le(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return v;
}

static int add_packed(struct numbers *to, struct str bytes, enum number_kind kind)
{
    if (kind == INT) {
        struct wire_reader r = wire_open(bytes);
        uint64_t v;
        while (r.p < r.end) {
            if (!wire_get_varint(&r, &v))
                return TARE_EFORMAT;
            add(to, (double)(int64_t)v);
        }
        return 0;
    }
    size_t size = kind == FLOAT ? 4 : 8;
    if (bytes.n % size != 0)
        return TARE_EFORMAT;
    for (size_t i = 0; i < bytes.n; i += size) {
        uint64_t bits = read_le(bytes.p + i, size);
        add(to, kind == FLOAT ? as_float(bits) : as_double(bits));
    }
    return 0;
}

static int read_numbers(struct numbers *to, struct str message, uint32_t field, enum number_kind kind)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f = {0};
    int rc;
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number != field)
            continue;
        if (f.type == WIRE_BYTES)
            rc = add_packed(to, f.bytes, kind);
        else if (f.type == WIRE_FIXED32 && kind == FLOAT)
            add(to, as_float(f.value));
        else if (f.type == WIRE_FIXED64 && kind == DOUBLE)
            add(to, as_double(f.value));
        else if (f.type == WIRE_VARINT && kind == INT)
            add(to, (double)(int64_t)f.value);
        if (rc < 0 || to->failed)
            return to->failed ? TARE_ENOMEM : TARE_EFORMAT;
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

int tb_read_doubles(struct str message, uint32_t field, double **values, size_t *n)
{
    struct numbers all = {0};
    int rc = read_numbers(&all, message, field, DOUBLE);
    if (rc < 0) {
        mem_free(all.v);
        return rc;
    }
    *values = all.v;
    *n = all.n;
    return 0;
}

/* ---- tensors ---- */

/* Of TensorProto: its types, where their values are, and how wide they are in tensor_content. */
static const struct {
    uint64_t dtype;
    uint32_t field;
    enum number_kind kind;
    size_t width;
    bool is_signed_int;
} dtypes[] = {
    {1, 5, FLOAT, 4, false},
    {2, 6, DOUBLE, 8, false},
    {3, 7, INT, 4, true},
    {9, 10, INT, 8, true},
};

static int read_shape(struct tb_tensor *t, struct str shape)
{
    struct wire_reader r = wire_open(shape);
    struct wire_field f = {0};
    int rc;
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number != 2 || f.type != WIRE_BYTES)
            continue;
        if (t->rank == (int)(sizeof t->shape / sizeof *t->shape))
            return TARE_EFORMAT;
        int64_t size = (int64_t)wire_find_varint(f.bytes, 1);
        if (size < 0)
            return TARE_EFORMAT; /* not known */
        t->shape[t->rank++] = size;
    }
    return rc;
}

static int read_content(struct numbers *to, struct str content, size_t width, enum number_kind kind)
{
    if (kind != INT)
        return add_packed(to, content, kind);
    if (content.n % width != 0)
        return TARE_EFORMAT;
    for (size_t i = 0; i < content.n; i += width) {
        uint64_t bits = read_le(content.p + i, width);
        add(to, (double)(width == 4 ? (int64_t)(int32_t)bits : (int64_t)bits));
    }
    return 0;
}

int tb_tensor_read(struct tb_tensor *to, struct str proto)
{
    *to = (struct tb_tensor){0};
    uint64_t dtype = wire_find_varint(proto, 1);
    size_t i = 0;
    while (i < sizeof dtypes / sizeof *dtypes && dtypes[i].dtype != dtype)
        i++;
    if (i == sizeof dtypes / sizeof *dtypes)
        return TARE_EUNSUPPORTED;
    int rc = read_shape(to, wire_find_bytes(proto, 2));
    if (rc < 0)
        return rc;
    struct numbers all = {0};
    struct str content = wire_find_bytes(proto, 4);
    rc = content.n ? read_content(&all, content, dtypes[i].width, dtypes[i].kind)
                   : read_numbers(&all, proto, dtypes[i].field, dtypes[i].kind);
    if (rc == 0 && all.failed)
        rc = TARE_ENOMEM;
    if (rc < 0) {
        mem_free(all.v);
        return rc;
    }
    to->values = all.v;
    to->n_values = all.n;
    return 0;
}

void tb_tensor_fini(struct tb_tensor *t)
{
    mem_free(t->values);
    t->values = NULL;
}

/* ---- numbers as text ---- */

/* value = 0.DIGITS x 10^point */
struct digits {
    char text[24];
    int n, point;
    bool negative;
};

static void take_digits(struct digits *d, const char *text, size_t n)
{
    int exponent = 0;
    bool in_fraction = false;
    *d = (struct digits){0};
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '-') {
            d->negative = true;
        } else if (text[i] == '.') {
            in_fraction = true;
        } else if (text[i] == 'e') {
            exponent = atoi(text + i + 1);
            break;
        } else if (d->n == 0 && text[i] == '0') {
            d->point -= in_fraction;
        } else if (d->n < (int)sizeof d->text) {
            d->text[d->n++] = text[i];
            d->point += !in_fraction;
        }
    }
    while (d->n > 0 && d->text[d->n - 1] == '0')
        d->n--;
    d->point += exponent;
}

static void shortest_double(struct digits *d, double v)
{
    char text[NUMBER_MAX + 1];
    size_t n = number_format_double(text, v);
    text[n] = 0;
    take_digits(d, text, n);
}

static void shortest_float(struct digits *d, float v)
{
    char text[32] = "";
    for (int precision = 0; precision < 9; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    take_digits(d, text, strlen(text));
}

static void put_zeros(struct buf *to, int n)
{
    for (int i = 0; i < n; i++)
        buf_putc(to, '0');
}

static void put_positional(struct buf *to, const struct digits *d)
{
    if (d->n == 0) {
        buf_putc(to, '0');
    } else if (d->point <= 0) {
        buf_puts(to, "0.");
        put_zeros(to, -d->point);
        buf_append(to, d->text, (size_t)d->n);
    } else if (d->point >= d->n) {
        buf_append(to, d->text, (size_t)d->n);
        put_zeros(to, d->point - d->n);
    } else {
        buf_append(to, d->text, (size_t)d->point);
        buf_putc(to, '.');
        buf_append(to, d->text + d->point, (size_t)(d->n - d->point));
    }
}

/* Positional for exponents in [least, most), else with an exponent of at least `exponent_digits`. */
static void put_digits(struct buf *to, const struct digits *d, int least, int most, int exponent_digits)
{
    int exponent = d->n ? d->point - 1 : 0;
    if (d->negative)
        buf_putc(to, '-');
    if (exponent >= least && exponent < most) {
        put_positional(to, d);
        return;
    }
    buf_putc(to, d->text[0]);
    if (d->n > 1) {
        buf_putc(to, '.');
        buf_append(to, d->text + 1, (size_t)d->n - 1);
    }
    buf_printf(to, "e%c%0*d", exponent < 0 ? '-' : '+', exponent_digits, abs(exponent));
}

void tb_put_scalar(struct buf *to, double v, bool is_float)
{
    struct digits d;
    if (isnan(v)) {
        buf_puts(to, "NaN");
        return;
    }
    if (isinf(v)) {
        buf_puts(to, v < 0 ? "-Infinity" : "Infinity");
        return;
    }
    if (is_float)
        shortest_float(&d, (float)v);
    else
        shortest_double(&d, v);
    put_digits(to, &d, -4, 6, 2);
}

void tb_put_json_number(struct buf *to, double v)
{
    struct digits d;
    shortest_double(&d, v);
    put_digits(to, &d, -6, 21, v != 0 && fabs(v) < 1e-6 ? 1 : 2);
}

/* ---- histograms ---- */

/* The edges of `n_new` bins, spread over the n + 1 old edges by position. */
static void spread_edges(double *to, size_t n_new, const double *edges, size_t n)
{
    for (size_t i = 0; i <= n_new; i++) {
        size_t at = i * n / n_new, rest = i * n % n_new;
        to[i] = edges[at];
        if (rest > 0)
            to[i] += (edges[at + 1] - edges[at]) * ((double)rest / (double)n_new);
    }
}

/* Share each old bin's weight among the new bins it reaches into. Edges must not go down. */
static void spread_weights(double *to, const double *new_edges, size_t n_new, const double *edges,
                           const double *weights, size_t n)
{
    size_t old = 0;
    memset(to, 0, n_new * sizeof *to);
    for (size_t i = 0; i < n_new && old < n; i++) {
        while (old < n && edges[old + 1] < new_edges[i + 1])
            to[i] += weights[old++];
        if (old == n || !(new_edges[i + 1] <= edges[old + 1]))
            continue;
        double part = (new_edges[i + 1] - edges[old]) / (edges[old + 1] - edges[old]);
        to[i] += part * weights[old];
        to[i + 1 < n_new ? i + 1 : i] += (1 - part) * weights[old];
        old++;
    }
}

static bool put_numbers(struct buf *to, const double *v, size_t n)
{
    buf_putc(to, '[');
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i]))
            return false;
        if (i > 0)
            buf_putc(to, ',');
        tb_put_json_number(to, v[i]);
    }
    buf_putc(to, ']');
    return true;
}

bool tb_put_histogram(struct buf *to, const double *edges, const double *weights, size_t n)
{
    double new_edges[MAX_BINS + 1], new_weights[MAX_BINS];
    if (n > MAX_BINS) {
        spread_edges(new_edges, MAX_BINS, edges, n);
        spread_weights(new_weights, new_edges, MAX_BINS, edges, weights, n);
        edges = new_edges;
        weights = new_weights;
        n = MAX_BINS;
    }
    size_t before = to->len;
    buf_puts(to, "{\"_type\":\"histogram\",\"bins\":");
    bool ok = put_numbers(to, edges, n + 1);
    buf_puts(to, ",\"values\":");
    ok = ok && put_numbers(to, weights, n);
    buf_putc(to, '}');
    if (!ok)
        to->len = before;
    return ok;
}

/* ---- images ---- */

static int64_t read_be(struct str s, size_t at, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)s.p[at + i];
    return v;
}

/* The frame header: the first segment 0xC0..0xCF that is no table. */
static bool jpeg_size(struct str s, int64_t *width, int64_t *height)
{
    size_t at = 2;
    while (at + 9 <= s.n) {
        unsigned char kind = (unsigned char)s.p[at + 1];
        if ((unsigned char)s.p[at] != 0xff)
            return false;
        if (kind == 0xff) {
            at++;
            continue;
        }
        if (kind >= 0xc0 && kind <= 0xcf && kind != 0xc4 && kind != 0xc8 && kind != 0xcc) {
            *height = read_be(s, at + 5, 2);
            *width = read_be(s, at + 7, 2);
            return true;
        }
        at += 2 + (size_t)read_be(s, at + 2, 2);
    }
    return false;
}

const char *tb_image_format(struct str data, int64_t *width, int64_t *height)
{
    if (data.n >= 24 && str_starts(data, STR("\x89PNG\r\n\x1a\n"))) {
        *width = read_be(data, 16, 4);
        *height = read_be(data, 20, 4);
        return "png";
    }
    if (data.n >= 10 && (str_starts(data, STR("GIF87a")) || str_starts(data, STR("GIF89a")))) {
        *width = (unsigned char)data.p[6] | (unsigned char)data.p[7] << 8;
        *height = (unsigned char)data.p[8] | (unsigned char)data.p[9] << 8;
        return "gif";
    }
    if (data.n >= 4 && str_starts(data, STR("\xff\xd8\xff")) && jpeg_size(data, width, height))
        return "jpeg";
    return NULL;
}
