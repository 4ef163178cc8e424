/* SPDX-License-Identifier: MIT */
/* What blob.c (uploads, digests, limits) and the places for blobs (dir.c, s3.c) share. */
#ifndef TARE_SERVER_BLOB_INNER_H
#define TARE_SERVER_BLOB_INNER_H

#include "base/digest.h"
#include "base/xxh3.h"
#include "server/blob/blob.h"

#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

enum { BLOB_COPY_BYTES = 256 * 1024 };

/* A place for blobs. Names were checked by the caller; any thread. */
struct blob_ops {
    /* A new empty file for an upload: its descriptor; `tmp` is its name, "" if it has none. `key` NULL, or:
     * it will be looked for by that. */
    int (*stage)(struct blobs *b, const char *key, char tmp[PATH_MAX], struct err *e);
    /* For files that are found again; NULL where none ever is. The one staged under that key before, to go on
     * with (TARE_ENOTFOUND); remove it, returning its bytes; remove those not written for `seconds` (0: none),
     * returning how many, and adding the bytes of them and of those that stay. */
    int (*stage_again)(struct blobs *b, const char *key, char tmp[PATH_MAX], struct err *e);
    int64_t (*unstage)(struct blobs *b, const char *key);
    int (*drop_staged)(struct blobs *b, int64_t seconds, int64_t *dropped_bytes, int64_t *left_bytes);
    /* The file `name` that a client has staged or linked: its descriptor, to read, and its name, which a link loses;
     * NULL where none can be. */
    int (*adopt)(struct blobs *b, const char *name, char tmp[PATH_MAX], struct err *e);
    /* Keep p's file, whose bytes are on their way to disk, as info->name; durable when this returns. Sets
     * info->fresh. The file has no name left afterwards, or p->tmp. */
    int (*settle)(struct blobs *b, struct blob_put *p, struct blob_info *info, struct err *e);
    /* A descriptor with the bytes [first, first + n); n -1: all, and checked if they came from afar. Its
     * other bytes may be zeros. `size_bytes` is the blob's. TARE_ENOTFOUND. */
    int (*open)(struct blobs *b, const char *name, int64_t first, int64_t n, int *fd, int64_t *size_bytes,
                struct err *e);
    /* The absolute path; false if it is not known. NULL: none are in a directory. */
    bool (*path)(const struct blobs *b, const char *name, char path[PATH_MAX]);
    int64_t (*size)(struct blobs *b, const char *name, struct err *e); /* -1: not there; other negative codes */
    int (*remove)(struct blobs *b, const char *name, struct err *e); /* 0 also when it is not there */
    int (*each)(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes), void *arg,
                struct err *e);
    void (*close)(struct blobs *b);
};

struct blobs {
    const struct blob_ops *ops;
    char dir[PATH_MAX - 128]; /* where uploads are staged: room there is watched */
    char *staging;            /* absolute, of dir.c; NULL: clients may not put files there */
    char kept_prefix[32];     /* of dir.c: another for each server that shares the directory */
    atomic_bool kept_folders[256]; /* of dir.c: their own names are durable */
    pthread_mutex_t lock;     /* of the figures below */
    int64_t keep_free_bytes, quota_bytes, used_bytes;
    int64_t kept_bytes;       /* staged under a key */
    int64_t disk_asked_ns;    /* when there was much room on the disk (clock_mono_ns), else 0 */
    void *place;              /* of s3.c */
};

struct blob_put {
    struct blobs *store;
    EVP_MD_CTX *sha256, *md5;
    struct xxh3 xxh;
    bool is_adopted;
    bool is_linked;           /* a copy of what a client's link led to: BLOB_NO_SUCH_LINK */
    struct digest own_md5;    /* instead of `md5`, if it is adopted */
    int fd;
    bool is_direct;           /* writes go past the page cache */
    bool has_key;             /* its bytes are in kept_bytes */
    int64_t size_bytes, max_bytes;
    int64_t looked_at_bytes;  /* when room on the disk was last asked for */
    char tmp[PATH_MAX]; /* "": a file without a name */
};

/* Is it the name of a client's link? */
bool blob_is_linked(const char *name);

/* Why one is refused, whatever is there: who made it may not be allowed to know that. */
#define BLOB_NO_SUCH_LINK "the link leads to no file with the bytes that were announced"

/* Tell a system call's failure in the store's own words. */
int blob_fail(struct err *e, int rc, const char *what, const char *path);

/* The places: fill in `b` (zeroed, locks made) for `url`. The directory is made on need; staged files of
 * that age in seconds are nobody's and go (-1: none). */
int blob_dir_open(struct blobs *b, const char *url, int64_t tidy_s, struct err *e);
int blob_s3_open(struct blobs *b, const char *url, struct err *e);

#endif
