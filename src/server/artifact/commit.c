/* SPDX-License-Identifier: MIT */
/* Commit: a pending version becomes v<N>.
 *
 * The manifests are read and parsed outside the writer's transaction (they may be large), the result is
 * checked and written inside it. A FULL manifest is the version. An INCREMENTAL one is laid over the
 * contents of its base. PATCHes of a distributed save are laid over one another in the order in which
 * they were made. Where there was more than one, the merged manifest becomes a blob of its own, and that
 * is what readers get; the version's digest, which was that of a part, becomes that of the whole: the same part
 * alone, or laid over something else, is another version.
 *
 * Content that the collection has already is no new version. Mostly that is known when the version is created
 * (version.c); of two that are filled at the same time the second to be committed finds it here, and becomes the
 * first: aliases, tags, outputs and uses go there, and so does who asks for its id. */
#include "server/artifact/artifact.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/number.h"
#include "base/os.h"
#include "base/random.h"
#include "server/artifact/manifest.h"
#include "server/id_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { MAX_MANIFEST_BYTES = 1 << 30 };

struct entry {
    struct manifest_entry e;
    UT_hash_handle hh; /* by path */
};

struct commit {
    struct blobs *blobs;
    struct arena arena;
    struct entry *entries;      /* uthash, in the order of first arrival */
    int64_t artifact_id, now_us;
    int n_manifests;
    bool merged;                /* more than one manifest: a new one must be written */
    struct blob_info manifest;  /* of the merged manifest */
    char digest[2 * MD5_BYTES + 1]; /* of the merged manifest, as clients compute it; "": it was not merged */
    int64_t size_bytes;
    int64_t last_target; /* of a reference: mostly many entries in a row refer to one version */
};

/* A later entry of the same path takes the place of the earlier. */
static int take_entry(void *arg, const struct manifest_entry *m)
{
    struct commit *k = arg;
    struct entry *old = NULL;
    HASH_FIND(hh, k->entries, m->path.p, (unsigned)m->path.n, old);
    if (old) {
        old->e = *m;
        return 0;
    }
    struct entry *entry = arena_calloc(&k->arena, sizeof *entry);
    if (!entry)
        return TARE_ENOMEM;
    entry->e = *m;
    HASH_ADD_KEYPTR(hh, k->entries, entry->e.path.p, (unsigned)entry->e.path.n, entry);
    return 0;
}

static int read_manifest(struct commit *k, const char *blob, struct err *e)
{
    int fd;
    int64_t size;
    int rc = blob_open(k->blobs, blob, &fd, &size, e);
    if (rc < 0)
        return rc;
    char *text = size <= MAX_MANIFEST_BYTES ? arena_alloc(&k->arena, (size_t)size + 1) : NULL;
    size_t have = 0;
    ssize_t n = 1;
    while (text && have < (size_t)size && (n = os->read(fd, text + have, (size_t)size - have)) > 0)
        have += (size_t)n;
    os->close(fd);
    if (!text)
        return err_set(e, TARE_ELIMIT, "the manifest is larger than %d bytes", MAX_MANIFEST_BYTES);
    if (n < 0)
        return err_set(e, (int)n, "reading a manifest: %s", err_text((int)n));
    k->n_manifests++;
    return manifest_walk(str_make(text, have), &k->arena, take_entry, k, e);
}

/* The base's own current manifest: the newest row of it that holds a full one. */
static int read_base(struct commit *k, struct db_conn *c, int64_t base, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows,
                      "SELECT blob FROM artifact_manifests WHERE artifact_id = $1 AND kind = 'FULL' "
                      "AND blob IS NOT NULL ORDER BY id DESC LIMIT 1",
                      DB_ARGS(db_i(base)));
    if (rc == 0)
        return err_set(e, TARE_EINVAL, "the base of the incremental artifact has no manifest");
    return rc < 0 ? rc : read_manifest(k, db_text(rows, 0), e);
}

/* Of a patch's name without what makes it unique; databases from before that have shorter names, and PostgreSQL
 * refuses a negative length. */
#define WRITER(row) \
    "substr(" row ".name, 1, CASE WHEN length(" row ".name) > $2 THEN length(" row ".name) - $2 ELSE length(" row ".name) END)"

/* A patch that was never filled and of whose writer a later one came was begun anew, by a client that did not see the
 * answer or was killed. */
static int read_manifests(struct commit *k, struct db_conn *c, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows,
                      "SELECT id, kind, blob, base_artifact_id FROM artifact_manifests m WHERE artifact_id = $1 "
                      "AND NOT (kind = 'PATCH' AND blob IS NULL AND EXISTS (SELECT 1 FROM artifact_manifests l "
                      "WHERE l.artifact_id = m.artifact_id AND l.id > m.id AND l.kind = 'PATCH' AND l.blob IS NOT NULL "
                      "AND " WRITER("l") " = " WRITER("m") ")) ORDER BY id",
                      DB_ARGS(db_i(k->artifact_id), db_i(ARTIFACT_PATCH_ID)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        bool full = strcmp(db_text(rows, 1), "FULL") == 0;
        if (db_is_null(rows, 2))
            return err_set(e, TARE_EINVAL, "the artifact's manifest has not been uploaded");
        k->merged |= !full;
        if (!db_is_null(rows, 3) && !full)
            rc = read_base(k, c, db_int(rows, 3), e);
        if (rc >= 0)
            rc = read_manifest(k, db_text(rows, 2), e);
    }
    if (rc >= 0 && k->n_manifests == 0)
        return err_set(e, TARE_EINVAL, "the artifact has no manifest");
    return rc < 0 ? rc : 0;
}

static int by_path(const struct entry *a, const struct entry *b)
{
    return str_cmp(a->e.path, b->e.path);
}

/* What clients call a manifest's digest: a header, and "path:digest" of each entry in order. By MD5 also where the
 * parts' digests are of another kind: it only has to tell versions apart. */
static void digest_of_merged(struct commit *k)
{
    static const char header[] = "wandb-artifact-manifest-v1\n";
    uint8_t sum[MD5_BYTES];
    struct digest d;
    md5_init(&d);
    md5_add(&d, header, sizeof header - 1);
    for (const struct entry *entry = k->entries; entry; entry = entry->hh.next) {
        md5_add(&d, entry->e.path.p, entry->e.path.n);
        md5_add(&d, ":", 1);
        md5_add(&d, entry->e.digest.p, entry->e.digest.n);
        md5_add(&d, "\n", 1);
    }
    md5_end(&d, sum);
    digest_hex(k->digest, sum, sizeof sum);
}

static int write_merged(struct commit *k, struct err *e)
{
    AUTO_BUF b = {0};
    HASH_SORT(k->entries, by_path);
    digest_of_merged(k);
    buf_puts(&b, "{\"version\": 1, \"storagePolicy\": \"wandb-storage-policy-v1\", "
                 "\"storagePolicyConfig\": {\"storageLayout\": \"V2\"}, \"contents\": {");
    for (struct entry *entry = k->entries; entry; entry = entry->hh.next) {
        if (entry != k->entries)
            buf_puts(&b, ", ");
        json_put_string(&b, entry->e.path);
        buf_puts(&b, ": ");
        buf_put_str(&b, entry->e.raw);
    }
    if (buf_puts(&b, "}}") < 0)
        return err_set(e, TARE_ENOMEM, "out of memory");
    return blob_put_bytes(k->blobs, b.data, b.len, &k->manifest, e);
}

/* ---- inside the writer's transaction ---- */

/* The bytes of an entry: those that were uploaded for this version under its name, or those that
 * another artifact of the same entity has. 1 and a row of blob and size; of the former with more, see is_written. */
static int find_entry_bytes(struct commit *k, struct db_conn *c, const struct manifest_entry *m,
                            struct db_rows **rows, struct err *e)
{
    int rc = db_first(c, e, rows,
                      "SELECT blob, size_bytes, birth_artifact_id, "
                      "CASE WHEN ref IS NULL AND extra IS NULL THEN 1 ELSE 0 END FROM artifact_files "
                      "WHERE artifact_id = $1 AND name = $2 AND digest = $3 AND blob IS NOT NULL",
                      DB_ARGS(db_i(k->artifact_id), db_s(m->path), db_s(m->digest)));
    if (rc != 0)
        return rc;
    db_rows_end(*rows);
    *rows = NULL;
    rc = artifact_find_bytes(c, k->artifact_id, m->digest, rows, e);
    if (rc == 0)
        return err_set(e, TARE_EINVAL, "the artifact's file '%.*s' has not been uploaded", STR_ARG(m->path));
    return rc;
}

/* The upload has left the row as the manifest wants it, as it nearly always does: to write it again, with its
 * place in two indexes, is most of the cost of a commit. */
static bool is_written(struct db_rows *rows, const struct manifest_entry *m, int64_t birth)
{
    return db_columns(rows) == 4 && db_int(rows, 3) == 1 && m->extra.n == 0 && !db_is_null(rows, 2) &&
           db_int(rows, 2) == birth;
}

/* The version behind "wandb-artifact://HEX/PATH", HEX being its id's text in hexadecimal. */
static bool parse_target(struct str ref, int64_t *id)
{
    static const char scheme[] = "wandb-artifact://", kind[] = "Artifact:";
    char text[ID_TEXT];
    size_t at = sizeof scheme - 1, k = sizeof kind - 1;
    const char *slash = ref.n > at && str_starts(ref, str_of(scheme)) ? memchr(ref.p + at, '/', ref.n - at) : NULL;
    size_t n = slash ? (size_t)(slash - ref.p - at) / 2 : 0;
    return n > k && n < sizeof text && digest_from_hex((uint8_t *)text, n, str_make(ref.p + at, (size_t)(slash - ref.p - at))) &&
           memcmp(text, kind, k) == 0 && number_parse_i64(text + k, n - k, id) == n - k;
}

/* Inside one entity: nobody holds other people's files. */
static int note_reference(struct commit *k, struct db_conn *c, struct str ref, struct err *e)
{
    int64_t target;
    if (!parse_target(ref, &target) || target == k->last_target || target == k->artifact_id)
        return 0;
    k->last_target = target;
    int rc = db_exec(c, e,
                     "INSERT INTO artifact_references (artifact_id, target_id) SELECT a.id, t.id FROM artifacts a "
                     "JOIN artifact_collections s ON s.id = a.sequence_id JOIN projects p ON p.id = s.project_id "
                     "JOIN projects q ON q.entity_id = p.entity_id JOIN artifact_collections u ON u.project_id = q.id "
                     "JOIN artifacts t ON t.sequence_id = u.id WHERE a.id = $1 AND t.id = "
                     "COALESCE((SELECT merged_into FROM artifacts WHERE id = $2), $2) ON CONFLICT DO NOTHING",
                     DB_ARGS(db_i(k->artifact_id), db_i(target)));
    return rc < 0 ? rc : 0;
}

static int write_entry(struct commit *k, struct db_conn *c, const struct manifest_entry *m, struct err *e)
{
    int64_t birth;
    if (!id_parse(m->birth_id, "Artifact", &birth))
        birth = k->artifact_id;
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = m->ref.n ? note_reference(k, c, m->ref, e) : find_entry_bytes(k, c, m, &rows, e);
    if (rc < 0)
        return rc;
    int64_t size = rows ? db_int(rows, 1) : m->size_bytes;
    k->size_bytes += size;
    if (rows && is_written(rows, m, birth))
        return 0;
    rc = db_exec(c, e,
                 "INSERT INTO artifact_files (artifact_id, name, digest, size_bytes, blob, ref, "
                 "birth_artifact_id, extra, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
                 "ON CONFLICT (artifact_id, name) DO UPDATE SET digest = excluded.digest, "
                 "size_bytes = excluded.size_bytes, blob = excluded.blob, ref = excluded.ref, "
                 "birth_artifact_id = excluded.birth_artifact_id, extra = excluded.extra",
                 DB_ARGS(db_i(k->artifact_id), db_s(m->path), db_s(m->digest), db_i(size),
                         rows ? db_t(db_text(rows, 0)) : db_n(), m->ref.n ? db_s(m->ref) : db_n(),
                         db_i(birth), m->extra.n ? db_s(m->extra) : db_n(),
                         db_i(k->now_us)));
    return rc < 0 ? rc : 0;
}

/* Files that were announced but are in no manifest do not belong to the version. */
static int drop_strays(struct commit *k, struct db_conn *c, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int64_t n = 0;
    int rc = db_get_int(c, e, &n, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1",
                        DB_ARGS(db_i(k->artifact_id)));
    if (rc < 0 || n == (int64_t)HASH_COUNT(k->entries))
        return rc < 0 ? rc : 0;
    AUTO_BUF strays = {0};
    rc = db_query(c, e, &rows, "SELECT name FROM artifact_files WHERE artifact_id = $1",
                  DB_ARGS(db_i(k->artifact_id)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        struct str name = db_str(rows, 0);
        struct entry *entry = NULL;
        HASH_FIND(hh, k->entries, name.p, (unsigned)name.n, entry);
        if (!entry)
            rc = buf_append(&strays, name.p, name.n + 1); /* with its NUL */
    }
    for (size_t at = 0; rc >= 0 && at < strays.len; at += strlen(strays.data + at) + 1)
        rc = db_exec(c, e, "DELETE FROM artifact_files WHERE artifact_id = $1 AND name = $2",
                     DB_ARGS(db_i(k->artifact_id), db_t(strays.data + at)));
    return rc < 0 ? rc : 0;
}

/* They name `artifact`, which is the version at hand or the one that it becomes. */
static int apply_pending_aliases(struct commit *k, struct db_conn *c, int64_t sequence, int64_t artifact,
                                 const char *json, struct err *e)
{
    const char *at = json + 1, *end = json + strlen(json);
    struct json_item item;
    int rc = 0;
    while (rc >= 0 && (rc = json_next_element(&at, end, &item)) == 1) {
        AUTO_BUF alias = {0};
        if (item.value.n < 2 || json_unescape(&alias, str_make(item.value.p + 1, item.value.n - 2)) < 0)
            continue;
        rc = artifact_alias_set(c, sequence, buf_str(&alias), artifact, k->now_us, e);
    }
    return rc < 0 ? rc : 0;
}

/* The version in the collection that has this content: *id, or 0. The collection's row is taken first: who commits there
 * at the same time, on another server, is waited for. */
static int find_same(struct commit *k, struct db_conn *c, int64_t sequence, int64_t *id, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF lock = {0};
    *id = 0;
    if (k->merged)
        return 0;
    buf_printf(&lock, "SELECT id FROM artifact_collections WHERE id = $1%s", db_for_update(c));
    const char *text = buf_z(&lock);
    int rc = text ? db_first(c, e, &rows, text, DB_ARGS(db_i(sequence))) : err_set(e, TARE_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = db_get_int(c, e, id,
                        "SELECT s.id FROM artifacts a JOIN artifacts s ON s.sequence_id = a.sequence_id "
                        "AND s.digest = a.digest AND s.state = 'COMMITTED' WHERE a.id = $1 AND a.dedup = 1 "
                        "ORDER BY s.version_index DESC LIMIT 1",
                        DB_ARGS(db_i(k->artifact_id)));
    return rc < 0 ? rc : 0;
}

static int become(struct commit *k, struct db_conn *c, int64_t sequence, int64_t other, const char *aliases,
                  struct err *e)
{
    static const char *const steps[] = {
        "INSERT INTO artifact_tags (artifact_id, name, created_at) SELECT $2, name, created_at FROM artifact_tags "
        "WHERE artifact_id = $1 ON CONFLICT DO NOTHING",
        "INSERT INTO artifact_outputs (run_id, artifact_id, created_at) SELECT run_id, $2, created_at "
        "FROM artifact_outputs WHERE artifact_id = $1 ON CONFLICT DO NOTHING",
        "INSERT INTO artifact_uses (run_id, artifact_id, used_as, created_at) SELECT run_id, $2, used_as, created_at "
        "FROM artifact_uses WHERE artifact_id = $1 ON CONFLICT DO NOTHING",
        "DELETE FROM artifact_outputs WHERE artifact_id = $1 AND artifact_id <> $2",
        "DELETE FROM artifact_uses WHERE artifact_id = $1 AND artifact_id <> $2",
        "UPDATE artifacts SET merged_into = $2 WHERE id = $1",
    };
    int rc = apply_pending_aliases(k, c, sequence, other, aliases, e);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && rc >= 0; i++)
        rc = db_exec(c, e, steps[i], DB_ARGS(db_i(k->artifact_id), db_i(other)));
    return rc < 0 ? rc : artifact_delete(c, k->artifact_id, true, k->now_us, e);
}

static int write_version(struct commit *k, struct db_conn *c, int64_t sequence, struct err *e)
{
    int64_t index;
    char hash[21];
    random_id(hash, 20);
    int rc = db_get_int(c, e, &index,
                        "UPDATE artifact_collections SET next_index = next_index + 1, updated_at = $2 "
                        "WHERE id = $1 RETURNING next_index - 1",
                        DB_ARGS(db_i(sequence), db_i(k->now_us)));
    if (rc >= 0)
        rc = db_exec(c, e,
                     "UPDATE artifacts SET state = 'COMMITTED', version_index = $2, size_bytes = $3, "
                     "file_count = $4, committed_at = $5, updated_at = $5, git_commit = $6, digest = COALESCE($7, digest) "
                     "WHERE id = $1",
                     DB_ARGS(db_i(k->artifact_id), db_i(index), db_i(k->size_bytes),
                             db_i((int64_t)HASH_COUNT(k->entries)), db_i(k->now_us), db_t(hash),
                             *k->digest ? db_t(k->digest) : db_n()));
    if (rc >= 0)
        rc = db_exec(c, e,
                     "INSERT INTO artifact_memberships (collection_id, artifact_id, version_index, created_at) "
                     "VALUES ($1, $2, $3, $4)",
                     DB_ARGS(db_i(sequence), db_i(k->artifact_id), db_i(index), db_i(k->now_us)));
    return rc < 0 ? rc : 0;
}

static int commit_job(struct db_conn *c, void *arg, struct err *e)
{
    struct commit *k = arg;
    k->size_bytes = k->last_target = 0;
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows, "SELECT state, sequence_id, pending_aliases, merged_into FROM artifacts WHERE id = $1",
                      DB_ARGS(db_i(k->artifact_id)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no such artifact");
    if (strcmp(db_text(rows, 0), "COMMITTED") == 0 || !db_is_null(rows, 3))
        return 0; /* a repeated request */
    if (strcmp(db_text(rows, 0), "PENDING") != 0)
        return err_set(e, TARE_EINVAL, "the artifact has been deleted");
    int64_t sequence = db_int(rows, 1), same = 0;
    AUTO_FREE char *aliases = mem_strndup(db_text(rows, 2), strlen(db_text(rows, 2)));
    if (!aliases)
        return err_set(e, TARE_ENOMEM, "out of memory");
    rc = 0;
    for (struct entry *entry = k->entries; entry && rc >= 0; entry = entry->hh.next)
        rc = write_entry(k, c, &entry->e, e);
    if (rc >= 0)
        rc = drop_strays(k, c, e);
    if (rc >= 0)
        rc = find_same(k, c, sequence, &same, e);
    if (rc >= 0 && same)
        return become(k, c, sequence, same, aliases, e);
    if (rc >= 0)
        rc = write_version(k, c, sequence, e);
    if (rc >= 0)
        rc = apply_pending_aliases(k, c, sequence, k->artifact_id, aliases, e);
    if (rc >= 0)
        rc = artifact_alias_set(c, sequence, STR("latest"), k->artifact_id, k->now_us, e);
    if (rc >= 0 && k->merged)
        rc = blob_row_put(c, &k->manifest, k->now_us, e);
    if (rc >= 0 && k->merged)
        rc = db_exec(c, e,
                     "INSERT INTO artifact_manifests (artifact_id, name, kind, digest, blob, size_bytes, created_at) "
                     "VALUES ($1, 'wandb_manifest.json', 'FULL', $2, $3, $4, $5) ON CONFLICT (artifact_id, name) "
                     "DO UPDATE SET kind = 'FULL', digest = excluded.digest, blob = excluded.blob, "
                     "size_bytes = excluded.size_bytes",
                     DB_ARGS(db_i(k->artifact_id), db_t(k->manifest.md5), db_t(k->manifest.name),
                             db_i(k->manifest.size_bytes), db_i(k->now_us)));
    return rc < 0 ? rc : 0;
}

int artifact_commit(struct db *db, struct blobs *blobs, int64_t artifact_id, int64_t now_us,
                    struct err *e)
{
    struct commit k = {.blobs = blobs, .artifact_id = artifact_id, .now_us = now_us};
    arena_init(&k.arena, 0);
    struct db_conn *c;
    int64_t pending = 0;
    int rc = db_read_begin(db, &c, e);
    if (rc >= 0) {
        rc = db_get_int(c, e, &pending, "SELECT COUNT(*) FROM artifacts WHERE id = $1 AND state = 'PENDING'",
                        DB_ARGS(db_i(artifact_id)));
        if (rc >= 0 && pending)
            rc = read_manifests(&k, c, e);
        db_read_end(c);
    }
    if (rc >= 0 && k.merged)
        rc = write_merged(&k, e);
    if (rc >= 0)
        rc = db_write(db, commit_job, &k, e);
    HASH_CLEAR(hh, k.entries);
    arena_fini(&k.arena);
    return rc < 0 ? rc : 0;
}
