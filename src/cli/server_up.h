/* SPDX-License-Identifier: MIT */
/* The user's own `tare server`: found where it runs, or started. */
#ifndef TARE_CLI_SERVER_UP_H
#define TARE_CLI_SERVER_UP_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>

struct server_up {
    char dir[PATH_MAX - 64];
    char url[256];
    char key[256];
    int started; /* it was not up before */
};

/* Replace this process by tare-server; returns only on failure. argv[0] is set here. */
int server_exec(char **argv, struct err *e);

/* Make sure that a server is up on the user's directory ($TARE_SERVER_DIR, else the default), started
 * detached if there is none (waits at most 10 s), and tell how to reach it. */
int server_up(struct server_up *to, struct err *e);

/* The same of one that is up already; false if there is none. */
bool server_running(struct server_up *to);

#endif
