/* SPDX-License-Identifier: MIT */
/* What tare server says behind the # of a URL, which no client sends. Of a download:
 *
 *   http://127.0.0.1:8080/storage/TOKEN/NAME#md5=BASE64&xxh128=HEX&file=/PATH
 *
 *   md5, xxh128  bytes with this MD5 have that XXH128: a check that costs a tenth
 *   file         only for clients on the same machine, percent-encoded: where the bytes lie
 *
 * It comes from the backend that gave the manifest, not from where the bytes are, so it may be trusted as far as
 * the manifest's digests. That what lies at `file` is what is meant must be checked, as with what comes over HTTP.
 * Of an upload, also only for clients on the same machine: #place=/FOLDER, where to put a file (server/storage_put.c). */
#ifndef TARE_SERVICE_UPLOAD_URL_HINTS_H
#define TARE_SERVICE_UPLOAD_URL_HINTS_H

#include "base/str.h"

struct url_hints {
    struct str xxh128; /* 32 hex digits, or empty */
    const char *file;  /* absolute; or NULL */
};

/* Cut them off `url`, where they go on to live. Empty if there are none, if they are not about `digest` (base64 of
 * an MD5), or in another form; no file if the backend that gave them, or what `url` names, is another machine: which
 * files there are here is not for others to find out. Any thread. */
struct url_hints url_hints_take(char *url, struct str digest, const char *backend_url);

/* The folder of an upload's URL; it and the backend that gave it are of this machine. Heap; NULL if there is none, or they
 * are not. Any thread. */
char *url_place(const char *url, const char *backend_url);

#endif
