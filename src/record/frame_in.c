/* SPDX-License-Identifier: MIT */
#include "record/frame_in.h"

#include "base/err.h"
#include "record/frame.h"

enum { KEEP_CAP_BYTES = 4096 }; /* an empty buffer larger than this is given back */

void frame_in_init(struct frame_in *f, uint32_t max_bytes)
{
    *f = (struct frame_in){.max_bytes = max_bytes};
}

void frame_in_fini(struct frame_in *f)
{
    buf_fini(&f->kept);
}

/* Bytes of the whole frame that begins at `p`; 0 while even its header is incomplete. */
static int64_t frame_size(const struct frame_in *f, const char *p, size_t n)
{
    uint32_t len;
    int rc = frame_peek(p, n, f->max_bytes, &len);
    return rc > 0 ? (int64_t)len + FRAME_HEADER : rc;
}

/* Hand out the whole frames at the front of p[0..n); *used counts their bytes. */
static int hand_out(struct frame_in *f, const char *p, size_t n, size_t *used, frame_fn *fn,
                    void *user)
{
    for (*used = 0;;) {
        int64_t size = frame_size(f, p + *used, n - *used);
        if (size < 0)
            return (int)size;
        if (size == 0 || (uint64_t)size > n - *used)
            return 0;
        struct str payload = str_make(p + *used + FRAME_HEADER, (size_t)size - FRAME_HEADER);
        *used += (size_t)size;
        int rc = fn(user, payload);
        if (rc)
            return rc;
    }
}

static void drop_empty(struct frame_in *f)
{
    if (f->kept.len == 0 && f->kept.cap > KEEP_CAP_BYTES)
        buf_fini(&f->kept);
}

/* Go on with the bytes kept from before. */
static int from_kept(struct frame_in *f, frame_fn *fn, void *user)
{
    size_t used;
    int rc = hand_out(f, f->kept.data, f->kept.len, &used, fn, user);
    buf_consume(&f->kept, used);
    drop_empty(f);
    return rc;
}

/* The kept bytes are the beginning of one frame: add to it what it lacks, no more. */
static int complete_kept(struct frame_in *f, const char **p, size_t *n)
{
    while (*n) {
        int64_t size = frame_size(f, f->kept.data, f->kept.len);
        if (size < 0)
            return (int)size;
        size_t want = size ? (size_t)size : FRAME_HEADER;
        if (f->kept.len >= want)
            break;
        size_t more = want - f->kept.len < *n ? want - f->kept.len : *n;
        if (buf_append(&f->kept, *p, more))
            return TARE_ENOMEM;
        *p += more;
        *n -= more;
    }
    return 0;
}

int frame_in_feed(struct frame_in *f, const void *bytes, size_t n, frame_fn *fn, void *user)
{
    const char *p = bytes ? bytes : "";
    int rc = 0;
    while (f->kept.len && rc == 0) {
        size_t before = n;
        rc = from_kept(f, fn, user);
        if (rc || f->kept.len == 0)
            break;
        rc = complete_kept(f, &p, &n);
        if (n == before)
            break;
    }
    if (rc < 0)
        return rc;
    size_t used = 0;
    if (rc == 0 && f->kept.len == 0)
        rc = hand_out(f, p, n, &used, fn, user);
    if (rc < 0)
        return rc;
    return buf_append(&f->kept, p + used, n - used) ? TARE_ENOMEM : rc;
}
