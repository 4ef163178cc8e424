/* SPDX-License-Identifier: MIT */
/* Parsed, validated and planned documents, kept by their text: clients send the same few over
 * and over. Bounded in number and bytes. Any thread. */
#ifndef TARE_SERVER_GRAPHQL_DOCUMENT_H
#define TARE_SERVER_GRAPHQL_DOCUMENT_H

#include "base/err.h"
#include "server/graphql/plan.h"

struct gql_cache;

/* A planned operation of one document. Shared; constant after it was made. */
struct gql_document {
    struct gql_plan plan;
    struct arena arena; /* owns the text and everything in plan */
    struct str text, operation;
    uint64_t hash;
    _Atomic size_t answer_bytes; /* of the last answer: the next is likely as long */
    int refs; /* under the cache's lock */
};

struct gql_cache *gql_cache_new(const struct gql_schema *schema);
void gql_cache_free(struct gql_cache *c); /* all documents must have been given back */

/* Forget all documents; those in use live until they are given back. */
void gql_cache_clear(struct gql_cache *c);

/* The document `text`, planned for its operation `name` (n == 0: its only one). Give it back with
 * gql_document_put.
 * Expected: TARE_EFORMAT, TARE_EINVAL, TARE_ELIMIT with the reason for the client in `e`. */
int gql_document_get(struct gql_cache *c, struct str text, struct str name,
                     struct gql_document **out, struct err *e);
void gql_document_put(struct gql_cache *c, struct gql_document *d);

#endif
