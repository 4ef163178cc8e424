/* SPDX-License-Identifier: MIT */
/* The sessions of sweep schedulers: which sweep is scheduled for which connection, who waits for a task.
 *
 * A session ends with its last task or with the connection that began it; a sweep has one at a time.
 * Loop thread only.
 *
 * (peer: core/internal/sweeps/scheduler/ipcsessionbroker.go) */
#ifndef TARE_SERVICE_SWEEP_SWEEPS_H
#define TARE_SERVICE_SWEEP_SWEEPS_H

#include "base/str.h"

#include <stdint.h>

struct connection;
struct service;
struct sweep_session;

/* Zero at first. */
struct sweeps {
    struct sweep_session *first;
    uint64_t n_made; /* ids count from 0 */
};

/* SweepSchedulerClientInitRequest and NextTaskRequest; answered through the mailbox by `serial` (0:
 * nobody waits). */
void sweeps_init_session(struct service *s, struct connection *c, struct str request, uint64_t serial);
void sweeps_next_task(struct service *s, struct str request, uint64_t serial);
/* SweepSchedulerClientStopRequest: the session gives no other task than its last. */
void sweeps_stop(struct service *s, struct str request);

/* Request `serial` was cancelled and has been taken out of the mailbox. */
void sweeps_cancelled(struct service *s, uint64_t serial);
/* The connection has gone, and its sessions with it. */
void sweeps_connection_closed(struct service *s, struct connection *c);
/* The service ends: who waits is told so. */
void sweeps_stop_all(struct service *s);

#endif
