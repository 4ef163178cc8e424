/* SPDX-License-Identifier: MIT */
/* How the manager talks to the service about whole streams (the peer's ServiceSockInterface). */
#ifndef TARE_CLIENT_SERVICE_SOCK_H
#define TARE_CLIENT_SERVICE_SOCK_H

#include "client/manager.h"
#include "client/run.h"

/* Declare the run and its settings; waits for the answer.
 * Expected: TARE_ESERVICE (refused), TARE_ETIMEOUT, TARE_ECLOSED; all with last_error set */
int service_sock_inform_init(struct tare_run *run, int timeout_ms);

/* Ask for a run that the service has; its Settings are appended to `settings`. Errors as above. */
int service_sock_inform_attach(struct tare_run *run, struct buf *settings, int timeout_ms);

/* The run is over. Does not wait. */
int service_sock_inform_finish(struct tare_run *run, int wait_ms);

/* The service may end. Does not wait for it. */
int service_sock_inform_teardown(struct manager *m, int exit_code);

#endif
