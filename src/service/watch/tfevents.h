/* SPDX-License-Identifier: MIT */
/* TensorBoard's event files: records of protobuf messages with checksums.
 *
 *   u64 LE  length        u32 LE  masked CRC-32C of those 8 bytes
 *   bytes   data          u32 LE  masked CRC-32C of the data
 *
 * masked(c) = rotate right by 15, plus 0xa282ead8. Source: TensorFlow's record_writer. Any thread. */
#ifndef TARE_SERVICE_WATCH_TFEVENTS_H
#define TARE_SERVICE_WATCH_TFEVENTS_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { TFEVENTS_MAX_BYTES = 512 << 20 }; /* of one record; more is damage */

/* The record at the start of `bytes`: 1, `*event` points into them and `*taken` is its whole size;
 * 0 if it is not all there yet; TARE_EFORMAT if a checksum does not fit. */
int tfevents_next(struct str bytes, struct str *event, size_t *taken);

/* The checksum as it stands in the file. */
uint32_t tfevents_checksum(struct str bytes);

/* Whether a file of this name belongs to a run: "...tfevents.TIME.HOST...", with TIME at least
 * `start_s` (0: any) and HOST `host` (empty: any); not the empty ones of profilers and SageMaker. */
bool tfevents_name_fits(struct str name, int64_t start_s, struct str host);

#endif
