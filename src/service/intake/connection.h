/* SPDX-License-Identifier: MIT */
/* One client's connection: bytes in, frames to the router, answers out.
 *
 * While its answers pile up unread, or a stream it writes to cannot keep up, a connection is
 * paused: nothing more is read from it, so the client's own writes wait; no other connection
 * notices. Frames that were read already are kept. Loop thread only. */
#ifndef TARE_SERVICE_INTAKE_CONNECTION_H
#define TARE_SERVICE_INTAKE_CONNECTION_H

#include "base/str.h"
#include "loop/out_queue.h"
#include "loop/turn.h"
#include "record/frame_in.h"
#include "service/api/api.h"
#include "service/stream/mailbox.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct service;
struct stream;

struct connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } h;
    struct service *service;
    pid_t pid;                           /* of the client; 0 if unknown */
    uint64_t id;                         /* 1, 2, … in the order of connecting */
    struct frame_in in;
    struct out_queue out;
    struct turn_task task;               /* at the end of a turn: send, and go on if paused */
    struct request_list requests;        /* not answered yet */
    struct apis apis;                    /* sessions of its public API */
    struct stream *last_stream;          /* which the last record was for, */
    uint64_t last_stream_change;         /* as long as streams->changes is still this */
    struct stream *waits_for;            /* the stream that cannot keep up */
    struct connection *prev, *next;      /* in service->connections */
    struct connection *wait_prev, *wait_next; /* in waits_for->waiters */
    bool reading;
    bool out_full; /* too many answers wait */
    bool parting;  /* no more requests; close when the answers are out */
    bool closing;
    bool refused;  /* has a spare descriptor: is told so, and closed */
};

/* Take over a connected socket. */
void connection_open(struct service *s, int fd, bool tcp, bool refuse);

/* Send ServerResponse{request_id, field `number` = body}. Nothing happens if the client is gone. */
void connection_respond(struct connection *c, struct str request_id, uint32_t number,
                        struct str body);

/* The same with result_communicate, adding Control{mailbox_slot} to the Result. */
void connection_respond_result(struct connection *c, struct str request_id, struct str slot,
                               struct str result);

/* ServerErrorResponse with a message; nothing without a request id. */
void connection_respond_error(struct connection *c, struct str request_id, const char *message);

/* The record just routed filled its stream: no more until the stream calls connection_go_on. */
void connection_wait_for(struct connection *c, struct stream *s);
void connection_go_on(struct connection *c);

/* Handle what the client has handed to the socket so far, without waiting for more. */
void connection_drain(struct connection *c);

/* Send the answers that wait, then close; at once if the client does not take them. */
void connection_part(struct connection *c);
void connection_close(struct connection *c);

#endif
