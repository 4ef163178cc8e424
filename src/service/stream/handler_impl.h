/* SPDX-License-Identifier: MIT */
/* The inside of the handler, for its own files only: handler.c (the way of a record),
 * handler_kinds.c (which kinds there are) and one handler_<subject>.c for each group of rules. */
#ifndef TARE_SERVICE_STREAM_HANDLER_IMPL_H
#define TARE_SERVICE_STREAM_HANDLER_IMPL_H

#include "base/buf.h"
#include "base/number.h"
#include "record/metric.h"
#include "record/row.h"
#include "record/summary.h"
#include "service/stream/handler.h"
#include "service/stream/runfiles.h"
#include "service/stream/sampler.h"

#include <stdbool.h>
#include <stdint.h>

/* Fields of Record that are not its kind. */
enum {
    RECORD_NUM = 1,
    RECORD_CONTROL = 16,
    RECORD_UUID = 19,
    RECORD_REQUEST = 100,
    RECORD_INFO = 200,
    CONTROL_LOCAL = 2,
};

/* Fields of Result and Response. */
enum { RESULT_RUN = 17, RESULT_EXIT = 18, RESULT_RESPONSE = 100, NO_RESPONSE = 0 };

/* How far the summary in the journal may be behind the history. */
#define HANDLER_SUMMARY_NS ((int64_t)1000000000)
#define HANDLER_SUMMARY_ONLINE_NS ((int64_t)250000000) /* but for the first, which is written at once */
enum { HANDLER_MAX_MESSAGES = 128 };

/* One record (or request) on its way through the rules. */
struct incoming {
    struct str body;      /* the message of its kind */
    uint32_t kind;        /* field number in Record, or in Request */
    bool local;           /* marked as not to be kept */
    const struct reply_to *to;
    int64_t now_ns;
};

enum { KIND_KEPT = 1, KIND_ANSWERED = 2 };

/* A row of the table of kinds. `rule` may be NULL: nothing to do but what the flags say. */
struct handler_kind {
    uint32_t number;
    const char *name; /* of the field in the .proto file */
    void (*rule)(struct handler *h, const struct incoming *in);
    unsigned flags; /* KIND_KEPT: goes to the journal as it came, unless marked local.
                     * KIND_ANSWERED: the rule answers if somebody waits. */
};

extern const struct handler_kind handler_record_kinds[];
extern const size_t handler_n_record_kinds;
extern const struct handler_kind handler_request_kinds[];
extern const size_t handler_n_request_kinds;

struct waiter {
    struct waiter *next;
    struct reply_to to;
};

struct handler {
    const struct stream_settings *settings; /* borrowed */
    struct handler_out out;
    struct buf bytes; /* the record being made */
    uint64_t n_kept;  /* records in the journal so far: the last one's number */

    /* history */
    struct summary summary;
    struct metrics metrics;
    struct row row;
    struct sampler sampler;
    bool row_begun;      /* a partial history came: next_step is set */
    int64_t next_step;   /* step of the row that is open, or of the next one */
    int64_t starting_step;
    uint64_t n_bad_items; /* left out of rows */
    uint32_t step_slot, runtime_slot, wandb_runtime_slot;
    char number_text[2][NUMBER_MAX]; /* _step and _runtime of the row being written */
    int64_t summary_runtime_s; /* _wandb.runtime as it stands in the summary */
    int64_t summary_due_ns; /* INT64_MAX while the journal's summary is up to date */
    bool summary_written;   /* at least once */

    struct runfiles *files; /* output.log and others beside the journal */

    /* run */
    struct buf run;           /* RunRecord of run_start, what attach answers */
    bool has_run, exited, closed;
    bool online, sent;        /* sent: nothing more goes to the backend */
    struct reply_to run_to;   /* who waits for the backend's word on the run */
    struct buf refusal;       /* RunUpdateResult of a run that was refused; empty */
    bool clock_runs;          /* the runtime clock */
    struct buf exit_body;     /* RunExitRecord that waits for the files, */
    struct reply_to exit_to;  /* and who wants it answered */
    bool exit_waits;
    int64_t started_ns;       /* when it last started */
    int64_t elapsed_ns;       /* at its last stop */

    /* messages for the person at the client */
    char **messages; /* HANDLER_MAX_MESSAGES places, NULL before the first */
    uint32_t n_messages;
    bool messages_lost;
    struct waiter *waiters;   /* internal_messages requests, newest first */
};

/* -- handler.c -- */

/* Write a record to the journal: begin, append its fields to h->bytes, end. */
void handler_record_begin(struct handler *h);
void handler_record_end(struct handler *h);
/* Keep a record of one field. */
void handler_keep(struct handler *h, uint32_t kind, struct str body);
/* Answer with Response { response { body } }, or an empty Response for NO_RESPONSE. */
void handler_respond(struct handler *h, const struct reply_to *to, uint32_t response,
                     struct str body, enum reply_when when);
void handler_fail(struct handler *h, const struct reply_to *to, const char *message);
void handler_warnf(struct handler *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* -- handler_run.c -- */

int64_t handler_runtime_ns(const struct handler *h, int64_t now_ns);
/* The exit that waited for the files may go on. */
void handler_exit_now(struct handler *h, int64_t now_ns);

/* -- handler_files.c -- */

void handler_files_init(struct handler *h, int64_t now_ns);

/* -- handler_history.c -- */

void handler_partial_history(struct handler *h, const struct incoming *in);
/* The step behind the open row's. */
int64_t handler_step_after(const struct handler *h);
/* Write the open row, if it has anything. */
void handler_flush_row(struct handler *h, int64_t next_step, int64_t now_ns);

/* -- handler_summary.c -- */

/* The summary has changed: it is due in the journal some time later. */
void handler_summary_changed(struct handler *h, int64_t now_ns);
void handler_write_summary(struct handler *h);
void handler_summary_runtime(struct handler *h, int64_t now_ns);

/* -- handler_messages.c -- */

/* No more messages will come: let go who waits. */
void handler_release_waiters(struct handler *h, enum reply_when when);
void handler_messages_fini(struct handler *h);

/* The rules of the tables, by file. */
#define RULE(name) void name(struct handler *h, const struct incoming *in)
RULE(rule_run);
RULE(rule_exit);
RULE(rule_header);
RULE(rule_run_start);
RULE(rule_attach);
RULE(rule_pause);
RULE(rule_resume);
RULE(rule_history);
RULE(rule_history_step);
RULE(rule_sampled_history);
RULE(rule_summary);
RULE(rule_metric);
RULE(rule_get_summary);
RULE(rule_internal_messages);
RULE(rule_cancel);
RULE(rule_python_packages);
RULE(rule_probe_system_info);
RULE(rule_get_system_metrics);
RULE(rule_tbrecord);
RULE(rule_output_raw);
RULE(rule_output_logger);
RULE(rule_respond_empty);
RULE(rule_respond_own);
RULE(rule_poll_exit);
RULE(rule_operations);
RULE(rule_download_artifact);
RULE(rule_no_response);
RULE(rule_stop_status);
RULE(rule_network_status);
RULE(rule_artifact);
RULE(rule_job_input);

#endif
