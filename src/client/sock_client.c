/* SPDX-License-Identifier: MIT */
#include "client/sock_client.h"

#include "base/clock.h"
#include "record/frame.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 65536, RESPONSE_MAX = 256 << 20 };

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where it is missing, SO_NOSIGPIPE is set below */
#endif

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
};

/* "3-PID-unix-PATH" or "3-PID-tcp-localhost-PORT" (peer: sdk/lib/service/service_token.py). */
static int parse_token(const char *token, union address *to, socklen_t *len, struct err *e)
{
    const char *at = token;
    memset(to, 0, sizeof *to);
    if (strncmp(at, "3-", 2) != 0 || !isdigit((unsigned char)at[2]))
        return err_set(e, TARE_EINVAL, "not a service token: %.100s", token);
    for (at += 2; isdigit((unsigned char)*at);)
        at++;
    if (strncmp(at, "-unix-", 6) == 0 && at[6]) {
        at += 6;
        if (strlen(at) >= sizeof to->un.sun_path)
            return err_set(e, TARE_EINVAL, "the socket's path is too long: %.100s", at);
        to->un.sun_family = AF_UNIX;
        strcpy(to->un.sun_path, at);
        *len = sizeof to->un;
        return 0;
    }
    char *end;
    long port = strncmp(at, "-tcp-localhost-", 15) == 0 ? strtol(at + 15, &end, 10) : 0;
    if (port < 1 || port > 65535 || *end)
        return err_set(e, TARE_EINVAL, "not a service token: %.100s", token);
    to->in.sin_family = AF_INET;
    to->in.sin_port = htons((uint16_t)port);
    to->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *len = sizeof to->in;
    return 0;
}

static int make_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    int on = 1;
    (void)on;
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    if (family == AF_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* A connection under way: wait for it. 0 or an errno value. */
static int wait_connected(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int rc;
    do
        rc = poll(&p, 1, timeout_ms);
    while (rc < 0 && errno == EINTR);
    if (rc <= 0)
        return rc < 0 ? errno : ETIMEDOUT;
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return error;
}

static pid_t peer_pid(int fd)
{
#ifdef SO_PEERCRED
    struct ucred cred;
    socklen_t n = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
        return cred.pid;
#else
    (void)fd;
#endif
    return 0;
}

int sock_client_connect(struct sock_client *s, const char *token, int timeout_ms, struct err *e)
{
    union address a;
    socklen_t len = 0;
    *s = (struct sock_client){.fd = -1};
    int rc = parse_token(token, &a, &len, e);
    if (rc)
        return rc;
    int fd = make_socket(a.any.sa_family);
    if (fd < 0)
        return err_set(e, -errno, "socket: %s", strerror(errno));
    int64_t end = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    int error = connect(fd, &a.any, len) == 0 ? 0 : errno;
    while (error == EAGAIN && clock_mono_ns() < end) { /* a unix listener whose backlog is full */
        poll(NULL, 0, 1);
        error = connect(fd, &a.any, len) == 0 ? 0 : errno;
    }
    if (error == EINPROGRESS || error == EINTR)
        error = wait_connected(fd, timeout_ms);
    if (error) {
        close(fd);
        return err_set(e, TARE_ESERVICE, "connecting to the service (%.100s): %s", token,
                       strerror(error));
    }
    s->fd = fd;
    s->peer = a.any.sa_family == AF_UNIX ? peer_pid(fd) : 0;
    return 0;
}

void sock_client_close(struct sock_client *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    buf_fini(&s->in);
    s->in_at = 0;
}

ssize_t sock_client_send(struct sock_client *s, struct str bytes)
{
    if (s->fd < 0)
        return TARE_ECLOSED;
    for (;;) {
        ssize_t n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            return n;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM)
            return 0;
        if (errno != EINTR)
            return TARE_ECLOSED;
    }
}

int sock_client_receive(struct sock_client *s)
{
    if (s->fd < 0)
        return TARE_ECLOSED;
    buf_consume(&s->in, s->in_at);
    s->in_at = 0;
    for (;;) {
        char *to = buf_reserve(&s->in, READ_BYTES);
        if (!to)
            return TARE_ENOMEM;
        ssize_t n = recv(s->fd, to, READ_BYTES, MSG_DONTWAIT);
        if (n == 0)
            return TARE_ECLOSED;
        if (n > 0) {
            s->in.len += (size_t)n;
            if (n < READ_BYTES)
                return 0;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        } else if (errno != EINTR) {
            return TARE_ECLOSED;
        }
    }
}

int sock_client_next(struct sock_client *s, struct str *message)
{
    uint32_t len;
    size_t left = s->in.len - s->in_at;
    int rc = frame_peek(s->in.data + s->in_at, left, RESPONSE_MAX, &len);
    if (rc <= 0)
        return rc;
    if (left - FRAME_HEADER < len)
        return 0;
    *message = str_make(s->in.data + s->in_at + FRAME_HEADER, len);
    s->in_at += FRAME_HEADER + len;
    return 1;
}
