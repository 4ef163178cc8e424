/* SPDX-License-Identifier: MIT */
/* The streams of this process by their ids (the peer's StreamMux). Loop thread only. */
#ifndef TARE_SERVICE_STREAMS_H
#define TARE_SERVICE_STREAMS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct service;
struct stream;

struct streams {
    uv_timer_t gather; /* fires JOURNAL_GATHER_MS after the first stream became dirty */
    struct stream *by_id;   /* hash table: those that take records */
    struct stream *closing; /* list: finished, their last bytes on the way */
    struct stream *dirty;   /* list: records have come, to be written when the timer fires */
    int n_open, n_closing;
    uint64_t changes; /* counts what was taken out of the table, for those who keep a pointer */
};

void streams_init(struct streams *m, uv_loop_t *loop);
void streams_fini(struct streams *m); /* closes the timer; no stream is left */

/* Make stream `id` with serialized Settings and begin to open its journal. NULL and the reason in
 * `e` if the id is in use or the settings are no good. */
struct stream *streams_open(struct streams *m, struct service *service, struct str id,
                            struct str settings, struct err *e);

/* NULL if there is none. */
struct stream *streams_find(struct streams *m, struct str id);

/* Take it out of the table: its id is free for a new stream at once. It lives on until its journal
 * is closed, then streams_closed is called. NULL if there is none. */
struct stream *streams_remove(struct streams *m, struct str id);

/* Records have come for `s`: have journal_stage_flush called for it within JOURNAL_GATHER_MS. */
void streams_write_soon(struct streams *m, struct stream *s);

/* The stream has closed and is about to be freed. */
void streams_closed(struct streams *m, struct stream *s);

/* End them all; see stream_end. */
void streams_end_all(struct streams *m, bool finish, int run_exit);

/* Of those that are ending; see stream_tell_waits and stream_bound. */
void streams_tell_waits(struct streams *m);
void streams_bound(struct streams *m, int64_t within_ns);

/* Close the file of the stream that was idle longest, to be opened again on need. False if all
 * are in use. */
bool streams_spare_a_descriptor(struct streams *m);

#endif
