/* SPDX-License-Identifier: MIT */
/* Work that may block, done on the thread pool; its result comes back to the loop.
 *
 * The owner embeds a `struct work` and fills `run` and `done`. Between work_start and `done` the
 * fields that `run` uses belong to the pool's thread; nothing may be freed. */
#ifndef TARE_LOOP_WORKER_H
#define TARE_LOOP_WORKER_H

#include <stdbool.h>
#include <uv.h>

struct work {
    void (*run)(struct work *w);  /* on a thread of the pool; may block */
    void (*done)(struct work *w); /* on the loop thread, exactly once, never inside work_start */
    bool busy;                    /* between work_start and done */
    uv_work_t req;
};

/* Queue `w` on the pool of `loop`. Loop thread; `w` must not be busy. */
void work_start(uv_loop_t *loop, struct work *w);

/* How many threads the pool will have; call before the first work_start of the process. A user's
 * UV_THREADPOOL_SIZE wins. The threads start with the first work, not here. */
void worker_threads(int n);

#endif
