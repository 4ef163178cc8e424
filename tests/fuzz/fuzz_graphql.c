/* SPDX-License-Identifier: MIT */
/* A GraphQL document and, behind a NUL byte, the JSON of its variables: parsed, validated against the
 * server's own schema, planned, and all arguments coerced. */
#include "schema_tables.h"
#include "server/graphql/coerce.h"
#include "server/graphql/document.h"
#include "server/graphql/plan.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void coerce_all(const struct gql_inputs *in, const struct gql_plan_set *set)
{
    struct err e;
    for (uint32_t i = 0; i < set->n; i++) {
        const struct gql_plan_field *f = set->fields[i];
        const struct gql_value *args = NULL;
        if (f->def)
            gql_coerce_args(in, f->def->args, f->def->n_args, f->selection->args, &args, &e);
        for (const struct gql_use *u = f->uses; u; u = u->next)
            gql_condition_holds(in, u->when);
        for (uint16_t s = 0; s < f->n_sets; s++)
            coerce_all(in, &f->sets[s]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gql_cache *cache = gql_cache_new(&tare_schema);
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    struct gql_document *d = NULL;
    struct gql_value variables;
    struct arena arena;
    struct err e;
    arena_init(&arena, 64 << 20);
    bool has_variables = end && !gql_value_from_json(&arena, str_make(end + 1, size - n - 1), &variables) &&
                         variables.kind == GQL_OBJECT;
    if (!gql_document_get(cache, str_make(data, n), (struct str){0}, &d, &e)) {
        struct gql_inputs in = {&tare_schema, d->plan.operation, has_variables ? &variables : NULL, &arena};
        gql_check_variables(&in, &e);
        coerce_all(&in, &d->plan.root);
    }
    gql_document_put(cache, d);
    gql_cache_free(cache);
    arena_fini(&arena);
    return 0;
}
