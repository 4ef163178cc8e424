/* SPDX-License-Identifier: MIT */
/* Mutations of versions: create, commit, use, update, delete, aliases, links. */
#include "server/resolve/artifact_rows.h"

#include "base/json.h"
#include "server/artifact/artifact.h"

enum { MAX_NAMES = 1000 };

/* What every job here gets and gives. */
struct change {
    struct request *q;
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t artifact_id, collection_id, version_index;
};

static struct accessor accessor_in(struct db_conn *db, struct change *k, struct err *e)
{
    return (struct accessor){db, k->user, k->arena, e};
}

/* Run the job; false: the field has failed. */
static bool run(struct gql_call *c, struct change *k, db_job_fn job)
{
    struct request *q = request_of(c);
    struct err e = {0};
    *k = (struct change){.q = q, .user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, job, k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    return rc >= 0;
}

/* The artifact that the input names, with the right to `need`. */
static int find_artifact(const struct accessor *a, struct change *k, enum access need, struct version_row *v)
{
    if (!gql_in_id(k->in, "artifactID", "Artifact", &k->artifact_id))
        return err_set(a->e, TARE_ENOTFOUND, "there is no such artifact");
    int rc = load_version(a, k->artifact_id, need, v);
    if (rc == 0)
        k->artifact_id = v->id; /* of two with the same content one has become the other */
    return rc;
}

static int find_project(const struct accessor *a, const struct gql_value *in, enum access need, bool make,
                        struct project_row *p)
{
    struct str entity = gql_in_str(in, "entityName"), name = gql_in_str(in, "projectName");
    if (!entity.n)
        entity = (struct str){0};
    if (!name.n)
        name = STR("uncategorized");
    int64_t id;
    int rc = access_project(a, entity, name, need, p);
    if (rc == TARE_ENOTFOUND && make && (rc = project_make(a, entity, name, &id)) >= 0)
        rc = access_project_id(a, id, need, p);
    return rc;
}

/* The strings below `field` of each member of a list, as slices. */
static size_t take_names(const struct change *k, const char *list, const char *field, struct str **to)
{
    const struct gql_value *v = gql_in(k->in, list);
    size_t n = 0;
    *to = NULL;
    if (!v || v->kind != GQL_LIST || v->n > MAX_NAMES || !(*to = arena_calloc(k->arena, sizeof **to * (v->n + 1))))
        return 0;
    for (v = v->first; v; v = v->next)
        (*to)[n++] = gql_in_str(v, field);
    return n;
}

/* Answer with a payload that holds the artifact. */
static void answer_artifact(struct gql_call *c, int64_t id, int payload)
{
    struct err e;
    struct accessor a;
    struct version_row v;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_version(&a, id, ACCESS_READ, &v);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, payload, &v);
}

FIELD_(artifact_payload, artifact, gql_object(c, TYPE_Artifact, obj))
FIELD_NULL(artifact_payload, clientMutationId)
FIELD_(CreateArtifactPayload, artifact, gql_object(c, TYPE_Artifact, obj))
FIELD_NULL(CreateArtifactPayload, clientMutationId)

/* ---- create ---- */

static struct str collection_name(const struct gql_value *in)
{
    struct str name = gql_in_str(in, "artifactCollectionName");
    const struct gql_value *many = gql_in(in, "artifactCollectionNames");
    return name.n || !many || !many->first ? name : many->first->s;
}

static int check_metadata(const struct accessor *a, struct str metadata)
{
    if (!metadata.p || (json_valid(metadata) && json_skip_space(metadata.p, metadata.p + metadata.n)[0] == '{'))
        return 0;
    return err_set(a->e, TARE_EINVAL, "the artifact's metadata is not a JSON object");
}

static int create_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct project_row p;
    struct run_row r = {0};
    struct str *aliases, *tags, run_name = gql_in_str(k->in, "runName");
    struct artifact_spec spec = {
        .user_id = k->user->id, .type = gql_in_str(k->in, "artifactTypeName"), .collection = collection_name(k->in),
        .digest = gql_in_str(k->in, "digest"), .digest_algorithm = gql_in_str(k->in, "digestAlgorithm"),
        .description = gql_in_str(k->in, "description"), .metadata = gql_in_str(k->in, "metadata"),
        .client_id = gql_in_str(k->in, "clientID"), .sequence_client_id = gql_in_str(k->in, "sequenceClientID"),
        .distributed_id = gql_in_str(k->in, "distributedID"), .region = gql_in_str(k->in, "storageRegion"),
        .ttl_s = gql_in_int(k->in, "ttlDurationSeconds", ARTIFACT_TTL_INHERIT),
        .history_step = gql_in_int(k->in, "historyStep", -1),
        .dedup = gql_in_bool(k->in, "enableDigestDeduplication", true)};
    spec.n_aliases = take_names(k, "aliases", "alias", &aliases);
    spec.n_tags = take_names(k, "tags", "tagName", &tags);
    spec.aliases = aliases, spec.tags = tags;
    spec.ttl_s = spec.ttl_s == 0 ? ARTIFACT_TTL_INHERIT : spec.ttl_s;
    int rc = find_project(&a, k->in, ACCESS_WRITE, true, &p);
    if (rc == 0 && run_name.n)
        rc = access_run(&a, &p, run_name, 0, &r);
    if (rc == 0)
        rc = check_metadata(&a, spec.metadata);
    if (rc)
        return rc;
    spec.project_id = p.id;
    spec.run_id = r.id;
    struct artifact_made made;
    rc = artifact_create(db, &spec, now_us(), &made, e);
    k->artifact_id = made.id;
    return rc;
}

void resolve_Mutation_createArtifact(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, create_job))
        answer_artifact(c, k.artifact_id, TYPE_CreateArtifactPayload);
}

/* ---- commit ---- */

void resolve_Mutation_commitArtifact(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct change k = {.q = q, .user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    struct err e;
    struct accessor a;
    struct version_row v;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = find_artifact(&a, &k, ACCESS_WRITE, &v);
    request_fini(q); /* let the snapshot go: what comes reads its own, and the answer a newer one */
    if (rc == 0)
        rc = artifact_commit(q->server->db, q->server->blobs, k.artifact_id, now_us(), &e);
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    answer_artifact(c, k.artifact_id, TYPE_ArtifactPayload);
}

/* ---- use ---- */

static int use_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct project_row p;
    struct run_row r;
    struct version_row v;
    int rc = find_project(&a, k->in, ACCESS_WRITE, false, &p);
    if (rc == 0)
        rc = access_run(&a, &p, gql_in_str(k->in, "runName"), 0, &r);
    if (rc == 0)
        rc = find_artifact(&a, k, ACCESS_READ, &v);
    if (rc == 0)
        rc = db_exec(db, e,
                     "INSERT INTO artifact_uses (run_id, artifact_id, used_as, created_at) VALUES ($1, $2, $3, $4) "
                     "ON CONFLICT (run_id, artifact_id) DO UPDATE SET used_as = COALESCE(excluded.used_as, artifact_uses.used_as)",
                     DB_ARGS(db_i(r.id), db_i(k->artifact_id), db_s(gql_in_str(k->in, "usedAs")), db_i(now_us())));
    return rc < 0 ? rc : 0;
}

void resolve_Mutation_useArtifact(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, use_job))
        answer_artifact(c, k.artifact_id, TYPE_ArtifactPayload);
}

/* ---- update ---- */

static int change_tags(const struct accessor *a, struct change *k)
{
    struct str *names;
    int rc = 0;
    size_t n = take_names(k, "tagsToAdd", "tagName", &names);
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = db_exec(a->db, a->e,
                     "INSERT INTO artifact_tags (artifact_id, name, created_at) VALUES ($1, $2, $3) "
                     "ON CONFLICT (artifact_id, name) DO NOTHING",
                     DB_ARGS(db_i(k->artifact_id), db_s(names[i]), db_i(now_us())));
    n = take_names(k, "tagsToDelete", "tagName", &names);
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = db_exec(a->db, a->e, "DELETE FROM artifact_tags WHERE artifact_id = $1 AND name = $2",
                     DB_ARGS(db_i(k->artifact_id), db_s(names[i])));
    return rc < 0 ? rc : 0;
}

static int update_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    const struct gql_value *ttl = gql_in(k->in, "ttlDurationSeconds");
    struct version_row v;
    struct str *aliases, metadata = gql_in_str(k->in, "metadata");
    int rc = find_artifact(&a, k, ACCESS_WRITE, &v);
    if (rc == 0)
        rc = check_metadata(&a, metadata);
    if (rc == 0)
        rc = change_tags(&a, k);
    size_t n = take_names(k, "aliases", "alias", &aliases);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = artifact_alias_set(db, v.sequence_id, aliases[i], k->artifact_id, now_us(), e);
    if (rc == 0)
        rc = db_exec(db, e,
                     "UPDATE artifacts SET description = COALESCE($2, description), metadata = COALESCE($3, metadata), "
                     "ttl_s = COALESCE($4, ttl_s), updated_at = $5 WHERE id = $1",
                     DB_ARGS(db_i(k->artifact_id), db_s(gql_in_str(k->in, "description")), db_s(metadata),
                             db_i_if(ttl && ttl->kind != GQL_NULL, gql_in_int(k->in, "ttlDurationSeconds", -1)),
                             db_i(now_us())));
    return rc < 0 ? rc : 0;
}

void resolve_Mutation_updateArtifact(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, update_job))
        answer_artifact(c, k.artifact_id, TYPE_ArtifactPayload);
}

/* ---- delete ---- */

static int delete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct version_row v;
    int rc = find_artifact(&a, k, ACCESS_WRITE, &v);
    return rc ? rc : artifact_delete(db, k->artifact_id, gql_in_bool(k->in, "deleteAliases", false), now_us(), e);
}

void resolve_Mutation_deleteArtifact(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, delete_job)) {
        request_of(c)->server->collect_soon = true;
        answer_artifact(c, k.artifact_id, TYPE_ArtifactPayload);
    }
}

/* ---- aliases ---- */

/* The collection that one alias of the input speaks of: a named one, or the artifact's own. `v` is NULL
 * for an artifact that the asker may know from the collections alone that it is linked into: one of them
 * is to be named then. */
static int alias_collection(const struct accessor *a, const struct gql_value *alias, const struct version_row *v,
                            int64_t *id)
{
    struct str name = gql_in_str(alias, "artifactCollectionName");
    bool has_project = gql_in_str(alias, "projectName").n > 0;
    struct project_row p;
    struct collection_row s;
    if (!v && (!name.n || !has_project))
        return err_set(a->e, TARE_ENOTFOUND, "there is no such artifact");
    if (!name.n) {
        *id = v->sequence_id;
        return 0;
    }
    int rc = has_project ? find_project(a, alias, ACCESS_WRITE, false, &p) : (p = *v->sequence->project, 0);
    if (rc == 0)
        rc = load_collection_named(a, &p, name, (struct str){0}, &s);
    if (rc == 0)
        *id = s.id;
    return rc;
}

static int change_aliases(struct db_conn *db, struct change *k, bool add, struct err *e)
{
    const struct accessor a = accessor_in(db, k, e);
    struct version_row v;
    const struct gql_value *first = gql_in(k->in, "aliases")->first;
    int rc = find_artifact(&a, k, ACCESS_READ, &v);
    bool has_source = rc != TARE_ENOTFOUND || !k->artifact_id || !first;
    if (!has_source)
        rc = 0;
    for (const struct gql_value *one = first; one && rc == 0; one = one->next) {
        int64_t id = 0, member = 0;
        struct str alias = gql_in_str(one, "alias");
        rc = alias_collection(&a, one, has_source ? &v : NULL, &id);
        struct collection_row s;
        if (rc == 0)
            rc = load_collection(&a, id, ACCESS_WRITE, &s);
        if (rc == 0 && add)
            rc = db_get_int(db, e, &member, "SELECT id FROM artifact_memberships WHERE collection_id = $1 AND artifact_id = $2",
                            DB_ARGS(db_i(id), db_i(k->artifact_id)));
        if (rc == 0 && add)
            return err_set(e, TARE_EINVAL, "the artifact is not in collection '%.*s'", STR_ARG(s.name));
        if (rc >= 0)
            rc = add ? artifact_alias_set(db, id, alias, k->artifact_id, now_us(), e)
                     : artifact_alias_remove(db, id, alias, k->artifact_id, e);
    }
    return rc;
}

static int add_aliases_job(struct db_conn *db, void *arg, struct err *e)
{
    return change_aliases(db, arg, true, e);
}

static int delete_aliases_job(struct db_conn *db, void *arg, struct err *e)
{
    return change_aliases(db, arg, false, e);
}

static void answer_success(struct gql_call *c, db_job_fn job)
{
    struct change k;
    if (run(c, &k, job))
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

void resolve_Mutation_addAliases(struct gql_call *c, const void *obj)
{
    answer_success(c, add_aliases_job);
}

void resolve_Mutation_deleteAliases(struct gql_call *c, const void *obj)
{
    answer_success(c, delete_aliases_job);
}

/* ---- links ---- */

/* A registry is made on purpose, or else a typing error would be one; but for the two that every organization has
 * at W&B. */
static bool link_may_make(struct str project)
{
    return !str_starts(project, STR("wandb-registry-")) || str_eqz(project, "wandb-registry-model") ||
           str_eqz(project, "wandb-registry-dataset");
}

static int link_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct project_row p;
    struct version_row v;
    struct str *aliases, client = gql_in_str(k->in, "clientID");
    int rc = 0;
    if (!gql_in_id(k->in, "artifactID", "Artifact", &k->artifact_id)) {
        rc = client.n ? db_get_int(db, e, &k->artifact_id, "SELECT id FROM artifacts WHERE client_id = $1 ORDER BY id DESC LIMIT 1",
                                   DB_ARGS(db_s(client))) : 0;
        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no such artifact");
    }
    rc = load_version(&a, k->artifact_id, ACCESS_READ, &v);
    if (rc == 0)
        k->artifact_id = v.id;
    struct str project = gql_in_str(k->in, "projectName");
    if (rc == 0)
        rc = find_project(&a, k->in, ACCESS_WRITE, link_may_make(project), &p);
    if (rc == TARE_ENOTFOUND && !link_may_make(project))
        return err_set(e, rc, "there is no registry of that name: make it first (wandb.Api().create_registry)");
    if (rc)
        return rc;
    size_t n = take_names(k, "aliases", "alias", &aliases);
    return artifact_link(db, k->artifact_id, p.id, gql_in_str(k->in, "artifactPortfolioName"), aliases, n, k->user->id,
                         now_us(), &k->collection_id, &k->version_index, e);
}

void resolve_Mutation_linkArtifact(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, link_job))
        gql_object(c, TYPE_LinkArtifactPayload, &k);
}

FIELD_INT(LinkArtifactPayload, versionIndex, change, version_index)
FIELD_NULL(LinkArtifactPayload, clientMutationId)

void resolve_LinkArtifactPayload_artifactMembership(struct gql_call *c, const void *obj)
{
    const struct change *k = obj;
    struct err e;
    struct accessor a;
    struct collection_row s;
    struct version_row v;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_collection(&a, k->collection_id, ACCESS_READ, &s);
    if (rc == 0)
        rc = load_version_in(&a, &s, str_of(arena_printf(a.arena, "v%lld", (long long)k->version_index)), &v);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_ArtifactCollectionMembership, &v);
}

static int unlink_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct collection_row s;
    if (!gql_in_id(k->in, "artifactID", "Artifact", &k->artifact_id) ||
        !gql_in_id(k->in, "artifactPortfolioID", "ArtifactCollection", &k->collection_id))
        return err_set(e, TARE_ENOTFOUND, "there is no such link");
    int rc = load_collection(&a, k->collection_id, ACCESS_WRITE, &s);
    return rc ? rc : artifact_unlink(db, k->artifact_id, k->collection_id, e);
}

void resolve_Mutation_unlinkArtifact(struct gql_call *c, const void *obj)
{
    answer_success(c, unlink_job);
}

/* ---- collections ---- */

static int find_collection(const struct accessor *a, struct change *k, struct collection_row *s)
{
    if (!gql_in_id(k->in, "artifactSequenceID", "ArtifactCollection", &k->collection_id) &&
        !gql_in_id(k->in, "artifactPortfolioID", "ArtifactCollection", &k->collection_id))
        return err_set(a->e, TARE_ENOTFOUND, "there is no such artifact collection");
    return load_collection(a, k->collection_id, ACCESS_WRITE, s);
}

static int update_collection_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct collection_row s;
    struct str name = gql_in_str(k->in, "name");
    int rc = find_collection(&a, k, &s);
    if (rc == 0 && name.p && (!name.n || memchr(name.p, '/', name.n) || memchr(name.p, ':', name.n)))
        return err_set(e, TARE_EINVAL, "'%.*s' cannot be a collection's name", STR_ARG(name));
    if (rc == 0)
        rc = db_exec(db, e,
                     "UPDATE artifact_collections SET name = COALESCE($2, name), description = COALESCE($3, description), "
                     "updated_at = $4 WHERE id = $1",
                     DB_ARGS(db_i(s.id), db_s(name), db_s(gql_in_str(k->in, "description")), db_i(now_us())));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is a collection '%.*s' already", STR_ARG(name)) : rc < 0 ? rc : 0;
}

static int move_collection_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct collection_row s;
    struct str type = gql_in_str(k->in, "destinationArtifactTypeName");
    int64_t type_id;
    int rc = find_collection(&a, k, &s);
    if (rc == 0)
        rc = db_exec(db, e,
                     "INSERT INTO artifact_types (project_id, name, created_at) VALUES ($1, $2, $3) "
                     "ON CONFLICT (project_id, name) DO NOTHING",
                     DB_ARGS(db_i(s.project->id), db_s(type), db_i(now_us())));
    if (rc >= 0)
        rc = db_get_int(db, e, &type_id, "SELECT id FROM artifact_types WHERE project_id = $1 AND name = $2",
                        DB_ARGS(db_i(s.project->id), db_s(type)));
    if (rc >= 0)
        rc = db_exec(db, e, "UPDATE artifact_collections SET type_id = $2, updated_at = $3 WHERE id = $1",
                     DB_ARGS(db_i(s.id), db_i(type_id), db_i(now_us())));
    if (rc >= 0)
        rc = db_exec(db, e, "UPDATE artifacts SET type_id = $2 WHERE sequence_id = $1", DB_ARGS(db_i(s.id), db_i(type_id)));
    return rc < 0 ? rc : 0;
}

static int delete_collection_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = accessor_in(db, k, e);
    struct collection_row s;
    int rc = find_collection(&a, k, &s);
    return rc ? rc : artifact_collection_delete(db, s.id, now_us(), e);
}

static void answer_changed_collection(struct gql_call *c, db_job_fn job)
{
    struct change k;
    struct err e;
    struct accessor a;
    struct collection_row s;
    if (!run(c, &k, job) || !accessor_of(c, &e, &a))
        return;
    if (job == delete_collection_job)
        request_of(c)->server->collect_soon = true;
    int rc = load_collection(&a, k.collection_id, ACCESS_READ, &s);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_ArtifactCollectionPayload, &s);
}

FIELD_(collection_payload, artifactCollection, answer_collection(c, obj))
FIELD_NULL(collection_payload, clientMutationId)

void resolve_Mutation_updateArtifactSequence(struct gql_call *c, const void *obj)
{
    answer_changed_collection(c, update_collection_job);
}

void resolve_Mutation_updateArtifactPortfolio(struct gql_call *c, const void *obj)
{
    answer_changed_collection(c, update_collection_job);
}

void resolve_Mutation_moveArtifactSequence(struct gql_call *c, const void *obj)
{
    answer_changed_collection(c, move_collection_job);
}

void resolve_Mutation_deleteArtifactSequence(struct gql_call *c, const void *obj)
{
    answer_changed_collection(c, delete_collection_job);
}

void resolve_Mutation_deleteArtifactPortfolio(struct gql_call *c, const void *obj)
{
    answer_changed_collection(c, delete_collection_job);
}

/* ---- tags of collections ---- */

static int collection_tags(struct db_conn *db, struct change *k, bool add, struct err *e)
{
    const struct accessor a = accessor_in(db, k, e);
    struct project_row p;
    struct collection_row s;
    struct str *names;
    int rc = find_project(&a, k->in, ACCESS_WRITE, false, &p);
    if (rc == 0)
        rc = load_collection_named(&a, &p, gql_in_str(k->in, "artifactCollectionName"), (struct str){0}, &s);
    size_t n = take_names(k, "tags", "tagName", &names);
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = add ? db_exec(db, e,
                           "INSERT INTO artifact_collection_tags (collection_id, name, created_at) VALUES ($1, $2, $3) "
                           "ON CONFLICT (collection_id, name) DO NOTHING",
                           DB_ARGS(db_i(s.id), db_s(names[i]), db_i(now_us())))
                 : db_exec(db, e, "DELETE FROM artifact_collection_tags WHERE collection_id = $1 AND name = $2",
                           DB_ARGS(db_i(s.id), db_s(names[i])));
    return rc < 0 ? rc : 0;
}

static int add_collection_tags_job(struct db_conn *db, void *arg, struct err *e)
{
    return collection_tags(db, arg, true, e);
}

static int delete_collection_tags_job(struct db_conn *db, void *arg, struct err *e)
{
    return collection_tags(db, arg, false, e);
}

void resolve_Mutation_createArtifactCollectionTagAssignments(struct gql_call *c, const void *obj)
{
    struct change k;
    if (run(c, &k, add_collection_tags_job))
        gql_object(c, TYPE_CollectionTagsPayload, &k);
}

void resolve_CollectionTagsPayload_tags(struct gql_call *c, const void *obj)
{
    struct str *names;
    size_t n = take_names(obj, "tags", "tagName", &names);
    gql_list_begin(c);
    for (size_t i = 0; i < n; i++)
        gql_object(c, TYPE_Tag, &names[i]);
    gql_list_end(c);
}

void resolve_Mutation_deleteArtifactCollectionTagAssignments(struct gql_call *c, const void *obj)
{
    answer_success(c, delete_collection_tags_job);
}
