/* SPDX-License-Identifier: MIT */
/* The handler: one run's rules. Records come in; what must last goes to the journal, answers go to
 * whoever asked. It knows no sockets, no loop and no files: everything it does goes through
 * `struct handler_out`, and time comes to it through handler_tick, so tests need none of them.
 *
 * All calls come from the stream's loop thread. */
#ifndef TARE_SERVICE_STREAM_HANDLER_H
#define TARE_SERVICE_STREAM_HANDLER_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct handler;
struct stream_settings; /* stream/stream_settings.h: what is kept of the Settings message */

/* Who asked, and how the answer finds back: an opaque, copyable handle made by the connection.
 * A reply to a connection that has closed meanwhile is dropped by the receiver. */
struct reply_to {
    uint64_t connection_id;
    char request_id[48];   /* ServerRequest.request_id, NUL-terminated; "" if there was none */
    char mailbox_slot[48]; /* Record.control.mailbox_slot, NUL-terminated; "" if there was none */
    bool wanted;           /* false: a published record, nobody waits */
};

enum reply_when {
    REPLY_NOW,          /* as soon as the loop turns */
    REPLY_WHEN_WRITTEN, /* after everything appended so far is in the file and all work is done */
    REPLY_WHEN_SENT,    /* to the exit: after the backend has everything, or it was given up */
};

/* What only the sender of an online run knows. */
enum handler_ask {
    ASK_STOP,       /* append the fields of a StopStatusResponse, */
    ASK_NETWORK,    /* of a NetworkStatusResponse, */
    ASK_OPERATIONS, /* of an OperationStats, */
    ASK_PROGRESS,   /* of a PollExitResponse, but for `done` */
};

/* A job for the worker threads: `run` may block and touches only `job`; `done` is then called on
 * the loop thread (once, also when the stream is closing) and frees it. */
struct handler_job {
    void (*run)(struct handler_job *job);
    void (*done)(struct handler_job *job, struct handler *h);
};

/* Where a handler's decisions go; `ctx` is the first argument of each. */
struct handler_out {
    void *ctx;
    /* Append one serialized Record to the journal; the bytes are copied (framed) before return. */
    void (*append)(void *ctx, struct str record);
    /* Answer with a serialized Result (field numbers of wandb_internal.Result, without `control`,
     * which the receiver adds from `to`). Copied before return. */
    void (*reply)(void *ctx, const struct reply_to *to, struct str result, enum reply_when when);
    /* Answer with ServerErrorResponse{message} in place of a Result. */
    void (*fail)(void *ctx, const struct reply_to *to, const char *message);
    /* Run a job on the worker threads. Jobs of one stream run one after another in this order. */
    void (*work)(void *ctx, struct handler_job *job);
    /* Of an online run; NULL for offline ones. */
    void (*ask)(void *ctx, enum handler_ask what, struct buf *to);
    /* Likewise: a request about artifacts, to be answered when it is done. `kind` is its field number
     * in Request. */
    void (*artifact)(void *ctx, uint32_t kind, struct str request, const struct reply_to *to);
    void (*job_input)(void *ctx, struct str request); /* a JobInputRequest; no answer */
    /* Of an online run; NULL for offline ones: its machine was looked at, so whoever knows more of it may tell
     * (handler_environment). */
    void (*probed)(void *ctx);
    /* NULL unless the settings name endpoints of metrics: append the StatsItems that came since the last
     * time, or, where `to` is NULL, ask for new ones; ask what GPUs there are (handler_gpus answers, perhaps
     * from inside). */
    void (*scrape)(void *ctx, struct buf *to);
    void (*scrape_gpus)(void *ctx);
};

/* `settings` is borrowed and outlives the handler. NULL when out of memory. */
struct handler *handler_new(const struct stream_settings *settings, const struct handler_out *out,
                            int64_t now_ns);
void handler_free(struct handler *h);

/* One record as it stood in the frame: `record` is a serialized wandb_internal.Record, borrowed for
 * the call. `now_ns` is of clock_steady_ns: the wall time unless that was set. Returns 0, or TARE_EFORMAT if the bytes are no Record. */
int handler_record(struct handler *h, struct str record, const struct reply_to *to, int64_t now_ns);

/* Whether there is a run: a client that gave up before it said anything of one leaves none. */
bool handler_has_run(const struct handler *h);

/* Which of several writers of the run this is. */
const char *handler_writer_id(const struct handler *h);

/* Of an online run: the backend knows it (`run` is its RunRecord, `runtime_ms` that of its earlier
 * parts), or has refused it (ErrorInfo's code and message). The run record is answered then. */
void handler_run_known(struct handler *h, struct str run, int64_t runtime_ms, int64_t now_ns);
void handler_run_refused(struct handler *h, int code, const char *message);
/* What GPUs there are: fields of an EnvironmentRecord. */
void handler_gpus(struct handler *h, struct str fields);
/* More of the machine: fields of an EnvironmentRecord. Nothing once the run has ended. */
void handler_environment(struct handler *h, struct str fields);
/* Everything is with the backend, or it was given up: no messages will come any more. */
void handler_sent(struct handler *h);

/* When handler_tick wants to be called next (wall ns), INT64_MAX for never. Cheap: asked after
 * every batch of records. */
int64_t handler_deadline(const struct handler *h);
void handler_tick(struct handler *h, int64_t now_ns);

/* The client will send nothing more (its connection is gone, or teardown): write what is still
 * open (history row, summary, console) to the journal. Jobs under way may still bring records, and
 * an exit record that waits for them comes when the last of them is done. Idempotent. */
void handler_close(struct handler *h, int64_t now_ns);

/* The request with this connection_id in its reply_to needs no answer any more
 * (ServerRequest.cancel). */
void handler_cancel(struct handler *h, uint64_t connection_id);

/* A warning for the person at the client: handed out by the next internal_messages request. */
void handler_warn(struct handler *h, const char *text);

#endif
