/* SPDX-License-Identifier: MIT */
/* Single values out of an answer's JSON, without decoding the rest. Any thread. */
#ifndef TARE_SERVICE_UPLOAD_JSON_PATH_H
#define TARE_SERVICE_UPLOAD_JSON_PATH_H

#include "base/str.h"

/* Down a path of member names ("upsertBucket.bucket.id"; numbers for elements) in JSON text: the raw
 * value there, empty if there is none or it is null, or the text is broken before it. */
struct str json_at(struct str json, const char *path);
/* The same as a decoded, NUL-terminated string to free with mem_free; NULL if there is none or it
 * is no string. */
char *json_string_at(struct str json, const char *path);

#endif
