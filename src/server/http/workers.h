/* SPDX-License-Identifier: MIT */
/* A pool of threads for requests that may block. Threads are started when all are busy and end
 * when idle for long, so an idle server has hardly any. */
#ifndef TARE_SERVER_HTTP_WORKERS_H
#define TARE_SERVER_HTTP_WORKERS_H

#include <stdbool.h>

struct workers;

/* One piece of work; embedded in what it is about. */
struct work {
    void (*run)(struct work *w);
    struct work *next;
};

struct workers *workers_new(int max_threads, int max_queue);
/* No more work; waits until all is done, `wait_ms` at most. Is it? */
bool workers_stop(struct workers *ws, int wait_ms);
/* Waits until all work is done, then frees. */
void workers_free(struct workers *ws);

/* 0, or TARE_EFULL. Any thread. */
int workers_push(struct workers *ws, struct work *w);

void workers_count(struct workers *ws, int *threads, int *busy, int *queued);

#endif
