/* SPDX-License-Identifier: MIT */
/* One run: joins its handler, which decides, to its journal, which keeps, and to those who asked.
 *
 *   record ─► handler ─► journal stage ─► file
 *                │            │
 *                └─ answers ──┴─► mailbox ─► connection     (at once, or when written)
 *
 * Loop thread only. */
#ifndef TARE_SERVICE_STREAM_STREAM_H
#define TARE_SERVICE_STREAM_STREAM_H

#include "base/err.h"
#include "base/str.h"
#include "service/stream/handler.h"
#include "service/stream/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct service;
struct stream;

/* Begin: the journal is being opened when this returns, records may come. NULL and the reason in
 * `e` if the settings are no good. */
struct stream *stream_new(struct service *service, struct str id, struct str settings,
                          struct err *e);

/* The request `serial` is answered when the journal is open, or with the reason why it cannot be;
 * in the latter case the stream leaves the mux by itself. */
void stream_answer_when_open(struct stream *s, uint64_t serial);

/* One serialized Record. 0 or TARE_EFORMAT. */
int stream_record(struct stream *s, struct str record, const struct reply_to *to, bool is_exit,
                  int64_t now_ns);

/* Too much waits for the disk: the connection that brought the last record should wait too. */
bool stream_is_full(const struct stream *s);
void stream_add_waiter(struct stream *s, struct connection *c);
void stream_remove_waiter(struct stream *s, struct connection *c);

/* No more records will come: write what is open, close the journal, call streams_closed. It has
 * left the mux already. */
void stream_finish(struct stream *s);
void stream_answer_when_closed(struct stream *s, uint64_t serial);

/* The same at the end of the service: with `give_exit`, an exit record with this code is made if
 * none has come, and the footer is printed. */
void stream_end(struct stream *s, bool give_exit, int exit_code);

/* While that lasts: what it waits for is printed, if a footer will be and it is not what was last. */
void stream_tell_waits(struct stream *s);
/* Nobody waits for its uploads longer than this. */
void stream_bound(struct stream *s, int64_t within_ns);

struct str stream_id(const struct stream *s);
struct str stream_settings_bytes(const struct stream *s); /* the Settings of inform_init */
struct request_list *stream_requests(struct stream *s);
/* Request `serial` of the stream that `requests` belongs to needs no answer any more. */
void stream_cancelled(struct request_list *requests, uint64_t serial);

/* Give up the file's descriptor for now, if it is not in use; false if it is. */
bool stream_park(struct stream *s);

#endif
