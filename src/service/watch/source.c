/* SPDX-License-Identifier: MIT */
#include "service/watch/source.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/thread.h"

#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered; /* by any source */
static bool answered_is_made;
static int n_busy; /* threads outside of this file */

/* Those of this file wait by the monotonic clock. With the lock. */
static void make_cond(pthread_cond_t *c, bool *is_made)
{
    pthread_condattr_t clock;
    if (*is_made)
        return;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(c, &clock);
    pthread_condattr_destroy(&clock);
    *is_made = true;
}

/* False when it is `until_ns`. */
static bool wait_until(pthread_cond_t *c, int64_t until_ns)
{
    struct timespec t = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    return pthread_cond_timedwait(c, &lock, &t) == 0;
}

void sources_lock(void)
{
    pthread_mutex_lock(&lock);
}

/* One that was asked; its thread is woken when the lock is left, so that it does not run into that at once. */
static struct source *to_wake;

static void wake(struct source *s)
{
    if (s)
        pthread_cond_signal(&s->asked);
}

void sources_unlock(void)
{
    struct source *s = to_wake;
    to_wake = NULL;
    pthread_mutex_unlock(&lock);
    wake(s);
}

/* ---- the threads ---- */

/* False: the thread is not needed any more. */
static bool wait_for_a_question(struct source *s)
{
    pthread_mutex_lock(&lock);
    n_busy--;
    int64_t until_ns = clock_mono_ns() + SOURCE_IDLE_NS;
    while (s->asked_ns == 0 && s->state == SOURCE_RUNNING) {
        bool more = wait_until(&s->asked, until_ns);
        if (more)
            continue;
        if (s->leaves && s->asked_ns == 0)
            s->state = SOURCE_NEW;
        until_ns = clock_mono_ns() + SOURCE_IDLE_NS;
    }
    bool asked = s->state == SOURCE_RUNNING;
    n_busy += asked;
    pthread_mutex_unlock(&lock);
    return asked;
}

static void answer(struct source *s, enum source_state now)
{
    pthread_mutex_lock(&lock);
    s->state = now;
    if (now == SOURCE_ABSENT)
        n_busy--;
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
    if (s->open && !s->open()) {
        answer(s, SOURCE_ABSENT);
        return NULL;
    }
    while (wait_for_a_question(s)) {
        if (!s->last)
            s->last = xmem_calloc(1, s->size); /* both are this thread's until its first answer */
        if (!s->next)
            s->next = xmem_calloc(1, s->size);
        s->read(s, s->next);
        answer(s, SOURCE_RUNNING);
    }
    return NULL;
}

static void start(struct source *s)
{
    make_cond(&answered, &answered_is_made);
    make_cond(&s->asked, &s->has_asked);
    int rc = thread_start(run, s, 0);
    n_busy += rc == 0; /* until it comes to its first question */
    s->state = rc == 0 ? SOURCE_RUNNING : s->leaves ? SOURCE_NEW : SOURCE_ABSENT;
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
    if (to_wake != s)
        wake(to_wake);
    to_wake = s;
}

void source_wait(struct source *s, int64_t wait_ns)
{
    int64_t until_ns = s->asked_ns + wait_ns;
    wake(to_wake);
    to_wake = NULL;
    while (s->asked_ns != 0 && s->state == SOURCE_RUNNING && wait_until(&answered, until_ns))
        ;
}

bool source_is_fresh(const struct source *s, int64_t wait_ns)
{
    return s->state != SOURCE_ABSENT && s->taken_ns != 0 &&
           clock_mono_ns() - s->taken_ns <= SOURCE_FRESH_NS + wait_ns;
}

const void *source_last(const struct source *s)
{
    return s->taken_ns != 0 ? s->last : NULL;
}

bool sources_are_busy(void)
{
    pthread_mutex_lock(&lock);
    bool any = n_busy > 0;
    pthread_mutex_unlock(&lock);
    return any;
}

void source_reuse(struct source *s)
{
    s->taken_ns = 0;
}
