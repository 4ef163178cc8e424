/* SPDX-License-Identifier: MIT */
/* One request while it is being answered: who asks, the snapshot that is read, memory. gql_app()
 * gives it to resolvers. One worker thread. */
#ifndef TARE_SERVER_REQUEST_H
#define TARE_SERVER_REQUEST_H

#include "base/arena.h"
#include "server/http/http.h"
#include "server/server.h"
#include "server/store/db.h"

struct request {
    struct server *server;
    struct http_request *http;
    const struct http_user *user;
    struct arena *arena;
    struct db_conn *reader; /* request_reader */
    char *base_url;         /* request_base_url */
    int nearness;           /* storage.c: > 0 the client is on this machine, < 0 not, 0 not yet looked */
};

void request_init(struct request *q, struct server *s, struct http_request *http, struct arena *arena);
void request_fini(struct request *q); /* gives the snapshot back */

/* The request's snapshot, taken at the first call; NULL with `e` filled when there is none. */
struct db_conn *request_reader(struct request *q, struct err *e);

/* Run a job on the writer and wait until it is durable; later reads see it. As db_write; TARE_EFULL if the request's
 * arena had no room for something. */
int request_write(struct request *q, db_job_fn job, void *arg, struct err *e);

/* "http://host:port", as the client reached us: for absolute URLs. Never NULL. */
const char *request_base_url(struct request *q);

/* Microseconds since the epoch. */
int64_t now_us(void);

#endif
