/* SPDX-License-Identifier: MIT */
/* The inside of the sender, for its own files only: sender.c (its life, and which record goes
 * where), sender_upsert.c (when the run itself is told to the backend), sender_run.c and
 * sender_branch.c (what is told), sender_records.c and sender_console.c (one kind of record each), sender_job.c (the job that is
 * made at the end). */
#ifndef TARE_SERVICE_STREAM_SENDER_IMPL_H
#define TARE_SERVICE_STREAM_SENDER_IMPL_H

#include "loop/worker.h"
#include "record/config.h"
#include "record/history_line.h"
#include "record/metric.h"
#include "record/summary.h"
#include "service/stream/console_lines.h"
#include "service/stream/console_term.h"
#include "service/stream/cursor.h"
#include "service/stream/sender.h"
#include "service/stream/sender_run.h"
#include "service/stream/start_state.h"
#include "service/upload/artifact.h"
#include "service/upload/file.h"
#include "service/upload/filestream.h"
#include "service/upload/graphql.h"
#include "service/upload/job.h"

#include <stdbool.h>
#include <stdint.h>

enum upsert_state {
    UPSERT_NONE,     /* no run record yet */
    UPSERT_ASKING,   /* what the run that goes on had */
    UPSERT_STARTING, /* reading where it started, if this is not the first time */
    UPSERT_MAKING,   /* the first UpsertBucket */
    UPSERT_READY,
    UPSERT_REFUSED,
};

/* Who matches metrics with the globs of their definitions. */
enum globs {
    GLOBS_UNKNOWN,
    GLOBS_ASKED,   /* the backend, whether it does */
    GLOBS_BACKEND,
    GLOBS_HERE,
};

/* The run as the backend is told of it. */
struct upsert {
    enum upsert_state state;
    struct buf record; /* the first RunRecord as it came */
    struct run_params params;
    struct config config;
    struct metrics metrics;
    enum globs globs;
    struct summary metric_slots; /* what `metrics` wants; unused */
    struct buf telemetry;        /* TelemetryRecord, all merged */
    struct buf environment;      /* EnvironmentRecords, one behind the other */
    char writer_id[40];
    bool params_dirty, config_dirty;
    bool calling, finishing, waiting; /* waiting: the debounce timer runs */
    struct graphql_call call;
    struct buf variables;
    int64_t give_up_ns; /* of the first requests; 0 for no bound */
    int64_t since_ns;   /* when `call` began */
    char retry_why[256];
    uv_timer_t debounce;
    struct work state_work;  /* all of the rest belongs to the worker meanwhile */
    char *state_path;        /* NULL: nothing is kept */
    char *state_place;       /* NULL before the run is known there */
    struct start_state state_kept;
    int state_rc;
};

struct alert_call {
    struct alert_call *prev, *next;
    struct sender *sender;
    struct graphql_call call;
    struct buf variables;
};

enum structured { UNKNOWN, ASKED, PLAIN, STRUCTURED };

/* Captured output as lines of the file stream. */
struct sender_console {
    struct console_lines lines;
    struct console_term terms[2]; /* stdout, stderr */
    bool dirty, capture;
    enum structured structured; /* what the backend wants */
    char *label;
    uint64_t given[CONSOLE_WINDOW]; /* hash of what was last given of a line in the window */
    struct buf held;                /* the record that waits until `structured` is known */
    bool held_is_raw;
    struct buf line;
};

enum sender_stage {
    SENDER_READING,
    SENDER_ENDING_RUN,    /* the last upsert, alerts */
    SENDER_ENDING_ARTIFACTS,
    SENDER_ENDING_JOB,    /* and artifacts once more, for it is one */
    SENDER_ENDING_FILES,
    SENDER_ENDING_STREAM, /* the exit code */
    SENDER_ENDED,
};

struct sender {
    struct sender_owner owner;
    struct sender_options o;
    char *files_dir, *journal_path;
    struct backend *backend;
    struct cursor *cursor;
    struct filestream *filestream;
    struct files *files;
    struct artifacts *artifacts;
    struct files_progress progress; /* what those two had done when they were given up */
    struct job *job;           /* NULL: none is to be made */
    struct job_call *job_call; /* being made */
    struct upsert upsert;
    struct history_line line;
    struct summary summary; /* explicit values, as in the journal's summary records */
    uint32_t step_slot;
    int64_t last_step; /* of the history; -1 before the first row */
    struct buf text;   /* the line being made */
    struct sender_console *console; /* NULL until the first output */
    struct alert_call *alerts;
    uv_timer_t bound;  /* give up when it fires */
    uv_timer_cb on_bound;
    enum sender_stage stage;
    bool final;        /* of the journal: it will grow no more */
    bool freed, exit_seen, complete, primary, shared, server_side_summary;
    bool gap_told;
    int32_t exit_code;
    int error;  /* why it was given up; 0 */
    int n_open; /* handles, calls and jobs that still point here */
};

/* -- sender.c -- */

void sender_release(struct sender *s); /* one of n_open has gone */
void sender_go_on(struct sender *s); /* what held the cursor is over */
void sender_run_known(struct sender *s);
void sender_run_refused(struct sender *s, const struct run_error *e);
void sender_end_on(struct sender *s); /* something that the end waits for is done */
void sender_tell(struct sender *s, bool error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* -- sender_upsert.c -- */

void upsert_init(struct sender *s);
void upsert_fini(struct sender *s); /* all has been released */
void upsert_close(struct sender *s);
void upsert_run(struct sender *s, struct str record); /* the first one begins the run */
void upsert_config(struct sender *s, struct str record);
void upsert_telemetry(struct sender *s, struct str record);
void upsert_metric(struct sender *s, struct str record);
void upsert_environment(struct sender *s, struct str record);
void upsert_set_done(struct sender *s); /* all has arrived: kept beside the journal */
void upsert_finish(struct sender *s); /* bring what is left now */
bool upsert_is_done(const struct sender *s);
void upsert_abort(struct sender *s);
int upsert_operations(const struct sender *s, struct buf *to);

/* -- sender_records.c -- */

void send_history(struct sender *s, struct str record);
void send_summary(struct sender *s, struct str record);
void send_stats(struct sender *s, struct str record);
void send_files(struct sender *s, struct str record);
void send_alert(struct sender *s, struct str record);
void send_preempting(struct sender *s, struct str record);
void send_artifact(struct sender *s, struct str record);
void sender_put_summary(struct sender *s, struct buf *to);
void sender_put_metadata_file(struct sender *s);
void sender_put_config_file(struct sender *s);
void sender_put_summary_file(struct sender *s);
void alerts_abort(struct sender *s);

/* -- sender_job.c -- */

void send_use_artifact(struct sender *s, struct str record);
/* An artifact that a client waited for is with the backend. */
void sender_logged_artifact(struct sender *s, struct str type, const char *name, const char *id);
void sender_begin_job(struct sender *s); /* in SENDER_ENDING_JOB: sender_job_over follows */
void sender_job_abort(struct sender *s);
void sender_job_over(struct sender *s); /* in sender.c */

/* -- sender_console.c -- */

void send_output_raw(struct sender *s, struct str record);
void send_output_logger(struct sender *s, struct str record);
bool console_waits(const struct sender *s); /* for the backend: nothing more may be sent before */
/* What has changed since the last call becomes updates of the file stream. */
void console_flush(struct sender *s);
void console_end(struct sender *s); /* and names output.log */
void console_fini(struct sender *s);

#endif
