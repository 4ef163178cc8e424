/* SPDX-License-Identifier: MIT */
/* Claims of the tokens, one to a line:
 *
 *   put: "put", kind, id, md5 (may be empty), name
 *   get: "get", blob, mimetype (may be empty) */
#include "server/storage.h"

#include "base/alloc.h"
#include "base/number.h"
#include "base/path.h"
#include "server/artifact/artifact.h"
#include "server/blob/blob.h"
#include "server/resolve/access.h"
#include "server/server.h"
#include "server/token.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { MAX_UPLOAD_GIB = 1024 };
static const char hex_digits[] = "0123456789abcdef";

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
    buf_printf(&claims, "put\n%d\n%lld\n%.*s\n", (int)kind, (long long)id, STR_ARG(md5));
    if (buf_put_str(&claims, name) < 0)
        return TARE_ENOMEM;
    return put_url(q, to, buf_str(&claims), STORAGE_UPLOAD_S, name);
}

int storage_get_url(struct request *q, struct buf *to, struct str blob, struct str name,
                    struct str mimetype)
{
    AUTO_BUF claims = {0};
    if (buf_printf(&claims, "get\n%.*s\n%.*s", STR_ARG(blob), STR_ARG(mimetype)) < 0)
        return TARE_ENOMEM;
    return put_url(q, to, buf_str(&claims), STORAGE_DOWNLOAD_S, name);
}

/* Cut the first line off *rest. */
static struct str take_line(struct str *rest)
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

/* ---- uploads ---- */

struct upload {
    struct arena arena;
    struct blob_put *put; /* NULL once it is finished */
    enum storage_kind kind;
    int64_t id;
    struct str name, md5;
    struct blob_info blob;
    int64_t now;
};

static int status_of(int rc)
{
    switch (rc) {
    case TARE_ECONFLICT:
    case TARE_EINVAL:
        return 400;
    case TARE_ELIMIT:
        return 413;
    case TARE_ENOSPACE:
        return 507; /* clients try such again: there may be room by then */
    case TARE_ENOTFOUND:
        return 404;
    default:
        return 500;
    }
}

static bool read_claims(struct upload *u, struct str claims)
{
    int64_t kind;
    if (!str_eqz(take_line(&claims), "put"))
        return false;
    struct str line = take_line(&claims);
    if (number_parse_i64(line.p, line.n, &kind) != line.n || kind < 0 || kind > STORAGE_PART)
        return false;
    u->kind = (enum storage_kind)kind;
    line = take_line(&claims);
    if (number_parse_i64(line.p, line.n, &u->id) != line.n)
        return false;
    u->md5 = take_line(&claims);
    u->name = claims;
    return true;
}

void storage_put_begin(struct http_request *r)
{
    struct server *s = r->app;
    struct str claims;
    struct err e = {0};
    struct upload *u = mem_calloc(1, sizeof *u);
    if (!u) {
        http_reply_error(r, 503, "out of memory");
        return;
    }
    r->state = u;
    arena_init(&u->arena, 0);
    if (token_check(&u->arena, s->secret, r->params[0], &claims) < 0 || !read_claims(u, claims)) {
        http_reply_error(r, 403, "this upload URL is not valid, or has expired");
        return;
    }
    int64_t most = (int64_t)MAX_UPLOAD_GIB << 30;
    int rc = r->content_length > most ? err_set(&e, TARE_ELIMIT, "a file may have at most %d GiB", MAX_UPLOAD_GIB)
                                      : blob_put_begin(s->blobs, &u->put, most, &e);
    if (rc < 0)
        http_reply_error(r, status_of(rc), "%s", e.text);
}

void storage_put_data(struct http_request *r, const void *p, size_t n)
{
    struct upload *u = r->state;
    struct err e = {0};
    int rc = u->put ? blob_put_write(u->put, p, n, &e) : 0;
    if (rc < 0)
        http_reply_error(r, status_of(rc), "%s", e.text);
}

static int write_run_file(struct db_conn *c, const struct upload *u, struct err *e)
{
    int rc = blob_row_put(c, &u->blob, u->now, e);
    if (rc < 0)
        return rc;
    rc = db_exec(c, e,
                 "INSERT INTO files (run_id, name, size_bytes, md5, blob, mimetype, uploaded, created_at, updated_at) "
                 "SELECT r.id, $2, $3, $4, $5, $6, 1, $7, $7 FROM runs r WHERE r.id = $1 AND r.deleted_at IS NULL "
                 "ON CONFLICT (run_id, name) DO UPDATE SET size_bytes = excluded.size_bytes, md5 = excluded.md5, "
                 "blob = excluded.blob, uploaded = 1, updated_at = excluded.updated_at",
                 DB_ARGS(db_i(u->id), db_s(u->name), db_i(u->blob.size_bytes), db_t(u->blob.md5),
                         db_t(u->blob.name), db_t(storage_mimetype(u->name)), db_i(u->now)));
    return rc == 0 ? err_set(e, TARE_ENOTFOUND, "the run has been deleted") : rc < 0 ? rc : 0;
}

static int write_part(struct db_conn *c, const struct upload *u, struct err *e)
{
    const char *slash = memchr(u->name.p, '/', u->name.n);
    int64_t part = 0;
    size_t n = slash ? (size_t)(slash - u->name.p) : 0;
    if (!slash || number_parse_i64(slash + 1, u->name.n - n - 1, &part) != u->name.n - n - 1)
        return err_set(e, TARE_EINVAL, "not a part");
    int rc = blob_row_put(c, &u->blob, u->now, e);
    if (rc < 0)
        return rc;
    rc = db_exec(c, e,
                 "INSERT INTO upload_parts (upload_id, part_number, artifact_id, storage_path, md5, size_bytes, "
                 "created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upload_id, part_number) "
                 "DO UPDATE SET storage_path = excluded.storage_path, md5 = excluded.md5, "
                 "size_bytes = excluded.size_bytes",
                 DB_ARGS(db_s(str_make(u->name.p, n)), db_i(part), db_i(u->id), db_t(u->blob.name),
                         db_t(u->blob.md5), db_i(u->blob.size_bytes), db_i(u->now)));
    return rc < 0 ? rc : 0;
}

static int upload_job(struct db_conn *c, void *arg, struct err *e)
{
    struct upload *u = arg;
    switch (u->kind) {
    case STORAGE_RUN_FILE:
        return write_run_file(c, u, e);
    case STORAGE_ARTIFACT_FILE:
        return artifact_file_stored(c, u->id, u->name, &u->blob, u->now, e);
    case STORAGE_MANIFEST:
        return artifact_manifest_stored(c, u->id, &u->blob, u->now, e);
    case STORAGE_PART:
        return write_part(c, u, e);
    }
    return TARE_EINVAL;
}

/* The digest that the bytes must have: from the token, else from the request's header. */
static const char *wanted_md5(struct http_request *r, struct upload *u)
{
    if (u->md5.n)
        return arena_strndup(&u->arena, u->md5.p, u->md5.n);
    return http_header(r, "Content-MD5");
}

void storage_put_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct upload *u = r->state;
    struct err e = {0};
    struct blob_put *put = u->put;
    u->put = NULL;
    u->now = now_us();
    int rc = blob_put_end(put, wanted_md5(r, u), &u->blob, &e);
    if (rc >= 0)
        rc = db_write(s->db, upload_job, u, &e);
    if (rc < 0) {
        http_reply_error(r, status_of(rc), "%s", e.text);
        return;
    }
    unsigned char raw[24];
    char etag[40] = "\"";
    EVP_DecodeBlock(raw, (const unsigned char *)u->blob.md5, 24);
    for (int i = 0; i < 16; i++) {
        etag[1 + 2 * i] = hex_digits[raw[i] >> 4];
        etag[2 + 2 * i] = hex_digits[raw[i] & 15];
    }
    strcpy(etag + 33, "\"");
    http_set_header(r, "ETag", etag);
    http_reply_str(r, 200, "application/json", STR("{}"));
}

void storage_put_end(struct http_request *r)
{
    struct upload *u = r->state;
    if (!u)
        return;
    blob_put_abort(u->put);
    arena_fini(&u->arena);
    mem_free(u);
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
        http_reply_error(r, status_of(rc), "%s", e.text);
        return;
    }
    /* What users uploaded must not run as part of this site. */
    http_set_header(r, "X-Content-Type-Options", "nosniff");
    http_set_header(r, "Content-Security-Policy", "sandbox");
    http_reply_fd(r, fd, size, mimetype && *mimetype ? mimetype : storage_mimetype(name), blob);
}

void storage_get_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct arena a;
    struct str claims;
    arena_init(&a, 0);
    if (token_check(&a, s->secret, r->params[0], &claims) < 0 || !str_eqz(take_line(&claims), "get")) {
        http_reply_error(r, 403, "this download URL is not valid, or has expired");
    } else {
        struct str blob = take_line(&claims);
        const char *name = arena_strndup(&a, blob.p, blob.n);
        const char *mimetype = arena_strndup(&a, claims.p, claims.n);
        if (name && mimetype)
            storage_reply_blob(r, name, r->n_params > 1 ? r->params[1] : STR(""), mimetype);
        else
            http_reply_error(r, 503, "out of memory");
    }
    arena_fini(&a);
}

/* The base64 of a digest in hex; false if it is none of 16 bytes. */
static bool hex_to_base64(struct str hex, char to[BLOB_MD5])
{
    unsigned char raw[16];
    if (hex.n != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        const char *hi = strchr(hex_digits, hex.p[2 * i]), *lo = strchr(hex_digits, hex.p[2 * i + 1]);
        if (!hi || !lo || !*hi || !*lo)
            return false;
        raw[i] = (unsigned char)((hi - hex_digits) << 4 | (lo - hex_digits));
    }
    EVP_EncodeBlock((unsigned char *)to, raw, 16);
    return true;
}

/* A file with this digest of any artifact below one entity (and project, unless NULL) that may be read. */
static void reply_by_digest(struct http_request *r, struct str entity, struct str project, struct str hex,
                            struct str name)
{
    struct arena a;
    struct request q;
    struct err e = {0};
    char digest[BLOB_MD5];
    AUTO_ROWS struct db_rows *rows = NULL;
    arena_init(&a, 0);
    request_init(&q, r->app, r, &a);
    struct accessor access = {request_reader(&q, &e), q.user, &a, &e};
    struct entity_row owner = {0};
    struct project_row p = {0};
    int rc = access.db ? 0 : TARE_EIO;
    if (rc == 0 && !hex_to_base64(hex, digest))
        rc = err_set(&e, TARE_EINVAL, "'%.*s' is no digest", STR_ARG(hex));
    if (rc == 0)
        rc = project.p ? access_project(&access, entity, project, ACCESS_READ, &p)
                       : access_entity(&access, entity, ACCESS_WRITE, &owner);
    if (rc == 0)
        rc = db_first(access.db, &e, &rows,
                      "SELECT f.blob FROM artifact_files f JOIN artifacts a ON a.id = f.artifact_id "
                      "JOIN artifact_collections s ON s.id = a.sequence_id JOIN projects p ON p.id = s.project_id "
                      "WHERE f.digest = $1 AND f.blob IS NOT NULL AND a.state <> 'DELETED' "
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
