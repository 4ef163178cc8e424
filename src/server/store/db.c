/* SPDX-License-Identifier: MIT */
/* The writer and the pool of readers.
 *
 * The writer's loop: take every job that waits (at most MAX_BATCH), begin, run each in a savepoint,
 * commit, tell each its end. A savepoint costs as much as a third of a small job, so where all jobs may be run
 * again (those of db_submit), or there is but one, they run without; if one fails, all are undone and run
 * again with savepoints. While it commits, new jobs gather: the batch grows with the load, and a
 * single job on an idle server commits at once. If the commit fails, or an error inside a job has
 * ended the whole transaction (disk full), nothing of the batch is durable: jobs that had succeeded are
 * run again, each in a transaction of its own, so that one that does not fit takes none with it. */
#include "server/store/db.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "server/store/db_engine.h"
#include "server/store/image.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_BATCH = 256, DEFAULT_READERS = 8, DEFAULT_JOBS = 4096 };
#define DEFAULT_BYTES ((size_t)32 << 20)

struct job {
    struct job *next;
    db_job_fn run;
    db_done_fn done;
    void *arg;
    size_t weight_bytes;
    int rc;
    bool repeatable; /* may be run again though it succeeded */
    bool ran;    /* in this transaction, rc is its answer */
    bool failed; /* likewise, and not because of another, or of the commit */
    struct err err;
};

struct db {
    const struct db_engine_ops *ops;
    char *url;
    struct db_options options;

    int64_t limit_bytes; /* as db_limit set it last */

    pthread_t writer_thread;
    bool writer_started;
    struct db_conn *writer;
    pthread_mutex_t lock;
    pthread_cond_t have_jobs;
    struct job *first, **last;
    size_t n_jobs, n_bytes;
    bool closing;

    pthread_mutex_t pool_lock;
    pthread_cond_t have_reader;
    struct db_conn *idle, *open; /* open: idle ones and others */
    int n_readers;
    atomic_bool cancelled;
};

/* ---- ending ---- */

bool db_is_cancelled(const struct db_conn *c)
{
    return c->db && atomic_load_explicit(&c->db->cancelled, memory_order_relaxed);
}

static int check_cancelled(const struct db_conn *c, struct err *e)
{
    return db_is_cancelled(c) ? err_set(e, TARE_ECANCELLED, "the server is ending") : 0;
}

/* ---- the writer ---- */

static int run_job(struct db_conn *c, struct job *j)
{
    int rc = j->run(c, j->arg, &j->err);
    while (c->running)
        db_rows_end(c->running);
    return rc < 0 || c->ops->in_transaction(c) ? rc : TARE_EIO;
}

static int run_in_savepoint(struct db_conn *c, struct job *j)
{
    int rc = c->ops->exec(c, "SAVEPOINT job", DB_NONE, &j->err);
    if (rc < 0)
        return rc;
    rc = run_job(c, j);
    if (!c->ops->in_transaction(c))
        return rc;
    if (rc < 0)
        c->ops->exec(c, "ROLLBACK TO job", DB_NONE, NULL);
    int released = c->ops->exec(c, "RELEASE job", DB_NONE, rc < 0 ? NULL : &j->err);
    return rc < 0 ? rc : released < 0 ? released : rc;
}

/* Run a list of jobs in one transaction. 0, or the code that undid all of them: without savepoints that of the
 * first that failed. */
static int run_together(struct db_conn *c, struct job *list, bool savepoints)
{
    struct err e = {0};
    for (struct job *j = list; j; j = j->next)
        j->ran = j->failed = false;
    int rc = c->ops->begin(c, true, &e);
    if (rc && db_is_cancelled(c)) /* while it waited for a lock */
        rc = check_cancelled(c, &e);
    for (struct job *j = list; j && !rc; j = j->next) {
        j->err.code = 0;
        j->rc = savepoints ? run_in_savepoint(c, j) : run_job(c, j);
        j->ran = true;
        j->failed = j->rc < 0;
        if (!c->ops->in_transaction(c) || (!savepoints && j->rc < 0)) {
            rc = j->rc;
            e = j->err;
        }
    }
    if (!rc)
        rc = c->ops->commit(c, &e);
    if (rc) {
        c->ops->rollback(c);
        for (struct job *j = list; j; j = j->next)
            if (!j->ran || j->rc >= 0) {
                j->rc = rc;
                j->err = e;
                j->err.code = rc;
            }
    }
    return rc;
}

static bool are_repeatable(const struct job *list)
{
    for (; list; list = list->next)
        if (!list->repeatable)
            return false;
    return true;
}

static bool has_failed_job(const struct job *list)
{
    for (; list; list = list->next)
        if (list->failed)
            return true;
    return false;
}

static void run_batch(struct db *db, struct job *list)
{
    struct job *next;
    bool alone = !list->next, savepoints = !alone && !are_repeatable(list);
    int rc = run_together(db->writer, list, savepoints);
    if (rc && !alone && !savepoints && has_failed_job(list))
        rc = run_together(db->writer, list, true);
    if (rc && !alone)
        for (struct job *j = list; j; j = next) {
            next = j->next;
            j->next = NULL;
            run_together(db->writer, j, false);
            j->next = next;
        }
    size_t jobs = 0, bytes = 0;
    for (struct job *j = list; j; j = j->next) {
        jobs++;
        bytes += j->weight_bytes;
    }
    pthread_mutex_lock(&db->lock);
    db->n_jobs -= jobs;
    db->n_bytes -= bytes;
    pthread_mutex_unlock(&db->lock);
    for (struct job *j = list; j; j = next) {
        next = j->next;
        j->done(j->rc, &j->err, j->arg);
        mem_free(j);
    }
}

/* Jobs that wait, at most MAX_BATCH; NULL when closing and none are left. */
static struct job *take_batch(struct db *db)
{
    pthread_mutex_lock(&db->lock);
    while (!db->first && !db->closing)
        pthread_cond_wait(&db->have_jobs, &db->lock);
    struct job *list = db->first, *end = list;
    for (int i = 1; end && end->next && i < MAX_BATCH; i++)
        end = end->next;
    if (end) {
        db->first = end->next;
        if (!db->first)
            db->last = &db->first;
        end->next = NULL;
    }
    pthread_mutex_unlock(&db->lock);
    return list;
}

static void *writer_main(void *arg)
{
    struct db *db = arg;
    struct job *list;
    while ((list = take_batch(db)) != NULL)
        run_batch(db, list);
    return NULL;
}

static int submit(struct db *db, bool must_fit, size_t weight_bytes, struct job *j)
{
    int rc = 0;
    pthread_mutex_lock(&db->lock);
    if (db->closing)
        rc = TARE_ECLOSED;
    else if (must_fit && (db->n_jobs >= db->options.max_queue_jobs ||
                          (db->n_bytes && db->n_bytes + weight_bytes > db->options.max_queue_bytes)))
        rc = TARE_EFULL;
    if (!rc) {
        j->weight_bytes = weight_bytes;
        *db->last = j;
        db->last = &j->next;
        db->n_jobs++;
        db->n_bytes += weight_bytes;
        pthread_cond_signal(&db->have_jobs);
    }
    pthread_mutex_unlock(&db->lock);
    return rc;
}

int db_submit(struct db *db, size_t weight_bytes, db_job_fn job, db_done_fn done, void *arg)
{
    struct job *j = mem_calloc(1, sizeof *j);
    if (!j)
        return TARE_ENOMEM;
    j->run = job;
    j->done = done;
    j->arg = arg;
    j->repeatable = true;
    int rc = submit(db, true, weight_bytes, j);
    if (rc)
        mem_free(j);
    return rc;
}

void db_queue_depth(struct db *db, size_t *jobs, size_t *bytes)
{
    pthread_mutex_lock(&db->lock);
    *jobs = db->n_jobs;
    *bytes = db->n_bytes;
    pthread_mutex_unlock(&db->lock);
}

struct waiter {
    db_job_fn run;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
    int rc;
    struct err *e;
};

static int run_for_waiter(struct db_conn *c, void *arg, struct err *e)
{
    struct waiter *w = arg;
    return w->run(c, w->arg, e);
}

static void wake_waiter(int rc, const struct err *e, void *arg)
{
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    if (rc < 0 && w->e)
        *w->e = *e;
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

int db_write(struct db *db, db_job_fn job, void *arg, struct err *e)
{
    assert(!pthread_equal(pthread_self(), db->writer_thread));
    struct waiter w = {.run = job, .arg = arg, .e = e};
    struct job *j = mem_calloc(1, sizeof *j);
    if (!j)
        return err_set(e, TARE_ENOMEM, "out of memory");
    j->run = run_for_waiter;
    j->done = wake_waiter;
    j->arg = &w;
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    int rc = submit(db, false, 0, j);
    if (rc) {
        mem_free(j);
        err_set(e, rc, "the database is closed");
    } else {
        pthread_mutex_lock(&w.lock);
        while (!w.finished)
            pthread_cond_wait(&w.done, &w.lock);
        pthread_mutex_unlock(&w.lock);
        rc = w.rc;
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
    return rc;
}

/* ---- readers ---- */

static void note_open(struct db *db, struct db_conn *c)
{
    c->db = db;
    pthread_mutex_lock(&db->pool_lock);
    c->next_open = db->open;
    if (c->next_open)
        c->next_open->prev_open = c;
    db->open = c;
    pthread_mutex_unlock(&db->pool_lock);
}

/* Under the pool's lock. */
static void close_reader(struct db *db, struct db_conn *c)
{
    if (c->next_open)
        c->next_open->prev_open = c->prev_open;
    *(c->prev_open ? &c->prev_open->next_open : &db->open) = c->next_open;
    db->n_readers--;
    c->ops->close(c);
}

static int take_reader(struct db *db, struct db_conn **out, struct err *e)
{
    pthread_mutex_lock(&db->pool_lock);
    while (!db->idle && db->n_readers >= db->options.max_readers)
        pthread_cond_wait(&db->have_reader, &db->pool_lock);
    struct db_conn *c = db->idle;
    if (c)
        db->idle = c->next;
    else
        db->n_readers++;
    pthread_mutex_unlock(&db->pool_lock);
    if (c) {
        *out = c;
        return 0;
    }
    int rc = db->ops->open(db->url, false, out, e);
    if (rc) {
        pthread_mutex_lock(&db->pool_lock);
        db->n_readers--;
        pthread_cond_signal(&db->have_reader);
        pthread_mutex_unlock(&db->pool_lock);
        return rc;
    }
    note_open(db, *out);
    return 0;
}

static void give_reader(struct db *db, struct db_conn *c, bool broken)
{
    pthread_mutex_lock(&db->pool_lock);
    if (broken) {
        close_reader(db, c);
    } else {
        c->next = db->idle;
        db->idle = c;
    }
    pthread_cond_signal(&db->have_reader);
    pthread_mutex_unlock(&db->pool_lock);
}

int db_read_begin(struct db *db, struct db_conn **out, struct err *e)
{
    struct db_conn *c;
    int rc = take_reader(db, &c, e);
    if (rc)
        return rc;
    rc = c->ops->begin(c, false, e);
    if (rc) {
        give_reader(db, c, true);
        return rc;
    }
    *out = c;
    return 0;
}

void db_read_end(struct db_conn *c)
{
    if (!c)
        return;
    while (c->running)
        db_rows_end(c->running);
    c->ops->rollback(c);
    give_reader(c->db, c, c->ops->in_transaction(c));
}

/* ---- open and close ---- */

static bool is_postgres(const char *url)
{
    return strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
}

static int start(struct db *db, struct err *e)
{
    const char *path = db->ops->engine == DB_SQLITE ? db->url : NULL;
    if (path && !db->options.no_migrate)
        db_image_make(strncmp(path, "sqlite:", 7) == 0 ? path + 7 : path);
    int rc = db->ops->open(db->url, true, &db->writer, e);
    if (rc)
        return rc;
    db->writer->db = db;
    rc = db_migrate(db->writer, path, db->options.no_migrate, e);
    if (rc)
        return rc;
    mem_trim(0); /* what a migration took: the server is small when idle */
    rc = pthread_create(&db->writer_thread, NULL, writer_main, db);
    if (rc)
        return err_set(e, -rc, "starting the writer: %s", err_text(-rc));
    db->writer_started = true;
    return 0;
}

int db_open(const struct db_options *options, struct db **out, struct err *e)
{
    struct db *db = mem_calloc(1, sizeof *db);
    if (db)
        db->url = mem_strndup(options->url, strlen(options->url));
    if (!db || !db->url) {
        mem_free(db);
        return err_set(e, TARE_ENOMEM, "out of memory");
    }
    db->options = *options;
    db->options.url = db->url;
    if (db->options.max_readers <= 0)
        db->options.max_readers = DEFAULT_READERS;
    if (!db->options.max_queue_jobs)
        db->options.max_queue_jobs = DEFAULT_JOBS;
    if (!db->options.max_queue_bytes)
        db->options.max_queue_bytes = DEFAULT_BYTES;
    db->ops = is_postgres(db->url) ? &db_postgres_ops : &db_sqlite_ops;
    db->last = &db->first;
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->have_jobs, NULL);
    pthread_mutex_init(&db->pool_lock, NULL);
    pthread_cond_init(&db->have_reader, NULL);
    int rc = start(db, e);
    if (rc) {
        db_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    pthread_mutex_lock(&db->lock);
    db->closing = true;
    pthread_cond_signal(&db->have_jobs);
    pthread_mutex_unlock(&db->lock);
    if (db->writer_started)
        pthread_join(db->writer_thread, NULL);
    while (db->idle) {
        struct db_conn *c = db->idle;
        db->idle = c->next;
        close_reader(db, c);
    }
    assert(db->n_readers == 0);
    if (db->writer)
        db->writer->ops->close(db->writer);
    pthread_cond_destroy(&db->have_reader);
    pthread_mutex_destroy(&db->pool_lock);
    pthread_cond_destroy(&db->have_jobs);
    pthread_mutex_destroy(&db->lock);
    mem_free(db->url);
    mem_free(db);
}

enum db_engine db_engine(const struct db *db)
{
    return db->ops->engine;
}

enum db_engine db_conn_engine(const struct db_conn *c)
{
    return c->ops->engine;
}

void db_cancel(struct db *db)
{
    atomic_store(&db->cancelled, true);
    pthread_mutex_lock(&db->pool_lock);
    for (struct db_conn *c = db->open; c; c = c->next_open)
        c->ops->interrupt(c);
    pthread_mutex_unlock(&db->pool_lock);
    db->writer->ops->interrupt(db->writer);
}

/* ---- statements ---- */

void db_rows_link(struct db_conn *c, struct db_rows *rows)
{
    rows->conn = c;
    rows->next = c->running;
    rows->prev = &c->running;
    if (c->running)
        c->running->prev = &rows->next;
    c->running = rows;
}

void db_rows_unlink(struct db_rows *rows)
{
    *rows->prev = rows->next;
    if (rows->next)
        rows->next->prev = rows->prev;
}

int db_exec(struct db_conn *c, struct err *e, const char *sql, const struct db_value *args, int n)
{
    int rc = check_cancelled(c, e);
    return rc ? rc : c->ops->exec(c, sql, args, n, e);
}

int db_query(struct db_conn *c, struct err *e, struct db_rows **out, const char *sql,
             const struct db_value *args, int n)
{
    *out = NULL;
    int rc = check_cancelled(c, e);
    return rc ? rc : c->ops->query(c, sql, args, n, out, e);
}

int db_next(struct db_rows *rows, struct err *e)
{
    int rc = check_cancelled(rows->conn, e);
    return rc ? rc : rows->conn->ops->next(rows, e);
}

int db_first(struct db_conn *c, struct err *e, struct db_rows **out, const char *sql,
             const struct db_value *args, int n)
{
    int rc = db_query(c, e, out, sql, args, n);
    return rc < 0 ? rc : db_next(*out, e);
}

int db_get_int(struct db_conn *c, struct err *e, int64_t *value, const char *sql,
               const struct db_value *args, int n)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows, sql, args, n);
    if (rc == 1 && db_is_null(rows, 0))
        return 0;
    if (rc == 1)
        *value = db_int(rows, 0);
    return rc;
}

void db_rows_end(struct db_rows *rows)
{
    if (rows)
        rows->conn->ops->end(rows);
}

void db_rows_end_ptr(struct db_rows **rows)
{
    db_rows_end(*rows);
}

int db_columns(const struct db_rows *rows)
{
    return rows->conn->ops->columns(rows);
}

const char *db_column_name(const struct db_rows *rows, int col)
{
    return rows->conn->ops->column_name(rows, col);
}

bool db_is_null(struct db_rows *rows, int col)
{
    return rows->conn->ops->is_null(rows, col);
}

int64_t db_int(struct db_rows *rows, int col)
{
    return rows->conn->ops->get_int(rows, col);
}

double db_real(struct db_rows *rows, int col)
{
    return rows->conn->ops->get_real(rows, col);
}

const char *db_text(struct db_rows *rows, int col)
{
    return rows->conn->ops->get_text(rows, col).p;
}

struct str db_str(struct db_rows *rows, int col)
{
    return rows->conn->ops->get_text(rows, col);
}

struct str db_blob(struct db_rows *rows, int col)
{
    return rows->conn->ops->get_blob(rows, col);
}

bool db_can_read_parts(const struct db_conn *c)
{
    return c->ops->can_read_parts && c->ops->can_read_parts(c);
}

int db_part_open(struct db_conn *c, const struct db_place *at, size_t *n_bytes, struct err *e)
{
    int rc = check_cancelled(c, e);
    return rc ? rc : c->ops->part_open(c, at, n_bytes, e);
}

int db_part_read(struct db_conn *c, size_t offset, size_t n, void *to, struct err *e)
{
    return c->ops->part_read(c, offset, n, to, e);
}

int db_script(struct db_conn *c, struct err *e, const char *sql)
{
    return c->ops->script(c, sql, e);
}

const char *db_for_update(const struct db_conn *c)
{
    return c->ops->for_update;
}

const char *db_for_reference(const struct db_conn *c)
{
    return c->ops->for_reference;
}

/* ---- keeping ---- */

int db_copy(struct db *db, const char *path, struct err *e)
{
    struct db_conn *c;
    int rc = take_reader(db, &c, e);
    if (rc)
        return rc;
    rc = c->ops->copy(c, path, e);
    give_reader(db, c, false);
    return rc;
}

int db_verify(struct db *db, struct err *e)
{
    struct db_conn *c;
    int rc = take_reader(db, &c, e);
    if (rc)
        return rc;
    rc = c->ops->verify(c, e);
    give_reader(db, c, false);
    return rc;
}

static int shrink_job(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return c->ops->shrink(c, e);
}

int db_shrink(struct db *db, struct err *e)
{
    struct db_conn *c;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    bool slack = c->ops->has_slack(c);
    db_read_end(c);
    if (!slack)
        return 0;
    rc = db_write(db, shrink_job, NULL, e);
    return rc < 0 ? rc : 1;
}

static int trim_job(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return c->ops->trim(c, e);
}

int db_trim(struct db *db, struct err *e)
{
    struct db_conn *c, *more;
    int rc = take_reader(db, &c, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&db->pool_lock);
    while ((more = db->idle) != NULL) {
        db->idle = more->next;
        close_reader(db, more);
    }
    pthread_mutex_unlock(&db->pool_lock);
    rc = c->ops->trim(c, e);
    give_reader(db, c, rc < 0);
    return rc < 0 ? rc : db_write(db, trim_job, NULL, e);
}

static int limit_job(struct db_conn *c, void *arg, struct err *e)
{
    return c->ops->limit(c, *(int64_t *)arg, e);
}

int db_limit(struct db *db, int64_t max_bytes, struct err *e)
{
    if (max_bytes == db->limit_bytes)
        return 0;
    int rc = db_write(db, limit_job, &max_bytes, e);
    if (rc >= 0)
        db->limit_bytes = max_bytes;
    return rc < 0 ? rc : 0;
}

int64_t db_size_bytes(struct db *db)
{
    struct db_conn *c;
    if (take_reader(db, &c, NULL) != 0)
        return 0;
    int64_t n = c->ops->size_bytes(c);
    give_reader(db, c, false);
    return n;
}
