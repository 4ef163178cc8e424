/* SPDX-License-Identifier: MIT */
/* The requests that wait for an answer: who asked, and about which stream.
 *
 * An entry is made when a request comes and taken when it is answered, cancelled or when the one
 * who asked has gone; whatever happens second finds nothing. So each request is answered at most
 * once, and an answer can never reach a connection that was closed. Loop thread only. */
#ifndef TARE_SERVICE_STREAM_MAILBOX_H
#define TARE_SERVICE_STREAM_MAILBOX_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct stream;
struct request;

struct mailbox {
    struct request *by_serial; /* hash table */
    struct request *taken;     /* kept until the next call, for the strings in `struct asked` */
    uint64_t last_serial;
};

/* The requests of one connection or of one stream; embedded in it, zero at first. */
struct request_list {
    struct request *first;
};

/* What mailbox_take gives; the strings are valid until the next call of the mailbox. */
struct asked {
    struct connection *connection;
    struct str request_id, mailbox_slot;
};

void mailbox_init(struct mailbox *m);
void mailbox_fini(struct mailbox *m);

/* Note a request; returns its serial number, never 0. The strings are copied. `of_stream` may be
 * NULL. */
uint64_t mailbox_put(struct mailbox *m, struct connection *c, struct request_list *of_connection,
                     struct request_list *of_stream, struct str request_id, struct str slot);

/* Take request `serial` out; false if it is no longer there. */
bool mailbox_take(struct mailbox *m, uint64_t serial, struct asked *to);

/* Take the oldest request of a list; false when there is none. */
bool mailbox_take_any(struct mailbox *m, struct request_list *list, struct asked *to);

/* Drop the connection's request with this id, if it still waits. Its serial number, or 0 if there
 * is none; *of_stream (if not NULL) is what mailbox_put had. */
uint64_t mailbox_cancel(struct mailbox *m, struct request_list *of_connection,
                        struct str request_id, struct request_list **of_stream);

#endif
