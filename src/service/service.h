/* SPDX-License-Identifier: MIT */
/* The service process: one loop thread, its listeners, connections and streams, and how it ends.
 *
 * It ends by teardown, when the parent dies, by a signal, or when detached and idle. However it
 * ends, what clients had handed to their sockets is read first, every stream writes what it has,
 * and only then the process goes. Loop thread only. */
#ifndef TARE_SERVICE_SERVICE_H
#define TARE_SERVICE_SERVICE_H

#include "loop/turn.h"
#include "loop/worker.h"
#include "service/intake/server_sock.h"
#include "service/options.h"
#include "service/stream/mailbox.h"
#include "service/streams.h"
#include "service/sweep/sweeps.h"
#include "service/syncs.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct connection;
struct http;
struct scraper;

enum service_stage {
    SERVING,
    FINISHING, /* streams are writing their ends, syncs are let go */
    PARTING,   /* connections are sending their last answers */
    GONE,      /* only handles are left to close */
};

struct service {
    uv_loop_t loop;
    struct options options;
    struct turn turn;
    struct mailbox mailbox;
    struct server_sock sock;
    struct streams streams;
    struct syncs syncs;
    struct sweeps sweeps;
    struct http *http;       /* made for the first online run; NULL before */
    struct scraper *scraper; /* made for the first run with endpoints of metrics */
    struct connection *connections; /* list */
    int n_connections;
    uint64_t last_connection_id;
    int64_t now_ns;    /* when this read began, by clock_steady_ns */
    char *read_buffer; /* READ_BUFFER_BYTES, for whichever connection is being read */

    enum service_stage stage;
    int exit_code;
    bool end_queued;         /* end_task will run, or has run */
    bool finish_streams;     /* how it was asked for: see service_end */
    bool torn_down;          /* by a client: whoever waits for a run's end wants to be gone */
    int run_exit;
    struct turn_task end_task;
    int signals;             /* how many have come */
    struct work sweep;       /* looks once for what dead services left */
    char diag_path[512];     /* the debug log, "" if there is none */
    uv_timer_t idle_timer;   /* detached, without a client */
    uv_timer_t end_timer;    /* bounds the wait after a signal, and the end */
    uv_timer_t tell_timer;   /* now and then, while the end lasts */
    uv_timer_t orphan_timer; /* see orphans.h */
    uv_timer_t refuse_timer; /* bounds the stay of `refused` */
    struct connection *refused;
    uv_async_t on_signal;    /* woken from the signal handler */
    uv_poll_t parent_poll;   /* readable when the parent has died */
    uv_timer_t parent_timer; /* where the kernel cannot tell: looks now and then */
    int parent_fd;
};

/* Set up, listen, and write the port file. 0, or the reason in `e` and nothing left behind. */
int service_open(struct service *s, const struct options *o, struct err *e);

/* Run until the end; returns the exit code. */
int service_run(struct service *s);

/* -- for intake/ and stream/ ------------------------------------------------------------------- */

/* Begin to end. With `finish_streams`, runs without an exit record are given one with `run_exit`,
 * and their footers are printed. Later calls change nothing. */
void service_end(struct service *s, const char *why, int exit_code, bool finish_streams,
                 int run_exit);

/* A connection has been made or closed; a stream has been made; one has closed. */
void service_connections_changed(struct service *s);
void service_stream_made(struct service *s);
void service_streams_changed(struct service *s);
void service_syncs_changed(struct service *s); /* an operation is over */

struct http *service_http(struct service *s);
struct scraper *service_scraper(struct service *s);

#endif
