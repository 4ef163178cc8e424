/* SPDX-License-Identifier: MIT */
/* A range of lines of one stream, as the database holds it: a directory that says what each key holds,
 * and groups of column blocks.
 *
 * Small columns share a group, so that a short run is one row of the database; a column of GROUP_BYTES
 * or more has a group of its own, so that reading one key of a long run reads only that. Envelopes
 * (per BUCKET_VALUES numbers: first and last step, min, max, mean, last) have groups apart from the
 * values: a chart of a long run reads them alone. */
#ifndef TARE_SERVER_STORE_SEGMENT_H
#define TARE_SERVER_STORE_SEGMENT_H

#include "server/store/codec.h"
#include "server/store/rowset.h"

enum {
    SEGMENT_ROWS = 16384, /* lines of a segment at most */
    GROUP_BYTES = 49152,
    BUCKET_VALUES = 128,
    ENVELOPE_MIN_VALUES = 1024, /* shorter columns have no envelope */
    LAST_JSON_MAX = 256,        /* a longer last value is left out of the directory */
};

/* What the directory says of one key. */
struct segment_key {
    struct str path;
    uint32_t n_values;
    uint32_t n_numbers; /* finite ones */
    uint8_t kinds;      /* 1 << value_kind of those that occur */
    bool rises;         /* numbers never fall */
    double min, max, sum, first, last;
    struct str last_json; /* of the last value; empty if too long */
    uint32_t group, offset, length;
    uint32_t env_group, env_offset, env_length; /* length 0: no envelope */
};

/* A segment in memory. */
struct segment {
    uint32_t n_lines;
    int64_t first_line;
    int64_t min_step, max_step;
    bool sorted;          /* steps never fall */
    uint32_t n_groups;    /* at least 1 */
    struct buf directory; /* a block */
    struct buf *groups;
};

void segment_fini(struct segment *s);

/* Encode rows [from, to) of `rs` (at most SEGMENT_ROWS, at least 1), which are the lines from
 * `first_line` on, into a zeroed segment. `level` as in codec.h. 0 or TARE_ENOMEM. */
int segment_encode(struct codec *k, const struct rowset *rs, uint32_t from, uint32_t to, int64_t first_line,
                   int level, struct segment *out);

/* The keys of a directory, in one allocation that ends with keys_fini. */
struct segment_keys {
    uint32_t n;
    uint32_t n_groups;
    struct segment_key *keys;
    struct buf bytes; /* what the slices point into */
};
void segment_keys_fini(struct segment_keys *keys);
/* Expected: TARE_EFORMAT (damaged), TARE_ENOMEM. */
int segment_keys_read(struct codec *k, struct str directory, struct segment_keys *to);

/* The steps of n rows: those of the column `step` (may be NULL), the line number where it has none. */
void segment_steps(const struct column *step, uint32_t n_rows, int64_t first_line, int64_t *to);

/* The envelope of a key. All arrays have n elements and one allocation. */
struct envelope {
    uint32_t n;
    int64_t *first_step, *last_step;
    double *min, *max, *mean, *last;
    uint32_t *count;
};
void envelope_fini(struct envelope *e);
int envelope_read(struct codec *k, struct str block, uint32_t n_numbers, struct envelope *to);

#endif
