/* SPDX-License-Identifier: MIT */
/* The .wandb file, byte by byte.
 *
 * A journal is a sequence of records (bytes to this layer, protobuf `Record`s to those above) in
 * the log format of LevelDB, with a header of its own and another checksum. The peer writes and
 * reads the same (its core/pkg/leveldb, core/internal/transactionlog), so do all older versions
 * of its Python package (sdk/internal/datastore.py); the version byte was always 0.
 *
 *   file header, once at offset 0
 *     offset  size  value
 *     0       4     ":W&B"
 *     4       2     0xBEE1, little endian
 *     6       1     version: 0
 *
 *   blocks of 32768 bytes; the file header is part of block 0. A block holds chunks, one behind
 *   the other. A chunk never crosses the end of its block. Where fewer than 7 bytes are left in
 *   a block, they are zero and the next chunk starts in the next block.
 *
 *   chunk
 *     offset  size  value
 *     0       4     CRC-32 (IEEE) over the type byte and the data, little endian
 *     4       2     n, bytes of data, little endian
 *     6       1     type: 1 full, 2 first, 3 middle, 4 last
 *     7       n     data
 *
 * A record that fits into what is left of a block is one full chunk; a longer one is a first
 * chunk that fills the block, middle chunks that fill theirs, and a last one. With exactly 7
 * bytes left the first chunk has no data. An empty record is a full chunk without data. No
 * chunk starts with seven zero bytes, so a region that was allocated and never written (a hole)
 * cannot be mistaken for records.
 *
 * There is no index, no count and no end mark: a file that was cut anywhere is a valid journal
 * of the records before the cut, and readers of a growing file need no lock. What follows from
 * that is in writer.h (a failed write leaves whole records only) and reader.c (what comes back
 * from a damaged file). */
#ifndef TARE_JOURNAL_FORMAT_H
#define TARE_JOURNAL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

enum {
    JOURNAL_HEADER_BYTES = 7,
    JOURNAL_VERSION = 0,
    JOURNAL_MAGIC = 0xBEE1,
    JOURNAL_BLOCK_BYTES = 32768,
    JOURNAL_CHUNK_HEADER_BYTES = 7,
    JOURNAL_CHUNK_MAX = JOURNAL_BLOCK_BYTES - JOURNAL_CHUNK_HEADER_BYTES, /* data bytes */
};

enum journal_chunk_type {
    JOURNAL_FULL = 1,
    JOURNAL_FIRST = 2,
    JOURNAL_MIDDLE = 3,
    JOURNAL_LAST = 4,
};

#define JOURNAL_IDENT ":W&B"

/* Bytes from `offset` in the file to the end of its block: 1 to 32768. */
static inline size_t journal_block_left(uint64_t offset)
{
    return (size_t)(JOURNAL_BLOCK_BYTES - offset % JOURNAL_BLOCK_BYTES);
}

#endif
