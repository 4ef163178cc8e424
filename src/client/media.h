/* SPDX-License-Identifier: MIT */
/* Images and tables become files of the run; history gets a reference to them. Courier only. */
#ifndef TARE_CLIENT_MEDIA_H
#define TARE_CLIENT_MEDIA_H

#include "base/buf.h"
#include "client/manager.h"
#include "client/pack.h"
#include "client/run.h"

/* Write the file of an image or table, send its files record, and append the JSON that stands for
 * it; `null` where the file cannot be written (which is said). */
void media_put_json(struct manager *m, struct tare_run *run, const struct packed *v, int64_t step,
                    struct buf *json);

/* Send a files record of `path`, relative to the run's files. */
int media_send_file(struct manager *m, struct tare_run *run, const char *path, int policy);

#endif
