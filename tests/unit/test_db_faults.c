/* SPDX-License-Identifier: MIT */
/* The nth write to the disk fails, for every n: what was acknowledged is there afterwards, once; nothing is half
 * there; and the database works on when the disk does. */
#include "tests/support/fault_vfs.h"
#include "tests/support/store_fixture.h"

#include "server/ingest/filestream.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POSTS = 6, LINES = 40 };

static int setup(void **state)
{
    bool in_memory = access("/dev/shm", W_OK) == 0; /* where syncing costs nothing */
    *state = store_fixture_new(in_memory ? "/dev/shm" : "/tmp", "test_db_faults");
    return 0;
}

static void empty_dir(struct fixture *f)
{
    char command[200];
    snprintf(command, sizeof command, "rm -f %s/*", f->dir);
    assert_int_equal(system(command), 0);
}

static void start_again(struct fixture *f)
{
    db_close(f->db);
    f->db = NULL;
    empty_dir(f);
    store_fixture_open(f);
    store_fixture_make_runs(f);
}

struct post_args {
    struct filestream fs;
    struct filestream_answer answer;
};

static int post_job(struct db_conn *c, void *arg, struct err *e)
{
    struct post_args *p = arg;
    return filestream_store(c, 1, 0, &p->fs, &p->answer, e);
}

static int post(struct fixture *f, int n)
{
    AUTO_BUF body = {0};
    struct post_args p = {.fs = {.n_values = 0}};
    buf_printf(&body, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":%d,\"content\":[", n * LINES);
    for (int i = n * LINES; i < (n + 1) * LINES; i++)
        buf_printf(&body, "%s\"{\\\"_step\\\":%d}\"", i % LINES ? "," : "", i);
    buf_puts(&body, "]}}}");
    assert_int_equal(filestream_read(buf_str(&body), &p.fs, &f->e), 0);
    int rc = db_write(f->db, post_job, &p, &f->e);
    filestream_fini(&p.fs);
    return rc;
}

struct seen {
    int lines[POSTS + 1];
};

static int see_row(void *arg, struct str row)
{
    struct seen *s = arg;
    s->lines[atoi(row.p + 9) / LINES]++;
    return 0;
}

/* Acknowledged posts are there whole, others whole or not at all. */
static void check(struct fixture *f, const int *rc, int nth)
{
    struct seen s = {{0}};
    struct db_conn *c;
    struct history_query q = {.run = 1, .max_step = INT64_MAX};
    if (db_verify(f->db, &f->e) != 0)
        fail_msg("fault %d: %s", nth, f->e.text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_verify(c, &f->e), 0);
    assert_int_equal(history_scan(c, &q, see_row, &s, &f->e), 0);
    db_read_end(c);
    for (int i = 0; i < POSTS; i++) {
        if (rc[i] == 0 && s.lines[i] != LINES)
            fail_msg("fault %d: post %d was acknowledged, %d lines are there", nth, i, s.lines[i]);
        if (s.lines[i] != LINES && s.lines[i] != 0)
            fail_msg("fault %d: post %d is there in part", nth, i);
    }
}

static void every_fault(struct fixture *f, int code, int repeat)
{
    for (int nth = 1;; nth += nth < 40 ? 1 : 7) {
        int rc[POSTS];
        start_again(f);
        fault_vfs = (struct fault_vfs){.countdown = nth, .repeat = repeat, .code = code};
        for (int i = 0; i < POSTS; i++) {
            rc[i] = post(f, i);
            if (i == POSTS / 2)
                history_merge(f->db, 1, true, &f->e);
        }
        int fired = fault_vfs.fired;
        fault_vfs = (struct fault_vfs){0};
        for (int i = 0; i < POSTS; i++) /* the client tries again, the disk is well */
            assert_int_equal(rc[i] ? post(f, i) : 0, 0);
        int all_well[POSTS] = {0};
        check(f, all_well, nth);
        db_close(f->db);
        f->db = NULL;
        store_fixture_open(f);
        check(f, all_well, nth);
        if (!fired) {
            assert_true(nth > 20);
            break;
        }
    }
}

static void test_one_write_fails(void **state)
{
    every_fault(*state, SQLITE_IOERR_WRITE, 1);
}

static void test_the_disk_is_full_for_a_while(void **state)
{
    every_fault(*state, SQLITE_FULL, 5);
}

static void test_syncing_fails(void **state)
{
    every_fault(*state, SQLITE_IOERR_FSYNC, 3);
}

/* The process ends right after the fault: only what is on the disk counts. */
static void test_what_was_acknowledged_before_a_fault_is_on_the_disk(void **state)
{
    struct fixture *f = *state;
    for (int nth = 1; nth < 30; nth++) {
        int rc[POSTS];
        start_again(f);
        fault_vfs = (struct fault_vfs){.countdown = nth, .repeat = 1000000, .code = SQLITE_IOERR_WRITE};
        for (int i = 0; i < POSTS; i++)
            rc[i] = post(f, i);
        db_close(f->db); /* its checkpoint fails too */
        f->db = NULL;
        fault_vfs = (struct fault_vfs){0};
        store_fixture_open(f);
        check(f, rc, nth);
    }
}

/* What it leaves behind is no obstacle for the next one. The file is there, empty, so that SQLite makes the tables: the
 * ready-made file does not come by way of SQLite (test_db_image.c). */
static void first_start_fails(struct fixture *f, int code)
{
    int fired = 1;
    for (int nth = 1; fired; nth += nth < 40 ? 1 : 7) {
        struct db_options options = {.url = f->path};
        empty_dir(f);
        fclose(fopen(f->path, "w"));
        fault_vfs = (struct fault_vfs){.countdown = nth, .repeat = 1, .code = code};
        int rc = db_open(&options, &f->db, &f->e);
        fired = fault_vfs.fired;
        fault_vfs = (struct fault_vfs){0};
        if (fired && rc == 0)
            fail_msg("fault %d: the first start did not notice", nth);
        if (rc) {
            f->db = NULL;
            store_fixture_open(f);
        }
        store_fixture_make_runs(f);
        assert_int_equal(db_verify(f->db, &f->e), 0);
        db_close(f->db);
        f->db = NULL;
        if (!fired && code == SQLITE_IOERR_FSYNC)
            assert_true(nth > 1); /* there was one: the file itself is waited for */
    }
}

static void test_a_first_start_that_fails_is_done_again(void **state)
{
    first_start_fails(*state, SQLITE_IOERR_FSYNC);
    first_start_fails(*state, SQLITE_FULL);
}

/* The data are there afterwards, whatever of it failed, and so is the copy that is made before. */
static void upgrade_fails(struct fixture *f, int code)
{
    int fired = 1;
    char copy[128];
    snprintf(copy, sizeof copy, "%s.before-5", f->path);
    for (int nth = 1; fired; nth += nth < 40 ? 1 : 7) {
        int rc[POSTS];
        start_again(f);
        for (int i = 0; i < POSTS; i++)
            assert_int_equal(rc[i] = post(f, i), 0);
        store_fixture_close_as_version_4(f);
        fault_vfs = (struct fault_vfs){.countdown = nth, .repeat = 3, .code = code};
        struct db_options options = {.url = f->path};
        int opened = db_open(&options, &f->db, &f->e);
        fired = fault_vfs.fired;
        fault_vfs = (struct fault_vfs){0};
        if (opened) {
            assert_true(fired);
            f->db = NULL;
            store_fixture_open(f);
        }
        check(f, rc, nth);
        assert_int_equal(db_verify(f->db, &f->e), 0);
        db_close(f->db);
        struct db_options old = {.url = copy, .no_migrate = true};
        assert_int_equal(db_open(&old, &f->db, &f->e), TARE_EUNSUPPORTED); /* whole, and of the old version */
        f->db = NULL;
    }
    store_fixture_open(f);
}

static void test_an_upgrade_that_fails_is_done_again(void **state)
{
    upgrade_fails(*state, SQLITE_FULL);
    upgrade_fails(*state, SQLITE_IOERR_FSYNC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_fixture_teardown)

int main(void)
{
    fault_vfs_install();
    const struct CMUnitTest tests[] = {
        TEST(test_one_write_fails),
        TEST(test_the_disk_is_full_for_a_while),
        TEST(test_syncing_fails),
        TEST(test_what_was_acknowledged_before_a_fault_is_on_the_disk),
        TEST(test_a_first_start_that_fails_is_done_again),
        TEST(test_an_upgrade_that_fails_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
