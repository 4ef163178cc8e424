/* SPDX-License-Identifier: MIT */
/* A version's way from creation to commit; see artifact.h. */
#include "server/artifact/artifact.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/path.h"
#include "base/random.h"
#include "base/xxh3.h"

#include <string.h>

enum { MAX_NAME = 512 };

/* ---- creation ---- */

static int check_name(struct str name, const char *what, struct err *e)
{
    if (name.n == 0 || name.n > MAX_NAME)
        return err_set(e, TARE_EINVAL, "the artifact's %s must have 1 to %d bytes", what, MAX_NAME);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < 0x20 || strchr("/\\:", name.p[i]))
            return err_set(e, TARE_EINVAL, "the artifact's %s '%.*s' has a character that is not allowed",
                           what, STR_ARG(name));
    return 0;
}

/* The row of the type, made on need. */
static int find_type(struct db_conn *c, int64_t project, struct str name, int64_t now, int64_t *id,
                     struct err *e)
{
    int rc = db_exec(c, e,
                     "INSERT INTO artifact_types (project_id, name, created_at) VALUES ($1, $2, $3) "
                     "ON CONFLICT (project_id, name) DO NOTHING",
                     DB_ARGS(db_i(project), db_s(name), db_i(now)));
    if (rc < 0)
        return rc;
    return db_get_int(c, e, id, "SELECT id FROM artifact_types WHERE project_id = $1 AND name = $2",
                      DB_ARGS(db_i(project), db_s(name)));
}

/* The row of a collection of this kind and type, made on need. */
static int find_collection(struct db_conn *c, int64_t project, int64_t type, const char *kind,
                           struct str name, int64_t user, int64_t now, int64_t *id, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows,
                      "SELECT id, type_id, kind FROM artifact_collections WHERE project_id = $1 AND name = $2",
                      DB_ARGS(db_i(project), db_s(name)));
    if (rc < 0)
        return rc;
    if (rc == 1) {
        *id = db_int(rows, 0);
        if (strcmp(db_text(rows, 2), kind) != 0)
            return err_set(e, TARE_ECONFLICT, "'%.*s' is already the name of an artifact %s",
                           STR_ARG(name), kind[0] == 's' ? "portfolio" : "sequence");
        if (db_int(rows, 1) != type)
            return err_set(e, TARE_ECONFLICT, "artifact collection '%.*s' has another type", STR_ARG(name));
        return 0;
    }
    rc = db_get_int(c, e, id,
                    "INSERT INTO artifact_collections (project_id, type_id, kind, name, created_by, "
                    "created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id",
                    DB_ARGS(db_i(project), db_i(type), db_t(kind), db_s(name), db_i_if(user > 0, user),
                            db_i(now)));
    return rc < 0 ? rc : 0;
}

static int read_latest(struct db_conn *c, struct artifact_made *made, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows,
                      "SELECT id, version_index FROM artifacts WHERE sequence_id = $1 AND state = 'COMMITTED' "
                      "ORDER BY version_index DESC LIMIT 1",
                      DB_ARGS(db_i(made->sequence_id)));
    if (rc == 1) {
        made->latest_id = db_int(rows, 0);
        made->latest_index = db_int(rows, 1);
    }
    return rc < 0 ? rc : 0;
}

/* The names as a JSON list: what commit will apply. */
static int names_json(const struct str *names, size_t n, struct buf *to)
{
    buf_putc(to, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(to, ',');
        json_put_string(to, names[i]);
    }
    return buf_putc(to, ']');
}

static int add_output(struct db_conn *c, int64_t run, int64_t artifact, int64_t now, struct err *e)
{
    if (run <= 0)
        return 0;
    int rc = db_exec(c, e,
                     "INSERT INTO artifact_outputs (run_id, artifact_id, created_at) VALUES ($1, $2, $3) "
                     "ON CONFLICT (run_id, artifact_id) DO NOTHING",
                     DB_ARGS(db_i(run), db_i(artifact), db_i(now)));
    return rc < 0 ? rc : 0;
}

static int add_tags(struct db_conn *c, int64_t artifact, const struct str *tags, size_t n, int64_t now,
                    struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        int rc = db_exec(c, e,
                         "INSERT INTO artifact_tags (artifact_id, name, created_at) VALUES ($1, $2, $3) "
                         "ON CONFLICT (artifact_id, name) DO NOTHING",
                         DB_ARGS(db_i(artifact), db_s(tags[i]), db_i(now)));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A version that stands already and will do: the committed one with the same digest, or the pending
 * one that other members of a distributed save are filling, or that this client has made before under the
 * same id of its own (a request sent again). *id = 0 if there is none. */
static int find_existing(struct db_conn *c, const struct artifact_spec *spec, struct artifact_made *made,
                         struct err *e)
{
    int rc = 0;
    made->id = 0;
    if (spec->distributed_id.n)
        rc = db_get_int(c, e, &made->id,
                        "SELECT id FROM artifacts WHERE sequence_id = $1 AND distributed_id = $2 "
                        "AND state = 'PENDING'",
                        DB_ARGS(db_i(made->sequence_id), db_s(spec->distributed_id)));
    else if (spec->client_id.n)
        rc = db_get_int(c, e, &made->id,
                        "SELECT id FROM artifacts WHERE sequence_id = $1 AND client_id = $2 AND digest = $3 "
                        "AND state = 'PENDING'",
                        DB_ARGS(db_i(made->sequence_id), db_s(spec->client_id), db_s(spec->digest)));
    if (rc == 0 && spec->client_id.n && !spec->distributed_id.n) {
        rc = db_get_int(c, e, &made->id,
                        "SELECT id FROM artifacts WHERE sequence_id = $1 AND client_id = $2 AND state = 'COMMITTED' LIMIT 1",
                        DB_ARGS(db_i(made->sequence_id), db_s(spec->client_id)));
        made->committed = rc == 1;
    }
    if (rc == 0 && spec->dedup && !spec->distributed_id.n) {
        rc = db_get_int(c, e, &made->id,
                        "SELECT id FROM artifacts WHERE sequence_id = $1 AND digest = $2 "
                        "AND state = 'COMMITTED' ORDER BY version_index DESC LIMIT 1",
                        DB_ARGS(db_i(made->sequence_id), db_s(spec->digest)));
        made->committed = rc == 1;
    }
    return rc < 0 ? rc : 0;
}

static int insert_version(struct db_conn *c, const struct artifact_spec *spec, int64_t type, int64_t now,
                          struct artifact_made *made, struct err *e)
{
    AUTO_BUF aliases = {0};
    if (names_json(spec->aliases, spec->n_aliases, &aliases) < 0)
        return err_set(e, TARE_ENOMEM, "out of memory");
    struct str algorithm = spec->digest_algorithm.n ? spec->digest_algorithm : STR("MANIFEST_MD5");
    int rc = db_get_int(
        c, e, &made->id,
        "INSERT INTO artifacts (sequence_id, type_id, digest, digest_algorithm, client_id, distributed_id, "
        "description, metadata, ttl_s, history_step, storage_region, pending_aliases, run_id, user_id, "
        "created_at, updated_at, dedup) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
        "$15, $15, $16) RETURNING id",
        DB_ARGS(db_i(made->sequence_id), db_i(type), db_s(spec->digest), db_s(algorithm),
                db_s(spec->client_id), db_s(spec->distributed_id), db_s(spec->description),
                db_s(spec->metadata), db_i(spec->ttl_s), db_i_if(spec->history_step >= 0, spec->history_step),
                db_s(spec->region), db_s(buf_str(&aliases)), db_i_if(spec->run_id > 0, spec->run_id),
                db_i_if(spec->user_id > 0, spec->user_id), db_i(now),
                db_i(spec->dedup && !spec->distributed_id.n)));
    return rc < 0 ? rc : 0;
}

/* Aliases of a version that is committed already: they move to it now. */
static int apply_aliases(struct db_conn *c, int64_t collection, int64_t artifact, const struct str *names,
                         size_t n, int64_t now, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        int rc = artifact_alias_set(c, collection, names[i], artifact, now, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int artifact_create(struct db_conn *c, const struct artifact_spec *spec, int64_t now_us,
                    struct artifact_made *made, struct err *e)
{
    struct artifact_made m = {0};
    int64_t type;
    int rc = check_name(spec->collection, "name", e);
    if (rc == 0)
        rc = check_name(spec->type, "type", e);
    if (rc == 0)
        rc = find_type(c, spec->project_id, spec->type, now_us, &type, e);
    if (rc >= 0)
        rc = find_collection(c, spec->project_id, type, "sequence", spec->collection, spec->user_id, now_us,
                             &m.sequence_id, e);
    if (rc >= 0 && spec->sequence_client_id.n)
        rc = db_exec(c, e, "UPDATE artifact_collections SET client_id = $2 WHERE id = $1",
                     DB_ARGS(db_i(m.sequence_id), db_s(spec->sequence_client_id)));
    if (rc >= 0)
        rc = find_existing(c, spec, &m, e);
    if (rc >= 0 && m.id && spec->client_id.n)
        rc = db_exec(c, e, "UPDATE artifacts SET client_id = $2 WHERE id = $1",
                     DB_ARGS(db_i(m.id), db_s(spec->client_id)));
    if (rc >= 0 && !m.id)
        rc = insert_version(c, spec, type, now_us, &m, e);
    if (rc >= 0)
        rc = add_tags(c, m.id, spec->tags, spec->n_tags, now_us, e);
    if (rc >= 0 && m.committed)
        rc = apply_aliases(c, m.sequence_id, m.id, spec->aliases, spec->n_aliases, now_us, e);
    if (rc >= 0)
        rc = add_output(c, spec->run_id, m.id, now_us, e);
    if (rc >= 0)
        rc = read_latest(c, &m, e);
    if (rc < 0)
        return rc;
    *made = m;
    return 0;
}

/* ---- what arrives ---- */

/* That a blob is not removed while a reference to it is on its way is between its row and these rules,
 * since other servers may remove and refer to the same blobs:
 *
 *   - who refers to a blob holds its row until the reference is committed (on SQLite there is one writer);
 *   - who removes takes the row for itself, looks for references then, and removes row and bytes before
 *     it lets go (collection.c);
 *   - so a row that had to be made although the bytes were there already comes after a removal, which may
 *     have been that of these bytes: they are looked at once more. */

static int gone_meanwhile(const struct blob_info *blob, struct err *e)
{
    return err_set(e, TARE_EIO, "the file's bytes (%.12s…) were removed meanwhile: try again", blob->name);
}

static int check_kept(const struct blob_info *blob, struct err *e)
{
    int rc = blob->fresh || !blob->store ? 1 : blob_exists(blob->store, blob->name, e);
    return rc < 0 ? rc : rc ? 0 : gone_meanwhile(blob, e);
}

/* 1: the row is there, and stays until the end of this job. */
static int hold_blob(struct db_conn *c, const char *name, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF sql = {0};
    buf_printf(&sql, "SELECT name FROM blobs WHERE name = $1%s", db_for_reference(c));
    const char *text = buf_z(&sql);
    return text ? db_first(c, e, &rows, text, DB_ARGS(db_t(name))) : err_set(e, TARE_ENOMEM, "out of memory");
}

int blob_row_put(struct db_conn *c, const struct blob_info *blob, int64_t now_us, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        int rc = db_exec(c, e,
                         "INSERT INTO blobs (name, size_bytes, md5, xxh128, created_at) VALUES ($1, $2, $3, $4, $5) "
                         "ON CONFLICT (name) DO NOTHING",
                         DB_ARGS(db_t(blob->name), db_i(blob->size_bytes), db_t(blob->md5), db_t(blob->xxh128),
                                 db_i(now_us)));
        if (rc == 1)
            return check_kept(blob, e);
        if (rc == 0)
            rc = hold_blob(c, blob->name, e);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return gone_meanwhile(blob, e);
}

int artifact_manifest_put(struct db_conn *c, int64_t artifact_id, struct str name,
                          enum artifact_manifest_kind kind, int64_t base_artifact_id,
                          struct str writer, struct str digest, int64_t now_us,
                          int64_t *manifest_id, struct err *e)
{
    static const char *const kinds[] = {"FULL", "INCREMENTAL", "PATCH"};
    AUTO_BUF key = {0};
    buf_put_str(&key, name);
    if (kind == MANIFEST_PATCH) { /* of any two one is new, also by the same writer (commit.c reads this name) */
        char unique[ARTIFACT_PATCH_ID + 1];
        random_id(unique, ARTIFACT_PATCH_ID);
        buf_putc(&key, ':');
        buf_put_str(&key, writer);
        buf_putc(&key, ':');
        buf_puts(&key, unique);
    }
    if (key.failed)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = db_get_int(c, e, manifest_id,
                        "INSERT INTO artifact_manifests (artifact_id, name, kind, base_artifact_id, digest, "
                        "created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (artifact_id, name) "
                        "DO UPDATE SET digest = excluded.digest, kind = excluded.kind, "
                        "base_artifact_id = excluded.base_artifact_id RETURNING id",
                        DB_ARGS(db_i(artifact_id), db_s(buf_str(&key)), db_t(kinds[kind]),
                                db_i_if(base_artifact_id > 0, base_artifact_id), db_s(digest), db_i(now_us)));
    return rc < 0 ? rc : 0;
}

/* A version that is committed does not change; the same bytes once more are no change. */
#define IS_PENDING "(SELECT a.state FROM artifacts a WHERE a.id = artifact_id) = 'PENDING'"

static int refuse_committed(struct err *e)
{
    return err_set(e, TARE_EINVAL, "the artifact is committed: its files cannot change");
}

int artifact_manifest_stored(struct db_conn *c, int64_t manifest_id, const struct blob_info *blob,
                             int64_t now_us, struct err *e)
{
    int64_t n = 0;
    int rc = blob_row_put(c, blob, now_us, e);
    if (rc < 0)
        return rc;
    rc = db_exec(c, e, "UPDATE artifact_manifests SET blob = $2, size_bytes = $3 WHERE id = $1 AND (blob = $2 OR " IS_PENDING ")",
                 DB_ARGS(db_i(manifest_id), db_t(blob->name), db_i(blob->size_bytes)));
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = db_get_int(c, e, &n, "SELECT count(*) FROM artifact_manifests WHERE id = $1", DB_ARGS(db_i(manifest_id)));
    return rc < 0 ? rc : n ? refuse_committed(e) : err_set(e, TARE_ENOTFOUND, "there is no such manifest");
}

int artifact_find_bytes(struct db_conn *c, int64_t artifact_id, struct str digest,
                        struct db_rows **rows, struct err *e)
{
    int rc = db_first(c, e, rows,
                      "SELECT f.blob, f.size_bytes, f.artifact_id FROM artifact_files f "
                      "JOIN artifacts a ON a.id = f.artifact_id "
                      "JOIN artifact_collections s ON s.id = a.sequence_id "
                      "JOIN projects p ON p.id = s.project_id "
                      "WHERE f.digest = $1 AND f.blob IS NOT NULL AND a.state <> 'DELETED' AND p.entity_id = ("
                      "  SELECT p2.entity_id FROM artifacts a2 "
                      "  JOIN artifact_collections s2 ON s2.id = a2.sequence_id "
                      "  JOIN projects p2 ON p2.id = s2.project_id WHERE a2.id = $2) "
                      "ORDER BY f.artifact_id LIMIT 1",
                      DB_ARGS(db_s(digest), db_i(artifact_id)));
    if (rc != 1 || (rc = hold_blob(c, db_text(*rows, 0), e)) == 1)
        return rc;
    db_rows_end(*rows);
    *rows = NULL;
    return rc;
}

int artifact_file_put(struct db_conn *c, int64_t artifact_id, struct str name, struct str digest,
                      struct str mimetype, int64_t now_us, struct artifact_file_place *place,
                      struct err *e)
{
    if (!path_is_safe(name))
        return err_set(e, TARE_EINVAL, "an artifact cannot hold a file named '%.*s'", STR_ARG(name));
    AUTO_ROWS struct db_rows *have = NULL;
    int rc = artifact_find_bytes(c, artifact_id, digest, &have, e);
    if (rc < 0)
        return rc;
    struct artifact_file_place p = {.have = rc == 1, .birth_id = rc == 1 ? db_int(have, 2) : artifact_id};
    rc = db_exec(c, e,
                 "INSERT INTO artifact_files (artifact_id, name, digest, size_bytes, blob, birth_artifact_id, "
                 "mimetype, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
                 "ON CONFLICT (artifact_id, name) DO UPDATE SET digest = excluded.digest, "
                 "size_bytes = excluded.size_bytes, blob = excluded.blob, "
                 "birth_artifact_id = excluded.birth_artifact_id",
                 DB_ARGS(db_i(artifact_id), db_s(name), db_s(digest), db_i(p.have ? db_int(have, 1) : 0),
                         p.have ? db_t(db_text(have, 0)) : db_n(), db_i(p.birth_id), db_s(mimetype),
                         db_i(now_us)));
    if (rc < 0)
        return rc;
    *place = p;
    return 0;
}

/* Why nothing was updated. */
static int explain_refusal(struct db_conn *c, int64_t artifact_id, struct str name, const struct blob_info *blob, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows,
                      "SELECT digest, CASE WHEN " IS_PENDING " THEN 1 ELSE 0 END FROM artifact_files "
                      "WHERE artifact_id = $1 AND name = $2",
                      DB_ARGS(db_i(artifact_id), db_s(name)));
    if (rc == 0)
        return err_set(e, TARE_ENOTFOUND, "the artifact has no file '%.*s'", STR_ARG(name));
    if (rc < 0 || !db_int(rows, 1))
        return rc < 0 ? rc : refuse_committed(e);
    return err_set(e, TARE_ECONFLICT, "the file '%.*s' has MD5 %s, announced was %s", STR_ARG(name), blob->md5, db_text(rows, 0));
}

/* The digest that was announced is by which others may be given these bytes (artifact_find_bytes): it must be theirs. */
int artifact_file_stored(struct db_conn *c, int64_t artifact_id, struct str name,
                         const struct blob_info *blob, int64_t now_us, struct err *e)
{
    uint8_t raw[XXH128_BYTES];
    char xxh[2 * XXH128_BYTES] = "";
    int rc = blob_row_put(c, blob, now_us, e);
    if (rc < 0)
        return rc;
    if (digest_from_hex(raw, sizeof raw, str_of(blob->xxh128)))
        base64_text(xxh, raw, sizeof raw);
    rc = db_exec(c, e,
                 "UPDATE artifact_files SET blob = $3, size_bytes = $4 WHERE artifact_id = $1 AND name = $2 "
                 "AND (length(digest) <> 24 OR digest IN ($5, $6)) AND (blob = $3 OR " IS_PENDING ")",
                 DB_ARGS(db_i(artifact_id), db_s(name), db_t(blob->name), db_i(blob->size_bytes), db_t(blob->md5),
                         db_t(xxh)));
    return rc == 0 ? explain_refusal(c, artifact_id, name, blob, e) : rc < 0 ? rc : 0;
}
