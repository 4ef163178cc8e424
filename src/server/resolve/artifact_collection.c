/* SPDX-License-Identifier: MIT */
/* Types, collections, memberships and aliases: reading. */
#include "server/resolve/artifact_rows.h"

#include "server/artifact/artifact.h"

/* ---- types ---- */

struct type_row {
    int64_t id, created_us;
    struct str name, description;
    const struct project_row *project;
};

#define TYPE_SQL "SELECT id, name, description, created_at FROM artifact_types WHERE project_id = $1 "

static int take_type(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct type_row *)to = (struct type_row){.id = db_int(rows, 0), .name = access_keep(a, db_str(rows, 1)),
                             .description = access_keep(a, db_str(rows, 2)), .created_us = db_int(rows, 3), .project = of};
    return 0;
}

static const struct list_shape type_list = {TYPE_ArtifactTypeConnection, TYPE_ArtifactTypeEdge, TYPE_ArtifactType,
                                            sizeof(struct type_row), take_type};

void answer_type(struct gql_call *c, const struct project_row *p, struct str name);

void answer_type(struct gql_call *c, const struct project_row *p, struct str name)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!p || !accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows, TYPE_SQL "AND name = $2", DB_ARGS(db_i(p->id), db_s(name)));
    struct type_row t;
    rc = rc == 1 ? take_type(&a, rows, p, &t) : rc < 0 ? rc : TARE_ENOTFOUND;
    answer_found(c, rc, &e, TYPE_ArtifactType, &t);
}

void resolve_Project_artifactType(struct gql_call *c, const void *obj)
{
    answer_type(c, obj, gql_arg_str(c, "name"));
}

void resolve_Project_artifactTypes(struct gql_call *c, const void *obj)
{
    answer_list(c, &type_list, obj, TYPE_SQL "ORDER BY name", DB_ARGS(db_i(((const struct project_row *)obj)->id)));
}

FIELD_ID(ArtifactType, id, type_row, "ArtifactType", id)
FIELD_STR(ArtifactType, name, type_row, name)
FIELD_STR(ArtifactType, description, type_row, description)
FIELD_TIME(ArtifactType, createdAt, type_row, created_us)

/* ---- finding collections ---- */

static void answer_named(struct gql_call *c, const struct project_row *p, struct str type)
{
    struct err e;
    struct accessor a;
    struct collection_row s;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_collection_named(&a, p, gql_arg_str(c, "name"), type, &s);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        answer_collection(c, &s);
}

void resolve_Project_artifactCollection(struct gql_call *c, const void *obj)
{
    answer_named(c, obj, (struct str){0});
}

void resolve_ArtifactType_artifactCollection(struct gql_call *c, const void *obj)
{
    const struct type_row *t = obj;
    answer_named(c, t->project, t->name);
}

void resolve_Query_artifactCollection(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct collection_row s;
    int64_t id;
    if (!gql_arg_id(c, "id", "ArtifactCollection", &id)) {
        gql_null(c);
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_collection(&a, id, ACCESS_READ, &s);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        answer_collection(c, &s);
}

static void answer_collections(struct gql_call *c, const struct project_row *p, int64_t type)
{
    answer_filtered_list(c, &collection_list, p, collection_filter_get, "-created_at,-id",
                         COLLECTION_SQL "s.project_id = $1 AND s.state <> 'DELETED' AND ($2 = 0 OR s.type_id = $2) "
                                        "ORDER BY s.id",
                         DB_ARGS(db_i(p->id), db_i(type)));
}

void resolve_Project_artifactCollections(struct gql_call *c, const void *obj)
{
    answer_collections(c, obj, 0);
}

void resolve_ArtifactType_artifactCollections(struct gql_call *c, const void *obj)
{
    const struct type_row *t = obj;
    answer_collections(c, t->project, t->id);
}

FIELD_(ArtifactCollectionEdge, node, answer_collection(c, ((const struct edge *)obj)->node))
FIELD_(ArtifactCollectionEdge, cursor, resolve_edge_cursor(c, obj))

/* ---- fields of both kinds ---- */

FIELD_ID(collection, id, collection_row, "ArtifactCollection", id)
FIELD_STR(collection, name, collection_row, name)
FIELD_STR(collection, description, collection_row, description)
FIELD_STR(collection, state, collection_row, state)
FIELD_STR(collection, digestAlgorithm, collection_row, digest_algorithm)
FIELD_TIME(collection, createdAt, collection_row, created_us)
FIELD_TIME(collection, updatedAt, collection_row, updated_us)
FIELD_(collection, project, gql_object(c, TYPE_Project, ROW_(collection_row)->project))
FIELD_(collection, defaultArtifactType, answer_type(c, ROW_(collection_row)->project, ROW_(collection_row)->type))

static int take_tag(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct str *)to = access_keep(a, db_str(rows, 0));
    return 0;
}

static const struct list_shape tag_list = {TYPE_TagConnection, TYPE_TagEdge, TYPE_Tag, sizeof(struct str), take_tag};

void resolve_collection_tags(struct gql_call *c, const void *obj)
{
    answer_list(c, &tag_list, obj, "SELECT name FROM artifact_collection_tags WHERE collection_id = $1 ORDER BY name",
                DB_ARGS(db_i(((const struct collection_row *)obj)->id)));
}

/* ---- versions in it ---- */

/* All its versions, after `filters` and `order`. */
static void answer_versions(struct gql_call *c, const struct collection_row *s, const struct list_shape *shape)
{
    char sql[VERSION_SQL];
    version_sql(sql, "m.collection_id = $1 AND a.state = 'COMMITTED' ORDER BY m.version_index DESC");
    answer_filtered_list(c, shape, s, version_filter_get, "-versionIndex", sql, DB_ARGS(db_i(s->id)));
}

void resolve_collection_artifacts(struct gql_call *c, const void *obj)
{
    answer_versions(c, obj, &version_list);
}

void resolve_collection_artifactMemberships(struct gql_call *c, const void *obj)
{
    answer_versions(c, obj, &membership_list);
}

static void answer_version_of(struct gql_call *c, const void *obj, struct str alias, int type)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    struct collection_row s = *(const struct collection_row *)obj;
    if (accessor_of(c, &e, &a))
        answer_found(c, load_version_in(&a, &s, alias, &v), &e, type, &v);
}

void resolve_collection_artifactMembership(struct gql_call *c, const void *obj)
{
    answer_version_of(c, obj, gql_arg_str(c, "aliasName"), TYPE_ArtifactCollectionMembership);
}

/* The newest by index, whatever the alias says. */
void resolve_collection_latestArtifact(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    int64_t id = 0;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_get_int(a.db, &e, &id,
                        "SELECT artifact_id FROM artifact_memberships WHERE collection_id = $1 "
                        "ORDER BY version_index DESC LIMIT 1",
                        DB_ARGS(db_i(((const struct collection_row *)obj)->id)));
    if (rc == 1)
        rc = load_version(&a, id, ACCESS_READ, &v) == 0;
    if (rc < 0)
        fail_with(c, rc, &e);
    else if (rc == 1)
        gql_object(c, TYPE_Artifact, &v);
    else
        gql_null(c);
}

/* ---- memberships ---- */

FIELD_ID(ArtifactCollectionMembership, id, version_row, "ArtifactCollectionMembership", membership_id)
FIELD_INT(ArtifactCollectionMembership, versionIndex, version_row, version_index)
FIELD_TIME(ArtifactCollectionMembership, createdAt, version_row, member_us)
FIELD_(ArtifactCollectionMembership, artifact, gql_object(c, TYPE_Artifact, obj))
FIELD_(ArtifactCollectionMembership, artifactCollection, answer_collection(c, ROW_(version_row)->collection))
FIELD_(ArtifactCollectionMembership, files, answer_version_files(c, obj))

/* ---- aliases ---- */

struct alias_row {
    int64_t id;
    struct str alias;
    const struct collection_row *collection;
};

FIELD_ID(ArtifactAlias, id, alias_row, "ArtifactAlias", id)
FIELD_STR(ArtifactAlias, alias, alias_row, alias)
FIELD_(ArtifactAlias, artifactCollection, answer_collection(c, ROW_(alias_row)->collection))

void resolve_ArtifactCollectionMembership_aliases(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT id, alias FROM artifact_aliases WHERE collection_id = $1 AND artifact_id = $2 ORDER BY id",
                      DB_ARGS(db_i(v->collection->id), db_i(v->id)));
    gql_list_begin(c);
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1)
        gql_object(c, TYPE_ArtifactAlias, &(struct alias_row){db_int(rows, 0), db_str(rows, 1), v->collection});
    gql_list_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}

/* In all collections that the asker may see. */
void resolve_Artifact_aliases(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows, "SELECT id, alias, collection_id FROM artifact_aliases WHERE artifact_id = $1 ORDER BY id",
                      DB_ARGS(db_i(v->id)));
    gql_list_begin(c);
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1) {
        struct collection_row s;
        if (v->collection && v->collection->id == db_int(rows, 2))
            s = *v->collection;
        else
            rc = load_collection(&a, db_int(rows, 2), ACCESS_READ, &s);
        if (rc == TARE_ENOTFOUND)
            rc = 0; /* in a project that the asker does not see */
        else if (rc >= 0)
            gql_object(c, TYPE_ArtifactAlias, &(struct alias_row){db_int(rows, 0), db_str(rows, 1), &s});
    }
    gql_list_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}

static int take_alias(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct alias_row *)to = (struct alias_row){db_int(rows, 0), access_keep(a, db_str(rows, 1)), of};
    return 0;
}

static const struct list_shape alias_list = {TYPE_ArtifactAliasConnection, TYPE_ArtifactAliasEdge, TYPE_ArtifactAlias,
                                             sizeof(struct alias_row), take_alias};

void resolve_collection_aliases(struct gql_call *c, const void *obj)
{
    answer_list(c, &alias_list, obj, "SELECT id, alias FROM artifact_aliases WHERE collection_id = $1 ORDER BY id",
                DB_ARGS(db_i(((const struct collection_row *)obj)->id)));
}
