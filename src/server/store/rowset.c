/* SPDX-License-Identifier: MIT */
/* Taking lines apart.
 *
 * Keys are nodes of a tree; a column hangs on a node. Lines of a run look alike, so each node remembers
 * which node came after it the last time: if the bytes at hand are that key, neither a search for its
 * closing quote nor a hash is needed. Otherwise the node is looked up by (parent, key). */
#include "server/store/rowset.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/number.h"

#include <math.h>

void rowset_init(struct rowset *rs)
{
    memset(rs, 0, sizeof *rs);
    arena_init(&rs->keys, 0);
}

void rowset_fini(struct rowset *rs)
{
    for (uint32_t i = 0; i < rs->n_columns; i++)
        column_fini(&rs->columns[i]);
    mem_free(rs->columns);
    mem_free(rs->column_nodes);
    mem_free(rs->nodes);
    mem_free(rs->table);
    arena_fini(&rs->keys);
    buf_fini(&rs->scratch);
    memset(rs, 0, sizeof *rs);
}

/* ---- the tree of keys ---- */

static uint64_t node_hash(uint32_t parent, struct str key)
{
    return hash_bytes(key.p, key.n, parent * UINT64_C(0x9e3779b97f4a7c15));
}

static bool is_plain(struct str key)
{
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] < 0x20 || key.p[i] == '"' || key.p[i] == '\\')
            return false;
    return true;
}

static bool grow_table(struct rowset *rs)
{
    uint32_t size = rs->table_size ? rs->table_size * 2 : 64;
    uint32_t *table = mem_calloc(size, sizeof *table);
    if (!table)
        return false;
    for (uint32_t i = 1; i < rs->n_nodes; i++) {
        uint32_t at = (uint32_t)rs->nodes[i].hash & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = i;
    }
    mem_free(rs->table);
    rs->table = table;
    rs->table_size = size;
    return true;
}

static bool grow_nodes(struct rowset *rs)
{
    uint32_t cap = rs->nodes_cap ? rs->nodes_cap * 2 : 32;
    struct key_node *nodes = mem_realloc(rs->nodes, cap * sizeof *nodes);
    if (!nodes)
        return false;
    rs->nodes = nodes;
    rs->nodes_cap = cap;
    return true;
}

/* The node of `key` below `parent`, made if need be; 0 when out of memory. */
static uint32_t node_get(struct rowset *rs, uint32_t parent, struct str key)
{
    if (rs->n_nodes * 2 >= rs->table_size && !grow_table(rs))
        return 0;
    if (rs->n_nodes + 2 > rs->nodes_cap && !grow_nodes(rs))
        return 0;
    if (!rs->n_nodes)
        rs->nodes[rs->n_nodes++] = (struct key_node){.column = -1};
    uint64_t hash = node_hash(parent, key);
    uint32_t at = (uint32_t)hash & (rs->table_size - 1);
    for (; rs->table[at]; at = (at + 1) & (rs->table_size - 1)) {
        const struct key_node *node = &rs->nodes[rs->table[at]];
        if (node->hash == hash && node->parent == parent && str_eq(node->key, key))
            return rs->table[at];
    }
    char *copy = arena_strndup(&rs->keys, key.p, key.n);
    if (!copy)
        return 0;
    uint32_t i = rs->n_nodes++;
    rs->nodes[i] = (struct key_node){.key = {copy, key.n},
                                     .hash = hash,
                                     .parent = parent,
                                     .column = -1,
                                     .plain = is_plain(key)};
    rs->table[at] = i;
    return i;
}

static struct column *column_new(struct rowset *rs, uint32_t node)
{
    if (rs->n_columns == MAX_COLUMNS) {
        rs->too_wide = true;
        return NULL;
    }
    if (rs->n_columns == rs->columns_cap) {
        uint32_t cap = rs->columns_cap ? rs->columns_cap * 2 : 16;
        struct column *columns = mem_realloc(rs->columns, cap * sizeof *columns);
        if (columns)
            rs->columns = columns;
        uint32_t *nodes = columns ? mem_realloc(rs->column_nodes, cap * sizeof *nodes) : NULL;
        if (!nodes)
            return NULL;
        rs->column_nodes = nodes;
        rs->columns_cap = cap;
    }
    uint32_t i = rs->n_columns++;
    memset(&rs->columns[i], 0, sizeof rs->columns[i]);
    rs->column_nodes[i] = node;
    rs->nodes[node].column = (int32_t)i;
    return &rs->columns[i];
}

static struct column *column_of(struct rowset *rs, uint32_t node)
{
    int32_t i = rs->nodes[node].column;
    struct column *c = i >= 0 ? &rs->columns[i] : column_new(rs, node);
    if (!c)
        rs->failed = true;
    return c;
}

struct column *rowset_column(struct rowset *rs, struct str path)
{
    uint32_t node = 0;
    struct str key;
    AUTO_BUF scratch = {0};
    while (path_next_key(&path, &scratch, &key)) {
        node = node_get(rs, node, key);
        if (!node) {
            rs->failed = true;
            return NULL;
        }
        if (!path.p)
            break;
    }
    return column_of(rs, node);
}

/* ---- lines to columns ---- */

static const char *take_object(struct rowset *rs, const char *p, const char *end, uint32_t parent, int depth);

static const char *take_text(struct rowset *rs, const char *p, const char *end, uint32_t node)
{
    const char *q = json_skip(p, end);
    struct column *c = q ? column_of(rs, node) : NULL;
    if (!c)
        return NULL;
    column_add_text(c, rs->n_rows, str_make(p, (size_t)(q - p)));
    return q;
}

/* An integer of up to 18 digits, the usual case, or 0 bytes. */
static size_t small_int(const char *p, const char *end, int64_t *v)
{
    const char *q = p + (*p == '-'), *first = q;
    uint64_t u = 0;
    if (end - q > 19)
        end = q + 19;
    while (q < end && (unsigned char)(*q - '0') < 10)
        u = u * 10 + (uint64_t)(*q++ - '0');
    size_t n = (size_t)(q - first);
    if (n == 0 || n > 18 || q >= end || *q == '.' || *q == 'e' || *q == 'E' || (*first == '0' && (n > 1 || first > p)))
        return 0;
    *v = *p == '-' ? -(int64_t)u : (int64_t)u;
    return (size_t)(q - p);
}

static bool is_integer_text(const char *p, size_t n)
{
    for (size_t i = *p == '-'; i < n; i++)
        if ((unsigned char)(p[i] - '0') > 9)
            return false;
    return true;
}

static const char *take_number(struct rowset *rs, const char *p, const char *end, uint32_t node)
{
    int64_t i;
    double d;
    struct column *c = column_of(rs, node);
    if (!c)
        return NULL;
    size_t n = small_int(p, end, &i);
    if (n) {
        column_add(c, rs->n_rows, V_INT, (uint64_t)i);
        return p + n;
    }
    n = number_parse_double(p, (size_t)(end - p), &d);
    if (!n)
        return NULL;
    char last = p[n - 1];
    if (is_integer_text(p, n) && !(d == 0 && *p == '-')) { /* -0 is no integer: it has a sign to lose */
        if (number_parse_i64(p, n, &i) != n)
            column_add_text(c, rs->n_rows, str_make(p, n)); /* beyond 64 bits */
        else
            column_add(c, rs->n_rows, V_INT, (uint64_t)i);
    } else if (isinf(d) && last != 'y') {
        column_add_text(c, rs->n_rows, str_make(p, n)); /* beyond a double */
    } else {
        column_add(c, rs->n_rows, V_DOUBLE, bits_of_double(d));
    }
    return p + n;
}

static const char *take_word(struct rowset *rs, const char *p, const char *end, uint32_t node)
{
    static const struct {
        const char *text;
        uint8_t n, kind;
    } words[] = {{"null", 4, V_NULL}, {"true", 4, V_TRUE}, {"false", 5, V_FALSE}};
    for (int i = 0; i < 3; i++)
        if (end - p >= words[i].n && memcmp(p, words[i].text, words[i].n) == 0) {
            struct column *c = column_of(rs, node);
            if (!c)
                return NULL;
            column_add(c, rs->n_rows, (enum value_kind)words[i].kind, 0);
            return p + words[i].n;
        }
    return NULL;
}

/* An object below the line's own: taken apart unless it is to be kept as it is. */
static const char *take_nested(struct rowset *rs, const char *p, const char *end, uint32_t node, int depth)
{
    const char *q = json_skip(p, end);
    if (!q)
        return NULL;
    const char *inside = json_skip_space(p + 1, q);
    if (depth >= MAX_NESTING || *inside == '}' || memmem(p, (size_t)(q - p), "\"_type\"", 7))
        return take_text(rs, p, end, node);
    return take_object(rs, p, end, node, depth + 1);
}

static const char *take_value(struct rowset *rs, const char *p, const char *end, uint32_t node, int depth)
{
    switch (*p) {
    case '"':
    case '[':
        return take_text(rs, p, end, node);
    case '{':
        return take_nested(rs, p, end, node, depth);
    case 't':
    case 'f':
    case 'n':
        return take_word(rs, p, end, node);
    default:
        return take_number(rs, p, end, node);
    }
}

static const char *key_end(const char *p, const char *end, bool *escaped)
{
    *escaped = false;
    for (; p < end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\') {
            *escaped = true;
            p++;
        }
    }
    return p < end ? p : NULL;
}

/* `p` is behind the key's opening quote; the result is behind the closing one. */
static const char *take_key(struct rowset *rs, const char *p, const char *end, uint32_t parent,
                            uint32_t *node)
{
    if (rs->n_nodes) {
        uint32_t guess = rs->nodes[rs->last_node].follows;
        const struct key_node *g = &rs->nodes[guess];
        if (guess && g->parent == parent && g->plain && (size_t)(end - p) > g->key.n &&
            p[g->key.n] == '"' && memcmp(p, g->key.p, g->key.n) == 0) {
            rs->last_node = *node = guess;
            return p + g->key.n + 1;
        }
    }
    bool escaped;
    const char *q = key_end(p, end, &escaped);
    if (!q)
        return NULL;
    struct str key = str_make(p, (size_t)(q - p));
    if (escaped) {
        buf_clear(&rs->scratch);
        if (json_unescape(&rs->scratch, key) != 0)
            return NULL;
        key = buf_str(&rs->scratch);
        if (!key.p)
            key = STR("");
    }
    uint32_t found = node_get(rs, parent, key);
    if (!found) {
        rs->failed = true;
        return NULL;
    }
    rs->nodes[rs->last_node].follows = found;
    rs->last_node = *node = found;
    return q + 1;
}

/* `p` is at the key's opening quote; the result is behind the value, NULL if malformed. */
static const char *take_member(struct rowset *rs, const char *p, const char *end, uint32_t parent, int depth)
{
    uint32_t node;
    if (p >= end || *p != '"' || !(p = take_key(rs, p + 1, end, parent, &node)))
        return NULL;
    p = json_skip_space(p, end);
    if (p >= end || *p != ':')
        return NULL;
    p = json_skip_space(p + 1, end);
    return p < end ? take_value(rs, p, end, node, depth) : NULL;
}

/* `p` is behind a member; the result is behind the object. */
static const char *take_more(struct rowset *rs, const char *p, const char *end, uint32_t parent, int depth)
{
    for (;;) {
        p = json_skip_space(p, end);
        if (p >= end)
            return NULL;
        if (*p == '}')
            return p + 1;
        if (*p != ',' || !(p = take_member(rs, json_skip_space(p + 1, end), end, parent, depth)))
            return NULL;
    }
}

/* `p` is at the opening brace; the result is behind the closing one, NULL if malformed. */
static const char *take_object(struct rowset *rs, const char *p, const char *end, uint32_t parent, int depth)
{
    p = json_skip_space(p + 1, end);
    if (p < end && *p == '}')
        return p + 1;
    p = take_member(rs, p, end, parent, depth);
    return p ? take_more(rs, p, end, parent, depth) : NULL;
}

/* `p` is behind the row's object, or NULL if it was malformed. */
static int end_row(struct rowset *rs, const char *p, const char *end)
{
    if (rs->too_wide)
        return TARE_ELIMIT;
    if (rs->failed)
        return TARE_ENOMEM;
    if (!p || json_skip_space(p, end) != end)
        return TARE_EFORMAT;
    rs->n_rows++;
    return 0;
}

int rowset_add_line(struct rowset *rs, struct str line)
{
    const char *end = line.p + line.n;
    const char *p = line.n ? json_skip_space(line.p, end) : end;
    rs->last_node = 0;
    return end_row(rs, p < end && *p == '{' ? take_object(rs, p, end, 0, 0) : NULL, end);
}

/* A member inside a string: the key that is expected, in escaped quotes, and a number or a word. The
 * result is behind it; NULL if it is another, or anything is wrong: then it was not taken. */
static const char *take_quoted(struct rowset *rs, const char *p, const char *end)
{
    uint32_t guess = rs->nodes[rs->last_node].follows;
    const struct key_node *g = &rs->nodes[guess];
    size_t n = g->key.n;
    if (!guess || g->parent || !g->plain || (size_t)(end - p) < n + 6 || memcmp(p, "\\\"", 2) != 0 ||
        memcmp(p + 2, g->key.p, n) != 0 || memcmp(p + 2 + n, "\\\":", 3) != 0)
        return NULL;
    p += n + 5;
    if (*p == '\\' || *p == '[' || *p == '{' || !(p = take_value(rs, p, end, guess, 0)))
        return NULL;
    rs->last_node = guess;
    return p;
}

const char *rowset_begin_quoted(struct rowset *rs, const char *p, const char *end, bool *whole)
{
    const char *at = p;
    *whole = false;
    rs->last_node = 0;
    if (!rs->n_nodes || end - p < 2 || *p != '{' || !(p = take_quoted(rs, p + 1, end)))
        return at;
    do {
        at = p;
    } while (end - p > 1 && *p == ',' && (p = take_quoted(rs, p + 1, end)));
    if (end - at < 2 || at[0] != '}' || at[1] != '"' || rs->failed)
        return at;
    rs->n_rows++;
    *whole = true;
    return at + 2;
}

int rowset_add_rest(struct rowset *rs, struct str rest)
{
    const char *end = rest.p + rest.n;
    return end_row(rs, rest.n ? take_more(rs, rest.p, end, 0, 0) : NULL, end);
}

/* ---- paths ---- */

bool path_next_key(struct str *path, struct buf *scratch, struct str *key)
{
    if (!path->p)
        return false;
    size_t i = 0;
    bool escaped = false;
    for (; i < path->n && path->p[i] != '.'; i++)
        if (path->p[i] == '\\') {
            escaped = true;
            i++;
        }
    if (i > path->n)
        i = path->n;
    *key = str_make(path->p, i);
    if (escaped) {
        buf_clear(scratch);
        for (size_t k = 0; k < i; k++) {
            k += path->p[k] == '\\' && k + 1 < i;
            buf_putc(scratch, path->p[k]);
        }
        *key = buf_str(scratch);
    }
    *path = i < path->n ? str_make(path->p + i + 1, path->n - i - 1) : (struct str){NULL, 0};
    return true;
}

static int put_key(struct buf *to, struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '.' || key.p[i] == '\\')
            buf_putc(to, '\\');
        buf_putc(to, key.p[i]);
    }
    return to->failed ? TARE_ENOMEM : 0;
}

int rowset_put_path(const struct rowset *rs, uint32_t i, struct buf *to)
{
    uint32_t chain[MAX_NESTING + 2], n = 0;
    for (uint32_t node = rs->column_nodes[i]; node && n < MAX_NESTING + 2; node = rs->nodes[node].parent)
        chain[n++] = node;
    while (n--) {
        put_key(to, rs->nodes[chain[n]].key);
        if (n)
            buf_putc(to, '.');
    }
    return to->failed ? TARE_ENOMEM : 0;
}

/* How many bytes of `path` say `name`; SIZE_MAX if it says something else. */
static size_t said_by(struct str path, struct str name)
{
    size_t i = 0, k = 0;
    while (i < path.n && k < name.n) {
        if (path.p[i] == '\\' && i + 1 < path.n)
            i++;
        if (path.p[i++] != name.p[k++])
            return SIZE_MAX;
    }
    return k == name.n ? i : SIZE_MAX;
}

int path_matches(struct str path, struct str name)
{
    size_t n = said_by(path, name);
    return n == path.n ? 1 : n < path.n && path.p[n] == '.' ? 2 : 0;
}

struct str path_below(struct str path, struct str name)
{
    size_t n = said_by(path, name);
    return n < path.n ? str_make(path.p + n + 1, path.n - n - 1) : (struct str){0};
}

int path_put_plain(struct buf *to, struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        i += path.p[i] == '\\' && i + 1 < path.n;
        buf_putc(to, path.p[i]);
    }
    return to->failed ? TARE_ENOMEM : 0;
}
