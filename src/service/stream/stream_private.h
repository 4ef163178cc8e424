/* SPDX-License-Identifier: MIT */
/* The inside of a stream: for stream.c, and for streams.c, which keeps it in its table. */
#ifndef TARE_SERVICE_STREAM_STREAM_PRIVATE_H
#define TARE_SERVICE_STREAM_STREAM_PRIVATE_H

#include "loop/turn.h"
#include "loop/worker.h"
#include "service/orphans.h"
#include "service/stream/handler.h"
#include "service/stream/journal_stage.h"
#include "service/stream/mailbox.h"
#include "service/stream/stream_settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_FINISHING, STREAM_CLOSED };

struct job;
struct late_reply;
struct online;
struct scrape;

struct stream {
    UT_hash_handle hh;          /* in streams->by_id */
    struct stream *prev, *next; /* in streams->closing */
    struct stream *dirty_prev, *dirty_next; /* in streams->dirty */
    struct service *service;
    struct stream_settings settings;
    struct handler *handler;
    struct handler_out out;
    struct journal_stage journal;
    struct online *online;          /* NULL for an offline run */
    struct scrape *scrape;          /* NULL before endpoints of metrics are asked */
    struct turn_task task;          /* write, answer, move on; at the end of a turn */
    struct request_list requests;   /* not answered yet */
    struct late_reply *late_replies; /* list, in the order of their offsets */
    struct stream_users users;      /* processes */
    struct connection *waiters;     /* list: paused until the journal has room */
    struct job *jobs;               /* list; the first is running while job_work is busy */
    uint64_t jobs_made, jobs_done;
    struct work job_work;
    uv_timer_t timer;     /* calls handler_tick */
    int64_t deadline_ns;  /* what the timer is set to; INT64_MAX if it is not */
    uint64_t open_serial; /* requests to answer when opened and when closed; 0 if none */
    uint64_t close_serial;
    enum stream_state state;
    char *told_waits;    /* what was printed last of why it does not end; NULL */
    int open_handles;    /* still to close before the memory can go */
    bool removed;        /* no longer in streams->by_id */
    bool journal_closed; /* or could not be opened */
    bool dirty; /* in streams->dirty */
    bool exit_seen;
    bool must_keep; /* the record being handled may not be dropped */
    bool print_footer;
    size_t id_len;
    char id[];
};

#endif
