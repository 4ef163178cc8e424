/* SPDX-License-Identifier: MIT */
/* The inside of the artifacts, for its own files only: artifact.c (queue, requests, the end),
 * artifact_save.c (the life of one save), artifact_files.c (its files), artifact_link.c, artifact_download.c with artifact_restore.c and
 * reference.h. */
#ifndef TARE_SERVICE_UPLOAD_ARTIFACT_IMPL_H
#define TARE_SERVICE_UPLOAD_ARTIFACT_IMPL_H

#include "base/err.h"
#include "loop/worker.h"
#include "service/upload/artifact.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/graphql.h"
#include "service/upload/retry.h"
#include "service/upload/transfer.h"

struct save;

/* ArtifactRecord, proto/files.proto */
enum {
    ART_RUN_ID = 1,
    ART_PROJECT = 2,
    ART_ENTITY = 3,
    ART_TYPE = 4,
    ART_NAME = 5,
    ART_DIGEST = 6,
    ART_DESCRIPTION = 7,
    ART_METADATA = 8,
    ART_USER_CREATED = 9,
    ART_USE_AFTER_COMMIT = 10,
    ART_ALIASES = 11,
    ART_MANIFEST = 12,
    ART_DISTRIBUTED_ID = 13,
    ART_FINALIZE = 14,
    ART_CLIENT_ID = 15,
    ART_SEQUENCE_CLIENT_ID = 16,
    ART_BASE_ID = 17,
    ART_TTL = 18,
    ART_TAGS = 19,
    ART_ALGORITHM = 20,
    ART_INCREMENTAL = 100,
};

enum save_state {
    SAVE_QUEUED,    /* behind another of its name, or before the run is known */
    SAVE_READING,   /* the manifest */
    SAVE_FEATURES,
    SAVE_ALGORITHM, /* may digests be XXH128? */
    SAVE_HASHING,   /* no: MD5 of the files */
    SAVE_CREATING,
    SAVE_MANIFEST,
    SAVE_FILES,
    SAVE_RESOLVING, /* references to artifacts that were logged by this client */
    SAVE_WRITING,   /* the manifest's JSON */
    SAVE_UPSERTING,
    SAVE_PUTTING,
    SAVE_COMMITTING,
    SAVE_USING,
    SAVE_CLEANING,  /* staged files: into the cache, */
    SAVE_SWEEPING,  /* or away; whoever waits has been answered */
    SAVE_DONE,
};

struct file_group; /* URLs being asked for (artifact_files.c) */
struct multipart;

/* The files of a save on their way. */
struct save_files {
    uint32_t *todo;     /* entries that are still to be asked for */
    size_t n_todo, at_todo;
    uint32_t *again;    /* failed this round */
    size_t n_again;
    size_t n_round;     /* of this round */
    int n_groups;       /* being prepared */
    int n_moving;       /* files with a URL */
    struct art_upload *uploads;   /* list */
    struct file_group *groups;    /* list */
    struct multipart *multiparts; /* list */
    uint64_t n_files, n_done;
    bool over;          /* nothing new is begun */
    bool is_ended;      /* the save went on */
};

struct save {
    struct save *prev, *next; /* in artifacts.saves */
    struct artifacts *owner;
    struct artifact_ask *ask; /* NULL: nobody waits */
    struct buf record;        /* ArtifactRecord */
    char *staging, *name;
    int64_t history_step;
    enum save_state state;
    struct manifest manifest;
    bool has_entity_info, has_algorithm; /* features */
    bool is_xxh128;
    bool was_committed;       /* the backend has this very content already */
    struct err err;
    char digest[40];
    char *artifact_id, *base_id, *manifest_id, *url;
    char *client_id;          /* being resolved */
    struct buf headers, text; /* of the manifest's PUT */
    struct buf variables;
    struct graphql_call call;
    void (*then)(struct save *s); /* after `call` */
    bool is_calling;
    struct transfer put;
    bool is_putting;
    struct work work;
    struct save_files files;
    uint32_t *leftover;       /* entries whose staged files go away */
    size_t n_leftover;
    int64_t began_ns;
};

struct artifacts {
    struct backend *backend;
    uv_loop_t *loop;
    struct artifacts_owner owner;
    struct retry_policy policy;
    char *entity, *project, *run_id; /* NULL until started */
    char *cache;                     /* its folder; NULL: none */
    struct save *saves;              /* list, in the order they were logged */
    struct link_call *links;         /* list */
    struct fetch *fetches;           /* list: downloads */
    int n_saves, n_links, n_fetches;
    uv_timer_t timer;
    bool finishing, aborted, over, is_freed;
    int error;
    int n_open; /* handles and operations that still point here */
    struct files_progress progress;
    int64_t told_same_ns; /* when it was last said that an artifact is there already; 0: never */
};

/* -- artifact.c -- */

static inline bool artifacts_are_wanted(const struct artifacts *a)
{
    return !a->aborted && !a->is_freed;
}
void artifacts_release(struct artifacts *a); /* one of n_open has gone */
void artifacts_look(struct artifacts *a);    /* something has ended: begin what may, or end */
void artifacts_wake(struct artifacts *a);
void artifacts_ended(struct save *s);        /* with s->err; frees it */
void artifacts_logged(struct save *s);       /* all but sweeping: answer, let others of its name begin */
void artifacts_count_file(struct artifacts *a);

/* -- artifact_save.c -- */

void save_begin(struct save *s);
void save_cancel(struct save *s);
/* The state is over: go on with `next`, or end with an error. Either may end the save, which is then
 * freed: nothing may touch it afterwards. */
void save_go(struct save *s, enum save_state next);
void save_fail(struct save *s, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Names of the artifact's project: the record's own, else the run's. */
struct str save_text(const struct save *s, uint32_t field);
bool save_flag(const struct save *s, uint32_t field);
struct str save_run_id(const struct save *s);
struct str save_entity(const struct save *s);
struct str save_project(const struct save *s);

/* Add to s->variables; the second writes null where `text` is empty, as the peer does. */
void save_put(struct save *s, const char *key, struct str text);
void save_put_or_null(struct save *s, const char *key, struct str text);
void save_put_raw(struct save *s, const char *key, const char *value);
/* Ask with s->variables (whose last brace is added here); `then` looks at s->call.data. */
void save_call(struct save *s, const char *operation, const char *document, void (*then)(struct save *s));
/* A string that the answer must have; NULL if it has not: then the save has failed and is gone. Heap. */
char *save_needed(struct save *s, const char *path);
void save_work(struct save *s, void (*run)(struct work *w), void (*done)(struct work *w));

/* -- artifact_save_manifest.c: states -- */

void save_make_manifest(struct save *s);
void save_resolve(struct save *s);
void save_write_manifest(struct save *s);
void save_upsert_manifest(struct save *s);
void save_put_manifest(struct save *s);

/* -- artifact_clean.c: states -- */

void save_clean(struct save *s);
void save_sweep(struct save *s);

/* -- artifact_files.c -- */

void save_files_begin(struct save *s);
void save_files_cancel(struct save *s);
void save_files_fini(struct save *s);
int save_files_operations(const struct save *s, struct buf *to, int room);

/* -- artifact_link.c -- */

void link_begin_all(struct artifacts *a);
void link_cancel_all(struct artifacts *a);

/* -- artifact_download.c -- */

void fetch_begin_all(struct artifacts *a);
void fetch_cancel_all(struct artifacts *a);
int fetch_operations(const struct artifacts *a, struct buf *to, int room);

/* -- artifact_restore.c: on a worker -- */

/* Is the file of an entry at `to` already, or in the cache (NULL: do not look there), from where it is then
 * copied? 1: it is there, and it is what its digest says; 0: it is not; a negative code: the disk failed. Of a
 * reference the cache has what came with its digest as an ETag. */
int artifact_restore(const char *cache, const struct manifest_entry *e, const char *to);
/* Copy a file, whose digest has been verified, into the cache. 0 or a negative code: then nothing is there. */
int artifact_cache_add(const char *cache, const struct manifest_entry *e, const char *path);
/* One that has been in its user's hands since: only if what was copied still has that XXH128 (hex); else it is left. */
int artifact_cache_add_if(const char *cache, const struct manifest_entry *e, const char *path, const char *xxh128);

/* -- artifact_copy.c: on a worker -- */

/* A new file `to` with the contents of `from`, and, if `base64` (32 bytes) is not NULL, the MD5 or XXH128 of what was
 * written. 0, or a negative code and there is none. */
int artifact_copy(const char *from, const char *to, bool is_xxh128, char *base64);

/* -- artifact_cache.c: on a worker -- */

/* Where a file of that digest lies, its folder made. Heap; NULL if the digest is none. */
char *artifact_cache_place(const char *cache, struct str digest, bool is_xxh128);

/* The folder of the SDK's cache, as the peer finds it. Heap; NULL if there is none. */
char *artifact_cache_dir(void);
/* Put a file that will not change any more into the cache by moving it there. `digest` is base64. 0 or a negative
 * code, TARE_EEXIST if the cache has it already; the file is gone only on success. */
int artifact_cache_take(const char *cache, const char *path, struct str digest, bool is_xxh128);
/* Copy one that may change, if its MD5 is `digest`. */
int artifact_cache_copy(const char *cache, const char *path, struct str digest);

#endif
