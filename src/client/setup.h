/* SPDX-License-Identifier: MIT */
/* The singleton shared by the library (the peer's _WandbSetup): how it is set up, the manager, the
 * runs of this process, exit hooks and fork. */
#ifndef TARE_CLIENT_SETUP_H
#define TARE_CLIENT_SETUP_H

#include "base/err.h"
#include "client/manager.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Changes in a forked child; runs remember theirs. */
extern _Atomic unsigned setup_generation;

/* The process ends: other threads may still be in the library, so nothing they use is freed. */
extern atomic_bool setup_exiting;

/* The manager, made if there is none. */
int setup_manager(struct manager **to, bool must_connect, struct err *e);

/* Runs that exit() and tare_teardown must finish. */
int setup_add_run(struct tare_run *run);
void setup_remove_run(struct tare_run *run);

/* Call `hook` with the process's exit status when it ends by exit() or return from main. Once. */
int exit_hook_register(void (*hook)(int status));

#endif
