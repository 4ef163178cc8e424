/* SPDX-License-Identifier: MIT */
/* Runs as rows: the one SELECT that fills struct run_row. */
#ifndef TARE_SERVER_RESOLVE_RUN_ROWS_H
#define TARE_SERVER_RESOLVE_RUN_ROWS_H

#include "server/graphql/resolver.h"
#include "server/resolve/rows.h"
#include "server/store/db.h"

/* Large columns, loaded only where they are selected. */
enum run_columns { RUN_CONFIG = 1, RUN_SUMMARY = 2, RUN_ALL = 3 };

enum { RUN_ROWS_SQL = 8192 };

/* "SELECT … FROM runs r … WHERE `where`" (with ORDER BY and LIMIT if they are in it). */
void run_rows_sql(char to[RUN_ROWS_SQL], unsigned columns, const char *where);

/* The current row; strings are borrowed from it. */
void run_rows_take(struct db_rows *rows, unsigned columns, struct run_row *out);

/* Which large columns does the request select below `prefix` ("" or "edges.node.")? */
unsigned run_columns_wanted(struct gql_call *c, const char *prefix);

/* The raw value of the member `key` of a JSON object (keys without escapes); false: there is none. */
bool json_find(struct str object, const char *key, struct str *value);

#endif
