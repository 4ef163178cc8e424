/* SPDX-License-Identifier: MIT */
/* A new database from the image is the one that the migrations make, and it is there whole or not at all. */
#include "unit.h"

#include "../support/fake_os.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "server/store/db.h"
#include "server/store/db_engine.h"
#include "server/store/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char dir[64], path[96];
    struct err e;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_db_image.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/tare.db", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}

/* Files without a name are needed: not all file systems have them. */
static void need_unnamed_files(const struct fixture *f)
{
    int fd = open(f->dir, O_RDWR | O_TMPFILE, 0600);
    if (fd < 0)
        skip();
    close(fd);
}

static int n_files(const struct fixture *f)
{
    DIR *d = opendir(f->dir);
    int n = -2; /* . and .. */
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void make_empty(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static struct db *open_db(struct fixture *f, const char *path)
{
    struct db_options options = {.url = path};
    struct db *db;
    if (db_open(&options, &db, &f->e) != 0)
        fail_msg("%s", f->e.text);
    return db;
}

/* All values of all rows, in words. */
static void put_answer(struct fixture *f, struct db_conn *c, const char *sql, struct buf *to)
{
    struct db_rows *rows;
    int rc = db_query(c, &f->e, &rows, sql, DB_NONE);
    buf_printf(to, "%s\n", sql);
    while (rc >= 0 && (rc = db_next(rows, &f->e)) == 1) {
        for (int i = 0; i < db_columns(rows); i++)
            buf_printf(to, "%s|", db_is_null(rows, i) ? "null" : db_text(rows, i));
        buf_putc(to, '\n');
    }
    assert_int_equal(rc, 0);
    db_rows_end(rows);
}

static void describe(struct fixture *f, struct db *db, struct buf *to)
{
    static const char *const questions[] = {
        "SELECT rowid, type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid",
        "SELECT version, name FROM schema_versions ORDER BY rowid",
        "PRAGMA page_size", "PRAGMA auto_vacuum", "PRAGMA journal_mode", "PRAGMA encoding", "PRAGMA user_version",
        "PRAGMA application_id", "PRAGMA schema_version", "PRAGMA page_count", "PRAGMA freelist_count",
        "PRAGMA foreign_key_check", "PRAGMA integrity_check",
    };
    struct db_conn *c;
    assert_int_equal(db_read_begin(db, &c, &f->e), 0);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        put_answer(f, c, questions[i], to);
    db_read_end(c);
}

static void test_it_is_what_the_migrations_make(void **state)
{
    struct fixture *f = *state;
    char migrated[128];
    AUTO_BUF ready_made = {0}, made = {0};
    struct db_conn *c;
    int64_t first, last, before = clock_wall_ns() / 1000;
    need_unnamed_files(f);
    assert_true(db_image_make(f->path));
    struct db *db = open_db(f, f->path);
    describe(f, db, &ready_made);
    assert_int_equal(db_read_begin(db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &first, "SELECT MIN(applied_at) FROM schema_versions", DB_NONE), 1);
    assert_int_equal(db_get_int(c, &f->e, &last, "SELECT MAX(applied_at) FROM schema_versions", DB_NONE), 1);
    db_read_end(c);
    assert_in_range(first, before, clock_wall_ns() / 1000);
    assert_int_equal(first, last);
    db_close(db);

    snprintf(migrated, sizeof migrated, "%s/migrated.db", f->dir);
    make_empty(migrated);
    db = open_db(f, migrated);
    describe(f, db, &made);
    db_close(db);
    assert_non_null(strstr(buf_z(&made), "CREATE TABLE runs"));
    assert_string_equal(buf_z(&ready_made), buf_z(&made));
}

static void test_opening_a_new_file_takes_it(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    need_unnamed_files(f);
    db_close(open_db(f, f->path));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, db_image.size);
    assert_int_equal(n_files(f), 1);
}

static void test_what_is_there_is_left_alone(void **state)
{
    struct fixture *f = *state;
    char other[128];
    make_empty(f->path);
    assert_false(db_image_make(f->path));
    assert_int_equal(unlink(f->path), 0);
    static const char *const suffixes[] = {"-wal", "-journal"};
    for (int i = 0; i < 2; i++) {
        snprintf(other, sizeof other, "%s%s", f->path, suffixes[i]);
        make_empty(other);
        assert_false(db_image_make(f->path));
        assert_int_equal(n_files(f), 1);
        assert_int_equal(unlink(other), 0);
    }
    snprintf(other, sizeof other, "%s/none/tare.db", f->dir);
    assert_false(db_image_make(other));
}

static void *make(void *arg)
{
    struct fixture *f = arg;
    return db_image_make(f->path) ? f : NULL;
}

static void test_one_of_many_makes_it(void **state)
{
    struct fixture *f = *state;
    need_unnamed_files(f);
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        int n = 0;
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, make, f), 0);
        for (int i = 0; i < 4; i++) {
            void *made;
            pthread_join(threads[i], &made);
            n += made != NULL;
        }
        assert_int_equal(n, 1);
        assert_int_equal(unlink(f->path), 0);
    }
}

static void test_it_is_there_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    need_unnamed_files(f);
    static const enum os_fault_kind kinds[] = {OS_FAULT_ERROR, OS_FAULT_SHORT, OS_FAULT_DISK_FULL, OS_FAULT_CRASH};
    for (int kind = 0; kind < 4; kind++)
        for (int nth = 1;; nth++) {
            struct fake_os fake;
            struct stat st;
            fake_os_install(&fake, (struct os_fault){.kind = kinds[kind], .countdown = nth});
            bool made = db_image_make(f->path);
            fake_os_remove();
            if (!fake.fired)
                assert_true(made);
            else if (kinds[kind] == OS_FAULT_DISK_FULL)
                assert_false(made);
            assert_int_equal(n_files(f), made);
            if (made) {
                assert_int_equal(stat(f->path, &st), 0);
                assert_int_equal(st.st_size, db_image.size);
            }
            struct db *db = open_db(f, f->path); /* made by the migrations, if not ready-made */
            assert_int_equal(db_verify(db, &f->e), 0);
            db_close(db);
            assert_int_equal(unlink(f->path), 0);
            if (!fake.fired)
                break;
        }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_what_the_migrations_make), TEST(test_opening_a_new_file_takes_it),
        TEST(test_what_is_there_is_left_alone),    TEST(test_one_of_many_makes_it),
        TEST(test_it_is_there_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
