/* SPDX-License-Identifier: MIT */
#include "server/sweep/search.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARAMETERS = 1000, MAX_GRID_VALUES = 1000000, MAX_DEPTH = 16 };

enum kind {
    CONSTANT, CATEGORICAL, INT_UNIFORM, UNIFORM, Q_UNIFORM,
    LOG_UNIFORM, LOG_UNIFORM_VALUES, Q_LOG_UNIFORM, Q_LOG_UNIFORM_VALUES,
    INV_LOG_UNIFORM, INV_LOG_UNIFORM_VALUES,
    NORMAL, Q_NORMAL, LOG_NORMAL, Q_LOG_NORMAL, BETA, Q_BETA, N_KINDS,
};

enum { NEEDS_RANGE = 1, NEEDS_POSITIVE = 2 };

static const struct {
    const char *name;
    unsigned flags;
} kinds[N_KINDS] = {
    [CONSTANT] = {"constant", 0},
    [CATEGORICAL] = {"categorical", 0},
    [INT_UNIFORM] = {"int_uniform", NEEDS_RANGE},
    [UNIFORM] = {"uniform", NEEDS_RANGE},
    [Q_UNIFORM] = {"q_uniform", NEEDS_RANGE},
    [LOG_UNIFORM] = {"log_uniform", NEEDS_RANGE},
    [LOG_UNIFORM_VALUES] = {"log_uniform_values", NEEDS_RANGE | NEEDS_POSITIVE},
    [Q_LOG_UNIFORM] = {"q_log_uniform", NEEDS_RANGE},
    [Q_LOG_UNIFORM_VALUES] = {"q_log_uniform_values", NEEDS_RANGE | NEEDS_POSITIVE},
    [INV_LOG_UNIFORM] = {"inv_log_uniform", NEEDS_RANGE},
    [INV_LOG_UNIFORM_VALUES] = {"inv_log_uniform_values", NEEDS_RANGE | NEEDS_POSITIVE},
    [NORMAL] = {"normal", 0},
    [Q_NORMAL] = {"q_normal", 0},
    [LOG_NORMAL] = {"log_normal", 0},
    [Q_LOG_NORMAL] = {"q_log_normal", 0},
    [BETA] = {"beta", 0},
    [Q_BETA] = {"q_beta", 0},
};

struct parameter {
    char **path;         /* names from the outside in; path[depth - 1] is its own */
    int depth;
    enum kind kind;
    json_t *values;      /* a list: of CATEGORICAL, and of every parameter of a grid; one for CONSTANT */
    double *probability; /* running sums, or NULL: all alike */
    double min, max, q, mu, sigma, a, b;
    bool whole;          /* results are integers */
};

struct sweep_space {
    bool grid;
    bool offered; /* this server searches by this method */
    int64_t size, run_cap;
    struct parameter *p;
    int n;
};

/* ---- reading the configuration ---- */

static char *path_text(const struct parameter *p, char *to, size_t size)
{
    size_t at = 0;
    to[0] = 0;
    for (int i = 0; i < p->depth && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%s%s", i ? "." : "", p->path[i]);
    return to;
}

#define BAD(p, ...)                                                                    \
    ({                                                                                 \
        char name_[128];                                                               \
        err_set(e, TARE_EINVAL, "parameter '%s': %s", path_text(p, name_, sizeof name_), \
                __VA_ARGS__);                                                          \
    })

static double number_at(const json_t *config, const char *key, double fallback)
{
    const json_t *v = json_object_get(config, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static int find_kind(const json_t *config, struct parameter *p, struct err *e)
{
    const char *name = json_string_value(json_object_get(config, "distribution"));
    if (!name) {
        const json_t *min = json_object_get(config, "min"), *max = json_object_get(config, "max");
        if (json_object_get(config, "value"))
            p->kind = CONSTANT;
        else if (json_object_get(config, "values"))
            p->kind = CATEGORICAL;
        else if (json_is_integer(min) && json_is_integer(max))
            p->kind = INT_UNIFORM;
        else if (json_is_number(min) && json_is_number(max))
            p->kind = UNIFORM;
        else
            return BAD(p, "it needs value, values, min and max, a distribution, or parameters");
        return 0;
    }
    if (strcmp(name, "categorical_w_probabilities") == 0)
        name = "categorical";
    for (int k = 0; k < N_KINDS; k++)
        if (strcmp(kinds[k].name, name) == 0) {
            p->kind = (enum kind)k;
            return 0;
        }
    return BAD(p, "its distribution is not known");
}

static int read_values(const json_t *config, struct parameter *p, struct err *e)
{
    json_t *one = json_object_get(config, "value"), *many = json_object_get(config, "values");
    if (p->kind == CONSTANT) {
        if (!one)
            return BAD(p, "a constant needs a value");
        p->values = json_array();
        return json_array_append(p->values, one) < 0 ? TARE_ENOMEM : 0;
    }
    size_t n = json_array_size(many);
    if (n == 0)
        return BAD(p, "values must be a list with at least one value");
    p->values = json_incref(many);
    const json_t *odds = json_object_get(config, "probabilities");
    if (!odds)
        return 0;
    if (json_array_size(odds) != n)
        return BAD(p, "it needs as many probabilities as values");
    p->probability = mem_calloc(n, sizeof *p->probability);
    if (!p->probability)
        return err_set(e, TARE_ENOMEM, "out of memory");
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double v = json_number_value(json_array_get(odds, i));
        if (!(v >= 0))
            return BAD(p, "probabilities must not be negative");
        p->probability[i] = sum += v;
    }
    return fabs(sum - 1) < 1e-3 ? 0 : BAD(p, "its probabilities do not add up to 1");
}

static bool whole_number(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    return !v || json_is_integer(v);
}

static int read_range(const json_t *config, struct parameter *p, struct err *e)
{
    p->min = number_at(config, "min", (double)NAN);
    p->max = number_at(config, "max", (double)NAN);
    p->q = number_at(config, "q", 1);
    p->mu = number_at(config, "mu", 0);
    p->sigma = number_at(config, "sigma", 1);
    p->a = number_at(config, "a", 1);
    p->b = number_at(config, "b", 1);
    p->whole = whole_number(config, "q");
    if (!(p->q > 0))
        return BAD(p, "q must be greater than 0");
    if (!(p->sigma >= 0) || !(p->a > 0) || !(p->b > 0))
        return BAD(p, "sigma, a and b must not be negative");
    if ((kinds[p->kind].flags & NEEDS_RANGE) && !(p->min <= p->max))
        return BAD(p, "it needs min and max, and min must not be greater");
    if ((kinds[p->kind].flags & NEEDS_POSITIVE) && !(p->min > 0))
        return BAD(p, "min must be greater than 0");
    if (p->kind == INT_UNIFORM && (!whole_number(config, "min") || !whole_number(config, "max")))
        return BAD(p, "min and max must be integers");
    return 0;
}

/* For a grid, a range becomes the list of its values. */
static int range_to_values(const json_t *config, struct parameter *p, struct err *e)
{
    bool ints = p->kind == INT_UNIFORM;
    double step = ints ? 1 : p->q;
    double n = ints ? p->max - p->min + 1 : ceil((p->max - p->min) / step);
    if (p->kind != INT_UNIFORM && p->kind != Q_UNIFORM)
        return BAD(p, "grid search wants value, values, int_uniform or q_uniform");
    if (!(n >= 1 && n <= MAX_GRID_VALUES))
        return BAD(p, "its range has no values, or too many for a grid");
    ints = ints || (p->whole && whole_number(config, "min") && whole_number(config, "max"));
    p->values = json_array();
    for (int64_t i = 0; i < (int64_t)n; i++) {
        double v = p->min + (double)i * step;
        if (json_array_append_new(p->values, ints ? json_integer((json_int_t)v) : json_real(v)) < 0)
            return err_set(e, TARE_ENOMEM, "out of memory");
    }
    return 0;
}

/* A value that stands twice in a grid is tried once. */
static int unique_values(struct parameter *p)
{
    json_t *all = p->values, *item;
    size_t i;
    if (json_array_size(all) > 1000)
        return 0; /* a list that long is a range, or worth a repeated run */
    p->values = json_array();
    json_array_foreach(all, i, item) {
        bool seen = false;
        for (size_t k = 0; k < json_array_size(p->values) && !seen; k++)
            seen = json_equal(json_array_get(p->values, k), item);
        if (!seen && json_array_append(p->values, item) < 0) {
            json_decref(all);
            return TARE_ENOMEM;
        }
    }
    json_decref(all);
    return 0;
}

static int read_parameter(struct sweep_space *s, const json_t *config, struct parameter *p, struct err *e)
{
    int rc = find_kind(config, p, e);
    if (rc == 0)
        rc = p->kind <= CATEGORICAL ? read_values(config, p, e) : read_range(config, p, e);
    if (rc == 0 && s->grid && p->probability)
        rc = BAD(p, "grid search takes no probabilities");
    if (rc == 0 && s->grid && p->kind > CATEGORICAL)
        rc = range_to_values(config, p, e);
    if (rc == 0 && s->grid)
        rc = unique_values(p);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A new parameter below `outer` (NULL at the top) with the name `name`. */
static struct parameter *add_parameter(struct sweep_space *s, char *const *outer, int depth, const char *name)
{
    struct parameter *grown = mem_realloc(s->p, (size_t)(s->n + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    s->p = grown;
    struct parameter *p = &s->p[s->n];
    *p = (struct parameter){.path = mem_calloc((size_t)depth + 1, sizeof(char *))};
    if (!p->path)
        return NULL;
    s->n++;
    for (int i = 0; i <= depth; i++) {
        const char *part = i < depth ? outer[i] : name;
        if (!(p->path[i] = mem_strndup(part, strlen(part))))
            return NULL;
        p->depth++;
    }
    return p;
}

static int read_parameters(struct sweep_space *s, const json_t *config, char **outer, int depth, struct err *e)
{
    size_t n = json_object_size(config), i = 0;
    if (n == 0 || depth >= MAX_DEPTH || s->n + n > MAX_PARAMETERS)
        return err_set(e, TARE_EINVAL, n ? "the sweep has too many parameters" : "the sweep has no parameters");
    const char **names = mem_calloc(n, sizeof *names);
    if (!names)
        return err_set(e, TARE_ENOMEM, "out of memory");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value) names[i++] = key;
    qsort(names, n, sizeof *names, by_name);
    int rc = 0;
    for (i = 0; i < n && rc == 0; i++) {
        const json_t *c = json_object_get(config, names[i]);
        const json_t *inner = json_object_get(c, "parameters");
        outer[depth] = (char *)names[i];
        if (json_is_object(inner)) {
            rc = read_parameters(s, inner, outer, depth + 1, e);
        } else if (!json_is_object(c)) {
            rc = err_set(e, TARE_EINVAL, "parameter '%s' must be a mapping, such as {value: 1}", names[i]);
        } else {
            struct parameter *p = add_parameter(s, outer, depth, names[i]);
            rc = p ? read_parameter(s, c, p, e) : err_set(e, TARE_ENOMEM, "out of memory");
        }
    }
    mem_free(names);
    return rc;
}

static int check_method(const json_t *config, struct sweep_space *s, struct err *e)
{
    static const char *const known[] = {"grid", "random", "bayes", "custom"};
    const char *method = json_string_value(json_object_get(config, "method"));
    if (!method)
        return err_set(e, TARE_EINVAL, "the sweep needs a method: grid or random");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], method) == 0) {
            s->grid = i == 0;
            s->offered = i < 2;
            return 0;
        }
    return err_set(e, TARE_EINVAL, "sweep method '%s' is not known: use grid or random", method);
}

int sweep_space_new(const json_t *config, struct sweep_space **out, struct err *e)
{
    struct sweep_space *s = mem_calloc(1, sizeof *s);
    if (!s)
        return err_set(e, TARE_ENOMEM, "out of memory");
    char *outer[MAX_DEPTH + 1] = {0};
    int rc = json_is_object(config) ? check_method(config, s, e)
                                    : err_set(e, TARE_EINVAL, "the sweep's configuration is no mapping");
    if (rc == 0)
        rc = read_parameters(s, json_object_get(config, "parameters"), outer, 0, e);
    s->run_cap = rc == 0 ? (int64_t)number_at(config, "run_cap", 0) : 0;
    s->size = s->grid ? 1 : -1;
    for (int i = 0; rc == 0 && s->grid && i < s->n; i++)
        if (__builtin_mul_overflow(s->size, (int64_t)json_array_size(s->p[i].values), &s->size))
            s->size = INT64_MAX;
    if (rc < 0) {
        sweep_space_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void sweep_space_free(struct sweep_space *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++) {
        for (int k = 0; k < s->p[i].depth; k++)
            mem_free(s->p[i].path[k]);
        mem_free(s->p[i].path);
        mem_free(s->p[i].probability);
        json_decref(s->p[i].values);
    }
    mem_free(s->p);
    mem_free(s);
}

int64_t sweep_space_size(const struct sweep_space *s)
{
    return s->size;
}

bool sweep_space_offered(const struct sweep_space *s)
{
    return s->offered;
}

int64_t sweep_space_run_cap(const struct sweep_space *s)
{
    return s->run_cap;
}

/* ---- drawing ---- */

/* SplitMix64 (Steele, Lea, Flood 2014): good enough to draw with, and a state of one word. */
static uint64_t next_u64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In the open interval (0, 1). */
static double next_unit(uint64_t *state)
{
    return ((double)(next_u64(state) >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller. */
static double next_normal(uint64_t *state)
{
    double r = sqrt(-2 * log(next_unit(state)));
    return r * cos(2 * M_PI * next_unit(state));
}

/* Marsaglia and Tsang 2000, with the usual step for shapes below 1. */
static double next_gamma(uint64_t *state, double shape)
{
    if (shape < 1)
        return next_gamma(state, shape + 1) * pow(next_unit(state), 1 / shape);
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = next_normal(state), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(next_unit(state)) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

static double next_beta(uint64_t *state, const struct parameter *p)
{
    double x = next_gamma(state, p->a), y = next_gamma(state, p->b);
    return x / (x + y);
}

static double between(uint64_t *state, double min, double max)
{
    return min + next_unit(state) * (max - min);
}

static json_t *quantized(const struct parameter *p, double v)
{
    double r = nearbyint(v / p->q) * p->q;
    return p->whole && fabs(r) < 9e15 ? json_integer((json_int_t)r) : json_real(r);
}

static json_t *draw_value(const struct parameter *p, uint64_t *state)
{
    size_t n = json_array_size(p->values), k = 0;
    if (p->probability) {
        double u = next_unit(state);
        while (k + 1 < n && u >= p->probability[k])
            k++;
    } else if (n > 1) {
        k = (size_t)(next_unit(state) * (double)n);
    }
    return json_incref(json_array_get(p->values, k));
}

static json_t *draw(const struct parameter *p, uint64_t *state)
{
    switch (p->kind) {
    case CONSTANT:
    case CATEGORICAL:
        return draw_value(p, state);
    case INT_UNIFORM:
        return json_integer((json_int_t)floor(between(state, p->min, p->max + 1)));
    case UNIFORM:
        return json_real(between(state, p->min, p->max));
    case Q_UNIFORM:
        return quantized(p, between(state, p->min, p->max));
    case LOG_UNIFORM:
        return json_real(exp(between(state, p->min, p->max)));
    case LOG_UNIFORM_VALUES:
        return json_real(exp(between(state, log(p->min), log(p->max))));
    case Q_LOG_UNIFORM:
        return quantized(p, exp(between(state, p->min, p->max)));
    case Q_LOG_UNIFORM_VALUES:
        return quantized(p, exp(between(state, log(p->min), log(p->max))));
    case INV_LOG_UNIFORM: /* log(1/x) is uniform between min and max */
        return json_real(exp(-between(state, p->min, p->max)));
    case INV_LOG_UNIFORM_VALUES: /* the same with the bounds as values of x */
        return json_real(exp(-between(state, -log(p->max), -log(p->min))));
    case NORMAL:
        return json_real(p->mu + p->sigma * next_normal(state));
    case Q_NORMAL:
        return quantized(p, p->mu + p->sigma * next_normal(state));
    case LOG_NORMAL:
        return json_real(exp(p->mu + p->sigma * next_normal(state)));
    case Q_LOG_NORMAL:
        return quantized(p, exp(p->mu + p->sigma * next_normal(state)));
    case BETA:
        return json_real(next_beta(state, p));
    case Q_BETA:
        return quantized(p, next_beta(state, p));
    case N_KINDS:
        break;
    }
    return NULL;
}

/* Put the value where its path says: {"outer": {"value": {"inner": v}}}. */
static int place(json_t *args, const struct parameter *p, json_t *value)
{
    json_t *at = json_object_get(args, p->path[0]);
    if (!at) {
        at = json_object();
        if (json_object_set_new(args, p->path[0], at) < 0)
            return TARE_ENOMEM;
    }
    const char *key = "value";
    for (int i = 1; i < p->depth; i++) {
        json_t *inner = json_object_get(at, key);
        if (!inner) {
            inner = json_object();
            if (json_object_set_new(at, key, inner) < 0)
                return TARE_ENOMEM;
        }
        at = inner;
        key = p->path[i];
    }
    return json_object_set(at, key, value) < 0 ? TARE_ENOMEM : 0;
}

int sweep_space_point(const struct sweep_space *s, int64_t index, uint64_t seed, struct buf *args)
{
    if (index < 0 || (s->grid && index >= s->size))
        return TARE_ENOTFOUND;
    if (!s->offered)
        return TARE_EUNSUPPORTED;
    uint64_t state = seed + (uint64_t)index * 0xd1342543de82ef95u;
    json_t *object = json_object();
    int64_t rest = index;
    int rc = object ? 0 : TARE_ENOMEM;
    for (int i = s->n - 1; i >= 0 && rc == 0; i--) {
        const struct parameter *p = &s->p[i];
        int64_t n = (int64_t)json_array_size(p->values);
        json_t *value = s->grid ? json_incref(json_array_get(p->values, (size_t)(rest % n))) : draw(p, &state);
        rest = s->grid ? rest / n : rest;
        rc = value ? place(object, p, value) : TARE_ENOMEM;
        json_decref(value);
    }
    char *text = rc == 0 ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    if (rc == 0)
        rc = text ? buf_puts(args, text) : TARE_ENOMEM;
    free(text);
    json_decref(object);
    return rc;
}
