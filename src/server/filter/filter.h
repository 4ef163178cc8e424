/* SPDX-License-Identifier: MIT */
/* Filters and orders over objects, as the API's clients write them.
 *
 * A filter is a JSON object in the manner of MongoDB's queries:
 *
 *     {"$and": [{"state": "finished"}, {"config.lr.value": {"$gte": 0.1}}, {"tags": {"$in": ["a"]}}]}
 *
 * Operators: $and $or $nor $not $eq $ne $gt $gte $lt $lte $in $nin $all $exists $regex $size $elemMatch $contains.
 * A list matches what one of its elements matches, and equals a list all of whose elements it has; objects
 * are equal with their members in any order; what is missing equals null, is $ne and $nin to everything,
 * and is in no order. Numbers compare as numbers, also across integer and float, NaN with nothing.
 *
 * An order is a list of names with signs, "+created_at" or "-summary_metrics.loss,+name"; missing values
 * come last either way.
 *
 * Neither knows where values are: `get` brings them. They are evaluated here and not in SQL because the
 * stored JSON may hold NaN and infinities, and because both database engines then answer alike. Any
 * thread; a compiled filter or order is not changed by use. */
#ifndef TARE_SERVER_FILTER_FILTER_H
#define TARE_SERVER_FILTER_FILTER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { FILTER_MAX_DEPTH = 32, FILTER_MAX_NODES = 20000, ORDER_MAX_KEYS = 8 };

struct filter_value {
    enum { FILTER_MISSING, FILTER_NULL, FILTER_BOOL, FILTER_NUMBER, FILTER_STRING, FILTER_TIME, FILTER_JSON } kind;
    bool b;
    double number;
    int64_t integer; /* FILTER_NUMBER: the same, exactly; 0 if it is no integer of 64 bits (or 0) */
    int64_t time_us; /* since 1970, UTC; compares with strings in ISO 8601 form */
    struct str s;    /* FILTER_STRING: the text; FILTER_JSON: a raw list or object */
};

/* Bring the value of `key` (dots as they came). Returns TARE_EINVAL if objects of this kind have no such
 * key at all, else 0. Strings must live until the next call. */
typedef int (*filter_get_fn)(void *ctx, struct str key, struct filter_value *out);

struct filter;

/* Compile; everything lives in the arena but regular expressions, which filter_fini frees. An empty text
 * or "{}" matches everything.
 * Expected: TARE_EINVAL (`e` names the operator or place), TARE_ELIMIT, TARE_ENOMEM */
int filter_compile(struct str json, struct arena *a, struct filter **out, struct err *e);
void filter_fini(struct filter *f); /* NULL is fine */

/* True if the filter matches everything. */
bool filter_is_all(const struct filter *f);

/* 1, 0, or what `get` failed with (then `e` names the key). */
int filter_match(const struct filter *f, filter_get_fn get, void *ctx, struct err *e);

/* ---- orders ---- */

struct order_key {
    struct str name;
    bool descending;
};

struct order {
    struct order_key keys[ORDER_MAX_KEYS];
    int n;
};

/* `text` empty: `fallback`. The names point into the text. Expected: TARE_EINVAL. */
int order_compile(struct str text, const char *fallback, struct order *out, struct err *e);

/* Compare two lists of order.n values each, in the manner of qsort. */
int order_compare(const struct order *o, const struct filter_value *a, const struct filter_value *b);

/* ---- values ---- */

/* What `path` (names with dots; a name may itself contain dots: the longest match wins; the number of a
 * list's element) leads to in the object `json`. FILTER_MISSING if nothing. Text with escapes is unescaped into the arena. */
int filter_value_at(struct str json, struct str path, struct arena *a, struct filter_value *out);

/* A raw JSON value as a filter value. */
int filter_value_of(struct str raw, struct arena *a, struct filter_value *out);

/* "2026-11-23", "2026-11-23T10:59:22(.123)(Z|+01:00)", with a blank for the T: microseconds. False if it
 * is no time. */
bool filter_parse_time(struct str text, int64_t *us);

#endif
