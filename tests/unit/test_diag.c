/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/diag.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/tare-test-diag-XXXXXX";

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

static char *read_all(int fd)
{
    static char text[1 << 20];
    size_t n = 0;
    for (ssize_t got; (got = read(fd, text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = '\0';
    return text;
}

static void test_lines_come_into_the_file_in_order(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/made/on/need.log", dir);
    diag_open_file(path, DIAG_INFO);
    for (int i = 0; i < 100; i++)
        diag_info("line %d.", i);
    diag_debug("not this one");
    diag_flush(60000);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    char *at = read_all(fd);
    close(fd);
    assert_null(strstr(at, "not this one"));
    for (int i = 0; i < 100; i++) {
        char line[32];
        snprintf(line, sizeof line, " INFO line %d.\n", i);
        at = strstr(at, line);
        assert_non_null(at);
    }
}

/* Nobody reads the pipe: to open it hangs. */
static void test_a_file_that_hangs_makes_nobody_wait(void **state)
{
    char path[128], text[1001];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    snprintf(path, sizeof path, "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    diag_open_file(path, DIAG_INFO);
    for (int i = 0; i < 1000; i++)
        diag_info("%s", text);
    diag_flush(10); /* in vain */
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    char *got = read_all(fd); /* until the thread has closed it */
    close(fd);
    assert_non_null(strstr(got, " INFO xxx"));
    assert_non_null(strstr(got, "lines were left out"));
    assert_true(strlen(got) < 200 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_that_hangs_makes_nobody_wait),
        cmocka_unit_test(test_lines_come_into_the_file_in_order),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
