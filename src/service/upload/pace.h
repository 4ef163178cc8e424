/* SPDX-License-Identifier: MIT */
/* How fast requests may follow one another, by what a backend says in its answers:
 *
 *   RateLimit-Remaining: 120     so much of the quota is left, in a unit of the backend's own
 *   RateLimit-Reset: 60          seconds until it is full again
 *
 * The aim is to use what is left evenly until then. How many requests a unit is worth is estimated
 * from what the requests since the last such answer took of the quota, and averaged. A bucket holds
 * PACE_BURST requests that may go at once. Until a backend says something there is no limit that could be
 * felt. Pure: the caller has the (monotonic) clock.
 *
 * (peer: core/internal/api/ratelimittracker.go, ratelimitwrapper.go; the headers:
 * draft-polli-ratelimit-headers-02) */
#ifndef TARE_SERVICE_UPLOAD_PACE_H
#define TARE_SERVICE_UPLOAD_PACE_H

#include "loop/http.h"

#include <stdint.h>

struct pace {
    double limit_per_s; /* requests */
    double in_bucket;   /* as of bucket_ns; negative: promised already */
    int64_t bucket_ns;

    double requests_a_unit;
    double units_per_s;    /* to be used */
    double remaining;      /* as the backend said last ... */
    int64_t reset_ns;      /* ... until then */
    uint64_t n_since;      /* requests since it said so */
};

void pace_init(struct pace *p, int64_t now_ns);
/* A request is about to go: how long it must wait. */
int64_t pace_take_ns(struct pace *p, int64_t now_ns);
/* Its answer, if there was one. */
void pace_answer(struct pace *p, const struct http_request *r, int64_t now_ns);

#endif
