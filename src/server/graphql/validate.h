/* SPDX-License-Identifier: MIT */
/* Is a parsed document meaningful for a schema? Pure; any thread.
 *
 * Checked: fields, arguments, fragments and their cycles, directives, selections on the right
 * kind of type, required arguments. Tolerated, because clients of several versions are: unused
 * variables and fragments, and types of variables (a value is coerced where it is used). */
#ifndef TARE_SERVER_GRAPHQL_VALIDATE_H
#define TARE_SERVER_GRAPHQL_VALIDATE_H

#include "server/graphql/schema.h"

/* Expected: TARE_EINVAL with the reason in `e`, in the words that GraphQL clients match. */
int gql_validate(const struct gql_schema *s, struct gql_ast *ast, struct err *e);

#endif
