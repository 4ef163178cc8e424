/* SPDX-License-Identifier: MIT */
/* What the server does of its own accord, now and then: one thread that walks a table of tasks. */
#ifndef TARE_SERVER_JANITOR_H
#define TARE_SERVER_JANITOR_H

#include "base/err.h"

struct janitor;
struct server;

int janitor_open(struct server *s, struct janitor **out, struct err *e);
void janitor_close(struct janitor *j); /* waits for the task under way; NULL is fine */

#endif
