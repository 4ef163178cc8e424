/* SPDX-License-Identifier: MIT */
#include "client/keys.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/hash.h"

void keys_fini(struct keys *k)
{
    for (size_t i = 0; i < k->n; i++) {
        mem_free(k->items[i].key);
        mem_free(k->items[i].json);
    }
    mem_free(k->items);
    mem_free(k->index);
    *k = (struct keys){0};
}

static uint32_t *place(const struct keys *k, struct str key)
{
    size_t at = hash_bytes(key.p, key.n, 0) & (k->index_size - 1);
    for (;; at = (at + 1) & (k->index_size - 1)) {
        uint32_t i = k->index[at];
        if (!i || str_eq(key, str_make(k->items[i - 1].key, k->items[i - 1].key_len)))
            return &k->index[at];
    }
}

struct key_item *keys_find(const struct keys *k, struct str key)
{
    uint32_t i = k->index_size ? *place(k, key) : 0;
    return i ? &k->items[i - 1] : NULL;
}

static int grow(struct keys *k)
{
    size_t cap = k->cap ? 2 * k->cap : 16;
    struct key_item *items = mem_realloc(k->items, cap * sizeof *items);
    if (!items)
        return TARE_ENOMEM;
    k->items = items;
    uint32_t *index = mem_calloc(2 * cap, sizeof *index);
    if (!index)
        return TARE_ENOMEM;
    mem_free(k->index);
    k->index = index;
    k->index_size = 2 * cap;
    k->cap = cap;
    for (size_t i = 0; i < k->n; i++)
        *place(k, str_make(items[i].key, items[i].key_len)) = (uint32_t)i + 1;
    return 0;
}

static struct key_item *add(struct keys *k, struct str key)
{
    if (k->n == k->cap && grow(k) != 0)
        return NULL;
    struct key_item *item = &k->items[k->n];
    *item = (struct key_item){.key = mem_strndup(key.p, key.n), .key_len = key.n};
    if (!item->key)
        return NULL;
    *place(k, key) = (uint32_t)++k->n;
    return item;
}

int keys_put(struct keys *k, struct str key, struct str json)
{
    struct key_item *item = keys_find(k, key);
    if (!item)
        item = add(k, key);
    if (!item)
        return TARE_ENOMEM;
    if (!item->json || item->json_cap < json.n) {
        char *text = mem_realloc(item->json, json.n + 16);
        if (!text)
            return TARE_ENOMEM;
        item->json = text;
        item->json_cap = json.n + 16;
    }
    memcpy(item->json, json.p ? json.p : "", json.n);
    item->json_len = json.n;
    item->changed = true;
    return 0;
}

void keys_clear(struct keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        k->items[i].changed = false;
}
