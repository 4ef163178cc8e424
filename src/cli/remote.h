/* SPDX-License-Identifier: MIT */
/* Questions to a backend: one GraphQL request, waited for. One thread. */
#ifndef TARE_CLI_REMOTE_H
#define TARE_CLI_REMOTE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/where.h"

/* Append the answer's "data" (JSON) to `data`. `variables` is a JSON object. Waits at most
 * `wait_s` for a backend that does not answer.
 * Expected: TARE_ETIMEOUT (nothing answers), TARE_EPERM (the key), TARE_EPROTO (the backend's words) */
enum { REMOTE_WAIT_S = 30 };
int remote_query(const struct where *w, const char *operation, const char *document,
                 struct str variables, int wait_s, struct buf *data, struct err *e);

#endif
