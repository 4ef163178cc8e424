/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "record/wire.h"
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_buffer.h"
#include "tests/support/watch_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double number_of(const struct buf *record, const char *key)
{
    const char *v = value_of(record, key);
    if (!*v)
        fail_msg("no %s", key);
    return strtod(v, NULL);
}

static void burn(double seconds)
{
    clock_t until = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
    while (clock() < until)
        ;
}

static void test_a_sample_has_the_peers_names(void **state)
{
    AUTO_BUF settings = {0}, first = {0}, second = {0};
    struct sysmon *s = watch_self(&settings);
    assert_int_equal(sysmon_interval_ns(s), SYSMON_DEFAULT_NS);
    sysmon_sample(s, 1700000000500000000, STR(""), &first);
    struct str when = wire_find_bytes(buf_str(&first), 2);
    assert_int_equal(wire_find_varint(when, 1), 1700000000);
    assert_int_equal(wire_find_varint(when, 2), 500000000);
    assert_string_equal(value_of(&first, "cpu"), ""); /* there is nothing to compare with yet */
    assert_string_equal(value_of(&first, "network.sent"), "0.0");
    assert_true(number_of(&first, "proc.memory.rssMB") > 0.5);
    assert_true(number_of(&first, "proc.memory.percent") < 50);
    double percent = number_of(&first, "memory_percent");
    assert_true(percent > 0 && percent < 100);
    assert_true(number_of(&first, "proc.memory.availableMB") > 1);
    /* Those that look for NVIDIA's, AMD's and AWS's devices may be there yet. */
    double threads = number_of(&first, "proc.cpu.threads");
    assert_true(threads >= 1 && threads <= 4);
    assert_true(number_of(&first, "disk./.usagePercent") > 0);
    assert_true(number_of(&first, "disk./.usageGB") > 0);
    burn(0.2);
    sysmon_sample(s, 1700000001000000000, STR(""), &second);
    double cpu = number_of(&second, "cpu");
    assert_true(cpu > 0 && cpu <= 110);
    sysmon_free(s);
}

static void test_metrics_can_be_switched_off(void **state)
{
    AUTO_BUF stats = {0}, machine = {0};
    put_int_setting(&stats, 10, 1);
    put_int_setting(&machine, 158, 1);
    assert_null(sysmon_new(buf_str(&stats)));
    assert_null(sysmon_new(buf_str(&machine)));
    assert_null(sysmon_new(STR("")));
}

static void test_interval_and_label_come_from_the_settings(void **state)
{
    AUTO_BUF settings = {0}, record = {0};
    size_t mark = wire_buf_begin(&settings, 174);
    wire_buf_double(&settings, 1, 2.5);
    wire_buf_end(&settings, mark);
    mark = wire_buf_begin(&settings, 181);
    wire_buf_bytes(&settings, 1, STR("node1"));
    wire_buf_end(&settings, mark);
    struct sysmon *s = sysmon_new(buf_str(&settings));
    assert_int_equal(sysmon_interval_ns(s), 2500000000);
    sysmon_sample(s, 1, STR(""), &record);
    assert_true(*value_of(&record, "memory_percent/l:node1"));
    assert_string_equal(value_of(&record, "proc.memory.rssMB/l:node1"), ""); /* no process named */
    sysmon_free(s);
}

static void test_a_process_that_is_gone_is_left_out(void **state)
{
    AUTO_BUF settings = {0}, record = {0};
    put_int_setting(&settings, 42, 0x7ffffff0);
    struct sysmon *s = sysmon_new(buf_str(&settings));
    sysmon_sample(s, 1, STR(""), &record);
    assert_string_equal(value_of(&record, "proc.memory.rssMB"), "");
    assert_true(*value_of(&record, "memory_percent"));
    sysmon_free(s);
}

static void test_the_last_samples_are_kept_by_key(void **state)
{
    struct sysmon_buffer b;
    AUTO_BUF answer = {0};
    sysmon_buffer_init(&b, 2);
    for (int i = 0; i < 3; i++) {
        AUTO_BUF record = {0}, value = {0};
        buf_printf(&value, "%d.5", i);
        size_t mark = wire_buf_begin(&record, 2);
        wire_buf_varint(&record, 1, (uint64_t)(100 + i));
        wire_buf_end(&record, mark);
        mark = wire_buf_begin(&record, 3);
        wire_buf_bytes(&record, 1, STR("cpu/l:node1"));
        wire_buf_bytes(&record, 16, buf_str(&value));
        wire_buf_end(&record, mark);
        sysmon_buffer_add(&b, buf_str(&record));
    }
    sysmon_buffer_put(&b, STR("node1"), &answer);
    struct str entry = wire_find_bytes(buf_str(&answer), 1);
    assert_true(str_eqz(wire_find_bytes(entry, 1), "cpu"));
    struct wire_reader r = wire_open(wire_find_bytes(entry, 2));
    struct wire_field f = {0}, v = {0};
    for (int i = 1; i < 3; i++) {
        assert_int_equal(wire_next(&r, &f), 1);
        assert_int_equal(wire_find_varint(wire_find_bytes(f.bytes, 1), 1), 100 + i);
        struct wire_reader point = wire_open(f.bytes);
        while (wire_next(&point, &v) > 0 && v.number != 2)
            ;
        float got;
        uint32_t bits = (uint32_t)v.value;
        memcpy(&got, &bits, sizeof got);
        assert_true(got == (float)i + 0.5f);
    }
    assert_int_equal(wire_next(&r, &f), 0);
    sysmon_buffer_fini(&b);
    sysmon_buffer_init(&b, 0);
    sysmon_buffer_add(&b, STR("x"));
    buf_clear(&answer);
    sysmon_buffer_put(&b, STR("node1"), &answer);
    assert_int_equal(answer.len, 0);
    sysmon_buffer_fini(&b);
}

static void test_children_count_in_a_tree(void **state)
{
    int fds[2];
    char c;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[1]);
        _exit(read(fds[0], &c, 1) < 0);
    }
    struct sysmon_process alone, tree;
    struct sysmon_table table = {0};
    sysmon_read_process(&alone, getpid(), NULL);
    sysmon_table_look(&table);
    sysmon_read_tree(&tree, &table, getpid());
    sysmon_table_fini(&table);
    close(fds[1]);
    close(fds[0]);
    assert_true(alone.threads >= 1); /* those that watch devices and disks may be there */
    assert_int_equal(tree.threads, alone.threads + 1);
    assert_true(tree.rss_bytes > alone.rss_bytes);
}

static bool is_kept_open(pid_t pid)
{
    char want[64], path[64], target[256];
    bool found = false;
    snprintf(want, sizeof want, "/proc/%d/stat", (int)pid);
    for (int fd = 0; fd < 1024 && !found; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        found = strcmp(target, want) == 0;
    }
    return found;
}

static void test_the_file_of_a_process_is_kept_open_while_it_is_watched(void **state)
{
    AUTO_BUF settings = {0};
    static const rlim_t most[] = {4096, 256};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    if (before.rlim_max < most[0])
        skip();
    for (int i = 0; i < 2; i++) {
        AUTO_BUF record = {0}, after = {0};
        struct rlimit r = {most[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        buf_clear(&settings);
        put_int_setting(&settings, 42, (uint64_t)child);
        struct sysmon *s = sysmon_new(buf_str(&settings));
        for (int k = 0; k < 3; k++) { /* the last is by the file that was kept */
            usleep(60000);
            buf_clear(&record);
            sysmon_sample(s, 1, STR(""), &record);
            assert_true(number_of(&record, "proc.cpu.threads") == 1);
        }
        assert_true(is_kept_open(child) == (i == 0)); /* not where descriptors are few */
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        usleep(60000);
        sysmon_sample(s, 1, STR(""), &after);
        assert_string_equal(value_of(&after, "proc.cpu.threads"), "");
        assert_false(is_kept_open(child));
        sysmon_free(s);
    }
    AUTO_BUF record = {0};
    struct rlimit r = {4096, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
    buf_clear(&settings);
    struct sysmon *s = watch_self(&settings);
    usleep(60000);
    sysmon_sample(s, 1, STR(""), &record);
    assert_true(is_kept_open(getpid()));
    sysmon_free(s);
    assert_false(is_kept_open(getpid()));
    setrlimit(RLIMIT_NOFILE, &before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sample_has_the_peers_names),
        cmocka_unit_test(test_metrics_can_be_switched_off),
        cmocka_unit_test(test_interval_and_label_come_from_the_settings),
        cmocka_unit_test(test_a_process_that_is_gone_is_left_out),
        cmocka_unit_test(test_the_last_samples_are_kept_by_key),
        cmocka_unit_test(test_children_count_in_a_tree),
        cmocka_unit_test(test_the_file_of_a_process_is_kept_open_while_it_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
