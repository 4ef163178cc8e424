/* SPDX-License-Identifier: MIT */
/* Artifacts: versions of named collections of files, from creation to deletion.
 *
 * A version is made PENDING, its files and manifest arrive, and commit gives it its index. All of it
 * is rows (store/migrations/0002_artifacts.sql) and blobs (blob/blob.h). The life of one:
 *
 *   artifact_create          type, collection and PENDING version; or the committed version with
 *                            the same digest, or the pending one with the same distributed id
 *   artifact_manifest_put    a row for the manifest: FULL, INCREMENTAL (onto a base), PATCH (one of several)
 *   artifact_file_put        a row for a file on its way; tells if the server has the bytes already
 *   …uploads…                artifact_file_stored, artifact_manifest_stored
 *   artifact_commit          merges the manifests, checks that every byte is there, COMMITTED
 *   artifact_link, aliases, tags, artifact_delete
 *
 * Functions that take a `struct db_conn *` in a job run inside the caller's transaction on the writer
 * thread (store/db.h) and leave no trace when they fail. Times are microseconds since 1970. */
#ifndef TARE_SERVER_ARTIFACT_ARTIFACT_H
#define TARE_SERVER_ARTIFACT_ARTIFACT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "server/blob/blob.h"
#include "server/store/db.h"

#include <stdbool.h>
#include <stdint.h>

/* In a job, before a reference to the blob is written: make a finished upload known. Without its row, a
 * blob is nobody's. Expected: TARE_EIO  it was removed since it was found to be there: the client tries again. */
int blob_row_put(struct db_conn *c, const struct blob_info *blob, int64_t now_us, struct err *e);

enum { ARTIFACT_TTL_INHERIT = -1, ARTIFACT_TTL_NONE = -2 };

struct artifact_spec {
    int64_t project_id, run_id, user_id; /* run_id 0: not made by a run */
    struct str type, collection;         /* names */
    struct str digest, digest_algorithm; /* algorithm {NULL}: MANIFEST_MD5 */
    struct str description, metadata;    /* {NULL}: none */
    struct str client_id, sequence_client_id, distributed_id;
    struct str region;
    int64_t ttl_s;                       /* seconds, or ARTIFACT_TTL_… */
    int64_t history_step;                /* -1: none */
    bool dedup;                          /* a committed version with this digest will do */
    const struct str *aliases, *tags;
    size_t n_aliases, n_tags;
};

struct artifact_made {
    int64_t id, sequence_id;
    bool committed;    /* an existing version was taken */
    int64_t latest_id; /* the sequence's newest committed version; 0: none */
    int64_t latest_index;
};

/* In a job. Expected: TARE_ECONFLICT  the collection exists with another type
 *                     TARE_EINVAL     a name that cannot be used */
int artifact_create(struct db_conn *c, const struct artifact_spec *spec, int64_t now_us,
                    struct artifact_made *made, struct err *e);

enum { ARTIFACT_PATCH_ID = 16 }; /* characters at the end of a patch's name */
enum artifact_manifest_kind { MANIFEST_FULL, MANIFEST_INCREMENTAL, MANIFEST_PATCH };

/* In a job. Find or make the row of manifest `name`; a patch is always a new one, of `writer` (the run's
 * name), which may bring several. `digest` is the base64 MD5 of the manifest file, "" while it is not known. */
int artifact_manifest_put(struct db_conn *c, int64_t artifact_id, struct str name,
                          enum artifact_manifest_kind kind, int64_t base_artifact_id,
                          struct str writer, struct str digest, int64_t now_us,
                          int64_t *manifest_id, struct err *e);

/* In a job. The manifest's file has arrived. */
int artifact_manifest_stored(struct db_conn *c, int64_t manifest_id, const struct blob_info *blob,
                             int64_t now_us, struct err *e);

struct artifact_file_place {
    bool have;              /* the bytes are here already: no upload is needed */
    int64_t birth_id;       /* the artifact that brought them first */
};

/* In a job. A file of a pending version, with its base64 digest. Bytes count as "here" only if an
 * artifact of the same entity has them: a digest alone gives no right to another's file. */
int artifact_file_put(struct db_conn *c, int64_t artifact_id, struct str name, struct str digest,
                      struct str mimetype, int64_t now_us, struct artifact_file_place *place,
                      struct err *e);

/* Bytes with this digest that an artifact of the same entity as this one has: 1 and a row of blob,
 * size, artifact id; or 0. The caller ends `*rows`. */
int artifact_find_bytes(struct db_conn *c, int64_t artifact_id, struct str digest,
                        struct db_rows **rows, struct err *e);

/* In a job. The bytes of a file have arrived.
 * Expected: TARE_ENOTFOUND; TARE_ECONFLICT they have another digest than announced; TARE_EINVAL the version is
 * committed, and they are not those it has. */
int artifact_file_stored(struct db_conn *c, int64_t artifact_id, struct str name,
                         const struct blob_info *blob, int64_t now_us, struct err *e);

/* Commit: wants a reader's connection for what it reads first; then writes in one job.
 * Expected: TARE_EINVAL  a file or manifest has not been uploaded; `e` names it
 *           TARE_EFORMAT, TARE_EUNSUPPORTED of the manifest; TARE_ENOTFOUND */
int artifact_commit(struct db *db, struct blobs *blobs, int64_t artifact_id, int64_t now_us,
                    struct err *e);

/* In a job: `alias` of the collection now names this version. `v<N>` is refused. */
int artifact_alias_set(struct db_conn *c, int64_t collection_id, struct str alias,
                       int64_t artifact_id, int64_t now_us, struct err *e);
int artifact_alias_remove(struct db_conn *c, int64_t collection_id, struct str alias,
                          int64_t artifact_id, struct err *e);

/* In a job. Make the version a member of the portfolio `name` of the project (made on need).
 * Expected: TARE_ECONFLICT  the name is a sequence, or of another type
 *           TARE_EINVAL     the version is not committed */
int artifact_link(struct db_conn *c, int64_t artifact_id, int64_t project_id, struct str name,
                  const struct str *aliases, size_t n_aliases, int64_t user_id, int64_t now_us,
                  int64_t *collection_id, int64_t *version_index, struct err *e);
int artifact_unlink(struct db_conn *c, int64_t artifact_id, int64_t collection_id, struct err *e);

/* In a job. Expected: TARE_ECONFLICT  it has aliases and `with_aliases` is false. The bytes stay until
 * artifact_collect; manifest and file rows too while another version refers to them (wandb-artifact://…). */
int artifact_delete(struct db_conn *c, int64_t artifact_id, bool with_aliases, int64_t now_us,
                    struct err *e);

/* In a job. Delete these, with their aliases: int64_t ids one after the other. */
int artifact_delete_all(struct db_conn *c, const struct buf *ids, int64_t now_us, struct err *e);
/* In a job. Append what the query (one parameter, one column) finds. */
int artifact_ids(struct db_conn *c, const char *sql, int64_t arg, struct buf *ids, struct err *e);

/* In a job. Forget the files of a deleted version, unless another version, deleted or not, that has its own still
 * refers to it. */
int artifact_empty(struct db_conn *c, int64_t artifact_id, struct err *e);

/* In a job. Delete the versions that the run logged in its own project, with their aliases and links; those
 * that another run, which is still there, has logged too stay. */
int artifact_delete_of_run(struct db_conn *c, int64_t run_id, int64_t now_us, struct err *e);

/* In a job. Delete a collection and, for a sequence, all its versions. */
int artifact_collection_delete(struct db_conn *c, int64_t collection_id, int64_t now_us,
                               struct err *e);

/* Find a version of a collection by alias, `v<N>`, or `latest` (the newest, if nothing else has the
 * alias): its id, or 0. */
int artifact_find(struct db_conn *c, int64_t collection_id, struct str alias, int64_t *artifact_id,
                  int64_t *version_index, struct err *e);

/* Delete the versions whose TTL has run out (but those with an alias other than `latest`, or a link), saves that were
 * given up a week ago, files of deleted versions to which nothing refers any more, and the blobs to which nothing refers (run files,
 * artifact files and manifests, parts on the way). *freed_bytes may be NULL. Any thread but the
 * writer's. */
int artifact_collect(struct db *db, struct blobs *blobs, int64_t now_us, int64_t *freed_bytes,
                     struct err *e);

#endif
