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
    if (gql_arg_id(c, "id", "Artifact", &id) && accessor_of(c, &e, &a))
        answer_found(c, load_version(&a, id, ACCESS_READ, &v), &e, TYPE_Artifact, &v);
}

static void answer_named(struct gql_call *c, const struct project_row *p, int type)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    if (accessor_of(c, &e, &a))
        answer_found(c, load_version_named(&a, p, gql_arg_str(c, "name"), &v), &e, type, &v);
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
    int rc = db_get_int(a.db, &e, &id, "SELECT id FROM artifacts WHERE client_id = $1 AND (state <> 'DELETED' "
                                       "OR merged_into IS NOT NULL) ORDER BY id DESC LIMIT 1", DB_ARGS(db_s(client)));
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

/* A version in its own sequence, unless that is in a project that the asker does not see. */
static int take_with_sequence(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct version_row *v = to;
    struct collection_row *s = arena_calloc(a->arena, sizeof *s);
    int rc = version_take(a, rows, v);
    if (rc == 0)
        rc = s ? load_collection(a, v->sequence_id, ACCESS_READ, s) : TARE_ENOMEM;
    v->collection = v->sequence = s;
    return rc;
}

static const struct list_shape of_run_list = {TYPE_VersionedArtifactConnection, TYPE_VersionedArtifactEdge,
                                              TYPE_Artifact, sizeof(struct version_row), take_with_sequence};

static void answer_of_run(struct gql_call *c, const struct run_row *r, const char *where)
{
    char sql[VERSION_SQL];
    version_sql(sql, where);
    answer_list(c, &of_run_list, r, sql, DB_ARGS(db_i(r->id)));
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

static int take_user(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    return access_run_id(a, db_int(rows, 0), ACCESS_READ, 0, to);
}

static const struct list_shape user_list = {TYPE_ArtifactUserConnection, TYPE_ArtifactUserEdge, TYPE_Run,
                                            sizeof(struct run_row), take_user};

void resolve_Artifact_usedBy(struct gql_call *c, const void *obj)
{
    answer_list(c, &user_list, obj, "SELECT run_id FROM artifact_uses WHERE artifact_id = $1 ORDER BY created_at, run_id",
                DB_ARGS(db_i(((const struct version_row *)obj)->id)));
}

/* Give each membership its collection. Those whose project the asker does not see are dropped; how many are
 * left. One project is looked up once. */
static size_t join_collections(const struct accessor *a, struct version_row *v, size_t n, struct collection_row *s,
                               size_t n_collections)
{
    size_t kept = 0;
    for (size_t k = 0; k < n_collections; k++) {
        for (size_t i = 0; i < k && !s[k].project; i++)
            if (s[i].project_id == s[k].project_id)
                s[k].project = s[i].project;
        struct project_row *p = s[k].project ? NULL : arena_calloc(a->arena, sizeof *p);
        if (p && access_project_id(a, s[k].project_id, ACCESS_READ, p) == 0)
            s[k].project = p;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_collections; k++)
            if (s[k].project && s[k].id == v[i].collection_id) {
                v[kept] = v[i];
                v[kept++].collection = &s[k];
                break;
            }
    return kept;
}

/* Every collection that it is in, the source included. */
void resolve_Artifact_artifactMemberships(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    char sql[VERSION_SQL];
    AUTO_BUF all = {0};
    AUTO_BUF in = {0};
    int64_t id = ((const struct version_row *)obj)->id;
    if (!accessor_of(c, &e, &a))
        return;
    version_sql(sql, "a.id = $1 AND m.id IS NOT NULL ORDER BY m.id");
    int rc = collect_rows(&a, &all, &membership_list, NULL, sql, DB_ARGS(db_i(id)));
    if (rc == 0)
        rc = collect_rows(&a, &in, &collection_list, NULL,
                          COLLECTION_SQL "s.id IN (SELECT collection_id FROM artifact_memberships WHERE artifact_id = $1)",
                          DB_ARGS(db_i(id)));
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    size_t n = join_collections(&a, (struct version_row *)(void *)all.data, all.len / sizeof(struct version_row),
                                (struct collection_row *)(void *)in.data, in.len / sizeof(struct collection_row));
    answer_rows(c, &membership_list, all.data, n);
}
