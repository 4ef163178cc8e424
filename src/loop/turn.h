/* SPDX-License-Identifier: MIT */
/* Work gathered during one turn of the loop and done once, at its end.
 *
 * A read of a socket can bring hundreds of records for one stream; the stream asks once for
 * `turn_add`, and when all sockets of this turn have been read its task runs and writes them
 * together. Loop thread only. */
#ifndef TARE_LOOP_TURN_H
#define TARE_LOOP_TURN_H

#include <stdbool.h>
#include <uv.h>

/* Embedded in what has work to do; `run` is set once by the owner. */
struct turn_task {
    void (*run)(struct turn_task *t);
    struct turn_task *prev, *next; /* in the list of this turn; NULL while not in it */
    bool queued;
};

struct turn {
    uv_check_t check;      /* runs after the sockets have been read */
    uv_idle_t no_wait;     /* active while there are tasks, so that the loop does not sleep */
    struct turn_task *first, *last;
};

void turn_init(struct turn *t, uv_loop_t *loop);
/* Close the handles; nothing may be added any more. */
void turn_close(struct turn *t);

/* Run `task` at the end of this turn, or of the next if this one's tasks are running already.
 * Adding it twice is adding it once. */
void turn_add(struct turn *t, struct turn_task *task);
/* Forget `task`, if it is queued: it is about to be freed. */
void turn_remove(struct turn *t, struct turn_task *task);

#endif
