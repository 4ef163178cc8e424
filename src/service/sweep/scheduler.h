/* SPDX-License-Identifier: MIT */
/* One sweep whose runs a client's optimizer chooses: the client asks for a task, does it, and gives the
 * result with the next question; between them the backend is asked how the runs go, and told which to
 * begin and which to stop. Loop thread only.
 *
 * (peer: core/internal/sweeps/scheduler) */
#ifndef TARE_SERVICE_SWEEP_SCHEDULER_H
#define TARE_SERVICE_SWEEP_SCHEDULER_H

#include "base/str.h"
#include "service/sweep/sweep_query.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct backend;
struct scheduler;

struct scheduler_params {
    struct backend *backend; /* borrowed until the scheduler has closed */
    uv_loop_t *loop;
    struct str entity, project, sweep; /* copied */
    uint32_t batch;                    /* runs to be active at a time; 0: one */
    double poll_s;                     /* between polls; at least SWEEP_POLL_MIN_MS, also if 0 or NaN */
    void *ctx;                         /* of the callbacks */
    /* Once: the sweep may be scheduled (`why` NULL), or why it may not. */
    void (*ready)(void *ctx, const struct sweep_facts *facts, const char *why);
    /* Once for each scheduler_next, perhaps before it returns: a SweepSchedulerServerNextTaskResponse.
     * `is_over`: it is a Done task; nothing more is to be asked. */
    void (*task)(void *ctx, struct str response, bool is_over);
};

/* Ask the backend whether it takes runs from outside, and for the sweep. */
struct scheduler *scheduler_open(const struct scheduler_params *p);

/* The next task, after `ready` and never while another is being made. `result` is a
 * SweepSchedulerClientTaskResult, or NULL without one; it is copied. */
void scheduler_next(struct scheduler *s, const struct str *result);

/* End the step that is under way, if there is one, with a Done task. */
void scheduler_cancel(struct scheduler *s);
/* The same, and every later step too. */
void scheduler_stop(struct scheduler *s);

/* No callback comes any more but `closed`, later, when its memory has been given back. */
void scheduler_close(struct scheduler *s, void (*closed)(void *ctx));

/* Append a NextTaskResponse with a Done task of that number. */
enum sweep_done {
    SWEEP_TERMINATED = 2,
    SWEEP_FINISHED = 3,
    SWEEP_NOT_FOUND = 4,
    SWEEP_FATAL_ERROR = 5,
    SWEEP_OPTIMIZER_ERROR = 6,
    SWEEP_SHUTDOWN = 7,
};
void scheduler_put_done(struct buf *to, uint64_t seq, enum sweep_done reason, const char *message);

#endif
