/* SPDX-License-Identifier: MIT */
/* How far a run got. */
#ifndef TARE_CLI_STATE_H
#define TARE_CLI_STATE_H

#include "base/buf.h"
#include "cli/runs.h"
#include "cli/term.h"
#include "journal/replay.h"

enum run_state {
    RUN_RUNNING,    /* its journal is open in some service */
    RUN_FINISHED,   /* it ended with exit code 0 */
    RUN_FAILED,     /* it ended with another */
    RUN_UNFINISHED, /* no end in the journal, which was written to a moment ago */
    RUN_CRASHED,    /* no end in the journal, and nobody has written to it for minutes */
};

enum run_state run_state_of(const struct replay *r, const char *journal);
const char *run_state_name(enum run_state s);
enum term_style run_state_style(enum run_state s);

/* Seconds from start to end, or to now for a run that is alive, or to the last write. */
double run_seconds(const struct replay *r, enum run_state s, const char *journal);

/* "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h" */
void put_duration(struct buf *to, double seconds);
/* "2026-11-23 14:51:01", local time; "" for 0 */
void put_time(struct buf *to, int64_t ns);

#endif
