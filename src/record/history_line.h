/* SPDX-License-Identifier: MIT */
/* A HistoryRecord as the line that a backend takes: one JSON object, with a step.
 *
 * The hot path of the sender: values are copied as they were logged, keys as they were named. Only
 * rows with nested keys, typed values or objects go through tables. Steps only grow: a row whose
 * step is behind gets the next one (peer: core/internal/stream/historystep.go). One thread. */
#ifndef TARE_RECORD_HISTORY_LINE_H
#define TARE_RECORD_HISTORY_LINE_H

#include "base/buf.h"
#include "base/str.h"
#include "record/row.h"
#include "record/summary.h"

#include <stdint.h>

struct history_line {
    int64_t next_step; /* the least step that the next row may have */
    struct summary keys; /* of nested rows */
    struct row row;
    uint32_t *order;     /* of the row's entries, by path */
    uint32_t cap;
};

void history_line_init(struct history_line *h, int64_t starting_step, uint64_t seed);
void history_line_fini(struct history_line *h);

/* Append the line (without a newline) for a HistoryRecord in wire form; *step is the step it has.
 * Items that are malformed are left out and counted in *n_bad. 0 or TARE_EFORMAT (nothing is
 * appended). */
int history_line_put(struct history_line *h, struct str record, struct buf *to, int64_t *step,
                     uint32_t *n_bad);

#endif
