/* SPDX-License-Identifier: MIT */
#include "service/stream/spill.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { CHUNK_BYTES = 64 * 1024 };

struct spill {
    pthread_mutex_t lock;
    uint64_t start, end;
    uint8_t **chunks; /* one each CHUNK_BYTES from `start` on; NULL when forgotten */
    size_t n, cap, n_forgotten;
    int refs;
};

struct spill *spill_new(uint64_t start)
{
    struct spill *s = xmem_calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->start = s->end = start;
    s->refs = 1;
    return s;
}

struct spill *spill_ref(struct spill *s)
{
    pthread_mutex_lock(&s->lock);
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    return s;
}

void spill_unref(struct spill *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    int left = --s->refs;
    pthread_mutex_unlock(&s->lock);
    if (left)
        return;
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->chunks[i]);
    mem_free(s->chunks);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

uint64_t spill_start(const struct spill *s)
{
    return s->start;
}

uint64_t spill_end(struct spill *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t end = s->end;
    pthread_mutex_unlock(&s->lock);
    return end;
}

size_t spill_memory(struct spill *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n - s->n_forgotten;
    pthread_mutex_unlock(&s->lock);
    return n * CHUNK_BYTES;
}

/* Chunks for bytes up to `end`. */
static int make_room(struct spill *s, uint64_t end)
{
    size_t want = (size_t)((end - s->start + CHUNK_BYTES - 1) / CHUNK_BYTES);
    if (want > s->cap) {
        size_t cap = want + want / 2 + 16;
        uint8_t **more = mem_realloc(s->chunks, cap * sizeof *more);
        if (!more)
            return TARE_ENOMEM;
        s->chunks = more;
        s->cap = cap;
    }
    for (; s->n < want; s->n++)
        if (!(s->chunks[s->n] = mem_alloc(CHUNK_BYTES)))
            return TARE_ENOMEM;
    return 0;
}

int spill_append(struct spill *s, const void *p, size_t n)
{
    const uint8_t *from = p;
    pthread_mutex_lock(&s->lock);
    int rc = make_room(s, s->end + n);
    while (rc == 0 && n) {
        uint64_t at = s->end - s->start;
        size_t off = (size_t)(at % CHUNK_BYTES);
        size_t part = n < CHUNK_BYTES - off ? n : CHUNK_BYTES - off;
        memcpy(s->chunks[at / CHUNK_BYTES] + off, from, part);
        s->end += part;
        from += part;
        n -= part;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void spill_forget(struct spill *s, uint64_t below)
{
    pthread_mutex_lock(&s->lock);
    uint64_t to = below < s->end ? below : s->end;
    for (; s->n_forgotten < s->n && s->start + (s->n_forgotten + 1) * (uint64_t)CHUNK_BYTES <= to; s->n_forgotten++) {
        mem_free(s->chunks[s->n_forgotten]);
        s->chunks[s->n_forgotten] = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

ssize_t spill_read(void *spill, void *to, size_t n, uint64_t at)
{
    struct spill *s = spill;
    uint8_t *out = to;
    size_t done = 0;
    pthread_mutex_lock(&s->lock);
    while (at >= s->start && done < n && at + done < s->end) {
        uint64_t from = at + done - s->start, left = s->end - at - done;
        size_t off = (size_t)(from % CHUNK_BYTES), part = CHUNK_BYTES - off;
        part = part < n - done ? part : n - done;
        part = part < left ? part : (size_t)left;
        if (!s->chunks[from / CHUNK_BYTES])
            break;
        memcpy(out + done, s->chunks[from / CHUNK_BYTES] + off, part);
        done += part;
    }
    bool is_forgotten = !done && n && at < s->end;
    pthread_mutex_unlock(&s->lock);
    return is_forgotten ? -EIO : (ssize_t)done;
}
