/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "journal/encoder.h"
#include "service/limits.h"
#include "service/stream/cursor.h"
#include "service/stream/spill.h"
#include "base/buf.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A journal on disk and a cursor on it; records are numbers with filling behind. */
static struct fixture {
    uv_loop_t loop;
    struct cursor *c;
    char path[64];
    int fd;
    struct journal_encoder encoder;
    struct buf bytes;
    int next, n_ends, n_failed, n_gaps, stop_after;
    uint64_t last_end;
    bool free_in_record;
} f;

static bool on_record(void *ctx, struct str record, uint64_t end)
{
    int i;
    assert_true(record.n >= sizeof i);
    memcpy(&i, record.p, sizeof i);
    assert_int_equal(i, f.next);
    assert_true(end > f.last_end);
    f.last_end = end;
    f.next++;
    if (f.free_in_record)
        cursor_free(f.c);
    return f.next != f.stop_after;
}

static void on_gap(void *ctx, const struct journal_gap *gap)
{
    f.n_gaps++;
}

static void on_at_end(void *ctx)
{
    f.n_ends++;
    uv_stop(&f.loop);
}

static void on_failed(void *ctx, int error, const char *why)
{
    f.n_failed++;
    uv_stop(&f.loop);
}

static int writer_fd(void *ctx)
{
    return f.fd;
}

static const struct cursor_owner owner = {NULL, on_record, on_gap, on_at_end, on_failed, writer_fd};

static void begin(void)
{
    memset(&f, 0, sizeof f);
    f.stop_after = -1;
    strcpy(f.path, "/tmp/tare-cursor-XXXXXX");
    f.fd = mkstemp(f.path);
    uint8_t header[JOURNAL_HEADER_BYTES];
    journal_put_header(header);
    assert_int_equal(write(f.fd, header, sizeof header), sizeof header);
    journal_encoder_init(&f.encoder, JOURNAL_HEADER_BYTES);
    uv_loop_init(&f.loop);
}

static void add(int from, int to, size_t size)
{
    char record[100000] = {0};
    for (int i = from; i < to; i++) {
        memcpy(record, &i, sizeof i);
        journal_encode(&f.encoder, &f.bytes, record, size);
    }
    assert_int_equal(write(f.fd, f.bytes.data, f.bytes.len), f.bytes.len);
    buf_clear(&f.bytes);
}

static void end(void)
{
    if (!f.free_in_record)
        cursor_free(f.c);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    buf_fini(&f.bytes);
    close(f.fd);
    unlink(f.path);
}

static void run_until_end(void)
{
    uv_run(&f.loop, UV_RUN_DEFAULT);
}

static void test_a_finished_journal_is_given_whole(void **state)
{
    begin();
    add(0, 20000, 300);
    f.c = cursor_new(&f.loop, f.path, 0, false, &owner);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 20000);
    assert_int_equal(f.n_ends, 1);
    assert_true(cursor_offset(f.c) == f.encoder.offset);
    end();
}

static void test_a_cursor_goes_on_where_it_was_told(void **state)
{
    begin();
    add(0, 1000, 100);
    uint64_t from = f.encoder.offset;
    add(1000, 1500, 100);
    f.next = 1000;
    f.c = cursor_new(&f.loop, f.path, from, false, &owner);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 1500);
    end();
}

static void test_the_owner_may_stop_and_go_on(void **state)
{
    begin();
    add(0, 1000, 1000);
    f.stop_after = 7;
    f.c = cursor_new(&f.loop, f.path, 0, false, &owner);
    cursor_go(f.c);
    run_until_end(); /* nothing is left to do */
    assert_int_equal(f.next, 7);
    assert_int_equal(f.n_ends, 0);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 1000);
    end();
}

static void test_a_journal_being_written_is_followed_to_its_bound(void **state)
{
    begin();
    add(0, 100, 50);
    uint64_t bound = f.encoder.offset;
    add(100, 200, 50); /* in the file, but not said to be whole */
    f.c = cursor_follow(&f.loop, f.path, 0, &owner);
    cursor_go(f.c);
    cursor_more(f.c, bound, false);
    run_until_end();
    assert_int_equal(f.next, 100);
    cursor_more(f.c, f.encoder.offset, false);
    run_until_end();
    assert_int_equal(f.next, 200);
    add(200, 3000, 500);
    cursor_more(f.c, f.encoder.offset, true);
    run_until_end();
    assert_int_equal(f.next, 3000);
    assert_int_equal(f.n_ends, 3);
    assert_int_equal(f.n_gaps, 0);
    end();
}

static void test_records_longer_than_a_batch_come_whole(void **state)
{
    begin();
    add(0, 20, 99999);
    f.c = cursor_follow(&f.loop, f.path, 0, &owner);
    cursor_more(f.c, f.encoder.offset, true);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 20);
    end();
}

static void test_a_removed_file_is_read_through_its_writer(void **state)
{
    begin();
    add(0, 100, 50);
    unlink(f.path);
    f.c = cursor_follow(&f.loop, f.path, 0, &owner);
    cursor_go(f.c);
    cursor_more(f.c, f.encoder.offset, true);
    run_until_end();
    assert_int_equal(f.next, 100);
    assert_int_equal(f.n_failed, 0);
    end();
}

static void test_a_memory_file_has_no_path(void **state)
{
    begin();
    add(0, 100, 50);
    f.c = cursor_follow(&f.loop, NULL, 0, &owner);
    cursor_go(f.c);
    cursor_more(f.c, f.encoder.offset, true);
    run_until_end();
    assert_int_equal(f.next, 100);
    end();
}

static void test_a_missing_file_is_said(void **state)
{
    begin();
    f.c = cursor_new(&f.loop, "/nonexistent/run.wandb", 0, false, &owner);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.n_failed, 1);
    end();
}

static struct spill *spill;

static struct spill *spill_of(void *ctx)
{
    return spill;
}

static size_t memory_in_use(void)
{
    return mallinfo2().uordblks;
}

/* The backend is away, so nobody reads on; the disk has room again. */
static void test_what_the_file_has_by_now_is_not_kept_in_memory(void **state)
{
    enum { SPILLED_BYTES = 8 << 20 };
    static const struct cursor_owner spilling = {NULL, on_record, on_gap, on_at_end, on_failed, writer_fd, spill_of};
    size_t before = memory_in_use();
    if (before == 0)
        skip(); /* another malloc */
    begin();
    add(0, 10, 50);
    spill = spill_new(f.encoder.offset);
    char *bytes = calloc(1, SPILLED_BYTES);
    off_t at = lseek(f.fd, 0, SEEK_CUR);
    add(10, 10 + SPILLED_BYTES / 5000, 4900);
    ssize_t n = pread(f.fd, bytes, SPILLED_BYTES, at);
    assert_int_equal(spill_append(spill, bytes, (size_t)n), 0);
    free(bytes);
    buf_fini(&f.bytes);
    assert_int_equal(ftruncate(f.fd, at), 0);
    f.c = cursor_follow(&f.loop, f.path, 0, &spilling);
    f.stop_after = 20;
    cursor_go(f.c);
    cursor_more(f.c, f.encoder.offset, false);
    run_until_end();
    assert_int_equal(f.next, 20);
    for (ssize_t done = 0; done < n; done += 65536) { /* the file gets it */
        char piece[65536];
        ssize_t part = spill_read(spill, piece, sizeof piece, (uint64_t)(at + done));
        assert_int_equal(pwrite(f.fd, piece, (size_t)part, at + done), part);
    }
    spill_unref(spill);
    spill = NULL;
    assert_true(memory_in_use() - before > SPILLED_BYTES / 2);
    cursor_more(f.c, f.encoder.offset, false);
    assert_true(memory_in_use() - before < SPILLED_BYTES / 2);
    f.stop_after = -1;
    cursor_go(f.c);
    cursor_hurry(f.c);
    run_until_end();
    assert_int_equal(f.next, 10 + SPILLED_BYTES / 5000);
    end();
}

static void test_damage_is_a_gap(void **state)
{
    begin();
    add(0, 10, 50);
    assert_int_equal(pwrite(f.fd, "xx", 2, (off_t)f.encoder.offset - 20), 2);
    add(10, 20, 50);
    f.c = cursor_new(&f.loop, f.path, 0, false, &owner);
    f.stop_after = 9;
    cursor_go(f.c);
    run_until_end();
    f.next = 10; /* 9 was damaged */
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 20);
    assert_int_equal(f.n_gaps, 1);
    end();
}

static void test_it_may_be_freed_inside_a_call(void **state)
{
    begin();
    add(0, 100, 50);
    f.free_in_record = true;
    f.c = cursor_new(&f.loop, f.path, 0, false, &owner);
    cursor_go(f.c);
    run_until_end();
    assert_int_equal(f.next, 1);
    end();
}

static void test_it_may_be_freed_while_reading(void **state)
{
    begin();
    add(0, 100, 50);
    f.c = cursor_follow(&f.loop, f.path, 0, &owner);
    cursor_go(f.c);
    cursor_more(f.c, f.encoder.offset, true);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_finished_journal_is_given_whole),
        cmocka_unit_test(test_a_cursor_goes_on_where_it_was_told),
        cmocka_unit_test(test_the_owner_may_stop_and_go_on),
        cmocka_unit_test(test_a_journal_being_written_is_followed_to_its_bound),
        cmocka_unit_test(test_records_longer_than_a_batch_come_whole),
        cmocka_unit_test(test_a_removed_file_is_read_through_its_writer),
        cmocka_unit_test(test_a_memory_file_has_no_path),
        cmocka_unit_test(test_a_missing_file_is_said),
        cmocka_unit_test(test_what_the_file_has_by_now_is_not_kept_in_memory),
        cmocka_unit_test(test_damage_is_a_gap),
        cmocka_unit_test(test_it_may_be_freed_inside_a_call),
        cmocka_unit_test(test_it_may_be_freed_while_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
