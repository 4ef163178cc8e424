/* SPDX-License-Identifier: MIT */
/* Frames on a socket to the service: connect, send, read_server_response. Never blocks but in
 * connect, never raises SIGPIPE. One thread at a time. */
#ifndef TARE_CLIENT_SOCK_CLIENT_H
#define TARE_CLIENT_SOCK_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

struct sock_client {
    int fd;       /* -1 while not connected; non-blocking, close-on-exec */
    pid_t peer;   /* process that listens, 0 if unknown */
    struct buf in; /* bytes received and not yet taken */
    size_t in_at;  /* how many of them were taken as frames */
};

/* Connect to where `token` says (the form of WANDB_SERVICE), within `timeout_ms`.
 * Expected: TARE_EINVAL   not a token
 *           TARE_ESERVICE nobody listens there */
int sock_client_connect(struct sock_client *s, const char *token, int timeout_ms, struct err *e);
void sock_client_close(struct sock_client *s);

/* Send what the socket takes now: bytes sent, maybe 0, or TARE_ECLOSED. */
ssize_t sock_client_send(struct sock_client *s, struct str bytes);

/* Read what is there now: 0, or TARE_ECLOSED at the end, TARE_ENOMEM. Then take the frames. */
int sock_client_receive(struct sock_client *s);

/* The next whole frame: 1 and its message (valid until the next receive), 0 if there is none yet,
 * or TARE_EPROTO, TARE_ELIMIT. */
int sock_client_next(struct sock_client *s, struct str *message);

#endif
