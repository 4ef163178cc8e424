/* SPDX-License-Identifier: MIT */
/* Input values: from a document or from JSON to what the schema says. */
#ifndef TARE_SERVER_GRAPHQL_COERCE_H
#define TARE_SERVER_GRAPHQL_COERCE_H

#include "base/buf.h"
#include "server/graphql/plan.h"

struct gql_inputs {
    const struct gql_schema *schema;
    const struct gql_operation *operation;
    const struct gql_value *variables; /* GQL_OBJECT or NULL */
    struct arena *arena;
};

/* Coerce the arguments that `given` (a chain) has for `wanted`. Absent ones without a default
 * are left out of the result.
 * Expected: TARE_EINVAL with the reason in `e`; TARE_ENOMEM. */
int gql_coerce_args(const struct gql_inputs *in, const struct gql_input *wanted, size_t n,
                    const struct gql_value *given, const struct gql_value **out, struct err *e);

/* Are the variables that the operation declares as non-null there? */
int gql_check_variables(const struct gql_inputs *in, struct err *e);

/* Truth of a condition chain. */
bool gql_condition_holds(const struct gql_inputs *in, const struct gql_condition *c);

/* JSON text to a value. Strings point into `text` where they have no escapes.
 * Expected: TARE_EFORMAT, also for bytes that are not UTF-8; TARE_ENOMEM. */
int gql_value_from_json(struct arena *a, struct str text, struct gql_value *out);

bool utf8_valid(struct str s);

#endif
