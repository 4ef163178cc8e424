/* SPDX-License-Identifier: MIT */
/* Artifacts as rows: collections, versions, and versions in collections; who may see them is decided by
 * their project (access.h). Strings live in the accessor's arena. */
#ifndef TARE_SERVER_RESOLVE_ARTIFACT_ROWS_H
#define TARE_SERVER_RESOLVE_ARTIFACT_ROWS_H

#include "server/filter/filter.h"
#include "server/resolve/fields.h"

struct collection_row {
    int64_t id, type_id, project_id;
    struct str name, kind, description, state, type, digest_algorithm; /* kind: sequence, portfolio */
    int64_t ttl_s, created_us, updated_us;
    const struct project_row *project;
};

/* A version as a member of a collection: of its own sequence, or of a portfolio that it is linked into. */
struct version_row {
    int64_t id;                /* of the artifact */
    int64_t membership_id;     /* 0: not committed */
    int64_t version_index;     /* in `collection`; -1: not committed */
    int64_t own_index;         /* in its sequence; -1: not committed */
    struct str state, digest, digest_algorithm, type, description, metadata, commit;
    int64_t size_bytes, file_count, ttl_s, history_step; /* step -1: none */
    int64_t run_id, user_id, sequence_id, created_us, updated_us, member_us, collection_id;
    struct collection_row *collection;
    struct collection_row *sequence; /* loaded by version_sequence */
};

/* A collection by number, or by name in a project (`type`: its own, or that of a version in it; {NULL}: any).
 * Expected: TARE_ENOTFOUND, TARE_EPERM, those of access_project. */
int load_collection(const struct accessor *a, int64_t id, enum access need, struct collection_row *out);
int load_collection_named(const struct accessor *a, const struct project_row *p, struct str name,
                          struct str type, struct collection_row *out);

/* The SELECT of collections, to be ended by a condition on s (artifact_collections) and t (their type). Rows of
 * collection_list get the project they are a list of, if any. */
#define COLLECTION_SQL                                                                                      \
    "SELECT s.id, s.type_id, s.name, s.kind, s.description, s.state, t.name, s.digest_algorithm, s.ttl_s, " \
    "s.created_at, s.updated_at, s.project_id FROM artifact_collections s "                                 \
    "JOIN artifact_types t ON t.id = s.type_id WHERE "
extern const struct list_shape collection_list;

/* A version by number, seen in its own sequence; the asker needs the right on the sequence's project. out->id is another
 * number where one with the same content was committed at the same time. */
int load_version(const struct accessor *a, int64_t artifact_id, enum access need, struct version_row *out);

/* "name:alias" or "name" (latest) in a project. */
int load_version_named(const struct accessor *a, const struct project_row *p, struct str name,
                       struct version_row *out);
/* Alias or v<N> in a collection. */
int load_version_in(const struct accessor *a, struct collection_row *in, struct str alias,
                    struct version_row *out);

/* The SELECT of versions as members, with `where` (on a: artifacts, m: memberships) behind WHERE. */
enum { VERSION_SQL = 2048 };
void version_sql(char to[VERSION_SQL], const char *where);
int version_take(const struct accessor *a, struct db_rows *rows, struct version_row *out);
/* Rows of it; `of` is the collection (struct collection_row) that they are members of, or NULL. */
extern const struct list_shape version_list, membership_list;

/* The sequence of a version, loaded at the first call. */
int version_sequence(const struct accessor *a, struct version_row *v);

/* Values of filters and orders. `ctx` is a struct filter_ctx whose row is a collection or a version. */
struct filter_ctx {
    const struct accessor *a;
    const void *row;
};
int collection_filter_get(void *ctx, struct str key, struct filter_value *out);
int version_filter_get(void *ctx, struct str key, struct filter_value *out);

/* Keep those of the *n rows that `filter` (JSON; empty: all) lets through. */
int keep_matching(const struct accessor *a, struct str filter, filter_get_fn get, void *rows, size_t *n, size_t stride);

/* As answer_list, of those rows that the field's `filters` lets through, in the order that its `order` wants. */
void answer_filtered_list(struct gql_call *c, const struct list_shape *shape, const void *of, filter_get_fn get,
                          const char *fallback_order, const char *sql, const struct db_value *args, int n);
/* The same of rows that were collected before, with `rc`. */
void answer_filtered_rows(struct gql_call *c, const struct accessor *a, int rc, const struct list_shape *shape,
                          const struct buf *all, filter_get_fn get, const char *fallback_order);

/* Emit a collection as its concrete type. */
void answer_collection(struct gql_call *c, const struct collection_row *row);

/* Emit the files of a version as a FileConnection (arguments first, after, names). */
void answer_version_files(struct gql_call *c, const struct version_row *v);

#endif
