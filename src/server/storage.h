/* SPDX-License-Identifier: MIT */
/* The way of bytes in and out: uploads and downloads by signed URL.
 *
 *   PUT /storage/TOKEN/NAME   the token (token.h) says what is written and that it may be
 *   GET /storage/TOKEN/NAME   the token names a blob
 *   GET /artifactsV2/…, /artifacts/…   a file of an artifact by its digest, with a key
 *
 * Uploads go piece by piece into the blob store (blob/blob.h), are checked against the digest that was
 * announced, and are answered when they and the row that refers to them are durable. Uploads that break off
 * can go on where they stopped: how, is in storage_put.c. NAME is for people
 * and caches; nothing is read from it. Ranges and If-None-Match are honoured on the way out. */
#ifndef TARE_SERVER_STORAGE_H
#define TARE_SERVER_STORAGE_H

#include "base/buf.h"
#include "base/str.h"
#include "server/http/http.h"
#include "server/request.h"

#include <stdint.h>

/* What an upload is for, and so which row it fills in. */
enum storage_kind {
    STORAGE_RUN_FILE,      /* id: run; name: path below the run */
    STORAGE_ARTIFACT_FILE, /* id: artifact; name: its path in the artifact */
    STORAGE_MANIFEST,      /* id: row of artifact_manifests */
    STORAGE_PART,          /* id: artifact; name: the upload's id, a slash, the part's number */
};

enum { STORAGE_UPLOAD_S = 24 * 3600, STORAGE_DOWNLOAD_S = 24 * 3600 };

/* Append an absolute URL to which these bytes may be PUT for STORAGE_UPLOAD_S seconds. `md5` (base64) is
 * what they must have; {NULL} or "": anything. 0, TARE_ENOMEM, or TARE_EINVAL: no digest. */
int storage_put_url(struct request *q, struct buf *to, enum storage_kind kind, int64_t id, struct str name,
                    struct str md5);

/* What uploadHeaders say of such URLs: clients that know it may go on with what broke off. */
#define STORAGE_RESUMABLE "X-Tare-Resumable:1"

/* Append an absolute URL from which anyone may GET the blob for STORAGE_DOWNLOAD_S seconds. `name` ends
 * the URL; `mimetype` {NULL}: by the name's ending. 0 or TARE_ENOMEM. */
int storage_get_url(struct request *q, struct buf *to, struct str blob, struct str name,
                    struct str mimetype);

/* Append "&file=PATH", where the blob's bytes lie, if the client is on this machine, as far as one can see: it can then do
 * without us, if it may read them. */
void storage_put_file_hint(struct request *q, struct buf *to, const char *blob);

/* The type of a file by its ending; never NULL. */
const char *storage_mimetype(struct str name);

/* Reply with a blob; `name` and `mimetype` as above. Any thread. */
void storage_reply_blob(struct http_request *r, const char *blob, struct str name, const char *mimetype);

/* For routes.c. */
void storage_put_begin(struct http_request *r);
void storage_put_data(struct http_request *r, const void *p, size_t n);
void storage_put_handle(struct http_request *r);
void storage_put_end(struct http_request *r);
void storage_get_handle(struct http_request *r);
void storage_artifact_v1_handle(struct http_request *r); /* /artifacts/{entity}/{md5hex} */
void storage_artifact_v2_handle(struct http_request *r);

#endif
