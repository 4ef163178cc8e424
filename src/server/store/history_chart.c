/* SPDX-License-Identifier: MIT */
/* Series for charts: whole, or as an envelope that hides no spike.
 *
 * The envelope over [min_step, max_step) cuts the steps into `pixels` equal parts and gives one point for
 * each part that has numbers. Where a part holds many values (more than RAW_PER_PIXEL), the buckets
 * stored beside the values are put together instead of the values; a bucket belongs to the part its
 * first step is in, so a point may reach a little (less than BUCKET_VALUES values) beyond its part: the
 * answer says exactly which steps a point spans. */
#include "server/store/history.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"

#include <math.h>

enum { RAW_PER_PIXEL = 3 * BUCKET_VALUES };

struct point {
    int64_t first, last;
    double min, max, sum, end;
    int64_t n;
};

struct chart {
    int64_t from, to; /* steps, `to` exclusive */
    uint32_t pixels;
    struct point *points;
};

static const struct segment_key *find_key(const struct history_cursor *hc, struct str name)
{
    for (uint32_t i = 0; i < hc->keys.n; i++)
        if (path_matches(hc->keys.keys[i].path, name) == 1)
            return &hc->keys.keys[i];
    return NULL;
}

/* About how many of the segment's numbers lie in the chart's range. */
static int64_t share(const struct history_cursor *hc, const struct segment_key *key, const struct chart *ch)
{
    double from = (double)(hc->min_step > ch->from ? hc->min_step : ch->from);
    double to = (double)(hc->max_step < ch->to ? hc->max_step : ch->to);
    double span = (double)hc->max_step - (double)hc->min_step + 1;
    return (int64_t)ceil(key->n_numbers * ((to - from + 1) / span));
}

/* Of the chart's range, what the run has: its first and last step, and about how many numbers. */
static int measure(struct db_conn *c, int64_t run, enum history_stream stream, struct str name,
                   struct chart *chart, int64_t *n_numbers, struct err *e)
{
    struct history_cursor hc;
    int64_t least = INT64_MAX, most = INT64_MIN;
    *n_numbers = 0;
    int rc = history_cursor_open(&hc, c, run, stream, chart->from, chart->to, e);
    while (rc >= 0 && (rc = history_cursor_next(&hc, e)) == 1) {
        const struct segment_key *key = find_key(&hc, name);
        if (!key || !key->n_numbers)
            continue;
        least = hc.min_step < least ? hc.min_step : least;
        most = hc.max_step > most ? hc.max_step : most;
        *n_numbers += share(&hc, key, chart);
    }
    history_cursor_close(&hc);
    if (least > chart->from)
        chart->from = least;
    if (most < chart->to - 1)
        chart->to = most + 1;
    return rc;
}

static struct point *point_at(const struct chart *ch, int64_t step)
{
    uint64_t width = (uint64_t)ch->to - (uint64_t)ch->from, offset = (uint64_t)step - (uint64_t)ch->from;
    return &ch->points[(uint64_t)((unsigned __int128)offset * ch->pixels / width)];
}

static void add_bucket(struct point *p, int64_t first, int64_t last, double min, double max, double sum,
                       double end, int64_t n)
{
    if (!p->n) {
        p->first = first;
        p->last = last;
        p->min = min;
        p->max = max;
    }
    p->first = first < p->first ? first : p->first;
    p->last = last > p->last ? last : p->last;
    p->min = min < p->min ? min : p->min;
    p->max = max > p->max ? max : p->max;
    p->sum += sum;
    p->end = end;
    p->n += n;
}

static int add_values(struct history_cursor *hc, const struct segment_key *key, struct chart *ch,
                      struct column *column, int64_t *steps, struct err *e)
{
    int rc = history_cursor_steps(hc, steps, e);
    if (!rc)
        rc = history_cursor_column(hc, key, column, e);
    for (uint32_t i = 0; i < column->n && !rc; i++) {
        double d;
        int64_t step = steps[column_row(column, i)];
        if (step >= ch->from && step < ch->to && column_number(column, i, &d) && isfinite(d))
            add_bucket(point_at(ch, step), step, step, d, d, d, d, 1);
    }
    return rc;
}

static int add_envelope(struct history_cursor *hc, const struct segment_key *key, struct chart *ch,
                        struct err *e)
{
    struct envelope env;
    int rc = history_cursor_envelope(hc, key, &env, e);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < env.n; i++)
        if (env.last_step[i] >= ch->from && env.first_step[i] < ch->to) {
            int64_t at = env.first_step[i] > ch->from ? env.first_step[i] : ch->from;
            add_bucket(point_at(ch, at), env.first_step[i], env.last_step[i], env.min[i], env.max[i],
                       env.mean[i] * env.count[i], env.last[i], env.count[i]);
        }
    envelope_fini(&env);
    return 0;
}

static int fill(struct db_conn *c, int64_t run, enum history_stream stream, struct str name,
                struct chart *ch, bool coarse, struct err *e)
{
    struct history_cursor hc;
    struct column column = {0};
    int64_t *steps = mem_alloc(SEGMENT_ROWS * sizeof *steps);
    if (!steps)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = history_cursor_open(&hc, c, run, stream, ch->from, ch->to, e);
    while (rc >= 0 && (rc = history_cursor_next(&hc, e)) == 1) {
        const struct segment_key *key = find_key(&hc, name);
        if (!key || !key->n_numbers)
            continue;
        rc = coarse && key->env_length ? add_envelope(&hc, key, ch, e)
                                       : add_values(&hc, key, ch, &column, steps, e);
    }
    history_cursor_close(&hc);
    column_fini(&column);
    mem_free(steps);
    return rc;
}

enum part { P_FIRST, P_LAST, P_MIN, P_MAX, P_MEAN, P_END, P_COUNT, N_PARTS };
static const char *const part_names[] = {"first", "last", "min", "max", "mean", "end", "count"};

static void put_part(struct buf *to, const struct point *p, enum part part)
{
    switch (part) {
    case P_FIRST:
        json_put_i64(to, p->first);
        break;
    case P_LAST:
        json_put_i64(to, p->last);
        break;
    case P_COUNT:
        json_put_i64(to, p->n);
        break;
    default: {
        double d = part == P_MIN ? p->min : part == P_MAX ? p->max : part == P_END ? p->end : p->sum / (double)p->n;
        if (isfinite(d))
            json_put_double(to, d);
        else
            buf_puts(to, "null"); /* a sum that overflowed */
    }
    }
}

static int put_points(struct buf *to, const struct chart *ch)
{
    buf_putc(to, '{');
    for (int part = 0; part < N_PARTS; part++) {
        bool any = false;
        buf_printf(to, "%s\"%s\":[", part ? "," : "", part_names[part]);
        for (uint32_t i = 0; i < ch->pixels && ch->points; i++) {
            if (!ch->points[i].n)
                continue;
            if (any)
                buf_putc(to, ',');
            put_part(to, &ch->points[i], (enum part)part);
            any = true;
        }
        buf_putc(to, ']');
    }
    buf_putc(to, '}');
    return to->failed ? TARE_ENOMEM : 0;
}

int history_envelope(struct db_conn *c, int64_t run, enum history_stream stream, struct str key,
                     int64_t min_step, int64_t max_step, uint32_t pixels, struct buf *to, struct err *e)
{
    struct chart ch = {.from = min_step, .to = max_step, .pixels = pixels};
    int64_t n_numbers;
    if (!pixels || pixels > 100000)
        return err_set(e, TARE_EINVAL, "between 1 and 100000 pixels");
    int rc = measure(c, run, stream, key, &ch, &n_numbers, e);
    if (rc < 0)
        return rc;
    if (n_numbers && ch.from < ch.to) {
        ch.points = mem_calloc(pixels, sizeof *ch.points);
        rc = ch.points ? fill(c, run, stream, key, &ch, n_numbers / pixels >= RAW_PER_PIXEL, e)
                       : err_set(e, TARE_ENOMEM, "out of memory");
    }
    if (rc >= 0)
        rc = put_points(to, &ch);
    mem_free(ch.points);
    return rc;
}

/* ---- whole series ---- */

struct series {
    struct buf *steps, values; /* the inside of both arrays, a comma after each element */
    int64_t from, to;
};

/* Values of one kind of number, without a call for each. */
static int put_numbers(struct buf *to, const struct column *c, const int64_t *steps, const struct series *s)
{
    char *p = buf_reserve(to, (size_t)c->n * (NUMBER_MAX + 3)), *start = p;
    if (!p)
        return TARE_ENOMEM;
    for (uint32_t i = 0; i < c->n; i++) {
        int64_t step = steps[column_row(c, i)];
        if (step < s->from || step >= s->to)
            continue;
        double d = double_of_bits(c->bits[i]);
        bool quoted = c->kind == V_DOUBLE && !isfinite(d);
        if (quoted)
            *p++ = '"';
        p += c->kind == V_INT ? number_format_i64(p, (int64_t)c->bits[i]) : number_format_double(p, d);
        if (quoted)
            *p++ = '"';
        *p++ = ',';
    }
    to->len += (size_t)(p - start);
    return 0;
}

static int put_mixed(struct buf *to, const struct column *c, const int64_t *steps, const struct series *s)
{
    int rc = 0;
    for (uint32_t i = 0; i < c->n && !rc; i++) {
        int64_t step = steps[column_row(c, i)];
        if (step < s->from || step >= s->to)
            continue;
        rc = column_put_json(to, c, i, true);
        buf_putc(to, ',');
    }
    return rc;
}

static int put_steps(struct buf *to, const struct column *c, const int64_t *steps, const struct series *s)
{
    char *p = buf_reserve(to, (size_t)c->n * (NUMBER_MAX + 1)), *start = p;
    if (!p)
        return TARE_ENOMEM;
    for (uint32_t i = 0; i < c->n; i++) {
        int64_t step = steps[column_row(c, i)];
        if (step < s->from || step >= s->to)
            continue;
        p += number_format_i64(p, step);
        *p++ = ',';
    }
    to->len += (size_t)(p - start);
    return 0;
}

static int add_series(struct history_cursor *hc, const struct segment_key *key, struct series *s,
                      struct column *column, int64_t *steps, struct err *e)
{
    int rc = history_cursor_steps(hc, steps, e);
    if (!rc)
        rc = history_cursor_column(hc, key, column, e);
    if (rc)
        return rc;
    bool numbers = !column->kinds && (column->kind == V_INT || column->kind == V_DOUBLE);
    rc = put_steps(s->steps, column, steps, s);
    if (!rc)
        rc = (numbers ? put_numbers : put_mixed)(&s->values, column, steps, s);
    return rc ? err_set(e, rc, "out of memory") : 0;
}

static void drop_comma(struct buf *b)
{
    if (b->len && b->data[b->len - 1] == ',')
        b->len--;
}

int history_series(struct db_conn *c, int64_t run, enum history_stream stream, struct str key,
                   int64_t min_step, int64_t max_step, struct buf *to, struct err *e)
{
    struct history_cursor hc;
    struct column column = {0};
    struct series s = {.steps = to, .from = min_step, .to = max_step};
    int64_t *steps = mem_alloc(SEGMENT_ROWS * sizeof *steps);
    if (!steps)
        return err_set(e, TARE_ENOMEM, "out of memory");
    buf_puts(to, "{\"steps\":[");
    int rc = history_cursor_open(&hc, c, run, stream, min_step, max_step, e);
    while (rc >= 0 && (rc = history_cursor_next(&hc, e)) == 1) {
        const struct segment_key *found = find_key(&hc, key);
        if (found)
            rc = add_series(&hc, found, &s, &column, steps, e);
    }
    history_cursor_close(&hc);
    column_fini(&column);
    mem_free(steps);
    drop_comma(to);
    drop_comma(&s.values);
    buf_puts(to, "],\"values\":[");
    buf_put_str(to, buf_str(&s.values));
    buf_puts(to, "]}");
    if (rc >= 0 && (to->failed || s.values.failed))
        rc = err_set(e, TARE_ENOMEM, "out of memory");
    buf_fini(&s.values);
    return rc < 0 ? rc : 0;
}
