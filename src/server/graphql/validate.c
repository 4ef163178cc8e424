/* SPDX-License-Identifier: MIT */
#include "server/graphql/validate.h"

enum { MAX_FRAGMENTS = 300, MAX_OPERATIONS = 300, MAX_VARIABLES = 300, MAX_DEPTH = 200 /* through fragments too: the C stack */ };

struct check {
    const struct gql_schema *schema;
    struct gql_ast *ast;
    struct err *e;
    uint32_t n_visits; /* selections looked at */
    int depth;
};

static struct gql_fragment *find_fragment(struct gql_ast *ast, struct str name)
{
    for (struct gql_fragment *f = ast->fragments; f; f = f->next)
        if (str_eq(f->name, name))
            return f;
    return NULL;
}

static int check_set(struct check *c, const struct gql_type *t, struct gql_selection *first);

static int check_directives(struct check *c, const struct gql_directive *d)
{
    for (; d; d = d->next) {
        if (!str_eqz(d->name, "include") && !str_eqz(d->name, "skip"))
            return err_set(c->e, TARE_EINVAL, "Unknown directive \"@%.*s\".", STR_ARG(d->name));
        const struct gql_value *v = gql_value_find(d->args, STR("if"));
        if (!v || (v->kind != GQL_BOOL && v->kind != GQL_VARIABLE))
            return err_set(c->e, TARE_EINVAL,
                           "Directive \"@%.*s\" argument \"if\" of type \"Boolean!\" is required.",
                           STR_ARG(d->name));
    }
    return 0;
}

static int check_args(struct check *c, const struct gql_type *t, const struct gql_field *f,
                      const struct gql_selection *s)
{
    for (const struct gql_value *a = s->args; a; a = a->next)
        if (!gql_input_find(f->args, f->n_args, a->name))
            return err_set(c->e, TARE_EINVAL, "Unknown argument \"%.*s\" on field \"%.*s.%.*s\".",
                           STR_ARG(a->name), STR_ARG(t->name), STR_ARG(f->name));
    for (const struct gql_value *a = s->args; a; a = a->next)
        if (gql_value_find(a->next, a->name)) /* found soon: there are as many known names as the field has arguments */
            return err_set(c->e, TARE_EINVAL, "There can be only one argument named \"%.*s\".", STR_ARG(a->name));
    for (uint16_t i = 0; i < f->n_args; i++) {
        const struct gql_input *in = &f->args[i];
        const struct gql_value *v = gql_value_find(s->args, in->name);
        if (in->ref.nonnull && !in->fallback && (!v || v->kind == GQL_NULL))
            return err_set(c->e, TARE_EINVAL,
                           "Field \"%.*s\" argument \"%.*s\" is required, but it was not provided.",
                           STR_ARG(f->name), STR_ARG(in->name));
    }
    return 0;
}

static int check_field(struct check *c, const struct gql_type *t, struct gql_selection *s)
{
    if (str_eqz(s->name, "__typename"))
        return s->first ? err_set(c->e, TARE_EINVAL, "Field \"__typename\" must not have a selection.")
                        : 0;
    const struct gql_field *f = gql_field_find(t, s->name);
    if (!f)
        return err_set(c->e, TARE_EINVAL, "Cannot query field \"%.*s\" on type \"%.*s\".",
                       STR_ARG(s->name), STR_ARG(t->name));
    const struct gql_type *of = &c->schema->types[f->ref.type];
    if (of->scalar == GQL_SC_UNSUPPORTED)
        return 0;
    int rc = check_args(c, t, f, s);
    if (rc)
        return rc;
    if (gql_is_composite(of) && !s->first)
        return err_set(c->e, TARE_EINVAL,
                       "Field \"%.*s\" of type \"%.*s\" must have a selection of subfields.",
                       STR_ARG(s->name), STR_ARG(of->name));
    if (!gql_is_composite(of) && s->first)
        return err_set(c->e, TARE_EINVAL,
                       "Field \"%.*s\" must not have a selection since type \"%.*s\" has no subfields.",
                       STR_ARG(s->name), STR_ARG(of->name));
    return s->first ? check_set(c, of, s->first) : 0;
}

static int check_condition(struct check *c, struct str name, const struct gql_type **out)
{
    const struct gql_type *t = gql_type_find(c->schema, name);
    if (!t)
        return err_set(c->e, TARE_EINVAL, "Unknown type \"%.*s\".", STR_ARG(name));
    if (!gql_is_composite(t))
        return err_set(c->e, TARE_EINVAL, "Fragment cannot condition on non composite type \"%.*s\".",
                       STR_ARG(name));
    *out = t;
    return 0;
}

static int check_inline(struct check *c, const struct gql_type *t, struct gql_selection *s)
{
    int rc = s->condition.n ? check_condition(c, s->condition, &t) : 0;
    return rc ? rc : check_set(c, t, s->first);
}

/* A fragment that nothing reaches, or only an operation that is not offered, is not looked at: it may be
 * about types that are not known here. */
static int check_spread(struct check *c, struct gql_selection *s)
{
    struct gql_fragment *f = find_fragment(c->ast, s->name);
    const struct gql_type *t = NULL;
    if (!f)
        return err_set(c->e, TARE_EINVAL, "Unknown fragment \"%.*s\".", STR_ARG(s->name));
    if (f->checked)
        return 0;
    f->checked = true;
    int rc = check_condition(c, f->condition, &t);
    return rc ? rc : check_set(c, t, f->first);
}

static int too_deep(struct check *c)
{
    return err_set(c->e, TARE_ELIMIT, "the document is nested deeper than %d levels", MAX_DEPTH);
}

static int check_set(struct check *c, const struct gql_type *t, struct gql_selection *first)
{
    if (++c->depth > MAX_DEPTH)
        return too_deep(c);
    for (struct gql_selection *s = first; s; s = s->next) {
        int rc = check_directives(c, s->directives);
        if (rc)
            return rc;
        rc = s->kind == GQL_SEL_FIELD    ? check_field(c, t, s)
             : s->kind == GQL_SEL_INLINE ? check_inline(c, t, s)
                                         : check_spread(c, s);
        if (rc)
            return rc;
    }
    c->depth--;
    return 0;
}

/* Follow spreads below `first`; a fragment met while it is open contains itself. `done` marks
 * are not kept, so the number of steps is bounded instead. */
static int check_cycles(struct check *c, struct gql_selection *first)
{
    if (++c->depth > MAX_DEPTH)
        return too_deep(c);
    for (struct gql_selection *s = first; s; s = s->next) {
        if (++c->n_visits > 100000)
            return err_set(c->e, TARE_ELIMIT, "the document is too complex");
        int rc = 0;
        if (s->kind == GQL_SEL_SPREAD) {
            struct gql_fragment *f = find_fragment(c->ast, s->name);
            if (!f || !f->checked)
                continue; /* below an operation that is not offered */
            if (f->open)
                return err_set(c->e, TARE_EINVAL, "Cannot spread fragment \"%.*s\" within itself.",
                               STR_ARG(f->name));
            f->open = true;
            rc = check_cycles(c, f->first);
            f->open = false;
        } else if (s->first) {
            rc = check_cycles(c, s->first);
        }
        if (rc)
            return rc;
    }
    c->depth--;
    return 0;
}

static int check_fragment_names(const struct gql_ast *ast, struct err *e)
{
    int n = 0;
    for (const struct gql_fragment *f = ast->fragments; f; f = f->next) {
        if (++n > MAX_FRAGMENTS)
            return err_set(e, TARE_ELIMIT, "the document has more than %d fragments", MAX_FRAGMENTS);
        for (const struct gql_fragment *g = f->next; g; g = g->next)
            if (str_eq(f->name, g->name))
                return err_set(e, TARE_EINVAL, "There can be only one fragment named \"%.*s\".", STR_ARG(f->name));
    }
    return 0;
}

static int check_variable_names(const struct gql_operation *op, struct err *e)
{
    int n = 0;
    for (const struct gql_variable *v = op->variables; v; v = v->next) {
        if (++n > MAX_VARIABLES)
            return err_set(e, TARE_ELIMIT, "the operation has more than %d variables", MAX_VARIABLES);
        for (const struct gql_variable *w = v->next; w; w = w->next)
            if (str_eq(v->name, w->name))
                return err_set(e, TARE_EINVAL, "There can be only one variable named \"$%.*s\".", STR_ARG(v->name));
    }
    return 0;
}

static int check_operation_names(const struct gql_ast *ast, struct err *e)
{
    int n = 0;
    for (const struct gql_operation *op = ast->operations; op; op = op->next) {
        if (++n > MAX_OPERATIONS)
            return err_set(e, TARE_ELIMIT, "the document has more than %d operations", MAX_OPERATIONS);
        if (!op->name.n && ast->operations->next)
            return err_set(e, TARE_EINVAL, "This anonymous operation must be the only defined operation.");
        for (const struct gql_operation *other = op->next; other; other = other->next)
            if (str_eq(op->name, other->name))
                return err_set(e, TARE_EINVAL, "There can be only one operation named \"%.*s\".", STR_ARG(op->name));
        int rc = check_variable_names(op, e);
        if (rc)
            return rc;
    }
    return 0;
}

int gql_validate(const struct gql_schema *s, struct gql_ast *ast, struct err *e)
{
    struct check c = {.schema = s, .ast = ast, .e = e};
    int rc = check_fragment_names(ast, e);
    if (!rc)
        rc = check_operation_names(ast, e);
    for (struct gql_operation *op = ast->operations; op && !rc; op = op->next) {
        rc = check_set(&c, &s->types[op->mutation ? s->mutation : s->query], op->first);
        if (!rc)
            rc = check_cycles(&c, op->first);
    }
    return rc;
}
