/* SPDX-License-Identifier: MIT */
#include "server/http/workers.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

enum { IDLE_S = 5, STACK_BYTES = 1024 * 1024 };

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    struct work *first, **tail;
    int queued, idle, threads, max_threads, max_queue;
    bool stopping;
};

struct workers *workers_new(int max_threads, int max_queue)
{
    struct workers *ws = xmem_calloc(1, sizeof *ws);
    pthread_condattr_t attr;
    ws->tail = &ws->first;
    ws->max_threads = max_threads;
    ws->max_queue = max_queue;
    pthread_mutex_init(&ws->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&ws->wake, &attr);
    pthread_cond_init(&ws->ended, &attr);
    pthread_condattr_destroy(&attr);
    return ws;
}

/* Under the lock: the next piece of work, or NULL when this thread should end. */
static struct work *take(struct workers *ws)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    ws->idle++;
    int rc = 0;
    while (!ws->first && !ws->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&ws->wake, &ws->lock, &until);
    ws->idle--;
    struct work *w = ws->first;
    if (!w)
        return NULL;
    ws->first = w->next;
    if (!ws->first)
        ws->tail = &ws->first;
    ws->queued--;
    return w;
}

static void *worker_main(void *arg)
{
    struct workers *ws = arg;
    struct work *w;
    pthread_mutex_lock(&ws->lock);
    while ((w = take(ws))) {
        pthread_mutex_unlock(&ws->lock);
        w->run(w);
        pthread_mutex_lock(&ws->lock);
    }
    ws->threads--;
    pthread_cond_signal(&ws->ended);
    pthread_mutex_unlock(&ws->lock);
    return NULL;
}

static bool start_thread(struct workers *ws)
{
    int rc = thread_start(worker_main, ws, STACK_BYTES);
    if (rc)
        diag_warn("starting a worker thread: %s", err_text(rc));
    else
        ws->threads++;
    return rc == 0;
}

int workers_push(struct workers *ws, struct work *w)
{
    int rc = 0;
    pthread_mutex_lock(&ws->lock);
    if (ws->queued >= ws->max_queue || ws->stopping)
        rc = TARE_EFULL;
    else if (ws->queued >= ws->idle && ws->threads < ws->max_threads && !start_thread(ws) &&
             !ws->threads)
        rc = TARE_EFULL;
    if (!rc) {
        w->next = NULL;
        *ws->tail = w;
        ws->tail = &w->next;
        ws->queued++;
        pthread_cond_signal(&ws->wake);
    }
    pthread_mutex_unlock(&ws->lock);
    return rc;
}

bool workers_stop(struct workers *ws, int wait_ms)
{
    struct timespec until = clock_mono_after(wait_ms);
    int rc = 0;
    pthread_mutex_lock(&ws->lock);
    ws->stopping = true;
    pthread_cond_broadcast(&ws->wake);
    while (ws->threads && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&ws->ended, &ws->lock, &until);
    bool done = !ws->threads;
    pthread_mutex_unlock(&ws->lock);
    return done;
}

void workers_free(struct workers *ws)
{
    if (!ws)
        return;
    while (!workers_stop(ws, 60000)) {
    }
    pthread_cond_destroy(&ws->wake);
    pthread_cond_destroy(&ws->ended);
    pthread_mutex_destroy(&ws->lock);
    mem_free(ws);
}

void workers_count(struct workers *ws, int *threads, int *busy, int *queued)
{
    pthread_mutex_lock(&ws->lock);
    *threads = ws->threads;
    *busy = ws->threads - ws->idle;
    *queued = ws->queued;
    pthread_mutex_unlock(&ws->lock);
}
