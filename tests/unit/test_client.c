/* SPDX-License-Identifier: MIT */
/* The client library against a service in a thread (tests/support/fake_service.h): the sequence,
 * threads, fork, and what it does when the service is silent, deaf, or gone. */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/os.h"
#include "client/message.h"
#include "journal/reader.h"
#include "record/wire.h"
#include "tare/tare.h"
#include "tests/support/fake_service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The child of a fork starts a thread of its own here, which ThreadSanitizer refuses by default. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static char dir[64];
static struct fake_service service;
static atomic_int n_said;
static char said[4096]; /* all that was said, under the library's own lock */

static void on_message(void *arg, int level, const char *text)
{
    (void)arg, (void)level;
    atomic_fetch_add(&n_said, 1);
    strncat(said, text, sizeof said - strlen(said) - 2);
    strcat(said, "\n");
}

static struct tare_setup_options base_setup(void)
{
    struct tare_setup_options s = tare_setup_defaults();
    s.on_message = on_message;
    s.service_bin = "/nonexistent/tare";
    return s;
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/test-client-XXXXXX");
    assert_non_null(mkdtemp(dir));
    said[0] = 0;
    struct tare_setup_options s = base_setup();
    assert_int_equal(tare_setup(&s), 0);
    fake_service_start(&service);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    tare_teardown(0);
    fake_service_stop(&service);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static tare_run *begin(const char *id)
{
    struct tare_options o = tare_options_defaults();
    tare_run *run = NULL;
    o.mode = "offline";
    o.dir = dir;
    o.id = id;
    o.finish_ms = 20000;
    if (tare_init(&o, &run) != 0)
        fail_msg("tare_init: %s", tare_last_error_text());
    return run;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the journal the library wrote ---- */

struct journal_sum {
    int n_history, n_exit, n_run, n_gaps;
    long long steps_sum; /* of _step */
    char summary_loss[32];
};

static void note_items(struct journal_sum *to, struct str record, bool summary)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    while (wire_next(&r, &f) > 0) {
        if (f.number != 1 || f.type != WIRE_BYTES)
            continue;
        struct str key = message_get(f.bytes, ITEM_KEY), json = message_get(f.bytes, ITEM_JSON);
        if (!summary && str_eqz(key, "_step"))
            to->steps_sum += atoll(json.p);
        if (summary && str_eqz(key, "loss"))
            snprintf(to->summary_loss, sizeof to->summary_loss, "%.*s", STR_ARG(json));
    }
}

static struct journal_sum read_journal(const char *path)
{
    struct journal_sum sum = {0};
    struct journal_reader r;
    struct journal_item item;
    int rc;
    assert_int_equal(journal_reader_open(&r, path, NULL), 0);
    while ((rc = journal_reader_next(&r, &item)) > 0) {
        sum.n_gaps += rc == JOURNAL_GAP;
        if (rc != JOURNAL_RECORD)
            continue;
        struct str history = message_get(item.bytes, RECORD_HISTORY);
        struct str summary = message_get(item.bytes, RECORD_SUMMARY);
        sum.n_history += history.p != NULL;
        sum.n_exit += message_has(item.bytes, RECORD_EXIT);
        sum.n_run += message_has(item.bytes, RECORD_RUN);
        note_items(&sum, history, false);
        note_items(&sum, summary, true);
    }
    journal_reader_close(&r);
    return sum;
}

static struct journal_sum read_run(const char *run_dir, const char *id)
{
    char path[512];
    snprintf(path, sizeof path, "%s/run-%s.wandb", run_dir, id);
    return read_journal(path);
}

/* ---- tests ---- */

static void test_the_sequence_of_a_run(void **state)
{
    char json[32];
    double lr;
    tare_run *run = begin("seq");
    tare_config(run, tare_f64("lr", 0.1));
    tare_log(run, tare_f64("loss", 0.5));
    assert_int_equal(tare_config_get_f64(run, "lr", &lr), 0);
    assert_true(lr == 0.1);
    assert_int_equal(tare_config_get_f64(run, "nothing", &lr), TARE_ENOTFOUND);
    assert_int_equal(tare_summary_get(run, "loss", json, sizeof json, 5000), 3);
    assert_string_equal(json, "0.5");
    assert_int_equal(tare_summary_get(run, "none", json, sizeof json, 5000), TARE_ENOTFOUND);
    assert_int_equal(tare_summary_get(run, "loss", json, 3, 5000), TARE_ELIMIT);
    assert_int_equal(tare_finish(run, 0), 0);
    while (!fake_service_count(&service, "inform_finish"))
        usleep(1000);
    char names[1000] = "", *rest = NULL;
    pthread_mutex_lock(&service.lock);
    AUTO_FREE char *all = mem_strndup(service.names.data, service.names.len);
    pthread_mutex_unlock(&service.lock);
    for (char *name = strtok_r(all, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest))
        if (strcmp(name, "status") != 0) /* the courier's barriers come when they come */
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s\n", name);
    assert_string_equal(names, "inform_init\nheader\ncheck_version\nrun\nrun_start\n"
                               "probe_system_info\ninternal_messages\ntelemetry\nconfig\n"
                               "partial_history\nget_summary\nget_summary\nget_summary\n"
                               "telemetry\nexit\npoll_exit\nget_summary\nshutdown\n"
                               "inform_finish\n");
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 2000; i++)
        tare_log((tare_run *)arg, tare_f64("loss", i), tare_i64("i", i));
    return NULL;
}

static void test_many_threads_log_to_many_runs(void **state)
{
    pthread_t threads[6];
    tare_run *runs[2] = {begin("a"), begin("b")};
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, log_many, runs[i % 2]);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(tare_flush(runs[0], 10000), 0);
    assert_int_equal(tare_flush(runs[1], 10000), 0);
    assert_int_equal(fake_service_count(&service, "partial_history"), 12000);
    struct tare_stats stats;
    tare_run_stats(runs[0], &stats);
    assert_int_equal(stats.logged, 6000);
    assert_int_equal(stats.dropped, 0);
    assert_true(stats.acked_bytes > 0);
    assert_int_equal(tare_finish(runs[0], 0), 0);
    assert_int_equal(tare_finish(runs[1], 1), 0);
}

static void test_a_forked_child_counts_and_does_nothing(void **state)
{
    tare_run *run = begin("f");
    tare_log(run, tare_f64("loss", 1));
    pid_t pid = fork();
    if (pid == 0) {
        struct tare_stats stats;
        tare_run *own = NULL;
        int bad = tare_log(run, tare_f64("loss", 2)) != TARE_EFORKED;
        bad |= tare_finish(run, 0) != TARE_EFORKED;
        tare_run_stats(run, &stats);
        bad |= stats.forked != 2;
        bad |= tare_attach("f", &own) != 0; /* a connection of its own */
        bad |= !own || tare_log(own, tare_f64("loss", 3)) != 0;
        bad |= tare_detach(own) != 0;
        _exit(bad);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(tare_log(run, tare_f64("loss", 4)), 0);
    assert_int_equal(tare_finish(run, 0), 0);
    assert_int_equal(fake_service_count(&service, "partial_history"), 3);
    assert_int_equal(fake_service_count(&service, "exit"), 1);
    assert_int_equal(atomic_load(&service.n_connections), 2);
}

static void test_a_child_that_exits_does_not_end_the_run(void **state)
{
    tare_run *run = begin("x");
    pid_t pid = fork();
    if (pid == 0)
        exit(7); /* runs the exit hooks */
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(fake_service_count(&service, "exit"), 0);
    assert_int_equal(tare_log(run, tare_f64("loss", 4)), 0);
    assert_int_equal(tare_finish(run, 0), 0);
}

static void test_a_lost_service_loses_nothing(void **state)
{
    char run_dir[256];
    tare_run *run = begin("lost");
    snprintf(run_dir, sizeof run_dir, "%s", tare_run_dir(run));
    for (int i = 0; i < 500; i++)
        tare_log(run, tare_f64("loss", i));
    atomic_store(&service.hang_up_after, atomic_load(&service.n_messages) + 1);
    for (int i = 500; i < 1000; i++) {
        tare_log(run, tare_f64("loss", i));
        if (i % 100 == 0)
            usleep(2000);
    }
    assert_int_equal(tare_finish(run, 0), 0);
    struct journal_sum sum = read_run(run_dir, "lost");
    assert_int_equal(sum.n_history, 1000);
    assert_int_equal(sum.steps_sum, 999 * 1000 / 2);
    assert_int_equal(sum.n_exit, 1);
    assert_int_equal(sum.n_run, 1);
    assert_int_equal(sum.n_gaps, 0);
    assert_string_equal(sum.summary_loss, "999.0");
    assert_non_null(strstr(said, "the service is lost"));
}

static void test_an_attached_run_goes_on_in_its_owners_file(void **state)
{
    char run_dir[256];
    tare_run *run = begin("own"), *again = NULL;
    snprintf(run_dir, sizeof run_dir, "%s", tare_run_dir(run));
    assert_int_equal(tare_attach("own", &again), 0);
    for (int i = 0; i < 100; i++)
        tare_log(i % 2 ? run : again, tare_f64("loss", i));
    atomic_store(&service.hang_up_after, atomic_load(&service.n_messages) + 1);
    for (int i = 0; i < 100; i++)
        tare_log(i % 2 ? run : again, tare_f64("loss", i));
    assert_int_equal(tare_flush(again, 5000), 0);
    assert_int_equal(tare_detach(again), 0);
    assert_int_equal(tare_finish(run, 0), 0);
    struct journal_sum sum = read_run(run_dir, "own");
    assert_int_equal(sum.n_history, 200);
    assert_int_equal(sum.n_exit, 1);
}

static void test_no_service_means_a_file_from_the_start(void **state)
{
    char run_dir[256];
    unsetenv("WANDB_SERVICE");
    tare_run *run = begin("none");
    snprintf(run_dir, sizeof run_dir, "%s", tare_run_dir(run));
    tare_log_step(run, 5, tare_f64("loss", 1));
    tare_log_step(run, 5, tare_f64("acc", 2)); /* the same step */
    tare_log_step(run, 3, tare_f64("loss", 9)); /* too late: dropped */
    tare_log_values(run, (struct tare_value[]){tare_f64("loss", 2)}, 1, 7, TARE_COMMIT_YES);
    tare_log(run, tare_f64("loss", 3));
    struct tare_stats stats;
    tare_run_stats(run, &stats);
    char json[32];
    assert_int_equal(tare_summary_get(run, "acc", json, sizeof json, 1000), 3);
    tare_run_stats(run, &stats);
    assert_int_equal(stats.in_file, 1);
    assert_int_equal(tare_finish(run, 0), 0);
    struct journal_sum sum = read_run(run_dir, "none");
    assert_int_equal(sum.n_history, 3);
    assert_int_equal(sum.steps_sum, 5 + 7 + 8);
    assert_string_equal(sum.summary_loss, "3.0");
    assert_non_null(strstr(said, "no service"));
    assert_int_equal(tare_attach("none", &run), TARE_ESERVICE);
}

static void test_a_deaf_service_bounds_the_wait_and_the_memory(void **state)
{
    tare_teardown(0);
    struct tare_setup_options s = base_setup();
    s.block_ms = 30;
    s.queue_bytes = 65536;
    s.window_bytes = 65536;
    s.hang_ms = 1500;
    assert_int_equal(tare_setup(&s), 0);
    char run_dir[256];
    tare_run *run = begin("deaf");
    snprintf(run_dir, sizeof run_dir, "%s", tare_run_dir(run));
    atomic_store(&service.mood, FAKE_DEAF);
    int64_t start = now_ms(), longest = 0;
    int n_ok = 0, n_full = 0;
    while (n_full < 1000 && now_ms() - start < 1400) {
        int64_t before = now_ms();
        int rc = tare_log(run, tare_f64("loss", n_ok), tare_str("pad", "0123456789012345678901234"));
        int64_t took = now_ms() - before;
        longest = took > longest ? took : longest;
        assert_true(rc == 0 || rc == TARE_EFULL);
        n_ok += rc == 0;
        n_full += rc != 0;
    }
    assert_true(n_full > 0);
    assert_in_range(longest, 20, 3000);
    struct tare_stats stats;
    tare_run_stats(run, &stats);
    assert_int_equal(stats.dropped, n_full);
    /* After hang_ms it is given up; all that was queued is in the file. */
    assert_int_equal(tare_finish(run, 0), 0);
    struct journal_sum sum = read_run(run_dir, "deaf");
    assert_int_equal(sum.n_history, n_ok);
    assert_non_null(strstr(said, "does not answer"));
}

static void test_a_silent_service_does_not_hold_a_run_up(void **state)
{
    tare_teardown(0);
    struct tare_setup_options s = base_setup();
    s.hang_ms = 300;
    assert_int_equal(tare_setup(&s), 0);
    atomic_store(&service.mood, FAKE_SILENT);
    int64_t start = now_ms();
    tare_run *run = begin("mute");
    assert_in_range(now_ms() - start, 200, 20000);
    assert_int_equal(tare_finish(run, 0), 0);
}

static void test_arguments_are_checked(void **state)
{
    tare_run *run = NULL;
    struct tare_options o = tare_options_defaults();
    o.dir = dir;
    o.mode = "sideways";
    assert_int_equal(tare_init(&o, &run), TARE_EINVAL);
    assert_non_null(strstr(tare_last_error_text(), "sideways"));
    o.mode = "offline";
    o.id = "a/b";
    assert_int_equal(tare_init(&o, &run), TARE_EINVAL);
    o.id = NULL;
    o.resume = "perhaps";
    assert_int_equal(tare_init(&o, &run), TARE_EINVAL);
    assert_int_equal(tare_init(NULL, NULL), TARE_EINVAL);
    assert_null(run);
    assert_int_equal(tare_log(NULL, tare_f64("a", 1)), TARE_EINVAL);
    run = begin("args");
    assert_int_equal(tare_log_step(run, -1, tare_f64("a", 1)), TARE_EINVAL);
    assert_int_equal(tare_log(run, tare_f64("", 1)), TARE_EINVAL);
    assert_int_equal(tare_log_json(run, "[1]", 3, TARE_STEP_AUTO, TARE_COMMIT_AUTO), TARE_EFORMAT);
    const char *json = "{\"a\": 1, \"b\\u0041\": {\"c\": [1, 2]}}";
    assert_int_equal(tare_log_json(run, json, strlen(json), TARE_STEP_AUTO, TARE_COMMIT_AUTO), 0);
    struct tare_metric m = {.name = "x*y"};
    assert_int_equal(tare_define_metric(run, &m), TARE_EINVAL);
    assert_int_equal(tare_save(run, "/nonexistent", NULL, TARE_FILE_NOW), TARE_ENOTFOUND);
    assert_int_equal(tare_save(run, "/tmp", "../up", TARE_FILE_NOW), TARE_EINVAL);
    struct tare_setup_options s = tare_setup_defaults();
    assert_int_equal(tare_setup(&s), TARE_ECONFLICT);
    assert_int_equal(tare_finish(run, 0), 0);
}

static void test_a_disabled_run_takes_everything(void **state)
{
    struct tare_options o = tare_options_defaults();
    tare_run *run;
    o.mode = "disabled";
    assert_int_equal(tare_init(&o, &run), 0);
    assert_int_equal(tare_log(run, tare_f64("a", 1)), 0);
    assert_int_equal(tare_config(run, tare_f64("a", 1)), 0);
    assert_int_equal(tare_flush(run, 10), 0);
    assert_int_equal(tare_finish(run, 0), 0);
    assert_int_equal(atomic_load(&service.n_connections), 0);
}

static void test_folders_are_never_shared(void **state)
{
    tare_run *a = begin("same");
    char first[256];
    snprintf(first, sizeof first, "%s", tare_run_dir(a));
    tare_finish(a, 0);
    tare_run *b = begin("same");
    assert_string_not_equal(tare_run_dir(b), first);
    tare_finish(b, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLIENT_TEST(test_the_sequence_of_a_run),
        CLIENT_TEST(test_many_threads_log_to_many_runs),
        CLIENT_TEST(test_a_forked_child_counts_and_does_nothing),
        CLIENT_TEST(test_a_child_that_exits_does_not_end_the_run),
        CLIENT_TEST(test_a_lost_service_loses_nothing),
        CLIENT_TEST(test_an_attached_run_goes_on_in_its_owners_file),
        CLIENT_TEST(test_no_service_means_a_file_from_the_start),
        CLIENT_TEST(test_a_deaf_service_bounds_the_wait_and_the_memory),
        CLIENT_TEST(test_a_silent_service_does_not_hold_a_run_up),
        CLIENT_TEST(test_arguments_are_checked),
        CLIENT_TEST(test_a_disabled_run_takes_everything),
        CLIENT_TEST(test_folders_are_never_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
