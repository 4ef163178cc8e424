/* SPDX-License-Identifier: MIT */
/* Matches the service's responses to our requests by mailbox slot (the peer's MessageSockRouter;
 * newer ones say Mailbox). */
#ifndef TARE_CLIENT_ROUTER_SOCK_H
#define TARE_CLIENT_ROUTER_SOCK_H

#include "base/buf.h"
#include "base/str.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { SLOT_ID = 12 };

struct slot;
struct tare_run;

/* Told of an answer in the courier's thread; `response` is a ServerResponse, p == NULL if none
 * will come. */
typedef void slot_fn(struct slot *slot, struct str response);

struct slot {
    struct slot *next;
    char id[SLOT_ID + 1];
    struct tare_run *run;  /* NULL if of no run */
    uint64_t position;     /* of the run's outbox behind the request; 0 until it is there */
    slot_fn *on_answer;    /* NULL: someone waits */
    bool answered, failed;
    struct buf response;   /* for who waits */
};

struct router {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct slot *slots; /* those without an answer */
    bool closed;
};

void router_init(struct router *r);
void router_fini(struct router *r); /* nobody may wait */

/* A new slot with an id of its own; NULL when out of memory. */
struct slot *router_slot(struct router *r, struct tare_run *run, slot_fn *on_answer);

/* Wait for the answer, at most `timeout_ms`; the ServerResponse is then in slot->response.
 * Expected: TARE_ETIMEOUT, TARE_ECLOSED (no answer will come), TARE_ESERVICE (an error_response;
 *           its text is the last error) */
int router_wait(struct router *r, struct slot *slot, int timeout_ms);

/* Forget a slot that router_slot gave and that nobody waits for (any more). */
void router_free(struct router *r, struct slot *slot);

/* Courier: a ServerResponse came. `on_match` is told the slot's run and position first. */
void router_deliver(struct router *r, struct str response,
                    void (*on_match)(void *arg, struct tare_run *run, uint64_t position),
                    void *arg);

/* Courier: the request of slot `id` ends at `position` of its run's outbox. */
void router_set_position(struct router *r, const char *id, uint64_t position);

/* Courier: no answers will come to the requests of `run` (NULL: of any) that are on their way. */
void router_abandon(struct router *r, const struct tare_run *run);

#endif
