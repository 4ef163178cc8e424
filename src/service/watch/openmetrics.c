/* SPDX-License-Identifier: MIT */
/* The text that is read, line by line:
 *
 *   # TYPE METRIC gauge            or counter; other kinds and other comments do not matter
 *   METRIC{LABEL="VALUE",...} NUMBER ...        or METRIC NUMBER ...
 *
 * In a value \" \\ and \n are escaped. The form is that of the Prometheus documentation, "Exposition
 * formats"; which lines count is what the peer does (symon/src/scrape.rs): METRIC must be exactly what
 * the TYPE line names, so OpenMetrics' counters, typed without their "_total", do not count. */
#include "service/watch/openmetrics.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/utf8.h"
#include "record/wire.h"
#include "service/watch/pattern.h"

#include <math.h>
#include <stdlib.h>
#include <uthash.h>

enum { STATS_ITEM = 3, ITEM_KEY = 1, ITEM_VALUE = 16, MAX_FILTERS = 256 };

struct label_filter {
    struct str label;
    struct pattern *pattern;
};

struct filter {
    struct pattern *metric; /* NULL: keeps nothing */
    struct label_filter *labels;
    int n_labels;
};

/* A metric: how many sets of labels it has had. Or a set of labels: its number. */
struct series {
    UT_hash_handle hh;
    unsigned number;
    size_t n;
    char key[];
};

struct openmetrics {
    char *name;
    struct buf filter_bytes; /* what the labels' names point into */
    struct filter *filters;
    int n_filters;
    struct series *metrics, *series;
    unsigned n_series;
    struct buf text, key; /* scratch */
};

struct label {
    size_t name, n_name, value, n_value; /* in o->text */
};

struct sample {
    struct str metric, rest;
    struct label label[OPENMETRICS_MAX_LABELS];
    int n_labels;
};

/* ---- filters ---- */

static struct pattern *compile(struct str text)
{
    struct pattern *p = pattern_new(text);
    if (!p)
        diag_warn("openmetrics: the filter %.*s is no pattern and matches nothing", STR_ARG(text));
    return p;
}

/* `labels` is a MapStringKeyStringValue: label to pattern. */
static void compile_labels(struct filter *f, struct str labels)
{
    struct wire_reader r = wire_open(labels);
    struct wire_field entry = {0};
    while (wire_next(&r, &entry) > 0 && f->n_labels < OPENMETRICS_MAX_LABELS) {
        if (entry.number != 1)
            continue;
        f->labels = xmem_realloc(f->labels, (size_t)(f->n_labels + 1) * sizeof *f->labels);
        struct label_filter *l = &f->labels[f->n_labels++];
        l->label = wire_find_bytes(entry.bytes, 1);
        l->pattern = compile(wire_find_bytes(entry.bytes, 2));
        if (!l->pattern) {
            pattern_free(f->metric);
            f->metric = NULL;
        }
    }
}

static void add_filter(struct openmetrics *o, struct str metric, struct str labels)
{
    if (o->n_filters >= MAX_FILTERS)
        return;
    o->filters = xmem_realloc(o->filters, (size_t)(o->n_filters + 1) * sizeof *o->filters);
    struct filter *f = &o->filters[o->n_filters++];
    *f = (struct filter){.metric = compile(metric)};
    compile_labels(f, labels);
}

static void compile_filters(struct openmetrics *o, struct str filters)
{
    enum { SEQUENCE = 1, MAPPING = 2 };
    struct wire_field f = {0};
    struct wire_reader list = wire_open(wire_find_bytes(filters, SEQUENCE));
    while (wire_next(&list, &f) > 0)
        if (f.number == 1)
            add_filter(o, f.bytes, STR(""));
    list = wire_open(wire_find_bytes(filters, MAPPING));
    while (wire_next(&list, &f) > 0)
        if (f.number == 1)
            add_filter(o, wire_find_bytes(f.bytes, 1), wire_find_bytes(f.bytes, 2));
}

struct openmetrics *openmetrics_new(struct str name, struct str filters)
{
    struct openmetrics *o = xmem_calloc(1, sizeof *o);
    o->name = xmem_strndup(name.p, name.n);
    buf_put_str(&o->filter_bytes, filters);
    compile_filters(o, buf_str(&o->filter_bytes));
    return o;
}

static void free_series(struct series **all)
{
    struct series *s, *next;
    HASH_ITER(hh, *all, s, next)
    {
        HASH_DEL(*all, s);
        mem_free(s);
    }
}

void openmetrics_free(struct openmetrics *o)
{
    if (!o)
        return;
    for (int i = 0; i < o->n_filters; i++) {
        for (int k = 0; k < o->filters[i].n_labels; k++)
            pattern_free(o->filters[i].labels[k].pattern);
        pattern_free(o->filters[i].metric);
        mem_free(o->filters[i].labels);
    }
    mem_free(o->filters);
    free_series(&o->metrics);
    free_series(&o->series);
    buf_fini(&o->filter_bytes);
    buf_fini(&o->text);
    buf_fini(&o->key);
    mem_free(o->name);
    mem_free(o);
}

static struct str part(const struct openmetrics *o, size_t at, size_t n)
{
    return str_make(o->text.data + at, n);
}

static bool label_fits(const struct openmetrics *o, const struct sample *s, const struct label_filter *f)
{
    for (int i = 0; i < s->n_labels; i++) {
        const struct label *l = &s->label[i];
        if (str_eq(part(o, l->name, l->n_name), f->label))
            return pattern_matches(f->pattern, part(o, l->value, l->n_value));
    }
    return false;
}

/* Whether some filter's metric and all its labels match. */
static bool is_kept(struct openmetrics *o, const struct sample *s)
{
    if (o->n_filters == 0)
        return true;
    buf_clear(&o->key);
    buf_puts(&o->key, o->name);
    buf_putc(&o->key, '.');
    buf_put_str(&o->key, s->metric);
    for (int i = 0; i < o->n_filters; i++) {
        const struct filter *f = &o->filters[i];
        int k = 0;
        if (!f->metric || !pattern_matches(f->metric, buf_str(&o->key)))
            continue;
        while (k < f->n_labels && label_fits(o, s, &f->labels[k]))
            k++;
        if (k == f->n_labels)
            return true;
    }
    return false;
}

/* ---- lines ---- */

/* Cut *s at its first white space; false if there is none. */
static bool cut_at_space(struct str s, struct str *head, struct str *rest)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!str_is_space(s.p[i]))
            continue;
        *head = (struct str){s.p, i};
        *rest = (struct str){s.p + i + 1, s.n - i - 1};
        return true;
    }
    return false;
}

static struct str skip_commas(struct str s)
{
    while (s.n > 0 && (*s.p == ',' || *s.p == ' ')) {
        s.p++;
        s.n--;
    }
    return s;
}

/* A quoted value into o->text; *rest is behind its closing quote. False if there is none. */
static bool read_quoted(struct openmetrics *o, struct str *rest)
{
    for (size_t i = 1; i < rest->n; i++) {
        char c = rest->p[i];
        if (c == '"') {
            *rest = (struct str){rest->p + i + 1, rest->n - i - 1};
            return true;
        }
        if (c == '\\') {
            if (++i >= rest->n)
                return false;
            c = rest->p[i] == 'n' ? '\n' : rest->p[i];
        }
        buf_putc(&o->text, c);
    }
    return false;
}

static bool read_label(struct openmetrics *o, struct sample *s, struct str *rest)
{
    const char *equals = memchr(rest->p, '=', rest->n);
    if (!equals || s->n_labels >= OPENMETRICS_MAX_LABELS)
        return false;
    struct str name = str_trim((struct str){rest->p, (size_t)(equals - rest->p)});
    struct label *l = &s->label[s->n_labels++];
    l->name = o->text.len;
    l->n_name = name.n;
    buf_put_str(&o->text, name);
    *rest = (struct str){equals + 1, rest->n - (size_t)(equals + 1 - rest->p)};
    l->value = o->text.len;
    if (rest->n == 0 || rest->p[0] != '"' || !read_quoted(o, rest))
        return false;
    l->n_value = o->text.len - l->value;
    for (int i = 0; i < s->n_labels - 1; i++) /* named twice, the last one counts */
        if (str_eq(part(o, s->label[i].name, s->label[i].n_name), name)) {
            s->label[i] = *l;
            s->n_labels--;
            break;
        }
    return true;
}

static bool split_sample(struct openmetrics *o, struct sample *s, struct str line)
{
    s->n_labels = 0;
    buf_clear(&o->text);
    const char *open = memchr(line.p, '{', line.n), *close = memrchr(line.p, '}', line.n);
    if (!open)
        return cut_at_space(line, &s->metric, &s->rest);
    if (!close || close < open)
        return false;
    s->metric = (struct str){line.p, (size_t)(open - line.p)};
    s->rest = (struct str){close + 1, line.n - (size_t)(close + 1 - line.p)};
    struct str labels = skip_commas((struct str){open + 1, (size_t)(close - open - 1)});
    for (; labels.n > 0; labels = skip_commas(labels))
        if (!read_label(o, s, &labels))
            return false;
    return true;
}

bool openmetrics_number(struct str text, double *v)
{
    static const char *const words[] = {"inf", "infinity", "nan"};
    char z[512];
    if (text.n == 0 || text.n >= sizeof z)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    const char *bare = z + (z[0] == '+' || z[0] == '-');
    bool known = bare[0] && bare[strspn(bare, "0123456789.eE+-")] == 0 && (bare[0] != '+' && bare[0] != '-');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        known |= strcasecmp(bare, words[i]) == 0;
    char *end = z;
    double got = known ? strtod(z, &end) : 0;
    if (end == z || *end)
        return false;
    *v = got;
    return true;
}

/* ---- numbers of sets of labels ---- */

static struct series *series_of(struct series **all, struct str key)
{
    struct series *s = NULL;
    HASH_FIND(hh, *all, key.p, key.n, s);
    if (s || !(s = mem_calloc(1, sizeof *s + key.n)))
        return s;
    s->n = key.n;
    memcpy(s->key, key.p, key.n);
    s->number = UINT32_MAX;
    HASH_ADD_KEYPTR(hh, *all, s->key, s->n, s);
    return s;
}

/* By name: so few that sorting by insertion is best. */
static void sort_labels(const struct openmetrics *o, struct sample *s)
{
    for (int i = 1; i < s->n_labels; i++) {
        struct label l = s->label[i];
        int at = i;
        while (at > 0 && str_cmp(part(o, s->label[at - 1].name, s->label[at - 1].n_name),
                                 part(o, l.name, l.n_name)) > 0) {
            s->label[at] = s->label[at - 1];
            at--;
        }
        s->label[at] = l;
    }
}

/* Lengths stand before the texts, so that no two sets have the same key. */
static void put_key(struct buf *key, struct str text)
{
    buf_printf(key, "%zu:", text.n);
    buf_put_str(key, text);
}

/* The number of a sample's set of labels; false if there are too many. */
static bool number_of(struct openmetrics *o, struct sample *s, unsigned *number)
{
    sort_labels(o, s);
    buf_clear(&o->key);
    put_key(&o->key, s->metric);
    for (int i = 0; i < s->n_labels; i++) {
        put_key(&o->key, part(o, s->label[i].name, s->label[i].n_name));
        put_key(&o->key, part(o, s->label[i].value, s->label[i].n_value));
    }
    struct series *found = NULL;
    HASH_FIND(hh, o->series, o->key.data, o->key.len, found);
    if (!found && o->n_series < OPENMETRICS_MAX_SERIES && !o->key.failed) {
        struct series *metric = series_of(&o->metrics, s->metric);
        found = metric ? series_of(&o->series, buf_str(&o->key)) : NULL;
        if (found) {
            found->number = ++metric->number; /* the first is 0 */
            o->n_series++;
        }
    }
    if (found)
        *number = found->number;
    return found != NULL;
}

/* ---- reading ---- */

void openmetrics_put(struct buf *items, struct str key, double v)
{
    AUTO_BUF json = {0};
    if (isfinite(v))
        json_put_double(&json, v);
    else
        buf_puts(&json, "null");
    size_t item = wire_buf_begin(items, STATS_ITEM);
    wire_buf_bytes(items, ITEM_KEY, key);
    wire_buf_bytes(items, ITEM_VALUE, buf_str(&json));
    wire_buf_end(items, item);
}

static void take_sample(struct openmetrics *o, struct sample *s, struct buf *items)
{
    struct str word = str_trim(s->rest), after;
    double v;
    unsigned number;
    cut_at_space(word, &word, &after);
    if (!openmetrics_number(word, &v) || !is_kept(o, s) || !number_of(o, s, &number))
        return;
    buf_clear(&o->key);
    buf_printf(&o->key, "openmetrics.%s.", o->name);
    buf_put_str(&o->key, s->metric);
    buf_printf(&o->key, ".%u", number);
    if (utf8_valid(o->key.data, o->key.len))
        openmetrics_put(items, buf_str(&o->key), v);
}

/* The types that were named so far. */
struct type {
    UT_hash_handle hh;
    struct str metric;
    bool counts;
};

static void take_type(struct type **types, struct arena *arena, struct str rest)
{
    struct str metric, kind;
    struct type *t = NULL;
    if (!cut_at_space(str_trim(rest), &metric, &kind))
        return;
    kind = str_trim(kind);
    HASH_FIND(hh, *types, metric.p, metric.n, t);
    if (!t) {
        if (!(t = arena_calloc(arena, sizeof *t)))
            return;
        t->metric = metric;
        HASH_ADD_KEYPTR(hh, *types, t->metric.p, t->metric.n, t);
    }
    t->counts = str_eqz(kind, "gauge") || str_eqz(kind, "counter");
}

static bool has_type(struct type *types, struct str metric)
{
    struct type *t = NULL;
    HASH_FIND(hh, types, metric.p, metric.n, t);
    return t && t->counts;
}

void openmetrics_read(struct openmetrics *o, struct str text, struct buf *items)
{
    struct arena arena;
    struct type *types = NULL;
    struct sample sample;
    arena_init(&arena, 0);
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        struct str line = str_trim((struct str){text.p, n});
        text = (struct str){text.p + n + (end != NULL), text.n - n - (end != NULL)};
        if (str_starts(line, STR("# TYPE ")))
            take_type(&types, &arena, (struct str){line.p + 7, line.n - 7});
        else if (line.n > 0 && line.p[0] != '#' && split_sample(o, &sample, line) &&
                 has_type(types, sample.metric))
            take_sample(o, &sample, items);
    }
    HASH_CLEAR(hh, types);
    arena_fini(&arena);
}
