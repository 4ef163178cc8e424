/* SPDX-License-Identifier: MIT */
#include "loop/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void on_run(uv_work_t *req)
{
    struct work *w = req->data;
    w->run(w);
}

static void on_done(uv_work_t *req, int status)
{
    struct work *w = req->data;
    assert(status == 0); /* nothing here is ever cancelled */
    w->busy = false;
    w->done(w);
}

void work_start(uv_loop_t *loop, struct work *w)
{
    assert(!w->busy);
    w->busy = true;
    w->req.data = w;
    int rc = uv_queue_work(loop, &w->req, on_run, on_done);
    assert(rc == 0); /* fails only for a NULL function */
    (void)rc;
}

void worker_threads(int n)
{
    char text[16];
    snprintf(text, sizeof text, "%d", n);
    setenv("UV_THREADPOOL_SIZE", text, 0);
}
