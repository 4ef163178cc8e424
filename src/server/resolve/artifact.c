/* SPDX-License-Identifier: MIT */
/* Reading versions: by id, by name, of a run; and what a version says of itself. */
#include "server/resolve/artifact_rows.h"

#include "base/number.h"
#include "server/artifact/artifact.h"

#include <stdio.h>

/* ---- finding ---- */

void resolve_Query_artifact(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    int64_t id;
    if (!gql_arg_id(c, "id", "Artifact", &id)) {
        gql_null(c);
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_version(&a, id, ACCESS_READ, &v);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Artifact, &v);
}

static void answer_named(struct gql_call *c, const struct project_row *p, int type)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_version_named(&a, p, gql_arg_str(c, "name"), &v);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, type, &v);
}

void resolve_Project_artifact(struct gql_call *c, const void *obj)
{
    answer_named(c, obj, TYPE_Artifact);
}

void resolve_Project_artifactCollectionMembership(struct gql_call *c, const void *obj)
{
    answer_named(c, obj, TYPE_ArtifactCollectionMembership);
}

/* A client's own name of an artifact or of a sequence, to ours. */
void resolve_Query_clientIDMapping(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    int64_t id = 0;
    struct str client = gql_arg_str(c, "clientID");
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_get_int(a.db, &e, &id, "SELECT id FROM artifacts WHERE client_id = $1 AND state <> 'DELETED' "
                                       "ORDER BY id DESC LIMIT 1", DB_ARGS(db_s(client)));
    if (rc == 1)
        rc = load_version(&a, id, ACCESS_READ, &v) == 0;
    if (rc < 0)
        fail_with(c, rc, &e);
    else if (rc == 1)
        gql_object(c, TYPE_ClientIDMapping, &v);
    else
        gql_null(c);
}

FIELD_ID(ClientIDMapping, serverID, version_row, "Artifact", id)

/* ---- of a run ---- */

static void answer_of_run(struct gql_call *c, const struct run_row *r, const char *where)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    char sql[VERSION_SQL];
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    version_sql(sql, where);
    int rc = db_query(a.db, &e, &rows, sql, DB_ARGS(db_i(r->id)));
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1) {
        struct version_row v;
        rc = version_take(&a, rows, &v);
        struct collection_row *s = arena_calloc(a.arena, sizeof *s);
        if (rc == 0)
            rc = s ? load_collection(&a, v.sequence_id, ACCESS_READ, s) : TARE_ENOMEM;
        v.collection = v.sequence = s;
        if (rc == 0)
            rc = buf_append(&all, &v, sizeof v);
        rc = rc == TARE_ENOTFOUND ? 0 : rc; /* in a project that the asker does not see */
    }
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        answer_page(c, TYPE_VersionedArtifactConnection, TYPE_VersionedArtifactEdge, TYPE_Artifact, all.data,
                    all.len / sizeof(struct version_row), sizeof(struct version_row));
}

void resolve_Run_outputArtifacts(struct gql_call *c, const void *obj)
{
    answer_of_run(c, obj, "a.id IN (SELECT artifact_id FROM artifact_outputs WHERE run_id = $1) AND "
                          "a.state = 'COMMITTED' AND m.collection_id = a.sequence_id ORDER BY a.id");
}

void resolve_Run_inputArtifacts(struct gql_call *c, const void *obj)
{
    answer_of_run(c, obj, "a.id IN (SELECT artifact_id FROM artifact_uses WHERE run_id = $1) AND "
                          "a.state = 'COMMITTED' AND m.collection_id = a.sequence_id ORDER BY a.id");
}

/* An edge's node is the version as a member of the list's collection; its version is that one's. */
void resolve_VersionedArtifactEdge_node(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_Artifact, ((const struct edge *)obj)->node);
}

void resolve_VersionedArtifactEdge_version(struct gql_call *c, const void *obj)
{
    const struct version_row *v = ((const struct edge *)obj)->node;
    gql_strz(c, arena_printf(gql_arena(c), "v%lld", (long long)v->version_index));
}

void resolve_VersionedArtifactEdge_cursor(struct gql_call *c, const void *obj)
{
    resolve_edge_cursor(c, obj);
}

/* ---- fields ---- */

FIELD_ID(Artifact, id, version_row, "Artifact", id)
FIELD_STR(Artifact, state, version_row, state)
FIELD_STR(Artifact, digest, version_row, digest)
FIELD_STR(Artifact, digestAlgorithm, version_row, digest_algorithm)
FIELD_STR(Artifact, description, version_row, description)
FIELD_STR(Artifact, metadata, version_row, metadata)
FIELD_STR(Artifact, commitHash, version_row, commit)
FIELD_INT(Artifact, size, version_row, size_bytes)
FIELD_INT(Artifact, fileCount, version_row, file_count)
FIELD_TIME(Artifact, createdAt, version_row, created_us)
FIELD_TIME(Artifact, updatedAt, version_row, updated_us)

void resolve_Artifact_versionIndex(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    if (v->own_index >= 0)
        gql_int(c, v->own_index);
}

void resolve_Artifact_historyStep(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    if (v->history_step >= 0)
        gql_int(c, v->history_step);
}

void resolve_Artifact_ttlDurationSeconds(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    int64_t ttl = v->ttl_s == ARTIFACT_TTL_INHERIT && v->sequence ? v->sequence->ttl_s : v->ttl_s;
    gql_int(c, ttl > 0 ? ttl : -1);
}

FIELD_(Artifact, ttlIsInherited, gql_bool(c, ROW_(version_row)->ttl_s == ARTIFACT_TTL_INHERIT))

void resolve_Artifact_artifactSequence(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct version_row v = *(const struct version_row *)obj;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = version_sequence(&a, &v);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_ArtifactSequence, v.sequence);
}

/* The type with the rest of its row, unless only its name is wanted. */
void answer_type(struct gql_call *c, const struct project_row *p, struct str name);

void resolve_Artifact_artifactType(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    answer_type(c, v->collection ? v->collection->project : NULL, v->type);
}

void resolve_Artifact_tags(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows, "SELECT name FROM artifact_tags WHERE artifact_id = $1 ORDER BY name",
                      DB_ARGS(db_i(((const struct version_row *)obj)->id)));
    gql_list_begin(c);
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1) {
        struct str name = db_str(rows, 0);
        gql_object(c, TYPE_Tag, &name);
    }
    gql_list_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}

FIELD_(Tag, name, gql_str(c, *(const struct str *)obj))

/* A tag is its name. */
void resolve_Tag_id(struct gql_call *c, const void *obj)
{
    const struct str *name = obj;
    gql_strz(c, arena_printf(gql_arena(c), "Tag:%.*s", STR_ARG(*name)));
}

/* ---- who made it, who used it ---- */

void resolve_Artifact_createdBy(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    struct err e;
    struct accessor a;
    struct run_row r;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = v->run_id ? access_run_id(&a, v->run_id, ACCESS_READ, 0, &r) : TARE_ENOTFOUND;
    struct user_row u;
    if (rc == 0)
        gql_object(c, TYPE_Run, &r);
    else if (v->user_id && load_user(&a, v->user_id, &u) == 0)
        gql_object(c, TYPE_User, &u);
    else
        null_or_fail(c, rc, &e);
}

void resolve_Artifact_usedBy(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows, "SELECT run_id FROM artifact_uses WHERE artifact_id = $1 ORDER BY created_at, run_id",
                      DB_ARGS(db_i(((const struct version_row *)obj)->id)));
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1) {
        struct run_row r;
        rc = access_run_id(&a, db_int(rows, 0), ACCESS_READ, 0, &r);
        if (rc == 0)
            rc = buf_append(&all, &r, sizeof r);
        rc = rc == TARE_ENOTFOUND ? 0 : rc;
    }
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        answer_page(c, TYPE_ArtifactUserConnection, TYPE_ArtifactUserEdge, TYPE_Run, all.data,
                    all.len / sizeof(struct run_row), sizeof(struct run_row));
}

/* Every collection that it is in, the source included. */
void resolve_Artifact_artifactMemberships(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    char sql[VERSION_SQL];
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    AUTO_ROWS struct db_rows *in = NULL;
    int rc = db_query(a.db, &e, &in, "SELECT collection_id FROM artifact_memberships WHERE artifact_id = $1 ORDER BY id",
                      DB_ARGS(db_i(((const struct version_row *)obj)->id)));
    version_sql(sql, "a.id = $1 AND m.collection_id = $2");
    while (rc >= 0 && (rc = db_next(in, &e)) == 1) {
        struct collection_row *s = arena_calloc(a.arena, sizeof *s);
        rc = s ? load_collection(&a, db_int(in, 0), ACCESS_READ, s) : TARE_ENOMEM;
        if (rc == TARE_ENOTFOUND) {
            rc = 0;
            continue;
        }
        struct version_row v;
        if (rc == 0)
            rc = db_first(a.db, &e, &rows, sql, DB_ARGS(db_i(((const struct version_row *)obj)->id), db_i(s->id)));
        if (rc == 1 && (rc = version_take(&a, rows, &v)) == 0) {
            v.collection = s;
            rc = buf_append(&all, &v, sizeof v);
        }
        db_rows_end(rows);
        rows = NULL;
    }
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        answer_page(c, TYPE_ArtifactCollectionMembershipConnection, TYPE_ArtifactCollectionMembershipEdge,
                    TYPE_ArtifactCollectionMembership, all.data, all.len / sizeof(struct version_row),
                    sizeof(struct version_row));
}
