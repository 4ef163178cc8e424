/* SPDX-License-Identifier: MIT */
#include "server/janitor.h"
#include "server/artifact/artifact.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/spare.h"
#include "server/graphql/document.h"
#include "server/lifecycle.h"
#include "server/metrics.h"
#include "server/partial.h"
#include "server/quota.h"
#include "server/request.h"
#include "server/store/codec.h"
#include "server/store/history.h"
#include "server/store/retention.h"
#include "server/webhook/webhook.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* A run that was not heard of for so long has crashed (clients send a heartbeat every 30 s). */
static const int64_t crashed_after_us = 5 * 60 * 1000000ll;

struct janitor {
    struct server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    bool stopping, has_ended;
    int64_t collect_after_ns; /* not earlier, however much is deleted */
};

static int mark_crashed_job(struct db_conn *c, void *arg, struct err *e)
{
    int64_t *now = arg;
    return db_exec(c, e,
                   /* the log of a sweep's scheduler never says that it is at its end */
                   "UPDATE runs SET state = CASE WHEN state = 'preempting' THEN 'preempted' WHEN EXISTS (SELECT 1 FROM "
                   "sweeps s WHERE s.project_id = runs.project_id AND runs.name = s.name || '-controller') "
                   "THEN 'finished' ELSE 'crashed' END,"
                   " updated_at = $1 WHERE state IN ('running', 'preempting') AND heartbeat_at < $2",
                   DB_ARGS(db_i(*now), db_i(*now - crashed_after_us)));
}

/* Looked at first without the writer: nearly always there is nothing to do. */
static int mark_crashed(struct server *s, struct err *e)
{
    struct db_conn *c;
    int64_t now = now_us(), n = 0;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &n,
                    "SELECT count(*) FROM runs WHERE state IN ('running', 'preempting') AND heartbeat_at < $1",
                    DB_ARGS(db_i(now - crashed_after_us)));
    db_read_end(c);
    return rc < 0 || !n ? rc : db_write(s->db, mark_crashed_job, &now, e);
}

/* Small pieces of history become large ones. */
static int merge_histories(struct server *s, struct err *e)
{
    return history_merge_due(s->db, e);
}

/* Pages that merging and deleting left empty go back to the file system. */
static int give_space_back(struct server *s, struct err *e)
{
    return db_shrink(s->db, e);
}

/* Memory that only serves speed goes back to the system once no request has come for a while. */
static int give_memory_back(struct server *s, struct err *e)
{
    uint64_t n = metrics_requests(s->metrics);
    bool quiet = n == s->quiet.requests;
    s->quiet.requests = n;
    s->quiet.trimmed &= quiet;
    if (!quiet || s->quiet.trimmed)
        return 0;
    s->quiet.trimmed = true;
    codec_pool_clear();
    spare_clear();
    gql_cache_clear(s->documents);
    int rc = db_trim(s->db, e);
    mem_trim(0);
    return rc;
}

/* Large buffers that nobody has wanted for a while, also when the server is never quiet. */
static int drop_spares(struct server *s, struct err *e)
{
    spare_trim();
    return 0;
}

/* What deleted runs have left, and runs whose time is over. */
static int empty_runs(struct server *s, struct err *e)
{
    enum { AT_ONCE = 16 };
    s->is_clearing = s->empty_soon;
    s->empty_soon = false;
    int rc = retention_round(s->db, now_us(), AT_ONCE, e);
    if (rc > 0)
        s->collect_soon = true;
    if (rc < 0 || rc == AT_ONCE) /* there may be more */
        s->empty_soon = true;
    s->is_clearing = false;
    return rc;
}

/* Files that nothing refers to any more, and versions whose time is over. */
static int collect_files(struct server *s, struct err *e)
{
    s->is_clearing = true;
    s->collect_soon = false;
    int rc = artifact_collect(s->db, s->blobs, now_us(), NULL, e);
    int set = quota_watch(s, rc < 0 ? NULL : e);
    s->is_clearing = false;
    return rc < 0 ? rc : set;
}

/* Uploads that broke off and whose clients do not come again. */
static int tidy_uploads(struct server *s, struct err *e)
{
    partials_tidy(s->partials);
    return 0;
}

/* Alerts that are on their way to webhooks. */
static int send_alerts(struct server *s, struct err *e)
{
    return webhook_sender_look(s->webhooks, e);
}

/* What is written from now on would be lost with the last descriptor. */
static int watch_folder(struct server *s, struct err *e)
{
    if (server_has_its_folder(s) || s->is_lost)
        return 0;
    s->is_lost = true;
    diag_error("%s was removed or replaced: ending", s->options.dir);
    kill(getpid(), SIGTERM);
    return 0;
}

/* In seconds; a task that fails is tried again at its next turn. */
static const struct task {
    const char *name;
    int every_s;
    int (*run)(struct server *s, struct err *e);
} tasks[] = {
    {"marking crashed runs", 30, mark_crashed},
    {"merging histories", 5, merge_histories},
    {"giving space back", 10, give_space_back},
    {"sending alerts", 1, send_alerts},
    {"giving memory back", 7, give_memory_back},
    {"dropping spare buffers", 5, drop_spares},
    {"watching the folder", 1, watch_folder},
    {"watching the quota", 3, quota_watch},
    {"emptying deleted runs", 10, empty_runs},
    {"tidying uploads", 60, tidy_uploads},
    {"collecting files", 600, collect_files},
};
enum { N_TASKS = sizeof tasks / sizeof *tasks, COLLECT = N_TASKS - 1 };

/* Collecting looks at all files, so after a deletion it comes early, but takes a twentieth of the time at most. */
enum { COLLECT_AGAIN_S = 3, COLLECT_SHARE = 20, CANCEL_MS = 500 };

static void advance_collect(struct janitor *j, int64_t *due_ns)
{
    int64_t now_ns = clock_mono_ns();
    if (j->server->collect_soon && now_ns >= j->collect_after_ns && now_ns < due_ns[COLLECT])
        due_ns[COLLECT] = now_ns;
}

static void note_collect(struct janitor *j, int64_t began_ns)
{
    int64_t now_ns = clock_mono_ns();
    j->collect_after_ns = now_ns + COLLECT_AGAIN_S * 1000000000ll + COLLECT_SHARE * (now_ns - began_ns);
}

static void run_due(struct janitor *j, int64_t *due_ns)
{
    advance_collect(j, due_ns);
    for (int i = 0; i < N_TASKS; i++) {
        struct err e = {0};
        int64_t now_ns = clock_mono_ns();
        if (now_ns < due_ns[i])
            continue;
        due_ns[i] = now_ns + tasks[i].every_s * 1000000000ll;
        if (tasks[i].run(j->server, &e) < 0)
            diag_warn("%s: %s", tasks[i].name, e.text);
        if (i == COLLECT)
            note_collect(j, now_ns);
    }
}

static void *janitor_main(void *arg)
{
    struct janitor *j = arg;
    int64_t due_ns[N_TASKS];
    for (int i = 0; i < N_TASKS; i++)
        due_ns[i] = clock_mono_ns() + tasks[i].every_s * 1000000000ll;
    pthread_mutex_lock(&j->lock);
    while (!j->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&j->wake, &j->lock, &until);
        if (j->stopping)
            break;
        pthread_mutex_unlock(&j->lock);
        run_due(j, due_ns);
        pthread_mutex_lock(&j->lock);
    }
    j->has_ended = true;
    pthread_cond_signal(&j->ended);
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

int janitor_open(struct server *s, struct janitor **out, struct err *e)
{
    struct janitor *j = xmem_calloc(1, sizeof *j);
    j->server = s;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->wake, &monotonic);
    pthread_cond_init(&j->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&j->thread, NULL, janitor_main, j)) {
        mem_free(j);
        return err_set(e, TARE_ENOMEM, "a thread could not be started");
    }
    *out = j;
    return 0;
}

void janitor_stop(struct janitor *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

void janitor_close(struct janitor *j)
{
    if (!j)
        return;
    janitor_stop(j);
    pthread_mutex_lock(&j->lock);
    while (!j->has_ended) {
        struct timespec until = clock_mono_after(CANCEL_MS);
        if (pthread_cond_timedwait(&j->ended, &j->lock, &until) == ETIMEDOUT)
            server_cancel(j->server);
    }
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    pthread_cond_destroy(&j->ended);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    mem_free(j);
}
