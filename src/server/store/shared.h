/* SPDX-License-Identifier: MIT */
/* A run that several clients share (the SDK's mode="shared"). Each of them numbers its own console lines, and sends a
 * whole summary and configuration, but of what it logged itself: one must not write over the others'. (Rows of the
 * history are told apart by history_append.)
 *
 * Both functions run inside a job. */
#ifndef TARE_SERVER_STORE_SHARED_H
#define TARE_SERVER_STORE_SHARED_H

#include "base/buf.h"
#include "server/store/db.h"

/* Write the lines that client `writer` (not 0) calls first_line and following: to where they are if it sent them before,
 * else behind all of the run's. *end is then one past the last line of the run.
 * Expected: as console_write. */
int shared_console_write(struct db_conn *c, int64_t run, int64_t writer, int64_t first_line, const struct str *lines,
                         size_t n, int64_t *end, struct err *e);

/* Append the members of the JSON object `mine` and those of `others` that it has not. `others` may be {NULL, 0}. What a
 * client takes out of its own stays: nobody can tell it from what was never its.
 * Expected: TARE_EFORMAT (no object), TARE_ENOMEM. Any thread. */
int shared_merge(struct str others, struct str mine, struct buf *to);

#endif
