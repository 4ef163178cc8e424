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

bool id_parse(struct str text, const char *kind, int64_t *id)
{
    unsigned char plain[ID_TEXT];
    char in[ID_TEXT];
    if (!text.n || text.n % 4 || text.n >= sizeof in)
        return false;
    memcpy(in, text.p, text.n);
    int n = EVP_DecodeBlock(plain, (const unsigned char *)in, (int)text.n);
    while (n > 0 && text.n && text.p[text.n - 1] == '=')
        n--, text.n--;
    size_t k = strlen(kind);
    if (n <= (int)k + 1 || memcmp(plain, kind, k) != 0 || plain[k] != ':')
        return false;
    size_t left = (size_t)n - k - 1;
    return number_parse_i64((const char *)plain + k + 1, left, id) == left;
}
