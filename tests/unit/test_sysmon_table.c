/* SPDX-License-Identifier: MIT */
/* Trees of real processes, by the machine's own /proc: who is new, gone, or somebody else's, with few files opened. */
#include "unit.h"

#include "base/os.h"
#include "service/watch/sysmon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = SYSMON_MAX_OPEN + 6 };

static const char number_file[] = "/proc/sys/kernel/ns_last_pid";

static pid_t child[MANY];
static int n_children;

static _Noreturn void pause_for_ever(void)
{
    for (;;)
        pause();
}

static pid_t fork_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        pause_for_ever();
    assert_true(pid > 0);
    return child[n_children++] = pid;
}

static void end_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < n_children; i++)
        if (child[i] == pid)
            child[i] = child[--n_children];
}

static int end_children(void **state)
{
    os = &os_real;
    while (n_children > 0)
        end_child(child[0]);
    return 0;
}

/* A child that has a child of its own, which pauses; it collects that when it ends. */
static pid_t fork_two(pid_t *grandchild)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t below = fork();
        if (below == 0)
            pause_for_ever();
        if (write(fds[1], &below, sizeof below) != sizeof below)
            _exit(1);
        waitpid(below, NULL, 0);
        pause_for_ever();
    }
    assert_true(pid > 0);
    child[n_children++] = pid;
    assert_int_equal(read(fds[0], grandchild, sizeof *grandchild), sizeof *grandchild);
    assert_true(*grandchild > 0);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

/* Threads in the tree of a process, each of one here, in a new look; -1 if it is gone. */
static int look_at(struct sysmon_table *t, pid_t pid)
{
    struct sysmon_process p;
    sysmon_table_look(t);
    sysmon_read_tree(&p, t, pid);
    return p.found ? (int)p.threads : -1;
}

static int n_opened; /* files of the children */

static int count_open(const char *path, int flags, mode_t mode)
{
    for (int i = 0; i < n_children; i++) {
        char name[64];
        snprintf(name, sizeof name, "/proc/%d/stat", (int)child[i]);
        n_opened += strcmp(path, name) == 0;
    }
    return os_real.open(path, flags, mode);
}

static void set_most_files(rlim_t n)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    if (n > r.rlim_max)
        skip();
    r.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* How many files of processes this one has open. */
static int n_kept(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[256];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t got = readlink(path, target, sizeof target - 1);
        target[got > 0 ? got : 0] = 0;
        n += strncmp(target, "/proc/", 6) == 0 && strstr(target, "/stat") && target[6] >= '0' && target[6] <= '9';
    }
    return n;
}

static void test_what_is_known_is_not_listed_again(void **state)
{
    struct sysmon_table t = {0};
    static struct os_ops counting;
    counting = os_real;
    if (access(number_file, R_OK) != 0)
        skip();
    set_most_files(4096);
    counting.open = count_open;
    os = &counting;
    for (int i = 0; i < 20; i++)
        fork_child();
    look_at(&t, 1 << 30); /* nobody's tree */
    assert_int_equal(n_opened, 20);
    look_at(&t, 1 << 30);
    look_at(&t, 1 << 30); /* by now they are neither new nor can they have been overlooked */
    n_opened = 0;
    int n_before = t.n;
    int32_t last = t.last;
    look_at(&t, 1 << 30);
    look_at(&t, 1 << 30);
    if (t.last >= last && t.n < n_before + SYSMON_MANY_NEW) /* else the numbers began anew meanwhile */
        assert_int_equal(n_opened, 0);
    sysmon_table_fini(&t);
}

static void test_a_tree_grows_and_shrinks(void **state)
{
    struct sysmon_table t = {0};
    pid_t grandchild, first = fork_child();
    set_most_files(4096);
    for (int i = 0; i < 3; i++)
        assert_int_equal(look_at(&t, getpid()), 2);
    for (int i = 0; i < 3; i++) {
        fork_child();
        assert_int_equal(look_at(&t, getpid()), 3 + i);
    }
    end_child(first);
    assert_int_equal(look_at(&t, getpid()), 4);
    pid_t second = fork_two(&grandchild);
    assert_int_equal(look_at(&t, getpid()), 6);
    assert_int_equal(look_at(&t, second), 2);
    assert_true(sysmon_is_below(&t, grandchild, second));
    end_child(second);
    assert_int_equal(look_at(&t, second), -1);
    assert_int_equal(look_at(&t, getpid()), 4); /* the grandchild is another's now */
    assert_false(sysmon_is_below(&t, grandchild, getpid()));
    assert_int_equal(kill(grandchild, SIGKILL), 0);
    sysmon_table_fini(&t);
}

static void test_an_orphan_goes_to_a_process_above(void **state)
{
    struct sysmon_table t = {0};
    pid_t grandchild;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t pid = fork_two(&grandchild);
    for (int i = 0; i < 3; i++)
        assert_int_equal(look_at(&t, getpid()), 3);
    end_child(pid);
    child[n_children++] = grandchild;
    assert_int_equal(look_at(&t, getpid()), 2);
    assert_true(sysmon_is_below(&t, grandchild, getpid()));
    assert_false(sysmon_is_below(&t, grandchild, pid));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    sysmon_table_fini(&t);
}

static bool set_last_number(pid_t pid)
{
    FILE *f = fopen(number_file, "w");
    bool ok = f && fprintf(f, "%d", (int)pid) > 0;
    return f ? fclose(f) == 0 && ok : false;
}

/* A child that has that number; 0 if it could not be had: others start processes, too. */
static pid_t fork_as(pid_t number)
{
    for (int i = 0; i < 100; i++) {
        if (!set_last_number(number - 1))
            return 0;
        pid_t pid = fork_child();
        if (pid == number)
            return pid;
        end_child(pid);
    }
    return 0;
}

static void test_a_number_that_is_given_again_is_another_process(void **state)
{
    struct sysmon_table t = {0}, of_gpus = {0};
    pid_t grandchild;
    set_most_files(4096);
    pid_t pid = fork_two(&grandchild);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(look_at(&t, pid), 2);
        assert_int_equal(look_at(&t, grandchild), 1);
        sysmon_table_look(&of_gpus);
        assert_true(sysmon_is_below(&of_gpus, grandchild, pid));
    }
    assert_int_equal(n_kept(), t.n_open + of_gpus.n_open);
    assert_true(t.n_open >= 2 && of_gpus.n_open >= 1);
    assert_int_equal(kill(grandchild, SIGKILL), 0);
    for (int i = 0; i < 1000 && kill(grandchild, 0) == 0; i++)
        usleep(1000);
    pid_t again = fork_as(grandchild);
    assert_int_equal(look_at(&t, pid), 1);
    sysmon_table_look(&of_gpus);
    assert_false(sysmon_is_below(&of_gpus, grandchild, pid));
    if (again > 0) {
        assert_int_equal(look_at(&t, again), 1);
        assert_true(sysmon_is_below(&of_gpus, again, getpid()));
    } else {
        assert_int_equal(look_at(&t, grandchild), -1);
    }
    sysmon_table_fini(&t);
    sysmon_table_fini(&of_gpus);
}

static void test_few_files_are_kept_open(void **state)
{
    static const rlim_t most[] = {4096, 256};
    for (int k = 0; k < 2; k++) {
        struct sysmon_table t = {0};
        set_most_files(most[k]);
        while (n_children < MANY)
            fork_child();
        for (int i = 0; i < 3; i++)
            assert_int_equal(look_at(&t, getpid()), MANY + 1);
        assert_int_equal(t.n_open, k == 0 ? SYSMON_MAX_OPEN : 0); /* none where descriptors are few */
        assert_int_equal(n_kept(), t.n_open);
        for (int i = 0; i < 10; i++)
            end_child(child[0]);
        assert_int_equal(look_at(&t, getpid()), MANY - 10 + 1);
        assert_int_equal(n_kept(), t.n_open);
        sysmon_table_close(&t);
        assert_int_equal(n_kept(), 0);
        assert_int_equal(look_at(&t, getpid()), MANY - 10 + 1);
        sysmon_table_fini(&t);
        assert_int_equal(n_kept(), 0);
        end_children(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_what_is_known_is_not_listed_again, end_children),
        cmocka_unit_test_teardown(test_a_tree_grows_and_shrinks, end_children),
        cmocka_unit_test_teardown(test_an_orphan_goes_to_a_process_above, end_children),
        cmocka_unit_test_teardown(test_a_number_that_is_given_again_is_another_process, end_children),
        cmocka_unit_test_teardown(test_few_files_are_kept_open, end_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
