/* SPDX-License-Identifier: MIT */
/* macOS and the BSDs. Not built on Linux. */
#include "service/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int platform_peer_uid(int fd, uid_t *uid)
{
    gid_t gid;
    return getpeereid(fd, uid, &gid) < 0 ? -errno : 0;
}

pid_t platform_peer_pid(int fd)
{
    pid_t pid = 0;
#ifdef LOCAL_PEERPID
    socklen_t n = sizeof pid;
    if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &pid, &n) < 0)
        return 0;
#endif
    return pid;
}

int platform_tcp_peer_uid(int fd, uid_t *uid)
{
    (void)fd, (void)uid;
    return -ENOENT;
}

/* A kqueue is itself a descriptor that can be waited for. */
int platform_process_fd(pid_t pid)
{
    int q = kqueue();
    if (q < 0)
        return -errno;
    struct kevent ev;
    EV_SET(&ev, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
    if (kevent(q, &ev, 1, NULL, 0, NULL) < 0) {
        int rc = -errno;
        close(q);
        return rc;
    }
    return q;
}

int platform_memory_file(void)
{
    char path[] = "/tmp/tare-journal-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    unlink(path);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

void platform_forget(int fd, uint64_t n)
{
    (void)fd, (void)n;
}

int platform_accept(int listener)
{
    int fd;
    do
        fd = accept(listener, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
