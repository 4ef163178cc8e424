/* SPDX-License-Identifier: MIT */
#include "server/ids.h"

void gql_id(struct gql_call *c, const char *kind, int64_t id)
{
    char text[ID_TEXT];
    id_make(text, kind, id);
    gql_strz(c, text);
}

bool gql_arg_id(struct gql_call *c, const char *name, const char *kind, int64_t *id)
{
    return id_parse(gql_arg_str(c, name), kind, id);
}

bool gql_in_id(const struct gql_value *object, const char *name, const char *kind, int64_t *id)
{
    return id_parse(gql_in_str(object, name), kind, id);
}
