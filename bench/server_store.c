/* SPDX-License-Identifier: MIT */
/* The figures of the store without HTTP: server_store DIR [RUNS [STEPS [METRICS [BATCH]]]].
 *
 * Posts file-stream bodies of BATCH lines for RUNS runs from two threads, merges, reads. A value is one metric
 * value in a history line; _step, _timestamp and _runtime are not counted. CPU is of the whole process,
 * making the bodies not included. */
#include "base/alloc.h"
#include "base/number.h"
#include "server/ingest/filestream.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static struct db *db;
static int n_runs = 200, n_steps = 1000, n_metrics = 5, batch = 1000;
static struct buf *bodies; /* one post each */
static int n_bodies;
static size_t json_bytes;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static long rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * 4;
}

static void die(const struct err *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static double random_value(void)
{
    return drand48() + drand48() * 0x1p-31; /* all 53 bits */
}

static void put_number(struct buf *b, double v)
{
    char *to = buf_reserve(b, NUMBER_MAX);
    b->len += number_format_double(to, v);
}

static void put_line(struct buf *b, int step)
{
    size_t start = b->len;
    buf_printf(b, "\"{\\\"_step\\\":%d,\\\"_timestamp\\\":", step);
    put_number(b, 1795430000.0 + step * 0.01 + drand48() * 1e-3);
    buf_puts(b, ",\\\"_runtime\\\":");
    put_number(b, step * 0.01 + drand48() * 1e-3);
    for (int m = 0; m < n_metrics; m++) {
        buf_printf(b, ",\\\"train/metric_%d\\\":", m);
        put_number(b, random_value());
    }
    buf_puts(b, "}\"");
    json_bytes += b->len - start - 2 - 2 * (size_t)(3 + n_metrics);
}

static void make_bodies(void)
{
    int per_run = (n_steps + batch - 1) / batch;
    bodies = xmem_calloc((size_t)(per_run * n_runs), sizeof *bodies);
    for (int part = 0; part < per_run; part++)
        for (int run = 0; run < n_runs; run++) {
            struct buf *b = &bodies[n_bodies++];
            int from = part * batch, to = from + batch < n_steps ? from + batch : n_steps;
            buf_printf(b, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":%d,\"content\":[", from);
            for (int s = from; s < to; s++) {
                if (s > from)
                    buf_putc(b, ',');
                put_line(b, s);
            }
            buf_puts(b, "]},\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"loss\\\":0.5}\"]}}}");
        }
}

static int make_runs(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    int rc = db_script(c, e,
                       "INSERT INTO users (id, username, created_at) VALUES (1, 'a', 1);"
                       "INSERT INTO entities (id, name, created_at) VALUES (1, 'a', 1);"
                       "INSERT INTO projects (id, entity_id, name, created_at, updated_at) VALUES (1, 1, 'p', 1, 1)");
    for (int i = 1; i <= n_runs && rc >= 0; i++) {
        char name[16];
        snprintf(name, sizeof name, "run%d", i);
        rc = db_exec(c, e,
                     "INSERT INTO runs (id, project_id, name, created_at, updated_at, heartbeat_at) "
                     "VALUES ($1, 1, $2, 1, 1, 1)",
                     DB_ARGS(db_i(i), db_t(name)));
    }
    return rc;
}

/* ---- ingest ---- */

static int next_body;
static sem_t in_flight;

static void on_done(int rc, const struct filestream_answer *answer, const struct err *e, void *arg)
{
    (void)answer;
    (void)arg;
    if (rc < 0)
        die(e);
    sem_post(&in_flight);
}

static void *poster(void *arg)
{
    (void)arg;
    for (;;) {
        int i = __atomic_fetch_add(&next_body, 1, __ATOMIC_RELAXED);
        struct err e = {0};
        if (i >= n_bodies)
            return NULL;
        sem_wait(&in_flight);
        int rc = filestream_post(db, 1 + i % n_runs, 0, &bodies[i], on_done, NULL, &e);
        if (rc == TARE_EFULL) {
            fprintf(stderr, "full\n");
            exit(1);
        }
        if (rc)
            die(&e);
    }
}

static void ingest(void)
{
    pthread_t threads[2];
    double t = now(), c = cpu(), n = (double)n_runs * n_steps * n_metrics;
    sem_init(&in_flight, 0, 64);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, poster, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 64; i++)
        sem_wait(&in_flight);
    t = now() - t;
    c = cpu() - c;
    printf("ingest: %.0f values in %.2f s = %.0f values/s, %.3f us CPU a value\n", n, t, n / t, c / n * 1e6);
}

static int finish_runs(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "UPDATE runs SET state = 'finished'", DB_NONE);
}

static void merge(void)
{
    struct err e = {0};
    double t = now(), c = cpu(), n = (double)n_runs * n_steps * n_metrics;
    if (db_write(db, finish_runs, NULL, &e) < 0)
        die(&e);
    int merged, total = 0;
    while ((merged = history_merge_due(db, &e)) > 0)
        total += merged;
    if (merged < 0)
        die(&e);
    printf("merge: %d segments in %.2f s, %.3f us CPU a value\n", total, now() - t, (cpu() - c) / n * 1e6);
}

/* ---- reading ---- */

static int count_row(void *arg, struct str row)
{
    return buf_put_str(arg, row);
}

static double read_all_runs(void)
{
    struct err e = {0};
    struct db_conn *c;
    AUTO_BUF out = {0};
    struct str keys[] = {STR("_step"), STR("train/metric_0")};
    double t = now();
    if (db_read_begin(db, &c, &e) != 0)
        die(&e);
    for (int run = 1; run <= n_runs; run++) {
        struct history_query q = {.run = run, .keys = keys, .n_keys = 2, .max_step = INT64_MAX, .strict = true};
        if (history_scan(c, &q, count_row, &out, &e) != 0)
            die(&e);
    }
    db_read_end(c);
    return now() - t;
}

static double read_series(void)
{
    struct err e = {0};
    struct db_conn *c;
    AUTO_BUF out = {0};
    double t = now();
    if (db_read_begin(db, &c, &e) != 0)
        die(&e);
    if (history_series(c, 1, HISTORY_METRICS, STR("train/metric_0"), INT64_MIN, INT64_MAX, &out, &e) != 0)
        die(&e);
    db_read_end(c);
    return now() - t;
}

static double read_chart(void)
{
    struct err e = {0};
    struct db_conn *c;
    AUTO_BUF out = {0};
    double t = now();
    if (db_read_begin(db, &c, &e) != 0)
        die(&e);
    if (history_envelope(c, 1, HISTORY_METRICS, STR("train/metric_0"), INT64_MIN, INT64_MAX, 1000, &out, &e) != 0)
        die(&e);
    db_read_end(c);
    return now() - t;
}

static void report(const char *what, double (*f)(void))
{
    double best = 1e9, sum = 0;
    for (int i = 0; i < 7; i++) {
        double t = f();
        best = t < best ? t : best;
        sum += t;
    }
    printf("%s: best %.2f ms, mean %.2f ms\n", what, best * 1e3, sum / 7 * 1e3);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 2) {
        fprintf(stderr, "server_store DIR [RUNS [STEPS [METRICS [BATCH]]]]\n");
        return 2;
    }
    int *sizes[] = {&n_runs, &n_steps, &n_metrics, &batch};
    for (int i = 2; i < argc && i < 6; i++)
        *sizes[i - 2] = atoi(argv[i]);
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/bench.db", argv[1]);
    struct db_options options = {.url = buf_z(&path)};
    double t = now();
    if (db_open(&options, &db, &e) != 0)
        die(&e);
    printf("open (new): %.1f ms, RSS %ld KiB\n", (now() - t) * 1e3, rss_kib());
    if (db_write(db, make_runs, NULL, &e) < 0)
        die(&e);
    make_bodies();
    printf("%d runs x %d steps x %d metrics, %d lines a post, %.0f B of JSON a line\n", n_runs, n_steps, n_metrics,
           batch, (double)json_bytes / n_runs / n_steps);
    ingest();
    for (int i = 0; i < n_bodies; i++)
        buf_fini(&bodies[i]);
    merge();
    report("one metric of all runs in full", read_all_runs);
    report("one series in full", read_series);
    report("one chart at 1000 pixels", read_chart);
    db_close(db);
    t = now();
    if (db_open(&options, &db, &e) != 0)
        die(&e);
    printf("open (again): %.1f ms\n", (now() - t) * 1e3);
    double size = (double)db_size_bytes(db);
    printf("disk: %.1f MB = %.1f %% of the JSON lines\n", size / 1e6, size * 100 / (double)json_bytes);
    db_close(db);
    return 0;
}
