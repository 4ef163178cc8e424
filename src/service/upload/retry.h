/* SPDX-License-Identifier: MIT */
/* When a request is tried again, and after how long: the peer's rules, one row a kind of request.
 * Pure; any thread.
 *
 * (peer: core/internal/clients/retry_policy.go, backoff.go; stream/stream_init.go; hashicorp's
 * go-retryablehttp for files) */
#ifndef TARE_SERVICE_UPLOAD_RETRY_H
#define TARE_SERVICE_UPLOAD_RETRY_H

#include "base/str.h"
#include "loop/http.h"
#include "service/upload/backend.h"

#include <stdbool.h>
#include <stdint.h>

struct retry_policy {
    enum backend_use use;
    uint32_t max;         /* retries after the first try */
    uint32_t wait_min_ms; /* before the first of them; doubled each time */
    uint32_t wait_max_ms;
    uint32_t timeout_ms;  /* of one try; 0 for no bound */
};

/* The defaults, or what the settings (a serialized wandb_internal.Settings) say. */
void retry_policy_of(struct retry_policy *p, struct str settings, enum backend_use use);

/* May a request that was answered so be sent again? Network trouble: yes. File transfers: 429 and
 * 5xx. Others: 4xx too, but not what the server will refuse again (400, 401, 402, 403, 404, 409, 410,
 * 413, 422). 501 never. */
bool retry_again(const struct retry_policy *p, const struct http_request *r);

/* How long to wait after `n_failed` (from 1) failed tries: what Retry-After says, at most
 * RETRY_AFTER_MAX_MS; else wait_min doubled each time, up to a quarter more by chance, at most
 * wait_max. `chance` is any number. */
uint32_t retry_wait_ms(const struct retry_policy *p, const struct http_request *r, uint32_t n_failed,
                       uint32_t chance);

#endif
