/* SPDX-License-Identifier: MIT */
/* Records as C structures: decoded into an arena, encoded into a buffer.
 *
 * The structures (Pb__Record, Pb__ServerRequest, ...) are generated from proto/ at build time by
 * protobuf-c. Everything decoded lives in the arena it was decoded into: nothing is freed on its
 * own, and protobuf_c_message_free_unpacked must not be called. The hot path does not come here:
 * see record/wire.h.
 *
 * Bytes may be hostile. Depth is bounded because no message that a client can send contains
 * itself; memory is bounded by the limit of the arena (a decoded message can be some 40 times as
 * large as its bytes). Strings are NUL-terminated: what follows a NUL in one is not seen, except
 * in console output, which is decoded as bytes. Any thread, an arena from one at a time. */
#ifndef TARE_RECORD_RECORD_H
#define TARE_RECORD_RECORD_H

#include "server.pb-c.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* Decode `len` bytes as the message `type` into `a`; `*out` points into `a`.
 * Expected: TARE_EFORMAT  not such a message
 *           TARE_ELIMIT   the arena's limit (or memory) is not enough */
int record_unpack(const ProtobufCMessageDescriptor *type, struct arena *a, const void *bytes,
                  size_t len, ProtobufCMessage **out, struct err *e);

/* The same for the messages that matter. */
int record_decode(struct arena *a, const void *bytes, size_t len, Pb__Record **out, struct err *e);
int record_decode_request(struct arena *a, const void *bytes, size_t len, Pb__ServerRequest **out,
                          struct err *e);
int record_decode_response(struct arena *a, const void *bytes, size_t len,
                           Pb__ServerResponse **out, struct err *e);

/* Append the bytes of `m` (any message: pass &x->base). Bytes before it stay untouched on failure.
 * Expected: TARE_ENOMEM. */
int record_encode(struct buf *b, const ProtobufCMessage *m);

/* An empty message of `type` in `a`, its fields at their defaults; NULL: over the arena's limit. */
void *record_new(struct arena *a, const ProtobufCMessageDescriptor *type);

/* `list` (of `n` pointers, in `a`) with `item` added: a larger copy every power of two, so adding
 * n items costs about 2n pointers of arena. NULL: over the limit, `list` is as it was. Usage:
 *     x->item = record_list_add(a, x->item, x->n_item, it);  x->n_item++; */
void *record_list_add(struct arena *a, void *list, size_t n, void *item);

#endif
