/* SPDX-License-Identifier: MIT */
/* A .wandb file being written.
 *
 * Bytes come encoded (journal/encoder.h), many records at once. The file is a run of whole
 * records at every moment anyone can see it after a call has returned: what a failed write left
 * behind is cut off, and where even cutting fails, the next append overwrites it in place. So a
 * full disk is no end: keep what was not written and append it again later, and no hole or torn
 * record stays in the file.
 *
 * Goes through base/os.h. Links with base/ alone, so the client library can use it. Calls on one
 * writer must not overlap; they may come from different threads. */
#ifndef TARE_JOURNAL_WRITER_H
#define TARE_JOURNAL_WRITER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct journal_writer {
    int fd;            /* -1 while closed; also readable with pread */
    int first_error;   /* the first failure of an append, for the user; 0 while there was none */
    uint64_t size;     /* bytes of header and whole records in the file */
    uint64_t torn_end; /* where the bytes end that a failed write left and that could not be
                        * cut off; 0 if there are none */
};

/* Create the file (mode 0666 less umask) and write its header. While the writer is open it holds an
 * advisory lock (flock), by which others see that the run is alive. Never touches an existing file,
 * not even an empty one (nor does the peer).
 * Expected: TARE_EEXIST  something has that name
 *           a negative errno value; a file created by the call is removed again */
int journal_writer_create(struct journal_writer *w, const char *path, struct err *e);

/* Append `n` encoded bytes, which start where the last append ended and end with a record.
 * On success 0 and *kept = n. On failure a negative errno value, and *kept says how many bytes
 * of whole records are in the file all the same; append the rest again when there is hope
 * (-ENOSPC, -EDQUOT), or give it up and go on encoding at w->size. */
int journal_writer_append(struct journal_writer *w, const void *chunks, size_t n, size_t *kept);

/* Wait until all is on the disk. 0 or a negative errno value. */
int journal_writer_sync(struct journal_writer *w);

/* Close. 0, or what close(2) or the last attempt to cut off a torn record said; the writer is
 * closed in any case. A second call does nothing. */
int journal_writer_close(struct journal_writer *w);

#endif
