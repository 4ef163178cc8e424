/* SPDX-License-Identifier: MIT */
/* YAML config files of a job's inputs. Where libyaml is missing, such a file has no type.
 *
 * Plain scalars are resolved as Go's yaml.v3 does it for `any` (resolve.go): true/false in three
 * spellings, numbers of all bases with underscores, .inf, .nan, timestamps (a type that the peer does
 * not know), else strings. "<<" merges. A map with keys that are no strings is of no known type. */
#include "service/upload/job_impl.h"

#include "service/upload/job_types.h"
#include "service/yaml_lib.h"

#include <string.h>

enum { MAX_DEPTH = 64, MAX_NODES = 200000 };

struct walk {
    yaml_document_t *doc;
    struct arena *arena;
    int n_nodes;
};

/* ---- scalars ---- */

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eqz(s, *words))
            return true;
    return false;
}

static size_t digits(const char *p, size_t n, const char *set)
{
    size_t i = 0;
    while (i < n && strchr(set, p[i]) && p[i])
        i++;
    return i;
}

static bool is_number(struct str s)
{
    static const char *const special[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
                                          "-.INF", ".nan", ".NaN", ".NAN", NULL};
    static const struct {
        const char *prefix, *set;
    } bases[] = {{"0x", "0123456789abcdefABCDEF"}, {"0X", "0123456789abcdefABCDEF"}, {"0o", "01234567"},
                 {"0O", "01234567"}, {"0b", "01"}, {"0B", "01"}};
    char text[512];
    size_t n = 0, at;
    if (one_of(s, special))
        return true;
    if (s.n == 0 || s.n >= sizeof text || s.p[0] == '_')
        return false;
    for (size_t i = s.p[0] == '+' || s.p[0] == '-'; i < s.n; i++)
        if (s.p[i] != '_')
            text[n++] = s.p[i];
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++)
        if (n > 2 && memcmp(text, bases[i].prefix, 2) == 0)
            return digits(text + 2, n - 2, bases[i].set) == n - 2;
    size_t whole = at = digits(text, n, "0123456789");
    if (at < n && text[at] == '.') {
        size_t fraction = digits(text + at + 1, n - at - 1, "0123456789");
        if (whole + fraction == 0)
            return false;
        at += 1 + fraction;
    } else if (whole == 0) {
        return false;
    }
    if (at < n && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        at += at < n && (text[at] == '+' || text[at] == '-');
        size_t exponent = digits(text + at, n - at, "0123456789");
        return exponent > 0 && at + exponent == n;
    }
    return at == n;
}

/* 2001-1-1 and longer: a time behind a T, t or blank. */
static bool is_timestamp(struct str s)
{
    size_t at = digits(s.p, s.n, "0123456789");
    if (at != 4)
        return false;
    for (int part = 0; part < 2; part++) {
        if (at >= s.n || s.p[at] != '-')
            return false;
        size_t n = digits(s.p + at + 1, s.n - at - 1, "0123456789");
        if (n < 1 || n > 2)
            return false;
        at += 1 + n;
    }
    return at == s.n || (strchr("Tt ", s.p[at]) && at + 1 + digits(s.p + at + 1, s.n - at - 1, "0123456789:.+-Zz ") == s.n);
}

static enum job_kind kind_of(const yaml_node_t *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const truths[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    struct str s = str_make(node->data.scalar.value, node->data.scalar.length);
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return JOB_STRING;
    if (one_of(s, nulls))
        return JOB_NONE;
    if (one_of(s, truths))
        return JOB_BOOLEAN;
    if (is_number(s))
        return JOB_NUMBER;
    return is_timestamp(s) ? JOB_UNKNOWN : JOB_STRING;
}

/* ---- the rest ---- */

static struct job_value *read_node(struct walk *w, int index, int depth);

static bool is_merge(const yaml_node_t *key)
{
    return key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           str_eqz(str_make(key->data.scalar.value, key->data.scalar.length), "<<");
}

/* The members of `from`, a map or a list of maps of which the first counts most. */
static void merge(struct job_value *to, struct job_value *from)
{
    struct job_value *maps[64], *v, *next;
    size_t n = 0;
    if (from->kind == JOB_MAP)
        maps[n++] = from;
    for (v = from->kind == JOB_LIST ? from->first : NULL; v && n < 64; v = v->next)
        if (v->kind == JOB_MAP)
            maps[n++] = v;
    while (n--)
        for (v = maps[n]->first; v; v = next) {
            next = v->next;
            job_value_add(to, v);
        }
}

static struct job_value *read_map(struct walk *w, const yaml_node_t *node, int depth)
{
    struct job_value *map = job_value_new(w->arena, JOB_MAP);
    yaml_node_pair_t *first = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    for (int merging = 1; map && merging >= 0; merging--) /* what is merged counts less: it comes first */
        for (yaml_node_pair_t *p = first; p < end; p++) {
            const yaml_node_t *key = yaml_lib()->node(w->doc, p->key);
            bool is_word = key && key->type == YAML_SCALAR_NODE;
            if (!is_word || (depth > 0 && kind_of(key) != JOB_STRING))
                return job_value_new(w->arena, JOB_UNKNOWN);
            if (is_merge(key) != (merging == 1))
                continue;
            struct job_value *v = read_node(w, p->value, depth + 1);
            if (!v)
                return NULL;
            if (merging) {
                merge(map, v);
                continue;
            }
            char *text = arena_strndup(w->arena, (const char *)key->data.scalar.value, key->data.scalar.length);
            if (!text)
                return NULL;
            v->key = str_make(text, key->data.scalar.length);
            job_value_add(map, v);
        }
    return map && job_value_sort(w->arena, map) ? map : NULL;
}

static struct job_value *read_list(struct walk *w, const yaml_node_t *node, int depth)
{
    struct job_value *list = job_value_new(w->arena, JOB_LIST);
    for (yaml_node_item_t *i = node->data.sequence.items.start; list && i < node->data.sequence.items.top; i++) {
        struct job_value *v = read_node(w, *i, depth + 1);
        if (!v)
            return NULL;
        job_value_add(list, v);
    }
    return list;
}

/* An alias is read again where it stands: the number of nodes has a limit. */
static struct job_value *read_node(struct walk *w, int index, int depth)
{
    const yaml_node_t *node = yaml_lib()->node(w->doc, index);
    if (!node || depth > MAX_DEPTH || ++w->n_nodes > MAX_NODES)
        return NULL;
    if (node->type == YAML_MAPPING_NODE)
        return read_map(w, node, depth);
    if (node->type == YAML_SEQUENCE_NODE)
        return read_list(w, node, depth);
    return job_value_new(w->arena, kind_of(node));
}

struct job_value *job_value_of_yaml(struct arena *a, struct str text, struct err *e)
{
    yaml_document_t doc;
    if (yaml_lib_load(text, &doc, e) != 0)
        return NULL;
    struct walk w = {.doc = &doc, .arena = a};
    bool is_empty = yaml_lib()->node(&doc, 1) == NULL; /* a map without keys, to Go */
    struct job_value *v = is_empty ? job_value_new(a, JOB_MAP) : read_node(&w, 1, 0);
    if (!v)
        err_set(e, TARE_ELIMIT, "too deep or too large");
    yaml_lib()->free_doc(&doc);
    return v;
}
