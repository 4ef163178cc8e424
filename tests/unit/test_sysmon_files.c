/* SPDX-License-Identifier: MIT */
/* The figures from recorded files of /proc and /sys: a container with limits, a machine with a bond,
 * an overlay as its root, and processes that vanish. */
#include "unit.h"

#include "base/os.h"
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"
#include "tests/support/watch_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void process(int pid, int parent, const char *name, int ticks, int threads, int pages)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    snprintf(text, sizeof text,
             "%d (%s) S %d 1 1 0 -1 4194304 9 0 0 0 %d 0 0 0 20 0 %d 0 77 1000000 %d 18446744073709551615\n", pid,
             name, parent, ticks, threads, pages);
    tree_file(path, text);
}

static int set_up(void **state)
{
    tree_make();
    tree_file("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:    4096000 kB\n");
    tree_file("/proc/net/dev",
         "Inter-|   Receive                                                |  Transmit\n"
         " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
         "    lo:  111 1 0 0 0 0 0 0 111 1 0 0 0 0 0 0\n"
         " bond0: 5000 1 0 0 0 0 0 0 700 1 0 0 0 0 0 0\n"
         "  eth0: 5000 1 0 0 0 0 0 0 700 1 0 0 0 0 0 0\n"
         "  eth1:   10 1 0 0 0 0 0 0  20 1 0 0 0 0 0 0\n");
    tree_file("/sys/class/net/eth0/master/ifindex", "3\n");
    tree_file("/proc/net/snmp", "Ip: Forwarding\nIp: 1\nTcp: RtoMin InSegs RetransSegs InErrs\nTcp: 200 5 42 0\n");
    tree_file("/proc/diskstats",
         "   7       0 loop0 5 0 5 5 0 0 0 0 0 0 0\n"
         " 259       0 nvme0n1 10 0 2048 5 20 0 4096 0 0 0 0 0 0 0\n"
         " 259       1 nvme1n1 0 0 0 0 0 0 0 0 0 0 0\n");
    process(100, 1, "python", 300, 3, 1000);
    process(90, 101, "late child", 50, 1, 10); /* listed before its parent */
    process(101, 100, "a) S 7 (b", 20, 2, 100);
    process(200, 1, "other", 1, 1, 1);
    tree_file("/proc/103/stat", ""); /* gone between the listing and the reading */
    tree_file("/proc/104/status", "");
    tree_file("/proc/105/stat", "105 (torn) S 100 1");
    tree_file("/proc/100/cgroup", "12:cpuset:/x\n0::/kubepods/pod1/c2\n");
    tree_file("/proc/100/mountinfo",
         "20 1 8:1 / / rw - ext4 /dev/sda rw\n31 20 0:28 /kubepods /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup rw\n");
    tree_file("/proc/100/status", "Name:\tpython\nCpus_allowed_list:\t0-1,3\n");
    tree_file("/sys/fs/cgroup/pod1/c2/memory.max", "2147483648\n");
    tree_file("/sys/fs/cgroup/pod1/c2/memory.current", "536870912\n");
    tree_file("/sys/fs/cgroup/pod1/c2/cpu.max", "400000 100000\n");
    tree_file("/sys/fs/cgroup/pod1/c2/cpu.stat", "usage_usec 1\nnr_periods 100\nnr_throttled 10\nthrottled_usec 5\n");
    tree_file("/sys/fs/cgroup/pod1/c2/memory.events", "low 0\noom 4\noom_kill 3\noom_group_kill 0\n");
    return 0;
}

static int tear_down(void **state)
{
    tree_remove();
    return 0;
}

static void test_the_machine(void **state)
{
    struct sysmon_host h;
    sysmon_read_host(&h);
    assert_int_equal(h.memory_total, 16384000ull * 1024);
    assert_int_equal(h.memory_available, 4096000ull * 1024);
    assert_int_equal(h.received, 5010); /* not loopback, and the bond without its part */
    assert_int_equal(h.sent, 720);
    assert_int_equal(h.retransmits, 42);
    assert_int_equal(h.n_devices, 1); /* without loops, and those never used */
    assert_string_equal(h.device[0].name, "nvme0n1");
    assert_int_equal(h.device[0].read_bytes, 2048 * 512);
    assert_int_equal(h.device[0].written_bytes, 4096 * 512);
}

static void test_a_tree_of_processes(void **state)
{
    struct sysmon_table t = {0};
    struct sysmon_process p;
    sysmon_table_look(&t);
    sysmon_read_tree(&p, &t, 100);
    assert_int_equal(t.n, 4); /* those that vanish or are torn are left out */
    assert_true(p.found);
    assert_int_equal(p.threads, 6);
    assert_int_equal(p.rss_bytes, 1110 * sysconf(_SC_PAGESIZE));
    assert_int_equal((int)(p.cpu_s * (double)sysconf(_SC_CLK_TCK) + 0.5), 370);
    sysmon_read_tree(&p, &t, 999);
    assert_false(p.found);
    assert_true(sysmon_is_below(&t, 90, 100));
    assert_true(sysmon_is_below(&t, 999, 999)); /* whether it is there or not */
    assert_false(sysmon_is_below(&t, 90, 200));
    assert_false(sysmon_is_below(&t, 103, 100));
    assert_false(sysmon_is_below(&t, 0, 100));
    sysmon_table_fini(&t);
}

static int n_opened;

static int count_open(const char *path, int flags, mode_t mode)
{
    n_opened++;
    return os_real.open(path, flags, mode);
}

static int ticks_of(struct sysmon_table *t, int32_t pid)
{
    struct sysmon_process p;
    sysmon_read_tree(&p, t, pid);
    return p.found ? (int)(p.cpu_s * (double)sysconf(_SC_CLK_TCK) + 0.5) : -1;
}

/* Of this /proc nobody says what is new, so all are listed in a look. */
static void test_processes_are_read_once_in_a_look(void **state)
{
    struct sysmon_table t = {0};
    static struct os_ops counting;
    counting = os_real;
    counting.open = count_open;
    n_opened = 0;
    os = &counting;
    sysmon_table_look(&t);
    assert_int_equal(ticks_of(&t, 100), 370);
    assert_int_equal(n_opened, 7 + 1); /* three of them cannot be read; and the number of the last */
    process(100, 1, "python", 400, 3, 1000);
    assert_int_equal(ticks_of(&t, 100), 370);
    assert_int_equal(ticks_of(&t, 101), 70);
    assert_int_equal(n_opened, 7 + 1);
    process(102, 90, "new", 5, 1, 1);
    sysmon_table_look(&t);
    assert_int_equal(ticks_of(&t, 100), 475);
    tree_spoil("/proc/101/stat");
    process(102, 1, "other", 5, 1, 1);
    sysmon_table_look(&t);
    assert_int_equal(ticks_of(&t, 100), 400); /* 101 is gone, and 90 was its child */
    assert_int_equal(ticks_of(&t, 101), -1);
    tree_spoil("/proc/100/stat");
    sysmon_table_look(&t);
    assert_int_equal(ticks_of(&t, 100), -1);
    sysmon_table_fini(&t);
    os = &os_real;
}

static void test_a_tree_has_no_more_than_there_is_room_for(void **state)
{
    struct sysmon_table t = {0};
    for (int i = 0; i < SYSMON_MAX_TREE + 10; i++)
        process(1000 + i, i < 1 ? 1 : 1000 + (i - 1) / 2, "many", 1, 1, 1);
    sysmon_table_look(&t);
    assert_int_equal(ticks_of(&t, 1000), SYSMON_MAX_TREE);
    sysmon_table_fini(&t);
}

static void test_limits_of_a_control_group(void **state)
{
    struct sysmon_group g;
    struct sysmon_usage u;
    sysmon_find_group(&g, 100, 8);
    assert_true(g.is_limited && g.has_quota);
    assert_string_equal(g.dir, "/sys/fs/cgroup/pod1/c2"); /* the mount shows what is below /kubepods */
    assert_int_equal(g.memory_bytes, 2147483648u);
    assert_true(g.cpus == 3); /* fewer than the quota's 4 */
    sysmon_read_group(&u, &g);
    assert_true(u.has_memory && u.has_throttling && u.has_oom_kills);
    assert_int_equal(u.memory_bytes, 536870912);
    assert_int_equal(u.periods, 100);
    assert_int_equal(u.throttled, 10);
    assert_int_equal(u.oom_kills, 3);
    sysmon_find_group(&g, 200, 8); /* its files are not there */
    assert_false(g.is_limited);
    sysmon_read_group(&u, &g);
    assert_false(u.has_memory || u.has_throttling || u.has_oom_kills);
}

static int count_events(const char *path, int flags, mode_t mode)
{
    n_opened += strstr(path, "/memory.events") != NULL;
    return os_real.open(path, flags, mode);
}

static void test_runs_of_one_control_group_read_it_once(void **state)
{
    AUTO_BUF settings = {0}, record = {0};
    static struct os_ops counting;
    counting = os_real;
    counting.open = count_events;
    put_int_setting(&settings, 42, 100);
    struct sysmon *one = sysmon_new(buf_str(&settings)), *two = sysmon_new(buf_str(&settings));
    usleep(60000);
    n_opened = 0;
    os = &counting;
    sysmon_sample(one, 1, STR(""), &record);
    assert_true(has(&record, "memory_percent", "25.0"));
    buf_clear(&record);
    sysmon_sample(two, 1, STR(""), &record);
    assert_true(has(&record, "memory_percent", "25.0"));
    assert_int_equal(n_opened, 1);
    usleep(60000);
    sysmon_sample(two, 2, STR(""), &record);
    assert_int_equal(n_opened, 2);
    os = &os_real;
    sysmon_free(one);
    sysmon_free(two);
}

/* -1 if it is not there. */
static double number_of(const struct buf *record, const char *key)
{
    const char *v = value_of(record, key);
    return *v ? strtod(v, NULL) : -1;
}

static void test_a_sample_in_a_container(void **state)
{
    AUTO_BUF settings = {0}, first = {0}, second = {0};
    put_int_setting(&settings, 42, 100);
    put_int_setting(&settings, 198, 1); /* the tree */
    put_int_setting(&settings, 210, 1); /* the service too */
    process(getpid(), 1, "service", 10, 2, 256);
    struct sysmon *s = sysmon_new(buf_str(&settings));
    sysmon_sample(s, 1, STR(""), &first);
    assert_true(number_of(&first, "memory_percent") == 25);
    assert_true(number_of(&first, "proc.memory.availableMB") == 1536);
    assert_true(number_of(&first, "proc.cpu.threads") == 6);
    assert_true(number_of(&first, "proc.memory.percent") > 0);
    assert_true(number_of(&first, "proc.memory.oomKills") == 0);
    assert_true(number_of(&first, "proc.cpu.throttledPercent") == -1);
    assert_true(number_of(&first, "wandb.memory.rssMB") == 1);
    tree_file("/sys/fs/cgroup/pod1/c2/cpu.stat", "nr_periods 150\nnr_throttled 20\n");
    tree_file("/sys/fs/cgroup/pod1/c2/memory.events", "oom_kill 5\n");
    usleep(60000); /* until then it is what all runs are told */
    sysmon_sample(s, 2, STR(""), &second);
    assert_true(number_of(&second, "proc.cpu.throttledPercent") == 20);
    assert_true(number_of(&second, "proc.memory.oomKills") == 2);
    assert_true(number_of(&second, "wandb.cpu") == 0);
    sysmon_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_machine),
        cmocka_unit_test(test_a_tree_of_processes),
        cmocka_unit_test(test_limits_of_a_control_group),
        cmocka_unit_test(test_runs_of_one_control_group_read_it_once),
        cmocka_unit_test(test_a_sample_in_a_container),
    };
    const struct CMUnitTest changing[] = {
        cmocka_unit_test(test_processes_are_read_once_in_a_look), /* in a tree of its own */
        cmocka_unit_test(test_a_tree_has_no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down) + cmocka_run_group_tests(changing, set_up, tear_down);
}
