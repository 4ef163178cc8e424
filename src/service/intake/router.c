/* SPDX-License-Identifier: MIT */
/* Peer: core/pkg/server/connection.go, handleIncomingRequests. Where the peer logs and stays
 * silent although the client waits (no such stream, a kind it does not know), we answer with an
 * error; a request of a kind from the future does not cost the client its connection. */
#include "service/intake/router.h"

#include "base/diag.h"
#include "base/err.h"
#include "record/wire.h"
#include "service/intake/connection.h"
#include "service/orphans.h"
#include "service/service.h"
#include "service/stream/stream.h"
#include "service/streams.h"

#include <stdio.h>

/* Field numbers. */
enum {
    REQUEST_ID = 10,     /* of ServerRequest; its other fields are the kinds in `routes` */
    INFO = 200,          /* of nearly every message */
    INFO_STREAM_ID = 1,  /* of _RecordInfo */
    RECORD_CONTROL = 16, /* of Record */
    RECORD_EXIT = 18,
    CONTROL_MAILBOX_SLOT = 4,
    INIT_SETTINGS = 1,
    ATTACH_SETTINGS = 1,
    TEARDOWN_EXIT_CODE = 1,
    CANCEL_REQUEST_ID = 1,
};

/* ServerResponse. */
enum {
    RESPONSE_ATTACH = 5,
    RESPONSE_DETACH = 6,
    RESPONSE_TEARDOWN = 7,
    RESPONSE_INIT_SYNC = 11,
    RESPONSE_SYNC_STATUS = 13,
    RESPONSE_API_INIT = 14,
};

struct asking {
    struct connection *c;
    struct str request_id; /* "" if no answer is wanted */
    struct str body;       /* the message of this kind */
};

/* -- parts ------------------------------------------------------------------------------------- */

/* The bytes field `number` of `message`, the last one if there are several; "" if there is none.
 * TARE_EFORMAT if the message is malformed. */
static int find_bytes(struct str message, uint32_t number, struct str *to)
{
    struct wire_field f;
    int rc;
    *to = (struct str){0};
    for (struct wire_reader r = wire_open(message); (rc = wire_next(&r, &f)) > 0;)
        if (f.number == number && f.type == WIRE_BYTES)
            *to = f.bytes;
    return rc < 0 ? TARE_EFORMAT : 0;
}

/* message._info.stream_id */
static int find_stream_id(struct str message, struct str *to)
{
    struct str info;
    int rc = find_bytes(message, INFO, &info);
    return rc ? rc : find_bytes(info, INFO_STREAM_ID, to);
}

static int put_info(struct buf *b, struct str stream_id)
{
    size_t mark = wire_buf_begin(b, INFO);
    if (stream_id.n)
        wire_buf_bytes(b, INFO_STREAM_ID, stream_id);
    return wire_buf_end(b, mark);
}

static void refuse(const struct asking *a, const char *message)
{
    diag_warn("connection %llu: %s", (unsigned long long)a->c->id, message);
    connection_respond_error(a->c, a->request_id, message);
}

static void refuse_unknown_stream(const struct asking *a, struct str id)
{
    char text[160];
    snprintf(text, sizeof text, "stream %.100s not found", id.n ? "" : "with an empty id");
    if (id.n)
        snprintf(text, sizeof text, "stream %.*s not found", id.n > 100 ? 100 : (int)id.n, id.p);
    refuse(a, text);
}

/* -- records ----------------------------------------------------------------------------------- */

struct record_head {
    struct str stream_id, slot;
    bool is_exit;
};

static int read_head(struct str record, struct record_head *h)
{
    struct wire_field f;
    int rc;
    *h = (struct record_head){0};
    for (struct wire_reader r = wire_open(record); (rc = wire_next(&r, &f)) > 0;) {
        int bad = 0;
        if (f.number == INFO && f.type == WIRE_BYTES)
            bad = find_bytes(f.bytes, INFO_STREAM_ID, &h->stream_id);
        else if (f.number == RECORD_CONTROL && f.type == WIRE_BYTES)
            bad = find_bytes(f.bytes, CONTROL_MAILBOX_SLOT, &h->slot);
        else if (f.number == RECORD_EXIT)
            h->is_exit = true;
        if (bad)
            return bad;
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

static struct stream *stream_of(struct connection *c, struct str id)
{
    struct streams *m = &c->service->streams;
    struct stream *s = c->last_stream_change == m->changes ? c->last_stream : NULL;
    if (s && str_eq(id, stream_id(s)))
        return s;
    c->last_stream_change = m->changes;
    c->last_stream = streams_find(m, id);
    if (c->last_stream)
        orphans_note_user(c->last_stream, c->pid);
    return c->last_stream;
}

/* Copies what fits; the whole text is in the mailbox. */
static void copy_id(char *to, size_t size, struct str from)
{
    size_t n = from.n < size ? from.n : size - 1;
    if (n)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

static int on_record(const struct asking *a)
{
    static const struct reply_to nobody;
    struct record_head h;
    int rc = read_head(a->body, &h);
    if (rc)
        return rc;
    struct stream *s = stream_of(a->c, h.stream_id);
    if (!s) {
        refuse_unknown_stream(a, h.stream_id);
        return 0;
    }
    int64_t now_ns = a->c->service->now_ns;
    if (!a->request_id.n && !h.slot.n) {
        rc = stream_record(s, a->body, &nobody, h.is_exit, now_ns);
    } else {
        struct reply_to to = {.wanted = true};
        to.connection_id = mailbox_put(&a->c->service->mailbox, a->c, &a->c->requests,
                                       stream_requests(s), a->request_id, h.slot);
        copy_id(to.request_id, sizeof to.request_id, a->request_id);
        copy_id(to.mailbox_slot, sizeof to.mailbox_slot, h.slot);
        rc = stream_record(s, a->body, &to, h.is_exit, now_ns);
    }
    if (stream_is_full(s))
        connection_wait_for(a->c, s);
    return rc;
}

/* -- streams ----------------------------------------------------------------------------------- */

static int on_init(const struct asking *a)
{
    struct str id, settings;
    struct err e = {0};
    int rc = find_stream_id(a->body, &id);
    if (rc == 0)
        rc = find_bytes(a->body, INIT_SETTINGS, &settings);
    if (rc)
        return rc;
    struct stream *s = streams_open(&a->c->service->streams, a->c->service, id, settings, &e);
    if (!s) {
        refuse(a, e.text);
        return 0;
    }
    orphans_note_user(s, a->c->pid);
    if (a->request_id.n)
        stream_answer_when_open(s, mailbox_put(&a->c->service->mailbox, a->c, &a->c->requests,
                                               NULL, a->request_id, (struct str){0}));
    return 0;
}

static int on_attach(const struct asking *a)
{
    struct str id;
    int rc = find_stream_id(a->body, &id);
    if (rc)
        return rc;
    struct stream *s = streams_find(&a->c->service->streams, id);
    if (!s) {
        refuse_unknown_stream(a, id);
        return 0;
    }
    orphans_note_user(s, a->c->pid);
    AUTO_BUF body = {0};
    if (wire_buf_bytes(&body, ATTACH_SETTINGS, stream_settings_bytes(s)) == 0 &&
        put_info(&body, id) == 0)
        connection_respond(a->c, a->request_id, RESPONSE_ATTACH, buf_str(&body));
    return 0;
}

/* The peer has no handler for it; nothing is kept for an attached connection, so there is nothing
 * to undo. */
static int on_detach(const struct asking *a)
{
    if (a->request_id.n)
        connection_respond(a->c, a->request_id, RESPONSE_DETACH, (struct str){0});
    return 0;
}

static int on_finish(const struct asking *a)
{
    struct str id;
    int rc = find_stream_id(a->body, &id);
    if (rc)
        return rc;
    struct stream *s = streams_remove(&a->c->service->streams, id);
    if (!s) {
        refuse_unknown_stream(a, id);
        return 0;
    }
    if (a->request_id.n)
        stream_answer_when_closed(s, mailbox_put(&a->c->service->mailbox, a->c, &a->c->requests,
                                                 NULL, a->request_id, (struct str){0}));
    stream_finish(s);
    return 0;
}

static int on_teardown(const struct asking *a)
{
    struct wire_field f;
    int rc;
    int exit_code = 0;
    for (struct wire_reader r = wire_open(a->body); (rc = wire_next(&r, &f)) > 0;)
        if (f.number == TEARDOWN_EXIT_CODE && f.type == WIRE_VARINT)
            exit_code = (int)(int64_t)f.value;
    if (rc < 0)
        return TARE_EFORMAT;
    if (a->request_id.n)
        connection_respond(a->c, a->request_id, RESPONSE_TEARDOWN, (struct str){0});
    a->c->service->torn_down = true;
    service_end(a->c->service, "teardown was asked for", 0, true, exit_code);
    return 0;
}

/* -- the rest ---------------------------------------------------------------------------------- */

static int on_cancel(const struct asking *a)
{
    struct str id;
    int rc = find_bytes(a->body, CANCEL_REQUEST_ID, &id);
    if (rc || !id.n)
        return rc;
    struct request_list *of_stream = NULL;
    uint64_t serial = mailbox_cancel(&a->c->service->mailbox, &a->c->requests, id, &of_stream);
    if (serial && of_stream)
        stream_cancelled(of_stream, serial);
    if (serial && !of_stream) {
        apis_cancelled(&a->c->apis, serial);
        syncs_cancelled(a->c->service, serial);
        sweeps_cancelled(a->c->service, serial);
    }
    return 0;
}

/* -- requests that belong to no run -------------------------------------------------------------- */

/* To be answered later; 0 if no answer is wanted. */
static uint64_t put_waiting(const struct asking *a)
{
    if (!a->request_id.n)
        return 0;
    return mailbox_put(&a->c->service->mailbox, a->c, &a->c->requests, NULL, a->request_id, (struct str){0});
}

static int on_authenticate(const struct asking *a)
{
    struct str id;
    AUTO_BUF info = {0};
    int rc = find_stream_id(a->body, &id);
    if (rc)
        return rc;
    put_info(&info, id);
    apis_authenticate(&a->c->apis, a->c->service, a->body, buf_str(&info), put_waiting(a));
    return 0;
}

static int on_api_init(const struct asking *a)
{
    struct err e = {0};
    AUTO_BUF body = {0};
    if (apis_open(&a->c->apis, a->c->service, a->body, &body, &e))
        refuse(a, e.text);
    else if (a->request_id.n)
        connection_respond(a->c, a->request_id, RESPONSE_API_INIT, buf_str(&body));
    return 0;
}

static int on_api_request(const struct asking *a)
{
    apis_request(&a->c->apis, a->c->service, a->body, put_waiting(a));
    return 0;
}

static int on_api_cleanup(const struct asking *a)
{
    apis_close(&a->c->apis, a->body);
    return 0;
}

/* -- sync -------------------------------------------------------------------------------------- */

static int on_init_sync(const struct asking *a)
{
    AUTO_BUF body = {0};
    int rc = syncs_init_op(a->c->service, a->body, &body);
    if (rc == 0 && a->request_id.n)
        connection_respond(a->c, a->request_id, RESPONSE_INIT_SYNC, buf_str(&body));
    return rc;
}

static int on_sync(const struct asking *a)
{
    uint64_t serial = 0;
    if (a->request_id.n)
        serial = mailbox_put(&a->c->service->mailbox, a->c, &a->c->requests, NULL, a->request_id,
                             (struct str){0});
    return syncs_do(a->c->service, a->body, serial);
}

static int on_sync_status(const struct asking *a)
{
    AUTO_BUF body = {0};
    int rc = syncs_status(a->c->service, a->body, &body);
    if (rc == 0 && a->request_id.n)
        connection_respond(a->c, a->request_id, RESPONSE_SYNC_STATUS, buf_str(&body));
    return rc;
}

/* -- sweep schedulers ---------------------------------------------------------------------------- */

static int on_sweep_init(const struct asking *a)
{
    sweeps_init_session(a->c->service, a->c, a->body, put_waiting(a));
    return 0;
}

static int on_sweep_next_task(const struct asking *a)
{
    sweeps_next_task(a->c->service, a->body, put_waiting(a));
    return 0;
}

static int on_sweep_stop(const struct asking *a)
{
    sweeps_stop(a->c->service, a->body);
    return 0;
}

static const struct route {
    uint32_t number; /* field of ServerRequest */
    int (*run)(const struct asking *a);
} routes[] = {
    {1, on_record},        /* record_publish */
    {2, on_record},        /* record_communicate */
    {3, on_init},          /* inform_init */
    {4, on_finish},        /* inform_finish */
    {5, on_attach},        /* inform_attach */
    {6, on_detach},        /* inform_detach */
    {7, on_teardown},      /* inform_teardown */
    {9, on_authenticate},  /* authenticate */
    {11, on_init_sync},    /* init_sync */
    {12, on_sync},         /* sync */
    {13, on_sync_status},  /* sync_status */
    {14, on_api_init},     /* api_init_request */
    {15, on_api_request},  /* api_request */
    {16, on_cancel},       /* cancel */
    {17, on_api_cleanup},  /* api_cleanup_request */
    {18, on_sweep_init},   /* sweep_scheduler_init */
    {19, on_sweep_next_task}, /* sweep_scheduler_next_task */
    {20, on_sweep_stop},   /* sweep_scheduler_stop */
};

static const struct route *find_route(uint32_t number)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (routes[i].number == number)
            return &routes[i];
    return NULL;
}

static int split(struct connection *c, struct str request, struct asking *a,
                 const struct route **route)
{
    struct wire_field f;
    int rc;
    *a = (struct asking){.c = c};
    *route = NULL;
    for (struct wire_reader r = wire_open(request); (rc = wire_next(&r, &f)) > 0;) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == REQUEST_ID) {
            a->request_id = f.bytes;
            continue;
        }
        const struct route *found = find_route(f.number);
        if (found) {
            *route = found;
            a->body = f.bytes;
        }
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

int router_frame(struct connection *c, struct str request)
{
    struct asking a;
    const struct route *route;
    int rc = split(c, request, &a, &route);
    if (rc == 0 && !route)
        refuse(&a, "a request of a kind this service does not know");
    else if (rc == 0)
        rc = route->run(&a);
    if (rc < 0)
        connection_respond_error(c, a.request_id, "the request cannot be decoded");
    return rc;
}

void router_refuse(struct connection *c, struct str request)
{
    struct asking a;
    const struct route *route;
    if (split(c, request, &a, &route) == 0)
        refuse(&a, "the service has run out of file descriptors; raise `ulimit -n`");
}
