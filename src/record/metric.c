/* SPDX-License-Identifier: MIT */
#include "record/metric.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "record/row.h"
#include "record/wire.h"

/* -- the table ------------------------------------------------------------------------------- */

void metrics_init(struct metrics *m, uint64_t seed)
{
    *m = (struct metrics){.generation = 1, .seed = seed};
}

void metrics_fini(struct metrics *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        mem_free(m->at[i].name);
        mem_free(m->at[i].step);
    }
    for (uint32_t i = 0; i < m->n_steps; i++) {
        mem_free(m->steps[i].name);
        mem_free(m->steps[i].text);
    }
    mem_free(m->at);
    mem_free(m->globs);
    mem_free(m->steps);
    mem_free(m->index);
    *m = (struct metrics){0};
}

static struct str metric_name(const struct metric *d)
{
    return str_make(d->name, d->name_len);
}

static uint32_t *probe(const struct metrics *m, struct str name, bool is_glob)
{
    uint32_t mask = m->index_cap - 1;
    uint32_t i = (uint32_t)hash_bytes(name.p, name.n, m->seed + is_glob) & mask;
    for (; m->index[i]; i = (i + 1) & mask) {
        const struct metric *d = &m->at[m->index[i] - 1];
        if (d->is_glob == is_glob && str_eq(metric_name(d), name))
            break;
    }
    return &m->index[i];
}

static uint32_t find(const struct metrics *m, struct str name, bool is_glob)
{
    return m->n ? *probe(m, name, is_glob) - 1 : METRIC_NONE;
}

uint32_t metrics_find(const struct metrics *m, struct str name)
{
    return find(m, name, false);
}

static void grow(struct metrics *m)
{
    m->cap = m->cap ? m->cap * 2 : 8;
    m->at = xmem_realloc(m->at, m->cap * sizeof *m->at);
    mem_free(m->index);
    m->index_cap = m->cap * 2;
    m->index = xmem_calloc(m->index_cap, sizeof *m->index);
    for (uint32_t i = 0; i < m->n; i++)
        *probe(m, metric_name(&m->at[i]), m->at[i].is_glob) = i + 1;
}

static uint32_t find_or_add(struct metrics *m, struct str name, bool is_glob)
{
    uint32_t found = find(m, name, is_glob);
    if (found != METRIC_NONE)
        return found;
    if (m->n == m->cap)
        grow(m);
    *probe(m, name, is_glob) = m->n + 1;
    m->at[m->n] = (struct metric){
        .name = xmem_strndup(name.p, name.n),
        .name_len = (uint32_t)name.n,
        .step_at = METRIC_NONE,
        .is_glob = is_glob,
    };
    if (is_glob) {
        m->globs = xmem_realloc(m->globs, (m->n_globs + 1) * sizeof *m->globs);
        m->globs[m->n_globs++] = m->n;
    }
    return m->n++;
}

/* -- names and paths ------------------------------------------------------------------------- */

/* Cut `name` at its dots; with `escapes`, "\." is a dot that does not cut, and an empty last part
 * does not count. {NULL} in *path if there is no part. */
static void split(struct str name, bool escapes, struct buf *path)
{
    AUTO_BUF part = {0};
    struct buf fields = {0};
    uint32_t n = 0;
    AUTO_BUF first = {0};
    for (size_t i = 0; i <= name.n; i++) {
        bool end = i == name.n;
        if (!end && escapes && name.p[i] == '\\' && i + 1 < name.n) {
            if (name.p[++i] != '.')
                buf_putc(&part, '\\');
            buf_putc(&part, name.p[i]);
        } else if (!end && escapes && name.p[i] == '\\') {
            continue; /* a lone one at the end is dropped */
        } else if (!end && name.p[i] != '.') {
            buf_putc(&part, name.p[i]);
        } else if (!end || !escapes || part.len) {
            if (n++ == 0)
                buf_put_str(&first, buf_str(&part));
            wire_buf_bytes(&fields, 2, buf_str(&part));
            buf_clear(&part);
        }
    }
    if (n == 1)
        wire_buf_bytes(path, 1, buf_str(&first));
    else
        buf_put_str(path, buf_str(&fields));
    buf_fini(&fields);
}

static void configure(const struct metric *d, struct summary *s)
{
    AUTO_BUF path = {0};
    split(metric_name(d), true, &path);
    if (path.len)
        summary_configure(s, summary_slot(s, buf_str(&path)), d->none, d->track);
}

static uint32_t step_for(struct metrics *m, struct summary *s, struct str name)
{
    for (uint32_t i = 0; i < m->n_steps; i++)
        if (str_eq(str_make(m->steps[i].name, m->steps[i].name_len), name))
            return i;
    AUTO_BUF path = {0};
    split(name, false, &path);
    m->steps = xmem_realloc(m->steps, (m->n_steps + 1) * sizeof *m->steps);
    m->steps[m->n_steps] = (struct metric_step){
        .name = xmem_strndup(name.p, name.n),
        .name_len = (uint32_t)name.n,
        .slot = summary_slot(s, buf_str(&path)),
        .text = xmem_strdup("0"),
        .text_len = 1,
    };
    return m->n_steps++;
}

/* -- records --------------------------------------------------------------------------------- */

struct change {
    struct str name, glob, step;
    bool step_sync, hidden, overwrite, has_summary, none, expanded;
    uint8_t track, goal;
};

static bool read_flags(struct str message, uint64_t flags[16])
{
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    for (int rc; (rc = wire_next(&r, &f)) != 0;) {
        if (rc < 0)
            return false;
        if (f.number < 16 && f.type == WIRE_VARINT)
            flags[f.number] = f.value;
    }
    return true;
}

static bool read_message(struct change *c, uint32_t number, struct str message)
{
    uint64_t flags[16] = {0};
    if (!read_flags(message, flags))
        return false;
    if (number == 6) {
        c->step_sync |= flags[1] != 0;
        c->hidden |= flags[2] != 0;
    } else if (number == 9) {
        c->overwrite |= flags[1] != 0;
    } else {
        c->has_summary = true;
        c->none = flags[6] != 0;
        c->track = (uint8_t)((flags[1] ? SUMMARY_MIN : 0) | (flags[2] ? SUMMARY_MAX : 0) |
                             (flags[3] ? SUMMARY_MEAN : 0) | (flags[5] ? SUMMARY_LAST : 0) |
                             (flags[8] ? SUMMARY_FIRST : 0));
    }
    return true;
}

static bool read_change(struct str record, struct change *c)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    *c = (struct change){0};
    for (int rc; (rc = wire_next(&r, &f)) != 0;) {
        if (rc < 0)
            return false;
        if (f.type == WIRE_BYTES) {
            if (f.number == 1)
                c->name = f.bytes;
            else if (f.number == 2)
                c->glob = f.bytes;
            else if (f.number == 4)
                c->step = f.bytes;
            else if ((f.number == 6 || f.number == 7 || f.number == 9) &&
                     !read_message(c, f.number, f.bytes))
                return false;
        } else if (f.type == WIRE_VARINT && f.number == 8) {
            c->goal = f.value <= METRIC_GOAL_MAXIMIZE ? (uint8_t)f.value : 0;
        } else if (f.type == WIRE_VARINT && f.number == 10) {
            c->expanded = f.value != 0;
        }
    }
    return true;
}

static void change_metric(struct metric *d, const struct change *c, uint32_t step_at)
{
    if (c->overwrite) {
        mem_free(d->step);
        *d = (struct metric){
            .name = d->name,
            .name_len = d->name_len,
            .step_at = METRIC_NONE,
            .is_glob = d->is_glob,
        };
    }
    d->step_sync |= c->step_sync;
    d->hidden |= c->hidden;
    d->expanded = c->expanded;
    if (c->step.n) {
        mem_free(d->step);
        d->step = xmem_strndup(c->step.p, c->step.n);
        d->step_len = (uint32_t)c->step.n;
        d->step_at = step_at;
    }
    if (c->has_summary) {
        d->none = c->none;
        d->track |= c->track;
    }
    if (c->goal)
        d->goal = c->goal;
}

int metrics_apply(struct metrics *m, struct summary *s, struct str record)
{
    struct change c;
    if (!read_change(record, &c))
        return TARE_EFORMAT;
    if (!c.name.n && !c.glob.n && !c.step.n)
        return TARE_EINVAL;
    uint32_t step_at = c.step.n ? step_for(m, s, c.step) : METRIC_NONE;
    m->generation++;
    if (!c.name.n && !c.glob.n)
        return 0; /* an x axis only */
    bool is_glob = c.name.n == 0;
    uint32_t at = find_or_add(m, is_glob ? c.glob : c.name, is_glob);
    change_metric(&m->at[at], &c, step_at);
    if (!is_glob)
        configure(&m->at[at], s);
    return 0;
}

/* -- rows ------------------------------------------------------------------------------------ */

/* The glob with the longest prefix (the peer takes any that matches). */
static uint32_t match_glob(const struct metrics *m, struct str name)
{
    uint32_t best = METRIC_NONE;
    size_t best_len = 0;
    for (uint32_t i = 0; i < m->n_globs; i++) {
        struct str prefix = metric_name(&m->at[m->globs[i]]);
        if (prefix.n && prefix.p[prefix.n - 1] == '*')
            prefix.n--;
        if (str_starts(name, prefix) && (best == METRIC_NONE || prefix.n > best_len)) {
            best = m->globs[i];
            best_len = prefix.n;
        }
    }
    return best;
}

static uint32_t define_from(struct metrics *m, uint32_t glob, struct str name, struct summary *s)
{
    uint32_t at = find_or_add(m, name, false);
    struct metric *d = &m->at[at];
    const struct metric *g = &m->at[glob];
    d->step = g->step ? xmem_strndup(g->step, g->step_len) : NULL;
    d->step_len = g->step_len;
    d->step_at = g->step_at;
    d->step_sync = g->step_sync;
    d->hidden = g->hidden;
    d->none = g->none;
    d->track = g->track;
    d->goal = g->goal;
    d->expanded = true;
    configure(d, s);
    return at;
}

/* The definition of a slot's key, made from a glob if one matches. */
static uint32_t definition(struct metrics *m, struct summary *s, uint32_t slot)
{
    if (s->slots[slot].metric_gen == m->generation)
        return s->slots[slot].metric_at;
    AUTO_BUF name = {0};
    summary_dotted(&name, &s->slots[slot]);
    uint32_t at = metrics_find(m, buf_str(&name));
    if (at == METRIC_NONE && !(name.len && name.data[0] == '_')) {
        uint32_t glob = match_glob(m, buf_str(&name));
        if (glob != METRIC_NONE)
            at = define_from(m, glob, buf_str(&name), s);
    }
    s->slots[slot].metric_gen = m->generation;
    s->slots[slot].metric_at = at;
    return at;
}

static void note_steps(struct metrics *m, const struct row *row)
{
    for (uint32_t i = 0; i < m->n_steps; i++) {
        struct metric_step *step = &m->steps[i];
        const struct row_entry *e = row_find(row, step->slot);
        if (!e || e->kind != ROW_NUMBER)
            continue;
        if (e->text_len > step->text_len)
            step->text = xmem_realloc(step->text, e->text_len);
        memcpy(step->text, e->text, e->text_len);
        step->text_len = e->text_len;
        step->value = e->number;
    }
}

void metrics_row(struct metrics *m, struct row *row, uint32_t n_logged)
{
    if (!m->n)
        return;
    note_steps(m, row);
    for (uint32_t i = 0; i < n_logged; i++)
        if (row->at[i].slot != SUMMARY_NO_SLOT)
            definition(m, row->summary, row->at[i].slot);
    for (uint32_t i = 0; i < n_logged; i++) {
        if (row->at[i].slot == SUMMARY_NO_SLOT)
            continue;
        uint32_t at = definition(m, row->summary, row->at[i].slot);
        if (at == METRIC_NONE || !m->at[at].step_sync || m->at[at].step_at == METRIC_NONE)
            continue;
        const struct metric_step *step = &m->steps[m->at[at].step_at];
        if (!row_find(row, step->slot))
            row_set_number(row, step->slot, row_keep(row, str_make(step->text, step->text_len)),
                           step->value);
    }
}

/* -- as a record ---------------------------------------------------------------------------------- */

static void put_flags(struct buf *to, uint32_t field, const uint32_t *numbers, size_t n)
{
    size_t mark = wire_buf_begin(to, field);
    for (size_t i = 0; i < n; i++)
        if (numbers[i])
            wire_buf_varint(to, numbers[i], 1);
    wire_buf_end(to, mark);
}

void metrics_put_record(const struct metrics *m, uint32_t at, struct buf *to)
{
    const struct metric *d = &m->at[at];
    wire_buf_bytes(to, d->is_glob ? 2 : 1, metric_name(d));
    if (d->step)
        wire_buf_bytes(to, 4, str_make(d->step, d->step_len));
    uint32_t options[] = {d->step_sync ? 1 : 0, d->hidden ? 2 : 0, 3};
    put_flags(to, 6, options, sizeof options / sizeof *options);
    uint32_t shown[] = {d->track & SUMMARY_MIN ? 1 : 0,  d->track & SUMMARY_MAX ? 2 : 0,
                        d->track & SUMMARY_MEAN ? 3 : 0, d->track & SUMMARY_LAST ? 5 : 0,
                        d->none ? 6 : 0,                 d->track & SUMMARY_FIRST ? 8 : 0};
    put_flags(to, 7, shown, sizeof shown / sizeof *shown);
    if (d->goal)
        wire_buf_varint(to, 8, d->goal);
    if (d->expanded)
        wire_buf_varint(to, 10, 1);
}

/* -- in the run's config ------------------------------------------------------------------------- */

static void put_number_list(struct buf *to, uint32_t field, const uint8_t *numbers, size_t n)
{
    buf_printf(to, ",\"%u\":[", field);
    for (size_t i = 0, put = 0; i < n; i++)
        if (numbers[i])
            buf_printf(to, "%s%u", put++ ? "," : "", numbers[i]);
    buf_putc(to, ']');
}

/* `d` is NULL for a step metric that was never defined itself. */
static void put_definition(struct buf *to, struct str name, const struct metric *d, uint32_t step_at)
{
    static const struct metric none;
    bool is_glob = d && d->is_glob, defined = d && !d->is_glob;
    d = d ? d : &none;
    buf_puts(to, is_glob ? "{\"2\":" : "{\"1\":");
    json_put_string(to, name);
    if (step_at)
        buf_printf(to, ",\"5\":%u", step_at);
    uint8_t options[] = {d->step_sync ? 1 : 0, d->hidden ? 2 : 0, defined ? 3 : 0};
    put_number_list(to, 6, options, sizeof options);
    uint8_t shown[] = {d->track & SUMMARY_MIN ? 1 : 0,  d->track & SUMMARY_MAX ? 2 : 0,
                       d->track & SUMMARY_MEAN ? 3 : 0, d->track & SUMMARY_LAST ? 5 : 0,
                       d->none ? 6 : 0,                 d->track & SUMMARY_FIRST ? 8 : 0};
    put_number_list(to, 7, shown, sizeof shown);
    if (d->goal)
        buf_printf(to, ",\"8\":%u", d->goal);
    buf_putc(to, '}');
}

/* Where each definition stands in the array, from 1, and each step metric without one. */
struct places {
    uint32_t *metric, *step, n;
};

static uint32_t *step_place(const struct metrics *m, struct places *p, uint32_t step_at)
{
    const struct metric_step *step = &m->steps[step_at];
    uint32_t own = metrics_find(m, str_make(step->name, step->name_len));
    return own == METRIC_NONE ? &p->step[step_at] : &p->metric[own];
}

static void place(struct places *p, uint32_t *at)
{
    if (!*at)
        *at = ++p->n;
}

static void place_all(const struct metrics *m, bool expand, struct places *p)
{
    for (int globs = 0; globs < (expand ? 1 : 2); globs++)
        for (uint32_t i = 0; i < m->n; i++) {
            if ((m->at[i].expanded && !expand) || m->at[i].is_glob != (globs == 1))
                continue;
            place(p, &p->metric[i]);
            if (m->at[i].step_at != METRIC_NONE)
                place(p, step_place(m, p, m->at[i].step_at));
        }
}

void metrics_put_config(const struct metrics *m, bool expand, struct buf *to)
{
    struct places p = {
        .metric = xmem_calloc(m->n + 1, sizeof *p.metric),
        .step = xmem_calloc(m->n_steps + 1, sizeof *p.step),
    };
    place_all(m, expand, &p);
    /* from place to what stands there: a definition's number + 1, or a step's, negative */
    int64_t *at = xmem_calloc(p.n + 1, sizeof *at);
    for (uint32_t i = 0; i < m->n; i++)
        at[p.metric[i]] = p.metric[i] ? (int64_t)i + 1 : 0;
    for (uint32_t i = 0; i < m->n_steps; i++)
        if (p.step[i])
            at[p.step[i]] = -(int64_t)i - 1;
    buf_putc(to, '[');
    for (uint32_t k = 1; k <= p.n; k++) {
        const struct metric *d = at[k] > 0 ? &m->at[at[k] - 1] : NULL;
        const struct metric_step *step = d ? NULL : &m->steps[-at[k] - 1];
        struct str name = d ? metric_name(d) : str_make(step->name, step->name_len);
        if (k > 1)
            buf_putc(to, ',');
        bool has_step = d && d->step_at != METRIC_NONE;
        put_definition(to, name, d, has_step ? *step_place(m, &p, d->step_at) : 0);
    }
    buf_putc(to, ']');
    mem_free(at);
    mem_free(p.metric);
    mem_free(p.step);
}
