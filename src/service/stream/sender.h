/* SPDX-License-Identifier: MIT */
/* The sender: a cursor on a run's journal that brings what it reads to one backend.
 *
 *   journal ─► cursor ─► sender ─┬─► upsert       the run itself, its config
 *                                ├─► filestream   history, events, summary, console, end
 *                                ├─► files        run files
 *                                └─► artifacts
 *
 * The same for a run that is being logged (stream.c), one that is over and one that somebody else
 * writes (sync.c). What it needs of the run it takes from the journal alone. Loop thread only.
 * (peer: core/internal/stream/sender.go, runupserter, runsync) */
#ifndef TARE_SERVICE_STREAM_SENDER_H
#define TARE_SERVICE_STREAM_SENDER_H

#include "base/err.h"
#include "base/str.h"
#include "service/upload/artifact.h"
#include "service/upload/backend.h"
#include "service/upload/file.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sender;
struct spill;

struct tag_rename {
    const char *from, *to; /* `to` "": the tag is taken away */
};

/* What becomes of records on the way: `tare sync`'s options. Strings NULL to leave as logged;
 * borrowed for the sender's life. (peer: core/internal/runsync/runsyncupdates.go) */
struct sender_changes {
    const char *entity, *project, *run_id, *job_type; /* of every run record */
    const struct tag_rename *tags;                    /* other tags stay */
    size_t n_tags;
    bool keep_unfinished; /* do not end a run whose journal has no exit record */
};

struct sender_owner {
    void *ctx;
    /* The backend knows the run: `run` is its RunRecord as the client should see it (entity, project,
     * display name, resumed, starting step, config, summary ...). Once; or run_failed instead, with
     * ErrorInfo.code of the peer (communication 1, authentication 2, usage 3), the last call then. */
    void (*run_ready)(void *ctx, struct str run);
    void (*run_failed)(void *ctx, int error_code, const char *message);
    /* Everything in the journal up to `offset` is with the backend. */
    void (*reached)(void *ctx, uint64_t offset);
    void (*tell)(void *ctx, bool error, const char *text); /* for the person at the program */
    /* The exit record was reached and everything is with the backend (`error` 0), or was given up:
     * timed out, cancelled, refused. No further calls. */
    void (*finished)(void *ctx, int error);
    /* For sender_follow: the descriptor the journal is written by, -1 while it is parked. */
    int (*writer_fd)(void *ctx);
    struct spill *(*spill)(void *ctx); /* where it goes on while its disk takes nothing; NULL */
};

struct sender_options {
    uv_loop_t *loop;
    struct http *http;
    struct str settings;    /* wandb_internal.Settings, borrowed for the sender's life */
    const char *files_dir;  /* where the run's files lie */
    const char *url, *key;  /* another backend than the settings'; NULL */
    const char *writer_id;  /* which of several writers of the run this is; NULL to make one up */
    struct sender_changes changes;
    bool is_sync;           /* a journal of the past: no heartbeats before it is being sent */
    bool tells_retries;     /* nobody asks for its operations: say when the backend does not answer */
};

/* How the backend is reached: for links and words. */
struct backend *sender_backend(const struct sender *s);

struct sender *sender_new(const struct sender_options *o, const struct sender_owner *owner, struct err *e);
void sender_free(struct sender *s); /* cancels everything; no call follows */

/* Where it reads: exactly one of the two, once. See cursor.h. `path` of sender_follow is NULL for a
 * memory file. */
void sender_follow(struct sender *s, const char *path);
void sender_read(struct sender *s, const char *path, bool live);
void sender_more(struct sender *s, uint64_t end, bool final); /* of sender_follow's journal */
void sender_end_live(struct sender *s); /* sender_read's journal has lost its writer: it is taken as it is */
void sender_hurry(struct sender *s); /* someone waits for what the journal has now */
uint64_t sender_offset(const struct sender *s); /* what lies before it is not read again */

/* The program waits no longer than this for the end: then uploads are given up (mono ns). */
void sender_bound_finish(struct sender *s, int64_t give_up_ns);
void sender_abort(struct sender *s);

/* A request about artifacts (artifact.h); the answer comes through `ask`, also when the sender is
 * freed. False: it cannot be taken any more, and `ask` is not called. */
enum sender_artifact_kind { SENDER_LOG_ARTIFACT, SENDER_LINK_ARTIFACT, SENDER_DOWNLOAD_ARTIFACT };
bool sender_artifact(struct sender *s, enum sender_artifact_kind what, struct str request,
                     struct artifact_ask *ask);

/* A JobInputRequest. */
void sender_job_input(struct sender *s, struct str request);

const char *sender_display_name(const struct sender *s); /* "" before the run is known */
int64_t sender_runtime_ms(const struct sender *s); /* of the run's earlier parts, once it is known */
bool sender_should_stop(const struct sender *s); /* stop_status */
void sender_progress(const struct sender *s, struct files_progress *to);
/* Append wandb_internal.OperationStats fields: what is under way, for `operations`, `sync_status`. */
struct buf;
void sender_operations(const struct sender *s, struct buf *to);
/* Append wandb_internal.NetworkStatusResponse fields: answers that a person may want to know of. */
void sender_network(struct sender *s, struct buf *to);

#endif
