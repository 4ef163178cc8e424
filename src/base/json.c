/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include "base/err.h"
#include "base/number.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

const char *json_skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

struct str json_trim(struct str text)
{
    while (text.n > 0 && is_space(text.p[text.n - 1]))
        text.n--;
    while (text.n > 0 && is_space(*text.p))
        text = str_make(text.p + 1, text.n - 1);
    return text;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* `p` is behind the opening quote; the result is behind the closing one. */
static const char *skip_string(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '"')
            return p + 1;
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        if (++p >= end)
            return NULL;
        if (*p == 'u') {
            if (end - p < 5 || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]))
                return NULL;
            p += 4;
        } else if (!memchr("\"\\/bfnrt", *p, 8)) {
            return NULL;
        }
    }
    return NULL;
}

static const char *skip_word(const char *p, const char *end, const char *word, size_t n)
{
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
    if (p < end && *p == '-')
        p++;
    if (p >= end)
        return NULL;
    if (*p == 'I')
        return skip_word(p, end, "Infinity", 8);
    if (*p < '0' || *p > '9')
        return NULL;
    if (*p == '0')
        p++;
    else
        while (p < end && *p >= '0' && *p <= '9')
            p++;
    if (p < end && *p == '.') {
        const char *first = ++p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == first)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        const char *first = p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == first)
            return NULL;
    }
    return p;
}

static const char *skip_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return skip_string(p + 1, end);
    case 't':
        return skip_word(p, end, "true", 4);
    case 'f':
        return skip_word(p, end, "false", 5);
    case 'n':
        return skip_word(p, end, "null", 4);
    case 'N':
        return skip_word(p, end, "NaN", 3);
    default:
        return skip_number(p, end);
    }
}

/* Behind the key and the colon, or NULL. */
static const char *skip_key(const char *p, const char *end)
{
    p = json_skip_space(p, end);
    if (p >= end || *p != '"' || !(p = skip_string(p + 1, end)))
        return NULL;
    p = json_skip_space(p, end);
    return p < end && *p == ':' ? p + 1 : NULL;
}

/* The open brackets are kept in a bit set instead of the call stack: 1 = object. */
const char *json_skip(const char *p, const char *end)
{
    uint64_t is_object[JSON_MAX_DEPTH / 64] = {0};
    unsigned depth = 0;
    for (;;) {
        p = json_skip_space(p, end);
        if (p >= end)
            return NULL;
        if (*p == '{' || *p == '[') {
            bool object = *p++ == '{';
            const char *q = json_skip_space(p, end);
            if (q < end && *q == (object ? '}' : ']')) {
                p = q + 1;
            } else {
                if (depth == JSON_MAX_DEPTH)
                    return NULL;
                uint64_t bit = (uint64_t)1 << depth % 64;
                if (object)
                    is_object[depth / 64] |= bit;
                else
                    is_object[depth / 64] &= ~bit;
                depth++;
                if (object && !(p = skip_key(p, end)))
                    return NULL;
                continue;
            }
        } else if (!(p = skip_scalar(p, end))) {
            return NULL;
        }
        for (;;) { /* behind a value: close brackets, or go on to the next member */
            if (depth == 0)
                return p;
            p = json_skip_space(p, end);
            if (p >= end)
                return NULL;
            bool object = is_object[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
            if (*p == ',') {
                p++;
                if (object && !(p = skip_key(p, end)))
                    return NULL;
                break;
            }
            if (*p != (object ? '}' : ']'))
                return NULL;
            p++;
            depth--;
        }
    }
}

bool json_valid(struct str text)
{
    if (!text.n)
        return false;
    const char *end = text.p + text.n;
    const char *p = json_skip(text.p, end);
    return p && json_skip_space(p, end) == end;
}

/* Take the value at *at, and the comma behind it unless `close` follows. */
static int take_value(const char **at, const char *end, char close, struct json_item *item)
{
    const char *p = json_skip_space(*at, end);
    const char *q = p < end ? json_skip(p, end) : NULL;
    if (!q)
        return TARE_EFORMAT;
    item->value = str_make(p, (size_t)(q - p));
    q = json_skip_space(q, end);
    if (q >= end || (*q != ',' && *q != close))
        return TARE_EFORMAT;
    if (*q == ',') {
        q = json_skip_space(q + 1, end);
        if (q >= end || *q == close)
            return TARE_EFORMAT;
    }
    *at = q;
    return 1;
}

int json_next_element(const char **at, const char *end, struct json_item *item)
{
    const char *p = json_skip_space(*at, end);
    if (p >= end)
        return TARE_EFORMAT;
    if (*p == ']') {
        *at = p + 1;
        return 0;
    }
    item->key = STR("");
    *at = p;
    return take_value(at, end, ']', item);
}

int json_next_member(const char **at, const char *end, struct json_item *item)
{
    const char *p = json_skip_space(*at, end);
    if (p >= end)
        return TARE_EFORMAT;
    if (*p == '}') {
        *at = p + 1;
        return 0;
    }
    const char *q = skip_key(p, end);
    if (!q)
        return TARE_EFORMAT;
    const char *quote = memchr(p + 1, '"', (size_t)(q - p - 1));
    for (const char *s = p + 1; s < q; s++) { /* the first quote that is not escaped */
        if (*s == '\\')
            s++;
        else if (*s == '"') {
            quote = s;
            break;
        }
    }
    item->key = str_make(p + 1, (size_t)(quote - p - 1));
    *at = q;
    return take_value(at, end, '}', item);
}

/* What follows the backslash; 'u' stands for \u00XX; 0: needs no escape. */
static const char escape_of[256] = {
    [0] = 'u',  [1] = 'u',  [2] = 'u',  [3] = 'u',  [4] = 'u',  [5] = 'u',  [6] = 'u',  [7] = 'u',
    [8] = 'b',  [9] = 't',  [10] = 'n', [11] = 'u', [12] = 'f', [13] = 'r', [14] = 'u', [15] = 'u',
    [16] = 'u', [17] = 'u', [18] = 'u', [19] = 'u', [20] = 'u', [21] = 'u', [22] = 'u', [23] = 'u',
    [24] = 'u', [25] = 'u', [26] = 'u', [27] = 'u', [28] = 'u', [29] = 'u', [30] = 'u', [31] = 'u',
    ['"'] = '"', ['\\'] = '\\',
};

/* Bytes of the word that need an escape have their high bit set in the result, at the lowest of them
 * at least. */
static inline uint64_t special_bytes(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t quote = w ^ ones * '"', back = w ^ ones * '\\';
    return ((w - ones * 0x20) & ~w & high) | ((quote - ones) & ~quote & high) | ((back - ones) & ~back & high);
}

/* Escape `n` bytes to `w`, which has room for 6 * n + 8. Words are copied whole, then the place behind
 * the first special byte is gone back to. */
static char *escape(const char *p, size_t n, char *w)
{
    static const char hex[] = "0123456789abcdef";
    const char *end = p + n;
    while (p < end) {
        uint64_t word;
        while (end - p >= 8) {
            memcpy(&word, p, 8);
            memcpy(w, p, 8);
            uint64_t special = special_bytes(word);
            size_t plain = special ? (size_t)__builtin_ctzll(special) / 8 : 8;
            p += plain;
            w += plain;
            if (special)
                break;
        }
        if (p == end)
            break;
        unsigned char c = (unsigned char)*p++;
        char esc = escape_of[c];
        if (!esc) {
            *w++ = (char)c;
            continue;
        }
        *w++ = '\\';
        *w++ = esc;
        if (esc == 'u') {
            memcpy(w, "00", 2);
            w[2] = hex[c >> 4];
            w[3] = hex[c & 15];
            w += 4;
        }
    }
    return w;
}

int json_put_escaped(struct buf *b, struct str text)
{
    enum { PIECE = 4096 };
    for (size_t at = 0; at < text.n; at += PIECE) {
        size_t n = text.n - at < PIECE ? text.n - at : PIECE;
        char *w = buf_reserve(b, 6 * n + 8);
        if (!w)
            return TARE_ENOMEM;
        b->len += (size_t)(escape(text.p + at, n, w) - w);
    }
    return b->failed ? TARE_ENOMEM : 0;
}

int json_put_string(struct buf *b, struct str text)
{
    buf_putc(b, '"');
    json_put_escaped(b, text);
    return buf_putc(b, '"');
}

int json_put_double(struct buf *b, double v)
{
    char *to = buf_reserve(b, NUMBER_MAX);
    if (!to)
        return TARE_ENOMEM;
    b->len += number_format_double(to, v);
    return 0;
}

int json_put_i64(struct buf *b, int64_t v)
{
    char *to = buf_reserve(b, NUMBER_MAX);
    if (!to)
        return TARE_ENOMEM;
    b->len += number_format_i64(to, v);
    return 0;
}

static int put_utf8(struct buf *b, uint32_t c)
{
    char to[4];
    size_t n = 0;
    if (c < 0x80) {
        to[n++] = (char)c;
    } else if (c < 0x800) {
        to[n++] = (char)(0xc0 | c >> 6);
        to[n++] = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        to[n++] = (char)(0xe0 | c >> 12);
        to[n++] = (char)(0x80 | (c >> 6 & 63));
        to[n++] = (char)(0x80 | (c & 63));
    } else {
        to[n++] = (char)(0xf0 | c >> 18);
        to[n++] = (char)(0x80 | (c >> 12 & 63));
        to[n++] = (char)(0x80 | (c >> 6 & 63));
        to[n++] = (char)(0x80 | (c & 63));
    }
    return buf_append(b, to, n);
}

/* Four hex digits at `p`, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        if (!is_hex(p[i]))
            return -1;
        v = v * 16 + (p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    }
    return v;
}

int json_unescape(struct buf *b, struct str inside)
{
    const char *p = inside.p, *end = p + inside.n;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        if (!slash)
            return buf_append(b, p, (size_t)(end - p));
        buf_append(b, p, (size_t)(slash - p));
        p = slash + 1;
        if (p >= end)
            return TARE_EFORMAT;
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        const char *known = memchr(from, *p, 8);
        if (known) {
            buf_putc(b, to[known - from]);
            p++;
            continue;
        }
        int32_t c = *p == 'u' ? hex4(p + 1, end) : -1;
        if (c < 0)
            return TARE_EFORMAT;
        p += 5;
        if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
            int32_t low = hex4(p + 2, end);
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                p += 6;
            }
        }
        put_utf8(b, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
    }
    return b->failed ? TARE_ENOMEM : 0;
}
