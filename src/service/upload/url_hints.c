/* SPDX-License-Identifier: MIT */
#include "service/upload/url_hints.h"

#include "base/alloc.h"
#include "loop/proxy.h"

#include <string.h>

enum { XXH128_DIGITS = 32 };

static bool take(struct str *from, struct str word)
{
    if (!str_starts(*from, word))
        return false;
    *from = str_make(from->p + word.n, from->n - word.n);
    return true;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (hex_digit(s.p[i]) < 0)
            return false;
    return true;
}

/* In place. False: not such a text, or one with a NUL in it. */
static bool decode(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        int high = *p == '%' ? hex_digit(p[1]) : -1, low = high < 0 ? -1 : hex_digit(p[2]);
        if (*p == '%' && (low < 0 || 16 * high + low == 0))
            return false;
        *to++ = low < 0 ? *p : (char)(16 * high + low);
        p += low < 0 ? 0 : 2;
    }
    *to = '\0';
    return true;
}

static bool is_of_this_machine(const char *url)
{
    struct url_parts parts;
    return url_split(url, &parts) && proxy_is_skipped(&parts, "");
}

struct url_hints url_hints_take(char *url, struct str digest, const char *backend_url)
{
    struct url_hints none = {0}, hints = {0};
    char *hash = strchr(url, '#');
    if (!hash)
        return none;
    *hash = '\0';
    struct str rest = str_of(hash + 1);
    if (digest.n == 0 || !take(&rest, STR("md5=")) || !take(&rest, digest) || !take(&rest, STR("&xxh128=")) ||
        rest.n < XXH128_DIGITS)
        return none;
    hints.xxh128 = str_make(rest.p, XXH128_DIGITS);
    rest = str_make(rest.p + XXH128_DIGITS, rest.n - XXH128_DIGITS);
    if (!is_hex(hints.xxh128) || (rest.n > 0 && !take(&rest, STR("&file="))))
        return none;
    char *file = hash + 1 + (rest.p - (hash + 1));
    if (rest.n > 0 && *file == '/' && is_of_this_machine(url) && is_of_this_machine(backend_url) && decode(file))
        hints.file = file;
    return hints;
}

char *url_place(const char *url, const char *backend_url)
{
    const struct str name = STR("place=");
    const char *hash = strchr(url, '#');
    if (!hash || !str_starts(str_of(hash + 1), name) || hash[1 + name.n] != '/' || !is_of_this_machine(url) ||
        !is_of_this_machine(backend_url))
        return NULL;
    char *folder = mem_strndup(hash + 1 + name.n, strlen(hash + 1 + name.n));
    if (folder && decode(folder))
        return folder;
    mem_free(folder);
    return NULL;
}
