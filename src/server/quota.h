/* SPDX-License-Identifier: MIT */
/* How much disk a server may take: --quota SIZE over database and files together.
 *
 * At the limit what would take more room is refused (file streams and uploads get 507, mutations an error)
 * with a text that says so; reading and deleting go on, and writing does as soon as there is room. */
#ifndef TARE_SERVER_QUOTA_H
#define TARE_SERVER_QUOTA_H

#include "base/err.h"

#include <stdint.h>

struct server;

/* "500M", "20G", "1T" or a number of bytes. TARE_EINVAL. */
int quota_parse(const char *text, int64_t *bytes, struct err *e);

/* Count what there is and set the limits of both stores: at start. */
int quota_open(struct server *s, struct err *e);

/* Set them again from what has come and gone since: now and then. */
int quota_watch(struct server *s, struct err *e);

#endif
