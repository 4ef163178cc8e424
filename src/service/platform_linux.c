/* SPDX-License-Identifier: MIT */
#include "service/platform.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int platform_peer_uid(int fd, uid_t *uid)
{
    struct ucred c;
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
        return -errno;
    *uid = c.uid;
    return 0;
}

pid_t platform_peer_pid(int fd)
{
    struct ucred c;
    socklen_t n = sizeof c;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0 ? 0 : c.pid;
}

/* /proc/net/tcp has a row for each end of a connection: the client's has our peer address as its
 * local one, and names the user who made the socket. */
int platform_tcp_peer_uid(int fd, uid_t *uid)
{
    struct sockaddr_in client, ours;
    socklen_t n = sizeof client;
    if (getpeername(fd, (struct sockaddr *)&client, &n) < 0)
        return -errno;
    n = sizeof ours;
    if (getsockname(fd, (struct sockaddr *)&ours, &n) < 0)
        return -errno;
    FILE *f = fopen("/proc/net/tcp", "re");
    if (!f)
        return -ENOENT;
    char line[256];
    int rc = -ENOENT;
    while (rc && fgets(line, sizeof line, f)) {
        unsigned a, ap, b, bp, who;
        if (sscanf(line, " %*u: %8X:%4X %8X:%4X %*X %*s %*s %*s %u", &a, &ap, &b, &bp, &who) == 5 &&
            a == client.sin_addr.s_addr && ap == ntohs(client.sin_port) &&
            b == ours.sin_addr.s_addr && bp == ntohs(ours.sin_port)) {
            *uid = who;
            rc = 0;
        }
    }
    fclose(f);
    return rc;
}

int platform_process_fd(pid_t pid)
{
#ifdef SYS_pidfd_open
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
#else
    return -ENOSYS;
#endif
}

int platform_memory_file(void)
{
    int fd = memfd_create("tare-journal", MFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void platform_forget(int fd, uint64_t n)
{
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)n);
}

int platform_accept(int listener)
{
    int fd;
    do
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}
