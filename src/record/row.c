/* SPDX-License-Identifier: MIT */
#include "record/row.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"
#include "record/wire.h"

enum {
    ITEM_KEY = 1,
    ITEM_NESTED = 2,
    ITEM_NONE = 3,
    ITEM_BOOLEAN = 4,
    ITEM_INTEGER = 5,
    ITEM_NUMBER = 6,
    ITEM_TEXT = 7,
    ITEM_JSON = 8,
    ITEM_VALUE_JSON = 16,
};

/* The two bytes of value_json's tag (field 16, bytes). */
enum { VALUE_TAG_0 = 0x82, VALUE_TAG_1 = 0x01 };

void row_init(struct row *r, struct summary *s, unsigned forms)
{
    *r = (struct row){.summary = s, .forms = forms, .epoch = 1};
    arena_init(&r->arena, 0);
}

void row_fini(struct row *r)
{
    mem_free(r->at);
    arena_fini(&r->arena);
    *r = (struct row){0};
}

void row_clear(struct row *r)
{
    r->n_last = r->n > r->n_last ? r->n : r->n_last;
    r->n = 0;
    r->epoch++;
    r->nested = r->has_null = false;
    if (r->arena.used_bytes)
        arena_reset(&r->arena);
}

struct str row_keep(struct row *r, struct str bytes)
{
    char *p = arena_strndup(&r->arena, bytes.p, bytes.n);
    return str_make(p, p ? bytes.n : 0);
}

struct row_entry *row_find(const struct row *r, uint32_t slot)
{
    const struct summary_slot *s = &r->summary->slots[slot];
    return s->row_epoch == r->epoch ? &r->at[s->row_at] : NULL;
}

/* -- entries --------------------------------------------------------------------------------- */

static struct row_entry *append_entry(struct row *r, uint32_t slot)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->at = xmem_realloc(r->at, r->cap * sizeof *r->at);
    }
    struct summary_slot *s = &r->summary->slots[slot];
    s->row_epoch = r->epoch;
    s->row_at = r->n;
    return &r->at[r->n++];
}

static void drop_entry(struct row *r, uint32_t slot)
{
    struct row_entry *e = row_find(r, slot);
    if (!e)
        return;
    e->slot = SUMMARY_NO_SLOT;
    r->summary->slots[slot].row_epoch = 0;
}

/* "a" replaces all of "a.*", and "a.b" replaces "a". */
static void drop_conflicts(struct row *r, uint32_t slot)
{
    const struct summary_slot *slots = r->summary->slots;
    for (uint32_t up = slots[slot].parent; up != SUMMARY_NO_SLOT; up = slots[up].parent)
        drop_entry(r, up);
    if (!slots[slot].has_children)
        return;
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t other = r->at[i].slot;
        uint32_t up = other == SUMMARY_NO_SLOT ? other : slots[other].parent;
        while (up != SUMMARY_NO_SLOT && up != slot)
            up = slots[up].parent;
        if (up == slot)
            drop_entry(r, other);
    }
}

static struct row_entry *entry_for(struct row *r, uint32_t slot)
{
    struct row_entry *e = row_find(r, slot);
    if (e)
        return e;
    const struct summary_slot *s = &r->summary->slots[slot];
    if (s->n_labels > 1 || s->has_children) {
        r->nested = true;
        drop_conflicts(r, slot);
    }
    return append_entry(r, slot);
}

void row_set_number(struct row *r, uint32_t slot, struct str text, double v)
{
    struct row_entry *e = entry_for(r, slot);
    *e = (struct row_entry){
        .text = text.p,
        .text_len = (uint32_t)text.n,
        .slot = slot,
        .kind = ROW_NUMBER,
        .number = v,
    };
}

/* -- values ---------------------------------------------------------------------------------- */

/* Is `text` one JSON value? Its kind, and its number. */
static bool classify(struct str text, enum row_kind *kind, double *v)
{
    if (text.n && number_parse_double(text.p, text.n, v) == text.n) {
        *kind = ROW_NUMBER;
        return true;
    }
    if (!json_valid(text) || !utf8_valid(text.p, text.n))
        return false;
    const char *p = json_skip_space(text.p, text.p + text.n);
    *kind = *p == 'n' ? ROW_NULL : ROW_OTHER;
    if (*p == '-' || *p == 'I' || *p == 'N' || (*p >= '0' && *p <= '9')) {
        *kind = ROW_NUMBER; /* with white space around it */
        number_parse_double(p, (size_t)(text.p + text.n - p), v);
    }
    return true;
}

static int add_value(struct row *r, struct str field, struct str path, struct str text);

/* An object is not a value: its members are, each with a longer path. `text` is valid. */
static int spread(struct row *r, struct str path, struct str text)
{
    const char *end = text.p + text.n, *at = json_skip_space(text.p, end) + 1;
    struct json_item item;
    int rc = 0;
    while (json_next_member(&at, end, &item) == 1) {
        AUTO_BUF longer = {0};
        int one = summary_member_path(&longer, path, item.key);
        if (!one)
            one = add_value(r, STR(""), buf_str(&longer), item.value);
        rc = one ? one : rc;
    }
    return rc;
}

static bool labels_valid(struct str path)
{
    const char *at = path.p, *end = path.p + path.n;
    for (struct str label; summary_next_label(&at, end, &label);)
        if (!utf8_valid(label.p, label.n))
            return false;
    return true;
}

static int add_value(struct row *r, struct str field, struct str path, struct str text)
{
    enum row_kind kind = ROW_OTHER;
    double v = 0;
    if (!classify(text, &kind, &v))
        return TARE_EFORMAT;
    if (kind == ROW_OTHER && *json_skip_space(text.p, text.p + text.n) == '{')
        return spread(r, path, text);
    uint32_t slot = summary_find(r->summary, path);
    if (slot == SUMMARY_NO_SLOT && !labels_valid(path))
        return TARE_EFORMAT;
    if (slot == SUMMARY_NO_SLOT)
        slot = summary_slot(r->summary, path);
    r->has_null |= kind == ROW_NULL;
    *entry_for(r, slot) = (struct row_entry){
        .field = field.n ? field.p : NULL,
        .field_len = (uint32_t)field.n,
        .text = text.p,
        .text_len = (uint32_t)text.n,
        .slot = slot,
        .kind = kind,
        .number = v,
    };
    return 0;
}

/* -- items ----------------------------------------------------------------------------------- */

/* The item's key is the one that stood here in the row before, and a number follows. */
static bool add_guessed(struct row *r, struct str field, struct str body)
{
    if (r->n >= r->n_last || r->at[r->n].slot == SUMMARY_NO_SLOT || r->forms != ROW_JSON)
        return false;
    uint32_t slot = r->at[r->n].slot;
    const struct summary_slot *s = &r->summary->slots[slot];
    size_t n = s->path_len;
    if (body.n < n + 4 || s->n_labels != 1 || s->has_children || s->row_epoch == r->epoch ||
        memcmp(body.p, s->path, n) != 0 || (unsigned char)body.p[n] != VALUE_TAG_0 ||
        body.p[n + 1] != VALUE_TAG_1 || (size_t)body.p[n + 2] != body.n - n - 3)
        return false;
    struct str text = str_make(body.p + n + 3, body.n - n - 3); /* < 128: a length of one byte */
    double v;
    if (number_parse_double(text.p, text.n, &v) != text.n)
        return false;
    *append_entry(r, slot) = (struct row_entry){
        .field = field.p,
        .field_len = (uint32_t)field.n,
        .text = text.p,
        .text_len = (uint32_t)text.n,
        .slot = slot,
        .kind = ROW_NUMBER,
        .number = v,
    };
    return true;
}

/* What an item says, its fields in any order. */
struct item {
    struct str key, first_label, value_json;
    uint32_t n_labels;
    struct wire_field typed; /* number 0: none */
};

/* Is it one of the typed values, encoded as such a value is? Anything else is a field that is not known. */
static bool is_typed(const struct wire_field *f)
{
    switch (f->number) {
    case ITEM_NONE:
    case ITEM_BOOLEAN:
    case ITEM_INTEGER:
        return f->type == WIRE_VARINT;
    case ITEM_NUMBER:
        return f->type == WIRE_FIXED64;
    case ITEM_TEXT:
    case ITEM_JSON:
        return f->type == WIRE_BYTES;
    default:
        return false;
    }
}

static int read_item(struct str body, struct item *it)
{
    struct wire_reader r = wire_open(body);
    struct wire_field f;
    *it = (struct item){0};
    for (int rc; (rc = wire_next(&r, &f)) != 0;) {
        if (rc < 0)
            return TARE_EFORMAT;
        bool bytes = f.type == WIRE_BYTES;
        if (f.number == ITEM_KEY && bytes)
            it->key = f.bytes;
        else if (f.number == ITEM_NESTED && bytes && it->n_labels++ == 0)
            it->first_label = f.bytes;
        else if (f.number == ITEM_VALUE_JSON && bytes)
            it->value_json = f.bytes;
        else if (is_typed(&f))
            it->typed = f;
    }
    if (it->n_labels == 1)
        it->key = it->first_label;
    return it->n_labels || it->key.n ? 0 : TARE_EINVAL;
}

static int item_path(const struct item *it, struct str body, struct buf *to)
{
    if (it->n_labels < 2)
        return wire_buf_bytes(to, ITEM_KEY, it->key);
    struct wire_reader r = wire_open(body);
    for (struct wire_field f; wire_next(&r, &f) == 1;)
        if (f.number == ITEM_NESTED && f.type == WIRE_BYTES)
            wire_buf_bytes(to, ITEM_NESTED, f.bytes);
    return to->failed ? TARE_ENOMEM : 0;
}

/* The JSON text of a typed value, in the row's memory. */
static int typed_text(struct row *r, const struct wire_field *f, struct str *text)
{
    AUTO_BUF json = {0};
    double v;
    switch (f->number) {
    case ITEM_NONE:
        buf_puts(&json, "null");
        break;
    case ITEM_BOOLEAN:
        buf_puts(&json, f->value ? "true" : "false");
        break;
    case ITEM_INTEGER: /* sint64: zigzag */
        json_put_i64(&json, (int64_t)(f->value >> 1 ^ (0 - (f->value & 1))));
        break;
    case ITEM_NUMBER:
        memcpy(&v, &f->value, sizeof v);
        json_put_double(&json, v);
        break;
    case ITEM_TEXT:
        json_put_string(&json, f->bytes);
        break;
    default:
        buf_put_str(&json, f->bytes);
    }
    *text = row_keep(r, buf_str(&json));
    return text->p ? 0 : TARE_ENOMEM;
}

/* Nothing but key and value_json, in this order: what is written may be what came. */
static bool is_plain(struct str body, struct str path, struct str text)
{
    const char *tag = body.p + path.n;
    return body.n == path.n + wire_bytes_size(ITEM_VALUE_JSON, text.n) &&
           memcmp(body.p, path.p, path.n) == 0 && (unsigned char)tag[0] == VALUE_TAG_0 &&
           (unsigned char)tag[1] == VALUE_TAG_1 && text.p + text.n == body.p + body.n;
}

int row_add(struct row *r, struct str field, struct str body)
{
    if (add_guessed(r, field, body))
        return 0;
    struct item it;
    int rc = read_item(body, &it);
    if (rc)
        return rc;
    if (!it.typed.number && !it.value_json.n)
        return TARE_EINVAL;
    struct str text = it.value_json;
    if (it.typed.number && (rc = typed_text(r, &it.typed, &text)) != 0)
        return rc;
    AUTO_BUF path = {0};
    if ((rc = item_path(&it, body, &path)) != 0)
        return rc;
    bool as_is = r->forms == ROW_JSON && is_plain(body, buf_str(&path), text);
    return add_value(r, as_is ? field : STR(""), buf_str(&path), text);
}

/* -- the whole row --------------------------------------------------------------------------- */

bool row_hides_unwritten(const struct row *r)
{
    for (uint32_t i = 0; (r->has_null || r->nested) && i < r->n; i++) {
        const struct row_entry *e = &r->at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        if (summary_hides_unwritten(r->summary, e->slot) ||
            (e->kind == ROW_NULL && summary_shows_unwritten(&r->summary->slots[e->slot])))
            return true;
    }
    return false;
}

void row_sum(struct row *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct row_entry *e = &r->at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        struct str text = str_make(e->text, e->text_len);
        if (e->kind == ROW_NUMBER)
            summary_update_number(r->summary, e->slot, text, e->number);
        else
            summary_update_other(r->summary, e->slot, text);
    }
}

static void put_typed(const struct row_entry *e, struct buf *to)
{
    struct str text = str_make(e->text, e->text_len);
    int64_t i;
    if (e->kind == ROW_NULL) {
        wire_buf_varint(to, ITEM_NONE, 0);
    } else if (e->kind == ROW_NUMBER && number_parse_i64(text.p, text.n, &i) == text.n) {
        wire_buf_varint(to, ITEM_INTEGER, (uint64_t)i << 1 ^ (i < 0 ? UINT64_MAX : 0));
    } else if (e->kind == ROW_NUMBER) {
        wire_buf_double(to, ITEM_NUMBER, e->number);
    } else if (str_eqz(text, "true") || str_eqz(text, "false")) {
        wire_buf_varint(to, ITEM_BOOLEAN, text.n == 4);
    } else if (text.n > 1 && text.p[0] == '"' && text.p[text.n - 1] == '"') {
        AUTO_BUF plain = {0};
        json_unescape(&plain, str_make(text.p + 1, text.n - 2));
        wire_buf_bytes(to, ITEM_TEXT, buf_str(&plain));
    } else {
        wire_buf_bytes(to, ITEM_JSON, text);
    }
}

static void put_entry(const struct row *r, const struct row_entry *e, struct buf *to)
{
    const struct summary_slot *s = &r->summary->slots[e->slot];
    size_t mark = wire_buf_begin(to, 1);
    buf_append(to, s->path, s->path_len);
    if (r->forms & ROW_TYPED)
        put_typed(e, to);
    if (r->forms & ROW_JSON)
        wire_buf_bytes(to, ITEM_VALUE_JSON, str_make(e->text, e->text_len));
    wire_buf_end(to, mark);
}

/* Items that stood side by side in the request are copied together. */
int row_encode(const struct row *r, struct buf *to)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct row_entry *e = &r->at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        if (!e->field) {
            put_entry(r, e, to);
            continue;
        }
        const char *from = e->field, *end = from + e->field_len;
        while (i + 1 < r->n && e[1].slot != SUMMARY_NO_SLOT && e[1].field == end) {
            end += e[1].field_len;
            e++, i++;
        }
        buf_append(to, from, (size_t)(end - from));
    }
    return to->failed ? TARE_ENOMEM : 0;
}
