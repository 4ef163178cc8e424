/* SPDX-License-Identifier: MIT */
/* Uploads:  PUT /storage/TOKEN/NAME.
 *
 * An upload that breaks off goes on where it stopped, for clients that know how. Places whose `uploadHeaders`
 * have "X-Tare-Resumable:1" understand, besides a PUT of everything:
 *
 *   X-Tare-Upload: KEY              with each of them. KEY is the client's own: 1 to 64 letters, digits, "-", "_",
 *                                   another for another state of the file
 *   Content-Range: bytes * / TOTAL  (no body, and without the blanks) how much is here?
 *                                     308, Range: bytes=0-N   the first N + 1 bytes; no Range: none
 *                                     200                     all, if Content-MD5 or the URL says of what
 *   Content-Range: bytes A-B/TOTAL  go on at byte A, which must be the next
 *                                     308 with Range          B was not the last
 *                                     503                     byte A is not the next: ask
 *                                     200, or why not         as after a PUT of everything
 *
 * (in the manner of the resumable uploads of Google Cloud Storage). Digests are those of the whole. What has
 * come is private: to have written it and to find it again wants a URL with the right to write this very place.
 * It is kept for a day, counts for the quota, and gives way to new uploads where room is scarce (partial.h).
 *
 * A client that runs on the same machine as the same user, where the URL ends in "#place=FOLDER" (percent-encoded), may
 * write the bytes into a file there, "local-" and 32 random hex digits, and then send a PUT without a body:
 *
 *   X-Tare-Local: NAME SIZE         200 or why not, as after a PUT of everything; the file is the server's now. 4xx: it
 *                                   may be sent as ever
 *
 * Or it makes a symbolic link there, "links-" and 32 hex digits, to a file of that size, which the server copies. Only for
 * files whose URL says which digest they have. */
#include "server/storage_impl.h"

#include "base/alloc.h"
#include "base/digest.h"
#include "base/number.h"
#include "server/artifact/artifact.h"
#include "server/blob/blob.h"
#include "server/http/range.h"
#include "server/partial.h"
#include "server/quota.h"
#include "server/resolve/access.h"
#include "server/server.h"
#include "server/token.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MAX_UPLOAD_GIB = 1024, MAX_KEY = 64, ADOPTIONS = 6 /* at once: a worker each reads a file */ };
static const int64_t max_upload = (int64_t)MAX_UPLOAD_GIB << 30;

/* Which bytes a request brings. */
struct upload_range {
    enum { RANGE_WHOLE, RANGE_ASK, RANGE_PART } kind;
    int64_t first, total; /* total -1: not told */
};

struct upload {
    struct http_request *r;
    struct arena arena;
    struct blob_put *put;      /* one that cannot go on; NULL once it is finished */
    struct partial_turn turn;  /* one that can */
    bool can_go_on;
    char local[BLOB_LOCAL];    /* the client has written it by itself */
    char key[BLOB_KEY];
    struct upload_range range;
    enum storage_kind kind;
    int64_t id;
    struct str name, md5;
    struct blob_info blob;
    int64_t now;
};

/* ---- what is asked ---- */

static bool read_claims(struct upload *u, struct str claims)
{
    int64_t kind;
    if (!str_eqz(storage_take_line(&claims), "put"))
        return false;
    struct str line = storage_take_line(&claims);
    if (number_parse_i64(line.p, line.n, &kind) != line.n || kind < 0 || kind > STORAGE_PART)
        return false;
    u->kind = (enum storage_kind)kind;
    line = storage_take_line(&claims);
    if (number_parse_i64(line.p, line.n, &u->id) != line.n)
        return false;
    u->md5 = storage_take_line(&claims);
    u->name = claims;
    return true;
}

static int read_range(const struct http_request *r, struct upload_range *range, struct err *e)
{
    const char *text = http_header(r, "Content-Range");
    int64_t first, last, total, n = r->content_length;
    *range = (struct upload_range){RANGE_WHOLE, 0, n};
    if (!text)
        return 0;
    if (!http_content_range_parse(text, &first, &last, &total) || total > max_upload)
        return err_set(e, TARE_EINVAL, "this Content-Range is not understood");
    *range = (struct upload_range){first < 0 ? RANGE_ASK : RANGE_PART, first, total};
    if (first < 0 ? n > 0 : n != last - first + 1)
        return err_set(e, TARE_EINVAL, "the body is not as long as its Content-Range says");
    return 0;
}

/* "NAME SIZE" */
static int read_local(const struct http_request *r, struct upload *u, const char *text, struct err *e)
{
    const char *space = strchr(text, ' ');
    size_t n = space ? (size_t)(space - text) : 0;
    struct str number = str_of(space ? space + 1 : "");
    int64_t size = -1;
    if (n != sizeof u->local - 1 || number.n == 0 || number_parse_i64(number.p, number.n, &size) != number.n || size < 0 ||
        size > max_upload || r->content_length > 0)
        return err_set(e, TARE_EINVAL, "this X-Tare-Local is not understood");
    memcpy(u->local, text, n);
    u->range = (struct upload_range){RANGE_WHOLE, 0, size};
    return 0;
}

static bool is_key(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return n > 0 && n <= MAX_KEY && !text[n];
}

/* Where what has come of it lies: the place it is written to, the client's key and the size make the name. */
static int make_key(struct upload *u, const char *text, struct err *e)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    AUTO_BUF all = {0};
    if (!is_key(text))
        return err_set(e, TARE_EINVAL, "this X-Tare-Upload is not understood");
    buf_printf(&all, "%d\n%lld\n%lld\n%s\n%.*s\n", (int)u->kind, (long long)u->id, (long long)u->range.total, text,
               STR_ARG(u->md5));
    if (buf_put_str(&all, u->name) < 0 || !EVP_Digest(all.data, all.len, raw, NULL, EVP_sha256(), NULL))
        return err_set(e, TARE_ENOMEM, "out of memory");
    digest_hex(u->key, raw, (BLOB_KEY - 1) / 2);
    u->can_go_on = true;
    return 0;
}

/* The digest that the bytes must have: from the token, else from the request's header. */
static const char *wanted_md5(struct http_request *r, struct upload *u)
{
    if (u->md5.n)
        return arena_strndup(&u->arena, u->md5.p, u->md5.n);
    return http_header(r, "Content-MD5");
}

/* ---- answers ---- */

static void refuse(struct http_request *r, int rc, const struct err *e)
{
    const struct server *s = r->app;
    if (rc == -EDQUOT && quota_may_ease(s))
        rc = TARE_ENOSPACE;
    if (rc == TARE_EFULL || rc == -EBUSY) {
        http_set_header(r, "Retry-After", rc == TARE_EFULL ? "1" : "0");
        http_reply_error(r, 503, "%s", e->text);
    } else {
        http_reply_error(r, storage_status(rc), "%s", e->text);
    }
}

/* Without a body, as S3 and GCS: wandb-core reads none, and would not use the connection again. */
static void reply_done(struct http_request *r, const char *md5)
{
    unsigned char raw[24];
    char etag[40] = "\"";
    EVP_DecodeBlock(raw, (const unsigned char *)md5, 24);
    digest_hex(etag + 1, raw, 16);
    strcpy(etag + 33, "\"");
    http_set_header(r, "ETag", etag);
    http_reply_str(r, 200, NULL, STR(""));
}

static void reply_come(struct http_request *r, int64_t bytes)
{
    char range[48];
    snprintf(range, sizeof range, "bytes=0-%lld", (long long)bytes - 1);
    if (bytes > 0)
        http_set_header(r, "Range", range);
    http_reply_str(r, 308, NULL, STR(""));
}

/* ---- the beginning ---- */

static int begin_once(struct http_request *r, struct upload *u, struct err *e)
{
    struct server *s = r->app;
    if (!u->can_go_on)
        return u->range.kind != RANGE_WHOLE ? err_set(e, TARE_EINVAL, "a Content-Range wants an X-Tare-Upload")
                                            : blob_put_begin(s->blobs, &u->put, max_upload, e);
    if (u->range.kind == RANGE_ASK)
        return 0;
    if (u->range.kind == RANGE_WHOLE)
        return partial_begin(s->partials, u->key, u->range.total, &u->turn, e);
    int rc = u->range.first == 0 ? partial_begin(s->partials, u->key, u->range.total, &u->turn, e)
                                 : partial_go_on(s->partials, u->key, u->range.first, &u->turn, e);
    return rc == TARE_ENOTFOUND ? err_set(e, -EBUSY, "%s", e->text) : rc;
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
    u->r = r;
    arena_init(&u->arena, 0);
    if (token_check(&u->arena, s->secret, r->params[0], &claims) < 0 || !read_claims(u, claims)) {
        http_reply_error(r, 403, "this upload URL is not valid, or has expired");
        return;
    }
    const char *key = http_header(r, "X-Tare-Upload"), *local = http_header(r, "X-Tare-Local");
    int rc = r->content_length > max_upload ? err_set(&e, TARE_ELIMIT, "a file may have at most %d GiB", MAX_UPLOAD_GIB)
                                            : read_range(r, &u->range, &e);
    if (!rc && local)
        rc = read_local(r, u, local, &e);
    else if (!rc && key && u->range.total >= 0)
        rc = make_key(u, key, &e);
    struct err full = {0};
    if (!rc && r->content_length > 0 && blobs_check_room(s->blobs, r->content_length, &full))
        partials_make_room(s->partials); /* if that is not enough, it is said when the room ends */
    if (!rc && u->range.total > 0 && blobs_check_room(s->blobs, u->range.total, &full) == -EDQUOT)
        rc = err_set(&e, -EDQUOT, "%s", full.text); /* as it would be in the middle, but before all those bytes */
    if (!rc && !local)
        rc = begin_once(r, u, &e);
    if (rc < 0)
        refuse(r, rc, &e);
}

void storage_put_data(struct http_request *r, const void *p, size_t n)
{
    struct upload *u = r->state;
    struct err e = {0};
    int rc = 0;
    if (u->put)
        rc = blob_put_write(u->put, p, n, &e);
    else if (u->turn.partial)
        rc = partial_write(&u->turn, p, n, &e);
    if (rc < 0)
        refuse(r, rc == TARE_ECONFLICT ? -EBUSY : rc, &e);
}

/* ---- the rows ---- */

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

/* "UPLOAD/7" */
static bool read_part(const struct upload *u, struct str *upload, int64_t *part)
{
    const char *slash = u->name.n ? memchr(u->name.p, '/', u->name.n) : NULL;
    size_t n = slash ? (size_t)(slash - u->name.p) : 0;
    *upload = str_make(u->name.p, n);
    return slash && number_parse_i64(slash + 1, u->name.n - n - 1, part) == u->name.n - n - 1;
}

static int write_part(struct db_conn *c, const struct upload *u, struct err *e)
{
    struct str upload;
    int64_t part = 0;
    if (!read_part(u, &upload, &part))
        return err_set(e, TARE_EINVAL, "not a part");
    int rc = blob_row_put(c, &u->blob, u->now, e);
    if (rc < 0)
        return rc;
    rc = db_exec(c, e,
                 "INSERT INTO upload_parts (upload_id, part_number, artifact_id, storage_path, md5, size_bytes, "
                 "created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upload_id, part_number) "
                 "DO UPDATE SET storage_path = excluded.storage_path, md5 = excluded.md5, "
                 "size_bytes = excluded.size_bytes",
                 DB_ARGS(db_s(upload), db_i(part), db_i(u->id), db_t(u->blob.name),
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

/* ---- how much is here? ---- */

static int count_done(struct db_conn *c, const struct upload *u, const char *md5, int64_t *n, struct err *e)
{
    struct str upload;
    int64_t part = 0;
    switch (u->kind) {
    case STORAGE_RUN_FILE:
        return db_get_int(c, e, n,
                          "SELECT count(*) FROM files WHERE run_id = $1 AND name = $2 AND md5 = $3 "
                          "AND size_bytes = $4 AND uploaded = 1",
                          DB_ARGS(db_i(u->id), db_s(u->name), db_t(md5), db_i(u->range.total)));
    case STORAGE_ARTIFACT_FILE:
        return db_get_int(c, e, n,
                          "SELECT count(*) FROM artifact_files f JOIN blobs b ON b.name = f.blob "
                          "WHERE f.artifact_id = $1 AND f.name = $2 AND b.md5 = $3 AND b.size_bytes = $4",
                          DB_ARGS(db_i(u->id), db_s(u->name), db_t(md5), db_i(u->range.total)));
    case STORAGE_PART:
        if (!read_part(u, &upload, &part))
            return 0;
        return db_get_int(c, e, n,
                          "SELECT count(*) FROM upload_parts WHERE artifact_id = $1 AND upload_id = $2 "
                          "AND part_number = $3 AND md5 = $4 AND size_bytes = $5",
                          DB_ARGS(db_i(u->id), db_s(upload), db_i(part), db_t(md5), db_i(u->range.total)));
    case STORAGE_MANIFEST:
        break;
    }
    return 0;
}

/* 1: this very content has come to this place already; the answer to it was lost on the way. */
static int find_done(struct server *s, const struct upload *u, const char *md5, struct err *e)
{
    struct db_conn *c;
    int64_t n = 0;
    if (!md5)
        return 0;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    rc = count_done(c, u, md5, &n, e);
    db_read_end(c);
    return rc < 0 ? rc : n > 0;
}

static void answer_look(struct http_request *r, struct upload *u)
{
    struct server *s = r->app;
    struct err e = {0};
    int64_t bytes = 0;
    const char *md5 = wanted_md5(r, u);
    int rc = find_done(s, u, md5, &e);
    if (rc == 0) {
        rc = partial_look(s->partials, u->key, u->range.total, &bytes, &u->turn, &e);
        partial_end(s->partials, &u->turn); /* it waits before the client is told to come */
        if (rc == 0)
            reply_come(r, bytes < PARTIAL_MIN_BYTES ? 0 : bytes);
    } else if (rc == 1) {
        reply_done(r, md5);
    }
    if (rc < 0)
        refuse(r, rc, &e);
}

/* ---- the end ---- */

/* NULL: it cannot be taken. Replies then. */
static struct blob_put *adopt(struct http_request *r, struct upload *u)
{
    static atomic_int n_at_it;
    struct server *s = r->app;
    struct blob_put *put = NULL;
    struct err e = {0};
    int rc = atomic_fetch_add(&n_at_it, 1) < ADOPTIONS ? blob_put_adopt(s->blobs, u->local, u->range.total, u->md5.n > 0, &put, &e)
                                                       : err_set(&e, TARE_EINVAL, "too many at once");
    atomic_fetch_sub(&n_at_it, 1);
    if (rc < 0)
        refuse(r, rc, &e);
    return rc < 0 ? NULL : put;
}

/* The file goes from its turn to the blobs; NULL: not yet, or not any more. Replies then. */
static struct blob_put *take_put(struct http_request *r, struct upload *u)
{
    struct server *s = r->app;
    struct blob_put *put = u->put;
    if (*u->local)
        return adopt(r, u); /* `u` may be gone, if it has replied */
    u->put = NULL;
    if (put)
        return put;
    int64_t bytes = partial_size(&u->turn);
    if (bytes == u->range.total && (put = partial_finish(&u->turn)))
        return put;
    partial_end(s->partials, &u->turn);
    if (bytes >= 0 && bytes < u->range.total)
        reply_come(r, bytes);
    else
        refuse(r, -EBUSY, &(struct err){.text = "another request goes on with this upload"});
    return NULL;
}

/* The row is durable, or not. On the writer's thread: a worker that waited for it would be woken for nothing
 * but this, and so many uploads as there are connections, not workers, are in one commit. */
static void on_row(int rc, const struct err *e, void *arg)
{
    struct upload *u = arg;
    struct http_request *r = u->r;
    struct server *s = r->app;
    partial_end(s->partials, &u->turn); /* it is_ending: nobody has it locked for long */
    if (rc < 0)
        refuse(r, rc, e);
    else
        reply_done(r, u->blob.md5); /* `u` may be gone from here on */
}

void storage_put_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct upload *u = r->state;
    struct err e = {0};
    if (u->range.kind == RANGE_ASK) {
        answer_look(r, u);
        return;
    }
    struct blob_put *put = take_put(r, u);
    if (!put)
        return;
    u->now = now_us();
    int rc = blob_put_end(put, wanted_md5(r, u), &u->blob, &e);
    if (rc >= 0)
        rc = db_submit(s->db, sizeof *u, upload_job, on_row, u);
    if (rc == TARE_EFULL) /* then this worker waits, and with it those behind */
        rc = db_write(s->db, upload_job, u, &e);
    else if (rc >= 0)
        return;
    on_row(rc, &e, u);
}

void storage_put_end(struct http_request *r)
{
    struct server *s = r->app;
    struct upload *u = r->state;
    if (!u)
        return;
    blob_put_abort(u->put);
    partial_end(s->partials, &u->turn);
    arena_fini(&u->arena);
    mem_free(u);
}
