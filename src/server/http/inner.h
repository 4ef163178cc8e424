/* SPDX-License-Identifier: MIT */
/* What the files of http/ share: a request with its libmicrohttpd side. */
#ifndef TARE_SERVER_HTTP_INNER_H
#define TARE_SERVER_HTTP_INNER_H

#include "server/http/http.h"
#include "server/http/linger.h"
#include "server/http/workers.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum http_phase {
    CONN_IDLE,    /* before the end of a request's headers */
    CONN_BODY,
    CONN_ANSWER,  /* the answer is being made */
    CONN_SENDING,
};

/* An open connection, for the watch on clients. Under http_server.lock. */
struct http_conn {
    int fd;
    int64_t since_ns;     /* when the present phase began */
    int64_t received;     /* bytes of the body in the present request */
    int64_t acked_before; /* CONN_SENDING: bytes_acked at the first look; -1: not looked yet */
    enum http_phase phase;
    bool trusted;         /* a request came with a key, or a right of its own */
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
    atomic_bool ending;     /* what is asked now is refused */
    pthread_t watcher;
    struct lingering linger;
    struct budget memory; /* of all requests together */
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
    size_t kept;       /* of the body, taken from server->memory */
    bool dispatched, queued, bad;
    char peer[64];
};

/* 0, or the status of a refusal with its reason. Takes r->content_length. */
int http_check_headers(struct http_request *r, const char **why);
/* Does a page of another site make the browser of somebody who has logged in here send this? Reading is not
 * meant: the browser keeps the answer from that page. */
bool http_is_cross_site(const struct http_request *r);

/* conns.c; any `c` may be NULL. */
void http_conn_phase(struct http_server *s, struct http_conn *c, enum http_phase phase);
void http_conn_received(struct http_server *s, struct http_conn *c, size_t n);
void http_conn_trust(struct http_server *s, struct http_conn *c);
void http_on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
                        enum MHD_ConnectionNotificationCode code);
void *http_watch_main(void *server);
/* Pure; `moved`: bytes in the present phase, -1: not known. */
bool http_conn_is_slow(const struct http_conn *c, int64_t now_ns, int64_t moved, bool memory_is_short);

/* Half of it is in use: the third quarter is for requests that have begun, the last for small ones (budget.h). */
static inline bool http_memory_is_short(struct http_server *s)
{
    return atomic_load(&s->memory.used_bytes) > s->memory.max_bytes / 2;
}

/* Unpack a gzip body in place. What it takes from `memory` is added to *taken, also on failure.
 * Expected: TARE_EFORMAT, TARE_ELIMIT (more than `max`), TARE_EFULL (more than `memory` has), TARE_ENOMEM. */
int http_gunzip(struct buf *body, size_t max, struct budget *memory, size_t *taken);

#endif
