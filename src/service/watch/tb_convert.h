/* SPDX-License-Identifier: MIT */
/* What TensorBoard's events mean for a run: rows of history, media files, charts.
 *
 * Events one after the other with the same step become one row: the values by tag, `global_step`
 * and `_timestamp`. (peer: core/internal/tensorboard.) The results are serialized Records, put one
 * behind the other with tb_put_record, to be fed to the handler as if a client had sent them. One
 * thread at a time. */
#ifndef TARE_SERVICE_WATCH_TB_CONVERT_H
#define TARE_SERVICE_WATCH_TB_CONVERT_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tb_tag;

struct tb_converter {
    char *name_space;        /* in front of every tag; owned; "" or NULL for none */
    const char *files_dir;   /* where media go; borrowed */
    struct tb_tag *tags;     /* the plugin of each tag seen */
    bool has_step;           /* the row below is of `step` */
    int64_t step;
    double wall_time;
    struct buf items;        /* HistoryItems of the row, as fields of PartialHistoryRequest */
    struct buf files;        /* FilesItems, as fields of FilesRecord */
    struct buf config;       /* ConfigItems, as fields of ConfigRecord */
    uint64_t n_skipped;      /* values that could not be read */
};

void tb_converter_init(struct tb_converter *c, const char *files_dir);
void tb_converter_fini(struct tb_converter *c);

/* Take one event; a row that is complete goes to `records`. Malformed values are counted and
 * skipped. Writes media files. */
void tb_convert(struct tb_converter *c, struct str event, struct buf *records);
/* Nothing more comes: the last row. */
void tb_convert_end(struct tb_converter *c, struct buf *records);

void tb_put_record(struct buf *records, struct str record);
/* Take the next record off `*records`; false at the end. */
bool tb_next_record(struct str *records, struct str *record);

#endif
