/* SPDX-License-Identifier: MIT */
/* A HistoryRecord as the line that a backend takes: one JSON object, with a step.
 *
 * The hot path of the sender: values are copied as they were logged, keys as they were named, and
 * what was made of a key is kept for the next row, whose keys are mostly the same. Only rows with
 * nested keys, typed values or objects go through tables. Steps only grow: a row whose
 * step is behind gets the next one (peer: core/internal/stream/historystep.go). One thread. */
#ifndef TARE_RECORD_HISTORY_LINE_H
#define TARE_RECORD_HISTORY_LINE_H

#include "base/buf.h"
#include "base/str.h"
#include "record/row.h"
#include "record/summary.h"

#include <stdint.h>

/* A key as it begins an item, up to the length of its value, and as it stands in a quoted line. */
struct history_key {
    uint32_t wire_at, wire_n, text_at, text_n; /* in `bytes` of history_line */
    uint32_t n_plain;                          /* of the text, were it not quoted */
    bool is_step;
};

struct history_line {
    int64_t next_step; /* the least step that the next row may have */
    struct summary keys; /* of nested rows */
    struct row row;
    uint32_t *order;     /* of the row's entries, by path */
    uint32_t cap;
    struct history_key *last; /* those of the last row, in its order */
    uint32_t n_last, cap_last;
    struct buf bytes;
    struct buf plain; /* a line that is to be quoted */
};

void history_line_init(struct history_line *h, int64_t starting_step, uint64_t seed);
void history_line_fini(struct history_line *h);

/* Append the line (without a newline) for a HistoryRecord in wire form; *step is the step it has.
 * Items that are malformed are left out and counted in *n_bad. 0 or TARE_EFORMAT (nothing is
 * appended). */
int history_line_put(struct history_line *h, struct str record, struct buf *to, int64_t *step,
                     uint32_t *n_bad);

/* The same line as a JSON string, quotes included; *n_plain is its length without them and without
 * escapes. Also TARE_ENOMEM. */
int history_line_put_quoted(struct history_line *h, struct str record, struct buf *to, size_t *n_plain,
                            int64_t *step, uint32_t *n_bad);

#endif
