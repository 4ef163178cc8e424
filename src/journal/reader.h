/* SPDX-License-Identifier: MIT */
/* The records of a .wandb file in order, from a file that may be damaged, cut, or still growing.
 *
 * Every record whose chunks are intact comes back, in order, whatever happened around it: flipped
 * bytes, a torn end, holes, bytes that are missing or too many. Between them come gaps, which say
 * what was skipped. Memory: one window of a few hundred KiB, and one record. One thread at a
 * time. */
#ifndef TARE_JOURNAL_READER_H
#define TARE_JOURNAL_READER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define JOURNAL_RECORD_MAX_DEFAULT ((uint64_t)2 << 30) /* the peer's limit of a frame */

/* A part of the file that held no whole record. */
struct journal_gap {
    uint64_t offset;    /* first byte that was skipped */
    uint64_t bytes;     /* may be 0: bytes are missing, none was skipped */
    const char *reason; /* of the first damage in it; static text */
};

struct journal_reader {
    int fd;              /* owned; -1 when reading from memory, or by: */
    ssize_t (*read)(void *ctx, void *to, size_t n, uint64_t at); /* as pread(2), a negative code on failure; NULL */
    void *read_ctx;
    struct str memory;   /* the file's bytes when fd is -1; borrowed */
    bool live;           /* the file may grow: wait at its end instead of judging it */
    uint64_t record_max; /* longer records are skipped, as a gap */
    uint64_t limit;      /* of an open file: as if it ended here */
    uint32_t window_bytes; /* how much is read at a time; 64 KiB at least */

    uint64_t n_records, record_bytes; /* read so far */
    uint64_t n_gaps, gap_bytes;
    int version; /* of the file header; -1 until it has been seen intact */

    /* the rest is the reader's own */
    uint64_t pos;   /* the next chunk is looked for here */
    uint64_t base;  /* offset of a block's start, modulo the block size; 0 in an intact file */
    bool floating;  /* where blocks start is unknown since a damage */
    bool searching; /* looking for the next intact chunk byte by byte */
    bool header_done;
    bool assembling;    /* first chunk seen, last one not yet */
    uint64_t record_at; /* where the record being read began */
    struct buf record;  /* its data so far */
    bool gap_open;
    uint64_t gap_at;
    const char *gap_reason;
    bool held; /* a record waits behind the gap just returned */
    struct str held_bytes;
    uint8_t *window;
    uint64_t window_at;
    size_t window_len;
    bool window_is_last; /* the file ended behind it when it was read */
};

enum journal_item_kind {
    JOURNAL_END = 0, /* nothing more; of a live file: nothing more now */
    JOURNAL_RECORD = 1,
    JOURNAL_GAP = 2,
};

struct journal_item {
    uint64_t offset;        /* of the record's first chunk: what journal_reader_seek takes */
    struct str bytes;       /* RECORD: its data, valid until the next call */
    struct journal_gap gap; /* GAP */
};

/* Open a file. Whether it is a journal shows on reading: n_records stays 0 and version -1.
 * Expected: TARE_ENOTFOUND, TARE_EINVAL (no regular file), or a negative errno value */
int journal_reader_open(struct journal_reader *r, const char *path, struct err *e);

/* Read a file that is open already (takes the descriptor, uses pread only), or bytes in memory
 * (borrowed). Never fails. */
void journal_reader_init_fd(struct journal_reader *r, int fd_take);
void journal_reader_init_bytes(struct journal_reader *r, struct str bytes_keep);
/* Read through a function; its context is borrowed. */
void journal_reader_init_read(struct journal_reader *r, ssize_t (*read)(void *ctx, void *to, size_t n, uint64_t at),
                              void *ctx);

void journal_reader_close(struct journal_reader *r);

/* The next record or gap: an enum journal_item_kind, or a negative code.
 * In a live file JOURNAL_END is for now: call again when the file may have grown; set `live` to
 * false when it will grow no more, and the rest is judged.
 * Expected: TARE_ENOMEM (call again to retry), a negative errno value of read */
int journal_reader_next(struct journal_reader *r, struct journal_item *to);

/* Go on with the record that starts at `offset`, as an item or a writer told it. */
void journal_reader_seek(struct journal_reader *r, uint64_t offset);

/* Free what is not needed until the next call; at the end of a live file. */
void journal_reader_rest(struct journal_reader *r);

/* Where the next record is looked for; after a RECORD, the end of that record. */
static inline uint64_t journal_reader_offset(const struct journal_reader *r)
{
    return r->pos;
}

#endif
