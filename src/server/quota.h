/* SPDX-License-Identifier: MIT */
/* How much disk a server may take: --quota SIZE over database and files together.
 *
 * At the limit what would take more room is refused with 413 and a text that says so: files first, rows when the
 * last sixteenth (1 GiB at most), which is kept for them, is used up as well. A client gives up at once then, tells its
 * user, and has what was refused on its own disk; one that was answered 507 would try for days. 507 is for what passes:
 * a full disk, unfinished uploads, deleted runs and files that have not been cleared away yet. Reading and deleting go on, and
 * writing does as soon as there is room. */
#ifndef TARE_SERVER_QUOTA_H
#define TARE_SERVER_QUOTA_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

/* "500M", "20G", "1T" or a number of bytes. TARE_EINVAL. */
int quota_parse(const char *text, int64_t *bytes, struct err *e);

/* Count what there is and set the limits of both stores: at start. */
int quota_open(struct server *s, struct err *e);

/* Set them again from what has come and gone since: now and then. */
int quota_watch(struct server *s, struct err *e);

/* Does what was deleted still take room, which is free in a moment? Any thread. */
bool quota_may_ease(const struct server *s);

#endif
