/* SPDX-License-Identifier: MIT */
#include "server/request.h"
#include "base/clock.h"

void request_init(struct request *q, struct server *s, struct http_request *http, struct arena *arena)
{
    *q = (struct request){.server = s, .http = http, .user = &http->user, .arena = arena};
}

void request_fini(struct request *q)
{
    db_read_end(q->reader);
    q->reader = NULL;
}

struct db_conn *request_reader(struct request *q, struct err *e)
{
    if (!q->reader && db_read_begin(q->server->db, &q->reader, e))
        q->reader = NULL;
    return q->reader;
}

struct guarded {
    db_job_fn job;
    void *arg;
    const struct arena *arena;
};

/* What the job could not keep would be written as nothing. */
static int guarded_job(struct db_conn *c, void *arg, struct err *e)
{
    struct guarded *g = arg;
    int rc = g->job(c, g->arg, e);
    return rc >= 0 && g->arena->failed ? err_set(e, TARE_EFULL, "the server is busy") : rc;
}

int request_write(struct request *q, db_job_fn job, void *arg, struct err *e)
{
    struct guarded g = {job, arg, q->arena};
    request_fini(q);
    return db_write(q->server->db, guarded_job, &g, e);
}

const char *request_base_url(struct request *q)
{
    AUTO_BUF b = {0};
    if (q->server->options.base_url)
        return q->server->options.base_url;
    if (!q->base_url) {
        http_base_url(q->http, &b);
        q->base_url = arena_strndup(q->arena, b.data ? b.data : "", b.len);
    }
    return q->base_url ? q->base_url : "";
}

int64_t now_us(void)
{
    return clock_wall_ns() / 1000;
}
