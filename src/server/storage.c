/* SPDX-License-Identifier: MIT */
/* Claims of the tokens, one to a line:
 *
 *   put: "put", kind, id, md5 (may be empty), name
 *   get: "get", blob, mimetype (may be empty) */
#include "server/storage_impl.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/number.h"
#include "base/path.h"
#include "server/artifact/artifact.h"
#include "server/blob/blob.h"
#include "server/resolve/access.h"
#include "server/server.h"
#include "server/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- clients on the same machine ---- */

/* By its address, and by the name that it calls us; not by way of a proxy (which may tell of neither, but then
 * --base-url does). */
static bool is_near(struct request *q)
{
    static const char *const forwarded[] = {"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via"};
    const struct http_request *r = q->http;
    if (q->nearness)
        return q->nearness > 0;
    const char *peer = http_peer(r), *host = http_header(r, "Host");
    bool is_host = host && (strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 || strncmp(host, "[::1]", 5) == 0);
    const struct server_options *o = &q->server->options;
    bool is = is_host && !o->no_local_files && !o->base_url && (strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++)
        is = is && !http_header(r, forwarded[i]);
    q->nearness = is ? 1 : -1;
    return is;
}

static void put_place(struct request *q, struct buf *to)
{
    struct str folder = blobs_staging(q->server->blobs);
    if (folder.n == 0 || !is_near(q))
        return;
    buf_puts(to, "#place=");
    buf_put_percent(to, folder, "/");
}

/* ---- URLs ---- */

static int put_url(struct request *q, struct buf *to, struct str claims, int64_t seconds, struct str name)
{
    buf_puts(to, request_base_url(q));
    buf_puts(to, "/storage/");
    if (token_put(to, q->server->secret, claims, now_us() / 1000000 + seconds) < 0)
        return TARE_ENOMEM;
    buf_putc(to, '/');
    return http_url_encode(to, path_is_safe(name) ? name : path_base(name), true);
}

int storage_put_url(struct request *q, struct buf *to, enum storage_kind kind, int64_t id, struct str name,
                    struct str md5)
{
    AUTO_BUF claims = {0};
    if (md5.n && memchr(md5.p, '\n', md5.n))
        return TARE_EINVAL; /* claims are lines */
    buf_printf(&claims, "put\n%d\n%lld\n%.*s\n", (int)kind, (long long)id, STR_ARG(md5));
    if (buf_put_str(&claims, name) < 0)
        return TARE_ENOMEM;
    int rc = put_url(q, to, buf_str(&claims), STORAGE_UPLOAD_S, name);
    if (rc == 0)
        put_place(q, to);
    return rc;
}

int storage_get_url(struct request *q, struct buf *to, struct str blob, struct str name,
                    struct str mimetype)
{
    AUTO_BUF claims = {0};
    if (buf_printf(&claims, "get\n%.*s\n%.*s", STR_ARG(blob), STR_ARG(mimetype)) < 0)
        return TARE_ENOMEM;
    return put_url(q, to, buf_str(&claims), STORAGE_DOWNLOAD_S, name);
}

void storage_put_file_hint(struct request *q, struct buf *to, const char *blob)
{
    AUTO_BUF path = {0};
    if (!is_near(q) || !blob_put_path(q->server->blobs, blob, &path))
        return;
    buf_puts(to, "&file=");
    buf_put_percent(to, buf_str(&path), "/");
}

struct str storage_take_line(struct str *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct str line = end ? str_make(rest->p, (size_t)(end - rest->p)) : *rest;
    *rest = end ? str_make(end + 1, rest->n - line.n - 1) : str_make(rest->p + rest->n, 0);
    return line;
}

const char *storage_mimetype(struct str name)
{
    static const char *const types[][2] = {
        {".json", "application/json"}, {".png", "image/png"},     {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},         {".svg", "image/svg+xml"}, {".txt", "text/plain"}, {".log", "text/plain"},
        {".yaml", "text/yaml"},        {".html", "text/html"},    {".csv", "text/csv"},   {".mp4", "video/mp4"},
        {".wav", "audio/wav"},         {".py", "text/x-python"},  {".md", "text/markdown"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ends(name, str_of(types[i][0])))
            return types[i][1];
    return "application/octet-stream";
}

int storage_status(int rc)
{
    switch (rc) {
    case TARE_ECONFLICT:
    case TARE_EINVAL:
        return 400;
    case TARE_ELIMIT:
    case -EDQUOT: /* clients give up at once and say so */
        return 413;
    case TARE_ENOSPACE:
        return 507; /* clients try such again: there may be room by then */
    case TARE_ENOTFOUND:
        return 404;
    case TARE_ECANCELLED:
        return 503;
    default:
        return 500;
    }
}

/* ---- downloads ---- */

void storage_reply_blob(struct http_request *r, const char *blob, struct str name, const char *mimetype)
{
    struct server *s = r->app;
    struct err e = {0};
    int fd;
    int64_t size, first = 0, n = -1;
    if (http_header(r, "Range") || http_header(r, "If-None-Match") || str_eq(r->method, STR("HEAD")))
        http_wanted_bytes(r, blob_size(s->blobs, blob), blob, &first, &n);
    int rc = blob_open_part(s->blobs, blob, first, n, &fd, &size, &e);
    if (rc < 0) {
        http_reply_error(r, storage_status(rc), "%s", e.text);
        return;
    }
    /* What users uploaded must not run as part of this site. */
    http_set_header(r, "Content-Security-Policy", "sandbox");
    http_reply_fd(r, fd, size, mimetype && *mimetype ? mimetype : storage_mimetype(name), blob);
}

void storage_get_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct arena a;
    struct str claims;
    arena_init(&a, 0);
    if (token_check(&a, s->secret, r->params[0], &claims) < 0 || !str_eqz(storage_take_line(&claims), "get")) {
        http_reply_error(r, 403, "this download URL is not valid, or has expired");
    } else {
        struct str blob = storage_take_line(&claims);
        const char *name = arena_strndup(&a, blob.p, blob.n);
        const char *mimetype = arena_strndup(&a, claims.p, claims.n);
        if (name && mimetype)
            storage_reply_blob(r, name, r->n_params > 1 ? r->params[1] : STR(""), mimetype);
        else
            http_reply_error(r, 503, "out of memory");
    }
    arena_fini(&a);
}

/* A file with this digest of any artifact below one entity (and project, unless NULL) that may be read. */
static void reply_by_digest(struct http_request *r, struct str entity, struct str project, struct str hex,
                            struct str name)
{
    struct arena a;
    struct request q;
    struct err e = {0};
    unsigned char raw[16];
    char digest[BLOB_MD5];
    AUTO_ROWS struct db_rows *rows = NULL;
    arena_init(&a, 0);
    request_init(&q, r->app, r, &a);
    struct accessor access = {request_reader(&q, &e), q.user, &a, &e};
    struct entity_row owner = {0};
    struct project_row p = {0};
    int rc = access.db ? 0 : TARE_EIO;
    if (rc == 0 && digest_from_hex(raw, sizeof raw, hex))
        base64_text(digest, raw, sizeof raw);
    else if (rc == 0)
        rc = err_set(&e, TARE_EINVAL, "'%.*s' is no digest", STR_ARG(hex));
    if (rc == 0)
        rc = project.p ? access_project(&access, entity, project, ACCESS_READ, &p)
                       : access_entity(&access, entity, ACCESS_WRITE, &owner);
    if (rc == 0)
        rc = db_first(access.db, &e, &rows,
                      "SELECT f.blob FROM artifact_files f JOIN artifacts a ON a.id = f.artifact_id "
                      "JOIN artifact_collections s ON s.id = a.sequence_id JOIN projects p ON p.id = s.project_id "
                      "WHERE f.digest = $1 AND f.blob IS NOT NULL "
                      "AND (p.id = $2 OR p.entity_id = $3) LIMIT 1",
                      DB_ARGS(db_t(digest), db_i(p.id), db_i(project.p ? -1 : owner.id)));
    if (rc == 1)
        storage_reply_blob(r, db_text(rows, 0), name, NULL);
    else
        http_reply_error(r, rc == 0 ? 404 : access_status(rc), "%s", rc == 0 ? "there is no such file" : e.text);
    db_rows_end(rows);
    rows = NULL;
    request_fini(&q);
    arena_fini(&a);
}

void storage_artifact_v1_handle(struct http_request *r)
{
    reply_by_digest(r, r->params[0], (struct str){0}, r->params[1], STR(""));
}

/* {region}/{entity}/{project}/{collection}/{birthArtifactID}/{md5hex}/{name}; newer clients have one more
 * id before the birth place. */
void storage_artifact_v2_handle(struct http_request *r)
{
    int n = r->n_params;
    reply_by_digest(r, r->params[1], r->params[2], r->params[n - 2], r->params[n - 1]);
}
