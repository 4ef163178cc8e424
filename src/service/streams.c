/* SPDX-License-Identifier: MIT */
#include "service/streams.h"

#include "service/limits.h"
#include "service/service.h"
#include "service/stream/stream.h"
#include "service/stream/stream_private.h"

#include <utlist.h>

void streams_init(struct streams *m, uv_loop_t *loop)
{
    *m = (struct streams){0};
    uv_timer_init(loop, &m->gather);
    m->gather.data = m;
}

void streams_fini(struct streams *m)
{
    uv_close((uv_handle_t *)&m->gather, NULL);
}

static void not_dirty(struct streams *m, struct stream *s)
{
    if (s->dirty)
        DL_DELETE2(m->dirty, s, dirty_prev, dirty_next);
    s->dirty = false;
}

static void on_gathered(uv_timer_t *t)
{
    struct streams *m = t->data;
    while (m->dirty) {
        struct stream *s = m->dirty;
        not_dirty(m, s);
        journal_stage_flush(&s->journal);
    }
}

void streams_write_soon(struct streams *m, struct stream *s)
{
    if (s->dirty)
        return;
    if (!m->dirty)
        uv_timer_start(&m->gather, on_gathered, JOURNAL_GATHER_MS, 0);
    s->dirty = true;
    DL_APPEND2(m->dirty, s, dirty_prev, dirty_next);
}

struct stream *streams_find(struct streams *m, struct str id)
{
    struct stream *s;
    HASH_FIND(hh, m->by_id, id.p, id.n, s);
    return s;
}

struct stream *streams_open(struct streams *m, struct service *service, struct str id,
                            struct str settings, struct err *e)
{
    if (id.n == 0 || id.n > MAX_STREAM_ID_BYTES) {
        err_set(e, TARE_EINVAL, "a stream needs an id of 1 to %d bytes", MAX_STREAM_ID_BYTES);
        return NULL;
    }
    if (streams_find(m, id)) {
        err_set(e, TARE_EEXIST, "run ID %.*s is in use", STR_ARG(id));
        return NULL;
    }
    struct stream *s = stream_new(service, id, settings, e);
    if (!s)
        return NULL;
    struct str key = stream_id(s);
    HASH_ADD_KEYPTR(hh, m->by_id, key.p, key.n, s);
    m->n_open++;
    service_stream_made(service);
    return s;
}

struct stream *streams_remove(struct streams *m, struct str id)
{
    struct stream *s = streams_find(m, id);
    if (!s)
        return NULL;
    HASH_DEL(m->by_id, s);
    DL_APPEND(m->closing, s);
    s->removed = true;
    m->changes++;
    m->n_open--;
    m->n_closing++;
    return s;
}

void streams_closed(struct streams *m, struct stream *s)
{
    not_dirty(m, s);
    DL_DELETE(m->closing, s);
    m->n_closing--;
}

void streams_end_all(struct streams *m, bool finish, int run_exit)
{
    struct stream *s, *next;
    HASH_ITER(hh, m->by_id, s, next)
    {
        streams_remove(m, stream_id(s));
        stream_end(s, finish, run_exit);
    }
}

void streams_tell_waits(struct streams *m)
{
    struct stream *s;
    DL_FOREACH(m->closing, s)
        stream_tell_waits(s);
}

void streams_bound(struct streams *m, int64_t within_ns)
{
    struct stream *s;
    DL_FOREACH(m->closing, s)
        stream_bound(s, within_ns);
}

bool streams_spare_a_descriptor(struct streams *m)
{
    struct stream *s, *next, *best = NULL;
    HASH_ITER(hh, m->by_id, s, next)
        if (journal_stage_can_park(&s->journal) &&
            (!best || s->journal.last_write_ms < best->journal.last_write_ms))
            best = s;
    return best && stream_park(best);
}
