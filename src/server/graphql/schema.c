/* SPDX-License-Identifier: MIT */
#include "server/graphql/schema.h"

const struct gql_type *gql_type_find(const struct gql_schema *s, struct str name)
{
    for (uint16_t i = 0; i < s->n_types; i++)
        if (str_eq(s->types[i].name, name))
            return &s->types[i];
    return NULL;
}

const struct gql_field *gql_field_find(const struct gql_type *t, struct str name)
{
    for (uint16_t i = 0; i < t->n_fields; i++)
        if (str_eq(t->fields[i].name, name))
            return &t->fields[i];
    return NULL;
}

const struct gql_input *gql_input_find(const struct gql_input *in, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(in[i].name, name))
            return &in[i];
    return NULL;
}
