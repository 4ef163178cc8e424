/* SPDX-License-Identifier: MIT */
#include "loop/turn.h"

#include <stddef.h>

static void on_no_wait(uv_idle_t *h)
{
    (void)h;
}

static void on_check(uv_check_t *h)
{
    struct turn *t = h->data;
    struct turn_task *last = t->last; /* what is added from here on is for the next turn */
    for (bool more = last != NULL; more && t->first;) {
        struct turn_task *task = t->first;
        more = task != last;
        turn_remove(t, task);
        task->run(task);
    }
    if (!t->first)
        uv_idle_stop(&t->no_wait);
}

void turn_init(struct turn *t, uv_loop_t *loop)
{
    *t = (struct turn){0};
    uv_check_init(loop, &t->check);
    uv_idle_init(loop, &t->no_wait);
    t->check.data = t;
    uv_check_start(&t->check, on_check);
    uv_unref((uv_handle_t *)&t->check);
}

void turn_close(struct turn *t)
{
    uv_close((uv_handle_t *)&t->check, NULL);
    uv_close((uv_handle_t *)&t->no_wait, NULL);
}

void turn_add(struct turn *t, struct turn_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    task->prev = t->last;
    task->next = NULL;
    if (t->last)
        t->last->next = task;
    else {
        t->first = task;
        uv_idle_start(&t->no_wait, on_no_wait);
    }
    t->last = task;
}

void turn_remove(struct turn *t, struct turn_task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    *(task->prev ? &task->prev->next : &t->first) = task->next;
    *(task->next ? &task->next->prev : &t->last) = task->prev;
    task->prev = task->next = NULL;
}
