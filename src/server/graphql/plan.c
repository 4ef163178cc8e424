/* SPDX-License-Identifier: MIT */
#include "server/graphql/plan.h"

enum { MAX_DEPTH = 24, MAX_VISITS = 100000, MAX_FIELDS_A_SET = 1000 };

struct planner {
    struct arena *arena;
    const struct gql_schema *schema;
    const struct gql_ast *ast;
    struct gql_plan *plan;
    struct err *e;
    uint32_t n_visits;
};

/* Fields of one set while it is being collected. */
struct draft {
    struct gql_plan_field *field;
    struct gql_use *uses, **tail;
    struct draft *next;
};

struct collect {
    uint16_t type;
    struct draft *first, **tail;
    uint32_t n;
};

static int out_of_memory(struct planner *p)
{
    return err_set(p->e, TARE_ENOMEM, "the query needs too much memory");
}

static bool value_equal(const struct gql_value *a, const struct gql_value *b)
{
    if (a->kind != b->kind || a->n != b->n)
        return false;
    const struct gql_value *x = a->first, *y = b->first;
    switch (a->kind) {
    case GQL_NULL:
        return true;
    case GQL_BOOL:
        return a->b == b->b;
    case GQL_INT:
        return a->i == b->i;
    case GQL_FLOAT:
        return a->f >= b->f && a->f <= b->f;
    case GQL_LIST:
    case GQL_OBJECT:
        for (; x && y; x = x->next, y = y->next)
            if (!str_eq(x->name, y->name) || !value_equal(x, y))
                return false;
        return true;
    default:
        return str_eq(a->s, b->s);
    }
}

static bool args_equal(const struct gql_value *a, const struct gql_value *b)
{
    size_t n = 0, m = 0;
    for (const struct gql_value *v = a; v; v = v->next, n++) {
        const struct gql_value *w = gql_value_find(b, v->name);
        if (!w || !value_equal(v, w))
            return false;
    }
    for (const struct gql_value *v = b; v; v = v->next)
        m++;
    return n == m;
}

static const struct gql_variable *find_variable(const struct planner *p, struct str name)
{
    const struct gql_variable *var = p->plan->operation->variables;
    while (var && !str_eq(var->name, name))
        var = var->next;
    return var;
}

static int check_declared(struct planner *p, const struct gql_value *v)
{
    for (; v; v = v->next) {
        int rc = v->first ? check_declared(p, v->first) : 0;
        if (rc)
            return rc;
        if (v->kind != GQL_VARIABLE)
            continue;
        if (!find_variable(p, v->s))
            return err_set(p->e, TARE_EINVAL, "Variable \"$%.*s\" is not defined.", STR_ARG(v->s));
    }
    return 0;
}

/* The variable of an @include or @skip, which nothing coerces, is a Boolean: gql_check_variables looks at its value. */
static int check_condition_type(struct planner *p, const struct gql_value *v)
{
    const struct gql_variable *var = v->kind == GQL_VARIABLE ? find_variable(p, v->s) : NULL;
    if (!var || (str_eqz(var->type, "Boolean") && !var->list))
        return 0;
    return err_set(p->e, TARE_EINVAL, "Variable \"$%.*s\" of type \"%s%.*s%s\" used in position expecting type \"Boolean!\".",
                   STR_ARG(var->name), var->list ? "[" : "", STR_ARG(var->type), var->list ? "]" : "");
}

static int add_conditions(struct planner *p, const struct gql_directive *d,
                          const struct gql_condition **when)
{
    for (; d; d = d->next) {
        struct gql_condition *c = arena_calloc(p->arena, sizeof *c);
        if (!c)
            return out_of_memory(p);
        c->up = *when;
        c->value = gql_value_find(d->args, STR("if"));
        c->skip = str_eqz(d->name, "skip");
        *when = c;
        int rc = check_declared(p, d->args);
        if (rc || (rc = check_condition_type(p, c->value)))
            return rc;
    }
    return 0;
}

static struct draft *find_draft(struct collect *c, struct str key)
{
    for (struct draft *d = c->first; d; d = d->next)
        if (str_eq(d->field->key, key))
            return d;
    return NULL;
}

static struct draft *new_draft(struct planner *p, struct collect *c, const struct gql_selection *s)
{
    struct draft *d = arena_calloc(p->arena, sizeof *d);
    struct gql_plan_field *f = arena_calloc(p->arena, sizeof *f);
    char *label = arena_alloc(p->arena, s->key.n + 4);
    if (!d || !f || !label)
        return NULL;
    label[0] = '"';
    memcpy(label + 1, s->key.p, s->key.n);
    label[s->key.n + 1] = '"';
    label[s->key.n + 2] = ':';
    *f = (struct gql_plan_field){.key = s->key, .label = str_make(label, s->key.n + 3),
                                 .selection = s, .index = p->plan->n_fields++,
                                 .def = gql_field_find(&p->schema->types[c->type], s->name)};
    d->field = f;
    d->tail = &d->uses;
    *c->tail = d;
    c->tail = &d->next;
    c->n++;
    return d;
}

static int add_field(struct planner *p, struct collect *c, const struct gql_selection *s,
                     const struct gql_condition *when)
{
    struct draft *d = find_draft(c, s->key);
    if (d && (!str_eq(d->field->selection->name, s->name) ||
              !args_equal(d->field->selection->args, s->args)))
        return err_set(p->e, TARE_EINVAL,
                       "Fields \"%.*s\" conflict: use different aliases to fetch both.",
                       STR_ARG(s->key));
    if (!d && c->n >= MAX_FIELDS_A_SET)
        return err_set(p->e, TARE_ELIMIT, "a selection has more than %d fields", MAX_FIELDS_A_SET);
    if (!d && !(d = new_draft(p, c, s)))
        return out_of_memory(p);
    int rc = check_declared(p, s->args);
    struct gql_use *u = arena_calloc(p->arena, sizeof *u);
    if (rc || !u)
        return rc ? rc : out_of_memory(p);
    u->when = when;
    u->selection = s;
    *d->tail = u;
    d->tail = &u->next;
    return 0;
}

static bool applies(struct planner *p, struct str condition, uint16_t type)
{
    const struct gql_type *t = condition.n ? gql_type_find(p->schema, condition) : NULL;
    if (!condition.n)
        return true;
    for (uint16_t i = 0; t && i < t->n_possible; i++)
        if (t->possible[i] == type)
            return true;
    return false;
}

static int collect_set(struct planner *p, struct collect *c, const struct gql_selection *first,
                       const struct gql_condition *outer)
{
    for (const struct gql_selection *s = first; s; s = s->next) {
        if (++p->n_visits > MAX_VISITS)
            return err_set(p->e, TARE_ELIMIT, "the document is too complex");
        const struct gql_condition *when = outer;
        int rc = add_conditions(p, s->directives, &when);
        if (rc)
            return rc;
        if (s->kind == GQL_SEL_FIELD) {
            rc = add_field(p, c, s, when);
        } else if (s->kind == GQL_SEL_INLINE) {
            rc = applies(p, s->condition, c->type) ? collect_set(p, c, s->first, when) : 0;
        } else {
            const struct gql_fragment *f = p->ast->fragments;
            while (!str_eq(f->name, s->name)) /* validated: it exists */
                f = f->next;
            rc = applies(p, f->condition, c->type) ? collect_set(p, c, f->first, when) : 0;
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int finish_set(struct planner *p, struct collect *c, struct gql_plan_set *out, int depth);

/* The sets below a field of a composite type, one per type it may turn out to be. */
static int plan_below(struct planner *p, struct draft *d, int depth)
{
    const struct gql_type *t = &p->schema->types[d->field->def->ref.type];
    struct gql_plan_set *sets = arena_calloc(p->arena, sizeof *sets * (t->n_possible + 1u));
    bool single = !d->uses->next;
    if (!sets)
        return out_of_memory(p);
    for (uint16_t i = 0; i < t->n_possible; i++) {
        struct collect c = {.type = t->possible[i]};
        c.tail = &c.first;
        int rc = 0;
        for (struct gql_use *u = d->uses; u && !rc; u = u->next)
            rc = collect_set(p, &c, u->selection->first, single ? NULL : u->when);
        if (!rc)
            rc = finish_set(p, &c, &sets[i], depth + 1);
        if (rc)
            return rc;
    }
    d->field->sets = sets;
    d->field->n_sets = t->n_possible;
    return 0;
}

static int finish_set(struct planner *p, struct collect *c, struct gql_plan_set *out, int depth)
{
    if (depth > MAX_DEPTH)
        return err_set(p->e, TARE_ELIMIT, "the query is nested deeper than %d levels", MAX_DEPTH);
    out->type = c->type;
    out->n = c->n;
    out->fields = arena_alloc(p->arena, sizeof *out->fields * (c->n + 1u));
    if (!out->fields)
        return out_of_memory(p);
    uint32_t i = 0;
    for (struct draft *d = c->first; d; d = d->next) {
        struct gql_plan_field *f = d->field;
        f->uses = d->uses;
        f->conditional = true;
        for (const struct gql_use *u = d->uses; u; u = u->next)
            if (!u->when)
                f->conditional = false;
        out->fields[i++] = f;
        if (f->def && gql_is_composite(&p->schema->types[f->def->ref.type])) {
            int rc = plan_below(p, d, depth);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static const struct gql_operation *pick(const struct gql_ast *ast, struct str name, struct err *e)
{
    if (!name.n && !ast->operations->next)
        return ast->operations;
    for (const struct gql_operation *op = ast->operations; name.n && op; op = op->next)
        if (str_eq(op->name, name))
            return op;
    if (name.n)
        err_set(e, TARE_EINVAL, "Unknown operation named \"%.*s\".", STR_ARG(name));
    else
        err_set(e, TARE_EINVAL,
                "Must provide operation name if query contains multiple operations.");
    return NULL;
}

int gql_plan_make(struct arena *a, const struct gql_schema *s, const struct gql_ast *ast,
                  struct str name, struct gql_plan *out, struct err *e)
{
    *out = (struct gql_plan){.schema = s, .operation = pick(ast, name, e)};
    if (!out->operation)
        return TARE_EINVAL;
    struct planner p = {.arena = a, .schema = s, .ast = ast, .plan = out, .e = e};
    struct collect c = {.type = out->operation->mutation ? s->mutation : s->query};
    c.tail = &c.first;
    int rc = collect_set(&p, &c, out->operation->first, NULL);
    return rc ? rc : finish_set(&p, &c, &out->root, 0);
}

const struct gql_plan_set *gql_plan_set_of(const struct gql_plan_field *f, uint16_t type)
{
    for (uint16_t i = 0; i < f->n_sets; i++)
        if (f->sets[i].type == type)
            return &f->sets[i];
    return NULL;
}
