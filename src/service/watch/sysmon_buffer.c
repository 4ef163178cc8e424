/* SPDX-License-Identifier: MIT */
#include "service/watch/sysmon_buffer.h"

#include "base/alloc.h"
#include "base/number.h"
#include "record/wire.h"

#include <uthash.h>

enum { STATS_TIMESTAMP = 2, STATS_ITEM = 3, ITEM_KEY = 1, ITEM_VALUE = 16 };

void sysmon_buffer_init(struct sysmon_buffer *b, int64_t size)
{
    *b = (struct sysmon_buffer){0};
    b->limit = size < 0 || size > SYSMON_BUFFER_MAX ? SYSMON_BUFFER_MAX : (uint32_t)size;
}

void sysmon_buffer_fini(struct sysmon_buffer *b)
{
    for (uint32_t i = 0; b->samples && i < b->limit; i++)
        buf_fini(&b->samples[i]);
    mem_free(b->samples);
    *b = (struct sysmon_buffer){0};
}

void sysmon_buffer_add(struct sysmon_buffer *b, struct str stats_record)
{
    if (b->limit == 0)
        return;
    if (!b->samples)
        b->samples = xmem_calloc(b->limit, sizeof *b->samples);
    struct buf *place = &b->samples[b->n_taken++ % b->limit];
    buf_clear(place);
    buf_put_str(place, stats_record);
}

/* The samples of one key, as fields of SystemMetricsBuffer. */
struct series {
    UT_hash_handle hh;
    struct str key; /* in a sample */
    struct buf fields;
};

static void put_point(struct series *s, struct str timestamp, double v)
{
    size_t point = wire_buf_begin(&s->fields, 1);
    wire_buf_bytes(&s->fields, 1, timestamp);
    char *to = buf_reserve(&s->fields, WIRE_VARINT_MAX + 4);
    if (to) {
        float value = (float)v;
        char *after = wire_put_tag(to, 2, WIRE_FIXED32);
        memcpy(after, &value, sizeof value); /* little endian, as are both platforms */
        s->fields.len += (size_t)(after - to) + sizeof value;
    }
    wire_buf_end(&s->fields, point);
}

static struct series *series_of(struct series **all, struct str key)
{
    struct series *s = NULL;
    HASH_FIND(hh, *all, key.p, key.n, s);
    if (!s) {
        s = xmem_calloc(1, sizeof *s);
        s->key = key;
        HASH_ADD_KEYPTR(hh, *all, s->key.p, s->key.n, s);
    }
    return s;
}

static struct str without_label(struct str key, struct str label)
{
    if (label.n > 0 && key.n > label.n + 3 &&
        memcmp(key.p + key.n - label.n, label.p, label.n) == 0 &&
        memcmp(key.p + key.n - label.n - 3, "/l:", 3) == 0)
        key.n -= label.n + 3;
    return key;
}

static void take_sample(struct series **all, struct str stats_record, struct str label)
{
    struct str timestamp = wire_find_bytes(stats_record, STATS_TIMESTAMP);
    struct wire_reader r = wire_open(stats_record);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        if (f.number != STATS_ITEM || f.type != WIRE_BYTES)
            continue;
        struct str key = wire_find_bytes(f.bytes, ITEM_KEY), value = wire_find_bytes(f.bytes, ITEM_VALUE);
        double v;
        if (number_parse_double(value.p, value.n, &v) == value.n && value.n > 0)
            put_point(series_of(all, without_label(key, label)), timestamp, v);
    }
}

void sysmon_buffer_put(const struct sysmon_buffer *b, struct str label, struct buf *to)
{
    struct series *all = NULL, *s, *next;
    uint64_t first = b->n_taken > b->limit ? b->n_taken - b->limit : 0;
    for (uint64_t i = first; i < b->n_taken; i++)
        take_sample(&all, buf_str(&b->samples[i % b->limit]), label);
    HASH_ITER(hh, all, s, next)
    {
        size_t entry = wire_buf_begin(to, 1);
        wire_buf_bytes(to, 1, s->key);
        wire_buf_bytes(to, 2, buf_str(&s->fields));
        wire_buf_end(to, entry);
        HASH_DEL(all, s);
        buf_fini(&s->fields);
        mem_free(s);
    }
}
