/* SPDX-License-Identifier: MIT */
/* The captured console output of a run: what came, as a terminal would show it, in output.log.
 *
 * Bytes come in (output_raw and output_logger records), the last lines may change (console_term),
 * settled lines go to the file. The file is written by jobs on the worker threads, at most one
 * every CONSOLE_WRITE_EVERY_NS, and holds no descriptor between two writes. What is in memory: the
 * last CONSOLE_WINDOW lines, and the settled ones since the last write.
 *
 * The journal is not this module's business: it keeps the records as they came. Loop thread. */
#ifndef TARE_SERVICE_STREAM_CONSOLE_H
#define TARE_SERVICE_STREAM_CONSOLE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct console;

enum {
    CONSOLE_WRITE_NOW_BYTES = 256 << 10, /* settled text that is written without waiting */
    CONSOLE_MAX_BACKLOG_BYTES = 8 << 20, /* settled text kept while the disk does not take it */
    CONSOLE_TOTAL_BACKLOG_BYTES = 64 << 20, /* of all runs together; beyond it each may keep */
    CONSOLE_SCARCE_BACKLOG_BYTES = 64 << 10,
};
#define CONSOLE_WRITE_EVERY_NS (5LL * 1000000000) /* as the peer */
#define CONSOLE_FIRST_WRITE_NS (1LL * 1000000000) /* after the first line */

struct console_options {
    const char *files_dir; /* the run's files folder; borrowed until console_free */
    const char *label;     /* x_label: part of the file's name; "" for none; borrowed */
    bool capture;          /* false: `console` is "off", output_raw records are ignored */
    bool multipart;        /* files logs/output_TIME.log in place of output.log */
    int32_t chunk_max_bytes, chunk_max_seconds; /* when a part ends; 0 for never */
};

/* One write of a file: done by console_write_run on a worker thread, which touches nothing else. */
struct console_write {
    char *path;            /* absolute or as files_dir is; owned */
    uint64_t offset;       /* where `bytes` go; the file ends behind them */
    size_t settled_bytes;  /* of `bytes`: will not change any more */
    bool is_first;         /* make the folder, empty the file */
    struct buf bytes;
    int rc;                /* set by console_write_run: 0 or a negative errno value */
};

struct console *console_new(const struct console_options *options);
void console_free(struct console *c);

/* Text that the program wrote to stdout or stderr. */
void console_output(struct console *c, bool is_error, struct str text, int64_t now_ns);

/* A line that the program gave to run.write_logs(): kept whole, as it is; newlines divide it. */
void console_line(struct console *c, struct str text, int64_t now_ns);

/* Append the name of the file that output goes to when it is not in parts: output.log. */
void console_put_name(struct buf *to, const char *label);

/* When there is something to write (wall ns); INT64_MAX for nothing, or while a write runs. */
int64_t console_deadline(const struct console *c);

/* What to write now, or NULL. The caller runs console_write_run and gives it back with
 * console_written; until then there is no other. `is_last`: the run is over, everything settles. */
struct console_write *console_take_write(struct console *c, int64_t now_ns, bool is_last);
void console_write_run(struct console_write *w);
/* Frees `w`. After a failure the text is kept and tried again; the first failure is returned once
 * for the caller to report, later ones answer 0. */
int console_written(struct console *c, struct console_write *w, int64_t now_ns);

/* Lines that did not reach the file because the disk did not take them in time. */
uint64_t console_lines_lost(const struct console *c);

#endif
