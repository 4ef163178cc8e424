/* SPDX-License-Identifier: MIT */
/* Database and files share the quota: each may grow into what the other leaves, but for a part that is kept for the
 * database: where files are refused, rows are still taken for a while. The shares are set anew every few seconds, so
 * for that long the sum may be over by what came in meanwhile. */
#include "server/quota.h"

#include "server/blob/blob.h"
#include "server/server.h"
#include "server/store/db.h"

#include <stdlib.h>

enum { KEEP_FREE_BYTES = 64 << 20 };
static const int64_t min_share = 1 << 20, max_reserve = 1 << 30;

int quota_parse(const char *text, int64_t *bytes, struct err *e)
{
    static const char units[] = "KMGT";
    char *end;
    int64_t n = strtoll(text, &end, 10);
    int shift = 0;
    for (int i = 0; i < 4; i++)
        if (*end == units[i])
            shift = 10 * (i + 1);
    if (shift)
        end++;
    if (end == text || *end || n <= 0 || n > INT64_MAX >> 10 >> shift)
        return err_set(e, TARE_EINVAL, "--quota wants a size like 500M or 20G, not '%s'", text);
    *bytes = n << shift;
    return 0;
}

static int add_size(void *arg, const char *name, int64_t size_bytes)
{
    (void)name;
    *(int64_t *)arg += size_bytes;
    return 0;
}

static int64_t share(int64_t quota, int64_t used_by_other)
{
    return quota - used_by_other > min_share ? quota - used_by_other : min_share;
}

/* Of the quota, for the database alone. */
static int64_t rows_reserve(int64_t quota)
{
    return quota / 16 < max_reserve ? quota / 16 : max_reserve;
}

static int apply(struct server *s, int64_t quota, int64_t counted, struct err *e)
{
    blobs_limit(s->blobs, KEEP_FREE_BYTES, share(quota - rows_reserve(quota), db_size_bytes(s->db)), counted);
    return db_limit(s->db, share(quota, blobs_used(s->blobs)), e);
}

int quota_open(struct server *s, struct err *e)
{
    int64_t quota, used = 0;
    blobs_limit(s->blobs, KEEP_FREE_BYTES, 0, 0);
    if (!s->options.quota)
        return 0;
    int rc = quota_parse(s->options.quota, &quota, e);
    if (!rc)
        rc = blobs_each(s->blobs, add_size, &used, e);
    return rc ? rc : apply(s, quota, used, e);
}

int quota_watch(struct server *s, struct err *e)
{
    int64_t quota;
    if (!s->options.quota)
        return 0;
    int rc = quota_parse(s->options.quota, &quota, e);
    return rc ? rc : apply(s, quota, -1, e);
}

bool quota_may_ease(const struct server *s)
{
    return s->collect_soon || s->empty_soon || s->is_clearing;
}
