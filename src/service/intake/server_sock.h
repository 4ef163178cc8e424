/* SPDX-License-Identifier: MIT */
/* The service's listeners and the port file that tells where they are.
 *
 * One Unix socket, in a directory of its own that only this user may enter, below TMPDIR or where
 * the path would be too long below a shorter one; and a TCP port of 127.0.0.1 where asked for.
 * Only this user is let in. Names are unique to this process, so nothing that an earlier service
 * left behind is in the way; server_sock_sweep removes such leavings. */
#ifndef TARE_SERVICE_INTAKE_SERVER_SOCK_H
#define TARE_SERVICE_INTAKE_SERVER_SOCK_H

#include "base/err.h"
#include "service/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>
#include <uv.h>

struct server_sock {
    uv_loop_t *loop;
    uv_poll_t polls[2]; /* Unix, TCP */
    int fds[2];         /* the listeners; -1 where there is none */
    uv_timer_t retry;   /* accepting goes on when it fires */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of the Unix socket; "" if none */
    int tcp_port;                                           /* 0 if none */
    int spare[SPARE_FDS]; /* held back, to be given up when there are no others */
    bool open;

    /* A client has connected: `fd` is the owner's. With `refuse`, descriptors have run out and this
     * is one of the spare ones: tell the client so and close soon, then server_sock_recover. */
    void (*on_client)(struct server_sock *s, int fd, bool tcp, bool refuse);
    /* Descriptors have run out: free one (true) if anything can do without its own. */
    bool (*on_scarce)(struct server_sock *s);
};

/* Listen. `dir_pid` becomes part of the directory's name. 0, or the reason in `e`; nothing is left
 * open or on disk on failure. Nobody is accepted before server_sock_start. */
int server_sock_open(struct server_sock *s, uv_loop_t *loop, int dir_pid, bool tcp, struct err *e);

/* Write the port file so that a reader sees all of it or none. */
int server_sock_write_port_file(const struct server_sock *s, const char *path, struct err *e);

/* Accept from now on; the callbacks have been set. */
void server_sock_start(struct server_sock *s);

/* A refused client has gone: hold its descriptor back again and go on accepting. */
void server_sock_recover(struct server_sock *s);

/* Accept those who have connected by now, without waiting for the loop to say so. */
void server_sock_accept_waiting(struct server_sock *s);

/* Accept no more, remove the socket and its directory. Those whose connection is still in the
 * kernel's queue are turned away. Idempotent. */
void server_sock_close(struct server_sock *s);

/* Remove sockets in TMPDIR and /tmp whose service has died without doing so itself. May block. */
void server_sock_sweep(void);

#endif
