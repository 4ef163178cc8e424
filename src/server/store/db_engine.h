/* SPDX-License-Identifier: MIT */
/* What an engine gives to db.c. A connection and a running query begin with the structs below. */
#ifndef TARE_SERVER_STORE_DB_ENGINE_H
#define TARE_SERVER_STORE_DB_ENGINE_H

#include "server/store/db.h"

struct db_engine_ops;

struct db_conn {
    const struct db_engine_ops *ops;
    struct db *db;
    struct db_conn *next;    /* in the pool */
    struct db_conn *next_open, *prev_open; /* of all readers, idle or not; under the pool's lock */
    struct db_rows *running; /* queries not yet ended, ended with the transaction */
};

struct db_rows {
    struct db_conn *conn;
    struct db_rows *next, **prev; /* in conn->running */
};

struct db_engine_ops {
    enum db_engine engine;
    const char *for_update;
    const char *for_reference; /* a shared lock of a row */
    const char *key_type; /* for @KEY@ in migrations */
    int (*open)(const char *url, bool writer, struct db_conn **out, struct err *e);
    void (*close)(struct db_conn *c);
    void (*interrupt)(struct db_conn *c); /* end the statement under way, if any. Any thread, before close. */
    int (*begin)(struct db_conn *c, bool write, struct err *e);
    int (*commit)(struct db_conn *c, struct err *e); /* durable when it returns 0 */
    void (*rollback)(struct db_conn *c);
    bool (*in_transaction)(struct db_conn *c); /* false once an error has ended it */
    int (*script)(struct db_conn *c, const char *sql, struct err *e);
    int (*exec)(struct db_conn *c, const char *sql, const struct db_value *args, int n, struct err *e);
    int (*query)(struct db_conn *c, const char *sql, const struct db_value *args, int n,
                 struct db_rows **out, struct err *e);
    int (*next)(struct db_rows *rows, struct err *e);
    void (*end)(struct db_rows *rows);
    int (*columns)(const struct db_rows *rows);
    const char *(*column_name)(const struct db_rows *rows, int col);
    bool (*is_null)(struct db_rows *rows, int col);
    int64_t (*get_int)(struct db_rows *rows, int col);
    double (*get_real)(struct db_rows *rows, int col);
    struct str (*get_text)(struct db_rows *rows, int col); /* NUL follows the bytes */
    struct str (*get_blob)(struct db_rows *rows, int col);
    bool (*can_read_parts)(const struct db_conn *c); /* NULL: never */
    int (*part_open)(struct db_conn *c, const struct db_place *at, size_t *n_bytes, struct err *e);
    int (*part_read)(struct db_conn *c, size_t offset, size_t n, void *to, struct err *e);
    int (*copy)(struct db_conn *c, const char *path, struct err *e);
    int (*verify)(struct db_conn *c, struct err *e);
    bool (*has_slack)(struct db_conn *c);                /* shrink is worth its while */
    int (*shrink)(struct db_conn *c, struct err *e);     /* in a job */
    int (*trim)(struct db_conn *c, struct err *e);       /* caches: give their memory back */
    int (*limit)(struct db_conn *c, int64_t max_bytes, struct err *e); /* in a job */
    int64_t (*size_bytes)(struct db_conn *c);
};

extern const struct db_engine_ops db_sqlite_ops;
extern const struct db_engine_ops db_postgres_ops;

/* The migrations, embedded at build time, in order. */
struct db_migration {
    int version;
    const char *name;
    const char *sql;
};
extern const struct db_migration db_migrations[];
extern const int db_n_migrations;
extern const char db_versions_table[]; /* the statement that makes their own table */

/* Bring the schema up to date on a connection outside a transaction. `path` is the SQLite file, of which a
 * copy is kept before a change; NULL for PostgreSQL. */
int db_migrate(struct db_conn *c, const char *path, bool refuse, struct err *e);

/* Has db_cancel been called? For what waits inside an engine. */
bool db_is_cancelled(const struct db_conn *c);

/* Link and unlink a query in conn->running. */
void db_rows_link(struct db_conn *c, struct db_rows *rows);
void db_rows_unlink(struct db_rows *rows);

#endif
