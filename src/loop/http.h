/* SPDX-License-Identifier: MIT */
/* HTTP requests on the loop: libcurl's multi interface, which lives in tare-uplink.so and is loaded,
 * on a worker thread, when the first request is sent.
 *
 * A request is embedded in what wants it; the caller fills the first half, `done` reads the second.
 * Connections are kept and shared by all requests of the loop. Nothing is retried here
 * (service/upload/retry.h) and no redirect leaves the host it came from with credentials. Loop
 * thread only; bodies in files are read and written on the worker threads. */
#ifndef TARE_LOOP_HTTP_H
#define TARE_LOOP_HTTP_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct http;
struct http_work; /* what the module keeps of a request under way */

/* How a backend is reached; borrowed by its requests, so it outlives them. Strings NULL or "" where
 * there is nothing. */
struct http_route {
    const char *proxy_http, *proxy_https; /* for http:// and https:// URLs; else the environment's */
    const char *proxy_headers; /* for CONNECT, as `headers` below */
    const char *ca_file;       /* certificates to trust instead of the system's */
    bool insecure;             /* trust any certificate */
};

enum http_state { HTTP_IDLE, HTTP_WAITING, HTTP_ACTIVE, HTTP_ENDED };

struct http_request {
    /* -- to fill; everything borrowed until `done` -- */
    const char *method; /* "GET", "POST", "PUT", "HEAD", ... */
    const char *url;
    const struct http_route *route; /* NULL: as the environment says */
    const char *headers;            /* "Name: value\n..." */
    struct str body;                /* or, if body_fd >= 0: */
    int body_fd;                    /* a file, read with pread; -1 for none */
    uint64_t body_at, body_bytes;   /* which part of it */
    int to_fd;                      /* write the body of a 2xx answer here with pwrite; -1: keep it */
    uint64_t to_at;
    bool resumes;         /* `to_at` is for a 206; what comes with another status is written from 0 */
    size_t keep_bytes;    /* of the answer; more is TARE_ELIMIT, or cut if the status is not 2xx */
    uint32_t timeout_ms;  /* for all of it, once it has a connection; 0 for no bound */
    uint32_t stall_ms;    /* without a byte moving in either direction; 0 for no bound */
    /* `sent` or `received` has moved; may be NULL. Called from inside the transfer: it may cancel
     * this request and send none. */
    void (*progress)(struct http_request *r);
    /* A block of the answer is in the file, bytes `at` and on of it; blocks come in their order. On a worker
     * thread, while nothing else of the request moves; also of an answer that breaks off. May be NULL. */
    void (*written)(struct http_request *r, uint64_t at, const char *p, size_t n);
    void (*done)(struct http_request *r); /* exactly once, never inside http_send or http_cancel */

    /* -- the answer -- */
    int error;      /* 0: an answer came, whatever its status; else TARE_E* or a libuv code, and */
    char why[256];  /* for a person: "connection refused (127.0.0.1:8080)" */
    int status;     /* 200, 404 ... */
    struct buf answer;         /* freed by the caller */
    struct buf answer_headers; /* "name: value\n", names in lower case; freed by the caller */
    uint64_t sent, received;   /* bytes of bodies */

    /* -- http's own -- */
    struct http_work *work;
    struct http_host *host;
    struct http_request *prev, *next;
    enum http_state state;
};

/* One for a loop. Nothing is loaded yet. */
struct http *http_new(uv_loop_t *loop);
/* End all requests (their `done` says TARE_ECANCELLED), wait for those who hold it, then call `closed`
 * and free it. */
void http_close(struct http *h, void (*closed)(void *ctx), void *ctx);
void http_hold(struct http *h);
void http_release(struct http *h);
/* Is there a request with this route whose `done` has not been called? */
bool http_uses(const struct http *h, const struct http_route *route);

void http_request_init(struct http_request *r); /* all empty, descriptors -1 */
void http_request_fini(struct http_request *r); /* frees what an answer left */
void http_send(struct http *h, struct http_request *r);
/* End it: `done` follows with TARE_ECANCELLED, unless it was on its way. */
void http_cancel(struct http *h, struct http_request *r);

/* The value of a header of the answer (name in lower case); empty if it has none. */
struct str http_answer_header(const struct http_request *r, const char *name);

#endif
