/* SPDX-License-Identifier: MIT */
/* What a GraphQL document looks like once parsed.
 *
 * Everything lives in the arena given to gql_parse; names and texts point into the document's
 * own bytes where they can (a string with escapes is decoded into the arena), so the document
 * must outlive the tree. Lists are singly linked in source order. */
#ifndef TARE_SERVER_GRAPHQL_AST_H
#define TARE_SERVER_GRAPHQL_AST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum gql_kind {
    GQL_NULL,
    GQL_BOOL,
    GQL_INT,
    GQL_FLOAT,
    GQL_STRING,
    GQL_ENUM,
    GQL_LIST,
    GQL_OBJECT,
    GQL_VARIABLE, /* only in a parsed document; `s` is the name without `$` */
};

/* A literal in a document, a default of the schema, or a coerced input value. */
struct gql_value {
    enum gql_kind kind;
    struct str name;              /* set when the value is an argument or a member of an object */
    const struct gql_value *next; /* next argument, member or item */
    bool b;
    int64_t i;
    double f;
    struct str s;                  /* GQL_STRING, GQL_ENUM, GQL_VARIABLE */
    const struct gql_value *first; /* GQL_LIST, GQL_OBJECT */
    uint32_t n;                    /* items or members */
};

struct gql_directive {
    struct str name;
    const struct gql_value *args;
    const struct gql_directive *next;
};

enum gql_selection_kind { GQL_SEL_FIELD, GQL_SEL_SPREAD, GQL_SEL_INLINE };

struct gql_selection {
    enum gql_selection_kind kind;
    uint32_t line, column;
    struct str key;       /* field: the alias, or the name */
    struct str name;      /* field or fragment name */
    struct str condition; /* inline fragment: type name, n == 0 when absent */
    const struct gql_value *args;
    const struct gql_directive *directives;
    struct gql_selection *first; /* selection set; NULL when there is none */
    struct gql_selection *next;
};

struct gql_variable {
    struct str name, type;
    bool list, nonnull;
    const struct gql_value *fallback; /* default; NULL when there is none */
    struct gql_variable *next;
};

struct gql_operation {
    bool mutation;
    struct str name; /* n == 0 for an anonymous operation */
    struct gql_variable *variables;
    struct gql_selection *first;
    struct gql_operation *next;
};

struct gql_fragment {
    struct str name, condition;
    struct gql_selection *first;
    struct gql_fragment *next;
    bool open;    /* being expanded: a second visit is a cycle */
    bool checked; /* validated: once is enough, however often it is spread */
};

struct gql_ast {
    struct gql_operation *operations;
    struct gql_fragment *fragments;
};

/* Parse `text` (UTF-8). Pure; any thread.
 * Expected: TARE_EFORMAT  a syntax error, described in `e` with line and column
 *           TARE_ELIMIT   too many tokens or too deep
 *           TARE_ENOMEM */
int gql_parse(struct arena *a, struct str text, struct gql_ast *out, struct err *e);

/* The member or argument `name` of a chain, or NULL. */
const struct gql_value *gql_value_find(const struct gql_value *first, struct str name);

#endif
