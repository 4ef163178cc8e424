/* SPDX-License-Identifier: MIT */
/* Rules are settings named retention/<id of the project>, whose value is the number of days. A run that was emptied
 * has stored_bytes -1. Its row stays: artifacts say which run made them. */
#include "server/store/retention.h"

#include "base/buf.h"
#include "base/clock.h"
#include "server/store/console.h"
#include "server/store/history.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAX_RUNS = 64 };
static const int64_t day_us = INT64_C(86400) * 1000000;

#define ENDED "('finished', 'failed', 'crashed', 'killed', 'preempted')"

int retention_set(struct db_conn *c, const char *entity, const char *project, int64_t days, struct err *e)
{
    char name[64], value[32];
    int64_t id;
    int rc = db_get_int(c, e, &id,
                        "SELECT p.id FROM projects p JOIN entities e ON e.id = p.entity_id "
                        "WHERE e.name = $1 AND p.name = $2 AND p.deleted_at IS NULL",
                        DB_ARGS(db_t(entity), db_t(project)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no project %s/%s", entity, project);
    snprintf(name, sizeof name, "retention/%" PRId64, id);
    snprintf(value, sizeof value, "%" PRId64, days);
    rc = db_exec(c, e, "DELETE FROM settings WHERE name = $1", DB_ARGS(db_t(name)));
    if (rc >= 0 && days > 0)
        rc = db_exec(c, e, "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)",
                     DB_ARGS(db_t(name), db_t(value), db_i(clock_wall_ns() / 1000)));
    return rc < 0 ? rc : 0;
}

#define RULES                                                                                    \
    "FROM settings s JOIN projects p ON s.name = 'retention/' || CAST(p.id AS TEXT) "            \
    "JOIN entities e ON e.id = p.entity_id WHERE p.deleted_at IS NULL"

int retention_list(struct db_conn *c, void (*each)(void *arg, const char *entity, const char *project, int64_t days),
                   void *arg, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows, "SELECT e.name, p.name, CAST(s.value AS BIGINT) " RULES " ORDER BY 1, 2", DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        each(arg, db_text(rows, 0), db_text(rows, 1), db_int(rows, 2));
    return rc;
}

/* ---- the round ---- */

struct round {
    int64_t now_us, run;
};

#define IS_OVER                                                                                            \
    "deleted_at IS NULL AND state IN " ENDED " AND EXISTS (SELECT 1 FROM settings s "                      \
    "WHERE s.name = 'retention/' || CAST(runs.project_id AS TEXT) "                                        \
    "AND runs.heartbeat_at < $1 - CAST(s.value AS BIGINT) * $2)"

static int expire_job(struct db_conn *c, void *arg, struct err *e)
{
    struct round *r = arg;
    return db_exec(c, e,
                   "UPDATE runs SET deleted_at = $1, name = name || '/' || CAST(id AS TEXT) WHERE " IS_OVER,
                   DB_ARGS(db_i(r->now_us), db_i(day_us)));
}

/* Ask before writing: mostly there is nothing to do. */
static int expire(struct db *db, struct round *r, struct err *e)
{
    struct db_conn *c;
    int64_t rules = 0;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &rules, "SELECT COUNT(*) FROM settings WHERE name LIKE 'retention/%'", DB_NONE);
    if (rc >= 0 && rules)
        rc = db_get_int(c, e, &rules, "SELECT COUNT(*) FROM runs WHERE " IS_OVER,
                        DB_ARGS(db_i(r->now_us), db_i(day_us)));
    db_read_end(c);
    return rc < 0 || !rules ? rc : db_write(db, expire_job, r, e);
}

static int empty_job(struct db_conn *c, void *arg, struct err *e)
{
    struct round *r = arg;
    int rc = 0;
    for (int stream = 0; stream < HISTORY_STREAMS && rc >= 0; stream++)
        rc = history_clear(c, r->run, (enum history_stream)stream, e);
    if (rc >= 0)
        rc = console_clear(c, r->run, e);
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM files WHERE run_id = $1", DB_ARGS(db_i(r->run)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM alerts WHERE run_id = $1", DB_ARGS(db_i(r->run)));
    if (rc >= 0)
        rc = db_exec(c, e, "UPDATE runs SET stored_bytes = -1, config = '{}', summary = '{}' WHERE id = $1",
                     DB_ARGS(db_i(r->run)));
    return rc;
}

int retention_round(struct db *db, int64_t now_us, int max, struct err *e)
{
    struct round r = {.now_us = now_us};
    struct db_conn *c;
    int64_t runs[MAX_RUNS];
    int n = 0, rc = expire(db, &r, e);
    if (rc >= 0)
        rc = db_read_begin(db, &c, e);
    if (rc < 0)
        return rc;
    struct db_rows *rows = NULL;
    rc = db_query(c, e, &rows, "SELECT id FROM runs WHERE deleted_at IS NOT NULL AND stored_bytes >= 0 LIMIT $1",
                  DB_ARGS(db_i(max < MAX_RUNS ? max : MAX_RUNS)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        runs[n++] = db_int(rows, 0);
    db_rows_end(rows);
    db_read_end(c);
    for (int i = 0; i < n && rc >= 0; i++) {
        r.run = runs[i];
        rc = db_write(db, empty_job, &r, e);
    }
    return rc < 0 ? rc : n;
}
