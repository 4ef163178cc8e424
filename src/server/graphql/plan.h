/* SPDX-License-Identifier: MIT */
/* One operation of a document, flattened for execution: for every object type that a selection
 * may meet, the list of fields to answer, in order, with fragments expanded and selections of
 * the same key merged. Made once per document and shared by requests; never changed after. */
#ifndef TARE_SERVER_GRAPHQL_PLAN_H
#define TARE_SERVER_GRAPHQL_PLAN_H

#include "server/graphql/schema.h"

/* One @include or @skip, and those above it: all must hold. */
struct gql_condition {
    const struct gql_condition *up;
    const struct gql_value *value; /* GQL_BOOL or GQL_VARIABLE */
    bool skip;
};

/* One place in the document that selects a field. */
struct gql_use {
    const struct gql_condition *when; /* NULL: always */
    const struct gql_selection *selection;
    struct gql_use *next;
};

struct gql_plan_set {
    uint16_t type; /* the concrete type */
    uint32_t n;
    struct gql_plan_field **fields;
};

struct gql_plan_field {
    struct str key;   /* alias or name */
    struct str label; /* `"key":` */
    const struct gql_field *def; /* NULL: __typename */
    const struct gql_selection *selection;
    const struct gql_use *uses; /* the field is answered if one of them holds */
    bool conditional;           /* no use is unconditional */
    uint32_t index;             /* 0 … gql_plan.n_fields - 1 */
    const struct gql_plan_set *sets;
    uint16_t n_sets;
};

struct gql_plan {
    const struct gql_schema *schema;
    const struct gql_operation *operation;
    struct gql_plan_set root;
    uint32_t n_fields;
};

/* Plan the operation called `name` (n == 0: the only one) of a validated document.
 * Expected: TARE_EINVAL no such operation, fields that conflict, a variable not declared
 *           TARE_ELIMIT too deep or too large; TARE_ENOMEM. */
int gql_plan_make(struct arena *a, const struct gql_schema *s, const struct gql_ast *ast,
                  struct str name, struct gql_plan *out, struct err *e);

/* The set for concrete type `type`, or NULL. */
const struct gql_plan_set *gql_plan_set_of(const struct gql_plan_field *f, uint16_t type);

#endif
