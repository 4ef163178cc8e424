/* SPDX-License-Identifier: MIT */
#include "record/summary.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/number.h"
#include "record/wire.h"

#include <math.h>

enum { TAG_KEY = 1 << 3 | WIRE_BYTES, TAG_NESTED = 2 << 3 | WIRE_BYTES, FIELD_VALUE_JSON = 16 };

/* -- values ---------------------------------------------------------------------------------- */

static struct str value_str(const struct summary_value *v)
{
    return str_make(v->cap ? v->at.big : v->at.small, v->len);
}

static void value_clear(struct summary_value *v)
{
    if (v->cap)
        mem_free(v->at.big);
    *v = (struct summary_value){0};
}

/* A value that finds no memory is dropped: the history still has it. */
static void value_set(struct summary_value *v, struct str text)
{
    if (text.n > UINT32_MAX)
        return;
    if (!v->cap && text.n <= sizeof v->at.small) {
        memcpy(v->at.small, text.p, text.n);
        v->len = (uint32_t)text.n;
        return;
    }
    if (v->cap < text.n) {
        char *big = mem_alloc(text.n);
        if (!big)
            return;
        value_clear(v);
        v->at.big = big;
        v->cap = (uint32_t)text.n;
    }
    memcpy(v->at.big, text.p, text.n);
    v->len = (uint32_t)text.n;
}

/* -- paths ----------------------------------------------------------------------------------- */

int summary_path(struct buf *to, const struct str *labels, size_t n_labels)
{
    int rc = 0;
    for (size_t i = 0; i < n_labels && !rc; i++)
        rc = wire_buf_bytes(to, n_labels > 1 ? 2 : 1, labels[i]);
    return rc;
}

bool summary_next_label(const char **at, const char *end, struct str *label)
{
    struct wire_reader r = {*at, end};
    struct wire_field f;
    if (wire_next(&r, &f) != 1)
        return false;
    *at = r.p;
    *label = f.bytes;
    return true;
}

int summary_dotted(struct buf *to, const struct summary_slot *slot)
{
    const char *at = slot->path, *end = at + slot->path_len;
    struct str label;
    for (bool first = true; summary_next_label(&at, end, &label); first = false) {
        if (!first)
            buf_putc(to, '.');
        buf_put_str(to, label);
    }
    return to->failed ? TARE_ENOMEM : 0;
}

int summary_member_path(struct buf *to, struct str path, struct str key)
{
    const char *at = path.p, *end = path.p + path.n;
    for (struct str label; summary_next_label(&at, end, &label);)
        wire_buf_bytes(to, 2, label);
    AUTO_BUF plain = {0};
    if (memchr(key.p, '\\', key.n)) {
        int rc = json_unescape(&plain, key);
        if (rc)
            return rc;
        key = buf_str(&plain);
    }
    return wire_buf_bytes(to, 2, key);
}

/* -- the table ------------------------------------------------------------------------------- */

void summary_init(struct summary *s, uint64_t seed)
{
    *s = (struct summary){.seed = seed};
}

void summary_fini(struct summary *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        mem_free(s->slots[i].path);
        value_clear(&s->slots[i].latest);
        value_clear(&s->slots[i].first);
    }
    mem_free(s->slots);
    mem_free(s->index);
    *s = (struct summary){0};
}

static struct str slot_path(const struct summary_slot *slot)
{
    return str_make(slot->path, slot->path_len);
}

/* The place in the index where `path` is or would be. */
static uint32_t *probe(const struct summary *s, struct str path)
{
    uint32_t mask = s->index_cap - 1;
    uint32_t i = (uint32_t)hash_bytes(path.p, path.n, s->seed) & mask;
    while (s->index[i] && !str_eq(slot_path(&s->slots[s->index[i] - 1]), path))
        i = (i + 1) & mask;
    return &s->index[i];
}

static void grow_index(struct summary *s)
{
    mem_free(s->index);
    s->index_cap = s->index_cap ? s->index_cap * 2 : 32;
    s->index = xmem_calloc(s->index_cap, sizeof *s->index);
    for (uint32_t i = 0; i < s->n; i++)
        *probe(s, slot_path(&s->slots[i])) = i + 1;
}

uint32_t summary_find(const struct summary *s, struct str path)
{
    return s->n ? *probe(s, path) - 1 : SUMMARY_NO_SLOT;
}

static uint32_t add_slot(struct summary *s, struct str path, uint32_t parent, uint16_t n_labels)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap + s->cap / 2 : 16;
        s->slots = xmem_realloc(s->slots, s->cap * sizeof *s->slots);
    }
    if ((s->n + 1) * 2 > s->index_cap)
        grow_index(s);
    *probe(s, path) = s->n + 1;
    s->slots[s->n] = (struct summary_slot){
        .path = xmem_strndup(path.p, path.n),
        .path_len = (uint32_t)path.n,
        .parent = parent,
        .n_labels = n_labels,
    };
    return s->n++;
}

/* Make the slot of a nested path's parent: its labels less the last one. */
static uint32_t parent_slot(struct summary *s, struct str path, uint16_t *n_labels)
{
    const char *end = path.p + path.n, *last = path.p, *at = path.p, *next = path.p;
    struct str label, first = {0};
    uint16_t n = 0;
    for (; summary_next_label(&next, end, &label); at = next, n++) {
        last = at; /* where the last label's field starts */
        first = n ? first : label;
    }
    *n_labels = n;
    if (n == 1)
        return SUMMARY_NO_SLOT;
    uint32_t parent;
    if (n > 2) {
        parent = summary_slot(s, str_make(path.p, (size_t)(last - path.p)));
    } else {
        struct buf single = {0};
        wire_buf_bytes(&single, 1, first);
        parent = summary_slot(s, buf_str(&single));
        buf_fini(&single);
    }
    s->slots[parent].has_children = true;
    return parent;
}

uint32_t summary_slot(struct summary *s, struct str path)
{
    uint32_t found = summary_find(s, path);
    if (found != SUMMARY_NO_SLOT)
        return found;
    uint16_t n_labels;
    uint32_t parent = parent_slot(s, path, &n_labels);
    return add_slot(s, path, parent, n_labels);
}

uint32_t summary_slot_z(struct summary *s, const char *label)
{
    char path[64];
    char *end = wire_put_bytes(path, 1, str_of(label)); /* our own short labels only */
    return summary_slot(s, str_make(path, (size_t)(end - path)));
}

/* -- the tree -------------------------------------------------------------------------------- */

static void forget(struct summary_slot *slot)
{
    value_clear(&slot->latest);
    value_clear(&slot->first);
    slot->leaf = slot->has_data = slot->none = slot->dirty = false;
    slot->track = 0;
    slot->count = 0;
}

static bool is_below(const struct summary *s, uint32_t slot, uint32_t top)
{
    for (uint32_t up = s->slots[slot].parent; up != SUMMARY_NO_SLOT; up = s->slots[up].parent)
        if (up == top)
            return true;
    return false;
}

static void forget_below(struct summary *s, uint32_t top)
{
    if (!s->slots[top].has_children)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->slots[i].leaf && is_below(s, i, top))
            forget(&s->slots[i]);
}

/* Make room for a value at `slot`: it replaces what is above and below. */
static void take_place(struct summary *s, uint32_t slot)
{
    s->slots[slot].leaf = true;
    for (uint32_t up = s->slots[slot].parent; up != SUMMARY_NO_SLOT; up = s->slots[up].parent)
        if (s->slots[up].leaf)
            forget(&s->slots[up]);
    forget_below(s, slot);
}

/* -- updates --------------------------------------------------------------------------------- */

static void update(struct summary *s, struct summary_slot *slot, struct str text)
{
    if (!slot->leaf)
        take_place(s, (uint32_t)(slot - s->slots));
    value_set(&slot->latest, text);
    if (!slot->has_data) {
        value_set(&slot->first, text);
        slot->has_data = true;
    }
    slot->dirty = true;
}

void summary_update_number(struct summary *s, uint32_t at, struct str text, double v)
{
    struct summary_slot *slot = &s->slots[at];
    update(s, slot, text);
    if (slot->count++ == 0) {
        slot->min = slot->max = slot->total = v;
        return;
    }
    if (v < slot->min || isnan(v))
        slot->min = v;
    if (v > slot->max || isnan(v))
        slot->max = v;
    slot->total += v;
}

void summary_update_other(struct summary *s, uint32_t at, struct str text)
{
    update(s, &s->slots[at], text);
}

void summary_set(struct summary *s, uint32_t at, struct str text)
{
    struct summary_slot *slot = &s->slots[at];
    if (!slot->leaf)
        take_place(s, at);
    value_set(&slot->latest, text);
    slot->track = 0;
    slot->has_data = true;
    slot->dirty = true;
}

/* A single value keeps its definition and statistics, a tree loses all. */
void summary_remove(struct summary *s, struct str path)
{
    uint32_t at = summary_find(s, path);
    if (at == SUMMARY_NO_SLOT)
        return;
    struct summary_slot *slot = &s->slots[at];
    if (slot->leaf) {
        value_clear(&slot->latest);
        slot->has_data = slot->dirty = false;
    } else {
        forget_below(s, at);
    }
}

void summary_drop(struct summary *s, struct str path)
{
    uint32_t at = summary_find(s, path);
    if (at == SUMMARY_NO_SLOT)
        return;
    forget(&s->slots[at]);
    forget_below(s, at);
}

void summary_configure(struct summary *s, uint32_t at, bool none, uint8_t track)
{
    struct summary_slot *slot = &s->slots[at];
    if (!slot->leaf)
        take_place(s, at);
    slot->none = none;
    slot->track = track;
}

/* -- records --------------------------------------------------------------------------------- */

bool summary_item_path(struct str item, struct buf *to, struct str *value)
{
    struct wire_reader r = wire_open(item);
    struct wire_field f;
    struct str key = {0};
    struct str first = {0};
    size_t n_nested = 0;
    *value = STR("");
    for (int rc; (rc = wire_next(&r, &f)) != 0;) {
        if (rc < 0)
            return false;
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == 1)
            key = f.bytes;
        else if (f.number == FIELD_VALUE_JSON)
            *value = f.bytes;
        else if (f.number == 2 && n_nested++ == 0)
            first = f.bytes;
    }
    if (n_nested < 2) {
        key = n_nested ? first : key;
        return wire_buf_bytes(to, 1, key) == 0;
    }
    for (r = wire_open(item); wire_next(&r, &f) == 1;)
        if (f.number == 2 && f.type == WIRE_BYTES)
            wire_buf_bytes(to, 2, f.bytes);
    return !to->failed;
}

/* The record that says so is in the journal itself. */
static void set_clean(struct summary *s, uint32_t slot, struct str value)
{
    summary_set(s, slot, value);
    s->slots[slot].dirty = false;
}

static void apply_item(struct summary *s, struct str item, bool remove, size_t *n_bad)
{
    AUTO_BUF path = {0};
    struct str value;
    if (!summary_item_path(item, &path, &value) || (!remove && !json_valid(value)))
        ++*n_bad;
    else if (remove)
        summary_remove(s, buf_str(&path));
    else
        set_clean(s, summary_slot(s, buf_str(&path)), value);
}

int summary_apply(struct summary *s, struct str record, size_t *n_bad)
{
    *n_bad = 0;
    for (uint32_t field = 1; field <= 2; field++) { /* all updates, then all removals */
        struct wire_reader r = wire_open(record);
        struct wire_field f;
        for (int rc; (rc = wire_next(&r, &f)) != 0;) {
            if (rc < 0)
                return TARE_EFORMAT;
            if (f.number == field && f.type == WIRE_BYTES)
                apply_item(s, f.bytes, field == 2, n_bad);
        }
    }
    return 0;
}

bool summary_hides_unwritten(const struct summary *s, uint32_t at)
{
    const struct summary_slot *slots = s->slots;
    if (slots[at].leaf)
        return false;
    for (uint32_t up = slots[at].parent; up != SUMMARY_NO_SLOT; up = slots[up].parent)
        if (slots[up].dirty)
            return true;
    for (uint32_t i = 0; slots[at].has_children && i < s->n; i++)
        if (slots[i].dirty && is_below(s, i, at))
            return true;
    return false;
}

bool summary_record_hides_unwritten(struct summary *s, struct str record)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f = {0};
    while (wire_next(&r, &f) == 1) {
        AUTO_BUF path = {0};
        struct str value;
        if ((f.number == 1 || f.number == 2) && f.type == WIRE_BYTES &&
            summary_item_path(f.bytes, &path, &value) &&
            summary_hides_unwritten(s, summary_slot(s, buf_str(&path))))
            return true;
    }
    return false;
}

/* Whole numbers that the peer writes without a point stay so: their readers tell 3 from 3.0. */
static void put_number(struct buf *to, double v)
{
    if (v == trunc(v) && fabs(v) < 1e6 && !(v == 0 && signbit(v)))
        json_put_i64(to, (int64_t)v);
    else
        json_put_double(to, v);
}

static void put_member(struct buf *to, const char *name, bool *first)
{
    buf_puts(to, *first ? "{\"" : ",\"");
    buf_puts(to, name);
    buf_puts(to, "\":");
    *first = false;
}

static void put_text(struct buf *to, const struct summary_value *v)
{
    buf_put_str(to, v->len ? value_str(v) : STR("null"));
}

static void put_tracked(const struct summary_slot *slot, struct buf *to)
{
    bool first = true, any = slot->count > 0;
    if (slot->track & SUMMARY_LAST) {
        put_member(to, "last", &first);
        put_text(to, &slot->latest);
    }
    if (slot->track & SUMMARY_FIRST) {
        put_member(to, "first", &first);
        put_text(to, &slot->first);
    }
    if (slot->track & SUMMARY_MAX) {
        put_member(to, "max", &first);
        put_number(to, any ? slot->max : 0);
    }
    if (slot->track & SUMMARY_MIN) {
        put_member(to, "min", &first);
        put_number(to, any ? slot->min : 0);
    }
    if (slot->track & SUMMARY_MEAN) {
        put_member(to, "mean", &first);
        put_number(to, any ? slot->total / (double)slot->count : (double)NAN);
    }
    buf_putc(to, '}');
}

bool summary_shows_unwritten(const struct summary_slot *slot)
{
    return slot->dirty && slot->has_data && !slot->none && !slot->track &&
           !str_eqz(value_str(&slot->latest), "null");
}

bool summary_put_value(const struct summary *s, const struct summary_slot *slot, struct buf *to)
{
    if (!slot->leaf || !slot->has_data || slot->none)
        return false;
    if (slot->track) {
        put_tracked(slot, to);
        return true;
    }
    struct str latest = value_str(&slot->latest);
    if (latest.n == 0 || (str_eqz(latest, "null") && !s->shows_null))
        return false;
    buf_put_str(to, latest);
    return true;
}

size_t summary_put_items(struct summary *s, struct buf *to, uint32_t field, bool only_dirty)
{
    size_t n = 0;
    AUTO_BUF value = {0};
    for (uint32_t i = 0; i < s->n; i++) {
        struct summary_slot *slot = &s->slots[i];
        if (only_dirty && !slot->dirty)
            continue;
        buf_clear(&value);
        bool shown = summary_put_value(s, slot, &value);
        if (only_dirty)
            slot->dirty = false;
        if (!shown)
            continue;
        size_t mark = wire_buf_begin(to, field);
        buf_put_str(to, slot_path(slot));
        wire_buf_bytes(to, FIELD_VALUE_JSON, buf_str(&value));
        wire_buf_end(to, mark);
        n++;
    }
    return n;
}

/* -- as one object --------------------------------------------------------------------------- */

/* Children of each slot in order of first sight: heads[0] is the top's, heads[i + 1] slot i's. */
struct family {
    uint32_t *heads, *next;
    bool *shown; /* the slot or something below it has a value */
};

static void put_level(const struct summary *s, const struct family *f, uint32_t head,
                      struct buf *to, unsigned depth);

static void put_node(const struct summary *s, const struct family *f, uint32_t i, struct buf *to,
                     unsigned depth)
{
    const struct summary_slot *slot = &s->slots[i];
    const char *at = slot->path, *end = at + slot->path_len;
    struct str label = {0};
    while (summary_next_label(&at, end, &label))
        ;
    json_put_string(to, label);
    buf_putc(to, ':');
    if (!summary_put_value(s, slot, to))
        put_level(s, f, f->heads[i + 1], to, depth + 1);
}

static void put_level(const struct summary *s, const struct family *f, uint32_t head,
                      struct buf *to, unsigned depth)
{
    buf_putc(to, '{');
    bool first = true;
    for (uint32_t i = head; i && depth < JSON_MAX_DEPTH; i = f->next[i - 1]) {
        if (!f->shown[i - 1])
            continue;
        if (!first)
            buf_putc(to, ',');
        first = false;
        put_node(s, f, i - 1, to, depth);
    }
    buf_putc(to, '}');
}

void summary_put_json(const struct summary *s, struct buf *to)
{
    struct family f = {
        .heads = xmem_calloc(s->n + 1, sizeof *f.heads),
        .next = xmem_calloc(s->n + 1, sizeof *f.next),
        .shown = xmem_calloc(s->n + 1, sizeof *f.shown),
    };
    AUTO_BUF scratch = {0};
    for (uint32_t i = s->n; i-- > 0;) {
        uint32_t parent = s->slots[i].parent;
        uint32_t *head = &f.heads[parent == SUMMARY_NO_SLOT ? 0 : parent + 1];
        f.next[i] = *head;
        *head = i + 1;
        buf_clear(&scratch);
        if (!summary_put_value(s, &s->slots[i], &scratch))
            continue;
        for (uint32_t up = i; up != SUMMARY_NO_SLOT && !f.shown[up]; up = s->slots[up].parent)
            f.shown[up] = true;
    }
    put_level(s, &f, f.heads[0], to, 0);
    mem_free(f.heads);
    mem_free(f.next);
    mem_free(f.shown);
}
