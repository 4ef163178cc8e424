/* SPDX-License-Identifier: MIT */
/* JSON values as a person wants to see them. One thread. */
#ifndef TARE_CLI_VALUE_H
#define TARE_CLI_VALUE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>

/* Append `json` in short: strings without quotes, long numbers cut to 6 digits with `round`,
 * images, tables and histograms as a few words. Not yet safe for a terminal (term_text). */
void value_put(struct buf *to, struct str json, bool round, bool utf8);

/* The value of member `name` of the object `json`; {NULL} if there is none. */
struct str value_member(struct str json, const char *name);

/* Append the text of a JSON string; false if `json` is none. */
bool value_string(struct buf *to, struct str json);

/* Whether `json` is an object with this "_type". */
bool value_is_type(struct str json, const char *type);

/* Call `put` for each leaf below `json` (an object) with its dotted name; an object that has a
 * "_type" is a leaf. Members whose name starts with '_' at the top are left out unless `all`. */
void value_each(struct str json, bool all,
                void (*put)(void *ctx, struct str name, struct str value), void *ctx);

#endif
