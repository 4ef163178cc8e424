/* SPDX-License-Identifier: MIT */
#include "service/watch/source.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <signal.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered; /* by any source; waits by the monotonic clock */
static bool answered_is_made;

void sources_lock(void)
{
    pthread_mutex_lock(&lock);
}

void sources_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* ---- the threads ---- */

static void wait_for_a_question(struct source *s)
{
    pthread_mutex_lock(&lock);
    while (s->asked_ns == 0)
        pthread_cond_wait(&s->asked, &lock);
    pthread_mutex_unlock(&lock);
}

static void answer(struct source *s, enum source_state now)
{
    pthread_mutex_lock(&lock);
    s->state = now;
    if (now == SOURCE_RUNNING) {
        void *next = s->last;
        s->last = s->next;
        s->next = next;
        s->taken_ns = clock_mono_ns();
    }
    s->asked_ns = 0;
    pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct source *s = arg;
    if (!s->open()) {
        answer(s, SOURCE_ABSENT);
        return NULL;
    }
    s->next = xmem_calloc(1, s->size); /* both are this thread's until the first answer */
    s->last = xmem_calloc(1, s->size);
    for (;;) {
        wait_for_a_question(s);
        s->read(s->next);
        answer(s, SOURCE_RUNNING);
    }
}

static void make_answered(void)
{
    pthread_condattr_t clock;
    if (answered_is_made)
        return;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&answered, &clock);
    pthread_condattr_destroy(&clock);
    answered_is_made = true;
}

static void start(struct source *s)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    make_answered();
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->state = pthread_create(&thread, &attr, run, s) == 0 ? SOURCE_RUNNING : SOURCE_ABSENT;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- who asks ---- */

void source_ask(struct source *s)
{
    int64_t now_ns = clock_mono_ns();
    if (s->state == SOURCE_NEW && s->may_be && !s->may_be())
        s->state = SOURCE_ABSENT;
    if (s->state == SOURCE_NEW)
        start(s);
    if (s->state != SOURCE_RUNNING || (s->taken_ns != 0 && now_ns - s->taken_ns <= SOURCE_FRESH_NS))
        return;
    if (s->asked_ns == 0)
        s->asked_ns = now_ns;
    pthread_cond_signal(&s->asked);
}

void source_wait(struct source *s, int64_t wait_ns)
{
    int64_t until = s->asked_ns + wait_ns;
    struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    while (s->asked_ns != 0 && s->state == SOURCE_RUNNING && pthread_cond_timedwait(&answered, &lock, &t) == 0)
        ;
}

bool source_is_fresh(const struct source *s, int64_t wait_ns)
{
    return s->state == SOURCE_RUNNING && s->taken_ns != 0 &&
           clock_mono_ns() - s->taken_ns <= SOURCE_FRESH_NS + wait_ns;
}

const void *source_last(const struct source *s)
{
    return s->taken_ns != 0 ? s->last : NULL;
}
