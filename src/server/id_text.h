/* SPDX-License-Identifier: MIT */
/* Ids as clients see them: base64 of "Kind:number", a string that is valid standard base64 (artifact
 * ids are decoded and re-encoded by clients). Pure. */
#ifndef TARE_SERVER_ID_TEXT_H
#define TARE_SERVER_ID_TEXT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { ID_TEXT = 64 };

/* Kinds are string literals such as "Run" or "Artifact", at most 24 characters. */
void id_make(char to[ID_TEXT], const char *kind, int64_t id);
/* What an id's text says, NUL-terminated, as far as it is such a text; {NULL, 0}: no base64, or too long. */
struct str id_plain(struct str text, char *to, size_t size);
bool id_parse(struct str text, const char *kind, int64_t *id); /* false: no id of this kind */

#endif
