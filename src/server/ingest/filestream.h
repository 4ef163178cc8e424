/* SPDX-License-Identifier: MIT */
/* The file stream: what a running client posts every few seconds (reference 2.1).
 *
 * filestream_read is a function from bytes to what is to be stored (its body is hostile: fuzzed);
 * filestream_store puts that into the database inside one job; filestream_post does both and tells
 * when it is durable. A request that comes twice, late or in another order changes nothing. */
#ifndef TARE_SERVER_INGEST_FILESTREAM_H
#define TARE_SERVER_INGEST_FILESTREAM_H

#include "server/store/console.h"
#include "server/store/history.h"

struct filestream {
    struct history_batch batches[HISTORY_STREAMS]; /* n_lines 0: none */
    struct {
        int64_t first_line;
        size_t n, cap;
        struct str *lines; /* point into `text` */
    } console;
    struct buf text;
    struct buf summary; /* the last summary, JSON; empty: none */
    bool complete, preempting;
    int64_t exitcode;
    size_t n_values; /* members of history lines */
    size_t n_bytes;  /* about what it holds in memory */
};

/* Read a body (already inflated): checks all of it before anything is stored.
 * Expected: TARE_EFORMAT  not JSON of the form above, or a history line is no object
 *           TARE_ELIMIT   a line with too many keys
 *           TARE_ENOMEM
 * Any thread. On failure nothing is to be freed. */
int filestream_read(struct str body, struct filestream *to, struct err *e);
void filestream_fini(struct filestream *fs);

struct filestream_answer {
    bool stopped;          /* the client is asked to stop its run */
    int64_t tail_segments; /* of the run: worth a look by the keeper if many */
};

/* Store it for `run` (runs.id). `writer`: 0, or a number for one of several clients that share the run.
 * In a job. Expected: TARE_ENOTFOUND (no such run, or deleted), TARE_ENOSPACE. */
int filestream_store(struct db_conn *c, int64_t run, int64_t writer, const struct filestream *fs,
                     struct filestream_answer *answer, struct err *e);

/* Called once, on the writer thread: rc 0 when all is durable, else as below. Keep it short. */
typedef void (*filestream_done_fn)(int rc, const struct filestream_answer *answer, const struct err *e,
                                   void *arg);

/* Read `body` and store it without waiting. The body is freed in any case, as soon as it was read: a
 * thousand of them wait for the disk together.
 * Expected: TARE_EFORMAT, TARE_ELIMIT: answer 400
 *           TARE_EFULL: too much is waiting, answer 429 with Retry-After: 1
 *           TARE_ENOMEM; `done` is called only if this returned 0, then also with
 *           TARE_ENOTFOUND: 404, -EDQUOT: 413, TARE_ENOSPACE: 507, TARE_EIO: 503. Any thread. */
int filestream_post(struct db *db, int64_t run, int64_t writer, struct buf *body,
                    filestream_done_fn done, void *arg, struct err *e);

/* Append the JSON that answers a post. */
int filestream_put_answer(struct buf *to, const struct filestream_answer *answer);

#endif
