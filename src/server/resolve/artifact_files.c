/* SPDX-License-Identifier: MIT */
/* The files and manifests of a version: listing, and upload URLs. */
#include "server/resolve/artifact_rows.h"

#include "base/digest.h"
#include "base/number.h"
#include "server/artifact/artifact.h"
#include "server/storage.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_SPECS = 100000, MAX_PARTS = 10000 };
enum { SUMS_BYTES = 1 << 20 }; /* of a file whose URL says how it is checked quickly, and where it lies */

/* ---- listing ---- */

/* Where a file is: its bytes here, or its reference. */
static void take_file(const struct accessor *a, struct db_rows *rows, int64_t artifact, int64_t position,
                      struct file_row *f)
{
    *f = (struct file_row){.kind = "ArtifactFile", .id = artifact << 24 | position, .name = access_keep(a, db_str(rows, 0)),
                           .digest = access_keep(a, db_str(rows, 1)), .size_bytes = db_int(rows, 2),
                           .blob = access_keep(a, db_str(rows, 3)), .url = access_keep(a, db_str(rows, 4)),
                           .mimetype = access_keep(a, db_str(rows, 5)), .updated_us = db_int(rows, 6)};
    f->md5 = f->digest;
    f->storage_path = str_of(arena_printf(a->arena, "wandb_artifacts/%lld/%.*s", (long long)artifact, STR_ARG(f->name)));
    if (!f->url.p)
        f->url = STR("");
}

/* The names that are asked for, in order; of strings, or of objects with a name. */
struct name_set {
    struct str *names;
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool take_names(struct gql_call *c, const struct gql_value *list, struct name_set *to)
{
    *to = (struct name_set){0};
    if (!list || !list->n)
        return true;
    to->names = arena_alloc(gql_arena(c), sizeof *to->names * list->n);
    for (const struct gql_value *v = list->first; to->names && v; v = v->next)
        to->names[to->n++] = v->kind == GQL_STRING ? v->s : gql_in_str(v, "name");
    if (to->n)
        qsort(to->names, to->n, sizeof *to->names, by_name);
    return to->names != NULL;
}

/* No names: all are wanted. */
static bool is_named(const struct name_set *set, struct str name)
{
    return !set->n || bsearch(&name, set->names, set->n, sizeof name, by_name);
}

/* Bytes with this MD5, by which the manifest names them, have that XXH128, and lie there: whoever trusts the manifest of
 * this server may check them by that. */
static int find_sums(struct gql_call *c, const struct accessor *a, struct file_row *files, size_t n)
{
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        struct file_row *f = &files[i];
        AUTO_ROWS struct db_rows *rows = NULL;
        AUTO_BUF sums = {0};
        if (f->size_bytes < SUMS_BYTES || !f->blob.n)
            continue;
        rc = db_first(a->db, a->e, &rows, "SELECT md5, xxh128, name FROM blobs WHERE name = $1 AND xxh128 IS NOT NULL",
                      DB_ARGS(db_s(f->blob)));
        if (rc != 1)
            continue;
        buf_printf(&sums, "md5=%s&xxh128=%s", db_text(rows, 0), db_text(rows, 1));
        storage_put_file_hint(request_of(c), &sums, db_text(rows, 2));
        f->sums = access_keep(a, buf_str(&sums));
    }
    return rc < 0 ? rc : 0;
}

static void answer_files(struct gql_call *c, const struct version_row *v, const struct gql_value *names)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    int64_t total = 0, position = 0;
    struct connection page = {TYPE_FileEdge, TYPE_File, .stride = sizeof(struct file_row)};
    page.offset = page_offset(c, "after");
    size_t size = (size_t)page_size(c, "first", 50, 100000);
    struct name_set wanted;
    if (!take_names(c, names, &wanted) || !accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT name, digest, size_bytes, blob, ref, mimetype, created_at FROM artifact_files "
                      "WHERE artifact_id = $1 ORDER BY name",
                      DB_ARGS(db_i(v->id)));
    for (; rc >= 0 && (rc = db_next(rows, &e)) == 1; position++) {
        if (!is_named(&wanted, db_str(rows, 0)))
            continue;
        if (total++ < page.offset || page.n == size)
            continue;
        struct file_row f;
        take_file(&a, rows, v->id, position, &f);
        rc = buf_append(&all, &f, sizeof f);
        page.n++;
    }
    if (rc >= 0)
        rc = find_sums(c, &a, (struct file_row *)(void *)all.data, page.n);
    if (rc < 0) {
        fail_with(c, rc, &e);
        return;
    }
    page.nodes = all.data;
    page.total = total;
    page.has_next = page.offset + (int64_t)page.n < total;
    gql_object(c, TYPE_FileConnection, &page);
}

void answer_version_files(struct gql_call *c, const struct version_row *v)
{
    answer_files(c, v, gql_arg(c, "names"));
}

void resolve_Artifact_files(struct gql_call *c, const void *obj)
{
    answer_files(c, obj, gql_arg(c, "names"));
}

void resolve_Artifact_filesByManifestEntries(struct gql_call *c, const void *obj)
{
    answer_files(c, obj, gql_arg(c, "entries"));
}

/* ---- manifests ---- */

struct manifest_row {
    int64_t id, artifact_id, size_bytes;
    struct str digest, blob; /* blob {NULL}: not uploaded */
};

void resolve_Artifact_currentManifest(struct gql_call *c, const void *obj)
{
    const struct version_row *v = obj;
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows,
                      "SELECT id, digest, blob, size_bytes FROM artifact_manifests WHERE artifact_id = $1 "
                      "AND kind = 'FULL' AND blob IS NOT NULL ORDER BY id DESC LIMIT 1",
                      DB_ARGS(db_i(v->id)));
    if (rc < 0) {
        fail_with(c, rc, &e);
    } else if (rc == 1) {
        struct manifest_row m = {db_int(rows, 0), v->id, db_int(rows, 3), access_keep(&a, db_str(rows, 1)),
                                 access_keep(&a, db_str(rows, 2))};
        gql_object(c, TYPE_ArtifactManifest, &m);
    } else {
        gql_null(c);
    }
}

FIELD_ID(ArtifactManifest, id, manifest_row, "ArtifactManifest", id)
FIELD_STR(ArtifactManifest, digest, manifest_row, digest)
FIELD_(ArtifactManifest, file, gql_object(c, TYPE_ArtifactManifestFile, obj))
FIELD_ID(ArtifactManifestFile, id, manifest_row, "ArtifactManifestFile", id)

void resolve_ArtifactManifestFile_directUrl(struct gql_call *c, const void *obj)
{
    const struct manifest_row *m = obj;
    AUTO_BUF b = {0};
    if (m->blob.p && storage_get_url(request_of(c), &b, m->blob, STR("wandb_manifest.json"), STR("application/json")) == 0)
        gql_str(c, buf_str(&b));
    else
        gql_null(c);
}

void resolve_ArtifactManifestFile_uploadUrl(struct gql_call *c, const void *obj)
{
    const struct manifest_row *m = obj;
    AUTO_BUF b = {0};
    if (gql_in_mutation(c) && storage_put_url(request_of(c), &b, STORAGE_MANIFEST, m->id, STR("wandb_manifest.json"), m->digest) == 0)
        gql_str(c, buf_str(&b));
    else
        gql_null(c);
}

static void put_md5_header(struct gql_call *c, struct str md5)
{
    gql_list_begin(c);
    if (md5.n)
        gql_strz(c, arena_printf(gql_arena(c), "Content-MD5:%.*s", STR_ARG(md5)));
    gql_list_end(c);
}

FIELD_(ArtifactManifestFile, uploadHeaders, put_md5_header(c, ROW_(manifest_row)->digest))

/* createArtifactManifest and updateArtifactManifest. */
struct manifest_change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    struct manifest_row row;
};

static int create_manifest_job(struct db_conn *db, void *arg, struct err *e)
{
    static const char *const kinds[] = {"FULL", "INCREMENTAL", "PATCH"};
    struct manifest_change *m = arg;
    const struct accessor a = {db, m->user, m->arena, e};
    struct version_row v;
    int64_t base = 0;
    enum artifact_manifest_kind kind = MANIFEST_FULL;
    for (int i = 0; i < 3; i++)
        if (str_eqz(gql_in_str(m->in, "type"), kinds[i]))
            kind = (enum artifact_manifest_kind)i;
    if (!gql_in_id(m->in, "artifactID", "Artifact", &m->row.artifact_id))
        return err_set(e, TARE_ENOTFOUND, "there is no such artifact");
    int rc = load_version(&a, m->row.artifact_id, ACCESS_WRITE, &v);
    if (rc == 0 && gql_in_id(m->in, "baseArtifactID", "Artifact", &base)) {
        struct version_row b;
        rc = load_version(&a, base, ACCESS_READ, &b);
        if (rc == 0)
            base = b.id;
    }
    m->row.digest = gql_in_str(m->in, "digest");
    return rc ? rc : artifact_manifest_put(db, m->row.artifact_id, gql_in_str(m->in, "name"), kind, base,
                                           gql_in_str(m->in, "runName"), m->row.digest, now_us(), &m->row.id, e);
}

static int update_manifest_job(struct db_conn *db, void *arg, struct err *e)
{
    struct manifest_change *m = arg;
    const struct accessor a = {db, m->user, m->arena, e};
    struct version_row v;
    if (!gql_in_id(m->in, "artifactManifestID", "ArtifactManifest", &m->row.id))
        return err_set(e, TARE_ENOTFOUND, "there is no such manifest");
    int rc = db_get_int(db, e, &m->row.artifact_id, "SELECT artifact_id FROM artifact_manifests WHERE id = $1",
                        DB_ARGS(db_i(m->row.id)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no such manifest");
    rc = load_version(&a, m->row.artifact_id, ACCESS_WRITE, &v);
    m->row.digest = gql_in_str(m->in, "digest");
    if (rc == 0 && m->row.digest.p)
        rc = db_exec(db, e, "UPDATE artifact_manifests SET digest = $2 WHERE id = $1",
                     DB_ARGS(db_i(m->row.id), db_s(m->row.digest)));
    return rc < 0 ? rc : 0;
}

static void change_manifest(struct gql_call *c, db_job_fn job)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct manifest_change m = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, job, &m, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_ArtifactManifestPayload, &m);
}

void resolve_Mutation_createArtifactManifest(struct gql_call *c, const void *obj)
{
    change_manifest(c, create_manifest_job);
}

void resolve_Mutation_updateArtifactManifest(struct gql_call *c, const void *obj)
{
    change_manifest(c, update_manifest_job);
}

FIELD_(manifest_payload, artifactManifest, gql_object(c, TYPE_ArtifactManifest, &ROW_(manifest_change)->row))
FIELD_NULL(manifest_payload, clientMutationId)

/* ---- upload slots ---- */

struct slot {
    const struct gql_value *spec;
    struct artifact_file_place place;
    int64_t artifact_id;
    struct str name, md5;
    char upload_id[17]; /* "": one PUT */
};

struct slots {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *specs;
    struct slot *all;
    size_t n;
};

/* Of a file in parts: the same for the same parts of the same file, so that parts which have come stay of use
 * when a client, or the next one, asks anew. */
static void make_upload_id(struct slot *s)
{
    const struct gql_value *parts = gql_in(s->spec, "uploadPartsInput");
    unsigned char raw[EVP_MAX_MD_SIZE];
    AUTO_BUF all = {0};
    if (!parts || parts->n < 2 || parts->n > MAX_PARTS)
        return;
    const struct str about[] = {gql_in_str(s->spec, "artifactID"), gql_in_str(s->spec, "name"), gql_in_str(s->spec, "md5"),
                                gql_in_str(s->spec, "digest")};
    for (size_t i = 0; i < sizeof about / sizeof *about; i++)
        buf_printf(&all, "%zu:%.*s\n", about[i].n, STR_ARG(about[i]));
    for (const struct gql_value *v = parts->first; v; v = v->next)
        buf_printf(&all, "%lld %.*s\n", (long long)gql_in_int(v, "partNumber", 0), STR_ARG(gql_in_str(v, "hexMD5")));
    if (!all.failed && EVP_Digest(all.data, all.len, raw, NULL, EVP_sha256(), NULL))
        digest_hex(s->upload_id, raw, (sizeof s->upload_id - 1) / 2);
}

static int make_slot(const struct accessor *a, struct slot *s, struct version_row *v)
{
    struct str digest = gql_in_str(s->spec, "digest");
    int64_t id;
    if (!gql_in_id(s->spec, "artifactID", "Artifact", &id))
        return err_set(a->e, TARE_ENOTFOUND, "there is no such artifact");
    int rc = v->id == id ? 0 : load_version(a, id, ACCESS_WRITE, v);
    if (rc < 0)
        return rc;
    if (!str_eqz(v->state, "PENDING"))
        return err_set(a->e, TARE_EINVAL, "the artifact is committed: no file can be added");
    s->artifact_id = id;
    s->name = gql_in_str(s->spec, "name");
    s->md5 = gql_in_str(s->spec, "md5");
    return artifact_file_put(a->db, id, s->name, digest.n ? digest : s->md5, gql_in_str(s->spec, "mimetype"), now_us(),
                             &s->place, a->e);
}

static int slots_job(struct db_conn *db, void *arg, struct err *e)
{
    struct slots *all = arg;
    const struct accessor a = {db, all->user, all->arena, e};
    struct version_row v = {0};
    int rc = 0;
    for (size_t i = 0; i < all->n && rc >= 0; i++)
        rc = make_slot(&a, &all->all[i], &v);
    return rc;
}

void resolve_Mutation_createArtifactFiles(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct slots s = {.user = q->user, .arena = q->arena, .specs = gql_in(gql_arg(c, "input"), "artifactFiles")};
    if (s.specs->n > MAX_SPECS || !(s.all = arena_calloc(q->arena, sizeof *s.all * (s.specs->n + 1)))) {
        gql_fail(c, 422, "too many files at once: %d at most", MAX_SPECS);
        return;
    }
    for (const struct gql_value *v = s.specs->first; v; v = v->next) {
        struct slot *slot = &s.all[s.n++];
        slot->spec = v;
        make_upload_id(slot);
    }
    int rc = request_write(q, slots_job, &s, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_CreateArtifactFilesPayload, &s);
}

void resolve_CreateArtifactFilesPayload_files(struct gql_call *c, const void *obj)
{
    const struct slots *s = obj;
    struct connection page = {TYPE_ArtifactFileSlotEdge, TYPE_ArtifactFileSlot, s->all, s->n, sizeof *s->all, 0, false,
                              (int64_t)s->n};
    gql_object(c, TYPE_ArtifactFileSlotConnection, &page);
}

static const char *slot_path(struct gql_call *c, const struct slot *s)
{
    return arena_printf(gql_arena(c), "wandb_artifacts/%lld/%.*s", (long long)s->artifact_id, STR_ARG(s->name));
}

FIELD_(ArtifactFileSlot, id, gql_strz(c, slot_path(c, obj)))
FIELD_STR(ArtifactFileSlot, name, slot, name)
FIELD_STR(ArtifactFileSlot, displayName, slot, name)
FIELD_(ArtifactFileSlot, storagePath, gql_strz(c, slot_path(c, obj)))

void resolve_ArtifactFileSlot_uploadHeaders(struct gql_call *c, const void *obj)
{
    const struct slot *s = obj;
    gql_list_begin(c);
    if (s->md5.n && !s->upload_id[0])
        gql_strz(c, arena_printf(gql_arena(c), "Content-MD5:%.*s", STR_ARG(s->md5)));
    gql_strz(c, STORAGE_RESUMABLE);
    gql_list_end(c);
}

void resolve_ArtifactFileSlot_uploadUrl(struct gql_call *c, const void *obj)
{
    const struct slot *s = obj;
    AUTO_BUF b = {0};
    if (!s->place.have &&
        storage_put_url(request_of(c), &b, STORAGE_ARTIFACT_FILE, s->artifact_id, s->name, s->md5) == 0)
        gql_str(c, buf_str(&b));
    else
        gql_null(c);
}

/* The artifact that brought the bytes first, of which clients read the id alone. */
void resolve_ArtifactFileSlot_artifact(struct gql_call *c, const void *obj)
{
    struct version_row v = {.id = ((const struct slot *)obj)->place.birth_id, .version_index = -1, .own_index = -1};
    gql_object(c, TYPE_Artifact, &v);
}

void resolve_ArtifactFileSlot_uploadMultipartUrls(struct gql_call *c, const void *obj)
{
    const struct slot *s = obj;
    gql_object(c, TYPE_UploadMultipartUrls, s->upload_id[0] && !s->place.have ? s : NULL);
}

FIELD_(UploadMultipartUrls, uploadID, gql_strz(c, ROW_(slot)->upload_id))

struct slot_part {
    const struct slot *slot;
    const struct gql_value *part;
};

void resolve_UploadMultipartUrls_uploadUrlParts(struct gql_call *c, const void *obj)
{
    const struct slot *s = obj;
    gql_list_begin(c);
    for (const struct gql_value *v = gql_in(s->spec, "uploadPartsInput")->first; v; v = v->next)
        gql_object(c, TYPE_UploadUrlPart, &(struct slot_part){s, v});
    gql_list_end(c);
}

FIELD_(UploadUrlPart, partNumber, gql_int(c, gql_in_int(ROW_(slot_part)->part, "partNumber", 0)))

void resolve_UploadUrlPart_uploadUrl(struct gql_call *c, const void *obj)
{
    const struct slot_part *p = obj;
    AUTO_BUF b = {0};
    const char *name = arena_printf(gql_arena(c), "%s/%lld", p->slot->upload_id,
                                    (long long)gql_in_int(p->part, "partNumber", 0));
    if (name && storage_put_url(request_of(c), &b, STORAGE_PART, p->slot->artifact_id, str_of(name), (struct str){0}) == 0)
        gql_str(c, buf_str(&b));
}

/* ---- the end of a multipart upload ---- */

struct complete {
    const struct http_user *user;
    struct arena *arena;
    struct str upload_id, name;
    int64_t artifact_id;
    struct blob_info blob;
    char digest[64];
};

/* "wandb_artifacts/<id>/<name>" */
static bool take_storage_path(struct str path, struct complete *k)
{
    const struct str folder = STR("wandb_artifacts/");
    if (!str_starts(path, folder))
        return false;
    path = str_make(path.p + folder.n, path.n - folder.n);
    size_t n = number_parse_i64(path.p, path.n, &k->artifact_id);
    if (!n || n + 1 >= path.n || path.p[n] != '/')
        return false;
    k->name = str_make(path.p + n + 1, path.n - n - 1);
    return true;
}

static int join_parts(struct request *q, struct complete *k, const struct accessor *a, int64_t wanted)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct blob_put *put;
    struct version_row v;
    int64_t n = 0;
    int rc = load_version(a, k->artifact_id, ACCESS_WRITE, &v);
    if (rc == 0)
        rc = db_query(a->db, a->e, &rows,
                      "SELECT storage_path FROM upload_parts WHERE upload_id = $1 AND artifact_id = $2 ORDER BY part_number",
                      DB_ARGS(db_s(k->upload_id), db_i(k->artifact_id)));
    if (rc < 0 || (rc = blob_put_begin(q->server->blobs, &put, INT64_MAX, a->e)) < 0)
        return rc;
    while (rc >= 0 && (rc = db_next(rows, a->e)) == 1) {
        rc = blob_put_blob(put, db_text(rows, 0), a->e);
        n++;
    }
    if (rc >= 0 && (n != wanted || n == 0))
        rc = err_set(a->e, TARE_EINVAL, "%lld of the upload's %lld parts are here", (long long)n, (long long)wanted);
    if (rc < 0) {
        blob_put_abort(put);
        return rc;
    }
    return blob_put_end(put, NULL, &k->blob, a->e);
}

static int complete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct complete *k = arg;
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(db, e, &rows, "SELECT digest FROM artifact_files WHERE artifact_id = $1 AND name = $2",
                      DB_ARGS(db_i(k->artifact_id), db_s(k->name)));
    if (rc == 1) {
        struct str digest = db_str(rows, 0);
        if (digest.n == BLOB_MD5 - 1 && !str_eqz(digest, k->blob.md5))
            return err_set(e, TARE_EINVAL, "the joined parts of '%.*s' have MD5 %s, announced was %.*s",
                           STR_ARG(k->name), k->blob.md5, STR_ARG(digest));
        rc = artifact_file_stored(db, k->artifact_id, k->name, &k->blob, now_us(), e);
    } else if (rc == 0) {
        rc = err_set(e, TARE_ENOTFOUND, "the artifact has no file '%.*s'", STR_ARG(k->name));
    }
    if (rc >= 0)
        rc = db_exec(db, e, "DELETE FROM upload_parts WHERE upload_id = $1 AND artifact_id = $2",
                     DB_ARGS(db_s(k->upload_id), db_i(k->artifact_id)));
    return rc < 0 ? rc : 0;
}

void resolve_Mutation_completeMultipartUploadArtifact(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    const struct gql_value *in = gql_arg(c, "input"), *parts = gql_in(in, "completedParts");
    struct err e;
    struct accessor a;
    struct complete k = {.user = q->user, .arena = q->arena, .upload_id = gql_in_str(in, "uploadID")};
    if (!take_storage_path(gql_in_str(in, "storagePath"), &k)) {
        gql_fail(c, 400, "not a storage path of this server");
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    int rc = join_parts(q, &k, &a, (int64_t)parts->n);
    if (rc >= 0)
        rc = request_write(q, complete_job, &k, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_CompleteMultipartUploadArtifactPayload, &k);
}

FIELD_(CompleteMultipartUploadArtifactPayload, digest, gql_strz(c, ROW_(complete)->blob.md5))
