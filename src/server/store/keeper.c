/* SPDX-License-Identifier: MIT */
#include "server/store/keeper.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "server/store/history.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { MAX_RUNS = 64, DEFAULT_CRASHED_S = 300, DEFAULT_INTERVAL_S = 20, MIN_PAUSE_MS = 200 };

struct keeper {
    struct db *db;
    struct keeper_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping, woken;
};

struct crash_args {
    int64_t before_us, now_us;
};

static int mark_crashed(struct db_conn *c, void *arg, struct err *e)
{
    struct crash_args *a = arg;
    return db_exec(c, e,
                   "UPDATE runs SET state = 'crashed', finished_at = heartbeat_at, updated_at = $2 "
                   "WHERE state IN ('running', 'preempting') AND heartbeat_at < $1",
                   DB_ARGS(db_i(a->before_us), db_i(a->now_us)));
}

/* Only write when there is something to mark: an idle server does not touch its disk. */
static int find_crashed(struct db *db, struct crash_args *a, struct err *e)
{
    struct db_conn *c;
    int64_t n = 0;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &n,
                    "SELECT COUNT(*) FROM runs WHERE state IN ('running', 'preempting') AND heartbeat_at < $1",
                    DB_ARGS(db_i(a->before_us)));
    db_read_end(c);
    return rc < 0 || n == 0 ? rc : db_write(db, mark_crashed, a, e);
}

static int64_t crashed_us(const struct keeper_options *o)
{
    return (o->crashed_after_s ? o->crashed_after_s : DEFAULT_CRASHED_S) * 1000000;
}

int keeper_round(struct db *db, int64_t now_us, const struct keeper_options *options, struct err *e)
{
    int64_t runs[MAX_RUNS];
    struct crash_args a = {now_us - crashed_us(options), now_us};
    int merged = 0, rc = find_crashed(db, &a, e);
    if (rc >= 0)
        rc = history_merge_due(db, runs, MAX_RUNS, e);
    for (int i = 0, n = rc; i < n && rc >= 0; i++) {
        rc = history_merge(db, runs[i], false, e);
        merged += rc > 0 ? rc : 0;
    }
    if (rc >= 0)
        rc = history_merge_ended(db, runs, MAX_RUNS, e);
    for (int i = 0, n = rc; i < n && rc >= 0; i++) {
        rc = history_merge(db, runs[i], true, e);
        merged += rc > 0 ? rc : 0;
    }
    return rc < 0 ? rc : merged;
}

static void wait_for_work(struct keeper *k)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += k->options.interval_s ? k->options.interval_s : DEFAULT_INTERVAL_S;
    while (!k->stopping && !k->woken &&
           pthread_cond_timedwait(&k->changed, &k->lock, &until) == 0)
        continue;
    k->woken = false;
}

/* A pause between rounds, however often it is woken. */
static void pause_a_little(struct keeper *k)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += MIN_PAUSE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!k->stopping && pthread_cond_timedwait(&k->changed, &k->lock, &until) == 0)
        continue;
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    pthread_mutex_lock(&k->lock);
    while (!k->stopping) {
        wait_for_work(k);
        if (k->stopping)
            break;
        pthread_mutex_unlock(&k->lock);
        struct err e = {0};
        int rc = keeper_round(k->db, clock_wall_ns() / 1000, &k->options, &e);
        if (rc < 0 && rc != TARE_ECLOSED)
            diag_warn("keeping the store: %s", e.text);
        pthread_mutex_lock(&k->lock);
        pause_a_little(k);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

int keeper_start(struct db *db, const struct keeper_options *options, struct keeper **out,
                 struct err *e)
{
    struct keeper *k = mem_calloc(1, sizeof *k);
    if (!k)
        return err_set(e, TARE_ENOMEM, "out of memory");
    k->db = db;
    if (options)
        k->options = *options;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&k->thread, NULL, keeper_main, k);
    if (rc) {
        mem_free(k);
        return err_set(e, -rc, "starting the keeper: %s", err_text(-rc));
    }
    *out = k;
    return 0;
}

void keeper_wake(struct keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->woken = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
}
