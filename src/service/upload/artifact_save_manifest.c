/* SPDX-License-Identifier: MIT */
/* The states of a save that are about its manifest: a row for it, references to artifacts of the same client, its
 * JSON and the place where that goes. (peer: core/pkg/artifacts/saver.go) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/json.h"

#include <stddef.h>
#include <stdio.h>

#define OF(p, member) ((struct save *)((char *)(p) - offsetof(struct save, member)))

/* (peer: core/api/graphql) */
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

/* ---- the manifest ---- */

static void ask_manifest(struct save *s, const char *digest, bool upload, void (*then)(struct save *s))
{
    bool is_incremental = save_flag(s, ART_INCREMENTAL), is_patch = save_text(s, ART_DISTRIBUTED_ID).n > 0;
    save_put(s, "artifactID", str_of(s->artifact_id));
    save_put_or_null(s, "baseArtifactID", str_of(s->base_id));
    save_put(s, "name", is_incremental ? STR("wandb_manifest.incremental.json")
                   : is_patch     ? STR("wandb_manifest.patch.json")
                                  : STR("wandb_manifest.json"));
    save_put(s, "digest", str_of(digest));
    save_put(s, "entityName", save_entity(s));
    save_put(s, "projectName", save_project(s));
    save_put(s, "runName", save_run_id(s));
    save_put(s, "manifestType", is_incremental ? STR("INCREMENTAL") : is_patch ? STR("PATCH") : STR("FULL"));
    save_put_raw(s, "includeUpload", upload ? "true" : "false");
    save_call(s, "CreateArtifactManifest", create_manifest, then);
}

static void on_manifest(struct save *s)
{
    char *id = save_needed(s, "createArtifactManifest.artifactManifest.id");
    if (!id)
        return;
    s->manifest_id = id;
    save_go(s, SAVE_FILES);
}

void save_make_manifest(struct save *s)
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

/* The server's ids are base64; references have them in hex. */
static bool put_hex_of_base64(struct buf *to, const char *base64)
{
    size_t n = strlen(base64);
    AUTO_FREE uint8_t *bytes = mem_alloc(n + 1);
    AUTO_FREE char *hex = mem_alloc(2 * n + 1);
    if (!bytes || !hex || !base64_get(str_of(base64), BASE64_STANDARD, bytes, n, &n))
        return false;
    digest_hex(hex, bytes, n);
    return buf_puts(to, hex) == 0;
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
    save_resolve(s);
}

void save_resolve(struct save *s)
{
    for (size_t i = 0; i < s->manifest.n; i++) {
        struct str client = client_of(&s->manifest.entries[i]);
        if (client.n == 0)
            continue;
        mem_free(s->client_id);
        s->client_id = xmem_strndup(client.p, client.n);
        buf_clear(&s->variables);
        save_put(s, "clientID", client);
        save_call(s, "ClientIDMapping", client_id_mapping, on_mapping);
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
    base64_text(s->digest, md5, MD5_BYTES);
}

static void write_done(struct work *w)
{
    struct save *s = OF(w, work);
    if (s->err.code)
        save_fail(s, s->err.code, "%s", s->err.text);
    else
        save_go(s, SAVE_UPSERTING);
}

void save_write_manifest(struct save *s)
{
    save_work(s, write_run, write_done);
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

void save_upsert_manifest(struct save *s)
{
    if (!save_flag(s, ART_INCREMENTAL) && save_text(s, ART_DISTRIBUTED_ID).n == 0) {
        ask_manifest(s, s->digest, true, on_upserted);
        return;
    }
    save_put(s, "artifactManifestID", str_of(s->manifest_id));
    save_put(s, "digest", str_of(s->digest));
    save_put_raw(s, "baseArtifactID", "null");
    save_put_raw(s, "includeUpload", "true");
    save_call(s, "UpdateArtifactManifest", update_manifest, on_updated);
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

void save_put_manifest(struct save *s)
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
