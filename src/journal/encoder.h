/* SPDX-License-Identifier: MIT */
/* Records to the bytes of a .wandb file (see format.h). Pure: no file, no clock.
 *
 * Depends on base/ alone, and with crc32_table.c on nothing but libc: the client library links
 * it for its own fallback. One thread at a time. */
#ifndef TARE_JOURNAL_ENCODER_H
#define TARE_JOURNAL_ENCODER_H

#include "base/buf.h"
#include "journal/format.h"

#include <stddef.h>
#include <stdint.h>

struct journal_encoder {
    uint64_t offset; /* where in the file the next chunk starts */
};

/* The 7 bytes at the start of every file. */
void journal_put_header(uint8_t to[JOURNAL_HEADER_BYTES]);

/* Go on at `offset`: JOURNAL_HEADER_BYTES for a new file, or where a record ended. */
void journal_encoder_init(struct journal_encoder *enc, uint64_t offset);

/* Append the chunks of one record of `n` bytes to `out`, and move the encoder's offset by as much.
 * Expected: TARE_ENOMEM  nothing was appended, and `out` is as it was and still usable. */
int journal_encode(struct journal_encoder *enc, struct buf *out, const void *record, size_t n);

/* Of the first `n` bytes of encoded chunks that start at `offset` in the file: how many belong to
 * whole records (the padding before a cut record counts as cut). */
size_t journal_whole_records(const void *chunks, size_t n, uint64_t offset);

#endif
