/* SPDX-License-Identifier: MIT */
/* One row of history while it is put together: the items of one or more partial_history requests
 * (or of one HistoryRecord), each key once, nested values spread out to key paths.
 *
 * The hot path of the service: no item is copied or decoded more than once. An item whose key and
 * place are those of the row before is recognised by comparing bytes; it is written out by
 * copying the bytes it came in, together with its neighbours.
 *
 * The rules are the peer's (core/internal/runhistory). One thread. */
#ifndef TARE_RECORD_ROW_H
#define TARE_RECORD_ROW_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "record/summary.h"

#include <stdbool.h>
#include <stdint.h>

enum row_kind { ROW_NUMBER, ROW_NULL, ROW_OTHER };

/* In which forms values are written (setting x_history_value_encoding). */
enum { ROW_JSON = 1, ROW_TYPED = 2 };

struct row_entry {
    const char *field; /* the whole HistoryItem field as it came, NULL if it must be written anew */
    const char *text;  /* the value as JSON */
    uint32_t field_len, text_len;
    uint32_t slot; /* its key, in the summary; SUMMARY_NO_SLOT once something replaced it */
    enum row_kind kind;
    double number; /* for ROW_NUMBER */
};

struct row {
    struct summary *summary; /* borrowed: the table of keys */
    struct row_entry *at;
    uint32_t n, cap;
    uint32_t n_last; /* how many entries of the row before are still in `at` behind n */
    uint64_t epoch;  /* a slot with this row_epoch is in the row */
    unsigned forms;  /* ROW_JSON, ROW_TYPED or both */
    bool nested;     /* some key of the row has more than one label */
    bool has_null;   /* some value of the row is null */
    struct arena arena; /* bytes that are not the caller's, until row_clear */
};

void row_init(struct row *r, struct summary *s, unsigned forms);
void row_fini(struct row *r);
void row_clear(struct row *r); /* the next row begins */

/* Add the HistoryItem `body`; `field` is the same with tag and length in front. The bytes are
 * borrowed until row_clear (see row_keep). 0, or why the item was left out: TARE_EFORMAT
 * (malformed message or JSON), TARE_EINVAL (no key, no value). */
int row_add(struct row *r, struct str field, struct str body);

/* Copy bytes to memory that lives until row_clear; {NULL} when out of memory. */
struct str row_keep(struct row *r, struct str bytes);

/* Set a number; `text` lives until row_clear. */
void row_set_number(struct row *r, uint32_t slot, struct str text, double v);

/* The entry of a slot, NULL if the row has none. */
struct row_entry *row_find(const struct row *r, uint32_t slot);

/* Whether row_sum would hide a summary value that summary_put_items has not put yet: by a null, or
 * by a value above or below it. */
bool row_hides_unwritten(const struct row *r);

/* Update the summary from the row. */
void row_sum(struct row *r);

/* Append the row as HistoryItem fields numbered 1. */
int row_encode(const struct row *r, struct buf *to);

#endif
