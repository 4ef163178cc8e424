/* SPDX-License-Identifier: MIT */
/* Aliases, links, deletion, and what nobody refers to any more; see artifact.h. */
#include "server/artifact/artifact.h"

#include "base/buf.h"
#include "base/number.h"

#include <string.h>

/* `v12` is 12; anything else is -1. */
static int64_t version_of(struct str alias)
{
    int64_t v;
    if (alias.n < 2 || alias.p[0] != 'v' || alias.p[1] == '-' ||
        number_parse_i64(alias.p + 1, alias.n - 1, &v) != alias.n - 1)
        return -1;
    return v;
}

int artifact_find(struct db_conn *c, int64_t collection_id, struct str alias, int64_t *artifact_id,
                  int64_t *version_index, struct err *e)
{
    static const char by_alias[] =
        "SELECT m.artifact_id, m.version_index FROM artifact_aliases l JOIN artifact_memberships m "
        "ON m.collection_id = l.collection_id AND m.artifact_id = l.artifact_id "
        "WHERE l.collection_id = $1 AND l.alias = $2";
    static const char by_index[] = "SELECT artifact_id, version_index FROM artifact_memberships "
                                   "WHERE collection_id = $1 AND version_index = $2";
    static const char newest[] = "SELECT artifact_id, version_index FROM artifact_memberships "
                                 "WHERE collection_id = $1 ORDER BY version_index DESC LIMIT 1";
    AUTO_ROWS struct db_rows *rows = NULL;
    int64_t index = version_of(alias);
    int rc = index >= 0 ? db_first(c, e, &rows, by_index, DB_ARGS(db_i(collection_id), db_i(index)))
                        : db_first(c, e, &rows, by_alias, DB_ARGS(db_i(collection_id), db_s(alias)));
    if (rc == 0 && str_eqz(alias, "latest")) {
        db_rows_end(rows);
        rows = NULL;
        rc = db_first(c, e, &rows, newest, DB_ARGS(db_i(collection_id)));
    }
    if (rc < 0)
        return rc;
    *artifact_id = rc == 1 ? db_int(rows, 0) : 0;
    if (version_index)
        *version_index = rc == 1 ? db_int(rows, 1) : -1;
    return 0;
}

int artifact_alias_set(struct db_conn *c, int64_t collection_id, struct str alias,
                       int64_t artifact_id, int64_t now_us, struct err *e)
{
    if (alias.n == 0 || alias.n > 256 || memchr(alias.p, '/', alias.n) || memchr(alias.p, ':', alias.n))
        return err_set(e, TARE_EINVAL, "'%.*s' cannot be an alias", STR_ARG(alias));
    if (version_of(alias) >= 0)
        return err_set(e, TARE_EINVAL, "the alias '%.*s' has the form of a version", STR_ARG(alias));
    int rc = db_exec(c, e,
                     "INSERT INTO artifact_aliases (collection_id, alias, artifact_id, created_at) "
                     "VALUES ($1, $2, $3, $4) ON CONFLICT (collection_id, alias) "
                     "DO UPDATE SET artifact_id = excluded.artifact_id, created_at = excluded.created_at",
                     DB_ARGS(db_i(collection_id), db_s(alias), db_i(artifact_id), db_i(now_us)));
    return rc < 0 ? rc : 0;
}

int artifact_alias_remove(struct db_conn *c, int64_t collection_id, struct str alias,
                          int64_t artifact_id, struct err *e)
{
    int rc = db_exec(c, e,
                     "DELETE FROM artifact_aliases WHERE collection_id = $1 AND alias = $2 AND artifact_id = $3",
                     DB_ARGS(db_i(collection_id), db_s(alias), db_i(artifact_id)));
    return rc < 0 ? rc : 0;
}

/* ---- links ---- */

/* The portfolio `name`: made on need, with the type of the version that is linked. */
static int find_portfolio(struct db_conn *c, int64_t artifact_id, int64_t project_id, struct str name,
                          int64_t user_id, int64_t now_us, int64_t *id, struct err *e)
{
    AUTO_ROWS struct db_rows *version = NULL, *rows = NULL;
    int rc = db_first(c, e, &version,
                      "SELECT t.name, a.state FROM artifacts a JOIN artifact_types t ON t.id = a.type_id "
                      "WHERE a.id = $1",
                      DB_ARGS(db_i(artifact_id)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no such artifact");
    if (strcmp(db_text(version, 1), "COMMITTED") != 0)
        return err_set(e, TARE_EINVAL, "only a committed artifact can be linked");
    rc = db_first(c, e, &rows,
                  "SELECT s.id, s.kind, t.name FROM artifact_collections s JOIN artifact_types t "
                  "ON t.id = s.type_id WHERE s.project_id = $1 AND s.name = $2",
                  DB_ARGS(db_i(project_id), db_s(name)));
    if (rc < 0)
        return rc;
    if (rc == 1) {
        *id = db_int(rows, 0);
        if (strcmp(db_text(rows, 1), "portfolio") != 0)
            return err_set(e, TARE_ECONFLICT, "'%.*s' is the name of an artifact sequence: choose another",
                           STR_ARG(name));
        if (strcmp(db_text(rows, 2), db_text(version, 0)) != 0)
            return err_set(e, TARE_ECONFLICT, "collection '%.*s' holds artifacts of type '%s', not '%s'",
                           STR_ARG(name), db_text(rows, 2), db_text(version, 0));
        return 0;
    }
    int64_t type;
    rc = db_exec(c, e,
                 "INSERT INTO artifact_types (project_id, name, created_at) VALUES ($1, $2, $3) "
                 "ON CONFLICT (project_id, name) DO NOTHING",
                 DB_ARGS(db_i(project_id), db_t(db_text(version, 0)), db_i(now_us)));
    if (rc >= 0)
        rc = db_get_int(c, e, &type, "SELECT id FROM artifact_types WHERE project_id = $1 AND name = $2",
                        DB_ARGS(db_i(project_id), db_t(db_text(version, 0))));
    if (rc >= 0)
        rc = db_get_int(c, e, id,
                        "INSERT INTO artifact_collections (project_id, type_id, kind, name, created_by, "
                        "created_at, updated_at) VALUES ($1, $2, 'portfolio', $3, $4, $5, $5) RETURNING id",
                        DB_ARGS(db_i(project_id), db_i(type), db_s(name), db_i_if(user_id > 0, user_id),
                                db_i(now_us)));
    return rc < 0 ? rc : 0;
}

int artifact_link(struct db_conn *c, int64_t artifact_id, int64_t project_id, struct str name,
                  const struct str *aliases, size_t n_aliases, int64_t user_id, int64_t now_us,
                  int64_t *collection_id, int64_t *version_index, struct err *e)
{
    int64_t id = 0, index = 0;
    int rc = find_portfolio(c, artifact_id, project_id, name, user_id, now_us, &id, e);
    if (rc >= 0)
        rc = db_get_int(c, e, &index,
                        "SELECT version_index FROM artifact_memberships WHERE collection_id = $1 AND artifact_id = $2",
                        DB_ARGS(db_i(id), db_i(artifact_id)));
    if (rc == 0) {
        rc = db_get_int(c, e, &index,
                        "UPDATE artifact_collections SET next_index = next_index + 1, updated_at = $2 "
                        "WHERE id = $1 RETURNING next_index - 1",
                        DB_ARGS(db_i(id), db_i(now_us)));
        if (rc >= 0)
            rc = db_exec(c, e,
                         "INSERT INTO artifact_memberships (collection_id, artifact_id, version_index, user_id, "
                         "created_at) VALUES ($1, $2, $3, $4, $5)",
                         DB_ARGS(db_i(id), db_i(artifact_id), db_i(index), db_i_if(user_id > 0, user_id),
                                 db_i(now_us)));
        if (rc >= 0)
            rc = artifact_alias_set(c, id, STR("latest"), artifact_id, now_us, e);
    }
    for (size_t i = 0; i < n_aliases && rc >= 0; i++)
        if (!str_eqz(aliases[i], "latest"))
            rc = artifact_alias_set(c, id, aliases[i], artifact_id, now_us, e);
    if (rc < 0)
        return rc;
    *collection_id = id;
    *version_index = index;
    return 0;
}

/* If `latest` named the version that left, it names the newest one that stays. */
static int mend_latest(struct db_conn *c, int64_t collection_id, int64_t now_us, struct err *e)
{
    int64_t id, has = 0;
    int rc = db_get_int(c, e, &has, "SELECT COUNT(*) FROM artifact_aliases WHERE collection_id = $1 AND alias = 'latest'",
                        DB_ARGS(db_i(collection_id)));
    if (rc < 0 || has)
        return rc < 0 ? rc : 0;
    rc = artifact_find(c, collection_id, STR("latest"), &id, NULL, e);
    return rc < 0 || id == 0 ? rc : artifact_alias_set(c, collection_id, STR("latest"), id, now_us, e);
}

static int leave_collection(struct db_conn *c, int64_t collection_id, int64_t artifact_id, int64_t now_us,
                            struct err *e)
{
    int rc = db_exec(c, e, "DELETE FROM artifact_aliases WHERE collection_id = $1 AND artifact_id = $2",
                     DB_ARGS(db_i(collection_id), db_i(artifact_id)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM artifact_memberships WHERE collection_id = $1 AND artifact_id = $2",
                     DB_ARGS(db_i(collection_id), db_i(artifact_id)));
    if (rc == 0)
        return err_set(e, TARE_ENOTFOUND, "the artifact is not in this collection");
    return rc < 0 ? rc : mend_latest(c, collection_id, now_us, e);
}

int artifact_unlink(struct db_conn *c, int64_t artifact_id, int64_t collection_id, struct err *e)
{
    int64_t portfolio = 0;
    int rc = db_get_int(c, e, &portfolio,
                        "SELECT COUNT(*) FROM artifact_collections WHERE id = $1 AND kind = 'portfolio'",
                        DB_ARGS(db_i(collection_id)));
    if (rc >= 0 && !portfolio)
        return err_set(e, TARE_EINVAL, "an artifact cannot be unlinked from the collection that it was logged to");
    return rc < 0 ? rc : leave_collection(c, collection_id, artifact_id, 0, e);
}

/* ---- deletion ---- */

int artifact_empty(struct db_conn *c, int64_t artifact_id, struct err *e)
{
    int64_t referrers = 0;
    int rc = db_get_int(c, e, &referrers,
                        "SELECT COUNT(*) FROM artifact_references r JOIN artifact_manifests m ON m.artifact_id = r.artifact_id "
                        "WHERE r.target_id = $1",
                        DB_ARGS(db_i(artifact_id)));
    if (rc < 0 || referrers)
        return rc < 0 ? rc : 0;
    static const char *const steps[] = {
        "DELETE FROM artifact_files WHERE artifact_id = $1",
        "DELETE FROM artifact_manifests WHERE artifact_id = $1",
        "DELETE FROM artifact_references WHERE artifact_id = $1",
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps && rc >= 0; i++)
        rc = db_exec(c, e, steps[i], DB_ARGS(db_i(artifact_id)));
    return rc < 0 ? rc : 0;
}

int artifact_delete(struct db_conn *c, int64_t artifact_id, bool with_aliases, int64_t now_us,
                    struct err *e)
{
    int64_t aliases = 0;
    int rc = db_get_int(c, e, &aliases,
                        "SELECT COUNT(*) FROM artifact_aliases WHERE artifact_id = $1 AND alias <> 'latest'",
                        DB_ARGS(db_i(artifact_id)));
    if (rc >= 0 && aliases && !with_aliases)
        return err_set(e, TARE_ECONFLICT, "the artifact has aliases: delete them too (delete_aliases=True)");
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF in = {0};
    if (rc >= 0)
        rc = db_query(c, e, &rows, "SELECT collection_id FROM artifact_memberships WHERE artifact_id = $1",
                      DB_ARGS(db_i(artifact_id)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        int64_t id = db_int(rows, 0);
        rc = buf_append(&in, &id, sizeof id);
    }
    for (size_t at = 0; rc >= 0 && at < in.len; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, in.data + at, sizeof id);
        rc = leave_collection(c, id, artifact_id, now_us, e);
    }
    static const char *const steps[] = {
        "DELETE FROM artifact_tags WHERE artifact_id = $1",
        "DELETE FROM upload_parts WHERE artifact_id = $1",
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps && rc >= 0; i++)
        rc = db_exec(c, e, steps[i], DB_ARGS(db_i(artifact_id)));
    if (rc >= 0)
        rc = artifact_empty(c, artifact_id, e);
    if (rc >= 0)
        rc = db_exec(c, e, "UPDATE artifacts SET state = 'DELETED', updated_at = $2 WHERE id = $1",
                     DB_ARGS(db_i(artifact_id), db_i(now_us)));
    return rc == 0 ? err_set(e, TARE_ENOTFOUND, "there is no such artifact") : rc < 0 ? rc : 0;
}

int artifact_ids(struct db_conn *c, const char *sql, int64_t arg, struct buf *ids, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows, sql, DB_ARGS(db_i(arg)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        int64_t id = db_int(rows, 0);
        rc = buf_append(ids, &id, sizeof id);
    }
    return rc;
}

int artifact_delete_all(struct db_conn *c, const struct buf *ids, int64_t now_us, struct err *e)
{
    int rc = 0;
    for (size_t at = 0; rc >= 0 && at < ids->len; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, ids->data + at, sizeof id);
        rc = artifact_delete(c, id, true, now_us, e);
    }
    return rc;
}

int artifact_delete_of_run(struct db_conn *c, int64_t run_id, int64_t now_us, struct err *e)
{
    AUTO_BUF versions = {0};
    int rc = artifact_ids(c,
                         "SELECT a.id FROM artifacts a JOIN artifact_collections s ON s.id = a.sequence_id "
                         "JOIN runs r ON r.id = a.run_id AND r.project_id = s.project_id "
                         "WHERE a.run_id = $1 AND a.state <> 'DELETED' AND NOT EXISTS (SELECT 1 FROM artifact_outputs o "
                         "JOIN runs other ON other.id = o.run_id AND other.deleted_at IS NULL "
                         "WHERE o.artifact_id = a.id AND o.run_id <> a.run_id)",
                         run_id, &versions, e);
    if (rc >= 0)
        rc = artifact_delete_all(c, &versions, now_us, e);
    return rc < 0 ? rc : 0;
}

int artifact_collection_delete(struct db_conn *c, int64_t collection_id, int64_t now_us,
                               struct err *e)
{
    AUTO_BUF versions = {0};
    int rc = artifact_ids(c,
                         "SELECT id FROM artifacts WHERE sequence_id = $1 AND state <> 'DELETED' AND EXISTS "
                         "(SELECT 1 FROM artifact_collections s WHERE s.id = sequence_id AND s.kind = 'sequence')",
                         collection_id, &versions, e);
    if (rc >= 0)
        rc = artifact_delete_all(c, &versions, now_us, e);
    static const char *const steps[] = {
        "DELETE FROM artifact_aliases WHERE collection_id = $1",
        "DELETE FROM artifact_memberships WHERE collection_id = $1",
        "DELETE FROM artifact_collection_tags WHERE collection_id = $1",
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps && rc >= 0; i++)
        rc = db_exec(c, e, steps[i], DB_ARGS(db_i(collection_id)));
    if (rc >= 0) /* the row stays for the deleted versions that point to it; its name is free again */
        rc = db_exec(c, e,
                     "UPDATE artifact_collections SET state = 'DELETED', client_id = NULL, updated_at = $2, "
                     "name = name || '/deleted/' || CAST(id AS TEXT) WHERE id = $1 AND state <> 'DELETED'",
                     DB_ARGS(db_i(collection_id), db_i(now_us)));
    return rc == 0 ? err_set(e, TARE_ENOTFOUND, "there is no such collection") : rc < 0 ? rc : 0;
}
