/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/err.h"
#include "base/os.h"
#include "service/stream/console.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000LL

struct fixture {
    char dir[64];
    char files[96]; /* the folder made for us: dir/files */
    struct console_options options;
    struct console *c;
    int64_t now;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_console.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->files, sizeof f->files, "%s/files", f->dir);
    f->options = (struct console_options){.files_dir = f->files, .label = "", .capture = true};
    f->now = 1700000000 * SECOND;
    *state = f;
    return 0;
}

static void start(struct fixture *f)
{
    f->c = console_new(&f->options);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    console_free(f->c);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    os = &os_real;
    free(f);
    return 0;
}

static void out(struct fixture *f, const char *text)
{
    console_output(f->c, false, str_of(text), f->now);
}

/* The write that is due, if any; its result. */
static int write_due(struct fixture *f, bool is_last)
{
    struct console_write *w = console_take_write(f->c, f->now, is_last);
    if (!w)
        return 1;
    console_write_run(w);
    return console_written(f->c, w, f->now);
}

static void assert_file(struct fixture *f, const char *name, const char *want)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->files, name);
    AUTO_BUF got = {0};
    assert_int_equal(os_read_file(path, 1 << 20, &got), 0);
    assert_string_equal(got.len ? buf_z(&got) : "", want);
}

static void test_nothing_is_written_without_output(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(console_deadline(f->c), INT64_MAX);
    out(f, "\n\n");
    assert_int_equal(write_due(f, true), 1);
    assert_int_equal(access(f->files, F_OK), -1);
}

static void test_output_reaches_the_file_in_time(void **state)
{
    struct fixture *f = *state;
    start(f);
    out(f, "hello\nwor");
    assert_int_equal(console_deadline(f->c), f->now + SECOND);
    assert_int_equal(write_due(f, false), 1);
    f->now += SECOND;
    assert_int_equal(write_due(f, false), 0);
    assert_file(f, "output.log", "hello\nwor\n");
    assert_int_equal(console_deadline(f->c), INT64_MAX);
    out(f, "ld\n");
    assert_int_equal(console_deadline(f->c), f->now + 5 * SECOND);
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output.log", "hello\nworld\n");
}

static void test_line_that_shrinks_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    start(f);
    out(f, "a long line of text");
    assert_int_equal(write_due(f, true), 0);
    out(f, "\r\x1b[Kshort");
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output.log", "short\n");
}

static void test_many_lines_over_many_writes(void **state)
{
    struct fixture *f = *state;
    start(f);
    AUTO_BUF want = {0};
    for (int i = 0; i < 2000; i++) {
        char text[64];
        snprintf(text, sizeof text, "line %d of the output\n", i);
        out(f, text);
        buf_puts(&want, text);
        f->now += SECOND / 10;
        write_due(f, false);
    }
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output.log", buf_z(&want));
}

static void test_capture_off_ignores_output(void **state)
{
    struct fixture *f = *state;
    f->options.capture = false;
    start(f);
    out(f, "x\n");
    console_line(f->c, STR("y\n"), f->now);
    assert_int_equal(write_due(f, true), 1);
}

static void test_write_logs_lines_are_kept_as_they_are(void **state)
{
    struct fixture *f = *state;
    start(f);
    console_line(f->c, STR("one\ntwo\r\x1b[A\n"), f->now);
    console_line(f->c, STR(""), f->now);
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output.log", "one\ntwo\r\x1b[A\n\n");
}

static void test_label_becomes_part_of_the_name(void **state)
{
    struct fixture *f = *state;
    f->options.label = " rank/0\a..";
    start(f);
    out(f, "x\n");
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output_rank_0.log", "x\n");
}

static size_t count_parts(struct fixture *f, glob_t *g)
{
    char pattern[256];
    snprintf(pattern, sizeof pattern, "%s/logs/output_2*_*_*.log", f->files);
    return glob(pattern, 0, NULL, g) == 0 ? g->gl_pathc : 0;
}

static void test_parts_end_by_size_and_never_change_again(void **state)
{
    struct fixture *f = *state;
    f->options.multipart = true;
    f->options.chunk_max_bytes = 20;
    start(f);
    out(f, "0123456789\n0123456789\n");
    assert_int_equal(write_due(f, true), 0);
    f->now++;
    out(f, "\x1b[Achanged\n"); /* in the part that has ended: dropped */
    out(f, "next");
    assert_int_equal(write_due(f, true), 0);
    glob_t g;
    assert_int_equal(count_parts(f, &g), 2);
    assert_file(f, g.gl_pathv[0] + strlen(f->files) + 1, "0123456789\n0123456789\n");
    assert_file(f, g.gl_pathv[1] + strlen(f->files) + 1, "next\n");
    globfree(&g);
}

static void test_parts_end_by_age(void **state)
{
    struct fixture *f = *state;
    f->options.multipart = true;
    f->options.chunk_max_seconds = 60;
    start(f);
    for (int i = 0; i < 30; i++) {
        out(f, "x\n");
        f->now += 6 * SECOND;
        write_due(f, false);
    }
    glob_t g;
    assert_int_equal(count_parts(f, &g), 3);
    globfree(&g);
}

static int failures;

static ssize_t pwrite_fails(int fd, const void *p, size_t n, off_t at)
{
    failures++;
    return failures % 2 ? -ENOSPC : os_real.pwrite(fd, p, n > 3 ? 3 : n, at);
}

static void test_full_disk_loses_nothing_once_there_is_room(void **state)
{
    struct fixture *f = *state;
    start(f);
    AUTO_BUF want = {0};
    struct os_ops ops = os_real;
    ops.pwrite = pwrite_fails;
    os = &ops;
    int reported = 0;
    for (int i = 0; i < 200; i++) {
        char text[64];
        snprintf(text, sizeof text, "%d\n", i);
        out(f, text);
        buf_puts(&want, text);
        f->now += 6 * SECOND;
        reported += write_due(f, false) == -ENOSPC;
    }
    os = &os_real;
    assert_int_equal(write_due(f, true), 0);
    assert_file(f, "output.log", buf_z(&want));
    assert_int_equal(reported, 1);
    assert_int_equal(console_lines_lost(f->c), 0);
}

static void test_backlog_is_bounded(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct console_write *w;
    out(f, "first\n");
    w = console_take_write(f->c, f->now, true); /* a write that never ends */
    assert_non_null(w);
    char text[1001];
    memset(text, 'x', 999);
    text[999] = '\n';
    text[1000] = 0;
    for (int i = 0; i < 20000; i++)
        out(f, text);
    assert_int_equal(console_deadline(f->c), INT64_MAX);
    assert_true(console_lines_lost(f->c) > 10000);
    console_write_run(w);
    assert_int_equal(console_written(f->c, w, f->now), 0);
}

/* A thousand runs on a disk that has stalled: each may keep little once all keep much. */
static void test_backlog_of_all_runs_is_bounded(void **state)
{
    struct fixture *f = *state;
    enum { N = 20 };
    struct console *c[N];
    char text[1001];
    uint64_t lost = 0;
    memset(text, 'x', 999);
    text[999] = '\n';
    for (int i = 0; i < N; i++) {
        c[i] = console_new(&f->options);
        for (int k = 0; k < 8000; k++)
            console_output(c[i], false, (struct str){text, 1000}, f->now);
        lost += console_lines_lost(c[i]);
    }
    assert_int_equal(console_lines_lost(c[0]), 0);
    assert_true(lost > (N - 10) * 7000);
    for (int i = 0; i < N; i++)
        console_free(c[i]);
    struct console *after = console_new(&f->options);
    for (int k = 0; k < 8000; k++)
        console_output(after, false, (struct str){text, 1000}, f->now);
    assert_int_equal(console_lines_lost(after), 0); /* what was freed is not counted any more */
    console_free(after);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_written_without_output),
        T(output_reaches_the_file_in_time),
        T(line_that_shrinks_leaves_nothing_behind),
        T(many_lines_over_many_writes),
        T(capture_off_ignores_output),
        T(write_logs_lines_are_kept_as_they_are),
        T(label_becomes_part_of_the_name),
        T(parts_end_by_size_and_never_change_again),
        T(parts_end_by_age),
        T(full_disk_loses_nothing_once_there_is_room),
        T(backlog_is_bounded),
        T(backlog_of_all_runs_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
