/* SPDX-License-Identifier: MIT */
#include "server/id_text.h"
#include "base/number.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void id_make(char to[ID_TEXT], const char *kind, int64_t id)
{
    char text[46];
    int n = snprintf(text, sizeof text, "%.24s:%lld", kind, (long long)id);
    EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)text, n);
}

struct str id_plain(struct str text, char *to, size_t size)
{
    if (!text.n || text.n % 4 || text.n >= size)
        return (struct str){0};
    int n = EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)text.p, (int)text.n);
    while (n > 0 && text.n && text.p[text.n - 1] == '=')
        n--, text.n--;
    if (n <= 0)
        return (struct str){0};
    to[n] = 0;
    return str_make(to, (size_t)n);
}

bool id_parse(struct str text, const char *kind, int64_t *id)
{
    char space[ID_TEXT];
    struct str plain = id_plain(text, space, sizeof space);
    size_t k = strlen(kind);
    if (plain.n <= k + 1 || memcmp(plain.p, kind, k) != 0 || plain.p[k] != ':')
        return false;
    size_t left = plain.n - k - 1;
    return number_parse_i64(plain.p + k + 1, left, id) == left;
}
