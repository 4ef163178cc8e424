/* SPDX-License-Identifier: MIT */
/* What the files of http/ share: a request with its libmicrohttpd side. */
#ifndef TARE_SERVER_HTTP_INNER_H
#define TARE_SERVER_HTTP_INNER_H

#include "server/http/http.h"
#include "server/http/workers.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* An open connection, for the watch on slow clients. Under http_server.lock. */
struct http_conn {
    int fd;
    int64_t since_ns;  /* when the present phase began */
    int64_t received;  /* bytes of the body in the present request */
    enum { CONN_IDLE, CONN_BODY, CONN_ANSWER } phase;
    bool killed;
    bool has_hung_up;  /* at the last look: nothing more of the body can come */
    struct http_conn *prev, *next;
};

struct http_server {
    struct http_options o;
    struct MHD_Daemon *daemon;
    struct workers *workers;
    int listen_fd, port;
    char address[160];
    char *unix_path; /* to remove at the end */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a request ended, or stopping */
    struct http_conn *conns;
    int n_conns, n_requests;
    bool draining;          /* somebody waits for n_requests to be 0 */
    bool stopping;
    pthread_t watcher;
    atomic_size_t kept_bytes;
    atomic_int n_waiting;   /* requests that are REQ_WAITING, or just being resumed */
};

/* Who is the request with? The reply and the HTTP thread may meet at any moment. */
enum http_state {
    REQ_READING, /* the HTTP thread reads it or is inside a callback */
    REQ_WAITING, /* suspended until the reply */
    REQ_REPLIED, /* `response` is there */
};

struct http_inner {
    struct http_request r;
    struct http_server *server;
    struct MHD_Connection *conn;
    struct http_conn *client;
    struct arena arena;
    struct work work;
    _Atomic(int) state;
    struct MHD_Response *response;
    struct header {
        const char *name, *value;
        struct header *next;
    } *headers;
    int status;
    int64_t reply_bytes;
    int64_t swallowed; /* bytes of the body dropped after a reply */
    size_t kept;       /* counted in server->kept_bytes */
    bool dispatched, queued, bad;
    char peer[64];
};

/* Unpack a gzip body in place. 0, TARE_EFORMAT, TARE_ELIMIT (more than `max`), TARE_ENOMEM. */
int http_gunzip(struct buf *body, size_t max);

#endif
