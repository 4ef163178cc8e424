/* SPDX-License-Identifier: MIT */
/* The verb `service` of the command line, and what the peer's command line means. */
#ifndef TARE_SERVICE_MAIN_H
#define TARE_SERVICE_MAIN_H

/* Run the service in this process; argv[0] is ignored. Returns the exit code: 0, 1 when it could
 * not start, 2 for a wrong call, 128 after a signal. */
int service_main(int argc, char **argv);

#endif
