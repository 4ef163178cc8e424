/* SPDX-License-Identifier: MIT */
/* One line a request: time, peer, user, method, path, status, bytes, milliseconds. Paths that carry
 * a right are written as their route's pattern. Any thread. */
#ifndef TARE_SERVER_ACCESS_LOG_H
#define TARE_SERVER_ACCESS_LOG_H

#include "server/http/http.h"

struct access_log;

/* Append to `path`; at 64 MiB it becomes `path`.1. NULL with a reason when it cannot be opened. */
struct access_log *access_log_open(const char *path, struct err *e);
void access_log_close(struct access_log *l);
void access_log_put(struct access_log *l, const struct http_request *r, int status, int64_t bytes);

#endif
