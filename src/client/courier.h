/* SPDX-License-Identifier: MIT */
/* The library's one thread: takes entries from the ring, formats them, sends them to the service
 * in large writes, reads its answers, and where there is no service (any more), writes the runs'
 * files. See courier.c. */
#ifndef TARE_CLIENT_COURIER_H
#define TARE_CLIENT_COURIER_H

#include "client/manager.h"

int courier_start(struct manager *m); /* 0 or a negative errno value */
void courier_stop(struct manager *m); /* what is in the ring and the outboxes goes out first */

/* For the files of the courier: put a ServerRequest into the run's outbox, or into its file. */
int courier_emit(struct manager *m, struct tare_run *run, struct str message);

/* The same for a request that `slot`, which has a callback, wants the answer of; frees the slot on
 * failure. */
int courier_ask(struct manager *m, struct tare_run *run, struct slot *slot, struct str message);

#endif
