/* SPDX-License-Identifier: MIT */
/* Tables that a run logged (media/table/NAME.table.json), drawn in the terminal. */
#ifndef TARE_CLI_TABLE_H
#define TARE_CLI_TABLE_H

#include "cli/term.h"

/* Append the table in `json` ({"columns": [...], "data": [[...], ...]}), indented by two, its first
 * rows and as many columns as fit. 0, or TARE_EFORMAT if it is no table. */
int table_put(const struct term *t, struct buf *to, struct str json);

#endif
