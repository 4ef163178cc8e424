/* SPDX-License-Identifier: MIT */
/* Rows of a run's history on their way to a client. Any thread, one at a time. */
#ifndef TARE_SERVICE_API_API_ROWS_H
#define TARE_SERVICE_API_API_ROWS_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_row {
    int64_t step;
    size_t nth;       /* in the order they were added */
    struct buf items; /* a wandb_internal.HistoryRow */
};

/* Zero-initialised is empty. */
struct api_rows {
    struct api_row *v;
    size_t n, cap;
};

struct api_row *api_rows_add(struct api_rows *rows);
/* `value` is JSON. "_step" says where the row belongs; as 3.0 it becomes 3. */
void api_row_put(struct api_row *row, struct str key, struct str value);
/* A row out of a JSON object; false if it is none. */
bool api_rows_add_json(struct api_rows *rows, struct str object);

/* Append them as the fields of a wandb_internal.RunHistoryResponse, in the order of their steps. */
void api_rows_put(struct buf *to, struct api_rows *rows);
void api_rows_fini(struct api_rows *rows);

#endif
