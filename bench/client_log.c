/* SPDX-License-Identifier: MIT */
/* What tare_log costs its caller: 10 doubles a call, at a fixed rate, each call timed.
 *
 *   client_log [CALLS_PER_SECOND [SECONDS [THREADS]]]     default 100000 5 1
 *
 * Prints the percentiles of one call in nanoseconds (with the two clock readings around it, about
 * 40 ns, in them) and what became of the calls. The service is the one libtare finds
 * (TARE_SERVICE_BIN); the run is offline, below TMPDIR, and removed afterwards. */
#include <tare/tare.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct job {
    tare_run *run;
    long rate, n_calls;
    uint32_t *ns; /* of each call */
};

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int log_ten(tare_run *run, double v)
{
    return tare_log(run, tare_f64("metric_0", v), tare_f64("metric_1", v + 1),
                    tare_f64("metric_2", v * 3), tare_f64("metric_3", v * 5),
                    tare_f64("metric_4", v / 7), tare_f64("metric_5", v / 11),
                    tare_f64("metric_6", v * v), tare_f64("metric_7", 1 - v),
                    tare_f64("metric_8", v * 1e-9), tare_f64("metric_9", v * 1e9));
}

static void *log_paced(void *arg)
{
    struct job *j = arg;
    int64_t start = now_ns();
    for (long i = 0; i < j->n_calls; i++) {
        int64_t due = start + i * 1000000000 / j->rate;
        int64_t before = now_ns();
        if (due - before > 200000) {
            struct timespec nap = {.tv_nsec = (due - before) - 100000};
            nanosleep(&nap, NULL);
        }
        while ((before = now_ns()) < due)
            ;
        log_ten(j->run, (double)i * 0.618033988749895);
        int64_t took = now_ns() - before;
        j->ns[i] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long rate = argc > 1 ? atol(argv[1]) : 100000;
    long seconds = argc > 2 ? atol(argv[2]) : 5;
    int n_threads = argc > 3 ? atoi(argv[3]) : 1;
    char dir[] = "/tmp/client-log-XXXXXX", remove[64];
    if (rate < 1 || seconds < 1 || n_threads < 1 || n_threads > 64 || !mkdtemp(dir))
        return 2;
    struct tare_options o = tare_options_defaults();
    o.mode = "offline";
    o.dir = dir;
    o.project = "bench";
    o.no_stats = o.no_git = 1;
    tare_run *run;
    if (tare_init(&o, &run) != 0) {
        fprintf(stderr, "tare_init: %s\n", tare_last_error_text());
        return 1;
    }
    long per_thread = rate * seconds / n_threads;
    uint32_t *ns = calloc((size_t)per_thread * (size_t)n_threads, sizeof *ns);
    struct job jobs[64];
    pthread_t threads[64];
    int64_t begin = now_ns();
    for (int i = 0; i < n_threads; i++) {
        jobs[i] = (struct job){run, rate / n_threads, per_thread, ns + i * per_thread};
        pthread_create(&threads[i], NULL, log_paced, &jobs[i]);
    }
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    double logged_s = (double)(now_ns() - begin) / 1e9;
    struct tare_stats stats;
    tare_flush(run, 60000);
    double flushed_s = (double)(now_ns() - begin) / 1e9;
    tare_run_stats(run, &stats);
    int rc = tare_finish(run, 0);
    long n = per_thread * n_threads;
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += ns[i];
    qsort(ns, (size_t)n, sizeof *ns, by_value);
    printf("calls %ld in %.2f s (%.0f a second), flushed after %.2f s\n", n, logged_s,
           (double)n / logged_s, flushed_s);
    printf("mean %.0f  p50 %u  p90 %u  p99 %u  p99.9 %u  max %u ns\n", sum / (double)n,
           ns[n / 2], ns[n / 10 * 9], ns[n / 100 * 99], ns[n / 1000 * 999], ns[n - 1]);
    printf("queued %llu  dropped %llu  sent %.1f MB  in file %d  finish %d\n",
           (unsigned long long)stats.logged, (unsigned long long)stats.dropped,
           (double)stats.sent_bytes / 1e6, stats.in_file, rc);
    tare_teardown(0);
    snprintf(remove, sizeof remove, "rm -rf %s", dir);
    return system(remove) == 0 ? 0 : 1;
}
