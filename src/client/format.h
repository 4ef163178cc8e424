/* SPDX-License-Identifier: MIT */
/* Entries of the ring to messages of the protocol. Courier only. */
#ifndef TARE_CLIENT_FORMAT_H
#define TARE_CLIENT_FORMAT_H

#include "base/buf.h"
#include "client/manager.h"
#include "client/run.h"

/* Append the ServerRequest of a LOG, CONFIG or SUMMARY entry to `b`. Images and tables are written
 * to the run's files first, each with a files record that goes out at once (courier_emit). `head`
 * is the entry's, `values` its packed values. 0 or TARE_ENOMEM. */
int format_entry(struct manager *m, struct tare_run *run, enum entry_kind kind,
                 const struct entry_values *head, const char *values, struct buf *b);

#endif
