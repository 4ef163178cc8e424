/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "server/filter/filter.h"

#include "base/json.h"
#include "server/filter/value.h"

#include <pcre2.h>

enum { REGEX_MAX_BYTES = 4096, REGEX_MATCH_LIMIT = 100000 };

enum op { AND, OR, NOR, NOT, ELEMENT, EQ, NE, GT, GTE, LT, LTE, IN, NIN, ALL, EXISTS, REGEX, SIZE, CONTAINS };

static const struct {
    const char *name;
    enum op op;
} operators[] = {
    {"$eq", EQ}, {"$ne", NE}, {"$gt", GT}, {"$gte", GTE}, {"$lt", LT}, {"$lte", LTE}, {"$in", IN},
    {"$nin", NIN}, {"$all", ALL}, {"$exists", EXISTS}, {"$regex", REGEX}, {"$not", NOT},
    {"$size", SIZE}, {"$elemMatch", ELEMENT},
    {"$contains", CONTAINS}, /* a text in a text: no operator of MongoDB, but of the clients */
};

struct node {
    enum op op;
    struct str key;              /* of a comparison, and of ELEMENT */
    struct filter_value *values; /* one, or many for IN, NIN, ALL */
    size_t n_values;
    struct node *first, *next;   /* children and siblings */
    pcre2_code *regex;
};

struct filter {
    struct node *root;
};

struct compile {
    struct arena *arena;
    struct err *e;
    int n_nodes;
    struct str options; /* of the field's $regex: JSON text, {NULL, 0} where it has none */
};

static struct node *new_node(struct compile *c, enum op op)
{
    struct node *n = c->n_nodes < FILTER_MAX_NODES ? arena_calloc(c->arena, sizeof *n) : NULL;
    if (!n) {
        err_set(c->e, TARE_ELIMIT, "the filter is too large");
        return NULL;
    }
    c->n_nodes++;
    n->op = op;
    return n;
}

static int compile_object(struct compile *c, struct str object, struct node *parent, int depth);
static int compile_field(struct compile *c, struct str key, struct str value, struct node *parent, int depth);

static void add_child(struct node *parent, struct node *child)
{
    child->next = parent->first;
    parent->first = child;
}

/* $and, $or, $nor: a list of filters. */
static int compile_list(struct compile *c, enum op op, struct str list, struct node *parent, int depth)
{
    struct node *n = new_node(c, op);
    if (!n)
        return TARE_ELIMIT;
    add_child(parent, n);
    if (list.p[0] != '[')
        return err_set(c->e, TARE_EINVAL, "the filter's %s wants a list", op == AND ? "$and" : op == OR ? "$or" : "$nor");
    const char *at = list.p + 1, *end = list.p + list.n;
    struct json_item item;
    int rc;
    while ((rc = json_next_element(&at, end, &item)) == 1) {
        struct node *all = new_node(c, AND);
        if (!all)
            return TARE_ELIMIT;
        add_child(n, all);
        if ((rc = compile_object(c, item.value, all, depth + 1)) < 0)
            return rc;
    }
    return rc;
}

/* {"$not": {…}}, in place of a name. MongoDB has it only below one; clients write both. */
static int compile_not(struct compile *c, struct str filter, struct node *parent, int depth)
{
    struct node *n = new_node(c, NOT);
    if (!n)
        return TARE_ELIMIT;
    add_child(parent, n);
    return compile_object(c, filter, n, depth + 1);
}

static int compile_values(struct compile *c, struct node *n, struct str raw)
{
    bool many = n->op == IN || n->op == NIN || n->op == ALL;
    if (!many) {
        n->n_values = 1;
        n->values = arena_alloc(c->arena, sizeof *n->values);
        if (!n->values)
            return TARE_ENOMEM;
        int rc = filter_value_of(raw, c->arena, n->values);
        return rc == 0 && n->op == SIZE && n->values->kind != FILTER_NUMBER
                   ? err_set(c->e, TARE_EINVAL, "the filter on '%.*s' wants a number for $size", STR_ARG(n->key))
                   : rc;
    }
    if (raw.p[0] != '[')
        return err_set(c->e, TARE_EINVAL, "the filter on '%.*s' wants a list for $in, $nin and $all", STR_ARG(n->key));
    for (int pass = 0; pass < 2; pass++) {
        const char *at = raw.p + 1, *end = raw.p + raw.n;
        struct json_item item;
        size_t k = 0;
        for (; json_next_element(&at, end, &item) == 1; k++)
            if (pass && filter_value_of(item.value, c->arena, &n->values[k]) < 0)
                return TARE_ENOMEM;
        n->n_values = k;
        if (!pass && !(n->values = arena_alloc(c->arena, (k + 1) * sizeof *n->values)))
            return err_set(c->e, TARE_ELIMIT, "the filter is too large");
    }
    return 0;
}

/* $options, as MongoDB has them. */
static int take_options(struct compile *c, uint32_t *flags)
{
    struct filter_value v;
    if (!c->options.n)
        return 0;
    int rc = filter_value_of(c->options, c->arena, &v);
    bool ok = rc == 0 && v.kind == FILTER_STRING;
    for (size_t i = 0; ok && i < v.s.n; i++) {
        uint32_t flag = v.s.p[i] == 'i'   ? PCRE2_CASELESS
                        : v.s.p[i] == 'm' ? PCRE2_MULTILINE
                        : v.s.p[i] == 's' ? PCRE2_DOTALL
                        : v.s.p[i] == 'x' ? PCRE2_EXTENDED
                                          : 0;
        ok = flag != 0;
        *flags |= flag;
    }
    return ok ? 0 : err_set(c->e, TARE_EINVAL, "the filter's $options may be of the letters i, m, s and x");
}

static int compile_regex(struct compile *c, struct node *n)
{
    const struct filter_value *v = n->values;
    uint32_t flags = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C;
    int code, rc = take_options(c, &flags);
    if (rc)
        return rc;
    PCRE2_SIZE offset;
    if (v->kind != FILTER_STRING || v->s.n > REGEX_MAX_BYTES)
        return err_set(c->e, TARE_EINVAL, "the filter's $regex wants a text of at most %d bytes", REGEX_MAX_BYTES);
    n->regex = pcre2_compile((PCRE2_SPTR)v->s.p, v->s.n, flags, &code, &offset, NULL);
    if (n->regex)
        return 0;
    char why[128] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    return err_set(c->e, TARE_EINVAL, "the filter's $regex '%.*s': %s", STR_ARG(v->s), why);
}

static bool is_operators(struct str object)
{
    const char *at = object.p + 1;
    struct json_item item;
    return object.p[0] == '{' && json_next_member(&at, object.p + object.n, &item) == 1 && item.key.n &&
           item.key.p[0] == '$';
}

/* {"$elemMatch": {"$gt": 1, "$lt": 5}} of an element itself (its name is then empty), or {"$elemMatch": {"name": 1}}
 * of its members. */
static int compile_element(struct compile *c, struct node *n, struct str value, int depth)
{
    return is_operators(value) ? compile_field(c, STR(""), value, n, depth) : compile_object(c, value, n, depth);
}

static int compile_operator(struct compile *c, struct str key, struct str name, struct str value,
                            struct node *parent, int depth)
{
    size_t k = 0;
    while (k < sizeof operators / sizeof *operators && !str_eqz(name, operators[k].name))
        k++;
    if (k == sizeof operators / sizeof *operators)
        return err_set(c->e, TARE_EUNSUPPORTED, "the filter operator '%.*s' is not supported", STR_ARG(name));
    struct node *n = new_node(c, operators[k].op);
    if (!n)
        return TARE_ELIMIT;
    add_child(parent, n);
    n->key = key;
    if (n->op == NOT)
        return compile_field(c, key, value, n, depth + 1);
    if (n->op == ELEMENT)
        return compile_element(c, n, value, depth + 1);
    int rc = compile_values(c, n, value);
    return rc == 0 && n->op == REGEX ? compile_regex(c, n) : rc;
}

/* The value of $options among a field's operators; {NULL, 0} without. It stands beside its $regex, in any order. */
static int find_options(struct compile *c, struct str key, struct str operators_of, struct str *options)
{
    const char *at = operators_of.p + 1, *end = operators_of.p + operators_of.n;
    struct json_item item;
    bool has_regex = false;
    *options = (struct str){0};
    while (json_next_member(&at, end, &item) == 1) {
        has_regex |= str_eqz(item.key, "$regex");
        if (str_eqz(item.key, "$options"))
            *options = item.value;
    }
    return has_regex || !options->n
               ? 0
               : err_set(c->e, TARE_EINVAL, "the filter on '%.*s' has $options without $regex", STR_ARG(key));
}

/* {"key": value} or {"key": {"$gt": 1, "$lt": 2}} */
static int compile_field(struct compile *c, struct str key, struct str value, struct node *parent, int depth)
{
    if (depth > FILTER_MAX_DEPTH)
        return err_set(c->e, TARE_ELIMIT, "the filter nests too deep");
    if (!is_operators(value))
        return compile_operator(c, key, STR("$eq"), value, parent, depth);
    const char *at = value.p + 1, *end = value.p + value.n;
    struct json_item item;
    struct str options;
    int rc = find_options(c, key, value, &options);
    if (rc)
        return rc;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (str_eqz(item.key, "$options"))
            continue;
        c->options = options; /* anew for each: what is inside a $not has its own */
        if ((rc = compile_operator(c, key, item.key, item.value, parent, depth)) < 0)
            return rc;
    }
    return rc;
}

static int compile_object(struct compile *c, struct str object, struct node *parent, int depth)
{
    if (depth > FILTER_MAX_DEPTH)
        return err_set(c->e, TARE_ELIMIT, "the filter nests too deep");
    if (!object.n || object.p[0] != '{')
        return err_set(c->e, TARE_EINVAL, "a filter must be an object");
    const char *at = object.p + 1, *end = object.p + object.n;
    struct json_item item;
    int rc;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (str_eqz(item.key, "$and") || str_eqz(item.key, "$or") || str_eqz(item.key, "$nor"))
            rc = compile_list(c, item.key.p[1] == 'a' ? AND : item.key.p[1] == 'o' ? OR : NOR, item.value, parent, depth);
        else if (str_eqz(item.key, "$not"))
            rc = compile_not(c, item.value, parent, depth);
        else if (item.key.n && item.key.p[0] == '$')
            rc = err_set(c->e, TARE_EUNSUPPORTED, "the filter operator '%.*s' is not supported here", STR_ARG(item.key));
        else
            rc = compile_field(c, item.key, item.value, parent, depth);
        if (rc < 0)
            return rc;
    }
    return rc;
}

int filter_compile(struct str json, struct arena *a, struct filter **out, struct err *e)
{
    struct filter *f = arena_calloc(a, sizeof *f);
    struct compile c = {.arena = a, .e = e};
    if (!f || !(f->root = new_node(&c, AND)))
        return err_set(e, TARE_ENOMEM, "out of memory");
    if (json.n) {
        const char *end = json.p + json.n, *p = json_skip_space(json.p, end);
        int rc = json_valid(json) ? compile_object(&c, str_make(p, (size_t)(end - p)), f->root, 0)
                                  : err_set(e, TARE_EINVAL, "the filter is not JSON");
        if (rc < 0) {
            filter_fini(f);
            return rc;
        }
    }
    *out = f;
    return 0;
}

static void free_regexes(struct node *n)
{
    for (; n; n = n->next) {
        pcre2_code_free(n->regex);
        free_regexes(n->first);
    }
}

void filter_fini(struct filter *f)
{
    if (f)
        free_regexes(f->root);
}

bool filter_is_all(const struct filter *f)
{
    return !f->root->first;
}

/* ---- matching ---- */

struct match {
    filter_get_fn get;
    void *ctx;
    struct err *e;
};

static bool regex_matches(const struct node *n, struct str s)
{
    pcre2_match_data *m = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    int rc = -1;
    if (m && limits) {
        pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
        pcre2_set_depth_limit(limits, REGEX_MATCH_LIMIT);
        rc = pcre2_match(n->regex, (PCRE2_SPTR)s.p, s.n, 0, 0, m, limits);
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(m);
    return rc >= 0;
}

/* One value that is no list, against one comparison. */
static bool scalar_matches(const struct node *n, const struct filter_value *v, const struct filter_value *want)
{
    if (n->op == REGEX)
        return v->kind == FILTER_STRING && regex_matches(n, v->s);
    if (n->op == CONTAINS)
        return v->kind == FILTER_STRING && want->kind == FILTER_STRING &&
               (!want->s.n || (v->s.n && memmem(v->s.p, v->s.n, want->s.p, want->s.n)));
    bool none = v->kind == FILTER_MISSING || v->kind == FILTER_NULL;
    if (none || want->kind == FILTER_NULL)
        return none && want->kind == FILTER_NULL && n->op != GT && n->op != LT;
    int c = filter_value_compare(v, want);
    if (c == FILTER_UNORDERED)
        return false;
    switch (n->op) {
    case GT:
        return c > 0;
    case GTE:
        return c >= 0;
    case LT:
        return c < 0;
    case LTE:
        return c <= 0;
    default:
        return c == 0;
    }
}

/* The value itself, or one element of it if it is a list. */
static bool value_matches(const struct node *n, const struct filter_value *v, const struct filter_value *want)
{
    if (v->kind != FILTER_JSON || v->s.p[0] != '[')
        return scalar_matches(n, v, want);
    if (want->kind == FILTER_JSON && want->s.p[0] == '[')
        return filter_list_has_all(v->s, want->s);
    const char *at = v->s.p + 1, *end = v->s.p + v->s.n;
    struct json_item item;
    struct arena a;
    bool yes = false;
    arena_init(&a, 0);
    while (!yes && json_next_element(&at, end, &item) == 1) {
        struct filter_value element;
        yes = filter_value_of(item.value, &a, &element) == 0 && scalar_matches(n, &element, want);
        arena_reset(&a);
    }
    arena_fini(&a);
    return yes;
}

static bool has_size(const struct filter_value *v, double want)
{
    struct json_item item;
    size_t n = 0;
    if (v->kind != FILTER_JSON || v->s.p[0] != '[')
        return false;
    const char *at = v->s.p + 1;
    while (json_next_element(&at, v->s.p + v->s.n, &item) == 1)
        n++;
    return (double)n == want;
}

static bool comparison_holds(const struct node *n, const struct filter_value *v)
{
    size_t hits = 0;
    if (n->op == SIZE)
        return has_size(v, n->values->number);
    for (size_t i = 0; i < n->n_values; i++)
        hits += value_matches(n, v, &n->values[i]);
    switch (n->op) {
    case NE:
    case NIN:
        return hits == 0;
    case ALL:
        return hits == n->n_values && hits > 0;
    case EXISTS: {
        bool want = !(n->values->kind == FILTER_BOOL && !n->values->b) &&
                    !(n->values->kind == FILTER_NUMBER && n->values->number == 0);
        return (v->kind != FILTER_MISSING) == want;
    }
    default:
        return hits > 0;
    }
}

static int match_node(const struct match *m, const struct node *n);

struct element {
    struct str raw;
    struct arena scratch;
};

/* A filter_get_fn: the element itself, or a member of it. */
static int element_get(void *ctx, struct str key, struct filter_value *out)
{
    struct element *el = ctx;
    return key.n ? filter_value_at(el->raw, key, &el->scratch, out) : filter_value_of(el->raw, &el->scratch, out);
}

/* Is there an element in the list for which all children hold? */
static int match_element(const struct match *m, const struct node *n)
{
    struct filter_value v = {.kind = FILTER_MISSING};
    int rc = m->get(m->ctx, n->key, &v);
    if (rc < 0)
        return err_set(m->e, rc, "there is nothing named '%.*s' to filter by", STR_ARG(n->key));
    if (v.kind != FILTER_JSON || v.s.p[0] != '[')
        return 0;
    const char *at = v.s.p + 1, *end = v.s.p + v.s.n;
    struct json_item item;
    struct element el = {0};
    struct match inner = {element_get, &el, m->e};
    arena_init(&el.scratch, 0);
    while (rc == 0 && json_next_element(&at, end, &item) == 1) {
        el.raw = item.value;
        rc = 1;
        for (const struct node *child = n->first; child && rc == 1; child = child->next)
            rc = match_node(&inner, child);
        arena_reset(&el.scratch);
    }
    arena_fini(&el.scratch);
    return rc;
}

static int match_node(const struct match *m, const struct node *n)
{
    if (n->op == ELEMENT)
        return match_element(m, n);
    if (n->op > ELEMENT) {
        struct filter_value v = {.kind = FILTER_MISSING};
        int rc = m->get(m->ctx, n->key, &v);
        return rc < 0 ? err_set(m->e, rc, "there is nothing named '%.*s' to filter by", STR_ARG(n->key))
                      : comparison_holds(n, &v);
    }
    for (const struct node *child = n->first; child; child = child->next) {
        int rc = match_node(m, child);
        if (rc < 0)
            return rc;
        if (n->op == AND && !rc)
            return 0;
        if (n->op == OR && rc)
            return 1;
        if (n->op == NOR && rc)
            return 0;
        if (n->op == NOT && !rc)
            return 1;
    }
    return n->op == AND || n->op == NOR;
}

int filter_match(const struct filter *f, filter_get_fn get, void *ctx, struct err *e)
{
    return match_node(&(struct match){get, ctx, e}, f->root);
}
