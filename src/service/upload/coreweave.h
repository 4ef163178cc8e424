/* SPDX-License-Identifier: MIT */
/* Where in CoreWeave's cloud a run is, for its metadata: the backend is asked whether the organization of the
 * run's entity is a customer there, and only then the cloud itself, by the address in the settings
 * x_stats_coreweave_metadata_base_url and _endpoint, which answers from inside a cluster only:
 *
 *   ASKING the backend ─► GETTING (tries of 5 s) ─► over
 *                            ▲    └─► WAITING ─┐   3 times, 1 to 10 s each
 *                            └─────────────────┘
 *
 * Nobody waits for it. Loop thread only. (peer: core/internal/monitor/cwmetadata.go) */
#ifndef TARE_SERVICE_UPLOAD_COREWEAVE_H
#define TARE_SERVICE_UPLOAD_COREWEAVE_H

#include "base/buf.h"
#include "base/str.h"

struct backend;
struct coreweave;

/* `settings` is a serialized Settings message and read before return. `done` comes at most once, later: `info`
 * is a CoreWeaveInfo. Where there is nothing to tell it does not come. */
struct coreweave *coreweave_ask(struct backend *b, struct str settings, struct str entity,
                                void (*done)(void *ctx, struct str info), void *ctx);
/* `done` does not come any more. Before the backend is closed; NULL is fine. */
void coreweave_free(struct coreweave *c);

/* The CoreWeaveInfo in the cloud's answer, lines "key: value"; others of its lines are secrets and not kept.
 * Pure. */
void coreweave_read(struct str answer, struct buf *info);

#endif
