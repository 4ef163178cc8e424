/* SPDX-License-Identifier: MIT */
/* One reference of an artifact on its way from another's store (cloud.h) to the disk:
 *
 *   RESTORING (the cache) ─► LOOKING (its ETag) ─► SEARCHING (older versions, page by page) ─► FETCHING
 *                        └─► SEARCHING (all that begins so, where nothing was kept of it) ────►
 *
 * What comes must have the ETag that the artifact keeps; there is no other digest. Loop thread. */
#ifndef TARE_SERVICE_UPLOAD_REFERENCE_H
#define TARE_SERVICE_UPLOAD_REFERENCE_H

#include "base/err.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/backend.h"
#include "service/upload/cloud.h"

struct reference;

struct reference_owner {
    void *ctx;
    struct backend *backend;
    const struct cloud *cloud;
    const char *cache; /* NULL: none */
    /* Exactly once, not inside reference_start; `e->code` 0: it is there. `cache_rc`: it could not be cached. */
    void (*done)(void *ctx, struct reference *r, const struct err *e, int cache_rc);
};

/* `path`: the file, or the folder where its objects go. All borrowed until `done`, which frees it. NULL: it is none of
 * those that the service fetches (cloud_place_of). */
struct reference *reference_start(const struct manifest_entry *e, const char *path, const struct reference_owner *owner);
void reference_cancel(struct reference *r);

#endif
