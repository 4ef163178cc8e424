/* SPDX-License-Identifier: MIT */
/* Launches the service process and waits for its port file (the peer's service_process.py,
 * service_port_file.py). Any thread, one at a time. */
#ifndef TARE_CLIENT_SERVICE_H
#define TARE_CLIENT_SERVICE_H

#include "base/err.h"

#include <sys/types.h>

enum { SERVICE_TOKEN_MAX = 256 };

struct service {
    pid_t pid; /* 0 while none was launched */
    char token[SERVICE_TOKEN_MAX];
};

/* Launch `bin` (NULL: TARE_SERVICE_BIN, else `tare` in the places where it is installed or built,
 * else in PATH) and wait at most `timeout_ms` for its ports. On failure nothing is left behind.
 * Expected: TARE_ESERVICE  with the reason */
int service_start(struct service *s, const char *bin, int timeout_ms, struct err *e);

/* Wait for the process to end, at most `timeout_ms`: its exit status, or TARE_ETIMEOUT. */
int service_join(struct service *s, int timeout_ms);

/* Whether process `pid`, child or not, has surely ended. */
int service_is_dead(pid_t pid);

#endif
