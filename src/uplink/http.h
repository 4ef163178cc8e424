/* SPDX-License-Identifier: MIT */
/* HTTP with libcurl on the loop: the functions of uplink.h, and what their files share.
 *
 *   http.c        the multi handle, its sockets and timer; the life of a transfer
 *   http_setup.c  a request → the options of its easy handle; what curl's errors mean
 *   certs.c       the certificates by which servers are judged
 *   http_body.c   bodies: memory or blocks of a file, read and written on the worker threads */
#ifndef TARE_UPLINK_HTTP_H
#define TARE_UPLINK_HTTP_H

#include "loop/http.h"
#include "loop/worker.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct certs;
struct uplink_http;

struct uplink_http *uplink_http_open(struct uv_loop_s *loop,
                                     void (*work_start)(struct uv_loop_s *loop, struct work *w),
                                     void (*ended)(void *ctx, struct http_request *r), void *ctx);
void uplink_http_close(struct uplink_http *m, void (*closed)(void *ctx), void *ctx);
void uplink_http_send(struct uplink_http *m, struct http_request *r);
void uplink_http_cancel(struct uplink_http *m, struct http_request *r);

/* -- for the three files ------------------------------------------------------------------------ */

enum { FILE_BLOCK_BYTES = 256 << 10, BIG_BLOCK_BYTES = 1 << 20, BIG_ANSWER_BYTES = 16 << 20, MAX_BIG = 6 };
enum { ANSWER_HEADER_BYTES = 64 << 10, ERROR_BODY_BYTES = 64 << 10 };

/* One block of a file, on its way from or to the disk. */
struct file_block {
    struct work work;
    char *bytes;
    size_t n, at; /* valid bytes; up: of these given to curl */
    uint64_t offset;
    int fd, rc;
};

struct http_work {
    struct http_request *r;
    struct uplink_http *m;
    struct http_work *prev, *next;
    CURL *easy;
    struct curl_slist *headers, *proxy_headers;
    char curl_text[CURL_ERROR_SIZE];
    int error;         /* found by ourselves, before curl says it was stopped */
    bool cancelled;    /* from inside a callback of curl: to be stopped as soon as it returns */
    bool parked;       /* and over: not yet curl's, waits for certificates */
    bool head_whole;   /* the line that ends the answer's headers has come */
    bool over;         /* curl has let go of it; blocks may be on their way to the disk */
    struct file_block up;
    struct file_block down; /* being written to the file ... */
    char *fill;             /* ... while this one is filled */
    size_t n_fill;
    size_t block_bytes; /* of those two; 0: not yet known */
    uint64_t down_at; /* where the next block goes */
    uv_timer_t stall;
    bool has_timer;
    uint64_t moved_bytes, moved_ms; /* what the stall timer saw last, and when it was new */
};

/* Set w->easy up from w->r: 0 or an error (w->r->why says it). With `certs` if they have been read and w
 * wants them. */
int http_setup(struct http_work *w, const struct certs *certs);
/* Will it need the certificates of the environment or the system? */
bool http_wants_certs(const struct http_work *w);
/* What `code`, which ended it, means: w->r->error and why. */
void http_explain(struct http_work *w, CURLcode code);

/* May `w` take blocks of BIG_BLOCK_BYTES? Few may at a time; those give it back with the end. */
bool http_take_big(struct http_work *w);
void http_give_big(struct http_work *w);

size_t http_on_read(char *to, size_t size, size_t n, void *ctx);
int http_on_seek(void *ctx, curl_off_t offset, int origin);
size_t http_on_write(char *from, size_t size, size_t n, void *ctx);
size_t http_on_header(char *from, size_t size, size_t n, void *ctx);
/* All of the answer has come: write what is left of it. True if that takes time (http_block_done). */
bool http_body_flush(struct http_work *w);
bool http_body_busy(const struct http_work *w);
void http_body_free(struct http_work *w);

/* A block has come from the disk or gone there (http.c). */
void http_block_done(struct http_work *w);
void http_start_work(struct uplink_http *m, struct work *w);

#endif
