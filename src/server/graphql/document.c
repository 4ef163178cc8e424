/* SPDX-License-Identifier: MIT */
#include "server/graphql/document.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/random.h"
#include "server/graphql/validate.h"

#include <pthread.h>

enum {
    SETS = 64,
    WAYS = 4,
    MAX_KEPT_TEXT = 32 * 1024,       /* longer documents are used once and forgotten */
    MAX_KEPT_BYTES = 8 * 1024 * 1024, /* of arenas, all kept documents together */
    MAX_ARENA_BYTES = 16 * 1024 * 1024,
};

struct gql_cache {
    const struct gql_schema *schema;
    pthread_mutex_t lock;
    uint64_t seed, tick;
    size_t bytes;
    struct slot {
        struct gql_document *document;
        uint64_t used;
    } slots[SETS][WAYS];
};

struct gql_cache *gql_cache_new(const struct gql_schema *schema)
{
    struct gql_cache *c = xmem_calloc(1, sizeof *c);
    c->schema = schema;
    random_bytes(&c->seed, sizeof c->seed);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void document_free(struct gql_document *d)
{
    if (!d)
        return;
    arena_fini(&d->arena);
    mem_free(d);
}

/* Drop the cache's own reference. Under the lock. */
static void release(struct gql_cache *c, struct slot *s)
{
    struct gql_document *d = s->document;
    s->document = NULL;
    if (!d)
        return;
    c->bytes -= d->arena.used_bytes;
    if (--d->refs == 0)
        document_free(d);
}

void gql_cache_clear(struct gql_cache *c)
{
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < SETS; i++)
        for (int w = 0; w < WAYS; w++)
            release(c, &c->slots[i][w]);
    pthread_mutex_unlock(&c->lock);
}

void gql_cache_free(struct gql_cache *c)
{
    if (!c)
        return;
    gql_cache_clear(c);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static struct gql_document *lookup(struct gql_cache *c, uint64_t hash, struct str text, struct str name)
{
    struct slot *set = c->slots[hash % SETS];
    for (int w = 0; w < WAYS; w++) {
        struct gql_document *d = set[w].document;
        if (d && d->hash == hash && str_eq(d->text, text) && str_eq(d->operation, name)) {
            set[w].used = ++c->tick;
            d->refs++;
            return d;
        }
    }
    return NULL;
}

static void keep(struct gql_cache *c, struct gql_document *d)
{
    struct slot *set = c->slots[d->hash % SETS], *oldest = &set[0];
    if (d->text.n > MAX_KEPT_TEXT)
        return;
    for (int w = 0; w < WAYS; w++) {
        if (!set[w].document || (oldest->document && set[w].used < oldest->used))
            oldest = &set[w];
    }
    release(c, oldest);
    for (int i = 0; i < SETS && c->bytes + d->arena.used_bytes > MAX_KEPT_BYTES; i++)
        for (int w = 0; w < WAYS; w++)
            release(c, &c->slots[i][w]);
    oldest->document = d;
    oldest->used = ++c->tick;
    c->bytes += d->arena.used_bytes;
    d->refs++;
}

static int make(struct gql_cache *c, struct gql_document *d, struct str text, struct str name,
                struct err *e)
{
    struct gql_ast ast;
    char *copy = arena_strndup(&d->arena, text.p ? text.p : "", text.n);
    char *name_copy = arena_strndup(&d->arena, name.p ? name.p : "", name.n);
    if (!copy || !name_copy)
        return err_set(e, TARE_ENOMEM, "out of memory");
    d->text = str_make(copy, text.n);
    d->operation = str_make(name_copy, name.n);
    int rc = gql_parse(&d->arena, d->text, &ast, e);
    if (!rc)
        rc = gql_validate(c->schema, &ast, e);
    if (!rc)
        rc = gql_plan_make(&d->arena, c->schema, &ast, d->operation, &d->plan, e);
    return rc;
}

int gql_document_get(struct gql_cache *c, struct str text, struct str name,
                     struct gql_document **out, struct err *e)
{
    uint64_t hash = hash_bytes(text.p, text.n, c->seed);
    pthread_mutex_lock(&c->lock);
    struct gql_document *d = lookup(c, hash, text, name);
    pthread_mutex_unlock(&c->lock);
    if (d) {
        *out = d;
        return 0;
    }
    d = mem_calloc(1, sizeof *d);
    if (!d)
        return err_set(e, TARE_ENOMEM, "out of memory");
    arena_init(&d->arena, MAX_ARENA_BYTES);
    d->hash = hash;
    d->refs = 1;
    int rc = make(c, d, text, name, e);
    if (rc) {
        document_free(d);
        return rc;
    }
    pthread_mutex_lock(&c->lock);
    keep(c, d);
    pthread_mutex_unlock(&c->lock);
    *out = d;
    return 0;
}

void gql_document_put(struct gql_cache *c, struct gql_document *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&c->lock);
    bool last = --d->refs == 0;
    pthread_mutex_unlock(&c->lock);
    if (last)
        document_free(d);
}
