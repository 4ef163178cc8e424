/* SPDX-License-Identifier: MIT */
/* Sees when files change by looking at them now and then, which also works on network mounts. The
 * looking is done on a worker thread, one job for all files of a watch. Loop thread only.
 * (peer: core/internal/watcher) */
#ifndef TARE_SERVICE_UPLOAD_FILE_WATCH_H
#define TARE_SERVICE_UPLOAD_FILE_WATCH_H

#include <uv.h>

struct file_watch;

/* `changed` is called from the loop with the `what` of each file that is not as it was. */
struct file_watch *file_watch_new(uv_loop_t *loop, void (*changed)(void *ctx, void *what), void *ctx);
void file_watch_free(struct file_watch *w); /* no call follows */

/* How it is at the first look is what it will be compared with; it may not exist yet. */
void file_watch_add(struct file_watch *w, const char *path, void *what);

#endif
