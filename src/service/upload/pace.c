/* SPDX-License-Identifier: MIT */
#include "service/upload/pace.h"

#include "base/number.h"
#include "service/limits.h"

#include <math.h>

/* The peer's: how much of an estimate stays when a new one comes, and how many requests one takes. */
#define OLD_PART 0.2
enum { REQUESTS_AN_ESTIMATE = 5 };

void pace_init(struct pace *p, int64_t now_ns)
{
    *p = (struct pace){
        .limit_per_s = PACE_MAX_PER_S,
        .in_bucket = PACE_BURST,
        .bucket_ns = now_ns,
        .requests_a_unit = 1,
        .units_per_s = PACE_MAX_PER_S,
        .reset_ns = INT64_MIN,
    };
}

/* ---- the bucket ---- */

static void fill(struct pace *p, int64_t now_ns)
{
    double more = (double)(now_ns - p->bucket_ns) / 1e9 * p->limit_per_s;
    p->in_bucket = fmin(p->in_bucket + more, PACE_BURST);
    p->bucket_ns = now_ns;
}

int64_t pace_take_ns(struct pace *p, int64_t now_ns)
{
    fill(p, now_ns);
    p->in_bucket -= 1;
    p->n_since++;
    return p->in_bucket < 0 ? (int64_t)(-p->in_bucket / p->limit_per_s * 1e9) : 0;
}

/* ---- the estimate ---- */

static bool read_header(const struct http_request *r, const char *name, double *to)
{
    struct str value = http_answer_header(r, name);
    return value.n > 0 && number_parse_double(value.p, value.n, to) == value.n && *to >= 0 && *to < 1e15;
}

static double mix(double old, double new)
{
    return old * OLD_PART + new * (1 - OLD_PART);
}

/* `used` units since the last estimate. Where nothing was used, or the quota is full again, the pace may
 * grow: else one that is so slow that each request meets a full quota would stay so. */
static void estimate(struct pace *p, double used, bool is_full_again)
{
    if (used >= 1 && !is_full_again)
        p->requests_a_unit = mix(p->requests_a_unit, (double)p->n_since / used);
    else if (p->units_per_s > 0)
        p->requests_a_unit = mix(p->requests_a_unit, PACE_MAX_PER_S / p->units_per_s);
}

void pace_answer(struct pace *p, const struct http_request *r, int64_t now_ns)
{
    double remaining, reset_s;
    if (!read_header(r, "ratelimit-remaining", &remaining) || !read_header(r, "ratelimit-reset", &reset_s) ||
        reset_s <= 1 || reset_s > PACE_MAX_RESET_S) /* too near, too far to say anything */
        return;
    if (now_ns < p->reset_ns && p->n_since < REQUESTS_AN_ESTIMATE)
        return;
    p->units_per_s = remaining / reset_s;
    estimate(p, p->remaining - remaining, now_ns > p->reset_ns);
    p->remaining = remaining;
    p->reset_ns = now_ns + (int64_t)(reset_s * 1e9);
    p->n_since = 0;
    fill(p, now_ns);
    p->limit_per_s = fmax(fmin(p->requests_a_unit * p->units_per_s, PACE_MAX_PER_S), PACE_MIN_PER_S);
}
