/* SPDX-License-Identifier: MIT */
/* `tare tail`: a run's rows and console output as they come, until the run ends.
 *
 * The journal is looked at ten times a second. What ends it: the exit record; that nobody has the
 * journal open for writing any more (the service was killed, perhaps long ago); --idle. */
#include "base/alloc.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/state.h"
#include "cli/value.h"
#include "cli/writers.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_NS = 100000000, DEFAULT_ROWS = 10, STUCK_LOOKS = 30, HISTORY_MAX = 1000 };

struct tail {
    struct term term;
    bool json, no_output;
    struct buf out;
    struct lines lines;
    struct buf name;
    /* Before the run is caught up with, only the last rows and lines are kept. */
    bool following;
    size_t n_last; /* how many of them to show; 0: all */
    struct buf *last;
    uint64_t n_kept;
    uint64_t n_gaps;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* A line is ready in t->out. */
static void give(struct tail *t)
{
    if (t->following || !t->n_last) {
        term_flush(&t->out);
        return;
    }
    struct buf *b = &t->last[t->n_kept++ % t->n_last];
    buf_clear(b);
    buf_put_str(b, buf_str(&t->out));
    buf_clear(&t->out);
}

static void catch_up(struct tail *t)
{
    uint64_t first = t->n_last && t->n_kept > t->n_last ? t->n_kept - t->n_last : 0;
    for (uint64_t i = first; i < t->n_kept; i++)
        term_flush(&t->last[i % t->n_last]);
    t->following = true;
    fflush(stdout);
}

static void put_row_text(struct tail *t, const struct replay *r)
{
    AUTO_BUF line = {0};
    AUTO_BUF value = {0};
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        buf_clear(&t->name);
        buf_clear(&value);
        summary_dotted(&t->name, &r->summary.slots[e->slot]);
        if (t->name.len && t->name.data[0] == '_')
            continue;
        value_put(&value, str_make(e->text, e->text_len), true, t->term.utf8);
        buf_printf(&line, "  %.*s=%.*s", STR_ARG(buf_str(&t->name)), STR_ARG(buf_str(&value)));
    }
    term_style(&t->term, &t->out, TERM_DIM);
    buf_printf(&t->out, "%6" PRId64, r->has_step ? r->step : (int64_t)r->n_rows - 1);
    term_plain(&t->term, &t->out);
    term_text(&t->term, &t->out, buf_str(&line), t->term.tty ? t->term.width - 6 : 1 << 20);
    buf_putc(&t->out, '\n');
    give(t);
}

static void put_row_json(struct tail *t, const struct replay *r)
{
    struct summary one;
    summary_init(&one, 1);
    one.shows_null = true;
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        const struct summary_slot *s = &r->summary.slots[e->slot];
        summary_set(&one, summary_slot(&one, str_make(s->path, s->path_len)),
                    str_make(e->text, e->text_len));
    }
    summary_put_json(&one, &t->out);
    summary_fini(&one);
    buf_putc(&t->out, '\n');
    give(t);
}

static void on_row(void *ctx, struct replay *r)
{
    struct tail *t = ctx;
    t->json ? put_row_json(t, r) : put_row_text(t, r);
}

static void on_line(void *ctx, struct str line, bool is_stderr)
{
    struct tail *t = ctx;
    (void)is_stderr;
    buf_puts(&t->out, t->term.utf8 ? "\u2502 " : "| ");
    term_text(&t->term, &t->out, line, t->term.tty ? t->term.width - 2 : 1 << 20);
    buf_putc(&t->out, '\n');
    give(t);
}

static void on_output(void *ctx, struct str text, bool raw, bool is_stderr, int64_t time_ns)
{
    struct tail *t = ctx;
    (void)time_ns;
    if (t->json || t->no_output)
        return;
    lines_put(&t->lines, text, is_stderr);
    if (!raw && !str_ends(text, STR("\n")))
        lines_put(&t->lines, STR("\n"), is_stderr);
}

/* All records that are there. 0, or a negative code. */
static int drain(struct tail *t, struct replay *r, struct journal_reader *reader)
{
    struct journal_item item;
    int rc;
    while ((rc = journal_reader_next(reader, &item)) > 0) {
        if (rc == JOURNAL_RECORD)
            replay_record(r, item.bytes);
        else
            fprintf(stderr, "tare tail: %" PRIu64 " bytes at %" PRIu64 " left out: %s\n",
                    item.gap.bytes, item.gap.offset, item.gap.reason);
    }
    return rc;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static off_t size_of(const struct journal_reader *reader)
{
    struct stat st;
    return fstat(reader->fd, &st) == 0 ? st.st_size : 0;
}

/* Follow until the run ends. The exit code. */
static int follow(struct tail *t, struct replay *r, struct journal_reader *reader,
                  const char *journal, double idle_s)
{
    bool was_written = writers_hold(journal);
    int64_t last_news = clock_mono_ns();
    off_t size = size_of(reader);
    int stuck = 0, rc = drain(t, r, reader);
    catch_up(t);
    if (run_state_of(r, journal) == RUN_CRASHED)
        return rc;
    while (rc == 0 && !r->exited && !stopped) {
        bool written = writers_hold(journal);
        off_t now = size_of(reader);
        if (now != size) {
            size = now;
            last_news = clock_mono_ns();
            stuck = 0;
        } else if (was_written && !written) {
            break; /* the last bytes have been read before we looked */
        } else if (idle_s > 0 && (double)(clock_mono_ns() - last_news) / 1e9 > idle_s) {
            break;
        } else if (journal_reader_offset(reader) < (uint64_t)size && ++stuck == STUCK_LOOKS) {
            reader->live = false; /* what stands there will not become whole */
            rc = drain(t, r, reader);
            reader->live = true;
            continue;
        } else {
            nap();
        }
        was_written |= written;
        rc = drain(t, r, reader);
        fflush(stdout);
    }
    return rc;
}

static int say_end(const struct replay *r, const char *journal, bool json)
{
    if (json)
        return CLI_OK;
    AUTO_BUF b = {0};
    enum run_state s = run_state_of(r, journal);
    buf_printf(&b, "run %s", run_state_name(s));
    if (s == RUN_FAILED)
        buf_printf(&b, " (exit code %d)", r->exit_code);
    buf_printf(&b, ", %" PRIu64 " rows\n", r->n_rows);
    fwrite(b.data, 1, b.len, stderr);
    return CLI_OK;
}

static int tail_journal(struct tail *t, const char *journal, double idle_s)
{
    static const struct replay_events on = {on_row, on_output, NULL};
    struct journal_reader reader;
    struct replay r;
    struct err e = {0};
    if (journal_reader_open(&reader, journal, &e) < 0)
        return cli_fail("tail", "%s", e.text);
    reader.live = true;
    replay_init(&r, &on, t);
    int rc = follow(t, &r, &reader, journal, idle_s);
    lines_end(&t->lines);
    rc = rc < 0 ? cli_fail("tail", "reading %s: %s", journal, err_text(rc))
                : say_end(&r, journal, t->json);
    replay_fini(&r);
    journal_reader_close(&reader);
    return rc;
}

static int verb_tail(int argc, char **argv)
{
    struct tail t = {.n_last = DEFAULT_ROWS};
    const char *dir = NULL, *n_text = NULL, *idle = NULL;
    const struct cli_option options[] = {
        {"json", 0, &t.json, NULL},    {"no-output", 0, &t.no_output, NULL},
        {"lines", 'n', NULL, &n_text}, {"idle", 0, NULL, &idle},
        {"dir", 'd', NULL, &dir},
    };
    int exit_code;
    int n = cli_options(argc, argv, options, 5, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n > 1)
        return cli_misuse("tail", "name one run");
    if (n_text)
        t.n_last = (size_t)strtoul(n_text, NULL, 10);
    if (t.n_last > HISTORY_MAX)
        t.n_last = 0;
    struct run_place place;
    struct err e = {0};
    if (run_find(&place, n ? argv[1] : "latest", dir, &e) < 0)
        return cli_fail("tail", "%s", e.text);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    term_init(&t.term);
    t.lines.on_line = on_line;
    t.lines.ctx = &t;
    t.last = xmem_calloc(t.n_last + 1, sizeof *t.last);
    int rc = tail_journal(&t, place.journal, idle ? atof(idle) : 0);
    for (size_t i = 0; i < t.n_last; i++)
        buf_fini(&t.last[i]);
    mem_free(t.last);
    buf_fini(&t.out);
    buf_fini(&t.name);
    lines_fini(&t.lines);
    run_place_fini(&place);
    return cli_flush("tail", rc);
}

const struct cli_verb cli_tail = {
    "tail",
    "follow a run while it goes on",
    verb_tail,
    "usage: tare tail [OPTION...] [RUN]\n"
    "\n"
    "Print the last rows of history and lines of console output of a run (without RUN: of the\n"
    "newest), and go on with each that comes, until the run ends or its service is gone.\n"
    "\n"
    "  -n, --lines N      so many of what was there before; 10 if not given; above 1000, all\n"
    "      --json         rows only, one JSON object each\n"
    "      --no-output    rows only\n"
    "      --idle SECONDS give up when the journal has not grown for so long\n"
    "  -d, --dir DIR      where ids are looked for; $WANDB_DIR or the current folder if not given\n"
    "\n"
    "Exit code: 0 the run ended, or you stopped it (Ctrl-C); 1 there is no such run, 2 wrong "
    "use.\n",
};
