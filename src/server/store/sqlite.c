/* SPDX-License-Identifier: MIT */
/* SQLite behind db.h.
 *
 * The file is in WAL mode with synchronous=FULL: a commit returns after the fsync of the log, readers
 * keep their snapshot meanwhile. Each connection keeps its prepared statements (hash table by text,
 * oldest leaves first) and is never used by two threads at once, so SQLite's own locks are off.
 * Pages of 8 KiB: history chunks are a few KiB to 100 KiB and live in overflow pages. */
#include "server/store/db_engine.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { N_BUCKETS = 64, MAX_STATEMENTS = 128, BUSY_MS = 15000, BUSY_LOOK_MS = 10, CHECKPOINT_PAGES = 1000,
       SLACK_PAGES = 512, PAGE_BYTES = 8192,
       ROOM_BYTES = 64 << 20 /* a disk with so much is not full */ };

struct stmt {
    struct db_rows rows; /* first: a busy statement is the running query */
    sqlite3_stmt *s;
    char *sql;
    uint64_t hash;
    struct stmt *chain; /* in its bucket */
    uint64_t used;      /* conn->clock of the last use */
    bool busy;
    bool cached;
};

struct conn {
    struct db_conn base;
    sqlite3 *h;
    bool writer;
    struct stmt *buckets[N_BUCKETS];
    int n_statements;
    uint64_t clock;
    sqlite3_blob *part;    /* the value parts are read of; NULL outside of a transaction */
    struct db_place place; /* where it is */
    int64_t max_bytes;     /* of the file, as sq_limit set it; 0: none */
};

static int map_code(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return TARE_ENOSPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return TARE_ETIMEOUT;
    case SQLITE_NOMEM:
        return TARE_ENOMEM;
    case SQLITE_INTERRUPT:
        return TARE_ECANCELLED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TARE_EFORMAT;
    case SQLITE_CONSTRAINT:
        if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY)
            return TARE_EEXIST;
        return TARE_ECONFLICT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return TARE_EPERM;
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
        return TARE_EINVAL;
    case SQLITE_TOOBIG:
        return TARE_ELIMIT;
    default:
        return TARE_EIO;
    }
}

/* SQLite says the same of a disk without room and of a file that has reached its limit. */
static int fail_full(struct conn *c, struct err *e)
{
    const char *path = sqlite3_db_filename(c->h, "main");
    struct statvfs fs;
    if (c->max_bytes && path && statvfs(path, &fs) == 0 && (int64_t)fs.f_bavail * (int64_t)fs.f_frsize >= ROOM_BYTES)
        return err_set(e, -EDQUOT, "the server's quota is used up");
    return err_set(e, TARE_ENOSPACE, "the server's disk is full");
}

static int fail(struct conn *c, int rc, struct err *e)
{
    if ((rc & 0xff) == SQLITE_FULL)
        return fail_full(c, e);
    if (rc == SQLITE_INTERRUPT)
        return err_set(e, TARE_ECANCELLED, "the server is ending");
    return err_set(e, map_code(rc), "database: %s", sqlite3_errmsg(c->h));
}

/* ---- statements ---- */

/* "$7" becomes "?7" outside quotes: SQLite numbers the former by first appearance. */
static char *number_parameters(const char *sql)
{
    char *to = mem_strndup(sql, strlen(sql));
    char quote = 0;
    for (char *p = to; p && *p; p++) {
        if (quote)
            quote = *p == quote ? 0 : quote;
        else if (*p == '\'' || *p == '"')
            quote = *p;
        else if (*p == '$' && p[1] >= '0' && p[1] <= '9')
            *p = '?';
    }
    return to;
}

static void stmt_free(struct stmt *st)
{
    sqlite3_finalize(st->s);
    mem_free(st->sql);
    mem_free(st);
}

static void stmt_uncache(struct conn *c, struct stmt *st)
{
    struct stmt **at = &c->buckets[st->hash % N_BUCKETS];
    while (*at != st)
        at = &(*at)->chain;
    *at = st->chain;
    st->cached = false;
    c->n_statements--;
}

static void evict_oldest(struct conn *c)
{
    struct stmt *oldest = NULL;
    for (int i = 0; i < N_BUCKETS; i++)
        for (struct stmt *st = c->buckets[i]; st; st = st->chain)
            if (!st->busy && (!oldest || st->used < oldest->used))
                oldest = st;
    if (oldest) {
        stmt_uncache(c, oldest);
        stmt_free(oldest);
    }
}

static int stmt_new(struct conn *c, const char *sql, uint64_t hash, struct stmt **out, struct err *e)
{
    AUTO_FREE char *numbered = number_parameters(sql);
    struct stmt *st = mem_calloc(1, sizeof *st);
    if (st)
        st->sql = mem_strndup(sql, strlen(sql));
    if (!numbered || !st || !st->sql) {
        if (st)
            stmt_free(st);
        return err_set(e, TARE_ENOMEM, "out of memory");
    }
    int rc = sqlite3_prepare_v3(c->h, numbered, -1, SQLITE_PREPARE_PERSISTENT, &st->s, NULL);
    if (rc) {
        rc = fail(c, rc, e);
        stmt_free(st);
        return rc;
    }
    st->hash = hash;
    st->rows.conn = &c->base;
    *out = st;
    return 0;
}

/* A statement that is not running, from the cache or new. */
static int stmt_get(struct conn *c, const char *sql, struct stmt **out, struct err *e)
{
    uint64_t hash = hash_bytes(sql, strlen(sql), 0);
    bool taken = false;
    for (struct stmt *st = c->buckets[hash % N_BUCKETS]; st; st = st->chain) {
        if (st->hash != hash || strcmp(st->sql, sql) != 0)
            continue;
        if (st->busy) {
            taken = true;
            continue;
        }
        st->used = ++c->clock;
        *out = st;
        return 0;
    }
    struct stmt *st = NULL;
    int rc = stmt_new(c, sql, hash, &st, e);
    if (rc)
        return rc;
    if (!taken) {
        if (c->n_statements >= MAX_STATEMENTS)
            evict_oldest(c);
        st->chain = c->buckets[hash % N_BUCKETS];
        c->buckets[hash % N_BUCKETS] = st;
        st->cached = true;
        st->used = ++c->clock;
        c->n_statements++;
    }
    *out = st;
    return 0;
}

static void stmt_put(struct stmt *st)
{
    sqlite3_reset(st->s);
    sqlite3_clear_bindings(st->s);
    st->busy = false;
    if (!st->cached)
        stmt_free(st);
}

static int bind_one(sqlite3_stmt *s, int at, const struct db_value *v, sqlite3_destructor_type keep)
{
    switch (v->kind) {
    case DB_INT:
        return sqlite3_bind_int64(s, at, v->i);
    case DB_REAL:
        return sqlite3_bind_double(s, at, v->d);
    case DB_TEXT:
        return sqlite3_bind_text64(s, at, v->s.p, v->s.n, keep, SQLITE_UTF8);
    case DB_BLOB:
        return sqlite3_bind_blob64(s, at, v->s.p, v->s.n, keep);
    case DB_NULL:
        break;
    }
    return sqlite3_bind_null(s, at);
}

static int stmt_start(struct conn *c, const char *sql, const struct db_value *args, int n,
                      sqlite3_destructor_type keep, struct stmt **out, struct err *e)
{
    struct stmt *st = NULL;
    int rc = stmt_get(c, sql, &st, e);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++) {
        rc = bind_one(st->s, i + 1, &args[i], keep);
        if (rc) {
            rc = fail(c, rc, e);
            stmt_put(st);
            return rc;
        }
    }
    *out = st;
    return 0;
}

static int sq_exec(struct db_conn *base, const char *sql, const struct db_value *args, int n,
                   struct err *e)
{
    struct conn *c = (struct conn *)base;
    struct stmt *st = NULL;
    int rc = stmt_start(c, sql, args, n, SQLITE_STATIC, &st, e);
    if (rc)
        return rc;
    do
        rc = sqlite3_step(st->s);
    while (rc == SQLITE_ROW);
    rc = rc == SQLITE_DONE ? sqlite3_changes(c->h) : fail(c, sqlite3_extended_errcode(c->h), e);
    stmt_put(st);
    return rc;
}

static int sq_query(struct db_conn *base, const char *sql, const struct db_value *args, int n,
                    struct db_rows **out, struct err *e)
{
    struct stmt *st = NULL;
    int rc = stmt_start((struct conn *)base, sql, args, n, SQLITE_TRANSIENT, &st, e);
    if (rc)
        return rc;
    st->busy = true;
    db_rows_link(base, &st->rows);
    *out = &st->rows;
    return 0;
}

static int sq_next(struct db_rows *rows, struct err *e)
{
    struct stmt *st = (struct stmt *)rows;
    int rc = sqlite3_step(st->s);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    struct conn *c = (struct conn *)rows->conn;
    return fail(c, sqlite3_extended_errcode(c->h), e);
}

static void sq_end(struct db_rows *rows)
{
    db_rows_unlink(rows);
    stmt_put((struct stmt *)rows);
}

static int sq_columns(const struct db_rows *rows)
{
    return sqlite3_column_count(((const struct stmt *)rows)->s);
}

static const char *sq_column_name(const struct db_rows *rows, int col)
{
    return sqlite3_column_name(((const struct stmt *)rows)->s, col);
}

static bool sq_is_null(struct db_rows *rows, int col)
{
    return sqlite3_column_type(((struct stmt *)rows)->s, col) == SQLITE_NULL;
}

static int64_t sq_int(struct db_rows *rows, int col)
{
    return sqlite3_column_int64(((struct stmt *)rows)->s, col);
}

static double sq_real(struct db_rows *rows, int col)
{
    return sqlite3_column_double(((struct stmt *)rows)->s, col);
}

static struct str sq_text(struct db_rows *rows, int col)
{
    sqlite3_stmt *s = ((struct stmt *)rows)->s;
    const void *p = sqlite3_column_text(s, col);
    return str_make(p, p ? (size_t)sqlite3_column_bytes(s, col) : 0);
}

static struct str sq_blob(struct db_rows *rows, int col)
{
    sqlite3_stmt *s = ((struct stmt *)rows)->s;
    const void *p = sqlite3_column_blob(s, col);
    return str_make(p, p ? (size_t)sqlite3_column_bytes(s, col) : 0);
}

/* ---- parts of blobs ---- */

/* A writer's would end with every change of the row. */
static bool sq_can_read_parts(const struct db_conn *base)
{
    return !((const struct conn *)base)->writer;
}

static void part_close(struct conn *c)
{
    sqlite3_blob_close(c->part);
    c->part = NULL;
}

static int sq_part_open(struct db_conn *base, const struct db_place *at, size_t *n_bytes, struct err *e)
{
    struct conn *c = (struct conn *)base;
    int rc = SQLITE_OK;
    bool same_column = c->part && strcmp(c->place.table, at->table) == 0 && strcmp(c->place.column, at->column) == 0;
    if (same_column && c->place.id != at->id) {
        rc = sqlite3_blob_reopen(c->part, at->id);
    } else if (!same_column) {
        part_close(c);
        rc = sqlite3_blob_open(c->h, "main", at->table, at->column, at->id, 0, &c->part);
    }
    if (rc) {
        rc = fail(c, rc, e);
        part_close(c);
        return rc;
    }
    c->place = *at;
    *n_bytes = (size_t)sqlite3_blob_bytes(c->part);
    return 0;
}

static int sq_part_read(struct db_conn *base, size_t offset, size_t n, void *to, struct err *e)
{
    struct conn *c = (struct conn *)base;
    int rc = sqlite3_blob_read(c->part, to, (int)n, (int)offset);
    return rc ? fail(c, rc, e) : 0;
}

/* ---- connections ---- */

static int run(struct conn *c, const char *sql, struct err *e)
{
    if (sqlite3_exec(c->h, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return fail(c, sqlite3_extended_errcode(c->h), e);
}

/* All that are kept; none may be running. */
static void free_statements(struct conn *c)
{
    for (int i = 0; i < N_BUCKETS; i++)
        while (c->buckets[i]) {
            struct stmt *st = c->buckets[i];
            c->buckets[i] = st->chain;
            stmt_free(st);
        }
    c->n_statements = 0;
}

static void sq_close(struct db_conn *base)
{
    struct conn *c = (struct conn *)base;
    part_close(c);
    free_statements(c);
    sqlite3_close(c->h);
    mem_free(c);
}

/* Another program holds the lock. The library's own waiting cannot be interrupted. */
static int wait_for_lock(void *arg, int n_before)
{
    const struct conn *c = arg;
    if (n_before >= BUSY_MS / BUSY_LOOK_MS || db_is_cancelled(&c->base))
        return 0;
    usleep(n_before < 20 ? 1000 : BUSY_LOOK_MS * 1000); /* mostly it is short */
    return 1;
}

static void sq_interrupt(struct db_conn *base)
{
    sqlite3_interrupt(((struct conn *)base)->h);
}

/* Wait until the database file itself is on the disk. */
static int sync_file(struct conn *c, struct err *e)
{
    sqlite3_file *f = NULL;
    int rc = sqlite3_file_control(c->h, "main", SQLITE_FCNTL_FILE_POINTER, &f);
    if (!rc && f->pMethods)
        rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    return rc ? err_set(e, map_code(rc), "database: %s", sqlite3_errstr(rc)) : 0;
}

/* A new file becomes a WAL database by two transactions, with four waits for the disk each: one at the end
 * of both is as good, nothing being in it yet. */
static int setup_writer(struct conn *c, struct err *e)
{
    int64_t pages = 0;
    int rc = db_get_int(&c->base, e, &pages, "PRAGMA page_count", DB_NONE);
    bool is_new = rc == 1 && pages == 0;
    if (rc >= 0 && is_new)
        rc = run(c, "PRAGMA synchronous=OFF; PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL;"
                    "PRAGMA journal_mode=WAL;", e);
    if (rc >= 0 && is_new)
        rc = sync_file(c, e);
    char text[300];
    snprintf(text, sizeof text,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-2048; PRAGMA foreign_keys=ON;"
             "PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=%d; PRAGMA journal_size_limit=16777216;",
             CHECKPOINT_PAGES);
    return rc < 0 ? rc : run(c, text, e);
}

static int setup(struct conn *c, struct err *e)
{
    sqlite3_busy_handler(c->h, wait_for_lock, c);
    sqlite3_extended_result_codes(c->h, 1);
    if (c->writer)
        return setup_writer(c, e);
    return run(c, "PRAGMA cache_size=-512; PRAGMA query_only=1; PRAGMA temp_store=MEMORY;", e);
}

static void configure_once(void)
{
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int sq_open(const char *url, bool writer, struct db_conn **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_once);
    const char *path = strncmp(url, "sqlite:", 7) == 0 ? url + 7 : url;
    struct conn *c = mem_calloc(1, sizeof *c);
    if (!c)
        return err_set(e, TARE_ENOMEM, "out of memory");
    c->base.ops = &db_sqlite_ops;
    c->writer = writer;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(path, &c->h, flags, NULL);
    if (rc)
        rc = err_set(e, map_code(rc), "opening database %s: %s", path,
                     c->h ? sqlite3_errmsg(c->h) : "out of memory");
    else
        rc = setup(c, e);
    if (rc) {
        sq_close(&c->base);
        return rc;
    }
    *out = &c->base;
    return 0;
}

static int sq_begin(struct db_conn *base, bool write, struct err *e)
{
    int rc = sq_exec(base, write ? "BEGIN IMMEDIATE" : "BEGIN", DB_NONE, e);
    return rc < 0 ? rc : 0;
}

static int sq_commit(struct db_conn *base, struct err *e)
{
    int rc = sq_exec(base, "COMMIT", DB_NONE, e);
    return rc < 0 ? rc : 0;
}

static bool sq_in_transaction(struct db_conn *base)
{
    return !sqlite3_get_autocommit(((struct conn *)base)->h);
}

static void sq_rollback(struct db_conn *base)
{
    part_close((struct conn *)base);
    if (sq_in_transaction(base))
        sq_exec(base, "ROLLBACK", DB_NONE, NULL);
}

static int sq_script(struct db_conn *base, const char *sql, struct err *e)
{
    return run((struct conn *)base, sql, e);
}

/* ---- keeping ---- */

static int sq_copy(struct db_conn *base, const char *path, struct err *e)
{
    struct conn *c = (struct conn *)base;
    struct stat st;
    if (stat(path, &st) == 0)
        return err_set(e, TARE_EEXIST, "%s exists already", path);
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_backup *b = rc ? NULL : sqlite3_backup_init(to, "main", c->h, "main");
    if (b) {
        do
            rc = sqlite3_backup_step(b, 1024);
        while (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
        sqlite3_backup_finish(b);
    }
    rc = b && rc == SQLITE_DONE ? 0
                                : err_set(e, map_code(rc ? rc : sqlite3_errcode(to)), "copying to %s: %s",
                                          path, to ? sqlite3_errmsg(to) : "out of memory");
    sqlite3_close(to);
    if (rc)
        remove(path);
    return rc;
}

static int sq_verify(struct db_conn *base, struct err *e)
{
    struct db_rows *rows = NULL;
    int rc = sq_query(base, "PRAGMA integrity_check(1)", DB_NONE, &rows, e);
    if (rc)
        return rc;
    rc = sq_next(rows, e);
    if (rc == 1) {
        struct str answer = sq_text(rows, 0);
        rc = str_eqz(answer, "ok") ? 0 : err_set(e, TARE_EFORMAT, "database: %.*s", STR_ARG(answer));
    }
    sq_end(rows);
    return rc;
}

/* More than an eighth of the file, and more than 4 MiB, is empty pages. */
static bool sq_has_slack(struct db_conn *c)
{
    int64_t free_pages = 0, pages = 0;
    db_get_int(c, NULL, &free_pages, "PRAGMA freelist_count", DB_NONE);
    db_get_int(c, NULL, &pages, "PRAGMA page_count", DB_NONE);
    return free_pages > SLACK_PAGES && free_pages > pages / 8;
}

static int sq_shrink(struct db_conn *base, struct err *e)
{
    return run((struct conn *)base, "PRAGMA incremental_vacuum(512)", e);
}

static int sq_trim(struct db_conn *base, struct err *e)
{
    struct conn *c = (struct conn *)base;
    (void)e;
    free_statements(c);
    sqlite3_db_release_memory(c->h);
    return 0;
}

static int sq_limit(struct db_conn *base, int64_t max_bytes, struct err *e)
{
    char sql[64];
    struct conn *c = (struct conn *)base;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%lld", (long long)(max_bytes / PAGE_BYTES));
    c->max_bytes = max_bytes;
    return run(c, sql, e);
}

static int64_t file_size(const char *path, const char *suffix)
{
    struct stat st;
    AUTO_BUF name = {0};
    buf_puts(&name, path);
    buf_puts(&name, suffix);
    const char *z = buf_z(&name);
    return z && stat(z, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t sq_size_bytes(struct db_conn *base)
{
    const char *path = sqlite3_db_filename(((struct conn *)base)->h, "main");
    return path ? file_size(path, "") + file_size(path, "-wal") : 0;
}

const struct db_engine_ops db_sqlite_ops = {
    .engine = DB_SQLITE,
    .for_update = "",
    .for_reference = "",
    .key_type = "INTEGER PRIMARY KEY",
    .open = sq_open,
    .close = sq_close,
    .interrupt = sq_interrupt,
    .begin = sq_begin,
    .commit = sq_commit,
    .rollback = sq_rollback,
    .in_transaction = sq_in_transaction,
    .script = sq_script,
    .exec = sq_exec,
    .query = sq_query,
    .next = sq_next,
    .end = sq_end,
    .columns = sq_columns,
    .column_name = sq_column_name,
    .is_null = sq_is_null,
    .get_int = sq_int,
    .get_real = sq_real,
    .get_text = sq_text,
    .get_blob = sq_blob,
    .can_read_parts = sq_can_read_parts,
    .part_open = sq_part_open,
    .part_read = sq_part_read,
    .copy = sq_copy,
    .verify = sq_verify,
    .has_slack = sq_has_slack,
    .shrink = sq_shrink,
    .trim = sq_trim,
    .limit = sq_limit,
    .size_bytes = sq_size_bytes,
};
