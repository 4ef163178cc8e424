/* SPDX-License-Identifier: MIT */
/* PostgreSQL behind db.h.
 *
 * libpq is opened at run time, when a postgres URL asks for it: linking it would cost every start of
 * the server the load of TLS and Kerberos libraries. Results are fetched whole (a query's answer is
 * bounded by its LIMIT in the callers). Values travel as text, bytes as binary parameters and hex
 * results. A lost connection is opened again at the next transaction. */
#include "server/store/db_engine.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_BUCKETS = 64, MAX_STATEMENTS = 256, MAX_ARGS = 64 };

#define PQ_FUNCTIONS(X)                                                                        \
    X(PQconnectdb) X(PQfinish) X(PQreset) X(PQstatus) X(PQtransactionStatus) X(PQerrorMessage) \
    X(PQexec) X(PQprepare) X(PQexecPrepared) X(PQexecParams) X(PQresultStatus)                 \
    X(PQresultErrorField) X(PQclear) X(PQntuples) X(PQnfields) X(PQfname) X(PQgetvalue)        \
    X(PQgetlength) X(PQgetisnull) X(PQcmdTuples) X(PQsetNoticeProcessor) X(PQgetCancel)        \
    X(PQcancel) X(PQfreeCancel)

static struct {
#define X(name) __typeof__(&name) name;
    PQ_FUNCTIONS(X)
#undef X
    bool loaded;
} pq;

struct prepared {
    struct prepared *chain;
    uint64_t hash;
    char name[16];
    char sql[];
};

struct rows {
    struct db_rows base;
    PGresult *result;
    int at, n;       /* current row, number of rows */
    struct buf blob; /* bytes of the current row's blobs, decoded */
};

struct conn {
    struct db_conn base;
    PGconn *h;
    pthread_mutex_t lock; /* of `cancel` */
    PGcancel *cancel;     /* of this connection: its own way to the server */
    struct prepared *buckets[N_BUCKETS];
    int n_prepared;
    unsigned next_name;
};

/* ---- the library ---- */

static void load_library(void)
{
    void *lib = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return;
    bool all = true;
#define X(name) all = (*(void **)&pq.name = dlsym(lib, #name)) != NULL && all;
    PQ_FUNCTIONS(X)
#undef X
    pq.loaded = all;
}

static int need_library(struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_library);
    if (pq.loaded)
        return 0;
    return err_set(e, TARE_EUNSUPPORTED, "PostgreSQL's client library (libpq.so.5) is not installed");
}

/* ---- errors ---- */

static int map_state(const char *state)
{
    if (!state || strncmp(state, "08", 2) == 0)
        return TARE_EIO;
    if (strcmp(state, "23505") == 0)
        return TARE_EEXIST;
    if (strncmp(state, "23", 2) == 0)
        return TARE_ECONFLICT;
    if (strcmp(state, "53100") == 0)
        return TARE_ENOSPACE;
    if (strcmp(state, "57014") == 0)
        return TARE_ECANCELLED;
    if (strncmp(state, "40", 2) == 0 || strcmp(state, "55P03") == 0)
        return TARE_ETIMEOUT;
    if (strncmp(state, "42", 2) == 0 || strncmp(state, "22", 2) == 0)
        return TARE_EINVAL;
    return TARE_EIO;
}

/* Check a result; it is cleared on failure. */
static int check(struct conn *c, PGresult *r, struct err *e)
{
    ExecStatusType status = r ? pq.PQresultStatus(r) : PGRES_FATAL_ERROR;
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
        return 0;
    const char *state = r ? pq.PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *text = r ? pq.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    int rc = map_state(state);
    if (rc == TARE_ECANCELLED && db_is_cancelled(&c->base))
        err_set(e, rc, "the server is ending");
    else
        err_set(e, rc, "database: %s", text ? text : pq.PQerrorMessage(c->h));
    pq.PQclear(r);
    return rc;
}

/* ---- statements ---- */

static void forget_prepared(struct conn *c)
{
    for (int i = 0; i < N_BUCKETS; i++)
        while (c->buckets[i]) {
            struct prepared *p = c->buckets[i];
            c->buckets[i] = p->chain;
            mem_free(p);
        }
    c->n_prepared = 0;
}

/* The name under which `sql` is prepared; NULL in *name if there are too many already. */
static int prepare(struct conn *c, const char *sql, const char **name, struct err *e)
{
    size_t len = strlen(sql);
    uint64_t hash = hash_bytes(sql, len, 0);
    for (struct prepared *p = c->buckets[hash % N_BUCKETS]; p; p = p->chain)
        if (p->hash == hash && strcmp(p->sql, sql) == 0) {
            *name = p->name;
            return 0;
        }
    *name = NULL;
    if (c->n_prepared >= MAX_STATEMENTS)
        return 0;
    struct prepared *p = mem_alloc(sizeof *p + len + 1);
    if (!p)
        return err_set(e, TARE_ENOMEM, "out of memory");
    memcpy(p->sql, sql, len + 1);
    p->hash = hash;
    snprintf(p->name, sizeof p->name, "s%u", c->next_name++);
    PGresult *r = pq.PQprepare(c->h, p->name, sql, 0, NULL);
    int rc = check(c, r, e);
    if (rc) {
        mem_free(p);
        return rc;
    }
    pq.PQclear(r);
    p->chain = c->buckets[hash % N_BUCKETS];
    c->buckets[hash % N_BUCKETS] = p;
    c->n_prepared++;
    *name = p->name;
    return 0;
}

struct params {
    struct buf text;
    size_t at[MAX_ARGS]; /* offsets into text */
    const char *values[MAX_ARGS];
    int lengths[MAX_ARGS], formats[MAX_ARGS];
};

static void put_real(struct buf *to, double d)
{
    if (isnan(d))
        buf_puts(to, "NaN");
    else if (isinf(d))
        buf_puts(to, d > 0 ? "Infinity" : "-Infinity");
    else
        buf_printf(to, "%.17g", d);
}

static int make_params(struct params *p, const struct db_value *args, int n, struct err *e)
{
    if (n > MAX_ARGS)
        return err_set(e, TARE_EINVAL, "more than %d parameters", MAX_ARGS);
    for (int i = 0; i < n; i++) {
        p->at[i] = p->text.len;
        p->lengths[i] = (int)args[i].s.n;
        p->formats[i] = args[i].kind == DB_BLOB;
        if (args[i].kind == DB_INT)
            buf_printf(&p->text, "%" PRId64, args[i].i);
        else if (args[i].kind == DB_REAL)
            put_real(&p->text, args[i].d);
        else if (args[i].kind == DB_TEXT)
            buf_put_str(&p->text, args[i].s);
        buf_putc(&p->text, 0);
    }
    if (p->text.failed)
        return err_set(e, TARE_ENOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        p->values[i] = args[i].kind == DB_NULL   ? NULL
                       : args[i].kind == DB_BLOB ? args[i].s.p
                                                 : p->text.data + p->at[i];
    return 0;
}

static int run(struct conn *c, const char *sql, const struct db_value *args, int n, PGresult **out,
               struct err *e)
{
    struct params p = {.text = {0}};
    const char *name;
    int rc = make_params(&p, args, n, e);
    if (!rc)
        rc = prepare(c, sql, &name, e);
    if (!rc) {
        *out = name ? pq.PQexecPrepared(c->h, name, n, p.values, p.lengths, p.formats, 0)
                    : pq.PQexecParams(c->h, sql, n, NULL, p.values, p.lengths, p.formats, 0);
        rc = check(c, *out, e);
    }
    buf_fini(&p.text);
    return rc;
}

static int pg_exec(struct db_conn *base, const char *sql, const struct db_value *args, int n,
                   struct err *e)
{
    PGresult *r;
    int rc = run((struct conn *)base, sql, args, n, &r, e);
    if (rc)
        return rc;
    rc = atoi(pq.PQcmdTuples(r));
    pq.PQclear(r);
    return rc;
}

static int pg_query(struct db_conn *base, const char *sql, const struct db_value *args, int n,
                    struct db_rows **out, struct err *e)
{
    PGresult *r;
    int rc = run((struct conn *)base, sql, args, n, &r, e);
    if (rc)
        return rc;
    struct rows *rows = mem_calloc(1, sizeof *rows);
    if (!rows) {
        pq.PQclear(r);
        return err_set(e, TARE_ENOMEM, "out of memory");
    }
    rows->result = r;
    rows->at = -1;
    rows->n = pq.PQntuples(r);
    db_rows_link(base, &rows->base);
    *out = &rows->base;
    return 0;
}

static int pg_next(struct db_rows *base, struct err *e)
{
    struct rows *rows = (struct rows *)base;
    (void)e;
    buf_clear(&rows->blob);
    if (rows->at + 1 >= rows->n)
        return 0;
    rows->at++;
    return 1;
}

static void pg_end(struct db_rows *base)
{
    struct rows *rows = (struct rows *)base;
    db_rows_unlink(base);
    pq.PQclear(rows->result);
    buf_fini(&rows->blob);
    mem_free(rows);
}

static int pg_columns(const struct db_rows *rows)
{
    return pq.PQnfields(((const struct rows *)rows)->result);
}

static const char *pg_column_name(const struct db_rows *rows, int col)
{
    return pq.PQfname(((const struct rows *)rows)->result, col);
}

static bool pg_is_null(struct db_rows *base, int col)
{
    struct rows *rows = (struct rows *)base;
    return pq.PQgetisnull(rows->result, rows->at, col);
}

static struct str pg_get_text(struct db_rows *base, int col)
{
    struct rows *rows = (struct rows *)base;
    if (pg_is_null(base, col))
        return (struct str){NULL, 0};
    return str_make(pq.PQgetvalue(rows->result, rows->at, col),
                    (size_t)pq.PQgetlength(rows->result, rows->at, col));
}

static int64_t pg_get_int(struct db_rows *rows, int col)
{
    struct str s = pg_get_text(rows, col);
    return s.p ? (int64_t)strtoll(s.p, NULL, 10) : 0;
}

static double pg_get_real(struct db_rows *rows, int col)
{
    struct str s = pg_get_text(rows, col);
    return s.p ? strtod(s.p, NULL) : 0;
}

static int digit_of_postgres(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* Bytes come as "\x" and hex. Only one blob of a row may be looked at while another is in use when
 * the buffer does not move: room for all of them is made at the first. */
static struct str pg_get_blob(struct db_rows *base, int col)
{
    struct rows *rows = (struct rows *)base;
    struct str hex = pg_get_text(base, col);
    if (hex.n < 2)
        return (struct str){NULL, 0};
    if (rows->blob.len == 0) {
        size_t all = 0;
        for (int i = 0; i < pg_columns(base); i++)
            all += (size_t)pq.PQgetlength(rows->result, rows->at, i) * 2;
        if (!buf_reserve(&rows->blob, all))
            return (struct str){NULL, 0};
    }
    char *to = buf_reserve(&rows->blob, hex.n / 2);
    if (!to)
        return (struct str){NULL, 0};
    size_t n = hex.n / 2 - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(digit_of_postgres(hex.p[2 + 2 * i]) << 4 | digit_of_postgres(hex.p[3 + 2 * i]));
    rows->blob.len += n;
    return str_make(to, n);
}

/* ---- connections ---- */

static void no_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

/* After every connecting; NULL: forget the old one. */
static void set_cancel(struct conn *c, PGcancel *cancel)
{
    pthread_mutex_lock(&c->lock);
    if (c->cancel)
        pq.PQfreeCancel(c->cancel);
    c->cancel = cancel;
    pthread_mutex_unlock(&c->lock);
}

static void pg_close(struct db_conn *base)
{
    struct conn *c = (struct conn *)base;
    forget_prepared(c);
    set_cancel(c, NULL);
    pthread_mutex_destroy(&c->lock);
    pq.PQfinish(c->h);
    mem_free(c);
}

static void pg_interrupt(struct db_conn *base)
{
    struct conn *c = (struct conn *)base;
    char why[256];
    pthread_mutex_lock(&c->lock);
    if (c->cancel)
        pq.PQcancel(c->cancel, why, sizeof why);
    pthread_mutex_unlock(&c->lock);
}

static int pg_open(const char *url, bool writer, struct db_conn **out, struct err *e)
{
    (void)writer;
    int rc = need_library(e);
    if (rc)
        return rc;
    struct conn *c = mem_calloc(1, sizeof *c);
    if (!c)
        return err_set(e, TARE_ENOMEM, "out of memory");
    c->base.ops = &db_postgres_ops;
    pthread_mutex_init(&c->lock, NULL);
    c->h = pq.PQconnectdb(url);
    if (pq.PQstatus(c->h) != CONNECTION_OK) {
        rc = err_set(e, TARE_EIO, "connecting to PostgreSQL: %s", pq.PQerrorMessage(c->h));
        pg_close(&c->base);
        return rc;
    }
    pq.PQsetNoticeProcessor(c->h, no_notice, NULL);
    set_cancel(c, pq.PQgetCancel(c->h));
    *out = &c->base;
    return 0;
}

static int simple(struct conn *c, const char *sql, struct err *e)
{
    PGresult *r = pq.PQexec(c->h, sql);
    int rc = check(c, r, e);
    if (!rc)
        pq.PQclear(r);
    return rc;
}

static int pg_begin(struct db_conn *base, bool write, struct err *e)
{
    struct conn *c = (struct conn *)base;
    if (pq.PQstatus(c->h) != CONNECTION_OK) {
        forget_prepared(c);
        pq.PQreset(c->h);
        set_cancel(c, pq.PQgetCancel(c->h));
    }
    return simple(c, write ? "BEGIN ISOLATION LEVEL READ COMMITTED" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", e);
}

/* After a statement that failed, COMMIT succeeds as well, and is a rollback. */
static int pg_commit(struct db_conn *base, struct err *e)
{
    struct conn *c = (struct conn *)base;
    if (pq.PQtransactionStatus(c->h) == PQTRANS_INERROR)
        return err_set(e, TARE_EIO, "database: a statement of the transaction has failed");
    return simple(c, "COMMIT", e);
}

static void pg_rollback(struct db_conn *base)
{
    simple((struct conn *)base, "ROLLBACK", NULL);
}

static bool pg_in_transaction(struct db_conn *base)
{
    PGTransactionStatusType s = pq.PQtransactionStatus(((struct conn *)base)->h);
    return s == PQTRANS_INTRANS || s == PQTRANS_INERROR;
}

static int pg_script(struct db_conn *base, const char *sql, struct err *e)
{
    return simple((struct conn *)base, sql, e);
}

static int pg_copy(struct db_conn *c, const char *path, struct err *e)
{
    (void)c;
    (void)path;
    return err_set(e, TARE_EUNSUPPORTED, "use PostgreSQL's own tools (pg_dump) to copy its database");
}

static int pg_verify(struct db_conn *c, struct err *e)
{
    int64_t one;
    int rc = db_get_int(c, e, &one, "SELECT COUNT(*) FROM schema_versions", DB_NONE);
    return rc < 0 ? rc : 0;
}

static bool pg_has_slack(struct db_conn *c)
{
    (void)c;
    return false;
}

static int pg_shrink(struct db_conn *c, struct err *e)
{
    (void)c;
    (void)e;
    return 0;
}

static int pg_trim(struct db_conn *c, struct err *e)
{
    (void)c, (void)e;
    return 0;
}

static int pg_limit(struct db_conn *c, int64_t max_bytes, struct err *e)
{
    (void)c;
    (void)max_bytes;
    (void)e;
    return 0;
}

static int64_t pg_size_bytes(struct db_conn *c)
{
    int64_t n = 0;
    db_get_int(c, NULL, &n, "SELECT pg_database_size(current_database())", DB_NONE);
    return n;
}

const struct db_engine_ops db_postgres_ops = {
    .engine = DB_POSTGRES,
    .for_update = " FOR UPDATE",
    .for_reference = " FOR KEY SHARE",
    .key_type = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    .open = pg_open,
    .close = pg_close,
    .interrupt = pg_interrupt,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .in_transaction = pg_in_transaction,
    .script = pg_script,
    .exec = pg_exec,
    .query = pg_query,
    .next = pg_next,
    .end = pg_end,
    .columns = pg_columns,
    .column_name = pg_column_name,
    .is_null = pg_is_null,
    .get_int = pg_get_int,
    .get_real = pg_get_real,
    .get_text = pg_get_text,
    .get_blob = pg_get_blob,
    .copy = pg_copy,
    .verify = pg_verify,
    .has_slack = pg_has_slack,
    .shrink = pg_shrink,
    .trim = pg_trim,
    .limit = pg_limit,
    .size_bytes = pg_size_bytes,
};
