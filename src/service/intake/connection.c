/* SPDX-License-Identifier: MIT */
#include "service/intake/connection.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "record/check.h"
#include "record/frame.h"
#include "record/record.h"
#include "record/wire.h"
#include "service/intake/router.h"
#include "service/limits.h"
#include "service/orphans.h"
#include "service/platform.h"
#include "service/service.h"
#include "service/stream/stream.h"

#include <errno.h>
#include <unistd.h>
#include <utlist.h>

/* Field numbers of wandb_internal.ServerResponse and what is in it. */
enum {
    RESPONSE_RESULT = 2,
    RESPONSE_REQUEST_ID = 10,
    RESPONSE_ERROR = 200,
    ERROR_MESSAGE = 1,
    RESULT_CONTROL = 16,
    CONTROL_MAILBOX_SLOT = 4,
};

/* -- reading ----------------------------------------------------------------------------------- */

static size_t out_limit(void)
{
    return out_queue_total_bytes > OUT_TOTAL_BYTES ? OUT_CONNECTION_SCARCE_BYTES
                                                   : OUT_CONNECTION_BYTES;
}

static bool is_paused(const struct connection *c)
{
    return c->out_full || c->waits_for || c->parting || c->closing;
}

static int on_frame(void *user, struct str payload)
{
    struct connection *c = user;
    if (c->refused) {
        router_refuse(c, payload);
        connection_part(c);
        return FRAMES_PAUSE;
    }
    int rc = router_frame(c, payload);
    if (rc)
        return rc;
    if (c->out.bytes > out_limit())
        c->out_full = true;
    return is_paused(c) ? FRAMES_PAUSE : 0;
}

/* The bytes are not what they should be: this connection ends, nothing else does. */
static void break_off(struct connection *c, int rc)
{
    diag_error("connection %llu sent what cannot be understood (%s); closing it",
               (unsigned long long)c->id, err_text(rc));
    frame_in_fini(&c->in);
    connection_part(c);
}

static void take(struct connection *c, const void *bytes, size_t n)
{
    int rc = frame_in_feed(&c->in, bytes, n, on_frame, c);
    if (rc < 0)
        break_off(c, rc);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *to)
{
    struct connection *c = h->data;
    (void)suggested;
    *to = uv_buf_init(c->service->read_buffer, READ_BUFFER_BYTES);
}

static void stop_reading(struct connection *c)
{
    if (c->reading)
        uv_read_stop(&c->h.stream);
    c->reading = false;
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = h->data;
    if (n == 0)
        return;
    if (n < 0) {
        if (n != UV_EOF)
            diag_info("connection %llu: %s", (unsigned long long)c->id, err_text((int)n));
        connection_part(c);
        return;
    }
    c->service->now_ns = clock_steady_ns();
    take(c, buf->base, (size_t)n);
    if (is_paused(c))
        stop_reading(c);
}

static void start_reading(struct connection *c)
{
    if (c->reading || is_paused(c))
        return;
    int rc = uv_read_start(&c->h.stream, on_alloc, on_read);
    if (rc)
        connection_close(c);
    else
        c->reading = true;
}

/* -- sending ----------------------------------------------------------------------------------- */

static void on_drained(struct out_queue *q)
{
    struct connection *c = q->to->data;
    if (!c->closing)
        turn_add(&c->service->turn, &c->task);
}

/* At the end of a turn. */
static void on_turn(struct turn_task *t)
{
    struct connection *c = (struct connection *)((char *)t - offsetof(struct connection, task));
    if (c->closing)
        return;
    out_queue_flush(&c->out);
    if (c->parting && (c->out.bytes == 0 || c->out.error)) {
        connection_close(c);
        return;
    }
    if (c->out_full && (c->out.error || c->out.bytes <= out_limit() / 2))
        c->out_full = false;
    if (is_paused(c) || c->reading)
        return;
    c->service->now_ns = clock_steady_ns();
    take(c, NULL, 0); /* what was read before the pause */
    if (c->out.bytes)
        turn_add(&c->service->turn, &c->task);
    start_reading(c);
}

/* Room for a ServerResponse of `n` bytes, framed. */
static char *room(struct connection *c, size_t n)
{
    if (c->closing || n > UINT32_MAX)
        return NULL;
    char *at = out_queue_room(&c->out, FRAME_HEADER + n);
    if (!at)
        return NULL;
    frame_put_header(at, (uint32_t)n);
    turn_add(&c->service->turn, &c->task);
    return at + FRAME_HEADER;
}

/* It is written: from `end` back to where room() said. */
static void sent(char *start, const char *end)
{
    record_mend_texts(&pb__server_response__descriptor, start, (size_t)(end - start));
}

static size_t id_size(struct str request_id)
{
    return request_id.n ? wire_bytes_size(RESPONSE_REQUEST_ID, request_id.n) : 0;
}

static char *put_id(char *at, struct str request_id)
{
    return request_id.n ? wire_put_bytes(at, RESPONSE_REQUEST_ID, request_id) : at;
}

void connection_respond(struct connection *c, struct str request_id, uint32_t number,
                        struct str body)
{
    size_t own = number ? wire_bytes_size(number, body.n) : 0;
    char *start = room(c, own + id_size(request_id)), *at = start;
    if (!at)
        return;
    if (number)
        at = wire_put_bytes(at, number, body);
    sent(start, put_id(at, request_id));
}

void connection_respond_result(struct connection *c, struct str request_id, struct str slot,
                               struct str result)
{
    size_t control = slot.n ? wire_bytes_size(CONTROL_MAILBOX_SLOT, slot.n) : 0;
    size_t n = result.n + (slot.n ? wire_bytes_size(RESULT_CONTROL, control) : 0);
    char *start = room(c, wire_bytes_size(RESPONSE_RESULT, n) + id_size(request_id)), *at = start;
    if (!at)
        return;
    at = wire_put_tag(at, RESPONSE_RESULT, WIRE_BYTES);
    at = wire_put_varint(at, n);
    if (result.n)
        memcpy(at, result.p, result.n);
    at += result.n;
    if (slot.n) {
        at = wire_put_tag(at, RESULT_CONTROL, WIRE_BYTES);
        at = wire_put_varint(at, control);
        at = wire_put_bytes(at, CONTROL_MAILBOX_SLOT, slot);
    }
    sent(start, put_id(at, request_id));
}

void connection_respond_error(struct connection *c, struct str request_id, const char *message)
{
    if (!request_id.n)
        return;
    AUTO_BUF body = {0};
    if (wire_buf_bytes(&body, ERROR_MESSAGE, str_of(message)) == 0)
        connection_respond(c, request_id, RESPONSE_ERROR, buf_str(&body));
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
    struct connection *c = h->data;
    struct service *s = c->service;
    bool refused = c->refused;
    frame_in_fini(&c->in);
    out_queue_fini(&c->out);
    mem_free(c);
    if (refused)
        server_sock_recover(&s->sock);
}

static int attach(struct connection *c, struct service *s, int fd, bool tcp)
{
    int rc;
    if (tcp) {
        uv_tcp_init(&s->loop, &c->h.tcp);
        rc = uv_tcp_open(&c->h.tcp, fd);
        uv_tcp_nodelay(&c->h.tcp, 1);
    } else {
        uv_pipe_init(&s->loop, &c->h.pipe, 0);
        rc = uv_pipe_open(&c->h.pipe, fd);
    }
    if (rc)
        close(fd);
    return rc;
}

static void on_refused_too_long(uv_timer_t *t)
{
    struct service *s = t->data;
    if (s->refused)
        connection_close(s->refused);
}

void connection_open(struct service *s, int fd, bool tcp, bool refuse)
{
    struct connection *c = xmem_calloc(1, sizeof *c);
    c->pid = tcp ? 0 : platform_peer_pid(fd);
    int rc = attach(c, s, fd, tcp);
    c->service = s;
    c->id = ++s->last_connection_id;
    c->refused = refuse;
    c->h.handle.data = c;
    c->task.run = on_turn;
    frame_in_init(&c->in, (uint32_t)s->options.max_frame_bytes);
    out_queue_init(&c->out, &c->h.stream, on_drained);
    DL_APPEND(s->connections, c);
    s->n_connections++;
    diag_debug("connection %llu opened", (unsigned long long)c->id);
    service_connections_changed(s);
    if (refuse) {
        s->refused = c;
        uv_timer_start(&s->refuse_timer, on_refused_too_long, REFUSED_MS, 0);
    }
    if (rc)
        connection_close(c);
    else
        start_reading(c);
}

void connection_wait_for(struct connection *c, struct stream *s)
{
    if (c->waits_for || c->closing)
        return;
    c->waits_for = s;
    stream_add_waiter(s, c);
}

void connection_go_on(struct connection *c)
{
    c->waits_for = NULL;
    turn_add(&c->service->turn, &c->task);
}

/* Kept frames first, then what the kernel holds; a client that still writes is not waited for. */
void connection_drain(struct connection *c)
{
    uv_os_fd_t fd;
    if (c->closing || c->refused || uv_fileno(&c->h.handle, &fd))
        return;
    stop_reading(c);
    c->service->now_ns = clock_steady_ns();
    for (size_t total = 0; total < DRAIN_BYTES && !c->parting && !c->closing;) {
        size_t n = 0;
        if (c->waits_for)
            stream_remove_waiter(c->waits_for, c);
        c->waits_for = NULL;
        c->out_full = false;
        if (frame_in_is_partial(&c->in))
            take(c, NULL, 0);
        if (c->waits_for || c->out_full)
            continue;
        ssize_t got = c->closing ? 0 : read(fd, c->service->read_buffer, READ_BUFFER_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n = (size_t)got;
        take(c, c->service->read_buffer, n);
        total += n;
    }
}

void connection_part(struct connection *c)
{
    if (c->parting || c->closing)
        return;
    c->parting = true;
    stop_reading(c);
    turn_add(&c->service->turn, &c->task);
}

void connection_close(struct connection *c)
{
    struct service *s = c->service;
    struct asked nobody;
    if (c->closing)
        return;
    c->closing = true;
    c->reading = false;
    diag_debug("connection %llu closed", (unsigned long long)c->id);
    while (mailbox_take_any(&s->mailbox, &c->requests, &nobody))
        continue;
    apis_fini(&c->apis);
    sweeps_connection_closed(s, c);
    if (c->waits_for)
        stream_remove_waiter(c->waits_for, c);
    turn_remove(&s->turn, &c->task);
    if (s->refused == c)
        s->refused = NULL;
    DL_DELETE(s->connections, c);
    s->n_connections--;
    uv_close(&c->h.handle, on_closed);
    orphans_client_gone(s, c->pid);
    service_connections_changed(s);
}
