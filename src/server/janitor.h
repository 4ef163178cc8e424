/* SPDX-License-Identifier: MIT */
/* What the server does of its own accord, now and then: one thread that walks a table of tasks. */
#ifndef TARE_SERVER_JANITOR_H
#define TARE_SERVER_JANITOR_H

#include "base/err.h"

struct janitor;
struct server;

int janitor_open(struct server *s, struct janitor **out, struct err *e);
/* No further task. NULL is fine, here and below. */
void janitor_stop(struct janitor *j);
/* Ends the task under way (server_cancel: what it has not done waits for the next start), and waits for that. */
void janitor_close(struct janitor *j);

#endif
