/* SPDX-License-Identifier: MIT */
/* Rows out of segments: scans, samples, last lines, the list of keys.
 *
 * Sampling takes two passes: the first counts the rows that qualify (from directories alone wherever a
 * segment lies wholly in the range and its keys have a value in every row), the second picks. Most runs have
 * fewer rows than are asked for: so first all rows are put out, until there are too many. */
#include "server/store/history.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"

#include <stdlib.h>

struct scan {
    const struct history_query *q;
    struct history_cursor hc;
    history_row_fn on_row;
    void *arg;
    int64_t n_rows, n_picks; /* when sampling: how many rows there are, how many are wanted */
    int64_t at_most;         /* 0, or give up when there are more rows */
    int64_t row, pick;       /* ordinal of the next qualifying row, of the next pick */
    /* of the segment in hand */
    uint32_t n_fields;
    struct row_field *fields;
    struct column *columns; /* decoded, as many as fields */
    uint32_t cap;
    uint8_t *wanted; /* per row */
    int64_t *steps;
    struct buf line;
    bool any; /* a row was appended */
};

static void scan_fini(struct scan *s)
{
    history_cursor_close(&s->hc);
    for (uint32_t i = 0; i < s->cap; i++)
        column_fini(&s->columns[i]);
    mem_free(s->columns);
    mem_free(s->fields);
    mem_free(s->wanted);
    mem_free(s->steps);
    buf_fini(&s->line);
}

static int scan_init(struct scan *s, const struct history_query *q)
{
    memset(s, 0, sizeof *s);
    s->q = q;
    s->wanted = mem_alloc(SEGMENT_ROWS);
    s->steps = mem_alloc(SEGMENT_ROWS * sizeof *s->steps);
    return s->wanted && s->steps ? 0 : TARE_ENOMEM;
}

static bool all_in_range(const struct scan *s)
{
    return s->hc.min_step >= s->q->min_step && s->hc.max_step < s->q->max_step;
}

/* Does one of the query's keys ask for `path`? *name is it: {NULL} when all are wanted. */
static bool is_asked_for(const struct history_query *q, struct str path, struct str *name)
{
    *name = (struct str){0};
    for (uint32_t i = 0; i < q->n_keys && !name->p; i++)
        if (path_matches(path, q->keys[i]))
            *name = q->keys[i];
    return !q->n_keys || name->p;
}

static int reserve_fields(struct scan *s, uint32_t n)
{
    if (n <= s->cap)
        return 0;
    struct row_field *fields = mem_realloc(s->fields, n * sizeof *fields);
    if (fields)
        s->fields = fields;
    struct column *columns = fields ? mem_realloc(s->columns, n * sizeof *columns) : NULL;
    if (!columns)
        return TARE_ENOMEM;
    s->columns = columns;
    memset(columns + s->cap, 0, (n - s->cap) * sizeof *columns);
    s->cap = n;
    return 0;
}

static int load_fields(struct scan *s, struct err *e)
{
    s->n_fields = 0;
    for (uint32_t i = 0; i < s->hc.keys.n; i++) {
        const struct segment_key *key = &s->hc.keys.keys[i];
        struct str name;
        if (!is_asked_for(s->q, key->path, &name))
            continue;
        if (reserve_fields(s, s->n_fields + 1) != 0)
            return err_set(e, TARE_ENOMEM, "out of memory");
        uint32_t at = s->n_fields++;
        s->fields[at].path = key->path;
        s->fields[at].name = name;
        int rc = history_cursor_column(&s->hc, key, &s->columns[at], e);
        if (rc)
            return rc;
    }
    for (uint32_t i = 0; i < s->n_fields; i++) /* the array may have moved */
        s->fields[i].column = &s->columns[i];
    return 0;
}

/* True if the segment has a column for every key asked for; *dense if each of them has one with a
 * value in every row. */
static bool has_all_keys(const struct scan *s, bool *dense)
{
    *dense = true;
    for (uint32_t k = 0; k < s->q->n_keys; k++) {
        bool any = false, full = false;
        for (uint32_t i = 0; i < s->hc.keys.n; i++)
            if (path_matches(s->hc.keys.keys[i].path, s->q->keys[k])) {
                any = true;
                full |= s->hc.keys.keys[i].n_values == s->hc.n_lines;
            }
        if (!any)
            return false;
        *dense &= full;
    }
    return true;
}

/* Take from `wanted` the rows where key `k` has no value. */
static void need_key(struct scan *s, struct str name)
{
    uint8_t has[SEGMENT_ROWS];
    memset(has, 0, s->hc.n_lines);
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct column *c = s->fields[i].column;
        if (!path_matches(s->fields[i].path, name))
            continue;
        if (c->n == s->hc.n_lines)
            return;
        for (uint32_t v = 0; v < c->n; v++)
            has[column_row(c, v)] = 1;
    }
    for (uint32_t row = 0; row < s->hc.n_lines; row++)
        s->wanted[row] &= has[row];
}

/* Decode what is needed and find the rows that qualify: how many. */
static int select_rows(struct scan *s, struct err *e)
{
    int rc = load_fields(s, e);
    memset(s->wanted, 1, s->hc.n_lines);
    if (!rc && !all_in_range(s)) {
        rc = history_cursor_steps(&s->hc, s->steps, e);
        for (uint32_t i = 0; i < s->hc.n_lines && !rc; i++)
            s->wanted[i] = s->steps[i] >= s->q->min_step && s->steps[i] < s->q->max_step;
    }
    if (rc)
        return rc;
    for (uint32_t k = 0; k < s->q->n_keys; k++)
        need_key(s, s->q->keys[k]);
    for (uint32_t i = 0; i < s->hc.n_lines; i++)
        rc += s->wanted[i];
    return rc;
}

/* Ordinal of pick `i` of n_picks among n_rows: even, with the first and the last. */
static int64_t pick_row(const struct scan *s, int64_t i)
{
    if (s->n_picks >= s->n_rows)
        return i;
    if (s->n_picks == 1)
        return s->n_rows - 1;
    return (int64_t)((__int128)i * (s->n_rows - 1) / (s->n_picks - 1));
}

static int hand_out(struct scan *s, struct row_writer *w, uint32_t row)
{
    buf_clear(&s->line);
    int rc = row_writer_put(w, row, &s->line);
    return rc < 0 ? rc : s->on_row(s->arg, buf_str(&s->line));
}

static int append_row(struct scan *s, struct row_writer *w, uint32_t row)
{
    struct buf *to = s->arg;
    if (s->any)
        buf_putc(to, ',');
    s->any = true;
    return row_writer_put(w, row, to);
}

static int emit_segment(struct scan *s, struct err *e)
{
    struct row_writer *w = row_writer_new(s->fields, s->n_fields, s->q->strict);
    int rc = w ? 0 : TARE_ENOMEM;
    for (uint32_t row = 0; row < s->hc.n_lines && rc >= 0; row++) {
        if (!s->wanted[row])
            continue;
        int64_t ordinal = s->row++;
        if (s->n_picks) {
            if (s->pick >= s->n_picks || ordinal != pick_row(s, s->pick))
                continue;
            s->pick++;
        }
        rc = s->on_row ? hand_out(s, w, row) : append_row(s, w, row);
    }
    row_writer_free(w);
    if (rc == TARE_ENOMEM)
        err_set(e, rc, "out of memory");
    return rc < 0 ? rc : 0;
}

/* Whether any row of the segment can be known to matter without decoding it; *n is how many rows it adds. */
static int count_segment(struct scan *s, int64_t *n, struct err *e)
{
    bool dense;
    *n = 0;
    if (!has_all_keys(s, &dense))
        return 0;
    if (dense && all_in_range(s)) {
        *n = s->hc.n_lines;
        return 0;
    }
    int rc = select_rows(s, e);
    *n = rc < 0 ? 0 : rc;
    return rc < 0 ? rc : 0;
}

static int open_scan(struct scan *s, struct db_conn *c, struct err *e)
{
    return history_cursor_open(&s->hc, c, s->q->run, s->q->stream, s->q->min_step, s->q->max_step, e);
}

static int count_rows(struct scan *s, struct db_conn *c, struct err *e)
{
    int64_t n;
    int rc = open_scan(s, c, e);
    while (rc >= 0 && (rc = history_cursor_next(&s->hc, e)) == 1) {
        rc = count_segment(s, &n, e);
        s->n_rows += n;
    }
    history_cursor_close(&s->hc);
    return rc;
}

/* 1 if there were more than `at_most` rows, which are then put out in part. */
static int emit_rows(struct scan *s, struct db_conn *c, struct err *e)
{
    bool dense, too_many = false;
    int rc = open_scan(s, c, e);
    while (rc >= 0 && !too_many && (rc = history_cursor_next(&s->hc, e)) == 1) {
        if (!has_all_keys(s, &dense))
            continue;
        too_many = s->at_most && dense && all_in_range(s) && s->row + s->hc.n_lines > s->at_most;
        if (too_many)
            break;
        if (s->n_picks && s->pick >= s->n_picks)
            break;
        if (s->n_picks && dense && all_in_range(s) && pick_row(s, s->pick) >= s->row + s->hc.n_lines) {
            s->row += s->hc.n_lines;
            continue;
        }
        rc = select_rows(s, e);
        too_many = s->at_most && rc > 0 && s->row + rc > s->at_most;
        if (rc > 0 && !too_many)
            rc = emit_segment(s, e);
    }
    history_cursor_close(&s->hc);
    return rc < 0 ? rc : too_many;
}

/* All rows into the buffer if there are no more than the samples: 1. Else 0, and the buffer is as it was. */
static int emit_if_few(struct scan *s, struct db_conn *c, struct err *e)
{
    struct buf *to = s->arg;
    size_t len = to->len;
    s->at_most = s->q->samples;
    int rc = emit_rows(s, c, e);
    s->at_most = s->row = 0;
    if (rc != 1)
        return rc < 0 ? rc : 1;
    to->len = len;
    s->any = false;
    return 0;
}

int history_scan(struct db_conn *c, const struct history_query *q, history_row_fn on_row, void *arg,
                 struct err *e)
{
    struct scan s;
    int rc = scan_init(&s, q);
    if (rc)
        err_set(e, rc, "out of memory");
    s.on_row = on_row;
    s.arg = arg;
    bool done = false;
    if (!rc && q->samples > 0 && !on_row) {
        rc = emit_if_few(&s, c, e);
        done = rc == 1;
    }
    if (rc >= 0 && !done && q->samples > 0) {
        rc = count_rows(&s, c, e);
        s.n_picks = q->samples < s.n_rows ? q->samples : s.n_rows;
    }
    if (rc >= 0 && !done && (q->samples <= 0 || s.n_picks))
        rc = emit_rows(&s, c, e);
    scan_fini(&s);
    return rc < 0 ? rc : 0;
}

/* ---- the last line ---- */

int history_last_line(struct db_conn *c, int64_t run, enum history_stream stream, struct buf *to,
                      struct err *e)
{
    struct history_query q = {.run = run, .stream = stream, .min_step = INT64_MIN, .max_step = INT64_MAX};
    struct scan s;
    int rc = scan_init(&s, &q);
    if (rc)
        err_set(e, rc, "out of memory");
    s.hc.c = c;
    s.hc.codec = codec_take();
    if (!rc)
        rc = db_query(c, e, &s.hc.rows,
                      "SELECT id, first_line, n_lines, min_step, max_step, sorted, writer, level, n_groups, "
                      "directory, data FROM history_segments WHERE run_id = $1 AND stream = $2 "
                      "ORDER BY first_line DESC LIMIT 1",
                      DB_ARGS(db_i(run), db_i(stream)));
    if (!rc)
        rc = history_cursor_next(&s.hc, e);
    if (rc == 1) {
        rc = load_fields(&s, e);
        struct row_writer *w = rc ? NULL : row_writer_new(s.fields, s.n_fields, false);
        if (w)
            rc = row_writer_put(w, s.hc.n_lines - 1, to);
        else if (!rc)
            rc = err_set(e, TARE_ENOMEM, "out of memory");
        row_writer_free(w);
    }
    scan_fini(&s);
    return rc < 0 ? rc : 0;
}

/* ---- keys ---- */

struct key_stats {
    struct str path; /* in the arena */
    int64_t n_values, n_numbers;
    uint8_t kinds;
    bool rises;
    double last;
    struct str last_json;
};

/* Any number of keys, whose names clients choose: found by a hash that they do not know. */
struct key_table {
    struct arena arena;
    struct key_stats *keys;
    uint32_t n, cap;    /* a power of two */
    uint32_t guess;
    uint32_t *slots;    /* 2 * cap of them: index + 1 of a key, 0: free */
    uint64_t seed;
};

/* The slot of `path`, or the free one where it belongs. */
static uint32_t *key_slot(const struct key_table *t, struct str path)
{
    uint32_t at = (uint32_t)hash_bytes(path.p, path.n, t->seed);
    for (;; at++) {
        uint32_t *slot = &t->slots[at & (2 * t->cap - 1)];
        if (!*slot || str_eq(t->keys[*slot - 1].path, path))
            return slot;
    }
}

static bool grow_keys(struct key_table *t)
{
    uint32_t cap = t->cap ? 2 * t->cap : 32;
    struct key_stats *keys = mem_realloc(t->keys, cap * sizeof *keys);
    if (!keys)
        return false;
    t->keys = keys;
    uint32_t *slots = mem_calloc(2 * cap, sizeof *slots);
    if (!slots)
        return false;
    mem_free(t->slots);
    t->slots = slots;
    t->cap = cap;
    for (uint32_t i = 0; i < t->n; i++)
        *key_slot(t, keys[i].path) = i + 1;
    return true;
}

static struct key_stats *find_key(struct key_table *t, struct str path)
{
    if (t->guess < t->n && str_eq(t->keys[t->guess].path, path)) /* segments list keys in much the same order */
        return &t->keys[t->guess++];
    if (t->n == t->cap && !grow_keys(t))
        return NULL;
    uint32_t *slot = key_slot(t, path);
    if (*slot) {
        t->guess = *slot;
        return &t->keys[*slot - 1];
    }
    char *copy = arena_strndup(&t->arena, path.p, path.n);
    if (!copy)
        return NULL;
    t->keys[t->n] = (struct key_stats){.path = {copy, path.n}, .rises = true};
    t->guess = *slot = ++t->n;
    return &t->keys[t->n - 1];
}

static int add_stats(struct key_table *t, const struct segment_key *key)
{
    struct key_stats *k = find_key(t, key->path);
    if (!k)
        return TARE_ENOMEM;
    if (key->n_numbers) {
        k->rises &= key->rises && (!k->n_numbers || key->first >= k->last);
        k->last = key->last;
    }
    k->n_values += key->n_values;
    k->n_numbers += key->n_numbers;
    k->kinds |= key->kinds;
    char *copy = arena_strndup(&t->arena, key->last_json.p, key->last_json.n);
    k->last_json = (struct str){copy, copy ? key->last_json.n : 0};
    return copy ? 0 : TARE_ENOMEM;
}

/* What kind of thing a value that is no number is: "string", "list", or the _type of a media object. */
static void put_type(struct buf *to, const struct key_stats *k)
{
    const char *p = k->last_json.p, *end = p + k->last_json.n;
    struct json_item item;
    if (k->last_json.n && *p == '{') {
        p++;
        while (json_next_member(&p, end, &item) == 1)
            if (str_eq(item.key, STR("_type")) && item.value.n && item.value.p[0] == '"') {
                buf_put_str(to, item.value);
                return;
            }
        buf_puts(to, "\"map\"");
    } else if (k->last_json.n && *p == '[') {
        buf_puts(to, "\"list\"");
    } else {
        buf_puts(to, k->kinds & 1 << V_TEXT ? "\"string\"" : k->kinds & 6 ? "\"boolean\"" : "\"nil\"");
    }
}

static void put_stats(struct buf *to, const struct key_stats *k)
{
    AUTO_BUF plain = {0};
    double number;
    bool numbers = k->kinds & (1 << V_INT | 1 << V_DOUBLE) || text_number(k->last_json, &number);
    path_put_plain(&plain, k->path);
    json_put_string(to, buf_str(&plain));
    buf_puts(to, ":{\"typeCounts\":[{\"type\":");
    if (numbers)
        buf_puts(to, "\"number\"");
    else
        put_type(to, k);
    buf_printf(to, ",\"count\":%lld}],\"monotonic\":%s", (long long)k->n_values,
               numbers && k->rises ? "true" : "false");
    if (k->last_json.n) {
        struct column c = {0};
        buf_puts(to, ",\"previousValue\":");
        column_add_text(&c, 0, k->last_json);
        char first = k->last_json.p[0];
        if (first == 'N' || first == 'I' || (first == '-' && k->last_json.n > 1 && k->last_json.p[1] == 'I'))
            buf_printf(to, "\"%.*s\"", STR_ARG(k->last_json));
        else
            column_put_json(to, &c, 0, true);
        column_fini(&c);
    }
    buf_putc(to, '}');
}

int history_keys(struct db_conn *c, int64_t run, enum history_stream stream, struct buf *to,
                 struct err *e)
{
    struct key_table t = {0};
    struct history_cursor hc;
    int64_t last_step = -1;
    arena_init(&t.arena, 0);
    random_bytes(&t.seed, sizeof t.seed);
    int rc = history_cursor_open(&hc, c, run, stream, INT64_MIN, INT64_MAX, e);
    while (rc >= 0 && (rc = history_cursor_next(&hc, e)) == 1) {
        last_step = hc.max_step > last_step ? hc.max_step : last_step;
        for (uint32_t i = 0; i < hc.keys.n && rc >= 0; i++)
            rc = add_stats(&t, &hc.keys.keys[i]);
    }
    history_cursor_close(&hc);
    buf_puts(to, "{\"keys\":{");
    for (uint32_t i = 0; i < t.n && rc >= 0; i++) {
        if (i)
            buf_putc(to, ',');
        put_stats(to, &t.keys[i]);
    }
    buf_printf(to, "},\"lastStep\":%lld,\"sets\":[]}", (long long)last_step);
    mem_free(t.keys);
    mem_free(t.slots);
    arena_fini(&t.arena);
    if (rc >= 0 && to->failed)
        rc = TARE_ENOMEM;
    return rc == TARE_ENOMEM ? err_set(e, rc, "out of memory") : rc < 0 ? rc : 0;
}

/* ---- verifying ---- */

static int verify_stream(struct db_conn *c, int64_t run, enum history_stream stream, struct err *e)
{
    struct history_cursor hc;
    struct column column = {0};
    struct envelope env;
    int64_t end = 0, writer = 0;
    int rc = history_cursor_open(&hc, c, run, stream, INT64_MIN, INT64_MAX, e);
    while (rc >= 0 && (rc = history_cursor_next(&hc, e)) == 1) {
        if (hc.writer == writer && hc.first_line < end)
            rc = err_set(e, TARE_EFORMAT, "history segment %lld: its lines are there twice", (long long)hc.id);
        end = hc.first_line + hc.n_lines;
        writer = hc.writer;
        for (uint32_t i = 0; i < hc.keys.n && rc >= 0; i++) {
            rc = history_cursor_column(&hc, &hc.keys.keys[i], &column, e);
            if (!rc && hc.keys.keys[i].env_length) {
                rc = history_cursor_envelope(&hc, &hc.keys.keys[i], &env, e);
                if (!rc)
                    envelope_fini(&env);
            }
        }
    }
    column_fini(&column);
    history_cursor_close(&hc);
    return rc < 0 ? rc : 0;
}

int history_verify(struct db_conn *c, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows, "SELECT id FROM runs", DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        int64_t run = db_int(rows, 0);
        for (int stream = 0; stream < HISTORY_STREAMS && rc >= 0; stream++)
            rc = verify_stream(c, run, (enum history_stream)stream, e);
        if (rc < 0)
            err_prefix(e, "run %lld: ", (long long)run);
    }
    return rc;
}
