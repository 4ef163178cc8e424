/* SPDX-License-Identifier: MIT */
/* The artifacts of one run on their way to one backend, and the requests about artifacts.
 *
 * Saves of artifacts of one name go one after another, so that versions are numbered in the order
 * they were logged; others go side by side. Loop thread only; files are read, hashed and removed on
 * the worker threads. No callback comes from inside a call.
 *
 * (peer: core/pkg/artifacts) */
#ifndef TARE_SERVICE_UPLOAD_ARTIFACT_H
#define TARE_SERVICE_UPLOAD_ARTIFACT_H

#include "base/buf.h"
#include "base/str.h"
#include "service/upload/backend.h"
#include "service/upload/file.h"

#include <stdbool.h>
#include <stdint.h>

struct artifacts;

struct artifacts_owner {
    void *ctx;
    void (*tell)(void *ctx, bool error, const char *text); /* for the person at the program */
    /* A save that was asked for (artifacts_log) has brought the artifact there, as `id`. */
    void (*logged)(void *ctx, struct str type, const char *name, const char *id);
    /* After artifacts_finish: nothing is under way any more. `error`: of the first that failed and
     * for whose answer nobody waited (`tell` has said so), TARE_ECANCELLED. No further calls,
     * unless something is asked for and finished anew. */
    void (*finished)(void *ctx, int error);
};

/* A request that waits for its answer. Embedded by who asks; lives until `done`, which comes exactly
 * once, also when the artifacts are freed. */
struct artifact_ask {
    /* `response`: the bytes of a LogArtifactResponse, LinkArtifactResponse or
     * DownloadArtifactResponse, as the request was; valid during the call. */
    void (*done)(struct artifact_ask *ask, struct str response);
};

/* `settings` is a serialized wandb_internal.Settings, read before return. */
struct artifacts *artifacts_new(struct backend *b, struct str settings, uv_loop_t *loop,
                                const struct artifacts_owner *owner);
/* Cancels what is under way; asks get an answer that says so. */
void artifacts_free(struct artifacts *a);

/* The run is known to the backend: what was asked before begins now. The names stand in for those
 * that an artifact record lacks. */
void artifacts_start(struct artifacts *a, const char *entity, const char *project, const char *run_id);

/* An ArtifactRecord of the journal: nobody waits for it. */
void artifacts_save(struct artifacts *a, struct str artifact_record);
/* LogArtifactRequest, LinkArtifactRequest, DownloadArtifactRequest. */
void artifacts_log(struct artifacts *a, struct str request, struct artifact_ask *ask);
void artifacts_link(struct artifacts *a, struct str request, struct artifact_ask *ask);
void artifacts_download(struct artifacts *a, struct str request, struct artifact_ask *ask);

/* Add to `to` (which files_progress has filled): one progress for a run. */
void artifacts_progress(const struct artifacts *a, struct files_progress *to);
/* Append at most `room` artifacts under way as elements of OperationStats.operations (whole fields,
 * files as subtasks); returns how many are under way in all. */
int artifacts_operations(const struct artifacts *a, struct buf *to, int room);

/* No more come: wait for all. (The peer ends artifacts before the run's files.) */
void artifacts_finish(struct artifacts *a);
void artifacts_abort(struct artifacts *a);

#endif
