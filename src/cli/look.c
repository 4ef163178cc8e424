/* SPDX-License-Identifier: MIT */
#include "cli/look.h"
#include "cli/writers.h"

#include "base/alloc.h"
#include "base/number.h"
#include "journal/reader.h"

#include <fnmatch.h>

static bool wanted(const struct look *l, const char *name)
{
    if (!l->keys)
        return name[0] != '_';
    AUTO_FREE char *patterns = xmem_strdup(l->keys);
    char *rest = patterns;
    for (char *one; (one = strsep(&rest, ","));)
        if (fnmatch(one, name, 0) == 0)
            return true;
    return false;
}

static uint32_t add_chart(struct look *l, struct str name, struct str x_name, bool system)
{
    l->charts = xmem_realloc(l->charts, (l->n_charts + 1) * sizeof *l->charts);
    l->charts[l->n_charts] = (struct look_chart){
        .series = series_new(name),
        .x_name = xmem_strndup(x_name.p, x_name.n),
        .system = system,
    };
    return (uint32_t)l->n_charts++;
}

/* The definition of a slot's metric that has a step of its own, or NULL. */
static const struct metric_step *step_of(const struct replay *r, struct str name)
{
    uint32_t at = metrics_find(&r->metrics, name);
    if (at == METRIC_NONE || r->metrics.at[at].step_at == METRIC_NONE)
        return NULL;
    return &r->metrics.steps[r->metrics.at[at].step_at];
}

static uint32_t chart_of(struct look *l, const struct replay *r, uint32_t slot)
{
    if (slot >= l->n_slots) {
        uint32_t n = r->summary.n + 64;
        l->chart_of = xmem_realloc(l->chart_of, n * sizeof *l->chart_of);
        memset(l->chart_of + l->n_slots, 0, (n - l->n_slots) * sizeof *l->chart_of);
        l->n_slots = n;
    }
    if (l->chart_of[slot])
        return l->chart_of[slot] - 1;
    AUTO_BUF name = {0};
    summary_dotted(&name, &r->summary.slots[slot]);
    uint32_t at = UINT32_MAX - 1;
    if (!wanted(l, buf_z(&name))) {
        ; /* not asked for */
    } else if (l->max_charts && l->n_charts == l->max_charts) {
        l->n_left++;
    } else {
        const struct metric_step *step = step_of(r, buf_str(&name));
        struct str x = step ? str_make(step->name, step->name_len) : STR("step");
        at = add_chart(l, buf_str(&name), x, false);
    }
    l->chart_of[slot] = at + 1;
    return at;
}

static void on_row(void *ctx, struct replay *r)
{
    struct look *l = ctx;
    double step = (double)(r->has_step ? r->step : (int64_t)r->n_rows - 1);
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT || e->kind != ROW_NUMBER)
            continue;
        uint32_t at = chart_of(l, r, e->slot);
        if (at >= l->n_charts)
            continue;
        struct series *s = l->charts[at].series;
        const struct metric_step *own = step_of(r, str_of(s->name));
        const struct row_entry *x = own ? row_find(&r->row, own->slot) : NULL;
        series_add(s, x ? x->number : own ? own->value : step, e->number);
    }
}

static void on_stat(void *ctx, struct str key, struct str value, int64_t time_ns)
{
    struct look *l = ctx;
    double v;
    if (!l->want_system || number_parse_double(value.p, value.n, &v) != value.n)
        return;
    AUTO_BUF name = {0};
    buf_printf(&name, "system.%.*s", STR_ARG(key));
    if (l->keys && !wanted(l, buf_z(&name)))
        return;
    uint32_t at = 0;
    while (at < l->n_charts && !str_eqz(buf_str(&name), l->charts[at].series->name))
        at++;
    if (at == l->n_charts)
        at = add_chart(l, buf_str(&name), STR("seconds"), true);
    series_add(l->charts[at].series, (double)(time_ns - l->r.start_ns) / 1e9, v);
}

static void on_line(void *ctx, struct str line, bool is_stderr)
{
    (void)is_stderr;
    struct look *l = ctx;
    struct buf *b = &l->last_lines[l->n_lines++ % LOOK_LINES];
    buf_clear(b);
    buf_put_str(b, line);
}

static void on_output(void *ctx, struct str text, bool raw, bool is_stderr, int64_t time_ns)
{
    (void)time_ns;
    struct look *l = ctx;
    lines_put(&l->lines, text, is_stderr);
    if (!raw && !str_ends(text, STR("\n")))
        lines_put(&l->lines, STR("\n"), is_stderr);
}

static int read_journal(struct look *l, struct err *e)
{
    struct journal_reader reader;
    int rc = journal_reader_open(&reader, l->place.journal, e);
    if (rc < 0)
        return rc;
    reader.live = writers_hold(l->place.journal);
    rc = replay_all(&l->r, &reader);
    l->n_gaps = reader.n_gaps;
    l->gap_bytes = reader.gap_bytes;
    if (rc < 0)
        err_set(e, rc, "reading %s: %s", l->place.journal, err_text(rc));
    else if (reader.version < 0 && reader.n_records == 0)
        rc = err_set(e, TARE_EFORMAT, "%s is not a .wandb file", l->place.journal);
    journal_reader_close(&reader);
    return rc;
}

void look_begin(struct look *l)
{
    static const struct replay_events all = {on_row, on_output, on_stat};
    static const struct replay_events no_charts = {.on_output = on_output};
    l->lines.on_line = on_line;
    l->lines.ctx = l;
    replay_init(&l->r, l->no_charts ? &no_charts : &all, l);
}

int look_read(struct look *l, struct run_place *place_take, struct err *e)
{
    l->place = *place_take;
    look_begin(l);
    int rc = read_journal(l, e);
    lines_end(&l->lines);
    l->state = run_state_of(&l->r, l->place.journal);
    l->seconds = run_seconds(&l->r, l->state, l->place.journal);
    return rc;
}

void look_fini(struct look *l)
{
    for (size_t i = 0; i < l->n_charts; i++) {
        series_free(l->charts[i].series);
        mem_free(l->charts[i].x_name);
    }
    mem_free(l->charts);
    mem_free(l->chart_of);
    for (size_t i = 0; i < LOOK_LINES; i++)
        buf_fini(&l->last_lines[i]);
    lines_fini(&l->lines);
    replay_fini(&l->r);
    run_place_fini(&l->place);
}
