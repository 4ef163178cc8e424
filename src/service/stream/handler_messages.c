/* SPDX-License-Identifier: MIT */
/* Messages for the person at the client: kept until an internal_messages request takes them; a
 * request that waits is answered with the next one. */
#include "service/stream/handler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "record/wire.h"

#include <stdarg.h>
#include <stdio.h>

static void answer(struct handler *h, const struct reply_to *to, enum reply_when when)
{
    enum { INTERNAL_MESSAGES_RESPONSE = 37, MESSAGES = 1, WARNING = 1 };
    AUTO_BUF body = {0};
    size_t mark = wire_buf_begin(&body, MESSAGES);
    for (uint32_t i = 0; i < h->n_messages; i++) {
        wire_buf_bytes(&body, WARNING, str_of(h->messages[i]));
        mem_free(h->messages[i]);
    }
    h->n_messages = 0;
    if (h->messages_lost)
        wire_buf_bytes(&body, WARNING, STR("There were more messages than could be kept."));
    h->messages_lost = false;
    wire_buf_end(&body, mark);
    handler_respond(h, to, INTERNAL_MESSAGES_RESPONSE, buf_str(&body), when);
}

/* Answer the oldest waiter. */
static void answer_waiter(struct handler *h, enum reply_when when)
{
    struct waiter **at = &h->waiters;
    while ((*at)->next)
        at = &(*at)->next;
    struct waiter *w = *at;
    *at = NULL;
    answer(h, &w->to, when);
    mem_free(w);
}

void handler_warn(struct handler *h, const char *text)
{
    diag_warn("handler: %s", text);
    if (!h->messages)
        h->messages = xmem_calloc(HANDLER_MAX_MESSAGES, sizeof *h->messages);
    char *copy = h->n_messages < HANDLER_MAX_MESSAGES ? mem_strndup(text, strlen(text)) : NULL;
    if (!copy) {
        h->messages_lost = true;
        return;
    }
    h->messages[h->n_messages++] = copy;
    if (h->waiters)
        answer_waiter(h, REPLY_NOW);
}

void handler_warnf(struct handler *h, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    handler_warn(h, text);
}

void rule_internal_messages(struct handler *h, const struct incoming *in)
{
    struct wire_reader r = wire_open(in->body);
    struct wire_field f;
    bool wait = false;
    while (wire_next(&r, &f) == 1)
        if (f.number == 1 && f.type == WIRE_VARINT)
            wait = f.value != 0;
    if (!in->to->wanted)
        return;
    bool no_more = h->closed || (h->exited && (!h->online || h->sent));
    if (!wait || h->n_messages || h->messages_lost || no_more) {
        answer(h, in->to, REPLY_NOW);
        return;
    }
    struct waiter *w = xmem_calloc(1, sizeof *w);
    *w = (struct waiter){.next = h->waiters, .to = *in->to};
    h->waiters = w;
}

void handler_release_waiters(struct handler *h, enum reply_when when)
{
    while (h->waiters)
        answer_waiter(h, when);
}

/* Who cancelled gets no answer, and takes no messages from who comes after. */
static struct waiter **drop_waiter(struct waiter **at)
{
    struct waiter *w = *at;
    *at = w->next;
    mem_free(w);
    return at;
}

void handler_cancel(struct handler *h, uint64_t connection_id)
{
    for (struct waiter **at = &h->waiters; *at;)
        at = (*at)->to.connection_id == connection_id ? drop_waiter(at) : &(*at)->next;
}

static void cancel_slot(struct handler *h, struct str slot)
{
    for (struct waiter **at = &h->waiters; *at;)
        at = str_eqz(slot, (*at)->to.mailbox_slot) ? drop_waiter(at) : &(*at)->next;
}

void rule_cancel(struct handler *h, const struct incoming *in)
{
    enum { CANCEL_RESPONSE = 36 };
    struct wire_reader r = wire_open(in->body);
    struct wire_field f = {0};
    while (wire_next(&r, &f) == 1)
        if (f.number == 1 && f.type == WIRE_BYTES && f.bytes.n)
            cancel_slot(h, f.bytes);
    handler_respond(h, in->to, CANCEL_RESPONSE, STR(""), REPLY_NOW);
}

void handler_messages_fini(struct handler *h)
{
    for (uint32_t i = 0; i < h->n_messages; i++)
        mem_free(h->messages[i]);
    mem_free(h->messages);
    while (h->waiters) {
        struct waiter *next = h->waiters->next;
        mem_free(h->waiters);
        h->waiters = next;
    }
}
