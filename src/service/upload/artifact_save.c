/* SPDX-License-Identifier: MIT */
/* The life of one save, state by state: each begins something and names the next when that is over.
 *
 *   READING ─► FEATURES ─► [ALGORITHM ─► HASHING] ─► CREATING ─┬─► MANIFEST ─► FILES ─► RESOLVING ─┐
 *                                                              │                                   ▼
 *        DONE ◄─ CLEANING ◄─ USING ◄─ COMMITTING ◄─ PUTTING ◄─ UPSERTING ◄──────────────────── WRITING
 *                              ▲                               │
 *                              └───────────────────────────────┘ the backend has this content already
 *
 * (peer: core/pkg/artifacts/saver.go) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "record/wire.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>

#define OF(p, member) ((struct save *)((char *)(p) - offsetof(struct save, member)))

/* ArtifactRecord, proto/files.proto */
enum {
    ART_RUN_ID = 1,
    ART_PROJECT = 2,
    ART_ENTITY = 3,
    ART_TYPE = 4,
    ART_NAME = 5,
    ART_DIGEST = 6,
    ART_DESCRIPTION = 7,
    ART_METADATA = 8,
    ART_USER_CREATED = 9,
    ART_USE_AFTER_COMMIT = 10,
    ART_ALIASES = 11,
    ART_MANIFEST = 12,
    ART_DISTRIBUTED_ID = 13,
    ART_FINALIZE = 14,
    ART_CLIENT_ID = 15,
    ART_SEQUENCE_CLIENT_ID = 16,
    ART_BASE_ID = 17,
    ART_TTL = 18,
    ART_TAGS = 19,
    ART_ALGORITHM = 20,
    ART_INCREMENTAL = 100,
};

/* (peer: core/api/graphql) */
static const char xxh_enabled[] =
    "query XXHashDigestsEnabled($entityName: String!) { entity(name: $entityName) { xxhashDigestsEnabled } }";
static const char fetch_algorithm[] =
    "query FetchArtifactDigestAlgorithm($entityName: String!, $projectName: String!,"
    " $artifactTypeName: String!, $artifactCollectionName: String!) {"
    " project(name: $projectName, entityName: $entityName) { artifactType(name: $artifactTypeName) {"
    " artifactCollection(name: $artifactCollectionName) { ... on ArtifactSequence { digestAlgorithm } } } } }";
static const char create_artifact[] =
    "mutation CreateArtifact($input: CreateArtifactInput!) { createArtifact(input: $input) { artifact {"
    " id state artifactSequence { latestArtifact { id } } } } }";
static const char create_manifest[] =
    "mutation CreateArtifactManifest($artifactID: ID!, $baseArtifactID: ID, $name: String!, $digest: String!,"
    " $entityName: String!, $projectName: String!, $runName: String!, $manifestType: ArtifactManifestType!,"
    " $includeUpload: Boolean!) { createArtifactManifest(input: {artifactID: $artifactID,"
    " baseArtifactID: $baseArtifactID, name: $name, digest: $digest, entityName: $entityName,"
    " projectName: $projectName, runName: $runName, type: $manifestType}) { artifactManifest { id file { id"
    " uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } } } }";
static const char update_manifest[] =
    "mutation UpdateArtifactManifest($artifactManifestID: ID!, $digest: String, $baseArtifactID: ID,"
    " $includeUpload: Boolean!) { updateArtifactManifest(input: {artifactManifestID: $artifactManifestID,"
    " digest: $digest, baseArtifactID: $baseArtifactID}) { artifactManifest { id file { id"
    " uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } } } }";
static const char client_id_mapping[] =
    "query ClientIDMapping($clientID: ID!) { clientIDMapping(clientID: $clientID) { serverID } }";
static const char commit_artifact[] =
    "mutation CommitArtifact($artifactID: ID!) { commitArtifact(input: {artifactID: $artifactID}) {"
    " artifact { id digest } } }";
static const char use_artifact[] =
    "mutation UseArtifact($input: UseArtifactInput!) { useArtifact(input: $input) { artifact { id } } }";

/* ---- what the record says ---- */

struct str save_text(const struct save *s, uint32_t field)
{
    return wire_find_bytes(buf_str(&s->record), field);
}

static bool flag(const struct save *s, uint32_t field)
{
    return wire_find_varint(buf_str(&s->record), field) != 0;
}

static struct str or_else(struct str text, const char *other)
{
    return text.n ? text : str_of(other);
}

struct str save_entity(const struct save *s)
{
    return or_else(save_text(s, ART_ENTITY), s->owner->entity);
}

struct str save_project(const struct save *s)
{
    return or_else(save_text(s, ART_PROJECT), s->owner->project);
}

static struct str run_of(const struct save *s)
{
    return or_else(save_text(s, ART_RUN_ID), s->owner->run_id);
}

/* ---- calls ---- */

static void put(struct save *s, const char *key, struct str text)
{
    struct buf *v = &s->variables;
    buf_printf(v, "%c\"%s\":", v->len ? ',' : '{', key);
    json_put_string(v, text);
}

/* null where it is empty, as the peer sends it. */
static void put_or_null(struct save *s, const char *key, struct str text)
{
    if (text.n > 0)
        put(s, key, text);
    else
        buf_printf(&s->variables, "%c\"%s\":null", s->variables.len ? ',' : '{', key);
}

static void put_raw(struct save *s, const char *key, const char *value)
{
    buf_printf(&s->variables, "%c\"%s\":%s", s->variables.len ? ',' : '{', key, value);
}

static const char *const failing[] = {
    [SAVE_ALGORITHM] = "ArtifactSaver.createArtifact: ArtifactSaver.getArtifactDigestAlgorithm",
    [SAVE_CREATING] = "ArtifactSaver.createArtifact",
    [SAVE_MANIFEST] = "ArtifactSaver.createManifest",
    [SAVE_RESOLVING] = "ArtifactSaver.resolveClientIDReferences",
    [SAVE_UPSERTING] = "ArtifactSaver.upsertManifest",
    [SAVE_COMMITTING] = "ArtifactSaver.commitArtifact",
    [SAVE_USING] = "gql.UseArtifact",
};

static void on_call(struct graphql_call *call)
{
    struct save *s = OF(call, call);
    s->is_calling = false;
    bool is_absent = s->state == SAVE_ALGORITHM && call->error == TARE_ENOTFOUND;
    if (call->error && !is_absent)
        save_fail(s, call->error, "%s: %s", failing[s->state], call->why);
    else
        s->then(s);
}

/* Ask with s->variables (whose last brace is added here); `then` looks at s->call.data. */
static void call(struct save *s, const char *operation, const char *document, void (*then)(struct save *s))
{
    buf_putc(&s->variables, '}');
    graphql_call_fini(&s->call);
    s->call = (struct graphql_call){
        .operation = operation, .document = document, .variables = buf_str(&s->variables), .done = on_call};
    s->then = then;
    s->is_calling = true;
    graphql_send(s->owner->backend, &s->call);
}

/* A string that the answer must have; NULL if it has not: then the save has failed and is gone. Heap. */
static char *needed(struct save *s, const char *path)
{
    char *text = json_string_at(s->call.data, path);
    if (!text)
        save_fail(s, TARE_EPROTO, "%s: the backend's answer has no %s", failing[s->state], path);
    return text;
}

/* ---- reading ---- */

static void read_run(struct work *w)
{
    struct save *s = OF(w, work);
    struct str message = save_text(s, ART_MANIFEST);
    if (message.n > 0) /* it has a version at least */
        manifest_read(&s->manifest, message, &s->err);
    else
        err_set(&s->err, TARE_EFORMAT, "nil ArtifactManifest proto");
}

static void read_done(struct work *w)
{
    struct save *s = OF(w, work);
    s->is_xxh128 = str_eqz(save_text(s, ART_ALGORITHM), "MANIFEST_XXH128");
    struct str digest = save_text(s, ART_DIGEST);
    snprintf(s->digest, sizeof s->digest, "%.*s", STR_ARG(digest));
    if (s->err.code)
        save_fail(s, s->err.code, "%s", s->err.text);
    else
        save_go(s, SAVE_FEATURES);
}

static void start_work(struct save *s, void (*run)(struct work *w), void (*done)(struct work *w))
{
    s->work.run = run;
    s->work.done = done;
    work_start(s->owner->loop, &s->work);
}

static void begin_reading(struct save *s)
{
    start_work(s, read_run, read_done);
}

/* ---- features, algorithm ---- */

static void on_algorithm_feature(void *ctx, bool has)
{
    struct save *s = ctx;
    s->has_algorithm = has;
    if (s->is_xxh128)
        save_go(s, has ? SAVE_ALGORITHM : SAVE_HASHING);
    else
        save_go(s, SAVE_CREATING);
}

static void on_entity_feature(void *ctx, bool has)
{
    struct save *s = ctx;
    s->has_entity_info = has;
    backend_feature(s->owner->backend, "ARTIFACT_DIGEST_ALGORITHM", on_algorithm_feature, s);
}

static void begin_features(struct save *s)
{
    backend_feature(s->owner->backend, "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION", on_entity_feature, s);
}

static void on_algorithm(struct save *s)
{
    struct str algorithm =
        s->call.error ? (struct str){0}
                      : json_at(s->call.data, "project.artifactType.artifactCollection.digestAlgorithm");
    save_go(s, str_eqz(algorithm, "\"MANIFEST_MD5\"") ? SAVE_HASHING : SAVE_CREATING);
}

static void on_enabled(struct save *s)
{
    if (!str_eqz(json_at(s->call.data, "entity.xxhashDigestsEnabled"), "true")) {
        save_go(s, SAVE_HASHING);
        return;
    }
    buf_clear(&s->variables);
    put(s, "entityName", save_entity(s));
    put(s, "projectName", save_project(s));
    put(s, "artifactTypeName", save_text(s, ART_TYPE));
    put(s, "artifactCollectionName", save_text(s, ART_NAME));
    call(s, "FetchArtifactDigestAlgorithm", fetch_algorithm, on_algorithm);
}

static void begin_algorithm(struct save *s)
{
    put(s, "entityName", save_entity(s));
    call(s, "XXHashDigestsEnabled", xxh_enabled, on_enabled);
}

static int md5_of_file(struct str path, uint8_t md5[MD5_BYTES])
{
    enum { BLOCK = 256 * 1024 };
    AUTO_FREE char *name = mem_strndup(path.p, path.n);
    AUTO_FREE char *block = mem_alloc(BLOCK);
    int fd = name && block ? os->open(name, O_RDONLY | O_NONBLOCK, 0) : TARE_ENOMEM;
    struct digest d;
    ssize_t n = 0;
    if (fd < 0)
        return fd;
    md5_init(&d);
    for (off_t at = 0; (n = os->pread(fd, block, BLOCK, at)) > 0; at += n)
        md5_add(&d, block, (size_t)n);
    os->close(fd);
    md5_end(&d, md5);
    return n < 0 ? (int)n : 0;
}

static void hash_run(struct work *w)
{
    struct save *s = OF(w, work);
    for (size_t i = 0; i < s->manifest.n && !s->err.code; i++) {
        struct manifest_entry *e = &s->manifest.entries[i];
        uint8_t md5[MD5_BYTES];
        if (e->local_path.n == 0 || e->ref.n > 0 || !e->is_xxh128)
            continue;
        int rc = md5_of_file(e->local_path, md5);
        if (rc)
            err_set(&s->err, rc, "%.*s: %s", STR_ARG(e->local_path), err_text(rc));
        else
            manifest_set_md5(&s->manifest, e, md5);
    }
    s->is_xxh128 = false;
    manifest_digest(&s->manifest, s->digest);
}

static void hash_done(struct work *w)
{
    struct save *s = OF(w, work);
    if (s->err.code)
        save_fail(s, s->err.code, "ArtifactSaver.createArtifact: ArtifactSaver.hashArtifactWithMd5: %s", s->err.text);
    else
        save_go(s, SAVE_CREATING);
}

static void begin_hashing(struct save *s)
{
    start_work(s, hash_run, hash_done);
}

/* ---- creating ---- */

/* A list of objects, one a repeated string: [{"alias":"best",MORE}]. If MORE ends in a colon, the
 * artifact's name follows. null for none. */
static void put_list(struct save *s, const char *key, uint32_t field, const char *member, const char *more)
{
    struct buf *v = &s->variables;
    struct wire_reader r = wire_open(buf_str(&s->record));
    struct wire_field f;
    const char *sep = "[";
    buf_printf(v, ",\"%s\":", key);
    while (wire_next(&r, &f) > 0) {
        if (f.number != field || f.type != WIRE_BYTES)
            continue;
        buf_printf(v, "%s{\"%s\":", sep, member);
        json_put_string(v, f.bytes);
        buf_puts(v, more);
        if (str_ends(str_of(more), STR(":")))
            json_put_string(v, save_text(s, ART_NAME));
        buf_putc(v, '}');
        sep = ",";
    }
    buf_puts(v, *sep == ',' ? "]" : "null");
}

static void put_number_or_null(struct save *s, const char *key, int64_t n)
{
    if (n)
        buf_printf(&s->variables, ",\"%s\":%lld", key, (long long)n);
    else
        put_raw(s, key, "null");
}

static void on_created(struct save *s)
{
    char *id = needed(s, "createArtifact.artifact.id");
    if (!id)
        return;
    s->artifact_id = id;
    struct str state = json_at(s->call.data, "createArtifact.artifact.state");
    struct str base = save_text(s, ART_BASE_ID);
    s->base_id = base.n ? xmem_strndup(base.p, base.n)
                        : json_string_at(s->call.data, "createArtifact.artifact.artifactSequence.latestArtifact.id");
    s->was_committed = str_eqz(state, "\"COMMITTED\"");
    if (s->was_committed)
        save_go(s, SAVE_USING);
    else if (str_eqz(state, "\"PENDING\"") || str_eqz(state, "\"DELETED\"")) /* the latter: old servers */
        save_go(s, SAVE_MANIFEST);
    else
        save_fail(s, TARE_EPROTO, "unexpected artifact state %.*s", STR_ARG(state));
}

static void begin_creating(struct save *s)
{
    struct buf *v = &s->variables;
    buf_puts(v, "{\"input\":{\"entityName\":");
    json_put_string(v, save_entity(s));
    put(s, "projectName", save_project(s));
    put(s, "artifactTypeName", save_text(s, ART_TYPE));
    put(s, "artifactCollectionName", save_text(s, ART_NAME));
    if (flag(s, ART_USER_CREATED))
        put_raw(s, "runName", "null");
    else
        put(s, "runName", run_of(s));
    put(s, "digest", str_of(s->digest));
    put(s, "digestAlgorithm", s->is_xxh128 ? STR("MANIFEST_XXH128") : STR("MANIFEST_MD5"));
    put_or_null(s, "description", save_text(s, ART_DESCRIPTION));
    put_list(s, "aliases", ART_ALIASES, "alias", ",\"artifactCollectionName\":");
    if (save_text(s, ART_TAGS).n > 0)
        put_list(s, "tags", ART_TAGS, "tagName", ",\"attributes\":null,\"tagCategoryName\":null");
    put_or_null(s, "metadata", save_text(s, ART_METADATA));
    put_number_or_null(s, "ttlDurationSeconds", (int64_t)wire_find_varint(buf_str(&s->record), ART_TTL));
    put_number_or_null(s, "historyStep", s->history_step);
    put_raw(s, "enableDigestDeduplication", "true");
    put_or_null(s, "distributedID", save_text(s, ART_DISTRIBUTED_ID));
    put(s, "clientID", save_text(s, ART_CLIENT_ID));
    put(s, "sequenceClientID", save_text(s, ART_SEQUENCE_CLIENT_ID));
    put_or_null(s, "storageRegion", s->manifest.storage_region);
    buf_puts(v, ",\"artifactCollectionNames\":null,\"clientMutationId\":null,\"labels\":null}");
    call(s, "CreateArtifact", create_artifact, on_created);
}

/* ---- the manifest ---- */

static void ask_manifest(struct save *s, const char *digest, bool upload, void (*then)(struct save *s))
{
    bool is_incremental = flag(s, ART_INCREMENTAL), is_patch = save_text(s, ART_DISTRIBUTED_ID).n > 0;
    put(s, "artifactID", str_of(s->artifact_id));
    put_or_null(s, "baseArtifactID", str_of(s->base_id));
    put(s, "name", is_incremental ? STR("wandb_manifest.incremental.json")
                   : is_patch     ? STR("wandb_manifest.patch.json")
                                  : STR("wandb_manifest.json"));
    put(s, "digest", str_of(digest));
    put(s, "entityName", save_entity(s));
    put(s, "projectName", save_project(s));
    put(s, "runName", run_of(s));
    put(s, "manifestType", is_incremental ? STR("INCREMENTAL") : is_patch ? STR("PATCH") : STR("FULL"));
    put_raw(s, "includeUpload", upload ? "true" : "false");
    call(s, "CreateArtifactManifest", create_manifest, then);
}

static void on_manifest(struct save *s)
{
    char *id = needed(s, "createArtifactManifest.artifactManifest.id");
    if (!id)
        return;
    s->manifest_id = id;
    save_go(s, SAVE_FILES);
}

static void begin_manifest(struct save *s)
{
    ask_manifest(s, "", false, on_manifest);
}

/* ---- references to artifacts of this client ---- */

#define CLIENT_REF "wandb-client-artifact://"

/* "wandb-client-artifact://CLIENT/path" -> CLIENT; empty if it is none. */
static struct str client_of(const struct manifest_entry *e)
{
    struct str prefix = STR(CLIENT_REF);
    if (!str_starts(e->ref, prefix))
        return (struct str){0};
    struct str rest = str_make(e->ref.p + prefix.n, e->ref.n - prefix.n);
    const char *slash = memchr(rest.p, '/', rest.n);
    return str_make(rest.p, slash ? (size_t)(slash - rest.p) : rest.n);
}

static void resolve_next(struct save *s);

/* The server's ids are base64; references have them in hex. */
static bool put_hex_of_base64(struct buf *to, const char *base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int n_bits = 0;
    for (const char *p = base64; *p && *p != '='; p++) {
        const char *d = strchr(digits, *p);
        if (!d)
            return false;
        bits = bits << 6 | (uint32_t)(d - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_printf(to, "%02x", bits >> n_bits & 0xff);
        }
    }
    return true;
}

static void on_mapping(struct save *s)
{
    AUTO_FREE char *server_id = json_string_at(s->call.data, "clientIDMapping.serverID");
    AUTO_BUF hex = {0}, ref = {0};
    if (!server_id || !put_hex_of_base64(&hex, server_id)) {
        save_fail(s, TARE_ENOTFOUND, "ArtifactSaver.resolveClientIDReferences: could not resolve client id %s", s->client_id);
        return;
    }
    size_t skip = strlen(CLIENT_REF) + strlen(s->client_id);
    for (size_t i = 0; i < s->manifest.n; i++) {
        struct manifest_entry *e = &s->manifest.entries[i];
        if (!str_eqz(client_of(e), s->client_id))
            continue;
        struct str path = str_make(e->ref.p + skip, e->ref.n - skip);
        while (path.n > 0 && *path.p == '/')
            path = str_make(path.p + 1, path.n - 1);
        buf_clear(&ref);
        buf_printf(&ref, "wandb-artifact://%.*s/%.*s", STR_ARG(buf_str(&hex)), STR_ARG(path));
        e->ref = manifest_keep(&s->manifest, buf_str(&ref));
    }
    resolve_next(s);
}

static void resolve_next(struct save *s)
{
    for (size_t i = 0; i < s->manifest.n; i++) {
        struct str client = client_of(&s->manifest.entries[i]);
        if (client.n == 0)
            continue;
        mem_free(s->client_id);
        s->client_id = xmem_strndup(client.p, client.n);
        buf_clear(&s->variables);
        put(s, "clientID", client);
        call(s, "ClientIDMapping", client_id_mapping, on_mapping);
        return;
    }
    save_go(s, SAVE_WRITING);
}

/* ---- the manifest's file ---- */

static void write_run(struct work *w)
{
    struct save *s = OF(w, work);
    struct digest d;
    uint8_t md5[MD5_BYTES];
    int rc = manifest_write(&s->manifest, &s->text);
    if (rc)
        err_set(&s->err, rc, "ArtifactSaver.writeManifest: %s", err_text(rc));
    md5_init(&d);
    md5_add(&d, s->text.data, s->text.len);
    md5_end(&d, md5);
    digest_base64(s->digest, md5, MD5_BYTES);
}

static void write_done(struct work *w)
{
    struct save *s = OF(w, work);
    if (s->err.code)
        save_fail(s, s->err.code, "%s", s->err.text);
    else
        save_go(s, SAVE_UPSERTING);
}

static void begin_writing(struct save *s)
{
    start_work(s, write_run, write_done);
}

static void take_place(struct save *s, struct str file)
{
    s->url = json_string_at(file, "uploadUrl");
    transfer_put_headers(&s->headers, json_at(file, "uploadHeaders"));
    if (s->url)
        save_go(s, SAVE_PUTTING);
    else
        save_fail(s, TARE_EPROTO, "ArtifactSaver.uploadManifest: nil uploadURL");
}

static void on_upserted(struct save *s)
{
    take_place(s, json_at(s->call.data, "createArtifactManifest.artifactManifest.file"));
}

static void on_updated(struct save *s)
{
    take_place(s, json_at(s->call.data, "updateArtifactManifest.artifactManifest.file"));
}

static void begin_upserting(struct save *s)
{
    if (!flag(s, ART_INCREMENTAL) && save_text(s, ART_DISTRIBUTED_ID).n == 0) {
        ask_manifest(s, s->digest, true, on_upserted);
        return;
    }
    put(s, "artifactManifestID", str_of(s->manifest_id));
    put(s, "digest", str_of(s->digest));
    put_raw(s, "baseArtifactID", "null");
    put_raw(s, "includeUpload", "true");
    call(s, "UpdateArtifactManifest", update_manifest, on_updated);
}

static void on_put_closed(struct transfer *t)
{
    struct save *s = OF(t, put);
    s->is_putting = false;
    buf_fini(&s->text);
    if (t->error)
        save_fail(s, t->error, "ArtifactSaver.uploadManifest: %s", t->why);
    else
        save_go(s, SAVE_COMMITTING);
}

static void on_put(struct transfer *t)
{
    transfer_close(t, on_put_closed);
}

static void begin_putting(struct save *s)
{
    s->put = (struct transfer){.backend = s->owner->backend,
                               .loop = s->owner->loop,
                               .policy = &s->owner->policy,
                               .body = buf_str(&s->text),
                               .url = s->url,
                               .headers = buf_z(&s->headers),
                               .done = on_put};
    s->is_putting = true;
    artifacts_count_file(s->owner); /* the manifest is one to the peer */
    transfer_start(&s->put);
}

/* ---- the end ---- */

static void on_committed(struct save *s)
{
    save_go(s, SAVE_USING);
}

static void begin_committing(struct save *s)
{
    if (!flag(s, ART_FINALIZE)) {
        save_go(s, SAVE_CLEANING);
        return;
    }
    put(s, "artifactID", str_of(s->artifact_id));
    call(s, "CommitArtifact", commit_artifact, on_committed);
}

static void on_used(struct save *s)
{
    save_go(s, SAVE_CLEANING);
}

static void begin_using(struct save *s)
{
    if (!flag(s, ART_USE_AFTER_COMMIT)) {
        save_go(s, SAVE_CLEANING);
        return;
    }
    buf_puts(&s->variables, "{\"input\":{\"entityName\":");
    json_put_string(&s->variables, save_entity(s));
    put(s, "projectName", save_project(s));
    put(s, "runName", run_of(s));
    put(s, "artifactID", str_of(s->artifact_id));
    if (s->has_entity_info) {
        put(s, "artifactEntityName", save_entity(s));
        put(s, "artifactProjectName", save_project(s));
    }
    buf_puts(&s->variables, ",\"clientMutationId\":null,\"usedAs\":null}");
    call(s, "UseArtifact", use_artifact, on_used);
}

/* True for a path in the staging folder: nobody else has the file. */
static bool is_staged(const struct save *s, struct str path)
{
    size_t n = strlen(s->staging);
    while (n > 1 && s->staging[n - 1] == '/')
        n--;
    return n > 0 && path.n > n + 1 && memcmp(path.p, s->staging, n) == 0 && path.p[n] == '/' &&
           path_is_safe(str_make(path.p + n + 1, path.n - n - 1));
}

/* Moving is free; where the cache is on another disk it is copied. */
static int take_staged(const struct save *s, const char *path, struct str digest)
{
    int rc = artifact_cache_take(s->owner->cache, path, digest, s->is_xxh128);
    if (rc != UV_EXDEV || s->is_xxh128)
        return rc;
    rc = artifact_cache_copy(s->owner->cache, path, digest);
    return rc ? rc : os->unlink(path);
}

/* What is staged goes into the cache, or away; other files are copied there. Trouble with the cache
 * harms nobody. Inputs of a save that failed stay, for a later sync. */
static void clean_run(struct work *w)
{
    struct save *s = OF(w, work);
    for (size_t i = 0; i < s->manifest.n; i++) {
        const struct manifest_entry *e = &s->manifest.entries[i];
        AUTO_FREE char *path = e->local_path.n ? mem_strndup(e->local_path.p, e->local_path.n) : NULL;
        bool to_cache = s->owner->cache && !e->skip_cache && !s->was_committed;
        int rc = 0;
        if (!path)
            continue;
        if (!is_staged(s, e->local_path))
            rc = to_cache && !s->is_xxh128 ? artifact_cache_copy(s->owner->cache, path, e->digest) : 0;
        else if (!to_cache || (rc = take_staged(s, path, e->digest)) != 0)
            os->unlink(path);
        if (rc)
            diag_warn("artifact %s: %s was not put into the cache: %s", s->name, path, err_text(rc));
    }
}

static void clean_done(struct work *w)
{
    save_go(OF(w, work), SAVE_DONE);
}

static void begin_cleaning(struct save *s)
{
    if (s->was_committed && artifacts_are_wanted(s->owner)) {
        char text[300];
        snprintf(text, sizeof text,
                 "Artifact \"%.200s\" already exists with the same content. No new version will be created.", s->name);
        s->owner->owner.tell(s->owner->owner.ctx, false, text);
    }
    start_work(s, clean_run, clean_done);
}

/* ---- the table ---- */

static void (*const begins[])(struct save *s) = {
    [SAVE_READING] = begin_reading,     [SAVE_FEATURES] = begin_features,     [SAVE_ALGORITHM] = begin_algorithm,
    [SAVE_HASHING] = begin_hashing,     [SAVE_CREATING] = begin_creating,     [SAVE_MANIFEST] = begin_manifest,
    [SAVE_FILES] = save_files_begin,    [SAVE_RESOLVING] = resolve_next,      [SAVE_WRITING] = begin_writing,
    [SAVE_UPSERTING] = begin_upserting, [SAVE_PUTTING] = begin_putting,       [SAVE_COMMITTING] = begin_committing,
    [SAVE_USING] = begin_using,         [SAVE_CLEANING] = begin_cleaning,     [SAVE_DONE] = artifacts_ended,
};

void save_go(struct save *s, enum save_state next)
{
    if (!artifacts_are_wanted(s->owner) && next != SAVE_DONE && next != SAVE_CLEANING) {
        save_fail(s, TARE_ECANCELLED, "the upload was given up");
        return;
    }
    s->state = next;
    buf_clear(&s->variables);
    begins[next](s);
}

void save_fail(struct save *s, int error, const char *fmt, ...)
{
    va_list ap;
    AUTO_BUF text = {0};
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    err_set(&s->err, error, "%s", artifacts_are_wanted(s->owner) ? buf_z(&text) : "the upload was given up");
    s->state = SAVE_DONE;
    artifacts_ended(s);
}

void save_begin(struct save *s)
{
    if (s->err.code)
        save_fail(s, s->err.code, "out of memory");
    else
        save_go(s, SAVE_READING);
}

/* Whatever is under way ends soon, and then finds that it is not wanted. */
void save_cancel(struct save *s)
{
    if (s->state == SAVE_QUEUED && s->owner->is_freed) /* else artifacts_look ends it */
        save_fail(s, TARE_ECANCELLED, "the upload was given up");
    else if (s->is_calling)
        graphql_cancel(s->owner->backend, &s->call);
    else if (s->is_putting)
        transfer_cancel(&s->put);
    else if (s->state == SAVE_FILES)
        save_files_cancel(s);
}
