/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/buf.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/stream/handler.h"
#include "service/stream/runfiles.h"
#include "service/stream/stream_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000LL
enum { FILES = 6, ENVIRONMENT = 26 };

struct fixture {
    char dir[64], files[96];
    struct buf raw;
    struct stream_settings settings;
    struct runfiles *r;
    struct runfiles_owner owner;
    struct handler_job *jobs[16]; /* not run yet */
    int n_jobs, n_kept, n_idle, n_asked;
    uint32_t kinds[16];
    struct buf kept[16];
    int64_t now;
};

static void keep(void *ctx, uint32_t kind, struct str body)
{
    struct fixture *f = ctx;
    f->kinds[f->n_kept] = kind;
    buf_put_str(&f->kept[f->n_kept++], body);
}

static void work(void *ctx, struct handler_job *job)
{
    struct fixture *f = ctx;
    assert_true(f->n_jobs < (int)(sizeof f->jobs / sizeof f->jobs[0]));
    f->jobs[f->n_jobs++] = job;
}

static void feed(void *ctx, struct str record)
{
    fail(); /* no TensorBoard here */
}

static void idle(void *ctx, int64_t now_ns)
{
    ((struct fixture *)ctx)->n_idle++;
}

static void run_jobs(struct fixture *f)
{
    for (int i = 0; i < f->n_jobs; i++) {
        f->jobs[i]->run(f->jobs[i]);
        f->jobs[i]->done(f->jobs[i], NULL);
    }
    f->n_jobs = 0;
}

static void set_text(struct fixture *f, uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(&f->raw, number);
    wire_buf_bytes(&f->raw, 1, str_of(text));
    wire_buf_end(&f->raw, mark);
}

static void set_flag(struct fixture *f, uint32_t number, bool v)
{
    size_t mark = wire_buf_begin(&f->raw, number);
    wire_buf_varint(&f->raw, 1, v);
    wire_buf_end(&f->raw, mark);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_runfiles.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->files, sizeof f->files, "%s/files", f->dir);
    assert_int_equal(mkdir(f->files, 0777), 0);
    f->owner = (struct runfiles_owner){f, keep, work, feed, idle};
    f->now = 1700000000 * SECOND;
    f->settings = (struct stream_settings){.files_dir = f->files, .primary = true};
    *state = f;
    return 0;
}

static void start(struct fixture *f)
{
    f->settings.raw = buf_str(&f->raw);
    f->r = runfiles_new(&f->settings, &f->owner, f->now);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    run_jobs(f);
    runfiles_free(f->r);
    for (int i = 0; i < f->n_kept; i++)
        buf_fini(&f->kept[i]);
    buf_fini(&f->raw);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static struct buf read_file(struct fixture *f, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->files, name);
    struct buf b = {0};
    assert_int_equal(os_read_file(path, 1 << 20, &b), 0);
    return b;
}

static void put_package(struct buf *b, const char *name, const char *version)
{
    size_t mark = wire_buf_begin(b, 1);
    wire_buf_bytes(b, 1, str_of(name));
    wire_buf_bytes(b, 2, str_of(version));
    wire_buf_end(b, mark);
}

static void test_packages_become_requirements(void **state)
{
    struct fixture *f = *state;
    start(f);
    AUTO_BUF request = {0};
    put_package(&request, "numpy", "1.26");
    put_package(&request, "wandb", "0.31.0");
    runfiles_packages(f->r, buf_str(&request));
    assert_int_equal(f->n_kept, 0); /* the record follows the file */
    run_jobs(f);
    AUTO_BUF got = read_file(f, "requirements.txt");
    assert_string_equal(buf_z(&got), "numpy==1.26\nwandb==0.31.0\n");
    assert_int_equal(f->n_kept, 1);
    assert_int_equal(f->kinds[0], FILES);
    assert_non_null(memmem(f->kept[0].data, f->kept[0].len, "requirements.txt", 16));
}

static void test_only_the_primary_writes(void **state)
{
    struct fixture *f = *state;
    f->settings.primary = false;
    start(f);
    runfiles_packages(f->r, STR(""));
    runfiles_probe(f->r, f->now);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(f->n_kept, 0);
}

static void test_probe_keeps_two_records_and_writes_the_file(void **state)
{
    struct fixture *f = *state;
    set_text(f, 95, "train.py");
    start(f);
    AUTO_BUF run = {0};
    size_t mark = wire_buf_begin(&run, 21);
    wire_buf_bytes(&run, 2, STR("c0ffee"));
    wire_buf_end(&run, mark);
    runfiles_start(f->r, buf_str(&run));
    runfiles_probe(f->r, f->now);
    run_jobs(f);
    assert_int_equal(f->n_kept, 2);
    assert_int_equal(f->kinds[1], ENVIRONMENT);
    AUTO_BUF got = read_file(f, "wandb-metadata.json");
    assert_non_null(strstr(buf_z(&got), "\"program\": \"train.py\""));
    assert_non_null(strstr(buf_z(&got), "\"commit\": \"c0ffee\""));
    assert_non_null(strstr(buf_z(&got), "\"cpu_count\": "));
}

/* As the peer: the sync makes the file of the two records. */
static void test_offline_leaves_no_metadata_file(void **state)
{
    struct fixture *f = *state;
    set_flag(f, 30, true);
    start(f);
    runfiles_probe(f->r, f->now);
    run_jobs(f);
    assert_int_equal(f->n_kept, 2);
    char path[256];
    snprintf(path, sizeof path, "%s/wandb-metadata.json", f->files);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_machine_info_can_be_switched_off(void **state)
{
    struct fixture *f = *state;
    set_flag(f, 158, true);
    start(f);
    runfiles_probe(f->r, f->now);
    assert_int_equal(f->n_kept, 0);
}

static void test_code_is_saved_where_asked(void **state)
{
    struct fixture *f = *state;
    char program[128];
    snprintf(program, sizeof program, "%s/train.py", f->dir);
    assert_int_equal(os_write_file(program, "print(1)\n", 9, 0644), 0);
    set_flag(f, 115, true);
    set_flag(f, 63, true);
    set_text(f, 96, "src/train.py");
    set_text(f, 159, program);
    start(f);
    runfiles_start(f->r, STR(""));
    run_jobs(f);
    AUTO_BUF got = read_file(f, "code/src/train.py");
    assert_string_equal(buf_z(&got), "print(1)\n");
    assert_int_equal(f->n_kept, 1);
    assert_non_null(memmem(f->kept[0].data, f->kept[0].len, "code/src/train.py", 17));
}

/* A program that came through a pipe: reading that once more would wait for ever, and the run's end with it. */
static void test_code_from_a_pipe_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    char program[128];
    snprintf(program, sizeof program, "%s/piped.py", f->dir);
    assert_int_equal(mkfifo(program, 0600), 0);
    set_flag(f, 115, true);
    set_flag(f, 63, true);
    set_text(f, 96, "piped.py");
    set_text(f, 159, program);
    start(f);
    runfiles_start(f->r, STR(""));
    alarm(20);
    run_jobs(f);
    alarm(0);
    assert_int_equal(f->n_kept, 0);
}

static void test_code_path_may_not_leave_the_folder(void **state)
{
    struct fixture *f = *state;
    set_flag(f, 115, true);
    set_flag(f, 63, true); /* disable_git */
    set_text(f, 96, "../../x.py");
    set_text(f, 159, "/etc/hostname");
    start(f);
    runfiles_start(f->r, STR(""));
    assert_int_equal(f->n_jobs, 0);
}

static void put_output(struct fixture *f, const char *text)
{
    AUTO_BUF raw = {0};
    wire_buf_varint(&raw, 1, 1);
    wire_buf_bytes(&raw, 3, str_of(text));
    runfiles_output(f->r, buf_str(&raw), f->now);
}

static void test_output_is_written_in_time_and_at_the_end(void **state)
{
    struct fixture *f = *state;
    start(f);
    put_output(f, "a\n");
    AUTO_BUF line = {0};
    wire_buf_bytes(&line, 1, STR("logged\n"));
    runfiles_line(f->r, buf_str(&line), f->now);
    f->now = runfiles_deadline(f->r);
    runfiles_tick(f->r, f->now);
    assert_int_equal(f->n_jobs, 1);
    put_output(f, "b\n");
    assert_true(runfiles_finish(f->r, f->now)); /* the write under way makes no record */
    put_output(f, "too late\n");
    run_jobs(f); /* a job that is done may start another */
    AUTO_BUF got = read_file(f, "output.log");
    assert_string_equal(buf_z(&got), "a\nlogged\nb\n");
}

static void test_output_that_cannot_be_written_ends(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/output.log", f->files);
    assert_int_equal(mkdir(path, 0777), 0); /* in the file's way */
    start(f);
    put_output(f, "a\n");
    for (int i = 0; i < 2; i++) {
        f->now = runfiles_deadline(f->r);
        runfiles_tick(f->r, f->now);
        assert_int_equal(f->n_jobs, 1);
        if (i == 0)
            run_jobs(f);
    }
    put_output(f, "b\n");
    runfiles_finish(f->r, f->now); /* while it is tried: once more, and no more */
    f->jobs[0]->run(f->jobs[0]);
    assert_int_equal(rmdir(path), 0);
    f->jobs[0]->done(f->jobs[0], NULL);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(mkdir(path, 0777), 0);
    f->jobs[0] = f->jobs[1];
    f->n_jobs = 1;
    run_jobs(f);
    assert_int_equal(f->n_jobs, 0);
}

static void test_metrics_are_sampled_until_the_end_unless_paused(void **state)
{
    struct fixture *f = *state;
    size_t mark = wire_buf_begin(&f->raw, 174); /* x_stats_sampling_interval */
    wire_buf_double(&f->raw, 1, 2);
    wire_buf_end(&f->raw, mark);
    start(f);
    assert_int_equal(runfiles_deadline(f->r), INT64_MAX);
    runfiles_start(f->r, STR(""));
    runfiles_tick(f->r, f->now);
    assert_int_equal(f->n_jobs, 0); /* a run that ends at once costs no sample */
    f->now += SECOND / 50;
    assert_int_equal(runfiles_deadline(f->r), f->now);
    runfiles_tick(f->r, f->now);
    assert_int_equal(runfiles_deadline(f->r), INT64_MAX); /* one at a time */
    run_jobs(f);
    assert_int_equal(f->n_kept, 1);
    assert_int_equal(f->kinds[0], 7);
    int64_t due = runfiles_deadline(f->r); /* together with those of other runs, and not at once */
    assert_int_equal(due % (2 * SECOND), 0);
    assert_true(due > f->now + SECOND && due <= f->now + 3 * SECOND);
    runfiles_pause(f->r, true);
    assert_int_equal(runfiles_deadline(f->r), INT64_MAX);
    runfiles_pause(f->r, false);
    runfiles_tick(f->r, due);
    assert_true(runfiles_finish(f->r, f->now)); /* nobody waits for a sample */
    run_jobs(f);
    assert_int_equal(f->n_kept, 1);
    assert_int_equal(runfiles_deadline(f->r), INT64_MAX);
}

static void on_scrape(void *ctx, struct buf *to)
{
    struct fixture *f = ctx;
    f->n_asked += to == NULL;
    if (to) {
        size_t item = wire_buf_begin(to, 3);
        wire_buf_bytes(to, 1, STR("openmetrics.a.b"));
        wire_buf_bytes(to, 16, STR("1.0"));
        wire_buf_end(to, item);
    }
}

static void test_endpoints_have_time_before_the_first_sample(void **state)
{
    struct fixture *f = *state;
    f->owner.scrape = on_scrape;
    set_flag(f, 63, true); /* settings of nothing are no settings */
    start(f);
    int64_t begun = f->now;
    runfiles_start(f->r, STR(""));
    assert_int_equal(runfiles_deadline(f->r), begun); /* they are asked at once */
    runfiles_tick(f->r, f->now);
    assert_int_equal(f->n_asked, 1);
    assert_int_equal(f->n_jobs, 0);
    f->now = runfiles_deadline(f->r);
    assert_int_equal(f->now, begun + SECOND / 10);
    runfiles_tick(f->r, f->now);
    run_jobs(f);
    assert_int_equal(f->n_kept, 1);
    assert_non_null(memmem(f->kept[0].data, f->kept[0].len, "openmetrics.a.b", 15));
    int64_t due = runfiles_deadline(f->r); /* and a second before the next */
    assert_int_equal((due + SECOND) % (15 * SECOND), 0);
}

static void test_the_end_waits_for_records(void **state)
{
    struct fixture *f = *state;
    start(f);
    runfiles_packages(f->r, STR(""));
    assert_false(runfiles_finish(f->r, f->now));
    assert_int_equal(f->n_idle, 0);
    run_jobs(f);
    assert_int_equal(f->n_idle, 1);
    assert_int_equal(f->n_kept, 1);
    assert_true(runfiles_finish(f->r, f->now));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(packages_become_requirements),
        T(only_the_primary_writes),
        T(probe_keeps_two_records_and_writes_the_file),
        T(offline_leaves_no_metadata_file),
        T(machine_info_can_be_switched_off),
        T(code_is_saved_where_asked),
        T(code_from_a_pipe_holds_nothing_up),
        T(code_path_may_not_leave_the_folder),
        T(output_is_written_in_time_and_at_the_end),
        T(output_that_cannot_be_written_ends),
        T(metrics_are_sampled_until_the_end_unless_paused),
        T(endpoints_have_time_before_the_first_sample),
        T(the_end_waits_for_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
