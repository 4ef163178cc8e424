/* SPDX-License-Identifier: MIT */
/* The TensorBoard folders of a run: each tbrecord names one, which is read every few seconds on
 * the worker threads until the run ends; what its events mean is fed to the handler.
 *
 * The first part of the keys, their namespace, is where the folder lies under the root of all of
 * them. The root is what two folders have in common; while there is only one, a namespace is
 * waited for at most TENSORBOARD_ROOT_NS. (peer: core/internal/tensorboard.) Loop thread. */
#ifndef TARE_SERVICE_WATCH_TENSORBOARD_H
#define TARE_SERVICE_WATCH_TENSORBOARD_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define TENSORBOARD_POLL_NS (5LL * 1000000000)
#define TENSORBOARD_ROOT_NS (10LL * 1000000000)
enum { TENSORBOARD_MAX_DIRS = 1000 };

struct handler_job;
struct stream_settings;
struct tensorboard;

struct tensorboard_owner {
    void *ctx; /* first argument of each */
    void (*feed)(void *ctx, struct str record);           /* a Record, as if a client had sent it */
    void (*work)(void *ctx, struct handler_job *job);     /* as handler_out.work */
    void (*idle)(void *ctx, int64_t now_ns);              /* after finish: all has been read */
};

/* `settings` is borrowed. */
struct tensorboard *tensorboard_new(const struct stream_settings *settings,
                                    const struct tensorboard_owner *owner);
/* No job may be under way. */
void tensorboard_free(struct tensorboard *t);

/* Follow another folder: `record` is a TBRecord. Folders in the cloud are refused with a warning. */
void tensorboard_add(struct tensorboard *t, struct str record, int64_t now_ns);

int64_t tensorboard_deadline(const struct tensorboard *t);
void tensorboard_tick(struct tensorboard *t, int64_t now_ns);

/* Nothing more is written: read to the end. True if that is done, else `idle` will be called. */
bool tensorboard_finish(struct tensorboard *t, int64_t now_ns);

#endif
