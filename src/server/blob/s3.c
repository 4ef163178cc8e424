/* SPDX-License-Identifier: MIT */
/* Blobs in a bucket of any store that speaks S3's protocol.
 *
 *   s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&timeout=SECONDS&part=MIB]
 *
 *   endpoint  http(s)://HOST[:PORT] of the store, which then finds the bucket in the path; without it
 *             $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, or Amazon's own, with the bucket in the host name
 *   region    else $AWS_REGION, $AWS_DEFAULT_REGION, us-east-1
 *   timeout   give a request up after so long without a byte (30)
 *   part      upload larger files in parts of so many MiB (64)
 *
 * The keys are $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY (and $AWS_SESSION_TOKEN): not in the URL, which
 * every user of the machine can see.
 *
 * An upload is staged in a file without a name (in $TMPDIR, else /var/tmp), so nothing is left of it when
 * the server dies. Then HEAD tells whether the store has the bytes already, else they are PUT. A blob's name
 * is the SHA-256 that a signed PUT announces, so the store itself refuses bytes that changed on the way. Files
 * over one part go up in parts, each with its own SHA-256. Reading fetches what is asked for into such a file
 * too; a whole blob's bytes are hashed on the way in and compared with its name. Memory is bounded by libcurl's
 * buffers.
 *
 * Requests that fail for a reason that passes (no connection, 5xx, 429, too slow, cut off) are made again, four
 * times in all within some seconds; the client that waits tries again by itself after that. */
#include "server/blob/inner.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/random.h"
#include "server/blob/s3_url.h"
#include "base/sigv4.h"
#include "base/xml.h"
#include "server/remote/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_URL = 2048, TRIES = 4, MAX_PARTS = 10000 };

static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/* ---- one request ---- */

struct op {
    const char *method;
    char path[2 * S3_KEY + 96]; /* from '/' on, needs no escapes */
    const char *query;      /* escaped and in order; NULL: none */
    const char *hash;       /* of the body; NULL: there is none */
    struct str body;
    int fd;                 /* or: bytes of a file */
    int64_t at, n;
    const char *range;      /* "bytes=0-9" */
    int (*on_body)(void *arg, const void *p, size_t n);
    void (*restart)(void *arg); /* before each try */
    void *arg;
    const char *doing;      /* for the error: "reading", … */
};

static void path_of(const struct s3 *s, const char *name, struct op *op)
{
    snprintf(op->path, sizeof op->path, "%s/%s%.2s/%s", s->base, s->prefix, name, name);
}

/* Sign, and list the headers as libcurl wants them. */
static int make_headers(const struct s3 *s, const struct op *op, struct buf lines[6], struct remote_request *r)
{
    char time[SIGV4_TIME];
    struct sigv4 sign = {.method = op->method, .path = op->path, .query = op->query ? op->query : "",
                         .payload_hash = op->hash ? op->hash : empty_hash, .key_id = s->key_id, .secret = s->secret,
                         .region = s->region, .unix_s = clock_wall_ns() / 1000000000};
    int n = 0;
    sigv4_time(sign.unix_s, time);
#define ADD(header, text) (sign.headers[sign.n_headers].name = header, sign.headers[sign.n_headers++].value = text)
    ADD("host", s->host);
    if (op->range)
        ADD("range", op->range);
    ADD("x-amz-content-sha256", sign.payload_hash);
    ADD("x-amz-date", time);
    if (*s->token)
        ADD("x-amz-security-token", s->token);
#undef ADD
    buf_puts(&lines[n], "Authorization: ");
    sigv4_authorization(&sign, &lines[n++]);
    for (int i = 1; i < sign.n_headers; i++) /* libcurl writes Host itself */
        buf_printf(&lines[n++], "%s: %s", sign.headers[i].name, sign.headers[i].value);
    for (int i = 0; i < n; i++)
        if (!(r->headers[i] = buf_z(&lines[i])))
            return TARE_ENOMEM;
    return 0;
}

static int send_once(const struct s3 *s, const struct op *op, struct remote_answer *answer, struct err *e)
{
    char url[MAX_URL + 2 * S3_KEY];
    struct buf lines[6] = {{0}};
    struct remote_request r = {.method = op->method, .url = url, .body = op->body, .body_fd = op->fd, .body_at = op->at,
                               .body_bytes = op->n, .on_body = op->on_body, .arg = op->arg, .stall_s = s->stall_s};
    *answer = (struct remote_answer){0};
    snprintf(url, sizeof url, "%s%s%s%s", s->origin, op->path, op->query ? "?" : "", op->query ? op->query : "");
    int rc = make_headers(s, op, lines, &r);
    if (op->restart)
        op->restart(op->arg);
    if (rc == 0)
        rc = remote_send(&r, answer, e);
    for (int i = 0; i < 6; i++)
        buf_fini(&lines[i]);
    return rc;
}

static bool passes(int rc, int status)
{
    return rc == TARE_EIO || rc == TARE_ETIMEOUT || (rc == 0 && (status >= 500 || status == 429));
}

static void wait_before(int try)
{
    int64_t ms = 100ll << (2 * try);
    ms += random_u32() % (uint32_t)ms;
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* What the store says is wrong: the text of <Code> in its XML. */
static struct str error_code(struct str xml)
{
    const char *at = xml.n ? memmem(xml.p, xml.n, "<Code>", 6) : NULL;
    const char *end = at ? memchr(at + 6, '<', (size_t)(xml.p + xml.n - at - 6)) : NULL;
    return end && end - at < 70 ? str_make(at + 6, (size_t)(end - at - 6)) : STR("");
}

/* Make the request until it is answered with 2xx or for good. 0; TARE_ENOTFOUND for 404; TARE_EPERM for 401
 * and 403. `answer` is the caller's also on failure. */
static int send_op(const struct s3 *s, const struct op *op, struct remote_answer *answer, struct err *e)
{
    struct err last;
    int rc = 0;
    for (int try = 0; try < TRIES; try++) {
        if (try) {
            remote_answer_fini(answer);
            wait_before(try - 1);
        }
        last = (struct err){0};
        rc = send_once(s, op, answer, &last);
        if (!passes(rc, answer->status))
            break;
    }
    if (rc < 0)
        return err_set(e, rc, "the file store: %s: %s", op->doing, last.text[0] ? last.text : err_text(rc));
    if (answer->status / 100 == 2)
        return 0;
    struct str code = error_code(buf_str(&answer->text));
    return err_set(e, answer->status == 404 ? TARE_ENOTFOUND : answer->status == 401 || answer->status == 403 ? TARE_EPERM : TARE_EIO,
                   "the file store: %s: status %d %.*s", op->doing, answer->status, STR_ARG(code));
}

/* The same where the answer's body does not matter. */
static int send_plain(const struct s3 *s, const struct op *op, struct err *e)
{
    struct remote_answer answer;
    int rc = send_op(s, op, &answer, e);
    remote_answer_fini(&answer);
    return rc;
}

/* ---- files without a name ---- */

static int nameless_file(const char *dir, struct err *e)
{
    int fd = os->open(dir, O_RDWR | O_TMPFILE, 0600);
    if (fd >= 0)
        return fd;
    char path[PATH_MAX]; /* a file system that has no such files */
    snprintf(path, sizeof path, "%s/tare-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return blob_fail(e, -errno, "cannot make a file in", dir);
    os->unlink(path);
    return fd;
}

static int stage(struct blobs *b, const char *key, char tmp[PATH_MAX], struct err *e)
{
    *tmp = 0;
    return nameless_file(b->dir, e);
}

/* ---- uploads ---- */

static int64_t size_of(struct blobs *b, const char *name, struct err *e)
{
    struct op op = {.method = "HEAD", .doing = "looking for a file"};
    struct remote_answer answer;
    path_of(b->place, name, &op);
    int rc = send_op(b->place, &op, &answer, e);
    remote_answer_fini(&answer);
    return rc == TARE_ENOTFOUND ? -1 : rc < 0 ? rc : answer.content_length;
}

static int put_whole(const struct s3 *s, const struct blob_put *p, const char *name, struct err *e)
{
    struct op op = {.method = "PUT", .hash = name, .doing = "keeping a file", .fd = p->fd, .n = p->size_bytes};
    if (p->size_bytes == 0) {
        op.fd = 0;
        op.body = STR("");
    }
    path_of(s, name, &op);
    return send_plain(s, &op, e);
}

static int hash_part(int fd, int64_t at, int64_t n, char hex[2 * SHA256_BYTES + 1], struct err *e)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    char *piece = mem_alloc(BLOB_COPY_BYTES);
    int rc = sha && piece && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) ? 0 : TARE_ENOMEM;
    while (rc == 0 && n > 0) {
        ssize_t got = os->pread(fd, piece, n < BLOB_COPY_BYTES ? (size_t)n : BLOB_COPY_BYTES, at);
        if (got <= 0) {
            rc = got < 0 ? (int)got : TARE_EIO;
            break;
        }
        EVP_DigestUpdate(sha, piece, (size_t)got);
        at += got;
        n -= got;
    }
    if (rc == 0) {
        EVP_DigestFinal_ex(sha, raw, NULL);
        digest_hex(hex, raw, SHA256_BYTES);
    }
    EVP_MD_CTX_free(sha);
    mem_free(piece);
    return rc ? err_set(e, rc, "reading the staged file: %s", err_text(rc)) : 0;
}

struct multipart {
    const struct s3 *s;
    const struct blob_put *p;
    struct op op;      /* the path */
    struct str id;     /* of the upload, escaped */
    struct buf ids, list; /* its memory; the XML that completes it */
};

static int begin_multipart(struct multipart *m, struct err *e)
{
    struct remote_answer answer;
    struct op op = m->op;
    struct str text, id = {0};
    op.method = "POST";
    op.query = "uploads=";
    op.body = STR("");
    int rc = send_op(m->s, &op, &answer, e);
    text = buf_str(&answer.text);
    if (rc == 0 && (!xml_next(&text, "UploadId", &id) || id.n > 1024))
        rc = err_set(e, TARE_EPROTO, "the file store: it gave no id for an upload in parts");
    buf_put_percent(&m->ids, id, "");
    m->id = buf_str(&m->ids);
    remote_answer_fini(&answer);
    return rc;
}

static int put_part(struct multipart *m, int number, int64_t at, int64_t n, struct err *e)
{
    char hash[2 * SHA256_BYTES + 1];
    AUTO_BUF query = {0};
    struct remote_answer answer;
    struct op op = m->op;
    int rc = hash_part(m->p->fd, at, n, hash, e);
    if (rc)
        return rc;
    buf_printf(&query, "partNumber=%d&uploadId=%.*s", number, STR_ARG(m->id));
    op.method = "PUT";
    op.query = buf_z(&query);
    op.hash = hash;
    op.fd = m->p->fd;
    op.at = at;
    op.n = n;
    rc = op.query ? send_op(m->s, &op, &answer, e) : TARE_ENOMEM;
    if (rc == 0)
        buf_printf(&m->list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, answer.etag);
    if (op.query)
        remote_answer_fini(&answer);
    return rc;
}

/* The answer to this may be an error with status 200, after some waiting. */
static int end_multipart(struct multipart *m, struct err *e)
{
    char hash[2 * SHA256_BYTES + 1];
    AUTO_BUF query = {0};
    struct remote_answer answer;
    struct op op = m->op;
    buf_puts(&m->list, "</CompleteMultipartUpload>");
    buf_printf(&query, "uploadId=%.*s", STR_ARG(m->id));
    if (m->list.failed || !buf_z(&query))
        return TARE_ENOMEM;
    sha256_hex(hash, m->list.data, m->list.len);
    op.method = "POST";
    op.query = buf_z(&query);
    op.hash = hash;
    op.body = buf_str(&m->list);
    int rc = send_op(m->s, &op, &answer, e);
    struct str code = error_code(buf_str(&answer.text));
    if (rc == 0 && code.n)
        rc = err_set(e, TARE_EIO, "the file store: joining the parts of a file: %.*s", STR_ARG(code));
    remote_answer_fini(&answer);
    return rc;
}

static void drop_multipart(struct multipart *m)
{
    AUTO_BUF query = {0};
    struct err ignored = {0};
    struct op op = m->op;
    buf_printf(&query, "uploadId=%.*s", STR_ARG(m->id));
    op.method = "DELETE";
    op.query = buf_z(&query);
    if (op.query && m->id.n)
        send_plain(m->s, &op, &ignored);
}

static int put_parts(const struct s3 *s, const struct blob_put *p, const char *name, struct err *e)
{
    struct multipart m = {.s = s, .p = p, .op = {.doing = "keeping a file in parts"}};
    int64_t part = s->part_bytes;
    while (p->size_bytes / part >= MAX_PARTS)
        part *= 2;
    path_of(s, name, &m.op);
    buf_puts(&m.list, "<CompleteMultipartUpload>");
    int rc = begin_multipart(&m, e), number = 0;
    for (int64_t at = 0; rc == 0 && at < p->size_bytes; at += part)
        rc = put_part(&m, ++number, at, p->size_bytes - at < part ? p->size_bytes - at : part, e);
    if (rc == 0)
        rc = end_multipart(&m, e);
    if (rc < 0)
        drop_multipart(&m);
    buf_fini(&m.ids);
    buf_fini(&m.list);
    return rc;
}

static int settle(struct blobs *b, struct blob_put *p, struct blob_info *info, struct err *e)
{
    const struct s3 *s = b->place;
    int64_t size = size_of(b, info->name, e);
    if (size < -1)
        return (int)size;
    info->fresh = size != p->size_bytes;
    if (!info->fresh)
        return 0;
    struct err why = {0};
    bool is_in_parts = p->size_bytes > s->part_bytes;
    int rc = is_in_parts ? put_parts(s, p, info->name, &why) : put_whole(s, p, info->name, &why);
    /* "No such upload" also of parts that were joined, where the answer to that was lost. Otherwise the client may
     * try again, which it would not after a 404. */
    if (rc == TARE_ENOTFOUND && is_in_parts && size_of(b, info->name, NULL) == p->size_bytes)
        return 0;
    return rc < 0 ? err_set(e, rc == TARE_ENOTFOUND ? TARE_EIO : rc, "%s", why.text[0] ? why.text : err_text(rc)) : 0;
}

/* ---- reading ---- */

struct get {
    int fd;
    int64_t first, at; /* where the next byte goes */
    EVP_MD_CTX *sha;   /* NULL: a part, which has no digest of its own */
};

static void restart_get(void *arg)
{
    struct get *g = arg;
    g->at = g->first;
    if (g->sha)
        EVP_DigestInit_ex(g->sha, EVP_sha256(), NULL);
}

static int on_bytes(void *arg, const void *p, size_t n)
{
    struct get *g = arg;
    size_t written;
    int rc = os_pwrite_all(g->fd, p, n, (uint64_t)g->at, &written);
    g->at += (int64_t)written;
    if (rc)
        return rc;
    if (g->sha)
        EVP_DigestUpdate(g->sha, p, n);
    return 0;
}

static int check_bytes(const struct get *g, const char *name, struct err *e)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    char hex[2 * SHA256_BYTES + 1];
    EVP_DigestFinal_ex(g->sha, raw, NULL);
    digest_hex(hex, raw, SHA256_BYTES);
    return strcmp(hex, name) == 0
               ? 0
               : err_set(e, TARE_EFORMAT, "blob %s is damaged: its bytes have SHA-256 %s", name, hex);
}

static int get_whole(const struct s3 *s, struct op *op, struct get *g, const char *name, struct err *e)
{
    g->sha = EVP_MD_CTX_new();
    if (!g->sha)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = send_plain(s, op, e);
    if (rc == 0)
        rc = check_bytes(g, name, e);
    EVP_MD_CTX_free(g->sha);
    return rc;
}

/* The file is as long as the blob, with a hole where nothing was asked for. */
static int get_part(const struct s3 *s, struct op *op, struct get *g, int64_t n, int64_t size, struct err *e)
{
    char range[64];
    int rc = os->ftruncate(g->fd, size);
    if (rc)
        return blob_fail(e, rc, "cannot write", "the fetched file");
    if (n == 0)
        return 0;
    g->first = g->first < size ? g->first : size;
    n = n < size - g->first ? n : size - g->first;
    snprintf(range, sizeof range, "bytes=%lld-%lld", (long long)g->first, (long long)(g->first + n - 1));
    op->range = range;
    rc = send_plain(s, op, e);
    if (rc == 0 && g->at - g->first != n)
        rc = err_set(e, TARE_EPROTO, "the file store: it gave %lld bytes for a range of %lld",
                     (long long)(g->at - g->first), (long long)n);
    return rc;
}

static int open_blob(struct blobs *b, const char *name, int64_t first, int64_t n, int *fd, int64_t *size_bytes,
                     struct err *e)
{
    struct get g = {.first = first};
    struct op op = {.method = "GET", .doing = "reading a file", .on_body = on_bytes, .restart = restart_get, .arg = &g};
    int64_t size = n < 0 ? 0 : size_of(b, name, e);
    int rc = size < -1 ? (int)size : 0;
    if (size == -1)
        return err_set(e, TARE_ENOTFOUND, "there is no blob %s", name);
    g.fd = rc ? rc : nameless_file(b->dir, e);
    if (g.fd < 0)
        return g.fd;
    path_of(b->place, name, &op);
    rc = n < 0 ? get_whole(b->place, &op, &g, name, e) : get_part(b->place, &op, &g, n, size, e);
    if (rc < 0) {
        os->close(g.fd);
        return rc == TARE_ENOTFOUND ? err_set(e, rc, "there is no blob %s", name) : rc;
    }
    lseek(g.fd, 0, SEEK_SET);
    *fd = g.fd;
    *size_bytes = n < 0 ? g.at : size;
    return 0;
}

/* ---- the rest ---- */

static int remove_blob(struct blobs *b, const char *name, struct err *e)
{
    struct op op = {.method = "DELETE", .doing = "deleting a file"};
    path_of(b->place, name, &op);
    int rc = send_plain(b->place, &op, e);
    return rc == TARE_ENOTFOUND ? 0 : rc;
}

static int keep_text(void *arg, const void *p, size_t n)
{
    return buf_append(arg, p, n);
}

static void clear_text(void *arg)
{
    buf_clear(arg);
}

/* One page of at most 1,000 keys; *token is where the next begins, empty at the end. */
static int list_page(const struct s3 *s, struct buf *token, struct buf *page, int max, struct err *e)
{
    AUTO_BUF query = {0};
    struct op op = {.method = "GET", .doing = "listing files", .on_body = keep_text, .restart = clear_text, .arg = page};
    snprintf(op.path, sizeof op.path, "%s/", s->base);
    if (token->len) {
        buf_puts(&query, "continuation-token=");
        buf_put_percent(&query, buf_str(token), "");
        buf_putc(&query, '&');
    }
    buf_printf(&query, "list-type=2&max-keys=%d&prefix=", max);
    buf_put_percent(&query, str_of(s->prefix), "");
    op.query = buf_z(&query);
    return op.query ? send_plain(s, &op, e) : TARE_ENOMEM;
}

static int walk_page(struct str page, size_t prefix, int (*each)(void *arg, const char *name, int64_t size_bytes),
                     void *arg)
{
    struct str object, text;
    char name[BLOB_NAME], size[32];
    while (xml_next(&page, "Contents", &object)) {
        struct str at = object;
        if (!xml_next(&at, "Key", &text) || text.n != prefix + 3 + BLOB_NAME - 1)
            continue;
        snprintf(name, sizeof name, "%.*s", BLOB_NAME - 1, text.p + prefix + 3);
        at = object;
        if (!blob_is_name(name) || !xml_next(&at, "Size", &text) || text.n >= sizeof size)
            continue;
        snprintf(size, sizeof size, "%.*s", STR_ARG(text));
        int rc = each(arg, name, strtoll(size, NULL, 10));
        if (rc)
            return rc;
    }
    return 0;
}

static int each_blob(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes), void *arg,
                     struct err *e)
{
    const struct s3 *s = b->place;
    AUTO_BUF token = {0}, page = {0};
    int rc;
    do {
        rc = list_page(s, &token, &page, 1000, e);
        if (rc == 0)
            rc = walk_page(buf_str(&page), strlen(s->prefix), each, arg);
        struct str next = {0}, at = buf_str(&page);
        buf_clear(&token);
        if (xml_next(&at, "NextContinuationToken", &next))
            buf_put_str(&token, next);
    } while (rc == 0 && token.len);
    return rc;
}

static void close_s3(struct blobs *b)
{
    mem_free(b->place);
}

static const struct blob_ops ops = {.stage = stage,
                                    .settle = settle,
                                    .open = open_blob,
                                    .size = size_of,
                                    .remove = remove_blob,
                                    .each = each_blob,
                                    .close = close_s3};

/* ---- opening ---- */

/* Wrong keys and buckets are told at once; a store that is away may come back. */
static int try_it(const struct s3 *s, struct err *e)
{
    AUTO_BUF token = {0}, page = {0};
    struct err why = {0};
    int rc = list_page(s, &token, &page, 1, &why);
    if (rc == TARE_EIO || rc == TARE_ETIMEOUT) {
        diag_warn("%s", why.text);
        return 0;
    }
    return rc ? err_set(e, rc, "--blobs: %s", why.text) : 0;
}

int blob_s3_open(struct blobs *b, const char *url, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    struct s3 *s = mem_calloc(1, sizeof *s);
    if (!s)
        return err_set(e, TARE_ENOMEM, "out of memory");
    b->ops = &ops;
    b->place = s;
    snprintf(b->dir, sizeof b->dir, "%s", tmp && *tmp ? tmp : "/var/tmp");
    int rc = s3_parse(s, url, e);
    return rc ? rc : try_it(s, e);
}
