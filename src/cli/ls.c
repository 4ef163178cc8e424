/* SPDX-License-Identifier: MIT */
/* `tare ls`: the runs in a folder. */
#include "base/alloc.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/state.h"
#include "cli/writers.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct line {
    char *name, *project;
    enum run_state state;
    int exit_code;
    int64_t start_ns;
    double seconds;
    uint64_t n_rows, n_gaps;
};

/* Read a run far enough for its line; rows are only counted. */
static int read_line(struct line *to, const struct run_place *place, struct err *e)
{
    struct journal_reader reader;
    struct replay r;
    int rc = journal_reader_open(&reader, place->journal, e);
    if (rc < 0)
        return rc;
    replay_init(&r, NULL, NULL);
    r.skip_rows = true;
    reader.live = writers_hold(place->journal);
    rc = replay_all(&r, &reader);
    *to = (struct line){
        .name = xmem_strdup(r.name ? r.name : ""),
        .project = xmem_strdup(r.project ? r.project : ""),
        .state = run_state_of(&r, place->journal),
        .exit_code = r.exit_code,
        .start_ns = r.start_ns,
        .n_rows = r.n_rows,
        .n_gaps = reader.n_gaps,
    };
    to->seconds = run_seconds(&r, to->state, place->journal);
    replay_fini(&r);
    journal_reader_close(&reader);
    return rc < 0 ? err_set(e, rc, "reading %s: %s", place->journal, err_text(rc)) : 0;
}

static void line_fini(struct line *l)
{
    mem_free(l->name);
    mem_free(l->project);
}

static void put_json(struct buf *b, const struct run_place *p, const struct line *l)
{
    buf_puts(b, "{\"id\":");
    json_put_string(b, str_of(p->id));
    buf_puts(b, ",\"name\":");
    json_put_string(b, str_of(l->name));
    buf_puts(b, ",\"project\":");
    json_put_string(b, str_of(l->project));
    buf_printf(b, ",\"state\":\"%s\"", run_state_name(l->state));
    if (l->state == RUN_FINISHED || l->state == RUN_FAILED)
        buf_printf(b, ",\"exit_code\":%d", l->exit_code);
    buf_printf(b,
               ",\"started\":%.3f,\"seconds\":%.3f,\"rows\":%" PRIu64 ",\"damaged_parts\":%" PRIu64
               ",\"folder\":",
               (double)l->start_ns / 1e9, l->seconds, l->n_rows, l->n_gaps);
    json_put_string(b, str_of(p->folder));
    buf_puts(b, "}\n");
}

/* The table: cells as text, and how wide each column has to be. */
enum { ID, STATE, STARTED, TOOK, ROWS, NAME, N_COLUMNS };

struct table {
    struct buf (*cells)[N_COLUMNS];
    enum run_state *states;
    size_t n;
    int width[N_COLUMNS];
};

static const char *const titles[N_COLUMNS] = {"ID",   "STATE", "STARTED",
                                              "TOOK", "ROWS",  "PROJECT/NAME"};

static void measure(struct table *table, const struct term *t, int column, struct str text)
{
    int w = term_columns(t, text);
    if (w > table->width[column])
        table->width[column] = w;
}

static void add_row(struct table *table, const struct term *t, const struct run_place *p,
                    const struct line *l)
{
    table->cells = xmem_realloc(table->cells, (table->n + 1) * sizeof *table->cells);
    table->states = xmem_realloc(table->states, (table->n + 1) * sizeof *table->states);
    struct buf *cell = table->cells[table->n];
    memset(cell, 0, sizeof *table->cells);
    table->states[table->n++] = l->state;
    buf_puts(&cell[ID], p->id);
    buf_puts(&cell[STATE], run_state_name(l->state));
    if (l->state == RUN_FAILED)
        buf_printf(&cell[STATE], " (%d)", l->exit_code);
    put_time(&cell[STARTED], l->start_ns);
    put_duration(&cell[TOOK], l->seconds);
    buf_printf(&cell[ROWS], "%" PRIu64, l->n_rows);
    buf_printf(&cell[NAME], "%s%s%s%s", l->project, *l->project && *l->name ? "/" : "", l->name,
               l->n_gaps ? " (damaged)" : "");
    for (int i = 0; i < N_COLUMNS; i++)
        measure(table, t, i, buf_str(&cell[i]));
}

static void put_cell(const struct table *table, const struct term *t, struct buf *b, int column,
                     struct str text)
{
    int width = table->width[column];
    if (column == ROWS)
        term_repeat(b, " ", width - term_columns(t, text));
    if (column == ROWS || column == NAME)
        term_text(t, b, text, width);
    else
        term_cell(t, b, text, width);
    buf_puts(b, column == NAME ? "\n" : "  ");
}

/* The name gets what the others leave. */
static void put_table(struct table *table, const struct term *t)
{
    AUTO_BUF b = {0};
    int left = t->width;
    for (int i = 0; i < N_COLUMNS; i++)
        measure(table, t, i, str_of(titles[i]));
    for (int i = 0; i < NAME; i++)
        left -= table->width[i] + 2;
    if (t->tty && table->width[NAME] > left)
        table->width[NAME] = left > 8 ? left : 8;
    term_style(t, &b, TERM_BOLD);
    for (int i = 0; i < N_COLUMNS; i++)
        put_cell(table, t, &b, i, str_of(titles[i]));
    term_plain(t, &b);
    for (size_t row = 0; row < table->n; row++) {
        for (int i = 0; i < N_COLUMNS; i++) {
            if (i == STATE)
                term_style(t, &b, run_state_style(table->states[row]));
            put_cell(table, t, &b, i, buf_str(&table->cells[row][i]));
            if (i == STATE)
                term_plain(t, &b);
        }
    }
    term_flush(&b);
}

static void table_fini(struct table *table)
{
    for (size_t row = 0; row < table->n; row++)
        for (int i = 0; i < N_COLUMNS; i++)
            buf_fini(&table->cells[row][i]);
    mem_free(table->cells);
    mem_free(table->states);
}

static int list(const char *dir, bool json)
{
    struct run_list runs;
    struct err e = {0};
    struct term t;
    struct table table = {0};
    AUTO_BUF b = {0};
    int rc = CLI_OK;
    if (run_list_read(&runs, dir, &e) < 0)
        return cli_fail("ls", "%s", e.text);
    term_init(&t);
    if (runs.n == 0 && !json)
        fprintf(stderr, "there are no runs under '%s'\n", dir);
    for (size_t i = 0; i < runs.n; i++) {
        const struct run_place *p = &runs.at[json ? i : runs.n - 1 - i]; /* newest on top */
        struct line l = {0};
        if (read_line(&l, p, &e) < 0) {
            rc = cli_fail("ls", "%s", e.text);
        } else {
            json ? put_json(&b, p, &l) : add_row(&table, &t, p, &l);
            term_flush(&b);
        }
        line_fini(&l);
    }
    if (table.n)
        put_table(&table, &t);
    table_fini(&table);
    run_list_fini(&runs);
    return rc;
}

static int verb_ls(int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", 0, &json, NULL}};
    int exit_code;
    int n = cli_options(argc, argv, options, 1, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n > 1)
        return cli_misuse("ls", "name one folder");
    return cli_flush("ls", list(n ? argv[1] : runs_default_dir(), json));
}

const struct cli_verb cli_ls = {
    "ls",
    "list the runs in a folder",
    verb_ls,
    "usage: tare ls [--json] [DIR]\n"
    "\n"
    "List the runs in DIR, or in the folder `wandb` in it, newest first: id, state, start, "
    "duration,\n"
    "rows of history, project and name. Without DIR: $WANDB_DIR, or the current folder. Runs of "
    "the wandb\n"
    "package's own service are listed as well. `tare help show` explains the states.\n"
    "\n"
    "  --json   one JSON object a run, oldest first\n"
    "\n"
    "Exit code: 0 done (also if there are none), 1 something could not be read, 2 wrong use.\n",
};
