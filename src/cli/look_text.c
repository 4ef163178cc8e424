/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"
#include "base/os.h"
#include "base/path.h"
#include "cli/chart.h"
#include "cli/look.h"
#include "cli/table.h"
#include "cli/value.h"

#include <inttypes.h>
#include <limits.h>

enum {
    CHART_WIDTH = 48, /* what a chart should have, at least */
    CHART_GAP = 2,
    NAME_MAX_COLUMNS = 36,
    FILES_SHOWN = 15,
    TABLES_SHOWN = 5,
};
#define TABLE_BYTES_MAX ((size_t)16 << 20)

struct printer {
    const struct look *l;
    const struct term *t;
    struct buf out;
    int name_columns; /* of the list being printed */
    bool round;
    size_t n;
};

static void heading(struct printer *p, const char *title)
{
    buf_putc(&p->out, '\n');
    term_style(p->t, &p->out, TERM_BOLD);
    buf_puts(&p->out, title);
    term_plain(p->t, &p->out);
    buf_putc(&p->out, '\n');
}

enum { FACT_COLUMNS = 12, STATE_COLUMNS = 26 };

/* ---- the head ---- */

static void put_state(struct printer *p)
{
    const struct look *l = p->l;
    term_style(p->t, &p->out, run_state_style(l->state));
    buf_puts(&p->out, run_state_name(l->state));
    if (l->state == RUN_FAILED)
        buf_printf(&p->out, " (exit code %d)", l->r.exit_code);
    term_plain(p->t, &p->out);
}

static void put_fact(struct printer *p, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    term_style(p->t, &p->out, TERM_DIM);
    buf_printf(&p->out, "  %-9s ", name);
    term_plain(p->t, &p->out);
    bool is_path = strcmp(name, "folder") == 0; /* to be copied: never cut */
    term_text(p->t, &p->out, str_of(value), is_path ? PATH_MAX : p->t->width - FACT_COLUMNS);
    buf_putc(&p->out, '\n');
}

/* "Linux-x86_64, 64 CPUs, 2 GPUs (NVIDIA H100), 503.2 GiB" */
static void put_machine(struct printer *p)
{
    const struct replay *r = &p->l->r;
    AUTO_BUF b = {0};
    buf_puts(&b, r->os ? r->os : "");
    if (r->n_cpus)
        buf_printf(&b, "%s%" PRIu32 " CPU%s", b.len ? ", " : "", r->n_cpus, r->n_cpus > 1 ? "s" : "");
    if (r->n_gpus)
        buf_printf(&b, ", %" PRIu32 " GPU%s (%s)", r->n_gpus, r->n_gpus > 1 ? "s" : "", r->gpu ? r->gpu : "?");
    if (r->memory_bytes)
        buf_printf(&b, ", %.1f GiB", (double)r->memory_bytes / (1 << 30));
    put_fact(p, "machine", buf_z(&b));
}

static void put_head(struct printer *p)
{
    const struct replay *r = &p->l->r;
    term_style(p->t, &p->out, TERM_BOLD);
    term_text(p->t, &p->out, str_of(r->name ? r->name : p->l->place.id),
              p->t->width - STATE_COLUMNS);
    term_plain(p->t, &p->out);
    buf_puts(&p->out, "  ");
    put_state(p);
    buf_putc(&p->out, '\n');
    AUTO_BUF b = {0};
    put_fact(p, "id", r->run_id ? r->run_id : p->l->place.id);
    buf_printf(&b, "%s%s%s", r->entity ? r->entity : "", r->entity ? "/" : "",
               r->project ? r->project : "");
    put_fact(p, "project", buf_z(&b));
    buf_clear(&b);
    put_time(&b, r->start_ns);
    if (b.len && p->l->seconds > 0) {
        buf_puts(&b, ", ");
        put_duration(&b, p->l->seconds);
    }
    put_fact(p, "started", buf_z(&b));
    buf_clear(&b);
    buf_printf(&b, "%" PRIu64, r->n_rows);
    put_fact(p, "rows", buf_z(&b));
    put_fact(p, "group", r->group);
    put_fact(p, "job type", r->job_type);
    put_fact(p, "tags", r->tags);
    put_fact(p, "notes", r->notes);
    put_fact(p, "host", r->host);
    put_machine(p);
    put_fact(p, "program", r->program);
    put_fact(p, "python", r->python);
    put_fact(p, "commit", r->git_commit);
    put_fact(p, "folder", p->l->place.folder);
}

static void put_damage(struct printer *p)
{
    const struct look *l = p->l;
    if (!l->n_gaps && !l->r.n_bad)
        return;
    term_style(p->t, &p->out, TERM_YELLOW);
    if (l->n_gaps)
        buf_printf(&p->out,
                   "\n%" PRIu64 " part%s of the journal (%" PRIu64
                   " bytes) %s damaged and left out; "
                   "`tare verify` lists %s\n",
                   l->n_gaps, l->n_gaps == 1 ? "" : "s", l->gap_bytes,
                   l->n_gaps == 1 ? "is" : "are", l->n_gaps == 1 ? "it" : "them");
    if (l->r.n_bad)
        buf_printf(&p->out, "\n%" PRIu64 " entries of the journal were not understood\n",
                   l->r.n_bad);
    term_plain(p->t, &p->out);
}

/* ---- config and summary ---- */

static void measure(void *ctx, struct str name, struct str value)
{
    (void)value;
    struct printer *p = ctx;
    int columns = term_columns(p->t, name);
    if (columns > p->name_columns)
        p->name_columns = columns < NAME_MAX_COLUMNS ? columns : NAME_MAX_COLUMNS;
    p->n++;
}

static void put_pair(void *ctx, struct str name, struct str value)
{
    struct printer *p = ctx;
    AUTO_BUF text = {0};
    value_put(&text, value, p->round, p->t->utf8);
    buf_puts(&p->out, "  ");
    term_style(p->t, &p->out, TERM_DIM);
    term_cell(p->t, &p->out, name, p->name_columns);
    term_plain(p->t, &p->out);
    buf_puts(&p->out, "  ");
    term_text(p->t, &p->out, buf_str(&text), p->t->width - p->name_columns - 4);
    buf_putc(&p->out, '\n');
}

static void put_tree(struct printer *p, const char *title, struct str json, bool round)
{
    p->name_columns = 0;
    p->n = 0;
    p->round = round;
    value_each(json, false, measure, p);
    if (!p->n)
        return;
    heading(p, title);
    value_each(json, false, put_pair, p);
}

/* ---- charts ---- */

static bool has_shape(const struct look_chart *c)
{
    return c->series->n_points >= 2 && c->series->x_hi > c->series->x_lo;
}

static void put_chart_row(struct printer *p, struct chart *row, int n)
{
    for (int line = 0; line < chart_lines(row[0].height); line++) {
        for (int i = 0; i < n; i++) {
            term_repeat(&p->out, " ", i ? CHART_GAP : 0);
            chart_put_line(&row[i], p->t, &p->out, line);
        }
        buf_putc(&p->out, '\n');
    }
    for (int i = 0; i < n; i++)
        chart_fini(&row[i]);
}

static void put_charts(struct printer *p, int height)
{
    const struct look *l = p->l;
    struct chart row[16];
    int across = (p->t->width + CHART_GAP) / (CHART_WIDTH + CHART_GAP);
    across = across < 1 ? 1 : across > 16 ? 16 : across;
    int width = (p->t->width + CHART_GAP) / across - CHART_GAP, n = 0;
    bool any = false;
    for (size_t i = 0; i < l->n_charts; i++) {
        if (!has_shape(&l->charts[i]))
            continue;
        if (!any)
            heading(p, "Charts");
        any = true;
        chart_init(&row[n++], p->t, l->charts[i].series, l->charts[i].x_name, width, height);
        if (n == across) {
            put_chart_row(p, row, n);
            n = 0;
        }
    }
    if (n)
        put_chart_row(p, row, n);
    if (l->n_left)
        buf_printf(&p->out, "and %zu more: --keys names some, --all shows all\n", l->n_left);
}

/* ---- tables ---- */

static void put_table(void *ctx, struct str name, struct str value)
{
    struct printer *p = ctx;
    AUTO_BUF path = {0};
    AUTO_BUF json = {0};
    if (p->n >= TABLES_SHOWN || !value_is_type(value, "table-file") ||
        !value_string(&path, value_member(value, "path")) || !path_is_safe(buf_str(&path)))
        return;
    AUTO_BUF full = {0};
    buf_printf(&full, "%s/files/%s", p->l->place.folder, buf_z(&path));
    if (os_read_file(buf_z(&full), TABLE_BYTES_MAX, &json) < 0)
        return;
    p->n++;
    buf_putc(&p->out, '\n');
    term_style(p->t, &p->out, TERM_BOLD);
    term_text(p->t, &p->out, name, p->t->width);
    term_plain(p->t, &p->out);
    buf_putc(&p->out, '\n');
    if (table_put(p->t, &p->out, buf_str(&json)) < 0)
        buf_puts(&p->out, "  (the file is no table)\n");
}

/* ---- files, artifacts, alerts, output ---- */

static void put_files(struct printer *p)
{
    const struct replay *r = &p->l->r;
    if (!r->n_files)
        return;
    heading(p, "Files");
    for (size_t i = 0; i < r->n_files && i < FILES_SHOWN; i++) {
        AUTO_BUF full = {0};
        struct stat st;
        buf_printf(&full, "%s/files/%s", p->l->place.folder, r->files[i].path);
        buf_puts(&p->out, "  ");
        term_text(p->t, &p->out, str_of(r->files[i].path), p->t->width - 20);
        if (path_is_safe(str_of(r->files[i].path)) && stat(buf_z(&full), &st) == 0)
            buf_printf(&p->out, "  %lld bytes", (long long)st.st_size);
        buf_putc(&p->out, '\n');
    }
    if (r->n_files > FILES_SHOWN)
        buf_printf(&p->out, "  and %zu more\n", r->n_files - FILES_SHOWN);
}

static void put_artifacts(struct printer *p)
{
    const struct replay *r = &p->l->r;
    if (!r->n_artifacts)
        return;
    heading(p, "Artifacts");
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct replay_artifact *a = &r->artifacts[i];
        AUTO_BUF b = {0};
        buf_printf(&b, "%s (%s)%s%s%s", a->name, a->type, a->used ? ", used" : "",
                   *a->aliases ? ", " : "", a->aliases);
        buf_puts(&p->out, "  ");
        term_text(p->t, &p->out, buf_str(&b), p->t->width - 2);
        buf_putc(&p->out, '\n');
    }
}

static void put_alerts(struct printer *p)
{
    const struct replay *r = &p->l->r;
    if (!r->n_alerts)
        return;
    heading(p, "Alerts");
    for (size_t i = 0; i < r->n_alerts; i++) {
        AUTO_BUF b = {0};
        buf_printf(&b, "%s: %s", r->alerts[i].title, r->alerts[i].text);
        buf_puts(&p->out, "  ");
        term_text(p->t, &p->out, buf_str(&b), p->t->width - 2);
        buf_putc(&p->out, '\n');
    }
}

static void put_output(struct printer *p)
{
    const struct look *l = p->l;
    if (!l->n_lines)
        return;
    heading(p, "Output");
    uint64_t first = l->n_lines > LOOK_LINES ? l->n_lines - LOOK_LINES : 0;
    if (first)
        buf_printf(&p->out, "  (the last %d of %" PRIu64 " lines)\n", LOOK_LINES, l->n_lines);
    for (uint64_t i = first; i < l->n_lines; i++) {
        buf_puts(&p->out, "  ");
        term_text(p->t, &p->out, buf_str(&l->last_lines[i % LOOK_LINES]), p->t->width - 2);
        buf_putc(&p->out, '\n');
    }
}

void look_print_text(const struct look *l, const struct term *t, int height)
{
    struct printer p = {.l = l, .t = t};
    AUTO_BUF config = {0};
    AUTO_BUF summary = {0};
    config_put_json(&l->r.config, &config);
    summary_put_json(&l->r.summary, &summary);
    put_head(&p);
    put_damage(&p);
    put_tree(&p, "Config", buf_str(&config), false);
    put_tree(&p, "Summary", buf_str(&summary), true);
    put_charts(&p, height);
    p.n = 0;
    value_each(buf_str(&summary), false, put_table, &p);
    put_alerts(&p);
    put_artifacts(&p);
    put_files(&p);
    put_output(&p);
    term_flush(&p.out);
    buf_fini(&p.out);
}
