/* SPDX-License-Identifier: MIT */
/* Bringing journals to a backend: what init_sync, sync and sync_status ask for, and `tare sync`.
 *
 * An operation has any number of journals. Each is looked into first, for the run it belongs to;
 * journals of one run (it was resumed) follow one another by the time they began, different runs go
 * side by side, at most `parallelism` at once. What is wholly with the backend is marked by an empty
 * file FILE.synced beside it, as the peer does. Loop thread only.
 * (peer: core/internal/runsync) */
#ifndef TARE_SERVICE_SYNC_H
#define TARE_SERVICE_SYNC_H

#include "base/buf.h"
#include "base/str.h"
#include "service/stream/sender.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sync;

enum sync_severity { SYNC_INFO = 20, SYNC_WARNING = 30, SYNC_ERROR = 40 };

/* How one journal fares; `run` is ENTITY/PROJECT/ID as far as known, `shown` its path for people. */
enum sync_state { SYNC_LOOKING, SYNC_WAITING, SYNC_SENDING, SYNC_DONE, SYNC_FAILED };

struct sync_file {
    const char *path, *shown, *run, *url; /* url: where the run can be looked at; "" if unknown */
    enum sync_state state;
    uint64_t bytes, reached; /* of the journal, and what of it is with the backend */
    const char *why;         /* FAILED: the reason */
};

struct sync_owner {
    void *ctx;
    /* Something to say to a person, in whole sentences; `run` "" if it is about none. */
    void (*tell)(void *ctx, enum sync_severity severity, const char *run, const char *text);
    void (*finished)(void *ctx); /* after sync_start, once: nothing is under way any more */
};

struct sync_options {
    uv_loop_t *loop;
    struct http *http;
    struct str settings;   /* wandb_internal.Settings; all of this is copied */
    const char *cwd;       /* for relative paths; NULL or "": those are refused */
    const char *url, *key; /* another backend than the settings'; NULL */
    struct sender_changes changes;
    bool live; /* wait for more at the end of a journal that has no exit record */
    /* Of journals that are followed: does a process of this machine write to it? Called on a worker thread, one at
     * a time. A journal whose writer was seen and has gone is brought as it is, as that of a run that crashed, and
     * not marked. NULL: not asked. */
    bool (*is_written)(const char *path);
};

struct sync *sync_new(const struct sync_options *o, const struct sync_owner *owner);
void sync_free(struct sync *s); /* cancels what is under way; no call follows */

void sync_add(struct sync *s, const char *path); /* a .wandb file; before sync_start */
void sync_start(struct sync *s, unsigned parallelism);
void sync_abort(struct sync *s); /* `finished` follows soon */

size_t sync_n_files(const struct sync *s);
struct sync_file sync_file(const struct sync *s, size_t i);

/* Append OperationStats messages as field `number`: one for each journal not yet done. */
void sync_operations(const struct sync *s, struct buf *to, uint32_t number);

#endif
