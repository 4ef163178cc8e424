/* SPDX-License-Identifier: MIT */
/* `tare server user …`, `team …`, `org …`: commands on the data directory, whether a server runs on it or
 * not. */
#ifndef TARE_SERVER_ADMIN_H
#define TARE_SERVER_ADMIN_H

#include <stdbool.h>

/* Usage lines. */
extern const char admin_help[];

/* Is this the first word of such a command? */
bool admin_knows(const char *noun);

/* argv[0] is that word; returns the exit code. */
int admin_main(int argc, char **argv);

#endif
