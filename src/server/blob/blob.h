/* SPDX-License-Identifier: MIT */
/* The blob store: the bytes of run files and artifacts, named by what they are.
 *
 * A blob's name is the SHA-256 of its bytes in lower-case hex, so the same content is kept once,
 * whoever uploads it. Layout below the directory, or below the prefix in an S3 bucket (s3.c):
 *
 *   ab/abcdef…   a complete blob (first two digits of its name, then the whole name), mode 0600
 *   tmp/…        uploads on the way; emptied when the store is opened (directory only), but for
 *   tmp/kept-…   what has come of uploads that may go on: blob_put_resume; and
 *   tmp/local-…  what clients on this machine put there, or, links-…, symbolic links: blob_put_adopt
 *
 * An upload is hashed while it is written to a file, then kept: synced and renamed into place, or PUT. A
 * name that exists is complete and durable. Nothing here knows who refers to a blob; the caller deletes those that
 * nobody does (artifact_collect).
 *
 * A store may be used by any thread; one upload belongs to one thread at a time. */
#ifndef TARE_SERVER_BLOB_BLOB_H
#define TARE_SERVER_BLOB_BLOB_H

#include "base/err.h"

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOB_NAME = 65, BLOB_MD5 = 25, BLOB_XXH128 = 33 }; /* sizes with the NUL */

struct blobs;
struct blob_put; /* one upload on the way */

/* What a finished upload is. */
struct blob_info {
    char name[BLOB_NAME]; /* SHA-256, lower-case hex */
    char md5[BLOB_MD5];   /* MD5 in base64, as the clients write digests */
    char xxh128[BLOB_XXH128]; /* XXH3, 128 bits, in lower-case hex: downloads are quickly checked by it */
    int64_t size_bytes;
    bool fresh;           /* false: the store had it already */
    struct blobs *store;  /* where it is */
};

/* Open the store at `url`: a directory (a path or file:PATH, made if it is not there), or
 * s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME…] (s3.c says all of it).
 * Expected: TARE_EUNSUPPORTED  another scheme
 *           TARE_EINVAL, TARE_EPERM, TARE_ENOTFOUND  the URL, the keys, the bucket
 *           or an errno value of the directory. */
int blobs_open(struct blobs **out, const char *url, struct err *e);
/* The same beside other servers: what they are uploading is left alone, unless it is a day old. */
int blobs_open_shared(struct blobs **out, const char *url, struct err *e);
/* The same for a process that only looks, beside the one that writes. */
int blobs_open_beside(struct blobs **out, const char *url, struct err *e);
void blobs_close(struct blobs *b); /* no upload may be under way; NULL is fine */

/* Refuse uploads that would leave less than this on the file system, or take the store over
 * `quota_bytes` (0 = no quota; counted from `used_bytes` on, which the caller knows; -1: as counted). */
void blobs_limit(struct blobs *b, int64_t keep_free_bytes, int64_t quota_bytes, int64_t used_bytes);

/* Bytes of all blobs, as told to blobs_limit and counted since. */
int64_t blobs_used(struct blobs *b);

/* Would the quota and the disk take so many bytes more? Expected: -EDQUOT (the quota is used up), TARE_ENOSPACE (the
 * disk is nearly full, or unfinished uploads take what the quota leaves). */
int blobs_check_room(struct blobs *b, int64_t bytes, struct err *e);

/* Begin an upload of at most `max_bytes`. Expected: as blobs_check_room, errno values. */
int blob_put_begin(struct blobs *b, struct blob_put **out, int64_t max_bytes, struct err *e);

/* Add bytes. Expected: TARE_ELIMIT over max_bytes, -EDQUOT, TARE_ENOSPACE, errno values. After a failure only
 * blob_put_abort is allowed. */
int blob_put_write(struct blob_put *p, const void *data, size_t n, struct err *e);

/* Add all bytes of another blob: joining the parts of a multipart upload. */
int blob_put_blob(struct blob_put *p, const char *name, struct err *e);

/* Finish: sync, rename into place, tell what it is, free `p` whatever happens. If `want_md5` (base64)
 * is not NULL and the bytes have another, nothing is kept.
 * Expected: TARE_ECONFLICT the digest differs; TARE_ENOSPACE, errno values. */
int blob_put_end(struct blob_put *p, const char *want_md5, struct blob_info *info, struct err *e);
void blob_put_abort(struct blob_put *p); /* NULL is fine */

/* ---- uploads that may go on where they broke off ---- */

/* Such uploads have a name, 32 lower-case hex digits, which says whose bytes they are and of what. Their
 * bytes count for the quota while they are kept. One of a name at a time: the caller sees to it. */
enum { BLOB_KEY = 33 };

/* As blob_put_begin; what was kept under that key before is gone. */
int blob_put_begin_kept(struct blobs *b, const char *key, struct blob_put **out, int64_t max_bytes, struct err *e);

/* Go on with what is kept, after reading all of it again for the digests: it may take seconds.
 * Expected: TARE_ENOTFOUND; TARE_ELIMIT more than `max_bytes` is there; errno values. */
int blob_put_resume(struct blobs *b, const char *key, struct blob_put **out, int64_t max_bytes, struct err *e);

/* Leave the bytes for blob_put_resume, also of a later process (not where servers share the directory), and free
 * `p`. A store that stages files without a name (s3.c) drops them. Must come from blob_put_begin_kept or blob_put_resume. */
void blob_put_keep(struct blob_put *p);

/* ---- uploads of clients on this machine ---- */

/* A client that runs as the same user may write a file into the staging folder by itself, under a name that nobody
 * guesses: "local-" and 32 lower-case hex digits; or a symbolic link, "links-...", to one that stays its own. */
#define BLOB_LOCAL_PREFIX "local-"
#define BLOB_LINKED_PREFIX "links-"
enum { BLOB_PREFIX_LEN = 6, BLOB_LOCAL = BLOB_PREFIX_LEN + 32 + 1 };

/* The absolute path of that folder; empty if there is none. Lives as long as the store. */
struct str blobs_staging(const struct blobs *b);

/* Take such a file of `size` bytes over, or copy what is linked, reading it for the digests: it may take seconds, fewer
 * each if threads do so at the same time. It has its name no longer afterwards, whatever happens, unless it was not there.
 * A link is only followed where `may_follow`: whoever made it may be shut out from the file (a container that has but the
 * folder), so the caller must hold what comes to a digest.
 * Expected: TARE_ENOTFOUND; TARE_EINVAL not a name, not a file of our user, another size; -EDQUOT, TARE_ENOSPACE;
 * errno values. */
int blob_put_adopt(struct blobs *b, const char *name, int64_t size, bool may_follow, struct blob_put **out, struct err *e);

int64_t blob_put_size(const struct blob_put *p); /* bytes so far */

/* Drop what has been kept without change for `seconds`. Returns how many were dropped. */
int blobs_drop_kept(struct blobs *b, int64_t seconds);

/* Keep these bytes as a blob: begin, write, end in one. */
int blob_put_bytes(struct blobs *b, const void *data, size_t n, struct blob_info *info,
                   struct err *e);

/* Open a blob for reading: a descriptor that the caller closes, and its size.
 * Expected: TARE_ENOTFOUND, TARE_EINVAL (not a name). */
int blob_open(struct blobs *b, const char *name, int *fd, int64_t *size_bytes, struct err *e);
/* The same when only [first, first + n) will be read: what the descriptor gives elsewhere is undefined. */
int blob_open_part(struct blobs *b, const char *name, int64_t first, int64_t n, int *fd, int64_t *size_bytes,
                   struct err *e);

/* Append the absolute path of a blob's file. False, and nothing is appended: it is not in a directory of this machine. */
bool blob_put_path(struct blobs *b, const char *name, struct buf *to);

/* Size in bytes, 0 if there is no such blob (or the store does not say). */
int64_t blob_size(struct blobs *b, const char *name);

/* Is it there? 1, 0, or a negative code of the store. */
int blob_exists(struct blobs *b, const char *name, struct err *e);

/* Remove a blob; missing is no error. Readers that have it open are not disturbed. */
int blob_delete(struct blobs *b, const char *name, struct err *e);

/* Call `each` for every blob; stop and return what it returns when that is not 0. */
int blobs_each(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes),
               void *arg, struct err *e);

/* Read a blob again and compare with its name. 0, TARE_EFORMAT (damaged) or TARE_ENOTFOUND. */
int blob_verify(struct blobs *b, const char *name, struct err *e);

/* True for 64 lower-case hex digits. */
bool blob_is_name(const char *name);

#endif
