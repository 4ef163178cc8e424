/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/tare-test-os-XXXXXX";

static int make_dir(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void test_mkdirs_makes_parents_and_accepts_what_is_there(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/a/b/c", dir);
    assert_int_equal(os_mkdirs(path, 0755), 0);
    assert_int_equal(os_mkdirs(path, 0755), 0);
    snprintf(path, sizeof path, "%s/file", dir);
    assert_int_equal(os_write_file(path, "x", 1, 0644), 0);
    assert_int_equal(os_mkdirs(path, 0755), -ENOTDIR);
}

static void test_file_comes_back_whole_and_limits_hold(void **state)
{
    char path[128], data[50000];
    memset(data, 'd', sizeof data);
    snprintf(path, sizeof path, "%s/whole", dir);
    assert_int_equal(os_write_file(path, data, sizeof data, 0600), 0);
    AUTO_BUF b = {0};
    assert_int_equal(os_read_file(path, sizeof data, &b), 0);
    assert_int_equal(b.len, sizeof data);
    buf_clear(&b);
    assert_int_equal(os_read_file(path, sizeof data - 1, &b), TARE_ELIMIT);
    assert_int_equal(os_read_file("/nowhere/at/all", 10, &b), -ENOENT);
}

static ssize_t write_little(int fd, const void *p, size_t n)
{
    return os_real.write(fd, p, n > 7 ? 7 : n);
}

static int rename_fails(const char *from, const char *to)
{
    return -EIO;
}

static void test_short_writes_go_on_and_failures_leave_nothing(void **state)
{
    struct os_ops fake = os_real;
    fake.write = write_little;
    os = &fake;
    char path[128];
    snprintf(path, sizeof path, "%s/short", dir);
    assert_int_equal(os_write_file(path, "0123456789abcdefghij", 20, 0600), 0);
    AUTO_BUF b = {0};
    assert_int_equal(os_read_file(path, 100, &b), 0);
    assert_int_equal(b.len, 20);
    fake.rename = rename_fails;
    assert_int_equal(os_write_file(path, "new", 3, 0600), -EIO);
    os = &os_real;
    buf_clear(&b);
    assert_int_equal(os_read_file(path, 100, &b), 0);
    assert_int_equal(b.len, 20);
    char command[160];
    snprintf(command, sizeof command, "test -z \"$(ls %s | grep tmp)\"", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mkdirs_makes_parents_and_accepts_what_is_there),
        cmocka_unit_test(test_file_comes_back_whole_and_limits_hold),
        cmocka_unit_test(test_short_writes_go_on_and_failures_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
