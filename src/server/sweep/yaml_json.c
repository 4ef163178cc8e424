/* SPDX-License-Identifier: MIT */
#include "server/sweep/yaml_json.h"

#include "base/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

struct walk {
    yaml_document_t *doc;
    struct err *e;
    int n_nodes;
};

static bool one_of(struct str s, const char *words)
{
    for (size_t n; *words; words += n + (words[n] != 0)) {
        n = strcspn(words, " ");
        if (n == s.n && strncasecmp(words, s.p, n) == 0)
            return true;
    }
    return false;
}

/* A decimal, 0x, 0o or 0-octal integer without underscores. NULL if it is none. */
static json_t *integer_of(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    int base = 10;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'))
        base = 16;
    else if (digits[0] == '0' && (digits[1] == 'o' || digits[1] == 'O'))
        base = 8, digits += 2;
    else if (digits[0] == '0' && digits[1])
        base = 8;
    if (*digits < '0' || *digits > '9')
        return NULL;
    char *end;
    errno = 0;
    long long v = strtoll(digits, &end, base);
    if (*end || errno)
        return NULL;
    return json_integer(*text == '-' ? -v : v);
}

static json_t *float_of(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (strcasecmp(digits, ".inf") == 0)
        return json_string(*text == '-' ? "-Infinity" : "Infinity");
    if (strcasecmp(text, ".nan") == 0)
        return json_string("NaN");
    if (!strchr(digits, '.') || strspn(digits, "0123456789.eE+-") != strlen(digits) ||
        !strpbrk(digits, "0123456789"))
        return NULL;
    char *end;
    double v = strtod(text, &end);
    return *end ? NULL : json_real(v);
}

static json_t *plain_scalar(struct str s)
{
    char text[64];
    size_t n = 0;
    if (s.n == 0 || one_of(s, "~ null"))
        return json_null();
    if (one_of(s, "true yes on"))
        return json_true();
    if (one_of(s, "false no off"))
        return json_false();
    json_t *number = NULL;
    if (s.n < sizeof text && strchr("0123456789+-.", s.p[0])) {
        for (size_t i = 0; i < s.n; i++)
            if (s.p[i] != '_')
                text[n++] = s.p[i];
        text[n] = 0;
        number = integer_of(text);
        number = number ? number : float_of(text);
    }
    return number ? number : json_stringn(s.p, s.n);
}

static json_t *node_json(struct walk *w, int index, int depth);

static json_t *sequence_json(struct walk *w, const yaml_node_t *node, int depth)
{
    json_t *list = json_array();
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        json_t *item = node_json(w, *i, depth + 1);
        if (!item || json_array_append_new(list, item) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *mapping_json(struct walk *w, const yaml_node_t *node, int depth)
{
    json_t *object = json_object();
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(w->doc, p->key);
        json_t *value = node_json(w, p->value, depth + 1);
        if (value && (!key || key->type != YAML_SCALAR_NODE)) {
            err_set(w->e, TARE_EFORMAT, "line %zu: a key must be a word", node->start_mark.line + 1);
            json_decref(value);
            value = NULL;
        }
        if (!value || json_object_setn_new(object, (char *)key->data.scalar.value, key->data.scalar.length, value) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *node_json(struct walk *w, int index, int depth)
{
    const yaml_node_t *node = yaml_document_get_node(w->doc, index);
    if (!node)
        return json_null();
    if (depth > YAML_MAX_DEPTH || ++w->n_nodes > YAML_MAX_NODES) {
        err_set(w->e, TARE_ELIMIT, "the YAML document is too deep or too large");
        return NULL;
    }
    switch (node->type) {
    case YAML_SEQUENCE_NODE:
        return sequence_json(w, node, depth);
    case YAML_MAPPING_NODE:
        return mapping_json(w, node, depth);
    default: {
        struct str s = str_make(node->data.scalar.value, node->data.scalar.length);
        json_t *v = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(s) : json_stringn(s.p, s.n);
        if (!v)
            err_set(w->e, TARE_EFORMAT, "line %zu: not UTF-8", node->start_mark.line + 1);
        return v;
    }
    }
}

json_t *yaml_to_json(struct str text, struct err *e)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    json_t *result = NULL;
    if (!yaml_parser_initialize(&parser)) {
        err_set(e, TARE_ENOMEM, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    if (!yaml_parser_load(&parser, &doc)) {
        err_set(e, TARE_EFORMAT, "line %zu: %s", parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "not YAML");
    } else {
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        struct walk w = {.doc = &doc, .e = e};
        if (e)
            e->code = 0;
        result = root ? node_json(&w, 1, 0) : json_null();
        if (!result && e && e->code == 0)
            err_set(e, TARE_ENOMEM, "out of memory");
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return result;
}
