/* SPDX-License-Identifier: MIT */
/* A network, a backend, workers and a clock for tests of what uploads: loop/http.h, loop/worker.h,
 * service/upload/backend.h and graphql.h, and libuv's timers, all on this thread. Link it with
 *   -Wl,--wrap=uv_timer_init,--wrap=uv_timer_start,--wrap=uv_timer_stop,--wrap=uv_close */
#ifndef TARE_TESTS_FAKE_NET_H
#define TARE_TESTS_FAKE_NET_H

#include "loop/http.h"
#include "service/upload/backend.h"
#include "service/upload/graphql.h"

struct fake_net {
    int64_t wall_ns, mono_ns;
    const char *url;           /* of the backend */
    const char *credentials;   /* the headers that backend_headers gives */
    int headers_error;         /* what backend_headers answers */
    bool has_feature;          /* what backend_feature answers */
    bool headers_wait;         /* until fake_net_headers */
    int n_sent;                /* requests in all */
    struct http_request *requests[64]; /* under way, the oldest first */
    int n_requests;
    struct graphql_call *calls[16]; /* likewise */
    int n_calls;
    bool renews;               /* what backend_renews answers for 401 */
    int n_noted;               /* backend_note_answer */
};

extern struct fake_net fake_net;

/* All empty; the clock begins. */
void fake_net_begin(void);
/* Closes run, no timer or request is left. */
void fake_net_end(void);

/* Let time pass, timers run in their order. */
void fake_net_pass_ms(int64_t ms);
/* What is due now: closes, work, what was cancelled, timers of 0 ms. */
void fake_net_settle(void);

/* The oldest request under way; fails the test if there is none. */
struct http_request *fake_net_request(void);
void fake_net_answer(int status, const char *body);                          /* the oldest */
void fake_net_answer_to(struct http_request *r, int status, const char *headers, const char *body);
void fake_net_fail(int error, const char *why);
struct graphql_call *fake_net_call(void);   /* the oldest under way */
void fake_net_data(const char *data);       /* its answer */
void fake_net_refuse(int error, const char *why);
void fake_net_headers(void); /* those that waited */

#endif
