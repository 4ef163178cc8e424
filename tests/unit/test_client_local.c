/* SPDX-License-Identifier: MIT */
/* The file the client writes itself: the service's rules for steps, going on behind a service that
 * died, and what is left after every possible failure of the disk or of memory. */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "client/local.h"
#include "client/message.h"
#include "journal/reader.h"
#include "journal/writer.h"
#include "record/wire.h"
#include "tests/support/fake_os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64], run_dir[128], path[256];
static struct tare_run run;

static int setup(void **state)
{
    strcpy(dir, "/tmp/test-local-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(run_dir, sizeof run_dir, "%s/offline-run-20260101_000000-r1", dir);
    snprintf(path, sizeof path, "%s/run-r1.wandb", run_dir);
    assert_int_equal(mkdir(run_dir, 0700), 0);
    run = (struct tare_run){.id = "r1", .dir = run_dir, .start_ns = 1000000000};
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* ---- messages ---- */

static void put_log(struct buf *b, double timestamp, const char *key, const char *json, int step,
                    int flush)
{
    struct message m;
    char text[40];
    message_open(&m, b);
    size_t request = wire_buf_begin(b, RECORD_REQUEST);
    size_t partial = wire_buf_begin(b, REQUEST_PARTIAL_HISTORY);
    size_t item = wire_buf_begin(b, PARTIAL_ITEM);
    message_put_z(b, ITEM_KEY, key);
    message_put_z(b, ITEM_JSON, json);
    wire_buf_end(b, item);
    item = wire_buf_begin(b, PARTIAL_ITEM);
    snprintf(text, sizeof text, "%.1f", timestamp);
    message_put_z(b, ITEM_KEY, "_timestamp");
    message_put_z(b, ITEM_JSON, text);
    wire_buf_end(b, item);
    if (step >= 0) {
        size_t at = wire_buf_begin(b, PARTIAL_STEP);
        wire_buf_varint(b, STEP_NUM, (uint64_t)step);
        wire_buf_end(b, at);
    }
    if (flush >= 0) {
        size_t at = wire_buf_begin(b, PARTIAL_ACTION);
        message_put_bool(b, ACTION_FLUSH, flush);
        wire_buf_end(b, at);
    }
    wire_buf_end(b, partial);
    wire_buf_end(b, request);
    message_close(&m, "r1", NULL, true);
}

static int take_log(double timestamp, const char *key, const char *json, int step, int flush)
{
    struct buf b = {0}, answer = {0};
    put_log(&b, timestamp, key, json, step, flush);
    int rc = b.failed ? TARE_ENOMEM : local_take(run.local, buf_str(&b), &answer);
    assert_int_equal(answer.len, 0);
    buf_fini(&b);
    return rc;
}

static int take_record(uint32_t field, struct str body, struct buf *answer)
{
    struct buf b = {0};
    struct message m;
    message_open(&m, &b);
    wire_buf_bytes(&b, field, body);
    message_close(&m, "r1", answer ? "slotslotslot" : NULL, false);
    struct buf none = {0};
    int rc = b.failed ? TARE_ENOMEM : local_take(run.local, buf_str(&b), answer ? answer : &none);
    buf_fini(&none);
    buf_fini(&b);
    return rc;
}

static void begin(bool dead)
{
    struct err e;
    if (local_open(&run, dead, &e) != 0)
        fail_msg("%s", e.text);
}

static void end(void)
{
    local_close(run.local);
    run.local = NULL;
}

/* ---- what is in the file ---- */

struct sum {
    int n, n_gaps, n_exit, n_footer;
    char steps[400]; /* "0:a=1 5:b=2 ..." of history */
};

static void add_history(struct sum *to, struct str history)
{
    char step[24] = "?", values[200] = "";
    struct wire_reader r = wire_open(history);
    struct wire_field f;
    while (wire_next(&r, &f) > 0) {
        struct str key = f.type == WIRE_BYTES ? message_get(f.bytes, ITEM_KEY) : (struct str){0};
        struct str json = key.n ? message_get(f.bytes, ITEM_JSON) : (struct str){0};
        size_t at = strlen(values);
        if (str_eqz(key, "_step"))
            snprintf(step, sizeof step, "%.*s", STR_ARG(json));
        else if (key.n && key.p[0] != '_')
            snprintf(values + at, sizeof values - at, ":%.*s=%.*s", STR_ARG(key), STR_ARG(json));
    }
    size_t at = strlen(to->steps);
    snprintf(to->steps + at, sizeof to->steps - at, "%s%s ", step, values);
}

static struct sum read_file(const char *file)
{
    struct sum sum = {0};
    struct journal_reader r;
    struct journal_item item;
    int rc;
    assert_int_equal(journal_reader_open(&r, file, NULL), 0);
    while ((rc = journal_reader_next(&r, &item)) > 0) {
        sum.n_gaps += rc == JOURNAL_GAP;
        if (rc != JOURNAL_RECORD)
            continue;
        sum.n++;
        assert_int_equal(message_get_varint(item.bytes, RECORD_NUM), sum.n);
        sum.n_exit += message_has(item.bytes, RECORD_EXIT);
        sum.n_footer += message_has(item.bytes, RECORD_FOOTER);
        if (message_has(item.bytes, RECORD_HISTORY))
            add_history(&sum, message_get(item.bytes, RECORD_HISTORY));
    }
    journal_reader_close(&r);
    return sum;
}

/* ---- tests ---- */

static void test_steps_follow_the_services_rules(void **state)
{
    begin(false);
    take_log(1, "a", "1", -1, -1); /* step 0, ended at once */
    take_log(2, "a", "2", 5, -1);  /* 5, left open */
    take_log(3, "b", "3", 5, -1);  /* added */
    take_log(4, "c", "4", 4, -1);  /* too late: dropped */
    take_log(5, "a", "5", 9, 1);   /* ends 5; 9, ended */
    take_log(6, "a", "6", -1, 0);  /* 10, left open */
    take_log(7, "b", "7", -1, 1);  /* added, ended */
    take_log(8, "a", "8", -1, -1);
    end();
    struct sum sum = read_file(path);
    assert_string_equal(sum.steps, "0:a=1 5:a=2:b=3 9:a=5 10:a=6:b=7 11:a=8 ");
}

static void test_an_exit_ends_the_file(void **state)
{
    struct buf answer = {0};
    begin(false);
    assert_int_equal(take_record(RECORD_HEADER, (struct str){0}, NULL), 0);
    assert_int_equal(take_record(RECORD_RUN, STR("\x0a\x02r1"), &answer), 0);
    assert_true(str_eqz(message_get(buf_str(&answer), RESP_ID), "slotslotslot"));
    struct str result = message_get(buf_str(&answer), RESP_RESULT);
    struct str echoed = message_get(message_get(result, RESULT_RUN), 1);
    assert_true(str_eqz(message_get(echoed, RUN_ID), "r1"));
    buf_clear(&answer);
    take_log(2, "a", "1", 3, -1); /* open when the run ends */
    assert_int_equal(take_record(RECORD_EXIT, STR("\x08\x03"), &answer), 0);
    assert_true(message_has(message_get(buf_str(&answer), RESP_RESULT), RESULT_EXIT));
    buf_fini(&answer);
    end();
    struct sum sum = read_file(path);
    assert_string_equal(sum.steps, "3:a=1 ");
    assert_int_equal(sum.n_exit, 1);
    assert_int_equal(sum.n_footer, 1);
}

/* A file as a service leaves it that died: some whole steps, then a torn record. */
static void write_torn_file(void)
{
    begin(false);
    take_record(RECORD_RUN, STR("\x0a\x02r1"), NULL);
    for (int i = 0; i < 3; i++)
        take_log(10 + i, "a", "1", -1, -1);
    end();
    FILE *f = fopen(path, "ab");
    fwrite("\x12\x34\x56\x78\x90\x01\x01torn", 1, 11, f);
    fclose(f);
}

static void check_replay(bool dead, const char *file)
{
    local_set_replay(run.local, true);
    for (int i = 1; i < 5; i++) /* 1 and 2 were written, 3 and 4 were not */
        take_log(10 + i, "a", "1", -1, -1);
    local_set_replay(run.local, false);
    take_log(15, "a", "2", -1, -1);
    char where[256];
    snprintf(where, sizeof where, "%s", local_path(run.local));
    end();
    struct sum sum = read_file(where);
    assert_string_equal(sum.steps, "0:a=1 1:a=1 2:a=1 3:a=1 4:a=1 5:a=2 ");
    assert_int_equal(sum.n_gaps, 0);
    assert_int_equal(strcmp(where, file) == 0, dead);
}

static void test_it_goes_on_behind_the_last_whole_record(void **state)
{
    write_torn_file();
    begin(true);
    check_replay(true, path);
}

static void test_a_service_that_may_live_keeps_its_file(void **state)
{
    struct stat before, after;
    write_torn_file();
    stat(path, &before);
    begin(false);
    check_replay(false, path);
    stat(path, &after);
    assert_int_equal(before.st_size, after.st_size);
}

static void test_two_processes_do_not_go_on_with_one_file(void **state)
{
    struct tare_run other;
    write_torn_file();
    begin(true);
    other = run;
    assert_int_equal(local_open(&other, true, NULL), 0);
    assert_string_not_equal(local_path(other.local), local_path(run.local));
    local_close(other.local);
    end();
}

/* Whatever fails, the file is a run of whole records, a prefix of what it should be; and after
 * the disk has room again, it is complete. */
static void try_faults(enum os_fault_kind kind)
{
    for (int nth = 1;; nth++) {
        struct fake_os fake;
        struct err e;
        unlink(path);
        fake_os_install(&fake, (struct os_fault){.kind = kind, .countdown = nth});
        int rc = local_open(&run, false, &e);
        for (int i = 0; rc == 0 && i < 5; i++) {
            take_log(10 + i, "a", "1", -1, -1);
            local_tick(run.local, INT64_MAX);
        }
        bool fired = fake.fired;
        if (kind == OS_FAULT_DISK_FULL)
            fake_os_free_space(&fake);
        if (kind != OS_FAULT_CRASH && rc == 0)
            assert_true(local_tick(run.local, INT64_MAX) == 0 || kind == OS_FAULT_ERROR);
        fake_os_remove();
        if (rc == 0) {
            end();
            struct sum sum = read_file(path);
            const char *want = "0:a=1 1:a=1 2:a=1 3:a=1 4:a=1 ";
            assert_true(strncmp(sum.steps, want, strlen(sum.steps)) == 0);
            if (kind != OS_FAULT_CRASH)
                assert_string_equal(sum.steps, want);
        }
        if (!fired)
            break;
        assert_true(nth < 200);
    }
}

static void test_failing_disks_leave_whole_records(void **state)
{
    try_faults(OS_FAULT_ERROR);
    try_faults(OS_FAULT_SHORT);
    try_faults(OS_FAULT_DISK_FULL);
}

static void test_running_out_of_memory_loses_no_more_than_it_must(void **state)
{
    for (int nth = 1;; nth++) {
        unlink(path);
        mem_fault_set(nth, 1);
        int rc = local_open(&run, false, NULL);
        for (int i = 0; rc == 0 && i < 5; i++) {
            take_log(10 + i, "a", "1", -1, -1);
            local_tick(run.local, 0);
        }
        int fired = mem_fault_fired();
        mem_fault_set(0, 0);
        if (rc == 0) {
            end();
            assert_int_equal(read_file(path).n_gaps, 0);
        } else {
            assert_int_equal(rc, TARE_ENOMEM);
        }
        if (!fired)
            break;
        assert_true(nth < 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define LOCAL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        LOCAL_TEST(test_steps_follow_the_services_rules),
        LOCAL_TEST(test_an_exit_ends_the_file),
        LOCAL_TEST(test_it_goes_on_behind_the_last_whole_record),
        LOCAL_TEST(test_a_service_that_may_live_keeps_its_file),
        LOCAL_TEST(test_two_processes_do_not_go_on_with_one_file),
        LOCAL_TEST(test_failing_disks_leave_whole_records),
        LOCAL_TEST(test_running_out_of_memory_loses_no_more_than_it_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
