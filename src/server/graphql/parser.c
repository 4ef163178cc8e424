/* SPDX-License-Identifier: MIT */
/* Recursive descent over the executable part of the GraphQL grammar (no type definitions:
 * the schema is compiled at build time). Depth is limited, so the C stack is too. */
#include "server/graphql/ast.h"
#include "server/graphql/lexer.h"

#include <errno.h>
#include <stdlib.h>

enum { MAX_DEPTH = 48, MAX_DOCUMENT_BYTES = 512 * 1024 };

struct parser {
    struct gql_lexer lx;
    struct arena *arena;
    struct err *e;
    int depth;
};

static int fail(struct parser *p, const char *what)
{
    struct gql_lexer *lx = &p->lx;
    if (lx->kind == GQL_TOK_EOF)
        return err_set(p->e, TARE_EFORMAT, "Syntax Error: expected %s, found the end of the document",
                       what);
    struct str got = lx->kind == GQL_TOK_PUNCT ? str_make(&lx->punct, 1) : lx->text;
    return err_set(p->e, TARE_EFORMAT, "Syntax Error: expected %s, found \"%.*s\" (line %u, column %u)",
                   what, (int)(got.n < 40 ? got.n : 40), got.p, lx->token_line, lx->token_column);
}

static int next(struct parser *p)
{
    return gql_lexer_next(&p->lx, p->e);
}

static bool at_punct(struct parser *p, char c)
{
    return p->lx.kind == GQL_TOK_PUNCT && p->lx.punct == c;
}

static bool at_keyword(struct parser *p, const char *word)
{
    return p->lx.kind == GQL_TOK_NAME && str_eqz(p->lx.text, word);
}

static int expect(struct parser *p, char c)
{
    char what[4] = {'"', c, '"', 0};
    return at_punct(p, c) ? next(p) : fail(p, what);
}

static int take_name(struct parser *p, struct str *out)
{
    if (p->lx.kind != GQL_TOK_NAME)
        return fail(p, "a name");
    *out = p->lx.text;
    return next(p);
}

static void *node(struct parser *p, size_t size)
{
    void *n = arena_calloc(p->arena, size);
    if (!n)
        err_set(p->e, TARE_ENOMEM, "out of memory");
    return n;
}

static int enter(struct parser *p)
{
    if (++p->depth > MAX_DEPTH)
        return err_set(p->e, TARE_ELIMIT, "the document is nested deeper than %d levels", MAX_DEPTH);
    return 0;
}

static int parse_value(struct parser *p, bool constant, struct gql_value *out);

static int parse_number(struct parser *p, struct gql_value *v)
{
    char text[64];
    struct str t = p->lx.text;
    if (t.n >= sizeof text)
        return fail(p, "a shorter number");
    memcpy(text, t.p, t.n);
    text[t.n] = 0;
    if (p->lx.kind == GQL_TOK_INT) {
        errno = 0;
        v->kind = GQL_INT;
        v->i = strtoll(text, NULL, 10);
        v->f = (double)v->i;
        if (!errno)
            return next(p);
    }
    v->kind = GQL_FLOAT;
    v->f = strtod(text, NULL);
    return next(p);
}

/* Items of a list or members of an object, after the opening bracket. */
static int parse_items(struct parser *p, bool constant, char close, struct gql_value *out)
{
    int rc = next(p);
    const struct gql_value **link = &out->first;
    out->kind = close == ']' ? GQL_LIST : GQL_OBJECT;
    while (!rc && !at_punct(p, close)) {
        struct gql_value *item = node(p, sizeof *item);
        if (!item)
            return TARE_ENOMEM;
        if (close == '}' && ((rc = take_name(p, &item->name)) || (rc = expect(p, ':'))))
            return rc;
        if ((rc = parse_value(p, constant, item)))
            return rc;
        *link = item;
        link = &item->next;
        out->n++;
    }
    return rc ? rc : next(p);
}

static int parse_variable_use(struct parser *p, bool constant, struct gql_value *out)
{
    if (constant)
        return fail(p, "a constant value");
    int rc = next(p);
    out->kind = GQL_VARIABLE;
    return rc ? rc : take_name(p, &out->s);
}

static int parse_name_value(struct parser *p, struct gql_value *out)
{
    if (at_keyword(p, "true") || at_keyword(p, "false")) {
        out->kind = GQL_BOOL;
        out->b = p->lx.text.n == 4;
    } else if (at_keyword(p, "null")) {
        out->kind = GQL_NULL;
    } else {
        out->kind = GQL_ENUM;
        out->s = p->lx.text;
    }
    return next(p);
}

static int parse_value(struct parser *p, bool constant, struct gql_value *out)
{
    int rc = enter(p);
    if (rc)
        return rc;
    switch (p->lx.kind) {
    case GQL_TOK_INT:
    case GQL_TOK_FLOAT:
        rc = parse_number(p, out);
        break;
    case GQL_TOK_STRING:
        out->kind = GQL_STRING;
        out->s = p->lx.text;
        rc = next(p);
        break;
    case GQL_TOK_NAME:
        rc = parse_name_value(p, out);
        break;
    default:
        if (at_punct(p, '$'))
            rc = parse_variable_use(p, constant, out);
        else if (at_punct(p, '['))
            rc = parse_items(p, constant, ']', out);
        else if (at_punct(p, '{'))
            rc = parse_items(p, constant, '}', out);
        else
            rc = fail(p, "a value");
    }
    p->depth--;
    return rc;
}

static int parse_arguments(struct parser *p, const struct gql_value **out)
{
    if (!at_punct(p, '('))
        return 0;
    int rc = next(p);
    if (!rc && at_punct(p, ')'))
        return fail(p, "an argument");
    while (!rc && !at_punct(p, ')')) {
        struct gql_value *arg = node(p, sizeof *arg);
        if (!arg)
            return TARE_ENOMEM;
        if ((rc = take_name(p, &arg->name)) || (rc = expect(p, ':')) ||
            (rc = parse_value(p, false, arg)))
            return rc;
        *out = arg;
        out = (const struct gql_value **)&arg->next;
    }
    return rc ? rc : next(p);
}

static int parse_directives(struct parser *p, const struct gql_directive **out)
{
    while (at_punct(p, '@')) {
        struct gql_directive *d = node(p, sizeof *d);
        if (!d)
            return TARE_ENOMEM;
        int rc = next(p);
        if (rc || (rc = take_name(p, &d->name)) || (rc = parse_arguments(p, &d->args)))
            return rc;
        *out = d;
        out = (const struct gql_directive **)&d->next;
    }
    return 0;
}

static int parse_selection_set(struct parser *p, struct gql_selection **out);

static int parse_field(struct parser *p, struct gql_selection *s)
{
    int rc = take_name(p, &s->name);
    s->kind = GQL_SEL_FIELD;
    s->key = s->name;
    if (!rc && at_punct(p, ':')) {
        if ((rc = next(p)) || (rc = take_name(p, &s->name)))
            return rc;
    }
    if (rc || (rc = parse_arguments(p, &s->args)) || (rc = parse_directives(p, &s->directives)))
        return rc;
    return at_punct(p, '{') ? parse_selection_set(p, &s->first) : 0;
}

static int parse_fragment_use(struct parser *p, struct gql_selection *s)
{
    int rc = next(p); /* the dots */
    if (rc)
        return rc;
    if (p->lx.kind == GQL_TOK_NAME && !at_keyword(p, "on")) {
        s->kind = GQL_SEL_SPREAD;
        if ((rc = take_name(p, &s->name)))
            return rc;
        return parse_directives(p, &s->directives);
    }
    s->kind = GQL_SEL_INLINE;
    if (at_keyword(p, "on") && ((rc = next(p)) || (rc = take_name(p, &s->condition))))
        return rc;
    if ((rc = parse_directives(p, &s->directives)))
        return rc;
    return parse_selection_set(p, &s->first);
}

static int parse_selection_set(struct parser *p, struct gql_selection **out)
{
    int rc = enter(p);
    if (rc || (rc = expect(p, '{')))
        return rc;
    if (at_punct(p, '}'))
        return fail(p, "a field");
    while (!at_punct(p, '}')) {
        struct gql_selection *s = node(p, sizeof *s);
        if (!s)
            return TARE_ENOMEM;
        s->line = p->lx.token_line;
        s->column = p->lx.token_column;
        rc = p->lx.kind == GQL_TOK_SPREAD ? parse_fragment_use(p, s) : parse_field(p, s);
        if (rc)
            return rc;
        *out = s;
        out = &s->next;
    }
    p->depth--;
    return next(p);
}

static int parse_type(struct parser *p, struct gql_variable *v)
{
    int rc = 0, levels = 0;
    while (!rc && at_punct(p, '[')) {
        v->list = true;
        if (++levels > 4)
            return fail(p, "a type");
        rc = next(p);
    }
    if (rc || (rc = take_name(p, &v->type)))
        return rc;
    for (;; levels--) {
        v->nonnull = at_punct(p, '!');
        if (v->nonnull && (rc = next(p)))
            return rc;
        if (!levels)
            return 0;
        if ((rc = expect(p, ']')))
            return rc;
    }
}

static int parse_variables(struct parser *p, struct gql_variable **out)
{
    if (!at_punct(p, '('))
        return 0;
    int rc = next(p);
    while (!rc && !at_punct(p, ')')) {
        struct gql_variable *v = node(p, sizeof *v);
        const struct gql_directive *ignored = NULL;
        if (!v)
            return TARE_ENOMEM;
        if ((rc = expect(p, '$')) || (rc = take_name(p, &v->name)) || (rc = expect(p, ':')) ||
            (rc = parse_type(p, v)))
            return rc;
        if (at_punct(p, '=')) {
            struct gql_value *d = node(p, sizeof *d);
            if (!d)
                return TARE_ENOMEM;
            if ((rc = next(p)) || (rc = parse_value(p, true, d)))
                return rc;
            v->fallback = d;
        }
        rc = parse_directives(p, &ignored);
        *out = v;
        out = &v->next;
    }
    return rc ? rc : next(p);
}

static int parse_operation(struct parser *p, struct gql_operation *op)
{
    const struct gql_directive *ignored = NULL;
    if (at_punct(p, '{'))
        return parse_selection_set(p, &op->first);
    op->mutation = at_keyword(p, "mutation");
    if (at_keyword(p, "subscription"))
        return err_set(p->e, TARE_EFORMAT, "subscriptions are not supported");
    int rc = next(p);
    if (!rc && p->lx.kind == GQL_TOK_NAME)
        rc = take_name(p, &op->name);
    if (rc || (rc = parse_variables(p, &op->variables)) || (rc = parse_directives(p, &ignored)))
        return rc;
    return parse_selection_set(p, &op->first);
}

static int parse_fragment(struct parser *p, struct gql_fragment *f)
{
    const struct gql_directive *ignored = NULL;
    int rc = next(p);
    if (rc || (rc = take_name(p, &f->name)))
        return rc;
    if (str_eqz(f->name, "on") || !at_keyword(p, "on"))
        return fail(p, "\"on\" and a type");
    if ((rc = next(p)) || (rc = take_name(p, &f->condition)) || (rc = parse_directives(p, &ignored)))
        return rc;
    return parse_selection_set(p, &f->first);
}

static int parse_definition(struct parser *p, struct gql_operation ***ops, struct gql_fragment ***frags)
{
    int rc;
    if (at_keyword(p, "fragment")) {
        struct gql_fragment *f = node(p, sizeof *f);
        if (!f)
            return TARE_ENOMEM;
        if ((rc = parse_fragment(p, f)))
            return rc;
        **frags = f;
        *frags = &f->next;
        return 0;
    }
    if (!at_punct(p, '{') && !at_keyword(p, "query") && !at_keyword(p, "mutation") &&
        !at_keyword(p, "subscription"))
        return fail(p, "an operation");
    struct gql_operation *op = node(p, sizeof *op);
    if (!op)
        return TARE_ENOMEM;
    if ((rc = parse_operation(p, op)))
        return rc;
    **ops = op;
    *ops = &op->next;
    return 0;
}

int gql_parse(struct arena *a, struct str text, struct gql_ast *out, struct err *e)
{
    struct parser p = {.arena = a, .e = e};
    struct gql_ast ast = {0};
    struct gql_operation **ops = &ast.operations;
    struct gql_fragment **frags = &ast.fragments;
    if (text.n > MAX_DOCUMENT_BYTES)
        return err_set(e, TARE_ELIMIT, "the document is larger than %d bytes", MAX_DOCUMENT_BYTES);
    gql_lexer_init(&p.lx, a, text);
    int rc = next(&p);
    while (!rc && p.lx.kind != GQL_TOK_EOF)
        rc = parse_definition(&p, &ops, &frags);
    if (rc)
        return rc;
    if (!ast.operations)
        return err_set(e, TARE_EFORMAT, "Syntax Error: the document has no operation");
    *out = ast;
    return 0;
}

const struct gql_value *gql_value_find(const struct gql_value *first, struct str name)
{
    for (const struct gql_value *v = first; v; v = v->next)
        if (str_eq(v->name, name))
            return v;
    return NULL;
}
