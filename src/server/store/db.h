/* SPDX-License-Identifier: MIT */
/* One narrow way to SQL, over two engines: SQLite in a file (the default) and PostgreSQL.
 *
 * Writing: a job is a function that runs inside one transaction on the single writer thread. The
 * writer takes all jobs that wait, runs them one after the other, and commits them together (group
 * commit), so a thousand small writers share one fsync; if one fails, it alone is undone (db.c says how). A job's success is told only when the commit
 * is durable. A job that returns an error leaves no trace and does not disturb its neighbours.
 *
 * Reading: a reader connection sees one unchanging snapshot from db_read_begin to db_read_end and
 * neither blocks nor is blocked by the writer.
 *
 * SQL: one text for both engines. Parameters are $1, $2 ...; RETURNING and ON CONFLICT work on both.
 * Column types as in migrations/0001_base.sql. Where PostgreSQL cannot guess a parameter's type
 * (`$1 IS NULL`), write CAST($1 AS BIGINT). Statements are prepared once per connection and kept, so
 * keep the texts constant and put what varies into parameters.
 *
 *     static int add_tag(struct db_conn *c, void *arg, struct err *e)       // a job
 *     {
 *         struct tag_args *a = arg;
 *         return db_exec(c, e, "UPDATE runs SET tags = $2 WHERE id = $1", DB_ARGS(db_i(a->run), db_t(a->tags)));
 *     }
 *     rc = db_write(db, add_tag, &args, e);
 *
 *     AUTO_ROWS struct db_rows *rows = NULL;                                // a read
 *     rc = db_query(c, e, &rows, "SELECT id, name FROM runs WHERE project_id = $1", DB_ARGS(db_i(project)));
 *     while (rc >= 0 && (rc = db_next(rows, e)) == 1)
 *         use(db_int(rows, 0), db_text(rows, 1));
 */
#ifndef TARE_SERVER_STORE_DB_H
#define TARE_SERVER_STORE_DB_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct db;      /* a database: writer thread, pool of reader connections */
struct db_conn; /* one connection inside a transaction; used by one thread at a time */
struct db_rows; /* a running query */

enum db_engine { DB_SQLITE, DB_POSTGRES };

struct db_options {
    const char *url;        /* path of a SQLite file (or sqlite:PATH), or postgres://... */
    int max_readers;        /* reader connections at most; 0 = 8 */
    size_t max_queue_jobs;  /* waiting jobs before TARE_EFULL; 0 = 4096 */
    size_t max_queue_bytes; /* sum of their weights before TARE_EFULL; 0 = 32 MiB */
    bool no_migrate;        /* fail with TARE_EUNSUPPORTED instead of migrating */
};

/* Open the database, make it if it is not there, bring its schema up to date (keeping a copy of the
 * SQLite file as PATH.before-<version> first), start the writer thread.
 * Expected: TARE_EUNSUPPORTED  the schema is newer than this program, or PostgreSQL's library is missing
 *           TARE_ENOSPACE, TARE_EIO */
int db_open(const struct db_options *options, struct db **out, struct err *e);

/* Let the writer finish what waits, then close. No reader may be in use. NULL is fine. */
void db_close(struct db *db);

enum db_engine db_engine(const struct db *db);
enum db_engine db_conn_engine(const struct db_conn *c);

/* ---- writing ---- */

/* One transaction. Runs on the writer thread; returns >= 0 to commit or a negative code to undo. It
 * must not wait for anything but the database, and may be run again after a failed commit. */
typedef int (*db_job_fn)(struct db_conn *c, void *arg, struct err *e);

/* Told once, on the writer thread, after the commit (rc = what the job returned, >= 0) or the failure.
 * Keep it short; db_submit may be called from it, db_write may not. */
typedef void (*db_done_fn)(int rc, const struct err *e, void *arg);

/* Run `job` and wait until it is durable. Never from the writer thread.
 * Expected: whatever the job returns; TARE_ENOSPACE, TARE_EIO, TARE_ECLOSED. Any other thread. */
int db_write(struct db *db, db_job_fn job, void *arg, struct err *e);

/* The same without waiting; `weight_bytes` counts against max_queue_bytes until done. The job may also be run
 * again after it succeeded, when another that was to be committed with it fails.
 * Expected: TARE_EFULL, TARE_ECLOSED (`done` is then not called). Any thread. */
int db_submit(struct db *db, size_t weight_bytes, db_job_fn job, db_done_fn done, void *arg);

/* How full the queue is: jobs and bytes that wait now. Any thread. */
void db_queue_depth(struct db *db, size_t *jobs, size_t *bytes);

/* ---- reading ---- */

/* A connection with a fresh snapshot; waits while all are in use. Expected: TARE_ECLOSED, TARE_EIO. */
int db_read_begin(struct db *db, struct db_conn **out, struct err *e);
void db_read_end(struct db_conn *c); /* NULL is fine; all its queries end here */

/* ---- statements ---- */

struct db_value {
    enum { DB_NULL, DB_INT, DB_REAL, DB_TEXT, DB_BLOB } kind;
    int64_t i;
    double d;
    struct str s; /* borrowed until the call that gets it returns */
};

static inline struct db_value db_i(int64_t i)
{
    return (struct db_value){.kind = DB_INT, .i = i};
}

static inline struct db_value db_d(double d)
{
    return (struct db_value){.kind = DB_REAL, .d = d};
}

/* Text from a NUL-terminated string; NULL gives SQL's null. */
static inline struct db_value db_t(const char *z)
{
    return (struct db_value){.kind = z ? DB_TEXT : DB_NULL, .s = str_of(z)};
}

/* Text from a slice; a null pointer gives SQL's null, an empty string is STR(""). */
static inline struct db_value db_s(struct str s)
{
    return (struct db_value){.kind = s.p ? DB_TEXT : DB_NULL, .s = s};
}

static inline struct db_value db_b(const void *p, size_t n)
{
    return (struct db_value){.kind = p ? DB_BLOB : DB_NULL, .s = str_make(p, n)};
}

static inline struct db_value db_n(void)
{
    return (struct db_value){.kind = DB_NULL};
}

/* `yes` ? the integer : null. */
static inline struct db_value db_i_if(bool yes, int64_t i)
{
    return yes ? db_i(i) : db_n();
}

#define DB_ARGS(...)                      \
    (const struct db_value[]){__VA_ARGS__}, \
        (int)(sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
#define DB_NONE NULL, 0

/* Run a statement to its end. How many rows it changed, or
 * Expected: TARE_EEXIST     a UNIQUE or PRIMARY KEY rule
 *           TARE_ECONFLICT  a FOREIGN KEY, NOT NULL or CHECK rule
 *           TARE_ENOSPACE, TARE_EIO, TARE_EINVAL (bad SQL) */
int db_exec(struct db_conn *c, struct err *e, const char *sql, const struct db_value *args, int n);

/* Start a query (also INSERT ... RETURNING; step it to its end). *out is set to NULL on failure. */
int db_query(struct db_conn *c, struct err *e, struct db_rows **out, const char *sql,
             const struct db_value *args, int n);

/* The next row: 1, or 0 at the end, or a negative code. */
int db_next(struct db_rows *rows, struct err *e);

/* db_query and the first db_next: 1 a row, 0 none. */
int db_first(struct db_conn *c, struct err *e, struct db_rows **out, const char *sql,
             const struct db_value *args, int n);

/* The one integer of a one-row query into *value: 1, or 0 when there is no row or it is null. */
int db_get_int(struct db_conn *c, struct err *e, int64_t *value, const char *sql,
               const struct db_value *args, int n);

void db_rows_end(struct db_rows *rows); /* NULL is fine */
void db_rows_end_ptr(struct db_rows **rows);
#define AUTO_ROWS __attribute__((cleanup(db_rows_end_ptr)))

/* Values of the current row; columns count from 0. Pointers live until the next db_next or end. */
int db_columns(const struct db_rows *rows);
const char *db_column_name(const struct db_rows *rows, int col);
bool db_is_null(struct db_rows *rows, int col);
int64_t db_int(struct db_rows *rows, int col);     /* 0 for null */
double db_real(struct db_rows *rows, int col);     /* 0 for null */
const char *db_text(struct db_rows *rows, int col); /* NULL for null */
struct str db_str(struct db_rows *rows, int col);  /* {NULL, 0} for null; not for blobs */
struct str db_blob(struct db_rows *rows, int col); /* {NULL, 0} for null or empty */

/* ---- parts of large values ----
 *
 * Reading a column in a query reads all of it, also where a few KiB of it are wanted. Where the connection can
 * (SQLite's readers), these read the part alone. */

/* `column`, a blob, of the row of `table` with this id; the texts are constants. */
struct db_place {
    const char *table, *column;
    int64_t id;
};

bool db_can_read_parts(const struct db_conn *c);

/* Find the value: *n_bytes is its size. It is what db_part_read reads until the next db_part_open of the
 * connection, or the transaction's end. Where the connection can only.
 * Expected: TARE_EINVAL (no such row, or no blob), TARE_EIO. */
int db_part_open(struct db_conn *c, const struct db_place *at, size_t *n_bytes, struct err *e);

/* Bytes [offset, offset + n) of it, which lie within its size, into `to`. Expected: TARE_EIO. */
int db_part_read(struct db_conn *c, size_t offset, size_t n, void *to, struct err *e);

/* Several statements without parameters. */
int db_script(struct db_conn *c, struct err *e, const char *sql);

/* " FOR UPDATE" on PostgreSQL, "" on SQLite (where the writer is alone): append to a SELECT in a job
 * whose answer decides what is written. */
const char *db_for_update(const struct db_conn *c);
/* The same for a row that what is written will refer to: nobody removes it before the job's end, others
 * may refer to it too. */
const char *db_for_reference(const struct db_conn *c);

/* ---- keeping ---- */

/* A consistent copy as a SQLite file at `path` (which must not exist), while everything goes on.
 * Expected: TARE_EUNSUPPORTED on PostgreSQL, TARE_EEXIST, TARE_ENOSPACE. Any thread. */
int db_copy(struct db *db, const char *path, struct err *e);

/* Check the database's own structure. 0, or TARE_EFORMAT with the first fault in `e`. Any thread. */
int db_verify(struct db *db, struct err *e);

/* Give pages that are no longer used back to the file system, a few MiB a call, if there are many. 1 if
 * there may be more to give, 0 if not. Nothing on PostgreSQL, which does so itself. Not the writer's
 * thread. */
int db_shrink(struct db *db, struct err *e);

/* Give memory back that only serves speed: idle readers but one, caches. For quiet times. Not the writer's
 * thread. */
int db_trim(struct db *db, struct err *e);

/* The server ends: statements under way, and all to come, fail with TARE_ECANCELLED, and with them the jobs, which then
 * have changed nothing. One that begins at this very moment may get through: to be called again until all who use `db`
 * have ended. Any thread. */
void db_cancel(struct db *db);

/* Let the database file grow no further than `max_bytes` (it never shrinks by this): what needs more room fails
 * with -EDQUOT. Nothing on PostgreSQL. Not the writer's thread. */
int db_limit(struct db *db, int64_t max_bytes, struct err *e);

/* Bytes the database takes on disk. */
int64_t db_size_bytes(struct db *db);

#endif
