/* SPDX-License-Identifier: MIT */
/* Keys with JSON texts, in the order they came; a small hash table. One thread at a time. */
#ifndef TARE_CLIENT_KEYS_H
#define TARE_CLIENT_KEYS_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_item {
    char *key;
    size_t key_len;
    char *json;
    size_t json_len, json_cap;
    bool changed; /* put since keys_clear */
};

struct keys {
    struct key_item *items;
    size_t n, cap;
    uint32_t *index; /* item number + 1 by hash; 0 is free */
    size_t index_size;
};

void keys_fini(struct keys *k);
/* 0 or TARE_ENOMEM. The item is then `changed`. */
int keys_put(struct keys *k, struct str key, struct str json);
struct key_item *keys_find(const struct keys *k, struct str key);
/* No item counts as changed any more; keys and texts stay. */
void keys_clear(struct keys *k);

#endif
