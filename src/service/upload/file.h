/* SPDX-License-Identifier: MIT */
/* The files of one run on their way to one backend: which, when, and how many at once.
 *
 * A file is named relative to the run's files folder. Policies as the peer's: `now` once, `end` when
 * the run ends, `live` whenever it has changed. URLs are asked for in batches (CreateRunFiles), the
 * bodies go with PUT, a bounded number at a time over all runs. Loop thread only; files are looked at
 * and read on the worker threads. (peer: core/internal/runfiles, filetransfer, watcher) */
#ifndef TARE_SERVICE_UPLOAD_FILE_H
#define TARE_SERVICE_UPLOAD_FILE_H

#include "base/buf.h"
#include "base/str.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stdint.h>

struct files;

enum file_policy { FILE_NOW = 0, FILE_END = 1, FILE_LIVE = 2 };         /* FilesItem.PolicyType */
enum file_kind { FILE_OTHER = 0, FILE_WANDB = 1, FILE_MEDIA = 2, FILE_ARTIFACT = 3 };

struct files_owner {
    void *ctx;
    void (*uploaded)(void *ctx, const char *path); /* for filestream_uploaded */
    void (*tell)(void *ctx, bool error, const char *text);
    void (*finished)(void *ctx, int error); /* after files_finish */
};

/* For poll_exit: PollExitResponse.pusher_stats and file_counts. */
struct files_progress {
    uint64_t uploaded_bytes, total_bytes, deduped_bytes;
    uint32_t n_wandb, n_media, n_artifact, n_other;
};

struct files *files_new(struct backend *b, struct str settings, uv_loop_t *loop, const char *files_dir,
                        const struct files_owner *owner);
/* Cancels what is under way; no call follows. */
void files_free(struct files *f);

/* The run is known to the backend. */
void files_start(struct files *f, const char *entity, const char *project, const char *run_id);

/* `path` is literal, as in a FilesRecord: globs are expanded by the client (so the peer). */
void files_add(struct files *f, struct str path, enum file_policy policy, enum file_kind kind);
/* Write `bytes` to `path` in the files folder, then upload it now. */
void files_put(struct files *f, const char *path, struct str bytes, enum file_kind kind);

void files_progress(const struct files *f, struct files_progress *to);
/* Append at most `room` uploads under way as elements of OperationStats.operations (whole fields);
 * returns how many are under way in all. (peer: "uploading media/a.png", "1.0MB/5.0MB") */
int files_operations(const struct files *f, struct buf *to, int room);

/* No more files come: upload what has the policies end and live, wait for all. */
void files_finish(struct files *f);
void files_abort(struct files *f);

#endif
