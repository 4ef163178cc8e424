/* SPDX-License-Identifier: MIT */
/* JSON lines as columns, and columns as JSON lines.
 *
 * Nested objects are taken apart: {"a":{"b":1}} is a value of the column with path a.b, and comes back
 * nested. In a path, a dot or backslash that belongs to a key itself has a backslash before it, so
 * {"a.b":1} has the path a\.b and stays apart. Objects that stand for media (with "_type" in them), empty
 * ones and those nested deeper than MAX_NESTING are kept as text, as are lists. */
#ifndef TARE_SERVER_STORE_ROWSET_H
#define TARE_SERVER_STORE_ROWSET_H

#include "base/arena.h"
#include "server/store/column.h"

enum { MAX_NESTING = 8, MAX_COLUMNS = 50000 };

struct key_node {
    struct str key;   /* one component, unescaped */
    uint64_t hash;    /* of parent and key */
    uint32_t parent;  /* node */
    int32_t column;   /* -1: none */
    bool plain;       /* stands in JSON as it is here, without escapes */
    uint32_t follows; /* the node that came next last time */
};

/* Rows being gathered. One thread's at a time. */
struct rowset {
    uint32_t n_rows;
    uint32_t n_columns, columns_cap;
    struct column *columns;
    uint32_t *column_nodes; /* the node of each column */
    struct key_node *nodes; /* [0] is the root */
    uint32_t n_nodes, nodes_cap;
    uint32_t *table; /* hash table of node numbers, 0 = empty */
    uint32_t table_size;
    uint32_t last_node;
    struct arena keys;
    struct buf scratch;
    bool failed; /* out of memory */
    bool too_wide;
};

void rowset_init(struct rowset *rs);
void rowset_fini(struct rowset *rs);

/* Add one line: a JSON object (NaN and Infinity allowed). After a failure the set is of no more use.
 * Expected: TARE_EFORMAT  not one object
 *           TARE_ELIMIT   more than MAX_COLUMNS keys
 *           TARE_ENOMEM */
int rowset_add_line(struct rowset *rs, struct str line);

/* The same for a line that is still the inside of a JSON string: `p` is behind its opening quote. Takes
 * what looks as in the row before, and returns how far it came: behind the closing quote if that was
 * all of the row (*whole); at `p` if it was nothing, so that rowset_add_line is to take all of it;
 * else rowset_add_rest is to take what is left, unescaped. */
const char *rowset_begin_quoted(struct rowset *rs, const char *p, const char *end, bool *whole);
int rowset_add_rest(struct rowset *rs, struct str rest);

/* The column with `path` (escaped form), made if need be; NULL when out of memory. The pointer lives
 * until the next column is made. */
struct column *rowset_column(struct rowset *rs, struct str path);

/* Append the path of column `i`. */
int rowset_put_path(const struct rowset *rs, uint32_t i, struct buf *to);

/* ---- paths ---- */

/* The next component of *path, unescaped into `scratch` if need be; false at the end. */
bool path_next_key(struct str *path, struct buf *scratch, struct str *key);

/* True if `path` is the key `name` asks for: with dots that may stand for nesting or for themselves.
 * 2 if the value lies below it ("a" for a.b), so that it is a part of what is asked for. */
int path_matches(struct str path, struct str name);

/* What of `path` lies below `name`, which it matches; {NULL} if that is all of it. */
struct str path_below(struct str path, struct str name);

/* Append the path as users write it, without escapes. */
int path_put_plain(struct buf *to, struct str path);

/* ---- columns to lines ---- */

struct row_field {
    struct str path;
    struct str name; /* as it was asked for: stands in the line instead of the path's beginning; {NULL}: not */
    const struct column *column;
};

struct row_writer;

/* A writer of rows from `n` fields, which stay borrowed. NULL when out of memory. */
struct row_writer *row_writer_new(const struct row_field *fields, uint32_t n, bool strict);
void row_writer_free(struct row_writer *w); /* NULL is fine */

/* Append row `row` as one JSON object; rows must be asked for in rising order. How many values it has,
 * or TARE_ENOMEM. */
int row_writer_put(struct row_writer *w, uint32_t row, struct buf *to);

#endif
