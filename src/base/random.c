/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *to, size_t n)
{
    char *at = to;
    while (n) {
        ssize_t got = getrandom(at, n < 256 ? n : 256, 0);
        if (got < 0)
            continue; /* only EINTR is possible for such sizes once the pool is ready */
        at += got;
        n -= (size_t)got;
    }
}

uint32_t random_u32(void)
{
    uint32_t v;
    random_bytes(&v, sizeof v);
    return v;
}

void random_id(char *to, size_t n)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    enum { N = sizeof set - 1, LIMIT = 256 - 256 % N };
    for (size_t i = 0; i < n;) {
        unsigned char raw[32];
        random_bytes(raw, sizeof raw);
        for (size_t k = 0; k < sizeof raw && i < n; k++)
            if (raw[k] < LIMIT)
                to[i++] = set[raw[k] % N];
    }
    to[n] = 0;
}
