/* SPDX-License-Identifier: MIT */
/* The file stream of one run to one backend: history, events, summary, console, which files are up,
 * the end. What is added is gathered and sent at most every transmit interval, one request at a
 * time, each line at its number (offset), so that a request may be repeated. Loop thread only; no
 * callback of the owner comes from inside a call, but `summary`.
 *
 * After a fatal error (the backend refused, or the retries are used up; `tell` has said so) what is
 * added is dropped, nothing is full, no mark is reached any more, and finish gives the error.
 *
 * (peer: core/internal/filestream) */
#ifndef TARE_SERVICE_UPLOAD_FILESTREAM_H
#define TARE_SERVICE_UPLOAD_FILESTREAM_H

#include "base/buf.h"
#include "base/str.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stdint.h>

struct filestream;

struct filestream_offsets { /* lines that the backend has already */
    uint64_t history, events, console;
};

struct filestream_owner {
    void *ctx;
    /* Append the summary as it is now, one JSON object: a request is being made, and
     * filestream_summary was called since the last. */
    void (*summary)(void *ctx, struct buf *to);
    /* There is room again after filestream_is_full. */
    void (*drained)(void *ctx);
    /* Everything up to filestream_mark(f, mark) is acknowledged. */
    void (*reached)(void *ctx, uint64_t mark);
    /* A message for the person at the program; `error` or warning. */
    void (*tell)(void *ctx, bool error, const char *text);
    /* After filestream_finish: all is acknowledged, or it was given up (`error` < 0, said to
     * `tell` already). No further calls. */
    void (*finished)(void *ctx, int error);
    /* What is sent lies there already, and no program is beside it: larger requests are worth their memory. */
    bool is_sync;
};

/* `settings` is a serialized wandb_internal.Settings, read before return. */
struct filestream *filestream_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                  const struct filestream_owner *owner);
/* Cancels what is under way; no call follows. The backend must live until the loop has run again
 * (backend_close waits for it). */
void filestream_free(struct filestream *f);

/* The run is known to the backend: begin to send. Updates may be added before. */
void filestream_start(struct filestream *f, const char *entity, const char *project,
                      const char *run_id, const struct filestream_offsets *from);

/* One JSON object without newline; the bytes are copied. One of history comes as a JSON string (as it
 * goes on the wire) of `n` bytes unquoted. Lines over the limit are left out, said to the person at
 * most once a minute. */
void filestream_history(struct filestream *f, struct str quoted, size_t n);
void filestream_event(struct filestream *f, struct str line);
/* The summary has changed: `owner.summary` will be asked for it. Costs nothing. */
void filestream_summary(struct filestream *f);
/* Console line `number` (from 0 in this process) now reads so; it may be given again. */
void filestream_console(struct filestream *f, uint64_t number, struct str line);
void filestream_uploaded(struct filestream *f, const char *path); /* a run file is up */
void filestream_preempting(struct filestream *f);
/* Note a place in what was added; see `reached`. Marks grow. Costs nothing. */
void filestream_mark(struct filestream *f, uint64_t mark);

/* Much waits: do not add more before `drained`. */
bool filestream_is_full(struct filestream *f);
/* The backend asked for the run to be stopped, or a fatal error did (stop_on_fatal_error). */
bool filestream_is_stopped(const struct filestream *f);

/* Append the request under way, if there is one, as an element of OperationStats.operations (a
 * whole field with its tag). Returns how many were appended. (peer: "uploading history steps 0-9,
 * summary", with why it is being retried) */
int filestream_operations(const struct filestream *f, struct buf *to);

/* Send the rest without waiting for the interval; with `complete`, say that the run ended with
 * `exit_code`. A stream that was not started has nothing to say and gives an error. */
void filestream_finish(struct filestream *f, bool complete, int32_t exit_code);
/* Stop trying: `finished` follows soon, with TARE_ECANCELLED if something remains. */
void filestream_abort(struct filestream *f);

#endif
