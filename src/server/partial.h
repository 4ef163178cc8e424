/* SPDX-License-Identifier: MIT */
/* Uploads that may go on where they broke off: whose turn it is to write, and what waits in between.
 *
 * The bytes of an upload lie in the blob store under a key (blob/blob.h). Here is what else is known of it: an
 * open file with the digests so far, held by the one request that writes it, or by none while its client
 * reconnects. A bounded number waits so; of the others only the file is left, and in the end not even that.
 * A request that comes for a key takes it from the one that had it: the client has given that one up, though
 * this side of a broken network may not know yet.
 *
 * Any thread. Functions marked (blocks) may read a whole file and want a worker. */
#ifndef TARE_SERVER_PARTIAL_H
#define TARE_SERVER_PARTIAL_H

#include "base/err.h"
#include "server/blob/blob.h"

#include <stddef.h>
#include <stdint.h>

struct partials;
struct partial;

/* A request's turn to write. Zeroed: none. */
struct partial_turn {
    struct partial *partial;
    unsigned number;
};

struct partials *partials_new(struct blobs *b);
void partials_free(struct partials *ps); /* no turn is left; files stay. NULL is fine */

/* Take `key` (BLOB_KEY) to write it from the beginning; what had come is dropped.
 * Expected: TARE_EFULL  it is being finished or read at the moment: ask again soon;
 *           and what blob_put_begin says. */
int partial_begin(struct partials *ps, const char *key, int64_t max_bytes, struct partial_turn *turn, struct err *e);

/* Take it to go on at `at`, where it stands. Expected: TARE_ENOTFOUND  it stands elsewhere, or nobody has
 * looked (partial_look) in the last minutes; TARE_EFULL. */
int partial_go_on(struct partials *ps, const char *key, int64_t at, struct partial_turn *turn, struct err *e);

/* Take it to see how far it has come (blocks): 0 and *bytes. Expected: TARE_EFULL; errno values. */
int partial_look(struct partials *ps, const char *key, int64_t max_bytes, int64_t *bytes, struct partial_turn *turn,
                 struct err *e);

/* Expected: TARE_ECONFLICT  another has taken it; and what blob_put_write says: then all of it is dropped. */
int partial_write(struct partial_turn *turn, const void *data, size_t n, struct err *e);
int64_t partial_size(struct partial_turn *turn); /* -1: another has taken it */

/* All has come: the upload, to be ended by the caller, while the turn lasts; NULL: another has taken it. */
struct blob_put *partial_finish(struct partial_turn *turn);

/* The request is over. What has come waits for another. Zeroes `turn`; none is fine. */
void partial_end(struct partials *ps, struct partial_turn *turn);

/* What waits gives way to new uploads. */
void partials_make_room(struct partials *ps);
/* Now and then (blocks): close what has waited for minutes, drop what has for PARTIAL_KEPT_S. */
void partials_tidy(struct partials *ps);

enum { PARTIAL_KEPT_S = 24 * 3600, PARTIAL_MIN_BYTES = 64 * 1024 };

#endif
