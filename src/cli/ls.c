/* SPDX-License-Identifier: MIT */
/* `tare ls`: the runs in a folder. */
#include "base/alloc.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/state.h"
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
    reader.live = run_is_being_written(place->journal);
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
    buf_printf(
        b,
        ",\"state\":\"%s\",\"exit_code\":%d,\"started\":%.3f,\"seconds\":%.3f,\"rows\":%" PRIu64
        ",\"damaged_parts\":%" PRIu64 ",\"folder\":",
        run_state_name(l->state), l->exit_code, (double)l->start_ns / 1e9, l->seconds, l->n_rows,
        l->n_gaps);
    json_put_string(b, str_of(p->folder));
    buf_puts(b, "}\n");
}

enum {
    ID_COLUMNS = 10,
    STATE_COLUMNS = 12,
    TIME_COLUMNS = 19,
    TOOK_COLUMNS = 14,
    ROWS_COLUMNS = 10
};

static void put_cell(const struct term *t, struct buf *b, const char *z, int columns)
{
    term_cell(t, b, str_of(z), columns);
    buf_puts(b, "  ");
}

static void put_text(const struct term *t, struct buf *b, const struct run_place *p,
                     const struct line *l)
{
    AUTO_BUF state = {0};
    AUTO_BUF time = {0};
    AUTO_BUF took = {0};
    AUTO_BUF name = {0};
    buf_puts(&state, run_state_name(l->state));
    if (l->state == RUN_FAILED)
        buf_printf(&state, " (%d)", l->exit_code);
    put_time(&time, l->start_ns);
    put_duration(&took, l->seconds);
    buf_printf(&name, "%s%s%s%s", l->project, *l->project && *l->name ? "/" : "", l->name,
               l->n_gaps ? " (damaged)" : "");
    put_cell(t, b, p->id, ID_COLUMNS);
    term_style(t, b, run_state_style(l->state));
    term_cell(t, b, buf_str(&state), STATE_COLUMNS);
    term_plain(t, b);
    buf_puts(b, "  ");
    put_cell(t, b, buf_z(&time), TIME_COLUMNS);
    put_cell(t, b, buf_z(&took), TOOK_COLUMNS);
    buf_printf(b, "%*" PRIu64 "  ", ROWS_COLUMNS, l->n_rows);
    int used = ID_COLUMNS + STATE_COLUMNS + TIME_COLUMNS + TOOK_COLUMNS + ROWS_COLUMNS + 10;
    term_text(t, b, buf_str(&name), t->width > used + 10 ? t->width - used : 10);
    buf_putc(b, '\n');
}

static void put_head(const struct term *t, struct buf *b)
{
    term_style(t, b, TERM_BOLD);
    put_cell(t, b, "ID", ID_COLUMNS);
    put_cell(t, b, "STATE", STATE_COLUMNS);
    put_cell(t, b, "STARTED", TIME_COLUMNS);
    put_cell(t, b, "TOOK", TOOK_COLUMNS);
    buf_printf(b, "%*s  PROJECT/NAME", ROWS_COLUMNS, "ROWS");
    term_plain(t, b);
    buf_putc(b, '\n');
}

static int list(const char *dir, bool json)
{
    struct run_list runs;
    struct err e = {0};
    struct term t;
    AUTO_BUF b = {0};
    int rc = CLI_OK;
    if (run_list_read(&runs, dir, &e) < 0)
        return cli_fail("ls", "%s", e.text);
    term_init(&t);
    if (runs.n == 0 && !json)
        fprintf(stderr, "there are no runs under '%s'\n", dir);
    if (runs.n && !json)
        put_head(&t, &b);
    for (size_t i = 0; i < runs.n; i++) {
        const struct run_place *p = &runs.at[json ? i : runs.n - 1 - i]; /* newest on top */
        struct line l = {0};
        if (read_line(&l, p, &e) < 0) {
            rc = cli_fail("ls", "%s", e.text);
        } else {
            json ? put_json(&b, p, &l) : put_text(&t, &b, p, &l);
            term_flush(&b);
        }
        line_fini(&l);
    }
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
