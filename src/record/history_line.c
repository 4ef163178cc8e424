/* SPDX-License-Identifier: MIT */
#include "record/history_line.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"
#include "record/wire.h"

#include <stdlib.h>

enum { HISTORY_ITEM = 1, ITEM_KEY = 1, ITEM_NESTED = 2, ITEM_VALUE_JSON = 16 };
enum { MAX_LABELS = 128 };
enum { KEPT_KEYS = 4096, KEPT_BYTES = 256 << 10 }; /* of the row before */

void history_line_init(struct history_line *h, int64_t starting_step, uint64_t seed)
{
    *h = (struct history_line){.next_step = starting_step};
    summary_init(&h->keys, seed);
    row_init(&h->row, &h->keys, ROW_JSON);
}

void history_line_fini(struct history_line *h)
{
    row_fini(&h->row);
    summary_fini(&h->keys);
    mem_free(h->order);
    mem_free(h->last);
    buf_fini(&h->bytes);
    buf_fini(&h->plain);
    *h = (struct history_line){0};
}

/* -- steps ----------------------------------------------------------------------------------- */

/* A whole number that was logged counts if it is not behind; else the next one is taken. */
static int64_t take_step(struct history_line *h, struct str logged)
{
    int64_t step = h->next_step, v;
    if (logged.n && number_parse_i64(logged.p, logged.n, &v) == logged.n && v >= step)
        step = v;
    if (step < INT64_MAX)
        h->next_step = step + 1;
    return step;
}

static void put_step(struct buf *to, int64_t step, bool first)
{
    buf_puts(to, first ? "\"_step\":" : ",\"_step\":");
    json_put_i64(to, step);
    buf_putc(to, '}');
}

/* -- rows of plain keys ------------------------------------------------------------------------ */

/* How many of the word's first bytes are digits. */
static size_t digits_of_8(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t v = w ^ ones * '0';
    uint64_t others = ((v + ones * (0x80 - 10)) | v) & ones * 0x80; /* right up to the first */
    return others ? (size_t)__builtin_ctzll(others) / 8 : 8;
}

static size_t count_digits(struct str s, size_t at)
{
    size_t from = at;
    for (uint64_t w; at + 8 <= s.n;) {
        memcpy(&w, s.p + at, 8);
        size_t n = digits_of_8(w);
        at += n;
        if (n < 8)
            return at - from;
    }
    while (at < s.n && s.p[at] >= '0' && s.p[at] <= '9')
        at++;
    return at - from;
}

/* As JSON has it; what it is worth does not matter here. */
static bool is_number(struct str s)
{
    size_t at = s.n && s.p[0] == '-', whole = count_digits(s, at);
    if (!whole || (whole > 1 && s.p[at] == '0'))
        return false;
    at += whole;
    if (at < s.n && s.p[at] == '.') {
        size_t part = count_digits(s, at + 1);
        if (!part)
            return false;
        at += 1 + part;
    }
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        at++;
        at += at < s.n && (s.p[at] == '-' || s.p[at] == '+');
        size_t exponent = count_digits(s, at);
        if (!exponent)
            return false;
        at += exponent;
    }
    return at == s.n;
}

/* Whether `text` can stand in the line as it is: no object, one JSON value, no line breaks. */
static bool is_plain_value(struct str text)
{
    if (is_number(text))
        return true;
    if (!text.n || *text.p == '{' || memchr(text.p, '\n', text.n) || memchr(text.p, '\r', text.n))
        return false;
    return *text.p != ' ' && *text.p != '\t' && json_valid(text) && utf8_valid(text.p, text.n);
}

/* Most keys have nothing to escape. */
static void put_key(struct buf *to, char lead, struct str key)
{
    char *p = buf_reserve(to, key.n + 4);
    bool plain = p != NULL;
    for (size_t i = 0; i < key.n && plain; i++)
        plain = (unsigned char)key.p[i] >= 0x20 && key.p[i] != '"' && key.p[i] != '\\';
    if (!plain) {
        buf_putc(to, lead);
        json_put_string(to, key);
        buf_putc(to, ':');
        return;
    }
    p[0] = lead;
    p[1] = '"';
    memcpy(p + 2, key.p, key.n);
    p[key.n + 2] = '"';
    p[key.n + 3] = ':';
    to->len += key.n + 4;
}

/* A key and a value_json, nothing else. */
static bool read_plain(struct str item, struct str *key, struct str *value)
{
    struct wire_reader r = wire_open(item);
    struct wire_field f;
    *key = *value = (struct str){0};
    int rc;
    while ((rc = wire_next(&r, &f)) == 1) {
        if (f.number == ITEM_KEY && f.type == WIRE_BYTES)
            *key = f.bytes;
        else if (f.number == ITEM_NESTED && f.type == WIRE_BYTES && !key->n)
            *key = f.bytes;
        else if (f.number == ITEM_VALUE_JSON && f.type == WIRE_BYTES)
            *value = f.bytes;
        else
            return false;
    }
    return rc == 0 && key->n && utf8_valid(key->p, key->n);
}

/* False if something in the row is not that simple. */
static bool put_plain(struct str record, struct buf *to, struct str *step)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    char lead = '{';
    int rc;
    while ((rc = wire_next(&r, &f)) == 1) {
        struct str key, value;
        if (f.number != HISTORY_ITEM || f.type != WIRE_BYTES)
            continue;
        if (!read_plain(f.bytes, &key, &value) || !is_plain_value(value))
            return false;
        if (str_eq(key, STR("_step"))) {
            *step = value;
            continue;
        }
        put_key(to, lead, key);
        buf_append(to, value.p, value.n);
        lead = ',';
    }
    if (lead == '{')
        buf_putc(to, '{');
    return rc == 0;
}

/* -- rows of nested keys ----------------------------------------------------------------------- */

static struct str path_of(const struct row *row, uint32_t entry)
{
    const struct summary_slot *s = &row->summary->slots[row->at[entry].slot];
    return str_make(s->path, s->path_len);
}

static int by_path(const void *a, const void *b, void *row)
{
    return str_cmp(path_of(row, *(const uint32_t *)a), path_of(row, *(const uint32_t *)b));
}

static uint32_t split(struct str path, struct str labels[MAX_LABELS])
{
    const char *at = path.p, *end = path.p + path.n;
    uint32_t n = 0;
    while (n < MAX_LABELS && summary_next_label(&at, end, &labels[n]))
        n++;
    return n;
}

/* The value without line breaks: white space between its tokens. */
static void put_value(struct buf *to, struct str text)
{
    size_t at = to->len;
    if (buf_append(to, text.p, text.n))
        return;
    for (; at < to->len; at++)
        if (to->data[at] == '\n' || to->data[at] == '\r')
            to->data[at] = ' ';
}

/* Entries in the order of their paths, so that those of one object stand together. */
static void put_sorted(const struct history_line *h, uint32_t n, struct buf *to)
{
    struct str open[MAX_LABELS], labels[MAX_LABELS];
    uint32_t depth = 0; /* objects open inside the row's own */
    bool first = true;
    buf_putc(to, '{');
    for (uint32_t i = 0; i < n; i++) {
        const struct row_entry *e = &h->row.at[h->order[i]];
        uint32_t n_labels = split(path_of(&h->row, h->order[i]), labels), same = 0;
        while (same < depth && same + 1 < n_labels && str_eq(open[same], labels[same]))
            same++;
        for (; depth > same; depth--)
            buf_putc(to, '}');
        if (!first)
            buf_putc(to, ',');
        for (; depth + 1 < n_labels; depth++) {
            open[depth] = labels[depth];
            json_put_string(to, labels[depth]);
            buf_puts(to, ":{");
        }
        json_put_string(to, labels[n_labels - 1]);
        buf_putc(to, ':');
        put_value(to, str_make(e->text, e->text_len));
        first = false;
    }
    for (; depth; depth--)
        buf_putc(to, '}');
}

static uint32_t sort_entries(struct history_line *h)
{
    struct row *row = &h->row;
    uint32_t n = 0, step = summary_slot_z(&h->keys, "_step");
    bool sorted = true;
    if (row->n > h->cap) {
        h->cap = row->n;
        h->order = xmem_realloc(h->order, h->cap * sizeof *h->order);
    }
    for (uint32_t i = 0; i < row->n; i++) {
        if (row->at[i].slot == SUMMARY_NO_SLOT || row->at[i].slot == step)
            continue;
        h->order[n++] = i;
        sorted = sorted && (n < 2 || by_path(&h->order[n - 2], &h->order[n - 1], row) < 0);
    }
    if (!sorted)
        qsort_r(h->order, n, sizeof *h->order, by_path, row);
    return n;
}

static struct str step_text(struct history_line *h)
{
    const struct row_entry *e = row_find(&h->row, summary_slot_z(&h->keys, "_step"));
    return e && e->kind == ROW_NUMBER ? str_make(e->text, e->text_len) : (struct str){0};
}

static int put_nested(struct history_line *h, struct str record, struct buf *to, struct str *step,
                      uint32_t *n_bad)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    const char *from = r.p;
    int rc;
    row_clear(&h->row);
    for (; (rc = wire_next(&r, &f)) == 1; from = r.p)
        if (f.number == HISTORY_ITEM && f.type == WIRE_BYTES &&
            row_add(&h->row, str_make(from, (size_t)(r.p - from)), f.bytes))
            ++*n_bad;
    *step = step_text(h);
    put_sorted(h, sort_entries(h), to);
    return rc < 0 ? TARE_EFORMAT : 0;
}

int history_line_put(struct history_line *h, struct str record, struct buf *to, int64_t *step,
                     uint32_t *n_bad)
{
    size_t mark = to->len;
    struct str logged = {0};
    int rc = 0;
    *n_bad = 0;
    if (!put_plain(record, to, &logged)) {
        to->len = mark;
        rc = put_nested(h, record, to, &logged, n_bad);
    }
    if (rc) {
        to->len = mark;
        return rc;
    }
    *step = take_step(h, logged);
    put_step(to, *step, to->len == mark + 1);
    return to->failed ? TARE_ENOMEM : 0;
}

/* -- quoted ------------------------------------------------------------------------------------ */

/* Does the item begin with this key? Then *value is the rest. */
static bool is_key(const struct history_line *h, const struct history_key *k, struct str item,
                   struct str *value)
{
    if (item.n <= k->wire_n || memcmp(item.p, h->bytes.data + k->wire_at, k->wire_n) != 0)
        return false;
    struct wire_reader r = wire_open(str_make(item.p + k->wire_n, item.n - k->wire_n));
    uint64_t n;
    if (!wire_get_varint(&r, &n) || n != (uint64_t)(r.end - r.p))
        return false;
    *value = str_make(r.p, (size_t)n);
    return true;
}

/* Make a key of the item's, its bytes at the end of `bytes`. False if it isn't that simple. */
static bool make_key(struct history_line *h, struct str item, struct history_key *k, struct str *value)
{
    enum { TAG_BYTES = 2 };
    struct str key;
    AUTO_BUF quoted = {0};
    if (!read_plain(item, &key, value) || !value->p || value->p + value->n != item.p + item.n)
        return false;
    size_t n_wire = item.n - value->n - wire_varint_size(value->n);
    if (n_wire < TAG_BYTES || memcmp(item.p + n_wire - TAG_BYTES, "\x82\x01", TAG_BYTES) != 0)
        return false;
    buf_putc(&quoted, ',');
    json_put_string(&quoted, key);
    buf_putc(&quoted, ':');
    *k = (struct history_key){
        .wire_at = (uint32_t)h->bytes.len,
        .wire_n = (uint32_t)n_wire,
        .text_at = (uint32_t)(h->bytes.len + n_wire),
        .n_plain = (uint32_t)quoted.len,
        .is_step = str_eq(key, STR("_step")),
    };
    buf_append(&h->bytes, item.p, n_wire);
    json_put_escaped(&h->bytes, buf_str(&quoted));
    k->text_n = (uint32_t)h->bytes.len - k->text_at;
    return !quoted.failed && !h->bytes.failed && h->bytes.len < UINT32_MAX;
}

/* The key of the row's item `i`: that of the row before, or a new one in its place. */
static bool find_key(struct history_line *h, uint32_t i, struct str item, struct history_key *k,
                     struct str *value)
{
    if (i < h->n_last && is_key(h, &h->last[i], item, value)) {
        *k = h->last[i];
        return true;
    }
    if (i < h->n_last)
        h->n_last = i;
    const struct history_key *newest = h->n_last ? &h->last[h->n_last - 1] : NULL;
    h->bytes.len = newest ? newest->text_at + newest->text_n : 0;
    if (!make_key(h, item, k, value))
        return false;
    if (i != h->n_last || i == KEPT_KEYS || h->bytes.len > KEPT_BYTES)
        return true;
    if (i == h->cap_last) {
        h->cap_last = i ? 2 * i : 8;
        h->last = xmem_realloc(h->last, h->cap_last * sizeof *h->last);
    }
    h->last[h->n_last++] = *k;
    return true;
}

/* Key and value; how much longer they are for being quoted is added to *n_more. */
static bool put_member(const struct history_line *h, const struct history_key *k, struct str value,
                       struct buf *to, size_t *n_more)
{
    char *p = buf_reserve(to, k->text_n + value.n);
    if (!p)
        return false;
    memcpy(p, h->bytes.data + k->text_at, k->text_n);
    to->len += k->text_n;
    *n_more += k->text_n - k->n_plain;
    if (is_number(value)) {
        memcpy(p + k->text_n, value.p, value.n);
        to->len += value.n;
        return true;
    }
    size_t before = to->len;
    if (!is_plain_value(value) || json_put_escaped(to, value))
        return false;
    *n_more += to->len - before - value.n;
    return true;
}

/* As put_plain, quoted: all but the closing. */
static bool put_plain_quoted(struct history_line *h, struct str record, struct buf *to, struct str *step,
                             size_t *n_more)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    size_t mark = to->len;
    uint32_t i = 0;
    int rc;
    buf_putc(to, '"');
    while ((rc = wire_next(&r, &f)) == 1) {
        struct history_key k;
        struct str value;
        if (f.number != HISTORY_ITEM || f.type != WIRE_BYTES)
            continue;
        if (!find_key(h, i++, f.bytes, &k, &value))
            return false;
        if (k.is_step) {
            if (!is_plain_value(value))
                return false;
            *step = value;
        } else if (!put_member(h, &k, value, to, n_more)) {
            return false;
        }
    }
    if (to->len == mark + 1)
        buf_putc(to, '{');
    else if (!to->failed)
        to->data[mark + 1] = '{'; /* the first comma */
    return rc == 0 && !to->failed;
}

/* A row that isn't that simple: first as it is. */
static int quote(struct history_line *h, struct str record, struct buf *to, size_t *n_plain, int64_t *step,
                 uint32_t *n_bad)
{
    buf_clear(&h->plain);
    int rc = history_line_put(h, record, &h->plain, step, n_bad);
    *n_plain = h->plain.len;
    if (!rc)
        rc = json_put_string(to, buf_str(&h->plain));
    if (h->plain.cap > KEPT_BYTES)
        buf_fini(&h->plain);
    return rc;
}

int history_line_put_quoted(struct history_line *h, struct str record, struct buf *to, size_t *n_plain,
                            int64_t *step, uint32_t *n_bad)
{
    size_t mark = to->len, n_more = 0;
    struct str logged = {0};
    *n_bad = 0;
    if (!put_plain_quoted(h, record, to, &logged, &n_more)) {
        to->len = mark;
        h->bytes.failed = false;
        return quote(h, record, to, n_plain, step, n_bad);
    }
    *step = take_step(h, logged);
    buf_puts(to, to->len == mark + 2 ? "\\\"_step\\\":" : ",\\\"_step\\\":");
    json_put_i64(to, *step);
    buf_puts(to, "}\"");
    *n_plain = to->len - mark - 2 - n_more - 2; /* two quotes; two backslashes of "_step" */
    return to->failed ? TARE_ENOMEM : 0;
}
