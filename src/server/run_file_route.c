/* SPDX-License-Identifier: MIT */
#include "server/run_file_route.h"
#include "server/blob/blob.h"
#include "server/request.h"
#include "server/resolve/access.h"
#include "server/storage.h"

#include <stdio.h>

enum { ARENA_BYTES = 1 << 20 };

/* 0 and the name of the blob. */
static int find_run_file(struct http_request *r, char blob[BLOB_NAME], struct err *e)
{
    struct server *s = r->app;
    struct arena arena;
    struct run_row run;
    struct db_conn *c;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    arena_init(&arena, ARENA_BYTES);
    const struct accessor a = {c, &r->user, &arena, e};
    struct db_rows *rows = NULL;
    rc = access_route_run(&a, r, ACCESS_READ, &run);
    if (!rc)
        rc = db_first(c, e, &rows, "SELECT blob FROM files WHERE run_id = $1 AND name = $2 AND blob IS NOT NULL",
                      DB_ARGS(db_i(run.id), db_s(r->params[3])));
    if (rc == 1)
        snprintf(blob, BLOB_NAME, "%s", db_text(rows, 0));
    else if (!rc)
        rc = err_set(e, TARE_ENOTFOUND, "not found");
    db_rows_end(rows);
    db_read_end(c);
    arena_fini(&arena);
    return rc < 0 ? rc : 0;
}

void run_file_handle(struct http_request *r)
{
    char blob[BLOB_NAME];
    struct err e = {0};
    int rc = find_run_file(r, blob, &e);
    if (rc)
        http_reply_error(r, access_status(rc), "%s", e.text);
    else
        storage_reply_blob(r, blob, r->params[3], NULL);
}
