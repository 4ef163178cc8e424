/* SPDX-License-Identifier: MIT */
/* Connections that were answered in the middle of a body.
 *
 * A socket that is closed while bytes of the client are unread resets the connection: a client that still writes
 * fails there ("broken pipe") and never reads why it was refused. So what it sends is read, and dropped, until it
 * has seen the answer and closes its side, for some seconds at most. */
#ifndef TARE_SERVER_HTTP_LINGER_H
#define TARE_SERVER_HTTP_LINGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { LINGER_MAX = 64, LINGER_S = 10 };

struct lingering {
    pthread_mutex_t lock; /* of all below */
    pthread_t thread;
    bool started, stopping;
    int wake_fd; /* eventfd; -1 before the first */
    int n;
    struct {
        int fd; /* a copy: the owner closes its own when it likes */
        int64_t until_ns;
    } all[LINGER_MAX];
};

void linger_init(struct lingering *l);

/* Read what comes on the socket `fd`, which its owner reads no more. Does nothing where LINGER_MAX are at it, or
 * descriptors or threads have run out. Any thread. */
void linger_add(struct lingering *l, int fd);

/* Closes the copies. */
void linger_fini(struct lingering *l);

#endif
