/* SPDX-License-Identifier: MIT */
#include "service/stream/mailbox.h"

#include "base/alloc.h"

#include <string.h>
#include <uthash.h>
#include <utlist.h>

struct request {
    uint64_t serial;
    struct connection *connection;
    struct request_list *of_connection, *of_stream;
    struct request *conn_prev, *conn_next;     /* in of_connection */
    struct request *stream_prev, *stream_next; /* in of_stream */
    UT_hash_handle hh;
    size_t id_len, slot_len;
    char text[]; /* request id, mailbox slot */
};

static void forget_taken(struct mailbox *m)
{
    mem_free(m->taken);
    m->taken = NULL;
}

void mailbox_init(struct mailbox *m)
{
    *m = (struct mailbox){0};
}

static void detach(struct mailbox *m, struct request *r)
{
    HASH_DEL(m->by_serial, r);
    DL_DELETE2(r->of_connection->first, r, conn_prev, conn_next);
    if (r->of_stream)
        DL_DELETE2(r->of_stream->first, r, stream_prev, stream_next);
}

void mailbox_fini(struct mailbox *m)
{
    while (m->by_serial) {
        struct request *r = m->by_serial;
        detach(m, r);
        mem_free(r);
    }
    forget_taken(m);
}

uint64_t mailbox_put(struct mailbox *m, struct connection *c, struct request_list *of_connection,
                     struct request_list *of_stream, struct str request_id, struct str slot)
{
    forget_taken(m);
    struct request *r = xmem_calloc(1, sizeof *r + request_id.n + slot.n);
    r->serial = ++m->last_serial;
    r->connection = c;
    r->of_connection = of_connection;
    r->of_stream = of_stream;
    r->id_len = request_id.n;
    r->slot_len = slot.n;
    if (request_id.n)
        memcpy(r->text, request_id.p, request_id.n);
    if (slot.n)
        memcpy(r->text + request_id.n, slot.p, slot.n);
    HASH_ADD(hh, m->by_serial, serial, sizeof r->serial, r);
    DL_APPEND2(of_connection->first, r, conn_prev, conn_next);
    if (of_stream)
        DL_APPEND2(of_stream->first, r, stream_prev, stream_next);
    return r->serial;
}

static void take(struct mailbox *m, struct request *r, struct asked *to)
{
    forget_taken(m);
    detach(m, r);
    m->taken = r;
    *to = (struct asked){r->connection, {r->text, r->id_len}, {r->text + r->id_len, r->slot_len}};
}

bool mailbox_take(struct mailbox *m, uint64_t serial, struct asked *to)
{
    struct request *r;
    HASH_FIND(hh, m->by_serial, &serial, sizeof serial, r);
    if (!r)
        return false;
    take(m, r, to);
    return true;
}

bool mailbox_take_any(struct mailbox *m, struct request_list *list, struct asked *to)
{
    if (!list->first)
        return false;
    take(m, list->first, to);
    return true;
}

uint64_t mailbox_cancel(struct mailbox *m, struct request_list *of_connection,
                        struct str request_id, struct request_list **of_stream)
{
    struct request *r;
    DL_FOREACH2(of_connection->first, r, conn_next)
        if (str_eq(request_id, str_make(r->text, r->id_len))) {
            struct asked ignored;
            take(m, r, &ignored);
            if (of_stream)
                *of_stream = r->of_stream;
            return r->serial;
        }
    return 0;
}
