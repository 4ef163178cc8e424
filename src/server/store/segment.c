/* SPDX-License-Identifier: MIT */
/* Directories:
 *
 *   directory := varint n_keys | varint n_groups | key...
 *   key       := string path | varint n_values | varint n_numbers | u8 kinds | u8 flags
 *                | 5 doubles min max sum first last, if n_numbers | string last value as JSON
 *                | varint group, offset, length | the same of the envelope, if flags has it
 *   string    := varint length | bytes
 *
 * An envelope is six column blocks one after the other, each with its length before it. */
#include "server/store/segment.h"

#include "base/alloc.h"

#include <math.h>

enum { F_RISES = 1, F_ENVELOPE = 2 };

void segment_fini(struct segment *s)
{
    buf_fini(&s->directory);
    for (uint32_t i = 0; i < s->n_groups; i++)
        buf_fini(&s->groups[i]);
    mem_free(s->groups);
    memset(s, 0, sizeof *s);
}

/* ---- encoding ---- */

struct encoder {
    struct codec *k;
    struct segment *out;
    int level;
    const struct column *steps_column;
    int64_t *steps;
    int open_values, open_envelopes; /* groups that still take blocks; -1: none */
    struct buf directory, block;
    uint32_t n_keys;
};

void segment_steps(const struct column *step, uint32_t n_rows, int64_t first_line, int64_t *to)
{
    for (uint32_t i = 0; i < n_rows; i++)
        to[i] = first_line + i;
    for (uint32_t i = 0; step && i < step->n; i++) {
        double d;
        if (column_kind(step, i) == V_INT)
            to[column_row(step, i)] = (int64_t)step->bits[i];
        else if (column_kind(step, i) == V_DOUBLE && column_number(step, i, &d) && fabs(d) < 0x1p62)
            to[column_row(step, i)] = (int64_t)d;
    }
}

static void look_at_steps(const int64_t *steps, struct segment *s)
{
    s->sorted = true;
    s->min_step = s->max_step = steps[0];
    for (uint32_t i = 1; i < s->n_lines; i++) {
        s->sorted &= steps[i] >= steps[i - 1];
        s->min_step = steps[i] < s->min_step ? steps[i] : s->min_step;
        s->max_step = steps[i] > s->max_step ? steps[i] : s->max_step;
    }
}

/* Put the block at the end of a group that has room (or a new one); says where it went. */
static int place(struct encoder *en, int *open, uint32_t *group, uint32_t *offset, uint32_t *length)
{
    struct segment *s = en->out;
    bool large = en->block.len >= GROUP_BYTES;
    if (large || *open < 0 || s->groups[*open].len + en->block.len > GROUP_BYTES) {
        struct buf *groups = mem_realloc(s->groups, (s->n_groups + 1) * sizeof *groups);
        if (!groups)
            return TARE_ENOMEM;
        s->groups = groups;
        s->groups[s->n_groups] = (struct buf){0};
        *group = s->n_groups++;
        if (!large)
            *open = (int)*group;
    } else {
        *group = (uint32_t)*open;
    }
    struct buf *to = &s->groups[*group];
    *offset = (uint32_t)to->len;
    *length = (uint32_t)en->block.len;
    return buf_put_str(to, buf_str(&en->block));
}

static void gather_stats(const struct column *c, struct segment_key *key)
{
    double last = 0;
    key->rises = true;
    for (uint32_t i = 0; i < c->n; i++) {
        double d;
        key->kinds |= (uint8_t)(1u << column_kind(c, i));
        if (!column_number(c, i, &d) || !isfinite(d))
            continue;
        if (!key->n_numbers++) {
            key->min = key->max = key->first = d;
        } else {
            key->min = d < key->min ? d : key->min;
            key->max = d > key->max ? d : key->max;
            key->rises &= d >= last;
        }
        key->sum += d;
        last = d;
    }
    key->last = last;
}

static int put_envelope_part(struct encoder *en, struct column *part)
{
    AUTO_BUF bytes = {0};
    int rc = part->failed ? TARE_ENOMEM : codec_put_column(en->k, &bytes, part, en->level);
    if (rc)
        return rc;
    put_varint(&en->block, bytes.len);
    return buf_put_str(&en->block, buf_str(&bytes));
}

/* Fill the six columns: one value for each BUCKET_VALUES finite numbers. */
static void fill_envelope(const struct column *c, const int64_t *steps, struct column parts[6])
{
    double d = 0, min = 0, max = 0, sum = 0, last = 0;
    uint32_t in_bucket = 0, bucket = 0;
    int64_t last_step = 0;
    for (uint32_t i = 0; i <= c->n; i++) {
        bool end = i == c->n;
        if (!end && (!column_number(c, i, &d) || !isfinite(d)))
            continue;
        if (in_bucket == BUCKET_VALUES || (end && in_bucket)) {
            column_add(&parts[1], bucket, V_INT, (uint64_t)last_step);
            column_add(&parts[2], bucket, V_DOUBLE, bits_of_double(min));
            column_add(&parts[3], bucket, V_DOUBLE, bits_of_double(max));
            column_add(&parts[4], bucket, V_DOUBLE, bits_of_double((double)(float)(sum / in_bucket)));
            column_add(&parts[5], bucket, V_DOUBLE, bits_of_double(last));
            in_bucket = 0;
            bucket++;
        }
        if (end)
            break;
        last_step = steps[column_row(c, i)];
        if (!in_bucket) {
            column_add(&parts[0], bucket, V_INT, (uint64_t)last_step);
            min = max = d;
            sum = 0;
        }
        min = d < min ? d : min;
        max = d > max ? d : max;
        sum += d;
        last = d;
        in_bucket++;
    }
}

static int put_envelope(struct encoder *en, const struct column *c, struct segment_key *key)
{
    if (!en->out->sorted || key->n_numbers < ENVELOPE_MIN_VALUES)
        return 0;
    struct column parts[6] = {0};
    fill_envelope(c, en->steps, parts);
    buf_clear(&en->block);
    int rc = 0;
    for (int i = 0; i < 6 && !rc; i++)
        rc = put_envelope_part(en, &parts[i]);
    for (int i = 0; i < 6; i++)
        column_fini(&parts[i]);
    if (!rc)
        rc = place(en, &en->open_envelopes, &key->env_group, &key->env_offset, &key->env_length);
    return rc;
}

static void put_string(struct buf *to, struct str s)
{
    put_varint(to, s.n);
    buf_put_str(to, s);
}

static void put_double(struct buf *to, double d)
{
    uint64_t u = bits_of_double(d);
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(u >> (8 * i));
    buf_append(to, bytes, 8);
}

static void put_key(struct buf *to, const struct segment_key *key)
{
    put_string(to, key->path);
    put_varint(to, key->n_values);
    put_varint(to, key->n_numbers);
    buf_putc(to, (char)key->kinds);
    buf_putc(to, (char)((key->rises ? F_RISES : 0) | (key->env_length ? F_ENVELOPE : 0)));
    if (key->n_numbers) {
        put_double(to, key->min);
        put_double(to, key->max);
        put_double(to, key->sum);
        put_double(to, key->first);
        put_double(to, key->last);
    }
    put_string(to, key->last_json);
    put_varint(to, key->group);
    put_varint(to, key->offset);
    put_varint(to, key->length);
    if (key->env_length) {
        put_varint(to, key->env_group);
        put_varint(to, key->env_offset);
        put_varint(to, key->env_length);
    }
}

static int encode_column(struct encoder *en, const struct column *c, struct str path)
{
    AUTO_BUF last = {0};
    struct segment_key key = {.path = path, .n_values = c->n};
    gather_stats(c, &key);
    buf_clear(&en->block);
    int rc = codec_put_column(en->k, &en->block, c, en->level);
    if (!rc)
        rc = place(en, &en->open_values, &key.group, &key.offset, &key.length);
    if (!rc)
        rc = put_envelope(en, c, &key);
    if (!rc)
        rc = column_put_json(&last, c, c->n - 1, false);
    if (rc)
        return rc;
    if (last.len <= LAST_JSON_MAX)
        key.last_json = buf_str(&last);
    put_key(&en->directory, &key);
    en->n_keys++;
    return 0;
}

/* Column `i` cut to rows [from, to); itself if that is all of it, else a copy in `scratch`. */
static const struct column *cut(const struct rowset *rs, uint32_t i, uint32_t from, uint32_t to,
                                struct column *scratch)
{
    const struct column *c = &rs->columns[i];
    if (from == 0 && to == rs->n_rows)
        return c;
    column_clear(scratch);
    column_append(scratch, c, column_find(c, from), column_find(c, to), -(int64_t)from);
    return scratch;
}

static int encode_all(struct encoder *en, const struct rowset *rs, uint32_t from, uint32_t to)
{
    int rc = 0;
    AUTO_BUF path = {0};
    struct column scratch = {0};
    for (uint32_t i = 0; i < rs->n_columns && !rc; i++) {
        const struct column *c = cut(rs, i, from, to, &scratch);
        if (c->failed)
            rc = TARE_ENOMEM;
        if (rc || !c->n)
            continue;
        buf_clear(&path);
        rc = rowset_put_path(rs, i, &path);
        if (!rc)
            rc = encode_column(en, c, path.len ? buf_str(&path) : STR(""));
    }
    column_fini(&scratch);
    return rc;
}

static int finish_directory(struct encoder *en)
{
    AUTO_BUF whole = {0};
    put_varint(&whole, en->n_keys);
    put_varint(&whole, en->out->n_groups);
    buf_put_str(&whole, buf_str(&en->directory));
    if (whole.failed || en->directory.failed)
        return TARE_ENOMEM;
    return codec_put_bytes(en->k, &en->out->directory, buf_str(&whole), en->level);
}

/* Rows may lack every value ({} lines): there is still a group, an empty one. */
static int need_group(struct segment *s)
{
    if (s->n_groups)
        return 0;
    s->groups = mem_calloc(1, sizeof *s->groups);
    s->n_groups = s->groups ? 1 : 0;
    return s->groups ? 0 : TARE_ENOMEM;
}

int segment_encode(struct codec *k, const struct rowset *rs, uint32_t from, uint32_t to, int64_t first_line,
                   int level, struct segment *out)
{
    struct encoder en = {.k = k, .out = out, .level = level, .open_values = -1, .open_envelopes = -1};
    struct column step_scratch = {0};
    const struct column *step = NULL;
    for (uint32_t i = 0; i < rs->n_columns && !step; i++) {
        const struct key_node *node = &rs->nodes[rs->column_nodes[i]];
        if (node->parent == 0 && str_eq(node->key, STR("_step")))
            step = cut(rs, i, from, to, &step_scratch);
    }
    out->n_lines = to - from;
    out->first_line = first_line;
    en.steps = mem_alloc(out->n_lines * sizeof *en.steps);
    int rc = en.steps ? 0 : TARE_ENOMEM;
    if (!rc) {
        segment_steps(step, out->n_lines, first_line, en.steps);
        look_at_steps(en.steps, out);
        rc = encode_all(&en, rs, from, to);
    }
    if (!rc)
        rc = need_group(out);
    if (!rc)
        rc = finish_directory(&en);
    column_fini(&step_scratch);
    mem_free(en.steps);
    buf_fini(&en.directory);
    buf_fini(&en.block);
    if (rc)
        segment_fini(out);
    return rc;
}

/* ---- decoding ---- */

static bool get_string(struct str *from, struct str *to)
{
    uint64_t n;
    if (!get_varint(from, &n) || n > from->n)
        return false;
    *to = str_make(from->p, n);
    *from = str_make(from->p + n, from->n - n);
    return true;
}

static bool get_u32(struct str *from, uint32_t *to)
{
    uint64_t v;
    if (!get_varint(from, &v) || v > UINT32_MAX)
        return false;
    *to = (uint32_t)v;
    return true;
}

static bool get_doubles(struct str *from, double *to[], int n)
{
    if (from->n < 8 * (size_t)n)
        return false;
    for (int k = 0; k < n; k++) {
        uint64_t u = 0;
        for (int i = 0; i < 8; i++)
            u |= (uint64_t)(unsigned char)from->p[i] << (8 * i);
        *to[k] = double_of_bits(u);
        *from = str_make(from->p + 8, from->n - 8);
    }
    return true;
}

static bool get_key(struct str *from, struct segment_key *key)
{
    double *numbers[] = {&key->min, &key->max, &key->sum, &key->first, &key->last};
    memset(key, 0, sizeof *key);
    if (!get_string(from, &key->path) || !get_u32(from, &key->n_values) ||
        !get_u32(from, &key->n_numbers) || from->n < 2)
        return false;
    key->kinds = (uint8_t)from->p[0];
    unsigned flags = (unsigned char)from->p[1];
    key->rises = flags & F_RISES;
    *from = str_make(from->p + 2, from->n - 2);
    if (key->n_numbers && !get_doubles(from, numbers, 5))
        return false;
    if (!get_string(from, &key->last_json) || !get_u32(from, &key->group) ||
        !get_u32(from, &key->offset) || !get_u32(from, &key->length))
        return false;
    return !(flags & F_ENVELOPE) || (get_u32(from, &key->env_group) &&
                                     get_u32(from, &key->env_offset) && get_u32(from, &key->env_length));
}

void segment_keys_fini(struct segment_keys *keys)
{
    mem_free(keys->keys);
    buf_fini(&keys->bytes);
    memset(keys, 0, sizeof *keys);
}

int segment_keys_read(struct codec *k, struct str directory, struct segment_keys *to)
{
    memset(to, 0, sizeof *to);
    int rc = codec_get_bytes(k, directory, (size_t)256 << 20, &to->bytes);
    struct str from = buf_str(&to->bytes);
    if (!rc && (!get_u32(&from, &to->n) || !get_u32(&from, &to->n_groups) || to->n > from.n))
        rc = TARE_EFORMAT;
    if (!rc && !(to->keys = mem_alloc((to->n + 1) * sizeof *to->keys)))
        rc = TARE_ENOMEM;
    for (uint32_t i = 0; i < to->n && !rc; i++)
        if (!get_key(&from, &to->keys[i]))
            rc = TARE_EFORMAT;
    if (rc)
        segment_keys_fini(to);
    return rc;
}

void envelope_fini(struct envelope *e)
{
    mem_free(e->first_step);
    memset(e, 0, sizeof *e);
}

static int read_part(struct codec *k, struct str *from, uint32_t n, struct column *part)
{
    struct str block;
    column_clear(part);
    if (!get_string(from, &block))
        return TARE_EFORMAT;
    int rc = codec_get_column(k, block, n, part);
    return rc ? rc : part->n == n && !part->rows && !part->kinds ? 0 : TARE_EFORMAT;
}

int envelope_read(struct codec *k, struct str block, uint32_t n_numbers, struct envelope *to)
{
    uint32_t n = (n_numbers + BUCKET_VALUES - 1) / BUCKET_VALUES;
    char *all = mem_alloc((size_t)n * (6 * 8 + 4) + 8);
    if (!all)
        return TARE_ENOMEM;
    memset(to, 0, sizeof *to);
    to->n = n;
    to->first_step = (int64_t *)(void *)all;
    to->last_step = to->first_step + n;
    double *values = (double *)(void *)(to->last_step + n);
    to->min = values;
    to->max = values + n;
    to->mean = values + 2 * n;
    to->last = values + 3 * n;
    to->count = (uint32_t *)(void *)(values + 4 * n);
    struct column part = {0};
    int rc = 0;
    for (int i = 0; i < 6 && !rc; i++) {
        rc = read_part(k, &block, n, &part);
        if (!rc)
            memcpy(all + (size_t)i * n * 8, part.bits, (size_t)n * 8);
    }
    column_fini(&part);
    for (uint32_t i = 0; i < n; i++)
        to->count[i] = i + 1 < n ? BUCKET_VALUES : n_numbers - i * BUCKET_VALUES;
    if (rc)
        envelope_fini(to);
    return rc;
}
