/* SPDX-License-Identifier: MIT */
/* Services as the command line sees them: starting one, finding one that runs. */
#ifndef TARE_CLI_LAUNCH_H
#define TARE_CLI_LAUNCH_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum { LAUNCH_TOKEN_MAX = 160, LAUNCH_SOCKET_MAX = 108 };

/* Where a service listens: the path of its socket. */
struct launch_address {
    char socket[LAUNCH_SOCKET_MAX];
};

/* The port file of the user's detached service, in a folder that only the user may enter:
 * $XDG_RUNTIME_DIR/tare, else /tmp/tare-UID; `make` creates it.
 * Expected: TARE_EPERM  the folder belongs to someone else */
int launch_port_file(char to[PATH_MAX], bool make, struct err *e);

/* Read a port file. TARE_ENOTFOUND: there is none, or it is not complete yet. */
int launch_read_port_file(const char *path, struct launch_address *to);

/* Whether a service accepts connections there; *pid is its process, 0 if that cannot be told. */
bool launch_answers(const struct launch_address *a, pid_t *pid);

/* Ask the service to end all runs that are still open, with this exit code, and then itself. False
 * if it could not be told. */
bool launch_teardown(const struct launch_address *a, int exit_code);

/* Start this program as a service and wait for its port file (at most 30 s). With `detached` it
 * outlives us and its output goes nowhere; else it ends with us. `flags`: more of its flags,
 * NULL-terminated, or NULL. */
int launch_service(const char *port_file, bool detached, char *const *flags,
                   struct launch_address *to, pid_t *pid, struct err *e);

/* What WANDB_SERVICE holds: "3-PID-unix-PATH". */
void launch_token(char to[LAUNCH_TOKEN_MAX], const struct launch_address *a, pid_t pid);

#endif
