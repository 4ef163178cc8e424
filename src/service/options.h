/* SPDX-License-Identifier: MIT */
/* The command line of the service: the peer's flags, with the meaning the peer gives them
 * (peer: core/cmd/wandb-core/main.go), plus a few of ours.
 *
 * Flags may have one dash or two, a value after `=` or in the next argument, and a switch may
 * have a value (`--detached=false`). Parsing stops at the first argument that is no flag. */
#ifndef TARE_SERVICE_OPTIONS_H
#define TARE_SERVICE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct options {
    const char *port_filename;  /* where the port file is written */
    int64_t pid;                /* the parent's process id; 0: none to watch */
    int64_t log_level;          /* -4 debug, 0 info, 4 warn, 8 error */
    int64_t idle_timeout_ns;    /* detached only; 0: never */
    int64_t max_frame_bytes;    /* largest frame accepted */
    bool detached;              /* outlive the parent */
    bool no_observability;      /* nothing is reported anywhere by us: accepted, no effect */
    bool os_pid_shutdown;       /* accepted: the parent is always watched through the kernel */
    bool listen_on_localhost;   /* also listen on 127.0.0.1 */
    bool enable_dcgm_profiling; /* GPU profiling figures */
};

enum options_verdict {
    OPTIONS_RUN,    /* go on */
    OPTIONS_SHOWN,  /* --help or --version was printed: exit 0 */
    OPTIONS_INVALID /* a message and the usage were printed: exit 2 */
};

/* Read argv[1..argc-1] over the defaults. Texts go to `out` (the version) and `err` (help and
 * complaints, as the peer's do). Strings in `o` point into argv. */
enum options_verdict options_parse(struct options *o, int argc, char *const *argv, FILE *out,
                                   FILE *err);

/* A duration such as "10m0s", "1.5h" or "0", in nanoseconds, as Go reads it.
 * 0, or TARE_EINVAL with `ns` untouched. */
int options_duration(const char *text, int64_t *ns);

#endif
