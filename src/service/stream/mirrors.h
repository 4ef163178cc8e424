/* SPDX-License-Identifier: MIT */
/* Further backends that an online run goes to, beside the one of its settings: TARE_MIRROR names them,
 * each with a sender, and so a cursor on the journal, of its own. None keeps up another, or the
 * program; at the end of the run they are waited for a while (MIRROR_END_MS).
 *
 *   TARE_MIRROR="URL [KEY], ..."    TARE_MIRROR=own   the user's own `tare server`, if it is up
 *
 * Without KEY, TARE_MIRROR_KEY. Loop thread only. */
#ifndef TARE_SERVICE_STREAM_MIRRORS_H
#define TARE_SERVICE_STREAM_MIRRORS_H

#include "service/stream/sender.h"

#include <stdbool.h>
#include <stdint.h>

struct mirrors;

struct mirrors_owner {
    void *ctx;
    void (*tell)(void *ctx, const char *text); /* for the person at the program */
    void (*over)(void *ctx);                   /* all of them have ended; not inside mirrors_open */
    int (*writer_fd)(void *ctx);               /* these two as sender_owner's */
    struct spill *(*spill)(void *ctx);
};

/* `base` says everything but the backend. NULL if there are none. `path` as sender_follow's. */
struct mirrors *mirrors_open(const struct sender_options *base, const char *path,
                             const struct mirrors_owner *owner);
void mirrors_free(struct mirrors *m); /* cancels; no call follows; NULL is fine, here and below */

void mirrors_more(struct mirrors *m, uint64_t end, bool final); /* as sender_more */
uint64_t mirrors_offset(const struct mirrors *m); /* the lowest; UINT64_MAX if there are none */
void mirrors_bound(struct mirrors *m, int64_t give_up_ns); /* as sender_bound_finish */
void mirrors_abort(struct mirrors *m);
/* Those that have not read so far are given up: what lies before is not kept. */
void mirrors_leave_behind(struct mirrors *m, uint64_t below);
void mirrors_operations(const struct mirrors *m, struct buf *to); /* of one that is not over, as sender_operations */
bool mirrors_are_over(const struct mirrors *m);

#endif
