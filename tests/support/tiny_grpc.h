/* SPDX-License-Identifier: MIT */
/* A little gRPC server for tests: HTTP/2 without TLS, one connection after the other, unary calls whose
 * request has one text in its first field. Headers it gets are not decoded. */
#ifndef TARE_TESTS_TINY_GRPC_H
#define TARE_TESTS_TINY_GRPC_H

#include "base/buf.h"

#include <pthread.h>
#include <stdatomic.h>

struct tiny_grpc {
    /* On the server's thread: the answer's message, and its status; -1: no answer at all. */
    int (*reply)(const char *name, struct buf *message);
    int fd, port;
    pthread_t thread;
    atomic_int n_calls;
};

void tiny_grpc_start(struct tiny_grpc *g); /* it stays for the life of the process */

#endif
