/* SPDX-License-Identifier: MIT */
/* The schema's versions, forward only.
 *
 * Table schema_versions says which migrations a database has had. Those it lacks are run in order, all
 * in one transaction together with their rows in the table: a kill leaves the old schema or the new. A new
 * SQLite file usually comes with all of them (image.h). Where it does not, the first start does not wait for
 * the disk here: the first thing that is written afterwards does, and SQLite's log is a whole up to there or
 * not at all. */
#include "server/store/db_engine.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/diag.h"

#include <stdio.h>
#include <string.h>

static bool is_new(struct db_conn *c)
{
    const char *sql = c->ops->engine == DB_SQLITE
                          ? "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_versions'"
                          : "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'schema_versions'"
                            " AND table_schema = current_schema()";
    int64_t n = 0;
    return db_get_int(c, NULL, &n, sql, DB_NONE) == 1 && n == 0;
}

static int current_version(struct db_conn *c, int64_t *version, struct err *e)
{
    *version = 0;
    if (is_new(c))
        return 0;
    int rc = db_get_int(c, e, version, "SELECT MAX(version) FROM schema_versions", DB_NONE);
    return rc < 0 ? rc : 0;
}

/* The text with @KEY@ in the engine's words. */
static int in_dialect(const struct db_conn *c, const char *sql, struct buf *to)
{
    static const char key[] = "@KEY@";
    const char *at;
    while ((at = strstr(sql, key)) != NULL) {
        buf_append(to, sql, (size_t)(at - sql));
        buf_puts(to, c->ops->key_type);
        sql = at + sizeof key - 1;
    }
    return buf_puts(to, sql);
}

static int apply(struct db_conn *c, const struct db_migration *m, struct err *e)
{
    AUTO_BUF sql = {0};
    in_dialect(c, m->sql, &sql);
    const char *text = buf_z(&sql);
    if (!text)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = c->ops->script(c, text, e);
    if (rc >= 0)
        rc = db_exec(c, e, "INSERT INTO schema_versions (version, name, applied_at) VALUES ($1, $2, $3)",
                     DB_ARGS(db_i(m->version), db_t(m->name), db_i(clock_wall_ns() / 1000)));
    return rc < 0 ? err_prefix(e, "migration %s: ", m->name) : 0;
}

static int apply_all(struct db_conn *c, int64_t version, struct err *e)
{
    int rc = c->ops->begin(c, true, e);
    if (rc)
        return rc;
    rc = c->ops->script(c, db_versions_table, e);
    for (int i = 0; i < db_n_migrations && rc == 0; i++)
        if (db_migrations[i].version > version)
            rc = apply(c, &db_migrations[i], e);
    if (rc == 0)
        rc = c->ops->commit(c, e);
    if (rc < 0)
        c->ops->rollback(c);
    return rc;
}

static int apply_missing(struct db_conn *c, int64_t version, struct err *e)
{
    if (c->ops->engine != DB_SQLITE)
        return apply_all(c, version, e);
    int rc = version ? 0 : c->ops->script(c, "PRAGMA synchronous=OFF", e);
    if (rc == 0)
        rc = apply_all(c, version, e);
    int after = c->ops->script(c, "PRAGMA synchronous=FULL; PRAGMA shrink_memory", rc ? NULL : e);
    return rc ? rc : after;
}

static int keep_copy(struct db_conn *c, const char *path, int64_t version, struct err *e)
{
    if (strncmp(path, "sqlite:", 7) == 0)
        path += 7;
    AUTO_BUF to = {0};
    buf_printf(&to, "%s.before-%lld", path, (long long)version + 1);
    const char *name = buf_z(&to);
    if (!name)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = c->ops->copy(c, name, e);
    return rc == TARE_EEXIST ? 0 : rc; /* kept by an attempt that did not finish */
}

int db_migrate(struct db_conn *c, const char *path, bool refuse, struct err *e)
{
    int64_t version;
    int rc = current_version(c, &version, e);
    if (rc)
        return rc;
    int newest = db_migrations[db_n_migrations - 1].version;
    if (version > newest)
        return err_set(e, TARE_EUNSUPPORTED,
                       "the database has schema %lld, this program knows %d: it was used by a newer version",
                       (long long)version, newest);
    if (version == newest)
        return 0;
    if (refuse)
        return err_set(e, TARE_EUNSUPPORTED, "the database has schema %lld and needs %d",
                       (long long)version, newest);
    if (version > 0 && path)
        rc = keep_copy(c, path, version, e);
    return rc < 0 ? rc : apply_missing(c, version, e);
}
