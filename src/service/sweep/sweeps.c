/* SPDX-License-Identifier: MIT */
#include "service/sweep/sweeps.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "record/wire.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/sweep/scheduler.h"
#include "service/upload/backend.h"

#include <stdio.h>
#include <utlist.h>

enum {
    INIT_ENTITY = 1, INIT_PROJECT = 2, INIT_SWEEP = 3, INIT_SETTINGS = 4, INIT_BATCH = 5, INIT_POLL_S = 6,
    OPENED_SESSION = 1, OPENED_CONFIG = 2, OPENED_NAME = 3, OPENED_CONTROLLER = 4,
    SESSION_ID = 1, NEXT_RESULT = 2,
    RESPONSE_INIT = 17, RESPONSE_NEXT_TASK = 18, /* of ServerResponse */
};

/* A question for the next task. */
struct question {
    struct question *prev, *next;
    uint64_t serial;
    bool has_result;
    struct buf result;
};

struct sweep_session {
    struct sweep_session *prev, *next;
    struct service *service;
    struct connection *owner;
    char id[32]; /* "" until it is open */
    char *key;   /* entity/project/sweep */
    struct backend *backend;
    struct scheduler *scheduler;
    uint64_t init_serial;
    struct question *questions; /* the first is being answered */
};

static const char already[] = "this sweep has a scheduler already in this service: stop it before another is begun";

/* ---- answers ---- */

static void respond(struct service *s, uint64_t serial, uint32_t number, struct str body)
{
    struct asked asked;
    if (serial && mailbox_take(&s->mailbox, serial, &asked))
        connection_respond(asked.connection, asked.request_id, number, body);
}

static void refuse(struct service *s, uint64_t serial, const char *why)
{
    struct asked asked;
    diag_warn("sweep: no session: %s", why);
    if (serial && mailbox_take(&s->mailbox, serial, &asked))
        connection_respond_error(asked.connection, asked.request_id, why);
}

/* ---- sessions ---- */

static struct sweep_session *find(struct service *s, struct str id)
{
    struct sweep_session *x;
    DL_FOREACH (s->sweeps.first, x)
        if (id.n && str_eqz(id, x->id))
            return x;
    return NULL;
}

static bool is_scheduled(struct service *s, const char *key)
{
    const struct sweep_session *x;
    DL_FOREACH (s->sweeps.first, x)
        if (*x->id && strcmp(x->key, key) == 0)
            return true;
    return false;
}

static void on_closed(void *ctx)
{
    struct sweep_session *x = ctx;
    mem_free(x->key);
    mem_free(x);
}

static void drop_question(struct sweep_session *x, struct question *q)
{
    DL_DELETE(x->questions, q);
    buf_fini(&q->result);
    mem_free(q);
}

/* It is forgotten at once; its memory goes when the last request has come back. */
static void close_session(struct sweep_session *x)
{
    DL_DELETE(x->service->sweeps.first, x);
    while (x->questions)
        drop_question(x, x->questions);
    scheduler_close(x->scheduler, on_closed);
    backend_close(x->backend);
}

static void on_ready(void *ctx, const struct sweep_facts *facts, const char *why)
{
    struct sweep_session *x = ctx;
    AUTO_BUF body = {0};
    if (!why && is_scheduled(x->service, x->key)) /* another was quicker */
        why = already;
    if (why) {
        refuse(x->service, x->init_serial, why);
        close_session(x);
        return;
    }
    snprintf(x->id, sizeof x->id, "scheduler-%llu", (unsigned long long)x->service->sweeps.n_made++);
    diag_info("sweep: %s schedules %s", x->id, x->key);
    wire_buf_bytes(&body, OPENED_SESSION, str_of(x->id));
    wire_buf_bytes(&body, OPENED_CONFIG, str_of(facts->config));
    wire_buf_bytes(&body, OPENED_NAME, str_of(facts->display_name));
    wire_buf_bytes(&body, OPENED_CONTROLLER, str_of(facts->controller_run));
    respond(x->service, x->init_serial, RESPONSE_INIT, buf_str(&body));
}

/* ---- tasks ---- */

static void answer_next(struct sweep_session *x)
{
    struct question *q = x->questions;
    struct str result;
    if (!q)
        return;
    result = buf_str(&q->result);
    scheduler_next(x->scheduler, q->has_result ? &result : NULL);
}

/* Whoever else waits gets the last task too. */
static void on_task(void *ctx, struct str response, bool is_over)
{
    struct sweep_session *x = ctx;
    do {
        uint64_t serial = x->questions->serial;
        drop_question(x, x->questions);
        respond(x->service, serial, RESPONSE_NEXT_TASK, response);
    } while (is_over && x->questions);
    if (is_over) {
        diag_info("sweep: %s is over", x->id);
        close_session(x);
    } else {
        answer_next(x);
    }
}

static void answer_unknown(struct service *s, uint64_t serial)
{
    AUTO_BUF body = {0};
    scheduler_put_done(&body, 0, SWEEP_FATAL_ERROR,
                       "unknown scheduler id: the service may have been restarted. Run the scheduler again: the sweep "
                       "goes on.");
    respond(s, serial, RESPONSE_NEXT_TASK, buf_str(&body));
}

static bool find_field(struct str message, uint32_t number, struct str *to)
{
    struct wire_field f;
    bool found = false;
    for (struct wire_reader r = wire_open(message); wire_next(&r, &f) > 0;)
        if (f.number == number && f.type == WIRE_BYTES) {
            *to = f.bytes;
            found = true;
        }
    return found;
}

void sweeps_next_task(struct service *s, struct str request, uint64_t serial)
{
    struct sweep_session *x = find(s, wire_find_bytes(request, SESSION_ID));
    struct question *q;
    struct str result = {0};
    int n = 0;
    if (!x) {
        answer_unknown(s, serial);
        return;
    }
    DL_COUNT(x->questions, q, n);
    if (n > SWEEP_WAITING_POLLS) {
        refuse(s, serial, "too many questions for the next task wait already");
        return;
    }
    q = xmem_calloc(1, sizeof *q);
    q->serial = serial;
    q->has_result = find_field(request, NEXT_RESULT, &result);
    if (q->has_result && buf_put_str(&q->result, result) != 0) {
        mem_free(q);
        refuse(s, serial, "out of memory");
        return;
    }
    DL_APPEND(x->questions, q);
    if (q == x->questions)
        answer_next(x);
}

void sweeps_stop(struct service *s, struct str request)
{
    struct sweep_session *x = find(s, wire_find_bytes(request, SESSION_ID));
    if (x)
        scheduler_stop(x->scheduler);
}

/* ---- begin ---- */

static double find_double(struct str message, uint32_t number)
{
    struct wire_field f;
    double v = 0;
    for (struct wire_reader r = wire_open(message); wire_next(&r, &f) > 0;)
        if (f.number == number && f.type == WIRE_FIXED64)
            memcpy(&v, &f.value, sizeof v);
    return v;
}

static void open_session(struct service *s, struct connection *c, struct str request, char *key, struct backend *b,
                         uint64_t serial)
{
    struct sweep_session *x = xmem_calloc(1, sizeof *x);
    x->service = s;
    x->owner = c;
    x->key = key;
    x->backend = b;
    x->init_serial = serial;
    DL_APPEND(s->sweeps.first, x);
    x->scheduler = scheduler_open(&(struct scheduler_params){
        .backend = b,
        .loop = &s->loop,
        .entity = wire_find_bytes(request, INIT_ENTITY),
        .project = wire_find_bytes(request, INIT_PROJECT),
        .sweep = wire_find_bytes(request, INIT_SWEEP),
        .batch = (uint32_t)wire_find_varint(request, INIT_BATCH),
        .poll_s = find_double(request, INIT_POLL_S),
        .ctx = x,
        .ready = on_ready,
        .task = on_task,
    });
}

void sweeps_init_session(struct service *s, struct connection *c, struct str request, uint64_t serial)
{
    struct str settings;
    struct err e = {0};
    AUTO_BUF key = {0};
    struct backend *b = NULL;
    buf_printf(&key, "%.*s/%.*s/%.*s", STR_ARG(wire_find_bytes(request, INIT_ENTITY)),
               STR_ARG(wire_find_bytes(request, INIT_PROJECT)), STR_ARG(wire_find_bytes(request, INIT_SWEEP)));
    const char *text = buf_z(&key);
    if (!text)
        refuse(s, serial, "out of memory");
    else if (is_scheduled(s, text))
        refuse(s, serial, already);
    else if (!find_field(request, INIT_SETTINGS, &settings))
        refuse(s, serial, "the request to schedule a sweep has no settings");
    else if (!(b = backend_new(service_http(s), &s->loop, settings, NULL, NULL, &e)))
        refuse(s, serial, e.text);
    if (b)
        open_session(s, c, request, xmem_strdup(text), b, serial);
}

/* ---- end ---- */

static bool cancel_question(struct sweep_session *x, uint64_t serial)
{
    struct question *q;
    DL_FOREACH (x->questions, q)
        if (q->serial == serial) {
            if (q == x->questions)
                scheduler_cancel(x->scheduler);
            else
                drop_question(x, q);
            return true;
        }
    return false;
}

void sweeps_cancelled(struct service *s, uint64_t serial)
{
    struct sweep_session *x;
    DL_FOREACH (s->sweeps.first, x) {
        if (!*x->id && x->init_serial == serial) {
            close_session(x);
            return;
        }
        if (cancel_question(x, serial))
            return;
    }
}

void sweeps_connection_closed(struct service *s, struct connection *c)
{
    struct sweep_session *x, *next;
    DL_FOREACH_SAFE (s->sweeps.first, x, next)
        if (x->owner == c)
            close_session(x);
}

void sweeps_stop_all(struct service *s)
{
    struct sweep_session *x, *next;
    DL_FOREACH_SAFE (s->sweeps.first, x, next)
        scheduler_stop(x->scheduler);
}
