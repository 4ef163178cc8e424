/* SPDX-License-Identifier: MIT */
/* What differs between operating systems: platform_linux.c, platform_bsd.c (macOS too). */
#ifndef TARE_SERVICE_PLATFORM_H
#define TARE_SERVICE_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The user at the other end of a connected Unix socket. 0 or a negative errno value. */
int platform_peer_uid(int fd, uid_t *uid);

/* The process that connected it; 0 if that cannot be told. */
pid_t platform_peer_pid(int fd);

/* The user who owns the client end of a TCP connection over loopback. 0, -ENOENT when that cannot
 * be told here, or another negative errno value. */
int platform_tcp_peer_uid(int fd, uid_t *uid);

/* A descriptor that becomes readable when process `pid` ends, or a negative errno value: -ESRCH if
 * it is gone already. Close it with close(2). */
int platform_process_fd(pid_t pid);

/* A file without a name, in memory. A descriptor or a negative errno value. */
int platform_memory_file(void);

/* Give back the memory of the first `n` bytes of such a file; they read as zeros. May do nothing. */
void platform_forget(int fd, uint64_t n);

/* accept(2) with close-on-exec and non-blocking set. A descriptor or a negative errno value. */
int platform_accept(int listener);

#endif
