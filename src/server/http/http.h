/* SPDX-License-Identifier: MIT */
/* The server's side of HTTP: routes, bodies, replies. Everything that libmicrohttpd knows stays
 * behind this header.
 *
 * A request goes: headers → route found → key checked (unless the route is open) → `begin` →
 * body (kept, or handed on piece by piece) → `handle` → one reply, from any thread, at any later
 * time. HTTP threads only move bytes; `handle` runs on a worker thread and may block, unless the
 * route says `quick`. Errors are replied as {"error": "…"}. */
#ifndef TARE_SERVER_HTTP_HTTP_H
#define TARE_SERVER_HTTP_HTTP_H

#include "base/arena.h"
#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct http_server;
struct http_request;

enum http_body {
    HTTP_NO_BODY,  /* a body is refused */
    HTTP_KEPT,     /* in request.body when `handle` runs; gzip bodies are unpacked */
    HTTP_STREAMED, /* every piece goes to `data`; never held as a whole */
};

enum { HTTP_MAX_PARAMS = 8 };

struct http_route {
    const char *method; /* "GET" answers HEAD too */
    /* Parts in braces match one part of the path; "{name...}", last, all that is left. They are
     * percent-decoded; a part that is empty, "." or "..", or has a NUL byte, matches nothing,
     * also behind a slash that was written %2F. */
    const char *pattern;
    enum http_body body;
    size_t max_body;  /* bytes, kept bodies also after unpacking; more is 413 */
    bool open;        /* no key: health, and URLs that carry their own right */
    bool quick;       /* `handle` does not block: call it on the HTTP thread */
    size_t quick_body; /* so is a kept body of up to so many bytes that came unpacked: a worker would cost more */
    bool secret_path; /* the path carries a right: keep it out of the access log */
    bool cors;        /* any page may GET this */

    /* HTTP thread, headers there, nothing of the body. May reply (a refusal); the body is then not
     * read. May set request.state. NULL is fine. */
    void (*begin)(struct http_request *r);
    /* HTTP thread, HTTP_STREAMED only. May reply with an error, which ends the body. */
    void (*data)(struct http_request *r, const void *p, size_t n);
    /* The body is complete. Must lead to exactly one reply, now or later. */
    void (*handle)(struct http_request *r);
    /* Last call about a request, when it is over however it ended: release request.state.
     * `handle` may not have been called (the client went away). NULL is fine. */
    void (*end)(struct http_request *r);
};

/* Who asks. Filled in by the server's `authorize`. */
struct http_user {
    int64_t id; /* 0: nobody */
    bool admin;
    char name[128];
};

struct http_request {
    const struct http_route *route;
    void *app;                            /* http_options.app */
    struct str method, path;              /* path as sent, without query */
    struct str params[HTTP_MAX_PARAMS];   /* of the pattern, in order, decoded */
    int n_params;
    struct http_user user;
    int64_t content_length;               /* -1: not told (chunked) */
    struct buf body;                      /* HTTP_KEPT */
    void *state;                          /* the route's own */
    int64_t began_ns;                     /* clock_mono_ns */
    struct http_inner *inner;
};

struct http_options {
    const char *listen;           /* ADDR:PORT, [V6]:PORT or unix:PATH; port 0: any */
    const char *tls_cert, *tls_key; /* PEM text, both or neither */
    const struct http_route *routes; /* last has method NULL */
    void *app;
    /* HTTP thread: does the request carry a valid key? 1, with r->user filled; 0 (the reply is then 401), or
     * negative: nobody can tell now (503). */
    int (*authorize)(struct http_request *r);
    /* Any thread, after the reply went out (status 0: the client was gone). NULL is fine. */
    void (*on_done)(struct http_request *r, int status, int64_t bytes_sent);
    /* While http_close waits for requests whose time is over, now and again: end what they are at. NULL is fine. */
    void (*cancel)(void *app);
    int threads;          /* HTTP threads; 0: as many as cores, at most 4 */
    int max_workers;      /* 0: 16 */
    int max_connections;  /* 0: 4096 */
    size_t max_memory;     /* bodies, what is made of them and answers of all requests together, else 503; 0: 1 GiB */
    const char *base_url;  /* pages from here are no other site's; NULL: from where the client reached us */
};

/* Start to listen and answer. Expected: errno values of the address; TARE_EINVAL. */
int http_open(const struct http_options *o, struct http_server **out, struct err *e);

/* No new requests; those under way get `grace_ms` to be answered; then they are cancelled, and all is closed. */
void http_close(struct http_server *s, int grace_ms);

/* Where it listens: "127.0.0.1:8080" or "unix:/path"; and the TCP port, 0 for unix sockets. */
const char *http_address(const struct http_server *s);
int http_port(const struct http_server *s);

struct http_stats {
    int connections, workers, busy_workers, queued;
    size_t memory_bytes; /* of max_memory */
};
void http_get_stats(struct http_server *s, struct http_stats *out);

/* ---- about the request. Valid until the reply. ------------------------------------------- */

const char *http_header(const struct http_request *r, const char *name); /* NULL: not sent */
/* Value of `?name=`, decoded into `a`; NULL when absent or out of memory. */
const char *http_query(const struct http_request *r, const char *name, struct arena *a);
/* "http://host:port" by which the client reached us: for absolute URLs in answers. */
void http_base_url(const struct http_request *r, struct buf *to);
const char *http_peer(const struct http_request *r); /* the client's address as text */

/* http_options.max_memory, for what a handler makes of the request. */
struct budget *http_memory(const struct http_request *r);

/* ---- the reply: exactly one of these ----------------------------------------------------- */

/* Add a header to the reply to come. Before it, from the thread that will reply. */
void http_set_header(struct http_request *r, const char *name, const char *value);

/* Takes the bytes out of `body` (it is empty afterwards). */
void http_reply(struct http_request *r, int status, const char *content_type, struct buf *body);
void http_reply_str(struct http_request *r, int status, const char *content_type, struct str body);
/* {"error": text}, JSON-escaped. */
void http_reply_error(struct http_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* `size` bytes of `fd` from 0 on; the descriptor is taken and closed. One Range is honoured (206
 * or 416). `etag` without quotes, NULL for none; If-None-Match gives 304. */
void http_reply_fd(struct http_request *r, int fd, int64_t size, const char *content_type,
                   const char *etag);

/* Which bytes of a file http_reply_fd would send: all, a range, or none (*n 0: HEAD, 304, 416). */
void http_wanted_bytes(const struct http_request *r, int64_t size, const char *etag, int64_t *first, int64_t *n);

/* True once a reply was given: `data` and loops may stop early. */
bool http_replied(const struct http_request *r);

/* Append `s` so that it can stand as one part (or, with `keep_slashes`, several) of a URL path. */
int http_url_encode(struct buf *to, struct str s, bool keep_slashes);

#endif
