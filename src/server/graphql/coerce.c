/* SPDX-License-Identifier: MIT */
#include "server/graphql/coerce.h"
#include "base/json.h"
#include "server/graphql/resolver.h"

#include <math.h>

static int coerce(const struct gql_inputs *in, const struct gql_ref *ref, struct str name,
                  const struct gql_value *v, struct gql_value **out, struct err *e);

static const struct gql_value null_value = {.kind = GQL_NULL};

/* The value behind a variable: what was sent, or the declared default; NULL when absent. */
static const struct gql_value *variable_value(const struct gql_inputs *in, struct str name)
{
    const struct gql_value *v = in->variables ? gql_value_find(in->variables->first, name) : NULL;
    if (v)
        return v;
    for (const struct gql_variable *var = in->operation->variables; var; var = var->next)
        if (str_eq(var->name, name))
            return var->fallback;
    return NULL;
}

static int mismatch(const struct gql_inputs *in, const struct gql_ref *ref, struct str name,
                    struct err *e)
{
    const struct gql_type *t = &in->schema->types[ref->type];
    return err_set(e, TARE_EINVAL, "Argument or field \"%.*s\" has a value that is not of type \"%.*s\".",
                   STR_ARG(name), STR_ARG(t->name));
}

static int to_text(const struct gql_inputs *in, struct gql_value *v)
{
    AUTO_BUF b = {0};
    gql_value_json(v, &b);
    char *copy = b.failed ? NULL : arena_strndup(in->arena, b.data, b.len);
    if (!copy)
        return TARE_ENOMEM;
    *v = (struct gql_value){.kind = GQL_STRING, .name = v->name, .s = {copy, b.len}};
    return 0;
}

static bool to_int(struct gql_value *v)
{
    if (v->kind == GQL_FLOAT && floor(v->f) >= v->f && v->f > -9.2e18 && v->f < 9.2e18) {
        v->kind = GQL_INT;
        v->i = (int64_t)v->f;
    }
    return v->kind == GQL_INT;
}

static int coerce_scalar(const struct gql_inputs *in, const struct gql_type *t, struct gql_value *v)
{
    switch (t->scalar) {
    case GQL_SC_BOOLEAN:
        return v->kind == GQL_BOOL ? 0 : TARE_EINVAL;
    case GQL_SC_INT:
        return to_int(v) ? 0 : TARE_EINVAL;
    case GQL_SC_FLOAT:
        if (v->kind == GQL_INT) {
            v->kind = GQL_FLOAT;
            v->f = (double)v->i;
        }
        return v->kind == GQL_FLOAT ? 0 : TARE_EINVAL;
    case GQL_SC_STRING:
        if (v->kind == GQL_INT || v->kind == GQL_FLOAT)
            return to_text(in, v);
        if (v->kind == GQL_ENUM) /* documents know some of our strings as enums */
            v->kind = GQL_STRING;
        return v->kind == GQL_STRING ? 0 : TARE_EINVAL;
    case GQL_SC_JSONSTRING:
        return v->kind == GQL_STRING ? 0 : to_text(in, v);
    default:
        return 0;
    }
}

static int coerce_enum(const struct gql_type *t, struct gql_value *v)
{
    if (v->kind != GQL_ENUM && v->kind != GQL_STRING)
        return TARE_EINVAL;
    v->kind = GQL_ENUM;
    for (uint16_t i = 0; i < t->n_values; i++)
        if (str_eq(t->values[i], v->s))
            return 0;
    return TARE_EINVAL;
}

static int check_members(const struct gql_type *t, const struct gql_value *v, struct err *e)
{
    for (const struct gql_value *m = v->first; m; m = m->next)
        if (m->kind != GQL_NULL && m->kind != GQL_VARIABLE &&
            !gql_input_find(t->inputs, t->n_inputs, m->name))
            return err_set(e, TARE_EINVAL, "Field \"%.*s\" is not defined by type \"%.*s\".",
                           STR_ARG(m->name), STR_ARG(t->name));
    return 0;
}

static int coerce_items(const struct gql_inputs *in, const struct gql_ref *ref, struct str name,
                        const struct gql_value *v, struct gql_value *out, struct err *e)
{
    const struct gql_ref item = {.type = ref->type, .nonnull = ref->item_nonnull};
    const struct gql_value *from = v->kind == GQL_LIST ? v->first : v, **link = &out->first;
    *out = (struct gql_value){.kind = GQL_LIST, .name = name};
    for (; from; from = v->kind == GQL_LIST ? from->next : NULL) {
        struct gql_value *one = NULL;
        int rc = coerce(in, &item, name, from, &one, e);
        if (rc)
            return rc;
        if (!one) { /* an absent variable in a list stands for null */
            one = arena_calloc(in->arena, sizeof *one);
            if (!one)
                return TARE_ENOMEM;
        }
        one->name = (struct str){0};
        *link = one;
        link = &one->next;
        out->n++;
    }
    *link = NULL;
    return 0;
}

static int coerce_known(const struct gql_inputs *in, const struct gql_ref *ref, struct str name,
                        const struct gql_value *v, struct gql_value *out, struct err *e)
{
    const struct gql_type *t = &in->schema->types[ref->type];
    *out = *v;
    out->name = name;
    out->next = NULL;
    if (ref->list)
        return coerce_items(in, ref, name, v, out, e);
    if (t->kind == GQL_INPUT) {
        if (v->kind != GQL_OBJECT)
            return mismatch(in, ref, name, e);
        int rc = check_members(t, v, e);
        return rc ? rc : gql_coerce_args(in, t->inputs, t->n_inputs, v->first, &out->first, e);
    }
    int rc = t->kind == GQL_ENUM_TYPE ? coerce_enum(t, out) : coerce_scalar(in, t, out);
    return rc == TARE_EINVAL ? mismatch(in, ref, name, e) : rc;
}

/* *out stays NULL when the value is a variable that was not given. */
static int coerce(const struct gql_inputs *in, const struct gql_ref *ref, struct str name,
                  const struct gql_value *v, struct gql_value **out, struct err *e)
{
    if (v->kind == GQL_VARIABLE && !(v = variable_value(in, v->s)))
        return 0;
    struct gql_value *made = arena_calloc(in->arena, sizeof *made);
    if (!made)
        return TARE_ENOMEM;
    if (v->kind == GQL_NULL) {
        if (ref->nonnull)
            return err_set(e, TARE_EINVAL, "Argument or field \"%.*s\" must not be null.",
                           STR_ARG(name));
        *made = null_value;
        made->name = name;
    } else {
        int rc = coerce_known(in, ref, name, v, made, e);
        if (rc)
            return rc;
    }
    *out = made;
    return 0;
}

int gql_coerce_args(const struct gql_inputs *in, const struct gql_input *wanted, size_t n,
                    const struct gql_value *given, const struct gql_value **out, struct err *e)
{
    const struct gql_value *first = NULL, **link = &first;
    for (size_t i = 0; i < n; i++) {
        const struct gql_value *v = gql_value_find(given, wanted[i].name);
        struct gql_value *made = NULL;
        int rc = v ? coerce(in, &wanted[i].ref, wanted[i].name, v, &made, e) : 0;
        if (!rc && !made && wanted[i].fallback)
            rc = coerce(in, &wanted[i].ref, wanted[i].name, wanted[i].fallback, &made, e);
        if (rc)
            return rc;
        if (!made && wanted[i].ref.nonnull)
            return err_set(e, TARE_EINVAL, "Argument or field \"%.*s\" is required, but it was not provided.",
                           STR_ARG(wanted[i].name));
        if (!made)
            continue;
        *link = made;
        link = &made->next;
    }
    *out = first;
    return 0;
}

int gql_check_variables(const struct gql_inputs *in, struct err *e)
{
    for (const struct gql_variable *v = in->operation->variables; v; v = v->next) {
        const struct gql_value *given = variable_value(in, v->name);
        if (v->nonnull && (!given || given->kind == GQL_NULL))
            return err_set(e, TARE_EINVAL, "Variable \"$%.*s\" of required type \"%.*s!\" was not provided.",
                           STR_ARG(v->name), STR_ARG(v->type));
        if (given && given->kind != GQL_NULL && given->kind != GQL_BOOL && str_eqz(v->type, "Boolean") && !v->list)
            return err_set(e, TARE_EINVAL, "Variable \"$%.*s\" got a value that is no Boolean.", STR_ARG(v->name));
    }
    return 0;
}

bool gql_condition_holds(const struct gql_inputs *in, const struct gql_condition *c)
{
    for (; c; c = c->up) {
        const struct gql_value *v = c->value;
        if (v->kind == GQL_VARIABLE)
            v = variable_value(in, v->s);
        if ((v && v->kind == GQL_BOOL && v->b) == c->skip)
            return false;
    }
    return true;
}
