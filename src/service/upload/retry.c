/* SPDX-License-Identifier: MIT */
#include "service/upload/retry.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/number.h"
#include "record/setting_wire.h"
#include "service/limits.h"

#include <stdio.h>
#include <time.h>

/* Defaults, and the settings' numbers in proto/settings.proto. */
static const struct row {
    struct retry_policy defaults;
    uint32_t set_max, set_wait_min, set_wait_max, set_timeout;
} rows[BACKEND_N_USES] = {
    [BACKEND_GRAPHQL] = {{BACKEND_GRAPHQL, 20, 2000, 60000, 30000}, 154, 155, 156, 157},
    /* seven days: a minute each, once the waits have grown */
    [BACKEND_FILESTREAM] = {{BACKEND_FILESTREAM, 10085, 2000, 60000, 180000}, 147, 148, 149, 15},
    [BACKEND_FILE] = {{BACKEND_FILE, 20, 2000, 60000, 0}, 150, 151, 152, 153},
};

/* A time in seconds, if it is set and makes sense. */
static void set_ms(uint32_t *to, struct str settings, uint32_t number)
{
    double s = setting_wire_double(settings, number);
    if (s > 0 && s < 4e6)
        *to = s < 0.001 ? 1 : (uint32_t)(s * 1000);
}

void retry_policy_of(struct retry_policy *p, struct str settings, enum backend_use use)
{
    const struct row *row = &rows[use];
    *p = row->defaults;
    int64_t max = setting_wire_int(settings, row->set_max);
    if (max > 0 && max <= INT32_MAX)
        p->max = (uint32_t)max;
    set_ms(&p->wait_min_ms, settings, row->set_wait_min);
    set_ms(&p->wait_max_ms, settings, row->set_wait_max);
    set_ms(&p->timeout_ms, settings, row->set_timeout);
}

static bool is_final(int status)
{
    static const int final[] = {400, 401, 402, 403, 404, 409, 410, 413, 422};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++)
        if (final[i] == status)
            return true;
    return false;
}

bool retry_again(const struct retry_policy *p, const struct http_request *r)
{
    if (r->error) /* what would not go otherwise the next time */
        return r->error != TARE_ECANCELLED && r->error != TARE_EINVAL && r->error != TARE_EUNSUPPORTED &&
               r->error != TARE_EPERM && r->error != TARE_ELIMIT;
    if (r->status == 501)
        return false;
    if (p->use == BACKEND_FILE)
        return r->status == 0 || r->status == 429 || r->status >= 500;
    return r->status == 0 || (r->status >= 400 && !is_final(r->status));
}

/* Seconds, or a date (RFC 9110); negative if there is none that makes sense. */
static double retry_after_s(struct str value)
{
    double s;
    if (value.n > 0 && number_parse_double(value.p, value.n, &s) == value.n)
        return s >= 0 ? s : -1;
    char text[64];
    struct tm tm = {0};
    if (value.n == 0 || value.n >= sizeof text)
        return -1;
    memcpy(text, value.p, value.n);
    text[value.n] = 0;
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return -1;
    s = (double)timegm(&tm) - clock_wall_s();
    return s > 0 ? s : 0;
}

uint32_t retry_wait_ms(const struct retry_policy *p, const struct http_request *r, uint32_t n_failed,
                       uint32_t chance)
{
    double s = r->error ? -1 : retry_after_s(http_answer_header(r, "retry-after"));
    if (s >= 0)
        return s * 1000 < RETRY_AFTER_MAX_MS ? (uint32_t)(s * 1000) : RETRY_AFTER_MAX_MS;
    uint32_t doublings = n_failed > 0 ? n_failed - 1 : 0;
    double ms = (double)p->wait_min_ms * (double)(UINT64_C(1) << (doublings < 32 ? doublings : 32));
    ms *= 1 + 0.25 * (double)chance / (double)UINT32_MAX;
    return ms < (double)p->wait_max_ms ? (uint32_t)ms : p->wait_max_ms;
}
