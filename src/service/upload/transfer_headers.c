/* SPDX-License-Identifier: MIT */
/* Headers of transfers: those that the server wants, and those of going on. Pure. */
#include "service/upload/transfer.h"

#include "base/json.h"
#include "base/number.h"

#include <stdio.h>
#include <strings.h>

static bool is_token(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return name.n > 0;
}

static bool is_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' && value.p[i] != '\t')
            return false;
    return true;
}

/* What only the client itself can say of a request: curl would send them as they are, and a length that is not the
 * body's leaves the rest of it to be taken for the next request. */
static bool is_own(struct str name)
{
    static const char *const names[] = {"Host", "Content-Length", "Transfer-Encoding", "Trailer"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (name.n == strlen(names[i]) && strncasecmp(name.p, names[i], name.n) == 0)
            return true;
    return false;
}

void transfer_put_header(struct buf *to, struct str name, struct str value)
{
    if (is_token(name) && is_value(value) && !is_own(name))
        buf_printf(to, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        s = str_make(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

void transfer_put_headers(struct buf *to, struct str json)
{
    const char *at = json.p, *end = json.p + json.n;
    struct json_item item;
    if (json.n == 0 || *at++ != '[')
        return;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_BUF text = {0};
        if (item.value.n < 2 || item.value.p[0] != '"' ||
            json_unescape(&text, str_make(item.value.p + 1, item.value.n - 2)))
            continue;
        char *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
        if (!colon)
            continue;
        struct str name = str_make(text.data, (size_t)(colon - text.data));
        struct str value = trimmed(str_make(colon + 1, (size_t)(text.data + text.len - colon - 1)));
        transfer_put_header(to, name, value);
    }
}

bool transfer_has_header(const char *headers, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = headers; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (strncasecmp(p, name, n) == 0 && p[n] == ':')
            return true;
    return false;
}

void transfer_put_key(struct buf *to, const struct file_stamp *s, uint64_t at, uint64_t bytes)
{
    char text[160], key[2 * SHA256_BYTES + 1];
    int n = snprintf(text, sizeof text, "%llu %llu %lld %lld %llu %llu", (unsigned long long)s->size,
                     (unsigned long long)s->inode, (long long)s->mtime_ns, (long long)s->ctime_ns,
                     (unsigned long long)at, (unsigned long long)bytes);
    sha256_hex(key, text, (size_t)n);
    buf_printf(to, "X-Tare-Upload: %s\n", key);
}

uint64_t transfer_range_bytes(struct str range)
{
    struct str unit = STR("bytes=0-");
    int64_t last;
    if (!str_starts(range, unit) || range.n == unit.n)
        return 0;
    const char *p = range.p + unit.n;
    size_t n = range.n - unit.n;
    return *p >= '0' && *p <= '9' && number_parse_i64(p, n, &last) == n && last < INT64_MAX ? (uint64_t)last + 1 : 0;
}
