/* SPDX-License-Identifier: MIT */
#include "tests/support/store_fixture.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "server/store/db.h"
#include "server/store/db_engine.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
    return store_fixture_setup(state, "test_db");
}

static int set_setting(struct db_conn *c, void *arg, struct err *e)
{
    const char **pair = arg;
    return db_exec(c, e,
                   "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, 1) "
                   "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                   DB_ARGS(db_t(pair[0]), db_t(pair[1])));
}

static int put(struct fixture *f, const char *name, const char *value)
{
    const char *pair[] = {name, value};
    return db_write(f->db, set_setting, pair, &f->e);
}

static char *get(struct fixture *f, const char *name)
{
    struct db_conn *c;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    struct db_rows *rows;
    int rc = db_first(c, &f->e, &rows, "SELECT value FROM settings WHERE name = $1", DB_ARGS(db_t(name)));
    assert_in_range(rc, 0, 1);
    char *value = rc ? strdup(db_text(rows, 0)) : NULL;
    db_rows_end(rows);
    db_read_end(c);
    return value;
}

static void assert_setting(struct fixture *f, const char *name, const char *want)
{
    char *value = get(f, name);
    if (want)
        assert_string_equal(value, want);
    else
        assert_null(value);
    free(value);
}

static void test_what_is_written_is_read_also_after_reopening(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, "colour", "green"), 1);
    assert_setting(f, "colour", "green");
    assert_int_equal(put(f, "colour", "blue"), 1);
    db_close(f->db);
    store_fixture_open(f);
    assert_setting(f, "colour", "blue");
    assert_setting(f, "size", NULL);
}

static int write_then_fail(struct db_conn *c, void *arg, struct err *e)
{
    assert_int_equal(set_setting(c, arg, e), 1);
    return err_set(e, TARE_EPERM, "not today");
}

static void test_a_failed_job_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    const char *pair[] = {"colour", "red"};
    assert_int_equal(db_write(f->db, write_then_fail, pair, &f->e), TARE_EPERM);
    assert_string_equal(f->e.text, "not today");
    assert_setting(f, "colour", NULL);
}

static int insert_user_twice(struct db_conn *c, void *arg, struct err *e)
{
    const char *sql = "INSERT INTO users (username, created_at) VALUES ($1, 1)";
    assert_int_equal(db_exec(c, e, sql, DB_ARGS(db_t(arg))), 1);
    return db_exec(c, e, sql, DB_ARGS(db_t(arg)));
}

static int overlook_a_failure(struct db_conn *c, void *arg, struct err *e)
{
    assert_int_equal(set_setting(c, arg, e), 1);
    assert_true(db_exec(c, NULL, "SELECT nothing FROM nowhere", DB_NONE) < 0);
    return 0;
}

/* PostgreSQL ends a transaction in which a statement has failed with a rollback, also when it is told to commit. */
static void test_nothing_is_called_written_that_is_not(void **state)
{
    struct fixture *f = *state;
    const char *pair[] = {"colour", "green"};
    int rc = db_write(f->db, overlook_a_failure, pair, &f->e);
    assert_setting(f, "colour", rc < 0 ? NULL : "green");
    assert_true(rc == 0 || f->e.text[0]);
}

static int insert_orphan(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "INSERT INTO api_keys (user_id, hash, created_at) VALUES (4711, 'x', 1)", DB_NONE);
}

static int bad_sql(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "SELECT nothing FROM nowhere", DB_NONE);
}

static void test_errors_have_their_codes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(db_write(f->db, insert_user_twice, "ann", &f->e), TARE_EEXIST);
    assert_int_equal(db_write(f->db, insert_orphan, NULL, &f->e), TARE_ECONFLICT);
    assert_int_equal(db_write(f->db, bad_sql, NULL, &f->e), TARE_EINVAL);
    assert_int_equal(put(f, "still", "works"), 1);
}

static int values_round_trip(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    static const char bytes[] = "\0\x01\xff'\"";
    assert_int_equal(db_script(c, e, "CREATE TABLE t (i BIGINT, d DOUBLE PRECISION, s TEXT, b BYTEA, n BIGINT)"), 0);
    int rc = db_exec(c, e, "INSERT INTO t (n, b, s, d, i) VALUES ($5, $4, $3, $2, $1)",
                     DB_ARGS(db_i(INT64_MIN), db_d(-0.1), db_s(STR("it's $1 \xc3\xa9")),
                             db_b(bytes, 5), db_n()));
    assert_int_equal(rc, 1);
    struct db_rows *rows;
    assert_int_equal(db_first(c, e, &rows, "SELECT i, d, s, b, n, '$9' FROM t WHERE i = $1", DB_ARGS(db_i(INT64_MIN))), 1);
    assert_true(db_int(rows, 0) == INT64_MIN);
    assert_true(db_real(rows, 1) == -0.1);
    assert_string_equal(db_text(rows, 2), "it's $1 \xc3\xa9");
    assert_int_equal(db_blob(rows, 3).n, 5);
    assert_memory_equal(db_blob(rows, 3).p, bytes, 5);
    assert_true(db_is_null(rows, 4));
    assert_null(db_text(rows, 4));
    assert_string_equal(db_text(rows, 5), "$9");
    assert_int_equal(db_next(rows, e), 0);
    db_rows_end(rows);
    return 0;
}

static void test_values_come_back_exactly(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(db_write(f->db, values_round_trip, NULL, &f->e), 0);
}

static int nested_queries(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    const char *sql = "SELECT a.v FROM (SELECT 1 AS v UNION ALL SELECT 2) AS a ORDER BY a.v";
    int pairs = 0;
    AUTO_ROWS struct db_rows *outer = NULL;
    assert_int_equal(db_query(c, e, &outer, sql, DB_NONE), 0);
    while (db_next(outer, e) == 1) {
        AUTO_ROWS struct db_rows *inner = NULL;
        assert_int_equal(db_query(c, e, &inner, sql, DB_NONE), 0);
        while (db_next(inner, e) == 1)
            pairs++;
    }
    assert_int_equal(pairs, 4);
    struct db_rows *left_open;
    assert_int_equal(db_first(c, e, &left_open, sql, DB_NONE), 1); /* ended with the job */
    return 0;
}

/* A row with `n` bytes, byte i of which is i / 7 + seed. */
static char blob_byte(size_t i, int64_t seed)
{
    return (char)((int64_t)(i / 7) + seed);
}

static int put_blobs(struct db_conn *c, void *arg, struct err *e)
{
    size_t *n = arg;
    char *bytes = malloc(*n);
    int rc = 0;
    for (int64_t run = 1; run <= 2 && rc >= 0; run++) {
        for (size_t i = 0; i < *n; i++)
            bytes[i] = blob_byte(i, run);
        rc = db_exec(c, e,
                     "INSERT INTO history_segments (id, run_id, stream, first_line, n_lines, level, min_step, max_step, "
                     "sorted, n_groups, directory, data) VALUES ($1, $1, 0, 0, 1, 0, 0, 0, 1, 1, $2, $3)",
                     DB_ARGS(db_i(run), db_b("d", 1), db_b(bytes, *n)));
    }
    free(bytes);
    return rc;
}

static void test_parts_of_a_large_value_are_read_alone(void **state)
{
    struct fixture *f = *state;
    struct db_conn *c;
    size_t size = 100000, n;
    char part[3000];
    assert_true(db_write(f->db, put_blobs, &size, &f->e) >= 0);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    if (!db_can_read_parts(c)) {
        db_read_end(c);
        skip();
    }
    const size_t starts[] = {0, 97000, 1, 8190, 50000, 0};
    for (int i = 0; i < 12; i++) {
        struct db_place at = {"history_segments", "data", 1 + i / 6};
        size_t from = starts[i % 6];
        assert_int_equal(db_part_open(c, &at, &n, &f->e), 0);
        assert_int_equal(n, size);
        assert_int_equal(db_part_read(c, from, sizeof part, part, &f->e), 0);
        for (size_t k = 0; k < sizeof part; k++)
            if (part[k] != blob_byte(from + k, at.id))
                fail_msg("byte %zu of row %d", from + k, (int)at.id);
    }
    struct db_place gone = {"history_segments", "data", 3}, directory = {"history_segments", "directory", 2},
                    number = {"history_segments", "run_id", 2}, first = {"history_segments", "data", 1};
    assert_true(db_part_open(c, &gone, &n, &f->e) < 0);
    assert_int_equal(db_part_open(c, &directory, &n, &f->e), 0);
    assert_int_equal(n, 1);
    assert_true(db_part_open(c, &number, &n, &f->e) < 0);
    assert_int_equal(db_part_open(c, &first, &n, &f->e), 0); /* after a failure too */
    assert_int_equal(n, size);
    db_read_end(c);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0); /* and in the next transaction */
    assert_int_equal(db_part_open(c, &first, &n, &f->e), 0);
    assert_int_equal(db_part_read(c, 0, 1, part, &f->e), 0);
    assert_int_equal(part[0], 1);
    db_read_end(c);
}

static void test_a_query_may_run_inside_itself(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(db_write(f->db, nested_queries, NULL, &f->e), 0);
    assert_int_equal(put(f, "still", "works"), 1);
}

static void test_a_reader_keeps_its_snapshot(void **state)
{
    struct fixture *f = *state;
    put(f, "colour", "green");
    struct db_conn *c;
    int64_t n = -1;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    const char *sql = "SELECT COUNT(*) FROM settings";
    assert_int_equal(db_get_int(c, &f->e, &n, sql, DB_NONE), 1);
    assert_int_equal(n, 1);
    put(f, "size", "large");
    assert_int_equal(db_get_int(c, &f->e, &n, sql, DB_NONE), 1);
    assert_int_equal(n, 1);
    db_read_end(c);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &n, sql, DB_NONE), 1);
    assert_int_equal(n, 2);
    db_read_end(c);
}

struct counter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done, failed;
};

static int add_row(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "INSERT INTO organizations (name, created_at) SELECT 'o' || COUNT(*), 1 FROM organizations",
                   DB_NONE);
}

/* Writes, and is then to leave no trace. */
static int write_and_fail(struct db_conn *c, void *arg, struct err *e)
{
    int rc = add_row(c, arg, e);
    return rc < 0 ? rc : err_set(e, TARE_EPERM, "no");
}

static void count_done(int rc, const struct err *e, void *arg)
{
    (void)e;
    struct counter *n = arg;
    pthread_mutex_lock(&n->lock);
    n->done++;
    n->failed += rc < 0;
    pthread_cond_signal(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static void test_many_jobs_are_each_done_once(void **state)
{
    struct fixture *f = *state;
    struct counter n = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(db_submit(f->db, 10, i % 10 == 3 ? bad_sql : i % 50 == 7 ? write_and_fail : add_row,
                                   count_done, &n), 0);
    pthread_mutex_lock(&n.lock);
    while (n.done < 1000)
        pthread_cond_wait(&n.changed, &n.lock);
    pthread_mutex_unlock(&n.lock);
    assert_int_equal(n.failed, 120);
    struct db_conn *c;
    int64_t rows;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &rows, "SELECT COUNT(*) FROM organizations", DB_NONE), 1);
    db_read_end(c);
    assert_int_equal(rows, 880);
}

static int wait_for_gate(struct db_conn *c, void *arg, struct err *e)
{
    (void)c;
    (void)e;
    struct counter *gate = arg;
    pthread_mutex_lock(&gate->lock);
    pthread_mutex_unlock(&gate->lock);
    return 0;
}

static void keep_rc(int rc, const struct err *e, void *arg)
{
    (void)e;
    *(int *)arg = rc;
}

/* All wait together at the gate, and are done in one transaction if they can be: each has its own end. */
static void test_one_that_fails_takes_none_with_it(void **state)
{
    struct fixture *f = *state;
    struct counter gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    int rc[5] = {99, 99, 99, 99, 99};
    static const db_job_fn jobs[] = {add_row, write_and_fail, add_row, bad_sql, add_row};
    struct db_conn *c;
    int64_t rows, last;
    pthread_mutex_lock(&gate.lock);
    assert_int_equal(db_submit(f->db, 1, wait_for_gate, count_done, &gate), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(db_submit(f->db, 1, jobs[i], keep_rc, &rc[i]), 0);
    pthread_mutex_unlock(&gate.lock);
    for (size_t n_jobs = 1, n_bytes; n_jobs; usleep(1000)) /* a job of db_write's must not join them */
        db_queue_depth(f->db, &n_jobs, &n_bytes);
    assert_int_equal(db_write(f->db, add_row, NULL, &f->e), 1); /* behind them */
    assert_true(rc[0] == 1 && rc[1] == TARE_EPERM && rc[2] == 1 && rc[3] < 0 && rc[4] == 1);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &rows, "SELECT COUNT(*) FROM organizations", DB_NONE), 1);
    assert_int_equal(db_get_int(c, &f->e, &last, "SELECT COUNT(*) FROM organizations WHERE name = 'o3'", DB_NONE), 1);
    db_read_end(c);
    assert_int_equal(rows, 4);
    assert_int_equal(last, 1);
}

static void test_a_full_queue_refuses(void **state)
{
    struct fixture *f = *state;
    db_close(f->db);
    struct db_options options = {.url = f->url, .max_queue_jobs = 3, .max_queue_bytes = 1000};
    assert_int_equal(db_open(&options, &f->db, &f->e), 0);
    struct counter n = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct counter gate = n;
    pthread_mutex_lock(&gate.lock);
    assert_int_equal(db_submit(f->db, 400, wait_for_gate, count_done, &gate), 0);
    assert_int_equal(db_submit(f->db, 700, add_row, count_done, &n), TARE_EFULL);
    assert_int_equal(db_submit(f->db, 1, add_row, count_done, &n), 0);
    assert_int_equal(db_submit(f->db, 1, add_row, count_done, &n), 0);
    assert_int_equal(db_submit(f->db, 1, add_row, count_done, &n), TARE_EFULL);
    pthread_mutex_unlock(&gate.lock);
    assert_int_equal(put(f, "still", "works"), 1);
}

/* A statement that takes for ever, read or written by. */
#define FOR_EVER "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000) "

struct endless {
    struct fixture *f;
    bool write;
    atomic_bool began, ended;
    int rc;
    struct err e;
};

static int write_for_ever(struct db_conn *c, void *arg, struct err *e)
{
    struct endless *x = arg;
    int rc = db_exec(c, e, "INSERT INTO settings (name, value, updated_at) VALUES ('half', 'done', 1)", DB_NONE);
    atomic_store(&x->began, true);
    return rc < 0 ? rc : db_exec(c, e, FOR_EVER "UPDATE settings SET updated_at = (SELECT count(*) FROM n)", DB_NONE);
}

static void *run_for_ever(void *arg)
{
    struct endless *x = arg;
    struct db_conn *c;
    int64_t n = 0;
    if (x->write) {
        x->rc = db_write(x->f->db, write_for_ever, x, &x->e);
    } else if ((x->rc = db_read_begin(x->f->db, &c, &x->e)) == 0) {
        atomic_store(&x->began, true);
        x->rc = db_get_int(c, &x->e, &n, FOR_EVER "SELECT count(*) FROM n", DB_NONE);
        db_read_end(c);
    }
    atomic_store(&x->ended, true);
    return NULL;
}

static void test_what_takes_for_ever_is_cancelled(void **state)
{
    struct fixture *f = *state;
    struct endless all[2] = {{.f = f}, {.f = f, .write = true}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_for_ever, &all[i]), 0);
    while (!all[0].began || !all[1].began)
        usleep(1000);
    usleep(100000);
    for (int tries = 0; !all[0].ended || !all[1].ended; tries++) {
        assert_true(tries < 100);
        db_cancel(f->db);
        usleep(50000);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(all[i].rc, TARE_ECANCELLED);
    }
    assert_int_equal(put(f, "nothing", "more"), TARE_ECANCELLED);
    db_close(f->db); /* and the half that was done is not there */
    struct db_options options = {.url = f->url};
    assert_int_equal(db_open(&options, &f->db, &f->e), 0);
    struct db_conn *c;
    int64_t n = -1;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &n, "SELECT count(*) FROM settings WHERE name IN ('half', 'nothing')", DB_NONE), 1);
    assert_int_equal(n, 0);
    db_read_end(c);
}

static int raise_version(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "INSERT INTO schema_versions (version, name, applied_at) VALUES (9999, 'future', 1)", DB_NONE);
}

static void test_a_newer_schema_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(db_write(f->db, raise_version, NULL, &f->e), 1);
    db_close(f->db);
    f->db = NULL;
    struct db_options options = {.url = f->url};
    assert_int_equal(db_open(&options, &f->db, &f->e), TARE_EUNSUPPORTED);
    assert_non_null(strstr(f->e.text, "9999"));
}

static void test_migrating_keeps_a_copy(void **state)
{
    struct fixture *f = *state;
    if (f->url != f->path)
        skip();
    put(f, "colour", "green");
    store_fixture_close_as_version_4(f);
    struct db_options options = {.url = f->url, .no_migrate = true};
    assert_int_equal(db_open(&options, &f->db, &f->e), TARE_EUNSUPPORTED);
    store_fixture_open(f);
    assert_setting(f, "colour", "green");
    char copy[128];
    snprintf(copy, sizeof copy, "%s.before-5", f->path);
    assert_int_equal(access(copy, R_OK), 0);
}

static void test_a_copy_is_complete_and_sound(void **state)
{
    struct fixture *f = *state;
    if (f->url != f->path)
        skip();
    put(f, "colour", "green");
    char copy[128];
    snprintf(copy, sizeof copy, "%s.copy", f->path);
    assert_int_equal(db_copy(f->db, copy, &f->e), 0);
    assert_int_equal(db_copy(f->db, copy, &f->e), TARE_EEXIST);
    assert_int_equal(db_verify(f->db, &f->e), 0);
    assert_true(db_size_bytes(f->db) > 8192);
    db_close(f->db);
    f->url = copy;
    store_fixture_open(f);
    assert_setting(f, "colour", "green");
    assert_int_equal(db_verify(f->db, &f->e), 0);
}

static int fill_and_empty(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    static char page[8000];
    for (int i = 0; i < 1500; i++)
        if (db_exec(c, e, "INSERT INTO console_blocks (run_id, first_line, n_lines, raw_bytes, data) "
                          "VALUES (1, $1, 1, 1, $2)", DB_ARGS(db_i(i), db_b(page, sizeof page))) != 1)
            return TARE_EIO;
    return db_exec(c, e, "DELETE FROM console_blocks", DB_NONE);
}

static int64_t page_count(struct fixture *f)
{
    struct db_conn *c;
    int64_t n = 0;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &n, "PRAGMA page_count", DB_NONE), 1);
    db_read_end(c);
    return n;
}

static void test_empty_pages_are_given_back(void **state)
{
    struct fixture *f = *state;
    if (f->url != f->path)
        skip();
    assert_int_equal(db_shrink(f->db, &f->e), 0);
    assert_int_equal(db_write(f->db, fill_and_empty, NULL, &f->e), 1500);
    int64_t before = page_count(f);
    while (db_shrink(f->db, &f->e) == 1)
        continue;
    assert_in_range(page_count(f), 1, before - 900);
    assert_int_equal(db_verify(f->db, &f->e), 0);
}

static void *trim_often(void *arg)
{
    struct fixture *f = arg;
    struct err e = {0};
    for (int i = 0; i < 50; i++)
        assert_int_equal(db_trim(f->db, &e), 0);
    return NULL;
}

static void test_memory_is_given_back_while_others_read_and_write(void **state)
{
    struct fixture *f = *state;
    struct db_conn *readers[3];
    pthread_t trimmer;
    struct db_rows *rows;
    for (int i = 0; i < 3; i++)
        assert_int_equal(db_read_begin(f->db, &readers[i], &f->e), 0);
    assert_int_equal(db_query(readers[0], &f->e, &rows, "SELECT 1 UNION SELECT 2", DB_NONE), 0);
    assert_int_equal(db_next(rows, &f->e), 1);
    assert_int_equal(pthread_create(&trimmer, NULL, trim_often, f), 0);
    for (int i = 0; i < 50; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(put(f, "colour", value), 1);
        assert_setting(f, "colour", value);
    }
    pthread_join(trimmer, NULL);
    assert_int_equal(db_next(rows, &f->e), 1); /* a query that is running is left alone */
    assert_int_equal(db_int(rows, 0), 2);
    for (int i = 0; i < 3; i++)
        db_read_end(readers[i]);
    assert_int_equal(db_trim(f->db, &f->e), 0);
    assert_setting(f, "colour", "49");
}

/* Writes settings k0, k1, ... and says on `fd` after each that it is durable. */
static void write_until_killed(const char *path, int fd)
{
    struct fixture f = {.url = path};
    struct db_options options = {.url = path};
    if (db_open(&options, &f.db, &f.e) != 0)
        _exit(1);
    for (int i = 0;; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        if (put(&f, name, "v") != 1 || write(fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static void test_what_was_acknowledged_survives_a_kill(void **state)
{
    struct fixture *f = *state;
    if (f->url != f->path)
        skip();
    db_close(f->db);
    f->db = NULL;
    for (int round = 0; round < 5; round++) {
        int pipe_fds[2], last = -1, i;
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipe_fds[0]);
            write_until_killed(f->path, pipe_fds[1]);
        }
        close(pipe_fds[1]);
        int stop_after = 5 + round * 17;
        while (read(pipe_fds[0], &i, sizeof i) == sizeof i)
            if ((last = i) == stop_after)
                kill(child, SIGKILL);
        close(pipe_fds[0]);
        waitpid(child, NULL, 0);
        store_fixture_open(f);
        assert_int_equal(db_verify(f->db, &f->e), 0);
        for (i = 0; i <= last; i++) {
            char name[16];
            snprintf(name, sizeof name, "k%d", i);
            assert_setting(f, name, "v");
        }
        db_close(f->db);
        f->db = NULL;
    }
}

static void test_running_out_of_memory_is_an_error_not_a_crash(void **state)
{
    struct fixture *f = *state;
    for (int nth = 1;; nth++) {
        mem_fault_set(nth, 1);
        int rc = put(f, "colour", "green");
        int fired = mem_fault_fired();
        mem_fault_set(0, 0);
        if (!fired) {
            assert_int_equal(rc, 1);
            break;
        }
    }
    assert_setting(f, "colour", "green");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_written_is_read_also_after_reopening),
        TEST(test_a_failed_job_leaves_no_trace),
        TEST(test_nothing_is_called_written_that_is_not),
        TEST(test_errors_have_their_codes),
        TEST(test_values_come_back_exactly),
        TEST(test_parts_of_a_large_value_are_read_alone),
        TEST(test_a_query_may_run_inside_itself),
        TEST(test_a_reader_keeps_its_snapshot),
        TEST(test_many_jobs_are_each_done_once),
        TEST(test_one_that_fails_takes_none_with_it),
        TEST(test_a_full_queue_refuses),
        TEST(test_what_takes_for_ever_is_cancelled),
        TEST(test_a_newer_schema_is_refused),
        TEST(test_migrating_keeps_a_copy),
        TEST(test_a_copy_is_complete_and_sound),
        TEST(test_empty_pages_are_given_back),
        TEST(test_memory_is_given_back_while_others_read_and_write),
        TEST(test_what_was_acknowledged_survives_a_kill),
        TEST(test_running_out_of_memory_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
