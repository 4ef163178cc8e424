/* SPDX-License-Identifier: MIT */
/* The files and references of an artifact: read from the client's record (or the file it left),
 * written as the JSON that is stored with the artifact. Reading touches a file: on a worker.
 *
 *   {"version":1,"storagePolicy":"wandb-storage-policy-v1","storagePolicyConfig":{"storageLayout":"V2"},
 *    "contents":{"a.txt":{"digest":"...","size":5,"local_path":"/tmp/x","birthArtifactID":"...",
 *                         "skip_cache":false,"extra":{...}}, ...}}
 *
 * Contents are sorted by path; of two entries with one path the later counts.
 * (peer: core/pkg/artifacts/manifest.go) */
#ifndef TARE_SERVICE_UPLOAD_ARTIFACT_MANIFEST_H
#define TARE_SERVICE_UPLOAD_ARTIFACT_MANIFEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manifest_entry {
    struct str path, digest, ref, local_path, birth_id; /* empty where there is none */
    struct str extra;  /* a JSON object, or empty */
    int64_t size;
    bool skip_cache;
    bool is_xxh128;    /* extra says so: {"alg":"XXH128"} */
    bool was_counted;  /* among the files that the run brought; not a second time when it is tried again */
};

struct manifest {
    int32_t version;
    struct str storage_policy, storage_region;
    struct str layout; /* as manifest_parse found it */
    struct manifest_entry *entries;
    size_t n, cap;
    struct arena arena; /* texts that are not slices of the record */
};

/* Read an ArtifactManifest message, which must outlive `to`, and the file it may name, which is then
 * removed. 0, or the reason in `e`; manifest_fini either way. */
int manifest_read(struct manifest *to, struct str message, struct err *e);
/* Read the JSON that is stored with an artifact, as manifest_write makes it; `json` must outlive `to`. Otherwise as
 * manifest_read. */
int manifest_parse(struct manifest *to, struct str json, struct err *e);
void manifest_fini(struct manifest *m);

/* The digest of the artifact: MD5 over "path:digest" lines, as hex. */
void manifest_digest(const struct manifest *m, char hex[33]);
/* Append the JSON. 0 or TARE_ENOMEM. */
int manifest_write(const struct manifest *m, struct buf *to);

/* Make the digest of a file that is tagged XXH128 its MD5, as base64, and drop the tag. */
void manifest_set_md5(struct manifest *m, struct manifest_entry *entry, const uint8_t md5[16]);
/* A copy that lives as long as the manifest. */
struct str manifest_keep(struct manifest *m, struct str text);

#endif
