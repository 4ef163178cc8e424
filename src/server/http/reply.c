/* SPDX-License-Identifier: MIT */
/* Replies. Whoever replies first moves the request to REQ_REPLIED; if it was suspended, the HTTP
 * thread is woken to send. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/spare.h"
#include "server/http/inner.h"
#include "server/http/range.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool http_replied(const struct http_request *r)
{
    return atomic_load(&r->inner->state) == REQ_REPLIED;
}

void http_set_header(struct http_request *r, const char *name, const char *value)
{
    struct http_inner *q = r->inner;
    struct header *h = arena_alloc(&q->arena, sizeof *h);
    if (!h)
        return;
    *h = (struct header){arena_strdup(&q->arena, name), arena_strdup(&q->arena, value), q->headers};
    if (h->name && h->value)
        q->headers = h;
}

/* Takes `response`. */
static void finish(struct http_request *r, int status, const char *type, struct MHD_Response *response,
                   int64_t bytes)
{
    struct http_inner *q = r->inner;
    assert(!q->response);
    if (!response) {
        status = 500;
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        bytes = 0;
    }
    if (type)
        MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (struct header *h = q->headers; h; h = h->next)
        MHD_add_response_header(response, h->name, h->value);
    if (r->route && r->route->cors)
        MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    q->response = response;
    q->status = status;
    q->reply_bytes = bytes;
    struct MHD_Connection *conn = q->conn;
    struct http_server *s = q->server;
    if (atomic_exchange(&q->state, REQ_REPLIED) == REQ_WAITING) {
        MHD_resume_connection(conn); /* the request may be gone from here on */
        atomic_fetch_sub(&s->n_waiting, 1);
    }
}

/* A body on its way; the next large one gets its memory. */
struct body {
    struct buf b;
    struct budget *memory;
    size_t taken;
};

static void free_body(void *arg)
{
    struct body *b = arg;
    spare_give(&b->b);
    budget_give(b->memory, b->taken);
    mem_free(b);
}

void http_reply(struct http_request *r, int status, const char *content_type, struct buf *body)
{
    size_t n = body->len;
    struct body *b = body->failed ? NULL : mem_alloc(sizeof *b);
    struct MHD_Response *response = NULL;
    if (b) {
        *b = (struct body){*body, http_memory(r), body->cap};
        response = MHD_create_response_from_buffer_with_free_callback_cls(n, body->data, free_body, b);
    }
    if (response) {
        budget_add(b->memory, b->taken);
        *body = (struct buf){0};
    } else {
        mem_free(b);
        buf_fini(body);
    }
    finish(r, status, content_type, response, (int64_t)n);
}

void http_reply_str(struct http_request *r, int status, const char *content_type, struct str body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);
    finish(r, status, content_type, response, (int64_t)body.n);
}

void http_reply_error(struct http_request *r, int status, const char *fmt, ...)
{
    AUTO_BUF text = {0};
    struct buf body = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    buf_puts(&body, "{\"error\":");
    json_put_string(&body, buf_str(&text));
    buf_puts(&body, ",\"errors\":[{\"message\":");
    json_put_string(&body, buf_str(&text));
    buf_puts(&body, "}]}");
    http_reply(r, status, "application/json", &body);
}

static bool etag_matches(const char *header, const char *etag)
{
    if (!header || !etag)
        return false;
    const char *hit = strstr(header, etag);
    return strcmp(header, "*") == 0 ||
           (hit && hit > header && hit[-1] == '"' && hit[strlen(etag)] == '"');
}

/* A range is for who has the rest of this very state (RFC 9110, 13.1.5; dates are not understood). */
static struct http_range wanted_range(const struct http_request *r, int64_t size, const char *etag)
{
    const char *condition = http_header(r, "If-Range");
    bool is_other = condition && (!etag || *condition != '"' || !etag_matches(condition, etag));
    return http_range_parse(is_other ? NULL : http_header(r, "Range"), size);
}

void http_wanted_bytes(const struct http_request *r, int64_t size, const char *etag, int64_t *first, int64_t *n)
{
    struct http_range g = wanted_range(r, size, etag);
    bool none = str_eq(r->method, STR("HEAD")) || etag_matches(http_header(r, "If-None-Match"), etag);
    *first = g.first;
    *n = none ? 0 : g.n;
}

void http_reply_fd(struct http_request *r, int fd, int64_t size, const char *content_type,
                   const char *etag)
{
    char text[160];
    struct http_range g = wanted_range(r, size, etag);
    http_set_header(r, "Accept-Ranges", "bytes");
    if (etag) {
        snprintf(text, sizeof text, "\"%s\"", etag);
        http_set_header(r, "ETag", text);
    }
    if (etag_matches(http_header(r, "If-None-Match"), etag)) {
        close(fd);
        http_reply_str(r, 304, NULL, STR(""));
        return;
    }
    if (g.kind == HTTP_RANGE_BAD) {
        close(fd);
        snprintf(text, sizeof text, "bytes */%" PRId64, size);
        http_set_header(r, "Content-Range", text);
        http_reply_error(r, 416, "the range is outside the file");
        return;
    }
    if (g.kind == HTTP_RANGE_PART) {
        snprintf(text, sizeof text, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, g.first, g.first + g.n - 1,
                 size);
        http_set_header(r, "Content-Range", text);
    }
    struct MHD_Response *response =
        MHD_create_response_from_fd_at_offset64((uint64_t)g.n, fd, (uint64_t)g.first);
    if (!response)
        close(fd);
    finish(r, g.kind == HTTP_RANGE_PART ? 206 : 200, content_type, response, g.n);
}

int http_url_encode(struct buf *to, struct str s, bool keep_slashes)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-_.~", c)) || (keep_slashes && c == '/');
        if (plain) {
            buf_putc(to, (char)c);
        } else {
            char three[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_append(to, three, 3);
        }
    }
    return to->failed ? TARE_ENOMEM : 0;
}
