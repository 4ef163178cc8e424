/* SPDX-License-Identifier: MIT */
/* What filter.c and value.c share. */
#ifndef TARE_SERVER_FILTER_VALUE_H
#define TARE_SERVER_FILTER_VALUE_H

#include "server/filter/filter.h"

enum { FILTER_UNORDERED = 2 };

/* -1, 0, 1, or FILTER_UNORDERED for values that cannot be compared. */
int filter_value_compare(const struct filter_value *a, const struct filter_value *b);

/* Has the list `v` an element that equals each of the list `want`? An empty list only equals one. Both raw JSON. */
bool filter_list_has_all(struct str v, struct str want);

#endif
