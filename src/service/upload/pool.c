/* SPDX-License-Identifier: MIT */
#include "service/upload/pool.h"

#include "service/limits.h"

#include <assert.h>
#include <stddef.h>
#include <utlist.h>

static struct pool_slot *waiting;
static int n_in;
static bool letting; /* a `go` may leave again: then the outer loop goes on */

static void let_in(void)
{
    if (letting)
        return;
    letting = true;
    while (waiting && n_in < POOL_TRANSFERS) {
        struct pool_slot *s = waiting;
        DL_DELETE(waiting, s);
        s->place = POOL_IN;
        n_in++;
        s->go(s);
    }
    letting = false;
}

void pool_enter(struct pool_slot *s)
{
    assert(s->place == POOL_OUT);
    s->place = POOL_WAITING;
    DL_APPEND(waiting, s);
    let_in();
}

void pool_leave(struct pool_slot *s)
{
    if (s->place == POOL_WAITING)
        DL_DELETE(waiting, s);
    else if (s->place == POOL_IN)
        n_in--;
    s->place = POOL_OUT;
    let_in();
}
