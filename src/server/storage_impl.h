/* SPDX-License-Identifier: MIT */
/* What storage.c (URLs, downloads) and storage_put.c (uploads) share. */
#ifndef TARE_SERVER_STORAGE_IMPL_H
#define TARE_SERVER_STORAGE_IMPL_H

#include "server/storage.h"

/* The HTTP status for a failure of the blob store or of a row. */
int storage_status(int rc);
/* Cut the first line off *rest: claims of a token. */
struct str storage_take_line(struct str *rest);

#endif
