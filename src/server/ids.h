/* SPDX-License-Identifier: MIT */
/* Ids in GraphQL: id_text.h as fields and arguments. */
#ifndef TARE_SERVER_IDS_H
#define TARE_SERVER_IDS_H

#include "base/str.h"
#include "server/graphql/resolver.h"
#include "server/id_text.h"

#include <stdbool.h>
#include <stdint.h>

/* Emit the id as a field's value. */
void gql_id(struct gql_call *c, const char *kind, int64_t id);

/* Argument `name` of the field, or member `name` of an input object, as an id. */
bool gql_arg_id(struct gql_call *c, const char *name, const char *kind, int64_t *id);
bool gql_in_id(const struct gql_value *object, const char *name, const char *kind, int64_t *id);

#endif
