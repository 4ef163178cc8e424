/* SPDX-License-Identifier: MIT */
#include "server/filestream_route.h"
#include "base/diag.h"
#include "base/hash.h"
#include "server/ingest/filestream.h"
#include "server/quota.h"
#include "server/request.h"
#include "server/resolve/access.h"

#include <errno.h>
#include <stdlib.h>

enum { ARENA_BYTES = 1 << 20 };

/* Full, or out of room for now: the client waits and comes again. */
static void reply_failure(struct http_request *r, int rc, const struct err *e)
{
    const char *text = e->text[0] ? e->text : err_text(rc);
    if (rc == -EDQUOT && quota_may_ease(r->app))
        rc = TARE_ENOSPACE;
    switch (rc) {
    case TARE_EFULL:
        http_set_header(r, "Retry-After", "1");
        http_reply_error(r, 429, "the server is busy");
        break;
    case TARE_EFORMAT:
    case TARE_ELIMIT:
    case TARE_EINVAL:
        http_reply_error(r, 400, "%s", text);
        break;
    case TARE_ENOTFOUND:
        http_reply_error(r, 404, "%s", text);
        break;
    case TARE_EPERM:
        http_reply_error(r, 403, "%s", text);
        break;
    case -EDQUOT: /* for good, as far as a client can know: it keeps the rest for later and says so */
        http_reply_error(r, 413, "%s", text);
        break;
    case TARE_ENOSPACE:
        http_set_header(r, "Retry-After", "10");
        http_reply_error(r, 507, "%s", text);
        break;
    default:
        http_reply_error(r, 503, "%s", text);
    }
}

static void on_stored(int rc, const struct filestream_answer *answer, const struct err *e, void *arg)
{
    struct http_request *r = arg;
    struct buf b = {0};
    if (rc < 0) {
        reply_failure(r, rc, e);
        return;
    }
    filestream_put_answer(&b, answer);
    http_reply(r, 200, "application/json", &b);
}

static int find_run(struct http_request *r, int64_t *run, struct err *e)
{
    struct server *s = r->app;
    struct arena arena;
    struct run_row row;
    struct db_conn *c;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    arena_init(&arena, ARENA_BYTES);
    const struct accessor a = {c, &r->user, &arena, e};
    rc = access_route_run(&a, r, ACCESS_WRITE, &row);
    if (!rc)
        *run = row.id;
    db_read_end(c);
    arena_fini(&arena);
    return rc;
}

/* Clients that share a run name themselves, and each numbers its own lines. */
static int64_t writer_of(const struct http_request *r)
{
    const char *shared = http_header(r, "X-WANDB-USE-ASYNC-FILESTREAM");
    const char *id = http_header(r, "X-WANDB-ASYNC-CLIENT-ID");
    if (!shared || strcasecmp(shared, "true") != 0 || !id || !*id)
        return 0;
    return (int64_t)(hash_bytes(id, strlen(id), 0) >> 1 | 1);
}

void filestream_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct err e = {0};
    int64_t run = 0;
    int rc = find_run(r, &run, &e);
    if (!rc)
        rc = filestream_post(s->db, run, writer_of(r), &r->body, on_stored, r, &e);
    if (rc)
        reply_failure(r, rc, &e);
}
