/* SPDX-License-Identifier: MIT */
/* Rows of Parquet files, read with the library that the SDK's wheel ships beside its service
 * (librust_parquet_ffi.so): no reader for C is packaged. It is opened at run time from the folder
 * that the service was started from, or as $TARE_PARQUET says.
 *
 * Blocks: worker threads only. One file is used by one thread at a time.
 * (peer: core/internal/runhistoryreader/parquet/ffi/rustarrowreader.go) */
#ifndef TARE_SERVICE_API_PARQUET_H
#define TARE_SERVICE_API_PARQUET_H

#include "base/err.h"
#include "base/str.h"
#include "service/api/api_rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct parquet_file;

bool parquet_is_there(void);

/* `path` may be a URL, of which only the parts needed are read. Only the columns `keys` are; all of
 * them if `n_keys` is 0. NULL and the reason in `e`. */
struct parquet_file *parquet_open(const char *path, const char *const *keys, size_t n_keys, struct err *e);
void parquet_close(struct parquet_file *f);

/* Add the rows with min_step <= _step < max_step. 0, or the reason in `e`. */
int parquet_scan(struct parquet_file *f, int64_t min_step, int64_t max_step, struct api_rows *rows,
                 struct err *e);

/* Add the rows of what the library answers a scan with; TARE_EFORMAT if they are cut off. Any thread. */
int parquet_decode(struct str bytes, struct api_rows *rows);

#endif
