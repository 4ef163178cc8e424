/* SPDX-License-Identifier: MIT */
/* `tare server user …`: commands on the data directory, whether a server runs on it or not. */
#ifndef TARE_SERVER_ADMIN_H
#define TARE_SERVER_ADMIN_H

/* argv[0] is "user"; returns the exit code. */
int admin_user(int argc, char **argv);

#endif
