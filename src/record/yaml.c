/* SPDX-License-Identifier: MIT */
/* The rules are those of gopkg.in/yaml.v3: encode.go (which strings may be plain), sorter.go (the
 * order of keys), emitterc.go (what each style cannot hold, and indentation). */
#include "record/yaml.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { INDENT = 4 };

/* -- the order of keys --------------------------------------------------------------------------- */

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* What is not ASCII counts as a letter, but for signs like emoji. */
static bool is_letter(unsigned char c)
{
    return isalpha(c) || (c >= 0x80 && c < 0xf0);
}

static int64_t number_at(struct str s, size_t *at, int64_t n)
{
    for (; *at < s.n && is_digit((unsigned char)s.p[*at]) && n < INT64_MAX / 20; ++*at)
        n = n * 10 + (s.p[*at] - '0');
    return n;
}

/* Numbers inside keys by their values, letters behind everything else. */
static bool key_less(struct str a, struct str b)
{
    bool digits = false;
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];
        if (x == y) {
            digits = is_digit(x);
            continue;
        }
        if (is_letter(x) && is_letter(y))
            return x < y;
        if (is_letter(x) || is_letter(y))
            return digits ? is_letter(x) : is_letter(y);
        int64_t lead = 0;
        if (x == '0' || y == '0')
            for (size_t j = i; j-- > 0 && is_digit((unsigned char)a.p[j]);)
                lead |= a.p[j] != '0';
        size_t i_end = i, j_end = i;
        int64_t m = number_at(a, &i_end, lead), n = number_at(b, &j_end, lead);
        if (m != n)
            return m < n;
        return i_end != j_end ? i_end < j_end : x < y;
    }
    return a.n < b.n;
}

struct pair {
    struct buf key; /* unescaped */
    struct str value;
};

static int by_key(const void *a, const void *b)
{
    struct str x = buf_str(&((const struct pair *)a)->key), y = buf_str(&((const struct pair *)b)->key);
    return key_less(x, y) ? -1 : key_less(y, x);
}

/* -- strings ------------------------------------------------------------------------------------- */

static bool is_one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eqz(s, *words))
            return true;
    return false;
}

static const char *const values[] = {
    "",      "~",     "null",  "Null",  "NULL",  "true",  "True",  "TRUE",  "false", "False", "FALSE",
    ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
    "-.INF", "y",      "Y",     "yes",   "Yes",   "YES",   "on",    "On",    "ON",    "n",
    "N",     "no",    "No",    "NO",    "off",   "Off",   "OFF",   NULL};

static size_t count(struct str s, size_t at, bool (*is)(unsigned char))
{
    size_t n = 0;
    while (at + n < s.n && is((unsigned char)s.p[at + n]))
        n++;
    return n;
}

static bool is_hex(unsigned char c)
{
    return isxdigit(c) != 0;
}

static bool is_octal(unsigned char c)
{
    return c >= '0' && c <= '7';
}

static bool is_binary(unsigned char c)
{
    return c == '0' || c == '1';
}

/* [-+]? with a prefix of its base. */
static bool is_based_integer(struct str s)
{
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (s.n < at + 3 || s.p[at] != '0')
        return false;
    char base = (char)tolower(s.p[at + 1]);
    size_t n = base == 'x'   ? count(s, at + 2, is_hex)
               : base == 'o' ? count(s, at + 2, is_octal)
               : base == 'b' ? count(s, at + 2, is_binary)
                             : 0;
    return n > 0 && at + 2 + n == s.n;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_decimal(struct str s)
{
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+');
    size_t whole = count(s, at, is_digit);
    at += whole;
    if (at < s.n && s.p[at] == '.') {
        size_t part = count(s, at + 1, is_digit);
        if (!whole && !part)
            return false;
        at += 1 + part;
    } else if (!whole) {
        return false;
    }
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        at++;
        at += at < s.n && (s.p[at] == '-' || s.p[at] == '+');
        size_t exponent = count(s, at, is_digit);
        if (!exponent)
            return false;
        at += exponent;
    }
    return at == s.n;
}

static bool is_number(struct str s)
{
    AUTO_BUF plain = {0};
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_')
            buf_putc(&plain, s.p[i]);
    struct str p = buf_str(&plain);
    return is_based_integer(p) || is_decimal(p);
}

/* Minutes and seconds of YAML 1.1: 1:30, -10:00:00.5 */
static bool is_base60(struct str s)
{
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (!memchr(s.p, ':', s.n) || at >= s.n || !is_digit((unsigned char)s.p[at]))
        return false;
    while (at < s.n && (is_digit((unsigned char)s.p[at]) || s.p[at] == '_'))
        at++;
    bool parts = false;
    for (; at < s.n && s.p[at] == ':'; parts = true) {
        size_t n = count(s, ++at, is_digit);
        if (n == 0 || n > 2 || (n == 2 && s.p[at] > '5'))
            return false;
        at += n;
    }
    if (at < s.n && s.p[at] == '.')
        for (at++; at < s.n && (is_digit((unsigned char)s.p[at]) || s.p[at] == '_');)
            at++;
    return parts && at == s.n;
}

static bool read_field(struct str s, size_t *at, size_t most, int low, int high)
{
    size_t n = count(s, *at, is_digit);
    if (n == 0 || n > most)
        return false;
    int v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (s.p[*at + i] - '0');
    *at += n;
    return v >= low && v <= high;
}

static bool read_mark(struct str s, size_t *at, const char *marks)
{
    if (*at >= s.n || !strchr(marks, s.p[*at]) || !s.p[*at])
        return false;
    ++*at;
    return true;
}

/* A date, or a date and a time of day. */
static bool is_time(struct str s)
{
    size_t at = 0;
    if (count(s, 0, is_digit) != 4 || !read_field(s, &at, 4, 0, 9999) || !read_mark(s, &at, "-") ||
        !read_field(s, &at, 2, 1, 12) || !read_mark(s, &at, "-") || !read_field(s, &at, 2, 1, 31))
        return false;
    if (at == s.n)
        return true;
    bool zoned = s.p[at] != ' ';
    if (!read_mark(s, &at, "Tt ") || !read_field(s, &at, 2, 0, 23) || !read_mark(s, &at, ":") ||
        !read_field(s, &at, 2, 0, 59) || !read_mark(s, &at, ":") || !read_field(s, &at, 2, 0, 59))
        return false;
    if (read_mark(s, &at, "."))
        at += count(s, at, is_digit);
    if (!zoned || at == s.n)
        return !zoned && at == s.n;
    if (read_mark(s, &at, "Z"))
        return at == s.n;
    return read_mark(s, &at, "+-") && read_field(s, &at, 2, 0, 24) && read_mark(s, &at, ":") &&
           read_field(s, &at, 2, 0, 59) && at == s.n;
}

/* Would a reader take it for something that is no string? */
static bool means_something(struct str s)
{
    if (is_one_of(s, values))
        return true;
    unsigned char c = (unsigned char)s.p[0];
    if (!is_digit(c) && c != '-' && c != '+' && c != '.')
        return false;
    return is_number(s) || is_base60(s) || is_time(s);
}

/* What a scalar has in it, as far as styles cannot hold it. */
struct look {
    bool indicators, breaks, special, tabs, edge_space, trailing_space, break_space, space_break;
};

static bool is_printable(uint32_t cp)
{
    return cp == '\n' || (cp >= 0x20 && cp <= 0x7e) || (cp >= 0xa0 && cp < 0xd800) ||
           (cp >= 0xe000 && cp < 0xfffe && cp != 0xfeff);
}

/* One character of valid UTF-8 (anything else is taken byte by byte). */
static uint32_t next_char(struct str s, size_t at, size_t *n)
{
    unsigned char c = (unsigned char)s.p[at];
    *n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (at + *n > s.n)
        *n = 1;
    uint32_t cp = *n == 1 ? c : c & (0xffu >> (*n + 1));
    for (size_t i = 1; i < *n; i++)
        cp = cp << 6 | ((unsigned char)s.p[at + i] & 0x3f);
    return cp;
}

static bool is_break(uint32_t cp)
{
    return cp == '\n' || cp == '\r' || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

static bool is_indicator(struct str s, size_t at, uint32_t cp, bool after_blank)
{
    bool before_blank = at + 1 >= s.n || s.p[at + 1] == ' ' || s.p[at + 1] == '\t';
    if (cp >= 0x80)
        return false;
    if (at == 0 && strchr("#,[]{}&*!|>'\"%@`", (char)cp) && cp)
        return true;
    if (at == 0 && (cp == '?' || cp == '-') && before_blank)
        return true;
    return (cp == ':' && before_blank) || (cp == '#' && after_blank);
}

static struct look look_at(struct str s)
{
    struct look l = {.indicators = str_starts(s, STR("---")) || str_starts(s, STR("..."))};
    bool space = false, brk = false, blank = true; /* what was before */
    size_t n;
    for (size_t at = 0; at < s.n; at += n) {
        uint32_t cp = next_char(s, at, &n);
        bool last = at + n == s.n;
        l.indicators |= is_indicator(s, at, cp, blank);
        l.tabs |= cp == '\t';
        l.special |= cp != '\t' && !is_printable(cp);
        l.edge_space |= (cp == ' ' || is_break(cp)) && (at == 0 || last);
        l.trailing_space |= cp == ' ' && last;
        l.break_space |= cp == ' ' && brk;
        l.space_break |= is_break(cp) && space;
        l.breaks |= is_break(cp);
        space = cp == ' ';
        brk = is_break(cp);
        blank = space || brk || cp == '\t';
    }
    return l;
}

static void put_escape(struct buf *to, uint32_t cp)
{
    if (cp == 0)
        buf_puts(to, "\\0");
    else if (cp == '"' || cp == '\\')
        buf_printf(to, "\\%c", (char)cp);
    else if (cp == 0x1b)
        buf_puts(to, "\\e");
    else if (cp >= 7 && cp <= 13)
        buf_printf(to, "\\%c", "abtnvfr"[cp - 7]);
    else if (cp == 0x85 || cp == 0xa0)
        buf_puts(to, cp == 0x85 ? "\\N" : "\\_");
    else if (cp == 0x2028 || cp == 0x2029)
        buf_puts(to, cp == 0x2028 ? "\\L" : "\\P");
    else
        buf_printf(to, cp <= 0xff ? "\\x%02X" : cp <= 0xffff ? "\\u%04X" : "\\U%08X", cp);
}

static void put_double_quoted(struct buf *to, struct str s)
{
    size_t n;
    buf_putc(to, '"');
    for (size_t at = 0; at < s.n; at += n) {
        uint32_t cp = next_char(s, at, &n);
        if (!is_printable(cp) || is_break(cp) || cp == '"' || cp == '\\')
            put_escape(to, cp);
        else
            buf_append(to, s.p + at, n);
    }
    buf_putc(to, '"');
}

static void put_single_quoted(struct buf *to, struct str s)
{
    buf_putc(to, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\'')
            buf_putc(to, '\'');
        buf_putc(to, s.p[i]);
    }
    buf_putc(to, '\'');
}

static void put_blanks(struct buf *to, int n)
{
    for (; n > 0; n--)
        buf_putc(to, ' ');
}

/* Lines as they are, indented. The newline behind the last is not put, and a first empty line is
 * lost, as there. */
static void put_literal(struct buf *to, struct str s, int indent)
{
    size_t n = s.n;
    bool at_start = false;
    buf_putc(to, '|');
    if (s.p[0] == ' ' || s.p[0] == '\n')
        buf_printf(to, "%d", INDENT);
    if (s.p[n - 1] != '\n')
        buf_putc(to, '-');
    else if (n == 1 || s.p[n - 2] == '\n')
        buf_putc(to, '+');
    if (s.p[n - 1] == '\n')
        n--;
    for (size_t at = 0; at < n; at++) {
        if (s.p[at] == '\n') {
            buf_putc(to, '\n');
            at_start = true;
            continue;
        }
        const char *end = memchr(s.p + at, '\n', n - at);
        size_t len = end ? (size_t)(end - s.p) - at : n - at;
        if (!at_start)
            buf_putc(to, '\n');
        put_blanks(to, indent);
        buf_append(to, s.p + at, len);
        at_start = false;
        at += len - 1;
    }
}

/* `indent` is that of lines below; -1 for keys, which stay on their line. */
static void put_string(struct buf *to, struct str s, int indent)
{
    struct look l = look_at(s);
    bool plain = !means_something(s) && !l.indicators && !l.breaks && !l.special && !l.tabs &&
                 !l.edge_space && s.n;
    bool single = !means_something(s) && !l.break_space && !l.space_break && !l.tabs && !l.special &&
                  !l.breaks;
    bool literal = indent >= 0 && memchr(s.p ? s.p : "", '\n', s.n) && !l.trailing_space &&
                   !l.space_break && !l.special;
    if (plain)
        buf_put_str(to, s);
    else if (literal)
        put_literal(to, s, indent);
    else if (single)
        put_single_quoted(to, s);
    else
        put_double_quoted(to, s);
}

/* -- numbers ------------------------------------------------------------------------------------- */

/* As Go's FormatFloat(v, 'g', -1, 64): the fewest digits that read back. */
static void put_float(struct buf *to, double v)
{
    char text[40];
    if (isnan(v) || isinf(v)) {
        buf_puts(to, isnan(v) ? ".nan" : v > 0 ? ".inf" : "-.inf");
        return;
    }
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, v);
    while (strtod(text, NULL) != v && digits++ < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 6)
        snprintf(text, sizeof text, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 0, v);
    buf_puts(to, text);
}

static void put_number(struct buf *to, struct str text)
{
    int64_t i;
    double v = NAN;
    if (number_parse_i64(text.p, text.n, &i) == text.n) {
        json_put_i64(to, i);
        return;
    }
    number_parse_double(text.p, text.n, &v);
    put_float(to, v);
}

/* -- values -------------------------------------------------------------------------------------- */

static int put_value(struct buf *to, struct str json, int indent, bool in_list);

static int deeper(int indent)
{
    return indent < 0 ? 0 : INDENT * ((indent + INDENT) / INDENT);
}

static int read_pairs(struct str json, struct pair **pairs, size_t *n)
{
    const char *end = json.p + json.n, *at = json.p + 1;
    struct json_item item;
    size_t cap = 0;
    int rc;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (*n == cap) {
            cap = cap ? cap * 2 : 8;
            *pairs = xmem_realloc(*pairs, cap * sizeof **pairs);
        }
        (*pairs)[*n] = (struct pair){.value = item.value};
        json_unescape(&(*pairs)[(*n)++].key, item.key);
    }
    return rc;
}

static bool is_empty(struct str json)
{
    const char *end = json.p + json.n, *at = json_skip_space(json.p + 1, end);
    return at < end && (*at == '}' || *at == ']');
}

/* `first_inline`: the first key stands behind a list's dash. */
static int put_object(struct buf *to, struct str json, int indent, bool first_inline)
{
    struct pair *pairs = NULL;
    size_t n = 0;
    int rc = read_pairs(json, &pairs, &n);
    if (n)
        qsort(pairs, n, sizeof *pairs, by_key);
    for (size_t i = 0; i < n; i++) {
        if (i || !first_inline) {
            if (to->len)
                buf_putc(to, '\n');
            put_blanks(to, indent);
        }
        put_string(to, buf_str(&pairs[i].key), -1);
        buf_putc(to, ':');
        int inner = put_value(to, pairs[i].value, indent, false);
        rc = rc ? rc : inner;
        buf_fini(&pairs[i].key);
    }
    mem_free(pairs);
    return rc;
}

static int put_array(struct buf *to, struct str json, int indent, bool first_inline)
{
    const char *end = json.p + json.n, *at = json.p + 1;
    struct json_item item;
    int rc;
    while ((rc = json_next_element(&at, end, &item)) == 1) {
        if (!first_inline) {
            if (to->len)
                buf_putc(to, '\n');
            put_blanks(to, indent);
        }
        first_inline = false;
        buf_putc(to, '-');
        int inner = put_value(to, item.value, indent, true);
        if (inner)
            return inner;
    }
    return rc;
}

static int put_text(struct buf *to, struct str json, int indent)
{
    AUTO_BUF plain = {0};
    int rc = json_unescape(&plain, str_make(json.p + 1, json.n - 2));
    put_string(to, buf_str(&plain), indent);
    return rc;
}

/* Behind a key, a dash, or at the top (indent -1). */
static int put_value(struct buf *to, struct str json, int indent, bool in_list)
{
    json = json_trim(json);
    if (!json.n)
        return TARE_EFORMAT;
    bool nested = (*json.p == '{' || *json.p == '[') && !is_empty(json);
    int inner = in_list ? indent + 2 : deeper(indent);
    if (indent >= 0 && (!nested || in_list))
        buf_putc(to, ' ');
    if (nested)
        return *json.p == '{' ? put_object(to, json, inner, in_list)
                              : put_array(to, json, inner, in_list);
    switch (*json.p) {
    case '{': return buf_puts(to, "{}");
    case '[': return buf_puts(to, "[]");
    case '"': return put_text(to, json, inner);
    case 't':
    case 'f':
    case 'n': return buf_put_str(to, json);
    default: put_number(to, json); return 0;
    }
}

int yaml_put_json(struct str json, struct buf *to)
{
    if (!json_valid(json))
        return TARE_EFORMAT;
    int rc = put_value(to, json, -1, false);
    buf_putc(to, '\n');
    return rc < 0 ? rc : to->failed ? TARE_ENOMEM : 0;
}
