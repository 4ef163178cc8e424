/* SPDX-License-Identifier: MIT */
/* A place in a journal, moved forward record by record: what every sender reads from.
 *
 * The journal may be our own and still written (cursor_more says that it has grown), someone else's
 * and still growing (`live`, looked at now and then), or finished. Blocks are read on a worker thread
 * and records given on the loop, in slices, until the taker has enough. What was just written is in
 * the page cache: that is the tail. Loop thread only. */
#ifndef TARE_SERVICE_STREAM_CURSOR_H
#define TARE_SERVICE_STREAM_CURSOR_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct cursor;
struct journal_gap;
struct spill;

struct cursor_owner {
    void *ctx;
    /* A record; `end` is the offset behind it. False: enough for now, until cursor_go. */
    bool (*record)(void *ctx, struct str record, uint64_t end);
    void (*gap)(void *ctx, const struct journal_gap *gap); /* what could not be read; may be NULL */
    void (*at_end)(void *ctx); /* all that there is has been given; of a live journal: for now */
    void (*failed)(void *ctx, int error, const char *why); /* the file cannot be read (any more) */
    /* For cursor_follow: the writer's descriptor, -1 while it is parked; may be NULL. */
    int (*writer_fd)(void *ctx);
    /* For cursor_follow: where the journal goes on that its disk does not take, NULL while it does; may be NULL. */
    struct spill *(*spill)(void *ctx);
};

/* Read `path` from the offset `from` (0 for the start). Nothing is given before cursor_go. */
struct cursor *cursor_new(uv_loop_t *loop, const char *path, uint64_t from, bool live,
                          const struct cursor_owner *owner);
/* The same for a journal that this process writes, up to what cursor_more allows. `path` is opened
 * when there is something to read and closed when all is read; where that fails, or is NULL (a
 * memory file), the writer's descriptor is duplicated for the time. */
struct cursor *cursor_follow(uv_loop_t *loop, const char *path, uint64_t from,
                             const struct cursor_owner *owner);
void cursor_free(struct cursor *c); /* no call follows */

void cursor_go(struct cursor *c);
/* The journal holds whole records up to `end`; `final`: it will not grow any more. What came is
 * read when it is much, or CURSOR_GATHER_MS later. */
void cursor_more(struct cursor *c, uint64_t end, bool final);
/* A `live` journal will not grow any more: what is there is given, at_end comes (again), and is the last. */
void cursor_end_live(struct cursor *c);
/* Someone waits: read on now, and at once whatever comes in the next second. */
void cursor_hurry(struct cursor *c);
uint64_t cursor_offset(const struct cursor *c); /* behind the last record given */

#endif
