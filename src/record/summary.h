/* SPDX-License-Identifier: MIT */
/* What a run's metrics sum up to: one slot for each key path that was ever seen.
 *
 * A key path is a list of labels ("img", "_type"). Everywhere in this library it is kept in its
 * wire form, which is the same in history, summary and config items, so that it can be compared
 * and copied as bytes: field 1 (`key`) for a single label, else field 2 (`nested_key`) once for
 * each label.
 *
 * Paths form a tree: a value at "a" replaces everything below "a", a value at "a.b" replaces the
 * value at "a". Slots are never removed, so a slot number stays good for the table's life.
 *
 * The rules are those of the peer's handler (core/internal/runsummary, pathtree). One thread. */
#ifndef TARE_RECORD_SUMMARY_H
#define TARE_RECORD_SUMMARY_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { SUMMARY_NO_SLOT = UINT32_MAX };

/* Record.uuid of summary records that the service derived from the history: a replay that derives
 * them itself skips these, one that does not (the peer's) takes them like any other. */
#define SUMMARY_DERIVED_UUID "derived"

/* Statistics that a metric definition may ask for instead of the latest value. */
enum {
    SUMMARY_LAST = 1,
    SUMMARY_MIN = 2,
    SUMMARY_MAX = 4,
    SUMMARY_MEAN = 8,
    SUMMARY_FIRST = 16,
};

/* A JSON text that is owned; numbers fit inside. */
struct summary_value {
    uint32_t len;
    uint32_t cap; /* of big; 0: the text is in small */
    union {
        char small[24];
        char *big;
    } at;
};

struct summary_slot {
    char *path; /* wire form, owned */
    uint32_t path_len;
    uint32_t parent;         /* slot of the path less its last label; SUMMARY_NO_SLOT at the top */
    uint16_t n_labels;       /* at least 1 */
    bool has_children;       /* a longer path below this one was ever seen */
    bool leaf;               /* a value is or was here, and no longer path took its place */
    bool has_data;           /* there is something to show */
    bool none;               /* defined with summary "none" */
    bool dirty;              /* changed since summary_put_dirty */
    uint8_t track;           /* SUMMARY_* flags; 0 shows the latest value */
    uint64_t row_epoch;      /* row.c: the row that holds this slot … */
    uint32_t row_at;         /* … and its place there */
    uint32_t metric_gen;     /* metric.c: the generation that metric_at belongs to */
    uint32_t metric_at;      /* metric.c: definition of this key, or METRIC_NONE */
    uint64_t count;          /* numbers seen */
    double min, max, total;  /* of those */
    struct summary_value latest, first;
};

struct summary {
    struct summary_slot *slots;
    uint32_t n, cap;
    uint32_t *index; /* open addressing: slot number + 1, 0 is free */
    uint32_t index_cap; /* a power of two */
    uint64_t seed;
    bool shows_null; /* null is a value like any other (as in configs) */
};

void summary_init(struct summary *s, uint64_t seed);
void summary_fini(struct summary *s);

/* The slot of `path` (wire form), made if need be: the caller has checked the form. */
uint32_t summary_slot(struct summary *s, struct str path);
uint32_t summary_find(const struct summary *s, struct str path); /* or SUMMARY_NO_SLOT */
/* The slot of a single label. */
uint32_t summary_slot_z(struct summary *s, const char *label);

/* Put `labels` into wire form at the end of `to`. */
int summary_path(struct buf *to, const struct str *labels, size_t n_labels);
/* The labels of a path in wire form, one call for each: false after the last. */
bool summary_next_label(const char **at, const char *end, struct str *label);
/* The path of an item (of history, summary or config) from its key fields, appended to `to`, and
 * its value_json. Without a key it is the empty one, which proto3 leaves out. False if malformed. */
bool summary_item_path(struct str item, struct buf *to, struct str *value_json);
/* The path of a member of the object at `path`; `key` is escaped as in JSON. 0, TARE_EFORMAT or
 * TARE_ENOMEM. */
int summary_member_path(struct buf *to, struct str path, struct str key);
/* The labels joined with dots: the name by which a metric is defined. */
int summary_dotted(struct buf *to, const struct summary_slot *slot);

/* A history value. `text` is JSON; for numbers `v` is its value. */
void summary_update_number(struct summary *s, uint32_t slot, struct str text, double v);
void summary_update_other(struct summary *s, uint32_t slot, struct str text);
/* An explicit value: replaces what a definition asked for. */
void summary_set(struct summary *s, uint32_t slot, struct str text);
/* Forget the value at `path`, or all below it. */
void summary_remove(struct summary *s, struct str path);
/* The same, and forget its definition too. */
void summary_drop(struct summary *s, struct str path);
/* What a definition asks for. */
void summary_configure(struct summary *s, uint32_t slot, bool none, uint8_t track);

/* Apply a SummaryRecord in wire form as explicit values and removals. Items with invalid JSON
 * are skipped and counted in *n_bad. 0, or TARE_EFORMAT if the bytes are malformed. */
int summary_apply(struct summary *s, struct str record, size_t *n_bad);

/* Append the JSON of a slot as it is to be shown; false (nothing appended) if it shows nothing. */
bool summary_put_value(const struct summary *s, const struct summary_slot *slot, struct buf *to);

/* Whether a value at `slot` would take the place of one, above or below it, that was not put by
 * summary_put_items yet. */
bool summary_hides_unwritten(const struct summary *s, uint32_t slot);
/* The same for the items of a SummaryRecord. */
bool summary_record_hides_unwritten(struct summary *s, struct str record);

/* Whether the latest value of `slot` is shown and was not put by summary_put_items yet. */
bool summary_shows_unwritten(const struct summary_slot *slot);

/* Append SummaryItem fields numbered `field`, for all slots or only those that changed (which
 * are then clean). Returns how many. */
size_t summary_put_items(struct summary *s, struct buf *to, uint32_t field, bool only_dirty);
/* Append all as one JSON object with nested objects for longer paths. */
void summary_put_json(const struct summary *s, struct buf *to);

#endif
