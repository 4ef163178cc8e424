/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/os.h"
#include "journal/encoder.h"
#include "journal/reader.h"
#include "journal/writer.h"
#include "tests/support/fake_os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/tare-test-writer-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/run.wandb", dir);
    return 0;
}

static int remove_dir(void **state)
{
    unlink(path);
    return rmdir(dir);
}

enum { N_TURNS = 5, N_PER_TURN = 4 };

/* The i-th record: its number, then filling of a size that differs. */
static struct str nth_record(int i)
{
    static char bytes[50000];
    size_t n = i % 7 == 6 ? 40000 : (size_t)(i * 37 % 700) + sizeof i;
    memset(bytes, 'a' + i % 26, n);
    memcpy(bytes, &i, sizeof i);
    return str_make(bytes, n);
}

/* Count the records in the file, which must be the first ones in order, with no gap when
 * `clean`. -1 if there is no file. */
static int count_prefix(bool clean)
{
    struct journal_reader r;
    struct journal_item item;
    if (journal_reader_open(&r, path, NULL) < 0)
        return -1;
    int n = 0, rc;
    while ((rc = journal_reader_next(&r, &item)) != JOURNAL_END) {
        assert_true(rc > 0);
        if (rc == JOURNAL_GAP) {
            assert_false(clean);
            continue;
        }
        struct str want = nth_record(n++);
        assert_true(str_eq(item.bytes, want));
    }
    journal_reader_close(&r);
    return n;
}

struct run {
    struct journal_writer w;
    struct journal_encoder enc;
    struct buf waiting; /* encoded, not in the file yet */
    int n_made;
    int first_error;
};

/* What the journal stage does: gather, append, keep what did not go. */
static void one_turn(struct run *run)
{
    for (int i = 0; i < N_PER_TURN; i++) {
        struct str record = nth_record(run->n_made++);
        assert_int_equal(journal_encode(&run->enc, &run->waiting, record.p, record.n), 0);
    }
    size_t kept;
    int rc = journal_writer_append(&run->w, run->waiting.data, run->waiting.len, &kept);
    if (rc < 0 && !run->first_error)
        run->first_error = rc;
    buf_consume(&run->waiting, kept);
    assert_int_equal(rc == 0, run->waiting.len == 0);
}

static int write_turns(struct run *run)
{
    *run = (struct run){0};
    int rc = journal_writer_create(&run->w, path, NULL);
    if (rc < 0)
        return rc;
    journal_encoder_init(&run->enc, run->w.size);
    for (int turn = 0; turn < N_TURNS; turn++)
        one_turn(run);
    rc = journal_writer_close(&run->w);
    return run->first_error ? run->first_error : rc;
}

static void test_existing_file_is_never_touched(void **state)
{
    assert_int_equal(os_write_file(path, "", 0, 0600), 0);
    struct journal_writer w;
    struct err e = {0};
    assert_int_equal(journal_writer_create(&w, path, &e), TARE_EEXIST);
    assert_non_null(strstr(e.text, "never overwritten"));
    size_t kept = 1;
    assert_int_equal(journal_writer_append(&w, "x", 1, &kept), TARE_ECLOSED);
    assert_int_equal(kept, 0);
    assert_int_equal(journal_writer_close(&w), 0);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
}

static void test_missing_folder_is_named(void **state)
{
    struct journal_writer w;
    struct err e = {0};
    assert_int_equal(journal_writer_create(&w, "/nowhere/run.wandb", &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nowhere/run.wandb"));
}

static void test_header_is_there_before_any_record(void **state)
{
    struct journal_writer w;
    assert_int_equal(journal_writer_create(&w, path, NULL), 0);
    assert_int_equal(count_prefix(true), 0);
    assert_int_equal(journal_writer_sync(&w), 0);
    assert_int_equal(journal_writer_close(&w), 0);
    unlink(path);
}

/* The nth call fails, for each n and each way of failing: what is in the file are the first
 * records, whole, and after a passing failure all of them. */
static void run_fault_loop(enum os_fault_kind kind, int repeat)
{
    for (int nth = 1;; nth++) {
        struct fake_os fake;
        struct run run;
        fake_os_install(&fake, (struct os_fault){kind, nth, repeat});
        int rc = write_turns(&run);
        fake_os_remove();
        /* with three failures in a row not even an empty file can be removed */
        int n = count_prefix(kind != OS_FAULT_CRASH && repeat != 3);
        bool all = n == N_TURNS * N_PER_TURN;
        buf_fini(&run.waiting);
        unlink(path);
        if (!fake.fired) {
            assert_int_equal(rc, 0);
            assert_true(all);
            return;
        }
        if (kind == OS_FAULT_SHORT)
            assert_true(rc == 0 && all);
        else
            assert_true(rc < 0);
    }
}

static void test_nth_call_fails(void **state)
{
    run_fault_loop(OS_FAULT_ERROR, 1);
}

static void test_nth_call_and_the_next_fail(void **state)
{
    run_fault_loop(OS_FAULT_ERROR, 2);
    run_fault_loop(OS_FAULT_ERROR, 3);
}

static void test_nth_write_is_short(void **state)
{
    run_fault_loop(OS_FAULT_SHORT, 1);
    run_fault_loop(OS_FAULT_SHORT, 1000);
}

static void test_disk_is_full_from_the_nth_write(void **state)
{
    run_fault_loop(OS_FAULT_DISK_FULL, 1);
}

static void test_crash_at_the_nth_call(void **state)
{
    run_fault_loop(OS_FAULT_CRASH, 1);
}

static void test_after_a_full_disk_the_rest_follows_without_a_hole(void **state)
{
    for (int nth = 2; nth < 2 + N_TURNS; nth++) {
        struct fake_os fake;
        struct run run = {0};
        fake_os_install(&fake, (struct os_fault){OS_FAULT_DISK_FULL, nth, 0});
        assert_int_equal(journal_writer_create(&run.w, path, NULL), 0);
        journal_encoder_init(&run.enc, run.w.size);
        for (int turn = 0; turn < N_TURNS; turn++)
            one_turn(&run);
        assert_int_equal(run.first_error, -ENOSPC);
        assert_int_equal(run.w.first_error, -ENOSPC);
        fake_os_free_space(&fake);
        one_turn(&run);
        assert_int_equal(run.waiting.len, 0);
        assert_int_equal(journal_writer_close(&run.w), 0);
        fake_os_remove();
        assert_int_equal(count_prefix(true), (N_TURNS + 1) * N_PER_TURN);
        buf_fini(&run.waiting);
        unlink(path);
    }
}

static void test_records_that_fit_are_kept_when_the_disk_fills(void **state)
{
    struct fake_os fake;
    struct run run = {0};
    fake_os_install(&fake, (struct os_fault){OS_FAULT_DISK_FULL, 2, 0});
    assert_int_equal(journal_writer_create(&run.w, path, NULL), 0);
    journal_encoder_init(&run.enc, run.w.size);
    one_turn(&run); /* half of the bytes of four records fit */
    fake_os_remove();
    journal_writer_close(&run.w);
    int n = count_prefix(true);
    assert_true(n >= 1 && n < N_PER_TURN);
    buf_fini(&run.waiting);
    unlink(path);
}

static int truncate_fails(int fd, off_t size)
{
    return -EIO;
}

static ssize_t write_half(int fd, const void *p, size_t n, off_t at)
{
    return n < 100 ? -ENOSPC : os_real.pwrite(fd, p, n / 2, at);
}

static void test_torn_bytes_that_cannot_be_cut_are_overwritten(void **state)
{
    struct run run = {0};
    assert_int_equal(journal_writer_create(&run.w, path, NULL), 0);
    journal_encoder_init(&run.enc, run.w.size);
    one_turn(&run);
    struct os_ops broken = os_real;
    broken.ftruncate = truncate_fails;
    broken.pwrite = write_half;
    os = &broken;
    one_turn(&run);
    assert_int_equal(run.first_error, -ENOSPC);
    assert_true(run.w.torn_end > run.w.size);
    os = &os_real;
    one_turn(&run);
    assert_int_equal(run.w.torn_end, 0);
    assert_int_equal(journal_writer_close(&run.w), 0);
    assert_int_equal(count_prefix(true), 3 * N_PER_TURN);
    buf_fini(&run.waiting);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_existing_file_is_never_touched),
        cmocka_unit_test(test_missing_folder_is_named),
        cmocka_unit_test(test_header_is_there_before_any_record),
        cmocka_unit_test(test_nth_call_fails),
        cmocka_unit_test(test_nth_call_and_the_next_fail),
        cmocka_unit_test(test_nth_write_is_short),
        cmocka_unit_test(test_disk_is_full_from_the_nth_write),
        cmocka_unit_test(test_crash_at_the_nth_call),
        cmocka_unit_test(test_after_a_full_disk_the_rest_follows_without_a_hole),
        cmocka_unit_test(test_torn_bytes_that_cannot_be_cut_are_overwritten),
        cmocka_unit_test(test_records_that_fit_are_kept_when_the_disk_fills),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
