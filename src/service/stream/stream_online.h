/* SPDX-License-Identifier: MIT */
/* The online half of a stream: its sender, and what it means for the run's answers.
 *
 *   handler ─► journal ─► sender ─► backend
 *      ▲                     │
 *      └── the run is known ─┤   (the answer to the run record; where steps and clock go on)
 *          all is there ─────┘   (the answer to the exit)
 *
 * A stream of an offline run has none: nothing of this is made or loaded. Loop thread only. */
#ifndef TARE_SERVICE_STREAM_STREAM_ONLINE_H
#define TARE_SERVICE_STREAM_STREAM_ONLINE_H

#include "base/buf.h"
#include "base/str.h"
#include "service/stream/handler.h"

#include <stdbool.h>
#include <stdint.h>

struct online;
struct stream;

/* For a stream whose settings are not offline, when it is made. */
struct online *online_new(struct stream *s);
void online_free(struct online *o); /* cancels; NULL is fine */

void online_journal_opened(struct online *o);
/* More is written, a job is done, or no more records will come. */
void online_advance(struct online *o);
/* An exit record has come; `serial` is who waits for its answer, 0 for nobody. The setting finish_timeout counts
 * from here. */
void online_exit(struct online *o, uint64_t serial);
/* Whoever asked for the exit waits for nothing but the backend: answer then. */
void online_answer_exit(struct online *o, uint64_t serial);
/* A request was cancelled: if it was the exit, the uploads end, as with the peer. */
void online_cancelled(struct online *o, uint64_t serial);
/* Who waits for the exit, if anyone does, wants to be gone: the same. */
void online_exit_unwanted(struct online *o);
/* Nobody waits longer than so for what is left. */
void online_bound(struct online *o, int64_t within_ns);
/* Nothing will be sent any more. */
bool online_is_over(const struct online *o);
/* A journal in memory keeps what is not sent: too much of it waits. */
bool online_is_full(const struct online *o);

/* handler_out.ask */
void online_ask(struct online *o, enum handler_ask what, struct buf *to);
/* handler_out.artifact; `serial` is who waits for the answer, 0 for nobody. */
void online_artifact(struct online *o, uint32_t kind, struct str request, uint64_t serial);
void online_job_input(struct online *o, struct str request); /* handler_out.job_input */
void online_probed(struct online *o); /* handler_out.probed */
/* What is under way, in words: never empty. */
void online_put_waits(const struct online *o, struct buf *to);
struct footer;
void online_put_footer(const struct online *o, struct footer *f); /* borrowed from `o` */

#endif
