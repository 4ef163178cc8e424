/* SPDX-License-Identifier: MIT */
/* The response is written front to back while resolvers run. A value that turns out to be null
 * after parts of it were written is cut off again: `out->len` goes back to where it began. */
#include "server/graphql/execute.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "server/graphql/coerce.h"
#include "server/graphql/resolver.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_ERRORS = 40 };

struct exec {
    const struct gql_plan *plan;
    struct gql_inputs in;
    struct buf *out;
    struct buf errors; /* JSON objects, commas between */
    int n_errors;
    int status;         /* of the first error that has one */
    bool is_cut_off;    /* an error said 503: asked again, there is more */
    void *app;
    const struct gql_limits *limits;
    uint64_t n_fields;
    size_t taken; /* of limits->memory */
    bool stop; /* over a limit */
    bool *coerced;                  /* per plan field */
    const struct gql_value **args;  /* per plan field */
};

/* One field being answered; `up` leads to the root. */
struct gql_call {
    struct exec *x;
    const struct gql_plan_field *field;
    const struct gql_type *owner;
    const struct gql_call *up;
    const struct gql_value *args;
    int64_t n_items; /* while in a list: items so far; the current one is n_items - 1 */
    bool in_list, listed, wrote, is_null, bad_item, failed;
};

/* ---- errors --------------------------------------------------------------------------- */

static void put_path(struct buf *b, const struct gql_call *c)
{
    if (!c)
        return;
    put_path(b, c->up);
    if (c->up)
        buf_putc(b, ',');
    json_put_string(b, c->field->key);
    if (c->in_list && c->n_items)
        buf_printf(b, ",%lld", (long long)(c->n_items - 1));
}

static void add_error(struct exec *x, const struct gql_call *c, int status, struct str text)
{
    if (status != 200 && x->status == 200)
        x->status = status;
    x->is_cut_off |= status == 503;
    if (x->n_errors++ >= MAX_ERRORS)
        return;
    if (x->errors.len)
        buf_putc(&x->errors, ',');
    buf_puts(&x->errors, "{\"message\":");
    json_put_string(&x->errors, text);
    if (c) {
        const struct gql_selection *s = c->field->selection;
        buf_printf(&x->errors, ",\"locations\":[{\"line\":%u,\"column\":%u}],\"path\":[", s->line, s->column);
        put_path(&x->errors, c);
        buf_putc(&x->errors, ']');
    }
    buf_putc(&x->errors, '}');
}

void gql_fail(struct gql_call *c, int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    while (len && !utf8_valid(str_make(text, len))) /* cut within a character */
        len--;
    if (!c->failed)
        add_error(c->x, c, status, str_make(text, len));
    c->failed = true;
}

bool gql_failed(struct gql_call *c)
{
    return c->failed || c->x->stop;
}

static bool take_memory(struct exec *x)
{
    size_t more = x->out->cap - x->taken;
    if (!more || !x->limits->memory)
        return true;
    if (!budget_take(x->limits->memory, more, x->taken))
        return false;
    x->taken += more;
    return true;
}

static void check_limits(struct exec *x, const struct gql_call *c)
{
    const struct gql_limits *l = x->limits;
    const char *why = NULL;
    bool full = !take_memory(x) && x->taken < l->max_bytes / 2; /* else waiting for room would not help */
    bool ending = l->ending && !(x->n_fields & 1023) && atomic_load(l->ending);
    if (full || ending)
        why = full ? "the server is busy" : "the server is ending";
    else if (x->n_fields > l->max_fields)
        why = "the query asks for too many values; use smaller pages";
    else if (x->out->len > l->max_bytes || (l->memory && x->taken < x->out->cap))
        why = "the answer is too large; use smaller pages";
    else if (l->deadline_mono_ns && !(x->n_fields & 1023) && clock_mono_ns() > l->deadline_mono_ns)
        why = "the query takes too long";
    if (!why || x->stop)
        return;
    x->stop = true;
    add_error(x, c, full || ending ? 503 : 422, str_of(why));
}

/* ---- request and arguments ------------------------------------------------------------ */

void *gql_app(struct gql_call *c)
{
    return c->x->app;
}

struct arena *gql_arena(struct gql_call *c)
{
    return c->x->in.arena;
}

bool gql_in_mutation(struct gql_call *c)
{
    return c->x->plan->operation->mutation;
}

const struct gql_value *gql_arg(struct gql_call *c, const char *name)
{
    struct str n = str_of(name);
    assert(gql_input_find(c->field->def->args, c->field->def->n_args, n));
    const struct gql_value *v = gql_value_find(c->args, n);
    return v && v->kind != GQL_NULL ? v : NULL;
}

static struct str text_of(const struct gql_value *v)
{
    return v && (v->kind == GQL_STRING || v->kind == GQL_ENUM) ? str_make(v->s.p ? v->s.p : "", v->s.n)
                                                               : (struct str){0};
}

struct str gql_arg_str(struct gql_call *c, const char *name)
{
    return text_of(gql_arg(c, name));
}

int64_t gql_arg_int(struct gql_call *c, const char *name, int64_t fallback)
{
    const struct gql_value *v = gql_arg(c, name);
    return v && v->kind == GQL_INT ? v->i : fallback;
}

bool gql_arg_bool(struct gql_call *c, const char *name, bool fallback)
{
    const struct gql_value *v = gql_arg(c, name);
    return v && v->kind == GQL_BOOL ? v->b : fallback;
}

const struct gql_value *gql_in(const struct gql_value *object, const char *name)
{
    return object ? gql_value_find(object->first, str_of(name)) : NULL;
}

struct str gql_in_str(const struct gql_value *object, const char *name)
{
    return text_of(gql_in(object, name));
}

int64_t gql_in_int(const struct gql_value *object, const char *name, int64_t fallback)
{
    const struct gql_value *v = gql_in(object, name);
    return v && v->kind == GQL_INT ? v->i : fallback;
}

bool gql_in_bool(const struct gql_value *object, const char *name, bool fallback)
{
    const struct gql_value *v = gql_in(object, name);
    return v && v->kind == GQL_BOOL ? v->b : fallback;
}

double gql_in_float(const struct gql_value *object, const char *name, double fallback)
{
    const struct gql_value *v = gql_in(object, name);
    return v && (v->kind == GQL_FLOAT || v->kind == GQL_INT) ? v->f : fallback;
}

/* ---- look-ahead ------------------------------------------------------------------------ */

static bool is_included(const struct exec *x, const struct gql_plan_field *f)
{
    if (!f->conditional)
        return true;
    for (const struct gql_use *u = f->uses; u; u = u->next)
        if (gql_condition_holds(&x->in, u->when))
            return true;
    return false;
}

static bool wants(const struct exec *x, const struct gql_plan_field *f, const char *path)
{
    const char *dot = strchr(path, '.');
    struct str name = str_make(path, dot ? (size_t)(dot - path) : strlen(path));
    for (uint16_t s = 0; s < f->n_sets; s++) {
        for (uint32_t i = 0; i < f->sets[s].n; i++) {
            const struct gql_plan_field *sub = f->sets[s].fields[i];
            if (sub->def && str_eq(sub->def->name, name) && is_included(x, sub) &&
                (!dot || wants(x, sub, dot + 1)))
                return true;
        }
    }
    return false;
}

bool gql_wants(struct gql_call *c, const char *path)
{
    return wants(c->x, c->field, path);
}

/* ---- emitting -------------------------------------------------------------------------- */

/* Every emitting call begins here. False: nothing may be written any more. */
static bool begin_value(struct gql_call *c)
{
    if (c->x->stop || c->failed)
        return false;
    if (c->in_list) {
        if (c->n_items++)
            buf_putc(c->x->out, ',');
    } else {
        assert(!c->wrote); /* a resolver emits one value */
    }
    c->wrote = true;
    return true;
}

static void write_null(struct gql_call *c)
{
    buf_append(c->x->out, "null", 4);
    if (c->in_list)
        c->bad_item |= c->field->def->ref.item_nonnull;
    else
        c->is_null = true;
}

void gql_null(struct gql_call *c)
{
    if (begin_value(c))
        write_null(c);
}

void gql_bool(struct gql_call *c, bool v)
{
    if (begin_value(c))
        buf_append(c->x->out, v ? "true" : "false", v ? 4 : 5);
}

void gql_int(struct gql_call *c, int64_t v)
{
    char text[NUMBER_MAX];
    if (!begin_value(c))
        return;
    size_t n = number_format_i64(text, v);
    buf_append(c->x->out, text, n);
}

void gql_float(struct gql_call *c, double v)
{
    if (!begin_value(c))
        return;
    if (isfinite(v))
        json_put_double(c->x->out, v);
    else
        buf_puts(c->x->out, isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

void gql_str(struct gql_call *c, struct str v)
{
    if (!begin_value(c))
        return;
    if (v.p)
        json_put_string(c->x->out, v);
    else
        write_null(c);
}

void gql_strz(struct gql_call *c, const char *v)
{
    gql_str(c, str_of(v));
}

static char *put_digits(char *to, unsigned v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        to[i] = (char)('0' + v % 10);
    return to + n;
}

/* Days since 1970 to a date of the Gregorian calendar (era of 400 years, year from March). */
static char *put_date(char *to, int64_t days)
{
    int64_t z = days + 719468, era = z / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    to = put_digits(to, (unsigned)(era * 400) + yoe + (month <= 2), 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    return put_digits(to, doy - (153 * mp + 2) / 5 + 1, 2);
}

void gql_time(struct gql_call *c, int64_t unix_us)
{
    char text[32] = "\"", *to = text + 1;
    int64_t ms = unix_us / 1000;
    if (unix_us <= 0 || ms / 86400000 > 2900000) { /* after the year 9900 */
        gql_null(c);
        return;
    }
    if (!begin_value(c))
        return;
    unsigned of_day = (unsigned)(ms % 86400000);
    to = put_date(to, ms / 86400000);
    *to++ = 'T';
    to = put_digits(to, of_day / 3600000, 2);
    *to++ = ':';
    to = put_digits(to, of_day / 60000 % 60, 2);
    *to++ = ':';
    to = put_digits(to, of_day / 1000 % 60, 2);
    *to++ = '.';
    to = put_digits(to, of_day % 1000, 3);
    *to++ = '"';
    buf_append(c->x->out, text, (size_t)(to - text));
}

void gql_json(struct gql_call *c, struct str v)
{
    if (!begin_value(c))
        return;
    if (v.n)
        buf_append(c->x->out, v.p, v.n);
    else
        write_null(c);
}

struct buf *gql_raw_begin(struct gql_call *c)
{
    begin_value(c);
    return c->x->out;
}

void gql_raw_end(struct gql_call *c)
{
    check_limits(c->x, c);
}

void gql_list_begin(struct gql_call *c)
{
    assert(c->field->def->ref.list && !c->listed);
    if (!begin_value(c))
        return;
    buf_putc(c->x->out, '[');
    c->in_list = c->listed = true;
}

void gql_list_end(struct gql_call *c)
{
    if (c->in_list)
        buf_putc(c->x->out, ']');
    c->in_list = false;
}

static bool exec_set(struct exec *x, const struct gql_call *up, const struct gql_plan_set *set,
                     const void *obj);

void gql_object(struct gql_call *c, int type, const void *obj)
{
    if (!begin_value(c))
        return;
    const struct gql_plan_set *set = gql_plan_set_of(c->field, (uint16_t)type);
    assert(set || !obj); /* the type must be one that the schema allows here */
    size_t start = c->x->out->len;
    if (obj && exec_set(c->x, c, set, obj))
        return;
    c->x->out->len = start;
    write_null(c);
}

/* ---- running --------------------------------------------------------------------------- */

static bool take_args(struct exec *x, struct gql_call *c)
{
    const struct gql_plan_field *f = c->field;
    struct err e = {0};
    if (!f->def->n_args)
        return true;
    if (!x->coerced[f->index]) {
        int rc = gql_coerce_args(&x->in, f->def->args, f->def->n_args, f->selection->args,
                                 &x->args[f->index], &e);
        if (rc) {
            gql_fail(c, 400, "%s", rc == TARE_ENOMEM ? "out of memory" : e.text);
            return false;
        }
        x->coerced[f->index] = true;
    }
    c->args = x->args[f->index];
    return true;
}

static void answer(struct exec *x, struct gql_call *c, const void *obj)
{
    const struct gql_field *def = c->field->def;
    if (x->plan->schema->types[def->ref.type].scalar == GQL_SC_UNSUPPORTED)
        gql_fail(c, 400, "%.*s is not supported by this server", STR_ARG(def->name));
    else if (take_args(x, c))
        def->resolve(c, obj);
}

/* Answer one field. False: its null must not stand, the parent becomes null. */
static bool exec_field(struct exec *x, const struct gql_call *up, const struct gql_plan_field *f,
                       const struct gql_type *owner, const void *obj)
{
    struct gql_call c = {.x = x, .field = f, .owner = owner, .up = up};
    x->n_fields++;
    check_limits(x, up);
    if (x->stop)
        return false;
    if (!f->def) { /* __typename */
        json_put_string(x->out, owner->name);
        return true;
    }
    size_t start = x->out->len;
    answer(x, &c, obj);
    assert(!c.in_list || c.failed || x->stop);
    if (c.wrote && !c.failed && !c.is_null && !c.bad_item)
        return !x->stop;
    x->out->len = start;
    buf_append(x->out, "null", 4);
    c.in_list = false;
    if (!f->def->ref.nonnull)
        return true;
    if (!c.failed && !x->stop && !x->n_errors)
        gql_fail(&c, 200, "Cannot return null for non-nullable field %.*s.%.*s.", STR_ARG(owner->name),
                 STR_ARG(f->def->name));
    return false;
}

static bool exec_set(struct exec *x, const struct gql_call *up, const struct gql_plan_set *set,
                     const void *obj)
{
    const struct gql_type *owner = &x->plan->schema->types[set->type];
    bool first = true;
    buf_putc(x->out, '{');
    for (uint32_t i = 0; i < set->n; i++) {
        const struct gql_plan_field *f = set->fields[i];
        if (f->conditional && !is_included(x, f))
            continue;
        if (!first)
            buf_putc(x->out, ',');
        first = false;
        buf_append(x->out, f->label.p, f->label.n);
        if (!exec_field(x, up, f, owner, obj))
            return false;
    }
    buf_putc(x->out, '}');
    return true;
}

/* Is there any value but null among the root fields, all of which are at `from`? */
static bool has_value(const struct buf *out, size_t from)
{
    const char *at = out->data + from + 1, *end = out->data + out->len;
    struct json_item item;
    while (json_next_member(&at, end, &item) == 1)
        if (!str_eq(item.value, STR("null")))
            return true;
    return false;
}

/* What resolvers could not keep would be missing in the answer: there is none then. */
static void check_arena(struct exec *x, size_t from)
{
    const struct arena *a = x->in.arena;
    bool large = a->limit_bytes && a->used_bytes > a->limit_bytes / 2; /* waiting for room would not help */
    if (!a->failed || x->stop)
        return;
    x->out->len = from;
    buf_puts(x->out, "null");
    x->errors.len = 0; /* they may be for what is missing */
    x->n_errors = 0;
    x->status = 200;
    x->is_cut_off = false;
    add_error(x, NULL, large ? 422 : 503,
              large ? STR("the answer takes too much memory; use smaller pages") : STR("the server is busy"));
}

static int finish(struct exec *x, size_t from, int *status)
{
    *status = 200;
    check_arena(x, from);
    if (x->n_errors) {
        if (x->status != 200 && !has_value(x->out, from))
            *status = x->status;
        if (x->is_cut_off && !x->plan->operation->mutation) /* what a mutation has done it is not asked again */
            *status = 503;
        buf_puts(x->out, ",\"errors\":[");
        buf_put_str(x->out, buf_str(&x->errors));
        buf_putc(x->out, ']');
    }
    buf_putc(x->out, '}');
    if (x->taken)
        budget_give(x->limits->memory, x->taken);
    bool failed = x->out->failed || x->errors.failed;
    buf_fini(&x->errors);
    return failed ? TARE_ENOMEM : 0;
}

int gql_execute(const struct gql_plan *plan, const struct gql_value *variables, struct arena *arena,
                void *app, const struct gql_limits *limits, struct buf *out, int *status)
{
    struct exec x = {.plan = plan, .in = {plan->schema, plan->operation, variables, arena}, .out = out,
                     .app = app, .limits = limits, .status = 200};
    struct err e = {0};
    x.coerced = arena_calloc(arena, sizeof *x.coerced * (plan->n_fields + 1u));
    x.args = arena_calloc(arena, sizeof *x.args * (plan->n_fields + 1u));
    if (!x.coerced || !x.args)
        return TARE_ENOMEM;
    buf_puts(out, "{\"data\":");
    size_t from = out->len;
    if (gql_check_variables(&x.in, &e)) {
        add_error(&x, NULL, 400, str_of(e.text));
        buf_puts(out, "null");
    } else if (!exec_set(&x, NULL, &plan->root, NULL)) {
        out->len = from;
        buf_puts(out, "null");
    }
    return finish(&x, from, status);
}
