/* SPDX-License-Identifier: MIT */
#include "server/graphql/lexer.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_TOKENS = 40000 };

void gql_lexer_init(struct gql_lexer *lx, struct arena *a, struct str text)
{
    *lx = (struct gql_lexer){.at = text.p, .end = text.p + text.n, .line_start = text.p, .line = 1,
                             .arena = a};
    if (str_starts(text, STR("\xEF\xBB\xBF")))
        lx->at += 3;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int fail(struct gql_lexer *lx, struct err *e, const char *what)
{
    return err_set(e, TARE_EFORMAT, "Syntax Error: %s (line %u, column %u)", what, lx->token_line,
                   lx->token_column);
}

static void skip_ignored(struct gql_lexer *lx)
{
    while (lx->at < lx->end) {
        char c = *lx->at;
        if (c == '\n') {
            lx->line++;
            lx->line_start = lx->at + 1;
        } else if (c == '#') {
            while (lx->at < lx->end && *lx->at != '\n')
                lx->at++;
            continue;
        } else if (c != ' ' && c != '\t' && c != ',' && c != '\r') {
            return;
        }
        lx->at++;
    }
}

static int lex_number(struct gql_lexer *lx, struct err *e)
{
    const char *start = lx->at, *p = lx->at;
    lx->kind = GQL_TOK_INT;
    if (p < lx->end && *p == '-')
        p++;
    const char *digits = p;
    while (p < lx->end && is_digit(*p))
        p++;
    if (p == digits || (*digits == '0' && p - digits > 1))
        return fail(lx, e, "invalid number");
    if (p < lx->end && *p == '.') {
        lx->kind = GQL_TOK_FLOAT;
        const char *fraction = ++p;
        while (p < lx->end && is_digit(*p))
            p++;
        if (p == fraction)
            return fail(lx, e, "invalid number");
    }
    if (p < lx->end && (*p == 'e' || *p == 'E')) {
        lx->kind = GQL_TOK_FLOAT;
        p++;
        if (p < lx->end && (*p == '+' || *p == '-'))
            p++;
        const char *exponent = p;
        while (p < lx->end && is_digit(*p))
            p++;
        if (p == exponent)
            return fail(lx, e, "invalid number");
    }
    if (p < lx->end && (is_name_start(*p) || *p == '.'))
        return fail(lx, e, "invalid number");
    lx->text = str_make(start, (size_t)(p - start));
    lx->at = p;
    return 0;
}

static size_t utf8_put(char *out, uint32_t u)
{
    if (u < 0x80) {
        out[0] = (char)u;
        return 1;
    }
    if (u < 0x800) {
        out[0] = (char)(0xC0 | (u >> 6));
        out[1] = (char)(0x80 | (u & 0x3F));
        return 2;
    }
    if (u < 0x10000) {
        out[0] = (char)(0xE0 | (u >> 12));
        out[1] = (char)(0x80 | ((u >> 6) & 0x3F));
        out[2] = (char)(0x80 | (u & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (u >> 18));
    out[1] = (char)(0x80 | ((u >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((u >> 6) & 0x3F));
    out[3] = (char)(0x80 | (u & 0x3F));
    return 4;
}

/* Four hex digits at `p`, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = is_digit(c)            ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* One escape after the backslash at *pp; appends at *out. */
static bool decode_escape(const char **pp, const char *end, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = *pp;
    if (p >= end)
        return false;
    if (*p != 'u') {
        const char *hit = *p ? strchr(from, *p) : NULL;
        if (!hit)
            return false;
        *(*out)++ = to[hit - from];
        *pp = p + 1;
        return true;
    }
    int32_t u = hex4(p + 1, end);
    if (u < 0)
        return false;
    p += 5;
    if (u >= 0xD800 && u < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int32_t low = hex4(p + 2, end);
        if (low >= 0xDC00 && low < 0xE000) {
            u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
        }
    }
    if (u >= 0xD800 && u < 0xE000)
        return false;
    *out += utf8_put(*out, (uint32_t)u);
    *pp = p;
    return true;
}

static int lex_string(struct gql_lexer *lx, struct err *e)
{
    const char *start = ++lx->at, *p = start;
    bool escaped = false;
    while (p < lx->end && *p != '"' && *p != '\n' && *p != '\r') {
        if (*p == '\\') {
            escaped = true;
            p++;
            if (p >= lx->end)
                break;
        }
        p++;
    }
    if (p >= lx->end || *p != '"')
        return fail(lx, e, "unterminated string");
    lx->kind = GQL_TOK_STRING;
    lx->text = str_make(start, (size_t)(p - start));
    lx->at = p + 1;
    if (!escaped)
        return 0;
    char *out = arena_alloc(lx->arena, lx->text.n + 1), *w = out;
    if (!out)
        return TARE_ENOMEM;
    for (const char *q = start; q < p;) {
        if (*q != '\\') {
            *w++ = *q++;
            continue;
        }
        q++;
        if (!decode_escape(&q, p, &w))
            return fail(lx, e, "invalid escape in string");
    }
    lx->text = str_make(out, (size_t)(w - out));
    return 0;
}

static bool is_blank_line(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p == end;
}

/* Block string value: common indentation removed, blank first and last lines dropped. */
static int block_value(struct gql_lexer *lx, struct str raw)
{
    size_t common = SIZE_MAX;
    const char *end = raw.p + raw.n;
    for (const char *p = raw.p, *nl; p <= end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            nl = end;
        size_t indent = 0;
        while (p + indent < nl && (p[indent] == ' ' || p[indent] == '\t'))
            indent++;
        if (p != raw.p && p + indent < nl && indent < common)
            common = indent;
    }
    char *out = arena_alloc(lx->arena, raw.n + 1), *w = out, *kept = out;
    if (!out)
        return TARE_ENOMEM;
    bool begun = false;
    for (const char *p = raw.p, *nl; p <= end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            nl = end;
        bool blank = is_blank_line(p, nl);
        size_t cut = p == raw.p || common == SIZE_MAX ? 0 : common;
        if (cut > (size_t)(nl - p))
            cut = (size_t)(nl - p);
        if (!begun && blank)
            continue;
        if (begun)
            *w++ = '\n';
        begun = true;
        memcpy(w, p + cut, (size_t)(nl - p) - cut);
        w += (size_t)(nl - p) - cut;
        if (!blank)
            kept = w;
    }
    lx->text = str_make(out, (size_t)(kept - out));
    return 0;
}

/* Where the closing quotes of a block string begin, or NULL. */
static const char *block_end(const char *p, const char *end)
{
    for (; end - p >= 3; p++) {
        if (memcmp(p, "\"\"\"", 3) == 0)
            return p;
        if (*p == '\\' && end - p >= 4 && memcmp(p + 1, "\"\"\"", 3) == 0)
            p += 3;
    }
    return NULL;
}

static int lex_block_string(struct gql_lexer *lx, struct err *e)
{
    const char *start = lx->at + 3, *stop = block_end(start, lx->end);
    if (!stop)
        return fail(lx, e, "unterminated string");
    char *raw = arena_alloc(lx->arena, (size_t)(stop - start) + 1), *w = raw;
    if (!raw)
        return TARE_ENOMEM;
    for (const char *p = start; p < stop; p++) {
        if (*p == '\\' && stop - p >= 4 && memcmp(p + 1, "\"\"\"", 3) == 0)
            p++; /* an escaped triple quote: the quotes follow as they are */
        if (*p == '\n') {
            lx->line++;
            lx->line_start = p + 1;
        }
        *w++ = *p;
    }
    lx->at = stop + 3;
    lx->kind = GQL_TOK_STRING;
    return block_value(lx, str_make(raw, (size_t)(w - raw)));
}

static void lex_name(struct gql_lexer *lx)
{
    const char *start = lx->at;
    while (lx->at < lx->end && (is_name_start(*lx->at) || is_digit(*lx->at)))
        lx->at++;
    lx->kind = GQL_TOK_NAME;
    lx->text = str_make(start, (size_t)(lx->at - start));
}

int gql_lexer_next(struct gql_lexer *lx, struct err *e)
{
    skip_ignored(lx);
    lx->token_line = lx->line;
    lx->token_column = (uint32_t)(lx->at - lx->line_start) + 1;
    lx->text = str_make(lx->at, 0);
    if (lx->at >= lx->end) {
        lx->kind = GQL_TOK_EOF;
        return 0;
    }
    if (++lx->n_tokens > MAX_TOKENS)
        return err_set(e, TARE_ELIMIT, "the document has more than %d tokens", MAX_TOKENS);
    char c = *lx->at;
    size_t left = (size_t)(lx->end - lx->at);
    if (is_name_start(c)) {
        lex_name(lx);
        return 0;
    }
    if (is_digit(c) || c == '-')
        return lex_number(lx, e);
    if (c == '"')
        return left >= 3 && memcmp(lx->at, "\"\"\"", 3) == 0 ? lex_block_string(lx, e)
                                                             : lex_string(lx, e);
    if (left >= 3 && memcmp(lx->at, "...", 3) == 0) {
        lx->kind = GQL_TOK_SPREAD;
        lx->at += 3;
        return 0;
    }
    if (c && strchr("!$&():=@[]{|}", c)) {
        lx->kind = GQL_TOK_PUNCT;
        lx->punct = c;
        lx->at++;
        return 0;
    }
    return fail(lx, e, "unexpected character");
}
