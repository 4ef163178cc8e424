/* SPDX-License-Identifier: MIT */
/* What is left over: versions whose time is over, saves that were given up, and blobs that nothing refers to. */
#include "server/artifact/artifact.h"

#include "base/buf.h"

#include <string.h>

/* A pending version to which nothing came for so long is never finished: an upload that is resumed, or the members of
 * a distributed save, come earlier. */
static const int64_t given_up_after_us = INT64_C(7) * 24 * 3600 * 1000000;

struct collect {
    int64_t now_us;
    struct blobs *blobs;
    struct buf names; /* blobs without a reference, NUL after each */
    size_t from, to;  /* those that the next job removes */
    int64_t freed;
};
enum { REMOVED_TOGETHER = 4 }; /* their bytes are removed on the writer's thread */

#define UNREFERENCED                                                                                   \
    "NOT EXISTS (SELECT 1 FROM artifact_files f WHERE f.blob = b.name) AND "                           \
    "NOT EXISTS (SELECT 1 FROM artifact_manifests m WHERE m.blob = b.name) AND "                       \
    "NOT EXISTS (SELECT 1 FROM files r WHERE r.blob = b.name) AND "                                    \
    "NOT EXISTS (SELECT 1 FROM upload_parts u WHERE u.storage_path = b.name)"

/* Versions that somebody has named (but for `latest`, which all get) or linked stay until that is undone. The time is
 * tested as a quotient: ttl_s is the client's, and may be any number. */
static const char expired[] =
    "SELECT a.id FROM artifacts a JOIN artifact_collections s ON s.id = a.sequence_id "
    "WHERE a.state = 'COMMITTED' AND (CASE WHEN a.ttl_s = -1 THEN s.ttl_s ELSE a.ttl_s END) > 0 "
    "AND ($1 - a.created_at) / 1000000 >= (CASE WHEN a.ttl_s = -1 THEN s.ttl_s ELSE a.ttl_s END) "
    "AND NOT EXISTS (SELECT 1 FROM artifact_aliases l WHERE l.artifact_id = a.id AND l.alias <> 'latest') "
    "AND NOT EXISTS (SELECT 1 FROM artifact_memberships m WHERE m.artifact_id = a.id AND m.collection_id <> a.sequence_id)";

static const char given_up[] =
    "SELECT a.id FROM artifacts a WHERE a.state = 'PENDING' AND a.updated_at < $1 "
    "AND NOT EXISTS (SELECT 1 FROM artifact_files f WHERE f.artifact_id = a.id AND f.created_at >= $1) "
    "AND NOT EXISTS (SELECT 1 FROM artifact_manifests m WHERE m.artifact_id = a.id AND m.created_at >= $1)";

/* Deleted, but another version referred to their files: does one still? */
static const char deleted_but_kept[] =
    "SELECT DISTINCT a.id FROM artifact_manifests m JOIN artifacts a ON a.id = m.artifact_id "
    "WHERE a.state = 'DELETED' AND a.updated_at <= $1";

static int expire_job(struct db_conn *c, void *arg, struct err *e)
{
    struct collect *k = arg;
    AUTO_BUF ids = {0};
    AUTO_BUF kept = {0};
    buf_clear(&k->names);
    int rc = artifact_ids(c, expired, k->now_us, &ids, e);
    if (rc >= 0)
        rc = artifact_ids(c, given_up, k->now_us - given_up_after_us, &ids, e);
    if (rc >= 0)
        rc = artifact_delete_all(c, &ids, k->now_us, e);
    if (rc >= 0)
        rc = artifact_ids(c, deleted_but_kept, k->now_us, &kept, e);
    for (size_t at = 0; rc >= 0 && at < kept.len; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, kept.data + at, sizeof id);
        rc = artifact_empty(c, id, e);
    }
    AUTO_ROWS struct db_rows *rows = NULL;
    if (rc >= 0)
        rc = db_query(c, e, &rows, "SELECT b.name FROM blobs b WHERE " UNREFERENCED " ORDER BY b.name", DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        rc = buf_append(&k->names, db_text(rows, 0), strlen(db_text(rows, 0)) + 1);
    return rc < 0 ? rc : 0;
}

/* The row is taken before references are looked for (why: version.c). Bytes go before the commit: if the
 * process dies between, the row is left, and the next round removes it. */
static int remove_one(struct collect *k, struct db_conn *c, const char *name, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF sql = {0};
    buf_printf(&sql, "SELECT name FROM blobs WHERE name = $1%s", db_for_update(c));
    const char *text = buf_z(&sql);
    int rc = text ? db_first(c, e, &rows, text, DB_ARGS(db_t(name))) : TARE_ENOMEM;
    if (rc == 1)
        rc = db_exec(c, e, "DELETE FROM blobs AS b WHERE b.name = $1 AND " UNREFERENCED, DB_ARGS(db_t(name)));
    if (rc != 1)
        return rc;
    k->freed += blob_size(k->blobs, name);
    return blob_delete(k->blobs, name, e);
}

static int remove_job(struct db_conn *c, void *arg, struct err *e)
{
    struct collect *k = arg;
    int rc = 0;
    for (size_t at = k->from; rc >= 0 && at < k->to; at += strlen(k->names.data + at) + 1)
        rc = remove_one(k, c, k->names.data + at, e);
    return rc < 0 ? rc : 0;
}

int artifact_collect(struct db *db, struct blobs *blobs, int64_t now_us, int64_t *freed_bytes,
                     struct err *e)
{
    struct collect k = {.now_us = now_us, .blobs = blobs};
    int rc = db_write(db, expire_job, &k, e);
    while (rc >= 0 && k.to < k.names.len) {
        k.from = k.to;
        for (int i = 0; i < REMOVED_TOGETHER && k.to < k.names.len; i++)
            k.to += strlen(k.names.data + k.to) + 1;
        rc = db_write(db, remove_job, &k, e);
    }
    buf_fini(&k.names);
    if (freed_bytes)
        *freed_bytes = k.freed;
    return rc < 0 ? rc : 0;
}
