/* SPDX-License-Identifier: MIT */
/* How many transfers go at once, over all runs of the process: each has a connection, and many an
 * open file. Who comes first goes first. Loop thread only (there is one). */
#ifndef TARE_SERVICE_UPLOAD_POOL_H
#define TARE_SERVICE_UPLOAD_POOL_H

#include <stdbool.h>

/* Embedded by who wants to go; zeroed before the first use. */
struct pool_slot {
    void (*go)(struct pool_slot *s); /* it is your turn: from pool_enter, or later from pool_leave */
    struct pool_slot *prev, *next;
    enum { POOL_OUT, POOL_WAITING, POOL_IN } place;
};

void pool_enter(struct pool_slot *s);
/* Done, or not wanted any more; nothing if it is out. May let others go before return. */
void pool_leave(struct pool_slot *s);

#endif
