/* SPDX-License-Identifier: MIT */
/* A little HTTP server for tests, a thread a connection, that answers well or badly:
 *
 *   /hello            "hello"                     /echo       the body of the request
 *   /head             the request's head          /big?N      N bytes, byte i being i % 251
 *   /status?N         status N, a line of HTML    /slow?N     "slow" after N ms
 *   /redirect?URL     302 to URL                  /gzip       "hello" compressed
 *   /truncated        half of what it promises    /reset      the connection is reset
 *   /half_head        not even all of the headers /continue   "100 Continue", and hangs up
 *   /hole             no answer, ever             /drip?N     N bytes, one each 20 ms
 *   /garbage          no HTTP                     /once       answers, then hangs up although it
 *                                                             promised to stay
 * The digest of a body sent to /sum comes back as decimal: see tiny_sum. `reply`, if set, is asked
 * first. */
#ifndef TARE_TESTS_TINY_SERVER_H
#define TARE_TESTS_TINY_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to answer; called on a connection's thread. */
struct tiny_reply {
    int status;
    char headers[512]; /* "Name: value\r\n" ... */
    char body[4096];
};

struct tiny_server {
    /* False: answer as above. `head` and `body` are NUL-terminated. */
    bool (*reply)(const char *path, const char *head, const char *body, struct tiny_reply *to);
    int fd, port;
    pthread_t thread;
    atomic_int n_connections, n_open, n_requests;
    atomic_int most_open;
    atomic_bool stop;
};

void tiny_server_start(struct tiny_server *s);
void tiny_server_stop(struct tiny_server *s);

/* FNV-1a, going on from `sum` (0 to begin). */
uint64_t tiny_sum(uint64_t sum, const void *bytes, size_t n);

#endif
