/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

static const char sets[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

void base64_put(struct buf *to, enum base64_alphabet alphabet, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t bits = 0;
    int have = 0, written = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6; have -= 6, written++)
            buf_putc(to, sets[alphabet][bits >> (have - 6) & 63]);
    }
    if (have) {
        buf_putc(to, sets[alphabet][bits << (6 - have) & 63]);
        written++;
    }
    for (; alphabet == BASE64_STANDARD && written % 4; written++)
        buf_putc(to, '=');
}

void base64_text(char *to, const uint8_t *bytes, size_t n)
{
    const char *set = sets[BASE64_STANDARD];
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= i + 2 < n ? bytes[i + 2] : 0;
        *to++ = set[v >> 18];
        *to++ = set[v >> 12 & 63];
        *to++ = i + 1 < n ? set[v >> 6 & 63] : '=';
        *to++ = i + 2 < n ? set[v & 63] : '=';
    }
    *to = 0;
}

static int digit_of(char c, enum base64_alphabet alphabet)
{
    return c >= 'A' && c <= 'Z'            ? c - 'A'
           : c >= 'a' && c <= 'z'          ? c - 'a' + 26
           : c >= '0' && c <= '9'          ? c - '0' + 52
           : c == sets[alphabet][62]       ? 62
           : c == sets[alphabet][63]       ? 63
                                           : -1;
}

bool base64_get(struct str text, enum base64_alphabet alphabet, void *to, size_t size, size_t *n)
{
    uint8_t *out = to;
    uint32_t bits = 0;
    int have = 0;
    size_t len = text.n, made = 0;
    while (len && text.n - len < 2 && text.p[len - 1] == '=')
        len--;
    if (len % 4 == 1 || (len != text.n && text.n % 4))
        return false;
    for (size_t i = 0; i < len; i++) {
        int d = digit_of(text.p[i], alphabet);
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        if ((have += 6) < 8)
            continue;
        have -= 8;
        if (made >= size)
            return false;
        out[made++] = (uint8_t)(bits >> have);
    }
    *n = made;
    return true;
}
