/* SPDX-License-Identifier: MIT */
/* From the service to files of our own, for good. See lost.c. Courier only. */
#ifndef TARE_CLIENT_LOST_H
#define TARE_CLIENT_LOST_H

#include "base/str.h"
#include "client/manager.h"
#include "client/run.h"

/* Close the connection; every run goes on in a file, with what its outbox still held. */
void lost_service(struct manager *m, const char *why);

/* Put a ServerRequest into the file of the run. 0, TARE_ESERVICE if it has none, or the error of
 * writing (said once). */
int lost_emit(struct manager *m, struct tare_run *run, struct str message);

#endif
