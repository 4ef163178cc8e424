/* SPDX-License-Identifier: MIT */
/* JSON text to and from struct gql_value. */
#include "base/json.h"
#include "base/number.h"
#include "server/graphql/coerce.h"
#include "server/graphql/resolver.h"

bool utf8_valid(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        uint64_t eight;
        while (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u)))
            p += 8;
        if (p >= end)
            break;
        unsigned char c = *p;
        int more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : (c & 0xF0) == 0xE0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : -1;
        if (more < 0 || end - p <= more)
            return false;
        for (int i = 1; i <= more; i++)
            if ((p[i] & 0xC0) != 0x80)
                return false;
        if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) || (c == 0xF0 && p[1] < 0x90) ||
            (c == 0xF4 && p[1] > 0x8F))
            return false;
        p += more + 1;
    }
    return true;
}

static int take_string(struct arena *a, struct str inside, struct str *out)
{
    if (!inside.n || !memchr(inside.p, '\\', inside.n)) {
        *out = inside;
        return 0;
    }
    AUTO_BUF b = {0};
    int rc = json_unescape(&b, inside);
    char *copy = rc ? NULL : arena_strndup(a, b.data ? b.data : "", b.len);
    if (!copy)
        return rc ? rc : TARE_ENOMEM;
    *out = str_make(copy, b.len);
    return 0;
}

static int take(struct arena *a, struct str text, struct gql_value *out);

static int take_all(struct arena *a, struct str text, struct gql_value *out)
{
    const char *at = text.p + 1, *end = text.p + text.n;
    const struct gql_value **link = &out->first;
    struct json_item item;
    int rc;
    out->kind = *text.p == '{' ? GQL_OBJECT : GQL_LIST;
    for (;;) {
        item.key = (struct str){0};
        rc = *text.p == '{' ? json_next_member(&at, end, &item) : json_next_element(&at, end, &item);
        if (rc <= 0)
            return rc;
        struct gql_value *v = arena_calloc(a, sizeof *v);
        if (!v)
            return TARE_ENOMEM;
        if ((rc = take_string(a, item.key, &v->name)) || (rc = take(a, item.value, v)))
            return rc;
        *link = v;
        link = &v->next;
        out->n++;
    }
}

static int take_number(struct str text, struct gql_value *out)
{
    out->kind = GQL_INT;
    if (number_parse_i64(text.p, text.n, &out->i) == text.n) {
        out->f = (double)out->i;
        return 0;
    }
    out->kind = GQL_FLOAT;
    return number_parse_double(text.p, text.n, &out->f) == text.n ? 0 : TARE_EFORMAT;
}

static int take(struct arena *a, struct str text, struct gql_value *out)
{
    if (!text.n)
        return TARE_EFORMAT;
    switch (*text.p) {
    case '{':
    case '[':
        return take_all(a, text, out);
    case '"':
        out->kind = GQL_STRING;
        return take_string(a, str_make(text.p + 1, text.n - 2), &out->s);
    case 't':
    case 'f':
        out->kind = GQL_BOOL;
        out->b = *text.p == 't';
        return 0;
    case 'n':
        out->kind = GQL_NULL;
        return 0;
    default:
        return take_number(text, out);
    }
}

int gql_value_from_json(struct arena *a, struct str text, struct gql_value *out)
{
    const char *end = text.p + text.n, *p = json_skip_space(text.p, end);
    const char *stop = utf8_valid(text) ? json_skip(p, end) : NULL;
    if (!stop || json_skip_space(stop, end) != end)
        return TARE_EFORMAT;
    *out = (struct gql_value){0};
    return take(a, str_make(p, (size_t)(stop - p)), out);
}

void gql_value_json(const struct gql_value *v, struct buf *to)
{
    switch (v->kind) {
    case GQL_BOOL:
        buf_puts(to, v->b ? "true" : "false");
        break;
    case GQL_INT:
        json_put_i64(to, v->i);
        break;
    case GQL_FLOAT:
        json_put_double(to, v->f);
        break;
    case GQL_STRING:
    case GQL_ENUM:
        json_put_string(to, v->s);
        break;
    case GQL_LIST:
    case GQL_OBJECT:
        buf_putc(to, v->kind == GQL_LIST ? '[' : '{');
        for (const struct gql_value *m = v->first; m; m = m->next) {
            if (m != v->first)
                buf_putc(to, ',');
            if (v->kind == GQL_OBJECT) {
                json_put_string(to, m->name);
                buf_putc(to, ':');
            }
            gql_value_json(m, to);
        }
        buf_putc(to, v->kind == GQL_LIST ? ']' : '}');
        break;
    default:
        buf_puts(to, "null");
    }
}
