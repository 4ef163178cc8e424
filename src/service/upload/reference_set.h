/* SPDX-License-Identifier: MIT */
/* The references of an artifact that is being downloaded (reference.h): credentials once, then a bounded number
 * at a time. Loop thread. */
#ifndef TARE_SERVICE_UPLOAD_REFERENCE_SET_H
#define TARE_SERVICE_UPLOAD_REFERENCE_SET_H

#include "base/err.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stddef.h>

struct reference_set;

struct reference_set_owner {
    void *ctx;
    struct backend *backend;
    const struct manifest *manifest;
    const uint32_t *entries; /* which of them */
    size_t n;
    const char *root, *cache; /* cache NULL: none */
    bool may_miss;            /* one that cannot be had is passed over */
    /* One was passed over, or could not be put into the cache. */
    void (*missed)(void *ctx, const char *why);
    void (*cache_failed)(void *ctx, int rc);
    /* Exactly once, later; the set is gone then. */
    void (*done)(void *ctx, const struct err *e);
};

/* All borrowed until `done`. NULL: there is none that the service fetches. */
struct reference_set *reference_set_start(const struct reference_set_owner *owner);
void reference_set_cancel(struct reference_set *s); /* `done` follows */

#endif
