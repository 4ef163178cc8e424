/* SPDX-License-Identifier: MIT */
/* Metrics from endpoints that the settings name: x_stats_open_metrics_endpoints (watch/openmetrics.h)
 * and x_stats_dcgm_exporter (watch/dcgm.h).
 *
 * An endpoint that several runs name alike (same name, address, headers and filters) is asked once for
 * all of them, and its numbering of labels is theirs together. One that hangs, fails or tells nonsense
 * has no figures, and costs nobody else any: nothing ever waits for it. Loop thread only. */
#ifndef TARE_SERVICE_WATCH_SCRAPE_H
#define TARE_SERVICE_WATCH_SCRAPE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <uv.h>

#define SCRAPE_TIMEOUT_MS 5000                /* of a request, as the peer */
#define SCRAPE_MAX_BYTES ((size_t)8 << 20)    /* of an answer; one that is larger counts as failed */
#define SCRAPE_FRESH_NS (500LL * 1000000)     /* an answer to a request younger than this is not asked for again */
enum { SCRAPE_MAX_ENDPOINTS = 64 };           /* of a run; and so many are kept after their last run */

struct http;
struct scraper; /* the endpoints of all runs of a loop */
struct scrape;  /* what one run asks for */

struct scraper *scraper_new(struct http *http, uv_loop_t *loop);
/* All its scrapes are freed already. Its memory goes when what is under way has ended. */
void scraper_close(struct scraper *s);

/* Whether serialized Settings name any endpoint; and a DCGM exporter. Any thread. */
bool scrape_is_wanted(struct str settings);
bool scrape_has_exporter(struct str settings);

/* `settings` is copied. */
struct scrape *scrape_new(struct scraper *s, struct str settings);
void scrape_free(struct scrape *s); /* NULL is fine; no callback comes any more */

/* Send a request to each endpoint that none is under way to. */
void scrape_ask(struct scrape *s);

/* Append the StatsItems of the answers that came since the last time: an endpoint's last answer. */
void scrape_take(struct scrape *s, struct buf *items);

/* Ask the DCGM exporter, which the settings name, what GPUs there are. `done` comes once, perhaps from
 * inside: GPU fields of an EnvironmentRecord, empty if it has none or does not answer. One at a time. */
void scrape_facts(struct scrape *s, void (*done)(void *ctx, struct str fields), void *ctx);

#endif
