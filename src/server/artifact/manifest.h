/* SPDX-License-Identifier: MIT */
/* Reading an artifact's manifest, `wandb_manifest.json`.
 *
 *   {"version": 1,
 *    "storagePolicy": "wandb-storage-policy-v1",
 *    "storagePolicyConfig": {"storageLayout": "V2"},
 *    "contents": {
 *      "a.txt":  {"digest": "<base64 MD5>", "size": 8, "birthArtifactID": "<id>"},
 *      "remote": {"digest": "<etag>", "ref": "s3://bucket/key", "size": 0, "extra": {...}}}}
 *
 * Source: the manifests that wandb 0.31.0 uploads. Unknown members are skipped. Any thread. */
#ifndef TARE_SERVER_ARTIFACT_MANIFEST_H
#define TARE_SERVER_ARTIFACT_MANIFEST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { MANIFEST_MAX_ENTRIES = 10000000 };

struct manifest_entry {
    struct str path;     /* relative, safe (path_is_safe) */
    struct str digest;   /* base64 of MD5 (or of XXH3-128); anything for references */
    struct str ref;      /* where the bytes are; empty for a file that was uploaded */
    struct str birth_id; /* the artifact that brought the file first; may be empty */
    struct str extra;    /* a JSON object as it stood, or empty */
    struct str raw;      /* the whole entry as it stood */
    int64_t size_bytes;  /* 0 if not told */
};

/* Called for each entry in the order of the file; a result other than 0 ends the walk and is
 * returned. The strings live in the arena or in `text`. */
typedef int (*manifest_each_fn)(void *arg, const struct manifest_entry *entry);

/* Walk the manifest in `text`. 0, what `each` returned,
 * Expected: TARE_EFORMAT  not a manifest; `e` says what is wrong and for which path
 *           TARE_EUNSUPPORTED  another version than 1
 *           TARE_ELIMIT, TARE_ENOMEM */
int manifest_walk(struct str text, struct arena *a, manifest_each_fn each, void *arg,
                  struct err *e);

#endif
