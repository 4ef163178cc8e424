/* SPDX-License-Identifier: MIT */
/* The console output of runs: numbered lines, of which any may be written again (progress bars).
 *
 * Functions that write run inside a job, those that read on a reader or in a job. */
#ifndef TARE_SERVER_STORE_CONSOLE_H
#define TARE_SERVER_STORE_CONSOLE_H

#include "base/buf.h"
#include "server/store/db.h"

/* Write lines from `first_line` on, over what is there. Lines may leave a gap before them.
 * Expected: TARE_EFORMAT (stored lines are damaged), TARE_ENOMEM, TARE_ENOSPACE. */
int console_write(struct db_conn *c, int64_t run, int64_t first_line, const struct str *lines,
                  size_t n, struct err *e);

/* Called for each line, borrowed for the call; a negative answer ends the reading and is its result. */
typedef int (*console_line_fn)(void *arg, int64_t number, struct str line);

/* Lines with number >= `from`, at most `max`, rising. */
int console_read(struct db_conn *c, int64_t run, int64_t from, int64_t max, console_line_fn on_line,
                 void *arg, struct err *e);

int console_clear(struct db_conn *c, int64_t run, struct err *e);

/* What a line says, whichever form the client sent: plain text
 * ("ERROR 2026-11-23T10:58:13.610258 [label] text") or JSON ({"ts":..,"content":..,"level":..,"label":..}).
 * Absent parts are {NULL, 0}. The slices point into `line` or `scratch`. */
struct console_parts {
    struct str timestamp, level, label, text;
};
void console_split(struct str line, struct buf *scratch, struct console_parts *to);

#endif
