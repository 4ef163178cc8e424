/* SPDX-License-Identifier: MIT */
/* Where a journal's run began, kept in FILE.syncstate beside it, so that what is sent again goes to
 * where it went before:
 *
 *   {"starting_step":5,"starting_runtime":7000,"lines":{"http://host ent/proj/id":[100,0,12]},
 *    "done":true}
 *
 * The first two are the peer's (core/internal/runsyncstate), in steps and milliseconds. `lines` is
 * ours: for each backend and run that this journal was brought to, how many lines of history, events
 * and console stood there before its first one. Without it, a second sync would append (as the peer's
 * does), since a backend only tells how many there are by then. `done`: all of the journal has arrived
 * somewhere; without it `tare sync` takes up an online run that was cut off. Where the journal's folder
 * takes no file (it is another's, read-only, full), it is $XDG_STATE_HOME or ~/.local/state, then
 * /tare/sync/HASH-OF-THE-PATH.json. These functions block; any thread. */
#ifndef TARE_SERVICE_STREAM_START_STATE_H
#define TARE_SERVICE_STREAM_START_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct start_state {
    int64_t step, runtime_ms;
    uint64_t lines[3]; /* history, events, console */
};

/* Replace step and runtime in `s` by those that are kept. 0 (also if nothing is), or why the file
 * cannot be read. */
int start_state_read(const char *path, struct start_state *s);

/* The first time for `place`: keep all of `s`. Later: lower `lines`, which the backend told, to what
 * was kept. 0, or why it could not be kept. */
int start_state_settle(const char *path, const char *place, struct start_state *s);

int start_state_set_done(const char *path);
/* Some of the journal was brought to a backend, by us, but not all. */
bool start_state_is_cut_off(const char *path);

#endif
