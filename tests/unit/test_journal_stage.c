/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/diag.h"
#include "journal/reader.h"
#include "service/limits.h"
#include "service/stream/journal_stage.h"
#include "base/alloc.h"
#include "service/stream/spill.h"
#include "tests/support/fake_os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A stage on a loop of its own, and what it reported. */
static struct fixture {
    uv_loop_t loop;
    struct journal_stage j;
    struct stream_settings settings;
    char dir[64], file[96];
    int opened, failed, written, refused, spilled, left, recovered, closed;
} f;

static size_t others_bytes; /* what other streams have in memory, as it were */

static void on_event(struct journal_stage *j, enum journal_event what)
{
    int *counters[] = {&f.opened, &f.failed, &f.written, &f.refused, &f.spilled, &f.left, &f.recovered, &f.closed};
    ++*counters[what];
}

static void begin(void)
{
    memset(&f, 0, sizeof f);
    strcpy(f.dir, "/tmp/tare-stage-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.file, sizeof f.file, "%s/run-x.wandb", f.dir);
    f.settings = (struct stream_settings){
        .run_id = "x", .sync_dir = f.dir, .sync_file = f.file, .files_dir = "", .log_dir = "", .log_file = ""};
    uv_loop_init(&f.loop);
}

static void open_stage(void)
{
    journal_stage_open(&f.j, &f.loop, &f.settings, "", on_event);
    f.j.retry_ms = 1;
    uv_ref((uv_handle_t *)&f.j.retry); /* here the loop is to wait for it */
}

static void append(int from, int to, size_t size)
{
    char record[5000] = {0};
    for (int i = from; i < to; i++) {
        memcpy(record, &i, sizeof i);
        journal_stage_append(&f.j, str_make(record, size), false);
    }
}

static void end(void)
{
    if (!f.failed) {
        journal_stage_close(&f.j);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        assert_int_equal(f.closed, 1);
    }
    uv_close((uv_handle_t *)&f.j.retry, NULL);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    journal_stage_fini(&f.j);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    assert_int_equal(journal_stage_total_bytes, 0);
    assert_int_equal(journal_stage_memory_bytes, others_bytes);
}

static void clean(void)
{
    char command[200];
    snprintf(command, sizeof command, "rm -r %s", f.dir);
    assert_int_equal(system(command), 0);
}

/* How many records the file has; they must be 0, 1, 2, … with nothing but whole ones. */
static int whole_records(const char *path)
{
    struct journal_reader r;
    struct journal_item item;
    int n = 0;
    if (journal_reader_open(&r, path, NULL))
        return 0;
    while (journal_reader_next(&r, &item) > 0) {
        assert_int_equal(item.bytes.n > 0, 1);
        int i;
        memcpy(&i, item.bytes.p, sizeof i);
        assert_int_equal(i, n++);
    }
    assert_int_equal(r.n_gaps, 0);
    journal_reader_close(&r);
    return n;
}

static void test_opens_writes_and_closes(void **state)
{
    begin();
    open_stage();
    append(0, 10, 100); /* before it is open */
    assert_int_equal(f.opened, 0);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.opened, 1);
    assert_true(f.j.written == journal_stage_end(&f.j));
    append(10, 500, 4000);
    journal_stage_flush(&f.j);
    append(500, 501, 4); /* while a write is in flight */
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.written, 3);
    assert_true(f.j.pending.cap < 4096 && f.j.writing.cap < 4096); /* idle streams are small */
    end();
    assert_int_equal(whole_records(f.file), 501);
    clean();
}

static void test_never_over_an_existing_file(void **state)
{
    for (int n = 1; n <= 3; n++) {
        if (n == 1)
            begin();
        else {
            char dir[64];
            strcpy(dir, f.dir);
            begin();
            rmdir(f.dir);
            strcpy(f.dir, dir);
            snprintf(f.file, sizeof f.file, "%s/run-x.wandb", f.dir);
        }
        open_stage();
        append(0, n, 10);
        end();
        assert_int_equal(f.opened, 1);
    }
    char path[128];
    assert_int_equal(whole_records(f.file), 1);
    for (int n = 2; n <= 3; n++) {
        snprintf(path, sizeof path, "%s/run-x-%d.wandb", f.dir, n);
        assert_int_equal(whole_records(path), n);
    }
    clean();
}

static void test_the_folder_is_made(void **state)
{
    begin();
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a/b/c/run-x.wandb", f.dir);
    f.settings.sync_file = deep;
    open_stage();
    append(0, 5, 10);
    end();
    assert_int_equal(whole_records(deep), 5);
    clean();
}

static void test_a_parked_file_is_opened_again(void **state)
{
    begin();
    open_stage();
    for (int round = 0; round < 3; round++) {
        append(round * 10, round * 10 + 10, 50);
        journal_stage_flush(&f.j);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        assert_true(journal_stage_park(&f.j));
        assert_false(journal_stage_park(&f.j));
        if (round == 1)
            append(20, 20, 0);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        assert_int_equal(f.j.writer.fd, -1);
    }
    end();
    assert_int_equal(whole_records(f.file), 30);
    clean();
}

static void test_another_file_in_its_place_is_left_alone(void **state)
{
    begin();
    open_stage();
    append(0, 10, 50);
    journal_stage_flush(&f.j);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_true(journal_stage_park(&f.j));
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(unlink(f.file), 0);
    int fd = open(f.file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    append(10, 20, 50);
    end();
    assert_true(f.refused > 0);
    fd = open(f.file, O_RDONLY);
    char text[10];
    assert_int_equal(read(fd, text, sizeof text), 4);
    close(fd);
    clean();
}

/* Each call of the system fails in turn, once: nothing is lost, unless the file could not even be
 * made, and then that is said. */
static void test_one_failing_call_loses_nothing(void **state)
{
    static const enum os_fault_kind kinds[] = {OS_FAULT_ERROR, OS_FAULT_SHORT, OS_FAULT_DISK_FULL};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (int nth = 1;; nth++) {
            struct fake_os fake;
            begin();
            fake_os_install(&fake, (struct os_fault){.kind = kinds[k], .countdown = nth});
            open_stage();
            uv_run(&f.loop, UV_RUN_DEFAULT);
            for (int round = 0; round < 3 && !f.failed; round++) {
                append(round * 20, round * 20 + 20, 3000);
                journal_stage_flush(&f.j);
                for (int turn = 0; turn < 8; turn++)
                    uv_run(&f.loop, UV_RUN_ONCE);
                if (kinds[k] == OS_FAULT_DISK_FULL && fake.fired)
                    fake_os_free_space(&fake);
                uv_run(&f.loop, UV_RUN_DEFAULT);
            }
            end();
            fake_os_remove();
            if (f.failed)
                assert_true(f.j.error < 0);
            else
                assert_int_equal(whole_records(f.file), 60);
            clean();
            if (!fake.fired) {
                if (nth <= 3) fail_msg("%d %d", (int)k, nth);
                break;
            }
        }
}

static void test_a_disk_that_stays_full_ends_after_some_tries(void **state)
{
    struct fake_os fake;
    begin();
    open_stage();
    append(0, 5, 100);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    fake_os_install(&fake, (struct os_fault){.kind = OS_FAULT_DISK_FULL, .countdown = 1});
    append(5, 50, 4000);
    end();
    fake_os_remove();
    assert_int_equal(f.refused, JOURNAL_END_TRIES);
    int n = whole_records(f.file);
    assert_true(n >= 5 && n < 50);
    clean();
}

static void test_memory_is_bounded_while_the_disk_refuses(void **state)
{
    struct fake_os fake;
    begin();
    open_stage();
    append(0, 1, 100);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    fake_os_install(&fake, (struct os_fault){.kind = OS_FAULT_DISK_FULL, .countdown = 1});
    f.j.retry_ms = 100000;
    append(1, 2, 4000);
    journal_stage_flush(&f.j);
    while (!f.refused)
        uv_run(&f.loop, UV_RUN_ONCE);
    int n = 2;
    while (!f.j.dropped)
        append(n, n + 1, 5000), n++;
    assert_false(journal_stage_is_full(&f.j)); /* the program is not made to wait */
    size_t kept = f.j.writing.len + f.j.pending.len;
    assert_true(kept > JOURNAL_FAILED_BYTES && kept < JOURNAL_FAILED_BYTES + 20000);
    uint64_t before = f.j.dropped;
    journal_stage_append(&f.j, str_make(&(int){n - 1}, sizeof(int)), true); /* takes the place of the dropped */
    assert_true(f.j.dropped == before);
    fake_os_free_space(&fake);
    end();
    fake_os_remove();
    assert_int_equal(whole_records(f.file), n);
    clean();
}

/* A spill that has begun, behind 5 records in the file; records up to `n` have come. */
static void spill_records(struct fake_os *fake, int n)
{
    begin();
    open_stage();
    f.j.spills = true;
    append(0, 5, 100);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    f.j.retry_ms = 1000000;
    fake_os_install(fake, (struct os_fault){.kind = OS_FAULT_DISK_FULL, .countdown = 1});
    append(5, 50, 4000);
    journal_stage_flush(&f.j);
    while (!f.spilled)
        uv_run(&f.loop, UV_RUN_ONCE);
    for (int i = 50; i < n; i += 10) {
        append(i, i + 10, 4000);
        journal_stage_flush(&f.j);
    }
    assert_true(f.j.written == journal_stage_end(&f.j));
    assert_int_equal(f.refused, 0);
}

static void look_again_soon(void)
{
    f.j.retry_ms = 1;
    uv_timer_start(&f.j.retry, f.j.retry.timer_cb, 1, 0);
}

static void test_what_the_disk_refuses_is_read_from_memory_until_the_file_has_it(void **state)
{
    struct fake_os fake;
    struct journal_reader r;
    struct journal_item item;
    spill_records(&fake, 3000); /* several slices */
    struct spill *spill = spill_ref(f.j.spill);
    int n = whole_records(f.file), last = 0, seen = 0;
    assert_true(n >= 5 && n < 50);
    journal_reader_init_read(&r, spill_read, spill);
    journal_reader_seek(&r, spill_start(spill));
    for (; journal_reader_next(&r, &item) > 0; seen++) {
        memcpy(&last, item.bytes.p, sizeof last);
        assert_int_equal(last, n + seen);
    }
    assert_int_equal(last, 2999);
    assert_int_equal(r.n_gaps, 0);
    journal_reader_close(&r);
    fake_os_free_space(&fake);
    look_again_soon();
    while (!f.recovered)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_null(f.j.spill);
    spill_unref(spill);
    append(3000, 3010, 100);
    end();
    fake_os_remove();
    assert_int_equal(whole_records(f.file), 3010);
    clean();
}

/* A stage whose file the disk does not take; 0 … n-1 have come, some before that was known. */
static void begin_without_file(struct fake_os *fake, int n)
{
    begin();
    fake_os_install(fake, (struct os_fault){.kind = OS_FAULT_DISK_FULL, .countdown = 1});
    open_stage();
    f.j.spills = true;
    f.j.retry_ms = 1000000;
    append(0, 10, 4000);
    while (!f.spilled)
        uv_run(&f.loop, UV_RUN_ONCE);
    for (int i = 10; i < n; i += 10) {
        append(i, i + 10, 4000);
        journal_stage_flush(&f.j);
    }
    assert_true(f.opened == 1 && !f.failed && !f.refused);
    assert_int_equal(f.j.error, -ENOSPC);
    assert_true(f.j.written == journal_stage_end(&f.j));
    assert_int_equal(journal_stage_fd(&f.j), -1);
    assert_int_equal(access(f.file, F_OK), -1);
}

static void test_a_file_that_cannot_be_made_is_made_later(void **state)
{
    struct fake_os fake;
    struct journal_reader r;
    struct journal_item item;
    int n = 0, value;
    begin_without_file(&fake, 3000);
    journal_reader_init_read(&r, spill_read, f.j.spill); /* from its header on */
    for (; journal_reader_next(&r, &item) > 0; n++) {
        memcpy(&value, item.bytes.p, sizeof value);
        assert_int_equal(value, n);
    }
    assert_true(n == 3000 && r.n_gaps == 0 && r.version >= 0);
    journal_reader_close(&r);
    look_again_soon(); /* still no room */
    while (f.j.tries < 2)
        uv_run(&f.loop, UV_RUN_ONCE);
    fake_os_free_space(&fake);
    while (!f.recovered)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_null(f.j.spill);
    append(3000, 3010, 100);
    end();
    fake_os_remove();
    assert_int_equal(f.spilled, 1);
    assert_int_equal(whole_records(f.file), 3010);
    clean();
}

static void test_a_file_that_can_never_be_made(void **state)
{
    struct fake_os fake;
    begin_without_file(&fake, 100);
    look_again_soon();
    end();
    fake_os_remove();
    assert_int_equal(access(f.file, F_OK), -1);
    clean();
}

/* Cursors know the name: what has it by then is not written to, and no other is taken. */
static void test_a_file_that_is_made_later_takes_no_other_name(void **state)
{
    struct fake_os fake;
    char other[128];
    begin_without_file(&fake, 100);
    fake_os_free_space(&fake);
    int fd = open(f.file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    look_again_soon();
    end();
    fake_os_remove();
    struct stat st;
    assert_int_equal(stat(f.file, &st), 0);
    assert_int_equal(st.st_size, 4);
    snprintf(other, sizeof other, "%s/run-x-2.wandb", f.dir);
    assert_int_equal(access(other, F_OK), -1);
    clean();
}

static void test_no_memory_for_a_spill_loses_nothing(void **state)
{
    for (int nth = 1, fired = 1; fired; nth++) {
        struct fake_os fake;
        begin();
        open_stage();
        f.j.spills = true;
        append(0, 5, 100);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        f.j.retry_ms = 1000000;
        fake_os_install(&fake, (struct os_fault){.kind = OS_FAULT_DISK_FULL, .countdown = 1});
        append(5, 50, 4000);
        journal_stage_flush(&f.j);
        append(50, 90, 4000); /* while that is written */
        mem_fault_set(nth, 1);
        while (!f.spilled && !f.refused)
            uv_run(&f.loop, UV_RUN_ONCE);
        fired = mem_fault_fired();
        mem_fault_set(0, 0);
        fake_os_free_space(&fake);
        look_again_soon();
        append(90, 100, 4000);
        end();
        fake_os_remove();
        assert_int_equal(whole_records(f.file), 100);
        clean();
    }
}

static void test_a_spilled_journal_ends_without_room_too(void **state)
{
    struct fake_os fake;
    spill_records(&fake, 3000);
    look_again_soon();
    append(3000, 3001, 100);
    end();
    fake_os_remove();
    int n = whole_records(f.file);
    assert_true(n >= 5 && n < 50);
    clean();
}

/* Others take the memory while a last try to write is under way. */
static void test_a_file_that_is_left_while_it_is_tried_ends(void **state)
{
    struct fake_os fake;
    spill_records(&fake, 3000);
    journal_stage_sent(&f.j, 0);
    look_again_soon();
    while (f.j.state != JS_SAVING)
        uv_run(&f.loop, UV_RUN_ONCE);
    others_bytes = MEMORY_TOTAL_BYTES;
    journal_stage_memory_bytes += others_bytes;
    journal_stage_sent(&f.j, 1);
    assert_int_equal(f.left, 1);
    end();
    fake_os_remove();
    others_bytes = journal_stage_memory_bytes = 0;
    assert_true(whole_records(f.file) < 50);
    clean();
}

static void test_a_spill_keeps_what_is_not_sent(void **state)
{
    struct fake_os fake;
    char byte;
    spill_records(&fake, 5000);
    assert_false(f.j.file_left);
    f.j.keep_from = journal_stage_end(&f.j) - 1000000; /* sent; but the file is to have it */
    append(5000, 5001, 100);
    journal_stage_flush(&f.j);
    assert_int_equal(spill_read(f.j.spill, &byte, 1, spill_start(f.j.spill)), 1);
    for (int i = 5001; !f.j.file_left; i += 10) {
        append(i, i + 10, 4000);
        journal_stage_flush(&f.j);
        assert_true(f.j.written - f.j.saved < JOURNAL_FAILED_BYTES + 100000);
    }
    assert_true(spill_read(f.j.spill, &byte, 1, spill_start(f.j.spill)) < 0); /* it won't */
    assert_int_equal(spill_read(f.j.spill, &byte, 1, f.j.keep_from), 1);
    fake_os_free_space(&fake);
    end();
    fake_os_remove();
    assert_true(whole_records(f.file) < 50);
    clean();
}

static void test_memory_of_all_streams_is_bounded(void **state)
{
    struct fake_os fake;
    assert_int_equal(journal_stage_memory_limit(), MEMORY_RUN_BYTES);
    others_bytes = journal_stage_memory_bytes = MEMORY_TOTAL_BYTES - (10 << 20);
    assert_int_equal(journal_stage_memory_limit(), 10 << 20);
    spill_records(&fake, 50);
    journal_stage_sent(&f.j, 0);
    int n = 50;
    for (; !f.left; n++) {
        append(n, n + 1, 4000);
        journal_stage_flush(&f.j);
    }
    size_t mine = journal_stage_memory_bytes - others_bytes;
    assert_true(mine > 4 << 20 && mine < 6 << 20); /* half of what is left is for who comes next */
    assert_true(f.j.file_left && journal_stage_memory_limit() == (10 << 20) - mine);
    journal_stage_sent(&f.j, journal_stage_end(&f.j) - 100000); /* frees it at once */
    assert_true(journal_stage_memory_bytes - others_bytes < 300000);
    others_bytes = MEMORY_TOTAL_BYTES * 2ull;
    journal_stage_memory_bytes += others_bytes - MEMORY_TOTAL_BYTES + (10 << 20);
    assert_int_equal(journal_stage_memory_limit(), MEMORY_SCARCE_BYTES);
    append(n, n + 1, 4000);
    fake_os_free_space(&fake);
    end();
    fake_os_remove();
    assert_int_equal(f.left, 1);
    others_bytes = journal_stage_memory_bytes = 0;
    clean();
}

static void test_what_is_not_sent_of_a_file_in_memory_counts(void **state)
{
    begin();
    f.settings.skip_journal = true;
    f.settings.sync_file = "";
    open_stage();
    journal_stage_sent(&f.j, 0);
    append(0, 1000, 5000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(journal_stage_memory_bytes, f.j.written);
    journal_stage_sent(&f.j, f.j.written - 7);
    assert_int_equal(journal_stage_memory_bytes, 7);
    end();
    clean();
}

static void test_a_slow_disk_makes_writers_wait(void **state)
{
    begin();
    open_stage(); /* not open yet: nothing leaves */
    int n = 0;
    while (!journal_stage_is_full(&f.j))
        append(n, n + 1, 5000), n++;
    assert_true(f.j.pending.len > JOURNAL_PENDING_BYTES && f.j.pending.len < JOURNAL_PENDING_BYTES + 20000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_false(journal_stage_is_full(&f.j));
    end();
    assert_int_equal(whole_records(f.file), n);
    clean();
}

static void test_without_a_file(void **state)
{
    begin();
    f.settings.skip_journal = true;
    f.settings.sync_file = "";
    open_stage();
    for (int i = 0; i < 2000; i++) {
        append(i, i + 1, 5000);
        journal_stage_flush(&f.j);
        uv_run(&f.loop, UV_RUN_DEFAULT);
    }
    struct stat st;
    assert_int_equal(fstat(f.j.writer.fd, &st), 0);
    assert_true(st.st_size > 9 << 20);
    assert_true(st.st_blocks * 512 < 2 << 20);
    assert_false(journal_stage_park(&f.j));
    end();
    clean();
}

int main(void)
{
    diag_min_level = 100;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_writes_and_closes),
        cmocka_unit_test(test_never_over_an_existing_file),
        cmocka_unit_test(test_the_folder_is_made),
        cmocka_unit_test(test_a_parked_file_is_opened_again),
        cmocka_unit_test(test_another_file_in_its_place_is_left_alone),
        cmocka_unit_test(test_one_failing_call_loses_nothing),
        cmocka_unit_test(test_a_disk_that_stays_full_ends_after_some_tries),
        cmocka_unit_test(test_memory_is_bounded_while_the_disk_refuses),
        cmocka_unit_test(test_what_the_disk_refuses_is_read_from_memory_until_the_file_has_it),
        cmocka_unit_test(test_a_file_that_cannot_be_made_is_made_later),
        cmocka_unit_test(test_a_file_that_can_never_be_made),
        cmocka_unit_test(test_a_file_that_is_made_later_takes_no_other_name),
        cmocka_unit_test(test_no_memory_for_a_spill_loses_nothing),
        cmocka_unit_test(test_a_spilled_journal_ends_without_room_too),
        cmocka_unit_test(test_a_file_that_is_left_while_it_is_tried_ends),
        cmocka_unit_test(test_a_spill_keeps_what_is_not_sent),
        cmocka_unit_test(test_memory_of_all_streams_is_bounded),
        cmocka_unit_test(test_what_is_not_sent_of_a_file_in_memory_counts),
        cmocka_unit_test(test_a_slow_disk_makes_writers_wait),
        cmocka_unit_test(test_without_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
