/* SPDX-License-Identifier: MIT */
/* The life of one save, state by state: each begins something and names the next when that is over.
 *
 *   READING ─► FEATURES ─► [ALGORITHM ─► HASHING] ─► CREATING ─┬─► MANIFEST ─► FILES ─► RESOLVING ─┐
 *                                                              │                                   ▼
 *        ... CLEANING ◄─ USING ◄─ COMMITTING ◄─ PUTTING ◄─ UPSERTING ◄──────────────────── WRITING
 *               │           ▲                               │
 *               │           └───────────────────────────────┘ the backend has this content already
 *               └─► (answered) SWEEPING ─► DONE
 *
 * MANIFEST and RESOLVING to PUTTING are in artifact_save_manifest.c, FILES in artifact_files.c, CLEANING and
 * SWEEPING in artifact_clean.c.
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

bool save_flag(const struct save *s, uint32_t field)
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

struct str save_run_id(const struct save *s)
{
    return or_else(save_text(s, ART_RUN_ID), s->owner->run_id);
}

/* ---- calls ---- */

void save_put(struct save *s, const char *key, struct str text)
{
    struct buf *v = &s->variables;
    buf_printf(v, "%c\"%s\":", v->len ? ',' : '{', key);
    json_put_string(v, text);
}

void save_put_or_null(struct save *s, const char *key, struct str text)
{
    if (text.n > 0)
        save_put(s, key, text);
    else
        buf_printf(&s->variables, "%c\"%s\":null", s->variables.len ? ',' : '{', key);
}

void save_put_raw(struct save *s, const char *key, const char *value)
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

void save_call(struct save *s, const char *operation, const char *document, void (*then)(struct save *s))
{
    buf_putc(&s->variables, '}');
    graphql_call_fini(&s->call);
    s->call = (struct graphql_call){
        .operation = operation, .document = document, .variables = buf_str(&s->variables), .done = on_call};
    s->then = then;
    s->is_calling = true;
    graphql_send(s->owner->backend, &s->call);
}

char *save_needed(struct save *s, const char *path)
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

void save_work(struct save *s, void (*run)(struct work *w), void (*done)(struct work *w))
{
    s->work.run = run;
    s->work.done = done;
    work_start(s->owner->loop, &s->work);
}

static void begin_reading(struct save *s)
{
    save_work(s, read_run, read_done);
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
    save_put(s, "entityName", save_entity(s));
    save_put(s, "projectName", save_project(s));
    save_put(s, "artifactTypeName", save_text(s, ART_TYPE));
    save_put(s, "artifactCollectionName", save_text(s, ART_NAME));
    save_call(s, "FetchArtifactDigestAlgorithm", fetch_algorithm, on_algorithm);
}

static void begin_algorithm(struct save *s)
{
    save_put(s, "entityName", save_entity(s));
    save_call(s, "XXHashDigestsEnabled", xxh_enabled, on_enabled);
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
    save_work(s, hash_run, hash_done);
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
        save_put_raw(s, key, "null");
}

static void on_created(struct save *s)
{
    char *id = save_needed(s, "createArtifact.artifact.id");
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
    save_put(s, "projectName", save_project(s));
    save_put(s, "artifactTypeName", save_text(s, ART_TYPE));
    save_put(s, "artifactCollectionName", save_text(s, ART_NAME));
    if (save_flag(s, ART_USER_CREATED))
        save_put_raw(s, "runName", "null");
    else
        save_put(s, "runName", save_run_id(s));
    save_put(s, "digest", str_of(s->digest));
    save_put(s, "digestAlgorithm", s->is_xxh128 ? STR("MANIFEST_XXH128") : STR("MANIFEST_MD5"));
    save_put_or_null(s, "description", save_text(s, ART_DESCRIPTION));
    put_list(s, "aliases", ART_ALIASES, "alias", ",\"artifactCollectionName\":");
    if (save_text(s, ART_TAGS).n > 0)
        put_list(s, "tags", ART_TAGS, "tagName", ",\"attributes\":null,\"tagCategoryName\":null");
    save_put_or_null(s, "metadata", save_text(s, ART_METADATA));
    put_number_or_null(s, "ttlDurationSeconds", (int64_t)wire_find_varint(buf_str(&s->record), ART_TTL));
    put_number_or_null(s, "historyStep", s->history_step);
    save_put_raw(s, "enableDigestDeduplication", "true");
    save_put_or_null(s, "distributedID", save_text(s, ART_DISTRIBUTED_ID));
    save_put(s, "clientID", save_text(s, ART_CLIENT_ID));
    save_put(s, "sequenceClientID", save_text(s, ART_SEQUENCE_CLIENT_ID));
    save_put_or_null(s, "storageRegion", s->manifest.storage_region);
    buf_puts(v, ",\"artifactCollectionNames\":null,\"clientMutationId\":null,\"labels\":null}");
    save_call(s, "CreateArtifact", create_artifact, on_created);
}

/* ---- the end ---- */

static void on_committed(struct save *s)
{
    save_go(s, SAVE_USING);
}

static void begin_committing(struct save *s)
{
    if (!save_flag(s, ART_FINALIZE)) {
        save_go(s, SAVE_CLEANING);
        return;
    }
    save_put(s, "artifactID", str_of(s->artifact_id));
    save_call(s, "CommitArtifact", commit_artifact, on_committed);
}

static void on_used(struct save *s)
{
    save_go(s, SAVE_CLEANING);
}

static void begin_using(struct save *s)
{
    if (!save_flag(s, ART_USE_AFTER_COMMIT)) {
        save_go(s, SAVE_CLEANING);
        return;
    }
    buf_puts(&s->variables, "{\"input\":{\"entityName\":");
    json_put_string(&s->variables, save_entity(s));
    save_put(s, "projectName", save_project(s));
    save_put(s, "runName", save_run_id(s));
    save_put(s, "artifactID", str_of(s->artifact_id));
    if (s->has_entity_info) {
        save_put(s, "artifactEntityName", save_entity(s));
        save_put(s, "artifactProjectName", save_project(s));
    }
    buf_puts(&s->variables, ",\"clientMutationId\":null,\"usedAs\":null}");
    save_call(s, "UseArtifact", use_artifact, on_used);
}

/* ---- the table ---- */

static void (*const begins[])(struct save *s) = {
    [SAVE_READING] = begin_reading,     [SAVE_FEATURES] = begin_features,     [SAVE_ALGORITHM] = begin_algorithm,
    [SAVE_HASHING] = begin_hashing,     [SAVE_CREATING] = begin_creating,     [SAVE_MANIFEST] = save_make_manifest,
    [SAVE_FILES] = save_files_begin,    [SAVE_RESOLVING] = save_resolve,      [SAVE_WRITING] = save_write_manifest,
    [SAVE_UPSERTING] = save_upsert_manifest, [SAVE_PUTTING] = save_put_manifest, [SAVE_COMMITTING] = begin_committing,
    [SAVE_USING] = begin_using,         [SAVE_CLEANING] = save_clean,         [SAVE_SWEEPING] = save_sweep,
    [SAVE_DONE] = artifacts_ended,
};

void save_go(struct save *s, enum save_state next)
{
    if (!artifacts_are_wanted(s->owner) && next < SAVE_CLEANING) {
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
