/* SPDX-License-Identifier: MIT */
/* Counters for /metrics, in Prometheus' text format. Any thread. */
#ifndef TARE_SERVER_METRICS_H
#define TARE_SERVER_METRICS_H

#include "server/http/http.h"

struct metrics;
struct server;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Count a finished request. */
void metrics_request(struct metrics *m, const struct http_request *r, int status, int64_t bytes);

/* Finished requests since the start. */
uint64_t metrics_requests(const struct metrics *m);

/* Append everything, the server's own gauges included. */
void metrics_write(struct server *s, struct buf *to);

#endif
