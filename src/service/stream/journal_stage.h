/* SPDX-License-Identifier: MIT */
/* A stream's journal: records in, in the file a moment later.
 *
 * Records are encoded as they come and written together at the end of the loop's turn, on the
 * thread pool, one write in flight. While the disk refuses (full, quota, broken) the bytes are
 * kept and written again every JOURNAL_RETRY_MS; only beyond JOURNAL_FAILED_BYTES are further
 * records dropped, and counted. The journal of an online run (`spills`) goes on in memory instead, so
 * that the backend gets what comes: `spill` is at its end until the file has caught up. Beyond
 * JOURNAL_FAILED_BYTES, or where memory is scarce, the file is left as it is, and memory holds what
 * is still to be sent. Where
 * not even the file can be made, all of it is in memory, and the file is made when that works.
 * Loop thread only. */
#ifndef TARE_SERVICE_STREAM_JOURNAL_STAGE_H
#define TARE_SERVICE_STREAM_JOURNAL_STAGE_H

#include "base/buf.h"
#include "base/str.h"
#include "journal/encoder.h"
#include "journal/writer.h"
#include "loop/worker.h"
#include "service/stream/stream_settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum journal_event {
    JOURNAL_OPENED,
    JOURNAL_OPEN_FAILED, /* `error` says why; only journal_stage_fini may follow */
    JOURNAL_WRITTEN,     /* `written` has moved */
    JOURNAL_REFUSED,     /* a write failed with `error`, for the `tries`-th time in a row */
    JOURNAL_SPILLED,     /* a write failed with `error`, or the file cannot be made: memory has it, and what follows */
    JOURNAL_LEFT,        /* `file_left`: too much is in memory, the file gets no more of it */
    JOURNAL_RECOVERED,   /* what was refused is in the file now */
    JOURNAL_CLOSED,      /* only journal_stage_fini may follow */
};

enum journal_state {
    JS_OPENING,
    JS_READY,
    JS_WRITING,
    JS_REFUSED,
    JS_SAVING,
    JS_PARKING,
    JS_CLOSING,
    JS_CLOSED,
};

struct spill;

struct journal_stage {
    uv_loop_t *loop;
    const struct stream_settings *settings; /* borrowed */
    const char *diag_path;                  /* borrowed: debug-core.log links to it; may be "" */
    void (*on_event)(struct journal_stage *j, enum journal_event what);

    struct journal_writer writer;   /* used by the pool while `work.busy` */
    struct journal_encoder encoder; /* its offset: the file's size once all is written */
    struct buf pending;             /* encoded, not given to a write yet */
    struct buf writing;             /* given to the write in flight, or refused */
    uint64_t written;               /* bytes in the file, or in the spill behind it */
    struct spill *spill;            /* NULL while the file takes what comes */
    uint64_t saved;                 /* bytes in the file, while there is a spill */
    uint64_t keep_from;             /* of what is in memory alone: what lies before it is sent */
    size_t in_memory;               /* counted in journal_stage_memory_bytes */
    uint64_t forget_to;             /* the same, the worker's */
    uint64_t dropped;               /* records lost because the disk refused for too long */
    char *path;                     /* the file, made or to be made; differs from the setting if that existed;
                                       the worker's while JS_OPENING */
    enum journal_state state;
    int error;    /* of the last try; 0 when it went well */
    int tries;    /* in a row that failed */
    bool spills;  /* set by the owner: see above */
    bool file_left; /* too much is in the spill: the file is left as it is */
    bool ending;  /* close when all is written, or after JOURNAL_END_TRIES */
    bool renamed; /* path differs from the setting */
    bool parked;  /* the file is closed meanwhile, to spare a descriptor */
    bool unmade;  /* there is no file yet: its disk did not take one; the worker's while `work.busy` */
    int retry_ms; /* JOURNAL_RETRY_MS, less in tests */
    int opens;    /* tries to open while descriptors are scarce */
    int64_t last_write_ms; /* loop time */

    struct work work;
    int op, rc; /* of the work */
    size_t kept;
    dev_t dev; /* which file it is, to recognise it after parking */
    ino_t ino;
    uv_timer_t retry;
};

/* Encoded bytes that wait, of all streams. */
extern size_t journal_stage_total_bytes;

/* Bytes that are nowhere but in memory, of all streams: spilled, or not sent of files in memory. */
extern size_t journal_stage_memory_bytes;
/* How many of these a stream may have. What is left of the total bounds each alike, so streams that
 * want more than there is come to rest at equal shares. */
size_t journal_stage_memory_limit(void);

/* Begin to open; JOURNAL_OPENED or JOURNAL_OPEN_FAILED follows, never from inside. Records may be
 * appended meanwhile. */
void journal_stage_open(struct journal_stage *j, uv_loop_t *loop,
                        const struct stream_settings *settings, const char *diag_path,
                        void (*on_event)(struct journal_stage *, enum journal_event));

/* Append one record; `must` keeps it even while the disk refuses and much waits. */
void journal_stage_append(struct journal_stage *j, struct str record, bool must);

/* Write what has come; at the end of a turn. */
void journal_stage_flush(struct journal_stage *j);

/* What lies before `offset` is sent to all who are to get it. */
void journal_stage_sent(struct journal_stage *j, uint64_t offset);

/* Too much waits: no more records, please, until the next JOURNAL_WRITTEN. */
bool journal_stage_is_full(const struct journal_stage *j);

/* Where the next record will start; compare with `written`. */
static inline uint64_t journal_stage_end(const struct journal_stage *j)
{
    return j->encoder.offset;
}

/* The file's descriptor, for who reads it at once; -1 while it is parked, opened or closed. */
int journal_stage_fd(const struct journal_stage *j);

/* Write everything, then close the file: JOURNAL_CLOSED follows, never from inside. */
void journal_stage_close(struct journal_stage *j);

bool journal_stage_can_park(const struct journal_stage *j);
/* Close the descriptor if nothing is under way; it is opened again for the next write. */
bool journal_stage_park(struct journal_stage *j);

/* Free the memory, after JOURNAL_CLOSED or JOURNAL_OPEN_FAILED. The timer must be closed. */
void journal_stage_fini(struct journal_stage *j);

#endif
