/* SPDX-License-Identifier: MIT */
/* `tare export`: all rows of a run's history, exactly as they were logged.
 *
 * Rows stream from the journal to the output: memory does not grow with them. A CSV file needs its
 * columns first, so the journal is read twice for one. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/random.h"
#include "cli/cli.h"
#include "cli/runs.h"
#include "cli/term.h"
#include "journal/reader.h"
#include "journal/replay.h"
#include "record/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUT_BYTES = 1 << 16 };

struct export
{
    FILE *file;
    struct buf out;
    bool csv, failed;
    const char *keys;   /* "a,b": only these, in this order; NULL for all */
    struct buf path;    /* scratch */
    struct buf name;    /* of the key at hand, dotted */
    struct summary one; /* of a row with nested keys, to make it a tree again */
    /* columns of a CSV file */
    struct summary names; /* slot = column, of the dotted names taken as single labels */
    struct column {
        char *name;
        struct row_entry *entry; /* in the row at hand; NULL if it has none */
    } * columns;
    size_t n_columns, cap_columns;
    size_t first_column; /* 1 if no row has a step (runs in shared mode) */
    uint32_t
        *column_of; /* by slot of the summary: column + 1; 0 not looked up yet; UINT32_MAX none */
    uint32_t n_slots;
    uint64_t n_gaps;
};

static void flush_if_full(struct export *x, size_t full)
{
    if (x->out.len <= full)
        return;
    if (fwrite(x->out.data, 1, x->out.len, x->file) != x->out.len)
        x->failed = true;
    buf_clear(&x->out);
}

/* Is `name` asked for? */
static bool wanted(const struct export *x, struct str name)
{
    if (!x->keys)
        return true;
    for (const char *at = x->keys; *at;) {
        size_t n = strcspn(at, ",");
        if (str_eq(name, str_make(at, n)))
            return true;
        at += n + (at[n] != 0);
    }
    return false;
}

static struct str name_of(struct export *x, const struct replay *r, uint32_t slot)
{
    buf_clear(&x->name);
    summary_dotted(&x->name, &r->summary.slots[slot]);
    return buf_str(&x->name);
}

/* ---- CSV ---- */

/* The column of `name`, SIZE_MAX if it has none. */
static size_t find_column(struct export *x, struct str name)
{
    buf_clear(&x->path);
    wire_buf_bytes(&x->path, 1, name);
    uint32_t at = summary_find(&x->names, buf_str(&x->path));
    return at == SUMMARY_NO_SLOT ? SIZE_MAX : at;
}

static size_t add_column(struct export *x, struct str name)
{
    buf_clear(&x->path);
    wire_buf_bytes(&x->path, 1, name);
    summary_slot(&x->names, buf_str(&x->path));
    if (x->n_columns == x->cap_columns) {
        x->cap_columns = x->cap_columns ? 2 * x->cap_columns : 64;
        x->columns = xmem_realloc(x->columns, x->cap_columns * sizeof *x->columns);
    }
    x->columns[x->n_columns] = (struct column){.name = xmem_strndup(name.p, name.n)};
    return x->n_columns++;
}

/* The column of a slot, by a table that grows with the slots. UINT32_MAX: not wanted. */
static uint32_t column_of(struct export *x, const struct replay *r, uint32_t slot, bool add)
{
    if (slot >= x->n_slots) {
        uint32_t n = r->summary.n + 64;
        x->column_of = xmem_realloc(x->column_of, n * sizeof *x->column_of);
        memset(x->column_of + x->n_slots, 0, (n - x->n_slots) * sizeof *x->column_of);
        x->n_slots = n;
    }
    if (x->column_of[slot])
        return x->column_of[slot] - 1;
    struct str name = name_of(x, r, slot);
    size_t i = find_column(x, name);
    if (i == SIZE_MAX && add && wanted(x, name))
        i = add_column(x, name);
    x->column_of[slot] = i == SIZE_MAX ? UINT32_MAX : (uint32_t)i + 1;
    return x->column_of[slot] - 1;
}

static void on_row_columns(void *ctx, struct replay *r)
{
    struct export *x = ctx;
    for (uint32_t i = 0; i < r->row.n; i++)
        if (r->row.at[i].slot != SUMMARY_NO_SLOT && column_of(x, r, r->row.at[i].slot, true) == 0)
            x->first_column = 0;
}

static void put_csv_text(struct buf *to, struct str s)
{
    bool plain = true;
    for (size_t i = 0; i < s.n && plain; i++)
        plain = s.p[i] != '"' && s.p[i] != ',' && s.p[i] != '\n' && s.p[i] != '\r';
    if (plain) {
        buf_put_str(to, s);
        return;
    }
    buf_putc(to, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_putc(to, '"');
        buf_putc(to, s.p[i]);
    }
    buf_putc(to, '"');
}

/* A number as it stands, a string without its quotes, anything else as JSON; null is empty. */
static void put_csv_value(struct export *x, const struct row_entry *e)
{
    struct str text = str_make(e->text, e->text_len);
    if (e->kind == ROW_NULL)
        return;
    if (e->kind == ROW_NUMBER) {
        buf_put_str(&x->out, text);
        return;
    }
    const char *p = json_skip_space(text.p, text.p + text.n);
    if (*p != '"') {
        put_csv_text(&x->out, text);
        return;
    }
    const char *end = json_skip(p, text.p + text.n);
    buf_clear(&x->name);
    json_unescape(&x->name, str_make(p + 1, (size_t)(end - p) - 2));
    put_csv_text(&x->out, buf_str(&x->name));
}

static void on_row_csv(void *ctx, struct replay *r)
{
    struct export *x = ctx;
    for (size_t i = 0; i < x->n_columns; i++)
        x->columns[i].entry = NULL;
    for (uint32_t i = 0; i < r->row.n; i++) {
        struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        uint32_t c = column_of(x, r, e->slot, false);
        if (c < x->n_columns)
            x->columns[c].entry = e;
    }
    for (size_t i = x->first_column; i < x->n_columns; i++) {
        if (i > x->first_column)
            buf_putc(&x->out, ',');
        if (x->columns[i].entry)
            put_csv_value(x, x->columns[i].entry);
    }
    buf_putc(&x->out, '\n');
    flush_if_full(x, OUT_BYTES);
}

static void put_csv_header(struct export *x)
{
    for (size_t i = x->first_column; i < x->n_columns; i++) {
        if (i > x->first_column)
            buf_putc(&x->out, ',');
        put_csv_text(&x->out, str_of(x->columns[i].name));
    }
    buf_putc(&x->out, '\n');
}

/* ---- JSON lines ---- */

/* Nested keys become objects again. */
static void put_nested_row(struct export *x, struct replay *r)
{
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT || !wanted(x, name_of(x, r, e->slot)))
            continue;
        const struct summary_slot *s = &r->summary.slots[e->slot];
        uint32_t slot = summary_slot(&x->one, str_make(s->path, s->path_len));
        summary_set(&x->one, slot, str_make(e->text, e->text_len));
    }
    summary_put_json(&x->one, &x->out);
    for (uint32_t i = 0; i < x->one.n; i++)
        summary_remove(&x->one, str_make(x->one.slots[i].path, x->one.slots[i].path_len));
}

static void put_flat_row(struct export *x, struct replay *r)
{
    char sep = '{';
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        struct str name = name_of(x, r, e->slot);
        if (!wanted(x, name))
            continue;
        buf_putc(&x->out, sep);
        json_put_string(&x->out, name);
        buf_putc(&x->out, ':');
        buf_append(&x->out, e->text, e->text_len);
        sep = ',';
    }
    if (sep == '{')
        buf_putc(&x->out, '{');
    buf_putc(&x->out, '}');
}

static void on_row_jsonl(void *ctx, struct replay *r)
{
    struct export *x = ctx;
    if (r->row.nested)
        put_nested_row(x, r);
    else
        put_flat_row(x, r);
    buf_putc(&x->out, '\n');
    flush_if_full(x, OUT_BYTES);
}

/* ---- the verb ---- */

static int pass(struct export *x, const char *journal, void (*on_row)(void *, struct replay *),
                struct err *e)
{
    struct replay_events on = {.on_row = on_row};
    struct journal_reader reader;
    struct replay r;
    int rc = journal_reader_open(&reader, journal, e);
    if (rc < 0)
        return rc;
    replay_init(&r, &on, x);
    x->n_slots = 0; /* slots may be numbered otherwise than in the pass before */
    rc = replay_all(&r, &reader);
    if (rc < 0)
        err_set(e, rc, "reading %s: %s", journal, err_text(rc));
    else if (reader.version < 0 && reader.n_records == 0)
        rc = err_set(e, TARE_EFORMAT, "%s is not a .wandb file", journal);
    x->n_gaps = reader.n_gaps;
    replay_fini(&r);
    journal_reader_close(&reader);
    return rc;
}

static void columns_from_keys(struct export *x)
{
    for (const char *at = x->keys; *at;) {
        size_t n = strcspn(at, ",");
        if (n && find_column(x, str_make(at, n)) == SIZE_MAX)
            add_column(x, str_make(at, n));
        at += n + (at[n] != 0);
    }
}

static int run_export(struct export *x, const char *journal, struct err *e)
{
    if (!x->csv)
        return pass(x, journal, on_row_jsonl, e);
    int rc = 0;
    if (x->keys) {
        columns_from_keys(x);
    } else {
        add_column(x, STR("_step"));
        x->first_column = 1; /* until a row has one */
        rc = pass(x, journal, on_row_columns, e);
    }
    if (rc < 0)
        return rc;
    put_csv_header(x);
    return pass(x, journal, on_row_csv, e);
}

static void export_fini(struct export *x)
{
    for (size_t i = 0; i < x->n_columns; i++)
        mem_free(x->columns[i].name);
    mem_free(x->columns);
    mem_free(x->column_of);
    buf_fini(&x->out);
    buf_fini(&x->name);
    buf_fini(&x->path);
    summary_fini(&x->one);
    summary_fini(&x->names);
}

static int export_to(FILE *file, const char *journal, bool csv, const char *keys)
{
    struct export x = {.file = file, .csv = csv, .keys = keys};
    struct err e = {0};
    summary_init(&x.one, random_u32());
    summary_init(&x.names, random_u32());
    x.one.shows_null = true;
    int rc = run_export(&x, journal, &e);
    flush_if_full(&x, 0);
    if (rc < 0)
        rc = cli_fail("export", "%s", e.text);
    else if (fflush(file) != 0 || x.failed)
        rc = errno == EPIPE ? CLI_OK : cli_fail("export", "writing: %s", strerror(errno));
    if (x.n_gaps)
        fprintf(stderr,
                "tare export: %s has %llu damaged part%s, whose rows are missing; "
                "`tare verify` lists them\n",
                journal, (unsigned long long)x.n_gaps, x.n_gaps == 1 ? "" : "s");
    export_fini(&x);
    return rc;
}

/* Write to `path`, which must not exist. */
static int export_to_file(const char *path, const char *journal, bool csv, const char *keys)
{
    FILE *file = fopen(path, "wxe");
    if (!file)
        return cli_fail("export", "creating %s: %s%s", path, strerror(errno),
                        errno == EEXIST ? " (remove it, or name another)" : "");
    int rc = export_to(file, journal, csv, keys);
    if (fclose(file) != 0 && rc == CLI_OK)
        rc = cli_fail("export", "writing %s: %s", path, strerror(errno));
    return rc;
}

static int verb_export(int argc, char **argv)
{
    const char *format = "csv", *dir = NULL, *keys = NULL, *output = NULL;
    const struct cli_option options[] = {
        {"format", 'f', NULL, &format},
        {"keys", 'k', NULL, &keys},
        {"output", 'o', NULL, &output},
        {"dir", 'd', NULL, &dir},
    };
    int exit_code;
    int n = cli_options(argc, argv, options, 4, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n != 1)
        return cli_misuse("export", n ? "name one run" : "name a run: an id, a path, or `latest`");
    bool csv = strcmp(format, "csv") == 0;
    if (!csv && strcmp(format, "jsonl") != 0)
        return cli_misuse("export", "there is no format '%s'; csv and jsonl are known", format);
    struct run_place place;
    struct err e = {0};
    if (run_find(&place, argv[1], dir, &e) < 0)
        return cli_fail("export", "%s", e.text);
    int rc = output ? export_to_file(output, place.journal, csv, keys)
                    : export_to(stdout, place.journal, csv, keys);
    run_place_fini(&place);
    return rc;
}

const struct cli_verb cli_export = {
    "export",
    "write a run's history as CSV or JSON lines",
    verb_export,
    "usage: tare export [OPTION...] RUN\n"
    "\n"
    "Write every row of the run's history, in the order of the journal. RUN is an id (or the "
    "start\n"
    "of one), the path of a .wandb file or of a run's folder, or `latest`.\n"
    "\n"
    "  -f, --format csv|jsonl  csv if not given\n"
    "  -k, --keys A,B,...      only these keys\n"
    "  -o, --output FILE       a new file instead of standard output\n"
    "  -d, --dir DIR           where ids are looked for; $WANDB_DIR or the current folder if not "
    "given\n"
    "\n"
    "Numbers are written digit for digit as they were logged; NaN, Infinity and -Infinity too\n"
    "(in JSON lines as these bare words, which Python's json reads).\n"
    "csv: one column for each key that any row has, `_step` first; a key in a nested value is\n"
    "written a.b; no value, and null, are empty; lists are JSON.\n"
    "jsonl: one object a row; nested values are objects again.\n"
    "\n"
    "Exit code: 0 done (also if parts of the journal are damaged; that is said), 1 failed, 2 wrong "
    "use.\n",
};
