/* SPDX-License-Identifier: MIT */
/* What runs log, in the database: the metric history (stream 0) and the system events (stream 1).
 *
 * Lines are numbered by the client from 0 and stored by number: a line that is there already is not
 * stored again, whatever comes in its place, so retries, duplicates and reordering change nothing. Rows
 * come back with exactly the values they were sent with. Small batches are kept as they come (the tail,
 * level 0) and are merged into larger segments in the background (history_merge).
 *
 * Functions that write take a connection inside a job (db_write); those that read take a reader's
 * (db_read_begin) or a job's. `run` is runs.id. Steps are those of `_step`, the line number for lines
 * that have none. */
#ifndef TARE_SERVER_STORE_HISTORY_H
#define TARE_SERVER_STORE_HISTORY_H

#include "server/store/db.h"
#include "server/store/segment.h"

enum history_stream { HISTORY_METRICS, HISTORY_EVENTS, HISTORY_STREAMS };

/* ---- writing ---- */

/* Lines encoded off the writer thread, ready to be stored. */
struct history_batch {
    uint32_t n_segments;
    struct segment *segments;
    int64_t first_line, n_lines, max_step;
    size_t n_bytes; /* encoded: the weight for db_submit */
};
void history_batch_fini(struct history_batch *b);

/* Encode all rows of `rs` (at least one) as the lines from `first_line` on. `level` is the compressor's: 1 on
 * the way in. 0 or TARE_ENOMEM. Any thread. */
int history_batch_encode(const struct rowset *rs, int64_t first_line, int level,
                         struct history_batch *to);

/* What storing changed, to be put into the run's counters. Zero-initialised is no change. */
struct history_change {
    int64_t end_line[HISTORY_STREAMS]; /* one past the last line that came */
    int64_t last_step;                 /* of the history */
    int64_t tail_segments, tail_lines, n_bytes;
};

/* Store those lines of `b` that are not there yet. `writer` is 0, or tells apart clients that share the
 * run, each of which numbers its own lines. Adds to *change.
 * Expected: TARE_ENOMEM, TARE_ENOSPACE, TARE_EIO. In a job. */
int history_append(struct db_conn *c, int64_t run, enum history_stream stream, int64_t writer,
                   const struct history_batch *b, struct history_change *change, struct err *e);

/* Bring the run's counters up to date. In the same job. */
int history_apply(struct db_conn *c, int64_t run, const struct history_change *change, struct err *e);

/* Drop all rows of the history with step > `max_step`; those left are numbered anew from 0. *lines is then
 * the number the next line has to have. The run's counters follow. In a job. */
int history_rewind(struct db_conn *c, int64_t run, int64_t max_step, int64_t *lines, struct err *e);

/* Copy the history of `from` with step <= `max_step` to the new run `to` (a fork). In a job. */
int history_copy(struct db_conn *c, int64_t from, int64_t to, int64_t max_step, int64_t *lines,
                 struct err *e);

/* Drop a stream of a run; its counters become 0. In a job. */
int history_clear(struct db_conn *c, int64_t run, enum history_stream stream, struct err *e);

/* Merge the tail of `run` where there is enough of it, or all of it with `finish`. Reads, encodes, then
 * writes in one short job; a change of the run in between makes it give up quietly. How many
 * segments it put together. Any thread but the writer's. */
int history_merge(struct db *db, int64_t run, bool finish, struct err *e);

/* Merge where it is due: runs with much tail, and those that have ended with any; a part of them if there
 * are very many. How many segments were merged: 0 when there is nothing to do. For the janitor. */
int history_merge_due(struct db *db, struct err *e);

/* ---- reading ---- */

struct history_query {
    int64_t run;
    enum history_stream stream;
    const struct str *keys; /* dotted names, which stand in the rows as they are here: {"a.b":1}; the name of
                               an object gives all of it: {"a":{"b":1}} */
    uint32_t n_keys;        /* 0: all keys. Otherwise only rows that have every key */
    int64_t min_step;       /* inclusive */
    int64_t max_step;       /* exclusive; INT64_MAX for all */
    int64_t samples;        /* thin evenly to so many rows, the first and last stay; 0: all rows */
    bool strict;            /* NaN and infinities in quotes: rows become part of a JSON answer */
};

/* Called for each row, a JSON object borrowed for the call; a negative answer ends the scan and is its
 * result. */
typedef int (*history_row_fn)(void *arg, struct str row);

/* Every row of the query in the order of lines. With on_row NULL, `arg` is a struct buf to which the rows
 * are appended with commas between them: the quick way to an answer. 0, or
 * Expected: TARE_EFORMAT (damaged), TARE_ENOMEM, TARE_EIO, what on_row returned. */
int history_scan(struct db_conn *c, const struct history_query *q, history_row_fn on_row, void *arg,
                 struct err *e);

/* The last line of a stream as JSON, appended to `to`; nothing if there is none. */
int history_last_line(struct db_conn *c, int64_t run, enum history_stream stream, struct buf *to,
                      struct err *e);

/* Append {"keys":{"loss":{"typeCounts":[{"type":"number","count":5}],"monotonic":false,
 * "previousValue":0.2}},"lastStep":4,"sets":[]}. An empty run has "lastStep":-1. */
int history_keys(struct db_conn *c, int64_t run, enum history_stream stream, struct buf *to,
                 struct err *e);

/* A whole series as arrays: append {"steps":[0,1,...],"values":[0.5,null,...]}; strict JSON, rows that
 * have the key only. On failure too what was appended is one JSON value. */
int history_series(struct db_conn *c, int64_t run, enum history_stream stream, struct str key,
                   int64_t min_step, int64_t max_step, struct buf *to, struct err *e);

/* A chart of a series: at most `pixels` points over [min_step, max_step), none of which hides a spike:
 * append {"first":[..],"last":[..],"min":[..],"max":[..],"mean":[..],"end":[..],"count":[..]} where first
 * and last are the steps a point spans and end is the last value in it. Finite numbers only. */
int history_envelope(struct db_conn *c, int64_t run, enum history_stream stream, struct str key,
                     int64_t min_step, int64_t max_step, uint32_t pixels, struct buf *to, struct err *e);

/* Read every block of every segment of every run. 0, or TARE_EFORMAT with the first damage. */
int history_verify(struct db_conn *c, struct err *e);

/* ---- for the parts of the history store ---- */

/* Walks the segments of a run's stream in order. */
struct history_cursor {
    struct db_conn *c;
    struct db_rows *rows;
    struct codec *codec;
    int64_t id, first_line, min_step, max_step, writer, level;
    uint32_t n_lines, n_groups;
    bool sorted;
    struct segment_keys keys;
    bool in_parts;       /* the blocks of a segment's own row are read one by one, into `part` */
    struct buf part;
    struct buf group[4]; /* groups read last */
    uint32_t group_no[4];
    unsigned next_slot;
};

int history_cursor_open(struct history_cursor *hc, struct db_conn *c, int64_t run,
                        enum history_stream stream, int64_t min_step, int64_t max_step, struct err *e);
/* The next segment: 1, 0 at the end, or an error. */
int history_cursor_next(struct history_cursor *hc, struct err *e);
void history_cursor_close(struct history_cursor *hc);
/* Decode a key of the segment (its values or its envelope). */
int history_cursor_column(struct history_cursor *hc, const struct segment_key *key, struct column *to,
                          struct err *e);
int history_cursor_envelope(struct history_cursor *hc, const struct segment_key *key,
                            struct envelope *to, struct err *e);
/* Add rows [from, to) of the segment to a rowset. */
int history_cursor_rows(struct history_cursor *hc, uint32_t from, uint32_t to, struct rowset *rs,
                        struct err *e);
/* The steps of all its rows. */
int history_cursor_steps(struct history_cursor *hc, int64_t *to, struct err *e);
/* Store a segment. */
int history_insert(struct db_conn *c, int64_t run, enum history_stream stream, int64_t writer, int64_t level,
                   const struct segment *s, struct err *e);
int history_delete(struct db_conn *c, int64_t id, struct err *e);

#endif
