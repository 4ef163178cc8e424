/* SPDX-License-Identifier: MIT */
#include "service/upload/job_types.h"

#include "base/json.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [JOB_NONE] = "none", [JOB_BOOLEAN] = "boolean", [JOB_NUMBER] = "number",   [JOB_STRING] = "string",
    [JOB_LIST] = "list", [JOB_MAP] = "typedDict",   [JOB_UNKNOWN] = "unknown",
};
enum { N_KINDS = sizeof names / sizeof names[0] };

/* ---- the tree ---- */

struct job_value *job_value_new(struct arena *a, enum job_kind kind)
{
    struct job_value *v = arena_calloc(a, sizeof *v);
    if (v)
        v->kind = kind;
    return v;
}

void job_value_add(struct job_value *to, struct job_value *item)
{
    item->next = NULL;
    if (to->last)
        to->last->next = item;
    else
        to->first = item;
    to->last = item;
    to->n++;
}

struct ranked {
    struct job_value *v;
    size_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int order = str_cmp(x->v->key, y->v->key);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

bool job_value_sort(struct arena *a, struct job_value *map)
{
    size_t n = map->n, i = 0;
    struct ranked *all = arena_alloc(a, (n ? n : 1) * sizeof *all);
    if (!all)
        return false;
    for (struct job_value *v = map->first; v; v = v->next, i++)
        all[i] = (struct ranked){v, i};
    qsort(all, n, sizeof *all, by_key);
    map->first = map->last = NULL;
    map->n = 0;
    for (i = 0; i < n; i++)
        if (i + 1 == n || !str_eq(all[i].v->key, all[i + 1].v->key))
            job_value_add(map, all[i].v);
    return true;
}

static struct job_value *read_map(struct arena *a, struct str json)
{
    struct job_value *map = job_value_new(a, JOB_MAP);
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    while (map && json_next_member(&at, end, &item) == 1) {
        AUTO_BUF key = {0};
        struct job_value *v = job_value_of_json(a, item.value);
        char *kept = json_unescape(&key, item.key) ? NULL : arena_strndup(a, key.len ? key.data : "", key.len);
        if (!v || !kept)
            return NULL;
        v->key = str_make(kept, key.len);
        job_value_add(map, v);
    }
    return map && job_value_sort(a, map) ? map : NULL;
}

static struct job_value *read_list(struct arena *a, struct str json)
{
    struct job_value *list = job_value_new(a, JOB_LIST);
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    while (list && json_next_element(&at, end, &item) == 1) {
        struct job_value *v = job_value_of_json(a, item.value);
        if (!v)
            return NULL;
        job_value_add(list, v);
    }
    return list;
}

struct job_value *job_value_of_json(struct arena *a, struct str json)
{
    const char *end = json.p + json.n, *p = json.n ? json_skip_space(json.p, end) : end;
    if (p == end || !json_valid(str_make(p, (size_t)(end - p))))
        return NULL;
    struct str text = str_make(p, (size_t)(end - p));
    switch (*p) {
    case '{': return read_map(a, text);
    case '[': return read_list(a, text);
    case '"': return job_value_new(a, JOB_STRING);
    case 't':
    case 'f': return job_value_new(a, JOB_BOOLEAN);
    case 'n': return job_value_new(a, JOB_NONE);
    default: return job_value_new(a, JOB_NUMBER);
    }
}

/* ---- parts of it ---- */

/* Where a value is: labels from the root down, linked upwards. */
struct place {
    const struct place *up;
    struct str label;
    size_t depth;
};

static bool is_below(const struct place *place, const struct job_path *path)
{
    if (place->depth < path->n)
        return false;
    while (place->depth > path->n)
        place = place->up;
    for (; place->depth > 0; place = place->up)
        if (!str_eq(place->label, path->labels[place->depth - 1]))
            return false;
    return true;
}

static bool is_below_any(const struct place *place, const struct job_path *paths, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_below(place, &paths[i]))
            return true;
    return false;
}

struct filter {
    const struct job_path *include, *exclude;
    size_t n_include, n_exclude;
};

static void filter(struct job_value *map, const struct filter *f, const struct place *place)
{
    struct job_value *v = map->first, *next;
    map->first = map->last = NULL;
    map->n = 0;
    for (; v; v = next) {
        struct place here = {place, v->key, place->depth + 1};
        next = v->next;
        if (v->kind == JOB_MAP)
            filter(v, f, &here);
        bool stays = v->kind == JOB_MAP
                         ? v->n > 0
                         : !is_below_any(&here, f->exclude, f->n_exclude) &&
                               (f->n_include == 0 || is_below_any(&here, f->include, f->n_include));
        if (stays)
            job_value_add(map, v);
    }
}

void job_value_filter(struct job_value *map, const struct job_path *include, size_t n_include,
                      const struct job_path *exclude, size_t n_exclude)
{
    struct filter f = {include, exclude, n_include, n_exclude};
    struct place root = {0};
    filter(map, &f, &root);
}

/* ---- types ---- */

static void put_map(const struct job_value *map, struct buf *to)
{
    bool any = false;
    buf_puts(to, ",\"params\":{\"type_map\":{");
    for (const struct job_value *v = map->first; v; v = v->next) {
        if (str_eqz(v->key, "_wandb"))
            continue;
        if (any)
            buf_putc(to, ',');
        any = true;
        json_put_string(to, v->key);
        buf_putc(to, ':');
        job_type_put(v, to);
    }
    buf_puts(to, "}}");
}

/* Of elements of one kind the last stands for all, as with the peer; several kinds are a union, whose
 * order with the peer is a matter of chance. */
static void put_list(const struct job_value *list, struct buf *to)
{
    const struct job_value *kinds[N_KINDS], *last[N_KINDS] = {0};
    size_t n = 0;
    for (const struct job_value *v = list->first; v; v = v->next) {
        if (!last[v->kind])
            kinds[n++] = v;
        last[v->kind] = v;
    }
    buf_puts(to, ",\"params\":{\"element_type\":");
    if (n == 0)
        buf_puts(to, "{\"wb_type\":\"unknown\"}");
    if (n > 1)
        buf_puts(to, "{\"wb_type\":\"union\",\"params\":{\"allowed_types\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(to, ',');
        job_type_put(last[kinds[i]->kind], to);
    }
    buf_printf(to, "%s,\"length\":%zu}", n > 1 ? "]}}" : "", list->n);
}

void job_type_put(const struct job_value *v, struct buf *to)
{
    buf_printf(to, "{\"wb_type\":\"%s\"", names[v->kind]);
    if (v->kind == JOB_MAP)
        put_map(v, to);
    else if (v->kind == JOB_LIST)
        put_list(v, to);
    buf_putc(to, '}');
}

/* ---- as encoding/json ---- */

static int put_number(struct str text, struct buf *to)
{
    char shortest[NUMBER_MAX + 1];
    double v;
    if (number_parse_double(text.p, text.n, &v) == 0 || !isfinite(v))
        return TARE_EFORMAT;
    size_t n = number_format_double(shortest, v);
    shortest[n] = 0;
    if (n > 2 && strcmp(shortest + n - 2, ".0") == 0)
        n -= 2;
    return buf_append(to, shortest, n);
}

struct member {
    struct str key, value; /* the key is unescaped, on the heap of `keys` */
    size_t at, n;
};

static int by_member(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = str_cmp(x->key, y->key);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int put_sorted_map(struct str json, struct buf *to)
{
    AUTO_BUF all = {0}, keys = {0};
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    for (size_t i = 0; json_next_member(&at, end, &item) == 1; i++) {
        struct member m = {.value = item.value, .at = keys.len};
        if (json_unescape(&keys, item.key))
            return TARE_EFORMAT;
        m.n = keys.len - m.at;
        buf_append(&all, &m, sizeof m);
    }
    struct member *members = (struct member *)(void *)all.data;
    size_t n = all.len / sizeof *members;
    for (size_t i = 0; i < n; i++)
        members[i].key = str_make(keys.data + members[i].at, members[i].n);
    if (n)
        qsort(members, n, sizeof *members, by_member);
    buf_putc(to, '{');
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && str_eq(members[i].key, members[i + 1].key))
            continue;
        buf_puts(to, any ? "," : "");
        any = true;
        json_put_string(to, members[i].key);
        buf_putc(to, ':');
        int rc = job_json_put_sorted(members[i].value, to);
        if (rc)
            return rc;
    }
    return buf_putc(to, '}');
}

static int put_sorted_list(struct str json, struct buf *to)
{
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    buf_putc(to, '[');
    for (size_t i = 0; json_next_element(&at, end, &item) == 1; i++) {
        buf_puts(to, i ? "," : "");
        int rc = job_json_put_sorted(item.value, to);
        if (rc)
            return rc;
    }
    return buf_putc(to, ']');
}

int job_json_put_sorted(struct str json, struct buf *to)
{
    const char *end = json.p + json.n, *p = json.n ? json_skip_space(json.p, end) : end;
    struct str text = str_make(p, (size_t)(end - p));
    if (p == end || !json_valid(text))
        return TARE_EFORMAT;
    if (*p == '{')
        return put_sorted_map(text, to);
    if (*p == '[')
        return put_sorted_list(text, to);
    while (text.n && strchr(" \t\r\n", text.p[text.n - 1]))
        text.n--;
    if (*p == '"') {
        AUTO_BUF plain = {0};
        int rc = json_unescape(&plain, str_make(p + 1, text.n - 2));
        return rc ? rc : json_put_string(to, buf_str(&plain));
    }
    return *p == 't' || *p == 'f' || *p == 'n' ? buf_put_str(to, text) : put_number(text, to);
}

void job_json_put_escaped(struct str json, struct buf *to)
{
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i];
        if (c == '<' || c == '>' || c == '&')
            buf_printf(to, "\\u%04x", (unsigned)c);
        else if (i + 2 < json.n && memcmp(json.p + i, "\xe2\x80", 2) == 0 && (json.p[i + 2] & 0xfe) == 0xa8)
            buf_printf(to, "\\u20%02x", (unsigned)(unsigned char)json.p[i += 2] - 0x80u);
        else
            buf_putc(to, c);
    }
}
