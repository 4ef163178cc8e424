/* SPDX-License-Identifier: MIT */
/* Ids as clients see them: base64 of "Kind:number", a string that is valid standard base64 (artifact
 * ids are decoded and re-encoded by clients). Pure. */
#ifndef TARE_SERVER_IDS_H
#define TARE_SERVER_IDS_H

#include "base/str.h"
#include "server/graphql/resolver.h"

#include <stdbool.h>
#include <stdint.h>

enum { ID_TEXT = 64 };

/* Kinds are string literals such as "Run" or "Artifact", at most 24 characters. */
void id_make(char to[ID_TEXT], const char *kind, int64_t id);
bool id_parse(struct str text, const char *kind, int64_t *id); /* false: no id of this kind */

/* Emit the id as a field's value. */
void gql_id(struct gql_call *c, const char *kind, int64_t id);

/* Argument `name` of the field, or member `name` of an input object, as an id. */
bool gql_arg_id(struct gql_call *c, const char *name, const char *kind, int64_t *id);
bool gql_in_id(const struct gql_value *object, const char *name, const char *kind, int64_t *id);

#endif
