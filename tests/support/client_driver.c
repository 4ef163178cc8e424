/* SPDX-License-Identifier: MIT */
/* A program that logs with libtare, for the end-to-end tests:
 *
 *   client_driver everything DIR ID FILE PNG   one call of each kind
 *   client_driver loop DIR ID N PAUSE_US       N steps {i}; prints "dir ..." and "pid ..." first
 *   client_driver exit DIR ID CODE             exit(CODE) with the run not finished
 *   client_driver attach ID N                  N steps to a run of another process
 *   client_driver hold DIR ID                  prints "token ...", finishes at the end of stdin
 *   client_driver odd DIR ID                   steps out of order, a run attached in its own process
 *   client_driver fork DIR ID                  a child that logs without attaching, then attached
 *
 * Ends with "done", or says what failed and exits with 1. */
#include <tare/tare.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_message(void *arg, int level, const char *text)
{
    (void)arg;
    printf("message %d %s\n", level, text);
    fflush(stdout);
}

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    printf("failed %s: %d %s\n", what, rc, tare_last_error_text());
    exit(1);
}

static tare_run *begin(const char *dir, const char *id)
{
    static const char *const tags[] = {"one", "two"};
    struct tare_options o = tare_options_defaults();
    tare_run *run;
    o.dir = dir;
    o.id = id;
    o.mode = getenv("WANDB_MODE") ? NULL : "offline";
    o.project = "driver";
    o.entity = "team";
    o.group = "group";
    o.job_type = "test";
    o.name = "a name";
    o.notes = "some notes";
    o.tags = tags;
    o.n_tags = 2;
    must(tare_init(&o, &run), "init");
    printf("dir %s\n", tare_run_dir(run));
    fflush(stdout);
    return run;
}

static void *read_all(const char *path, size_t *n)
{
    static char bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    *n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f)
        fclose(f);
    return bytes;
}

static void log_media(tare_run *run, const char *png)
{
    static const char *const columns[] = {"name", "value", "flag"};
    const struct tare_value cells[] = {tare_str("", "x"), tare_f64("", 0.25), tare_bool("", 1),
                                       tare_str("", "y"), tare_i64("", 7),    tare_null("")};
    struct tare_table table = {columns, 3, cells, 2};
    struct tare_image image = {NULL, 0, "a caption"};
    const double edges[] = {0, 1, 2.5}, samples[] = {1, 1, 2, 3};
    const int64_t counts[] = {4, 5};
    struct tare_histogram h = {edges, counts, 2};
    image.png = read_all(png, &image.n_bytes);
    must(tare_log(run, tare_tab("table", &table), tare_png("pic/one", &image),
                  tare_hist("hist", &h), tare_samples("samples", samples, 4, 2)), "media");
}

static void log_plain(tare_run *run)
{
    const double f64s[] = {1.5, 2};
    const int64_t i64s[] = {3, 4};
    must(tare_log(run, tare_f64("f", 0.1), tare_i64("i", -5), tare_bool("b", 1),
                  tare_str("s", "text \"quoted\" \xe2\x82\xac"), tare_null("n"),
                  tare_json("j", "{\"a\": [1, 2]}"), tare_f64s("fs", f64s, 2),
                  tare_i64s("is", i64s, 2)), "plain");
    must(tare_log_step(run, 10, tare_f64("f", 0.2)), "step");
    must(tare_log_step(run, 10, tare_f64("g", 0.3)), "step again");
    const char *json = "{\"f\": 1e-7, \"big\": 12345678901234567890}";
    must(tare_log_json(run, json, strlen(json), 11, TARE_COMMIT_YES), "json");
}

static void everything(char **a)
{
    tare_run *run = begin(a[0], a[1]);
    static const char *const aliases[] = {"best", "v1"};
    const struct tare_artifact_file files[] = {{a[2], "data/file.txt", 0},
                                               {"store://bucket/key", "ref", 1}};
    struct tare_artifact artifact = {.name = "things", .type = "dataset", .description = "d",
                                     .metadata = "{\"k\":1}", .aliases = aliases, .n_aliases = 2,
                                     .files = files, .n_files = 2};
    struct tare_metric metric = {.name = "f", .step_metric = "i", .summary = "min,max",
                                 .goal = "minimize", .step_sync = -1};
    must(tare_config(run, tare_f64("lr", 1e-5), tare_str("opt", "adam"),
                     tare_json("nested", "{\"x\": {\"y\": 1}}")), "config");
    must(tare_config(run, tare_i64("gone", 1)), "config");
    must(tare_config_remove(run, "gone"), "config_remove");
    must(tare_define_metric(run, &metric), "define_metric");
    log_plain(run);
    log_media(run, a[3]);
    must(tare_summary(run, tare_f64("best", 0.99), tare_str("note", "ok")), "summary");
    must(tare_save(run, a[2], "kept/file.txt", TARE_FILE_LIVE), "save");
    must(tare_alert(run, "title", "text", TARE_WARNING, 5), "alert");
    must(tare_output(run, 0, "hello\n", 6), "output");
    must(tare_log_artifact(run, &artifact), "artifact");
    must(tare_flush(run, 10000), "flush");
    must(tare_finish(run, 3), "finish");
}

static void loop(char **a)
{
    tare_run *run = begin(a[0], a[1]);
    long n = atol(a[2]), pause_us = atol(a[3]);
    for (long i = 0; i < n; i++) {
        must(tare_log(run, tare_i64("i", i), tare_f64("half", (double)i / 2),
                      tare_str("pad", "some more bytes to fill the window with")), "log");
        if (i % 100 == 0)
            must(tare_config(run, tare_i64("at", i)), "config");
        if (pause_us)
            usleep((useconds_t)pause_us);
    }
    printf("logged %ld\n", n);
    fflush(stdout);
    struct tare_stats stats;
    tare_run_stats(run, &stats);
    must(tare_finish(run, 0), "finish");
    printf("dropped %llu\n", (unsigned long long)stats.dropped);
}

static void attach(char **a)
{
    tare_run *run;
    char config[64];
    must(tare_attach(a[0], &run), "attach");
    if (tare_config_get(run, "lr", config, sizeof config) > 0)
        printf("lr %s\n", config);
    for (long i = 0; i < atol(a[1]); i++)
        must(tare_log(run, tare_i64("child", i)), "log");
    must(tare_detach(run), "detach");
}

static void hold(char **a)
{
    char token[256];
    tare_run *run = begin(a[0], a[1]);
    must(tare_config(run, tare_f64("lr", 0.5)), "config");
    must(tare_log(run, tare_i64("parent", 1)), "log");
    must(tare_flush(run, 5000), "flush");
    must(tare_service_token(token, sizeof token), "token");
    printf("token %s\n", token);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    must(tare_finish(run, 0), "finish");
}

static void odd(char **a)
{
    char json[200];
    tare_run *run = begin(a[0], a[1]), *again;
    struct tare_metric metric = {.name = "m", .summary = "min,max", .step_sync = -1};
    must(tare_define_metric(run, &metric), "define_metric");
    must(tare_attach(a[1], &again), "attach");
    must(tare_log_values(again, (struct tare_value[]){tare_f64("m", 2)}, 1, 5, TARE_COMMIT_YES),
         "log");
    must(tare_flush(again, 5000), "flush");
    must(tare_log_step(run, 3, tare_f64("m", 1)), "a step too late");
    must(tare_flush(run, 5000), "flush");
    must(tare_summary_get(run, "m", json, sizeof json, 5000), "summary");
    printf("m %s\n", json);
    usleep(200000); /* the warning comes by itself */
    must(tare_detach(again), "detach");
    must(tare_finish(run, 0), "finish");
}

static void with_fork(char **a)
{
    tare_run *run = begin(a[0], a[1]);
    must(tare_log(run, tare_i64("parent", 0)), "log");
    must(tare_flush(run, 5000), "flush"); /* two connections have no order but by answers */
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        tare_run *mine;
        if (tare_log(run, tare_i64("lost", 0)) != TARE_EFORKED)
            _exit(1);
        must(tare_attach(a[1], &mine), "attach in the child");
        must(tare_log(mine, tare_i64("child", 1)), "log in the child");
        must(tare_flush(mine, 5000), "flush in the child");
        exit(0); /* detaches by the exit hook */
    }
    int status;
    waitpid(pid, &status, 0);
    if (status != 0) {
        printf("failed child: %d\n", status);
        exit(1);
    }
    must(tare_log(run, tare_i64("parent", 2)), "log");
    must(tare_finish(run, 0), "finish");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_args;
        void (*run)(char **args);
    } verbs[] = {{"everything", 4, everything}, {"loop", 4, loop}, {"attach", 2, attach},
                 {"hold", 2, hold},             {"fork", 2, with_fork}, {"odd", 2, odd}};
    struct tare_setup_options s = tare_setup_defaults();
    s.on_message = on_message;
    must(tare_setup(&s), "setup");
    if (argc == 5 && strcmp(argv[1], "exit") == 0) {
        must(tare_log(begin(argv[2], argv[3]), tare_i64("i", 1)), "log");
        exit(atoi(argv[4]));
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (argc == 2 + verbs[i].n_args && strcmp(argv[1], verbs[i].name) == 0) {
            verbs[i].run(argv + 2);
            printf("done\n");
            return 0;
        }
    fprintf(stderr, "client_driver: see the comment at the top of its source\n");
    return 2;
}
