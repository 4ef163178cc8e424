/* SPDX-License-Identifier: MIT */
/* Work that may block, done on a few threads; its result comes back to the loop.
 *
 * The owner embeds a `struct work` and fills `run` and `done`. Between work_start and `done` the
 * fields that `run` uses belong to the thread; nothing may be freed. The threads are those of the
 * process, made on need and gone after a while without work. */
#ifndef TARE_LOOP_WORKER_H
#define TARE_LOOP_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* As long as works get on, so many threads do them. Those that hang do not count: others take
 * their place, so that a file system that stalls keeps up nothing but itself. */
#define WORKERS 8
#define WORKERS_WITH_STUCK 256

struct work_desk;

struct work {
    void (*run)(struct work *w);  /* on a worker thread; may block; signals are blocked */
    void (*done)(struct work *w); /* on the loop thread, exactly once, never inside work_start */
    bool busy;                    /* between work_start and done */
    bool is_long;                 /* may be set: it takes most of a millisecond or more, so it gets a thread at
                                   * once if those that are there have such works, too */
    struct work *next;            /* the rest is the worker's */
    struct work_desk *desk;
    uint64_t queued_ns;
};

/* Queue `w`; its `done` keeps the loop alive. Loop thread; `w` must not be busy. */
void work_start(uv_loop_t *loop, struct work *w);

#endif
