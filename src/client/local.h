/* SPDX-License-Identifier: MIT */
/* A run's .wandb file written by the client itself, where there is no service or it has died: a
 * small stand-in for the service that takes the same messages. See local.c. Courier only. */
#ifndef TARE_CLIENT_LOCAL_H
#define TARE_CLIENT_LOCAL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "client/run.h"

#include <stdbool.h>

/* Begin: run->local. With `service_is_dead` the file the service began is gone on with behind its
 * last whole record; else its records are copied into a new file of a folder of its own. Where
 * there is no such file, a new one begins. Never overwrites.
 * Expected: the error of creating the file */
int local_open(struct tare_run *run, bool service_is_dead, struct err *e);

/* The path of the file. */
const char *local_path(const struct local *l);

/* While messages are replayed that the service may have written already: history the file holds
 * is not written again. */
void local_set_replay(struct local *l, bool replay);

/* Take a ServerRequest; a ServerResponse is appended to `answer` where one is due. 0, or the first
 * error of writing (later messages are still answered). */
int local_take(struct local *l, struct str request, struct buf *answer);

/* Write out what is due. `now_ns` is monotonic. */
int local_tick(struct local *l, int64_t now_ns);

void local_close(struct local *l);

#endif
