/* SPDX-License-Identifier: MIT */
/* Values inside TensorBoard's events, and how they look as JSON. Any thread. */
#ifndef TARE_SERVICE_WATCH_TB_VALUE_H
#define TARE_SERVICE_WATCH_TB_VALUE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Numbers of a tensor, row by row. */
struct tb_tensor {
    double *values; /* owned: tb_tensor_fini */
    size_t n_values;
    int64_t shape[8];
    int rank;
};

/* Read a TensorProto of float, double, int32 or int64. 0, TARE_EFORMAT, TARE_EUNSUPPORTED (another
 * type) or TARE_ENOMEM. */
int tb_tensor_read(struct tb_tensor *to, struct str proto);
void tb_tensor_fini(struct tb_tensor *t);

/* The doubles of a packed (or not packed) repeated field. 0, TARE_EFORMAT or TARE_ENOMEM. */
int tb_read_doubles(struct str message, uint32_t field, double **values, size_t *n);

/* Append a number as Go's two encoders do, whose texts tell whole numbers from others: as in
 * simplejsonext (tables, scalars; NaN and infinities as words; `is_float`: of 32 bits) and as in
 * encoding/json (histograms). */
void tb_put_scalar(struct buf *to, double v, bool is_float);
void tb_put_json_number(struct buf *to, double v);

/* Append {"_type":"histogram",...}: n + 1 edges of n weights, joined to at most 512 bins. False:
 * not a histogram (NaN, infinities). */
bool tb_put_histogram(struct buf *to, const double *edges, const double *weights, size_t n);

/* Format ("png", "jpeg", "gif") and size of an encoded image; NULL if it is none of these. */
const char *tb_image_format(struct str data, int64_t *width, int64_t *height);

#endif
