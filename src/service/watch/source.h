/* SPDX-License-Identifier: MIT */
/* A kind of device that is read through a library or a driver, either of which may hang: so each kind has
 * one thread of its own in the process, started when it is first asked for, and who asks waits for it a
 * bounded time. One that hangs costs its own figures and nothing else. Where there is no such device the
 * thread ends, and nothing is looked for again.
 *
 * All functions but the two of the lock and sources_are_busy are called with it. Any thread. */
#ifndef TARE_SERVICE_WATCH_SOURCE_H
#define TARE_SERVICE_WATCH_SOURCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_FRESH_NS (500LL * 1000000)  /* readings younger than this are shared */
#define SOURCE_SAMPLE_NS (250LL * 1000000) /* a sample waits no longer for one */
#define SOURCE_FIRST_NS (1000LL * 1000000) /* but the first of a run: libraries take their time to start */
#define SOURCE_FACTS_NS (2000LL * 1000000) /* and what is told once of a run, no longer than this */

enum source_state { SOURCE_NEW, SOURCE_RUNNING, SOURCE_ABSENT };

#define SOURCE_IDLE_NS (30LL * 1000000000)

struct source {
    /* -- to fill -- */
    bool (*may_be)(void); /* by who asks first, so it must not hang: false where no thread is worth it; or NULL */
    bool (*open)(void);   /* on the thread; false: nothing to be read; or NULL */
    /* On the thread: zeros, or what the last call but one left there. */
    void (*read)(struct source *s, void *reading);
    size_t size;          /* of a reading */
    bool leaves;          /* the thread ends where nobody asks for SOURCE_IDLE_NS; another opens anew */

    /* -- its own -- */
    pthread_cond_t asked;
    bool has_asked; /* `asked` is made */
    enum source_state state;
    int64_t asked_ns;   /* since when a reading is waited for; 0 for none */
    int64_t taken_ns;   /* of `last`; 0: none yet */
    void *last, *next;
};

/* To be zero where it is not filled. */
void sources_lock(void);
void sources_unlock(void);

/* Ask for a reading where the last is not fresh. */
void source_ask(struct source *s);
/* Until what was asked for has come, or `wait_ns` after that. */
void source_wait(struct source *s, int64_t wait_ns);
/* Whether the last reading was fresh after such a wait. */
bool source_is_fresh(const struct source *s, int64_t wait_ns);
/* The last reading, however old; NULL if there was none. */
const void *source_last(const struct source *s);
/* Whether any is being opened or read now, and so may hang: then exit() may, too, which calls what libraries want
 * called at the end and takes the lock of dlopen. Without the lock. */
bool sources_are_busy(void);
/* Forget the readings of one without a thread: it is to read something else. */
void source_reuse(struct source *s);

#endif
