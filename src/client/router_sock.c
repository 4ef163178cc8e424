/* SPDX-License-Identifier: MIT */
#include "client/router_sock.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "client/last_error.h"
#include "client/message.h"

#include <errno.h>
#include <time.h>

void router_init(struct router *r)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->answered, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&r->lock, NULL);
    r->slots = NULL;
    r->closed = false;
}

void router_fini(struct router *r)
{
    while (r->slots) {
        struct slot *s = r->slots;
        r->slots = s->next;
        buf_fini(&s->response);
        mem_free(s);
    }
    pthread_cond_destroy(&r->answered);
    pthread_mutex_destroy(&r->lock);
}

struct slot *router_slot(struct router *r, struct tare_run *run, slot_fn *on_answer)
{
    struct slot *s = mem_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    random_id(s->id, SLOT_ID);
    s->run = run;
    s->on_answer = on_answer;
    pthread_mutex_lock(&r->lock);
    s->next = r->slots;
    r->slots = s;
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* The lock is held. */
static void unlink_slot(struct router *r, struct slot *slot)
{
    for (struct slot **at = &r->slots; *at; at = &(*at)->next)
        if (*at == slot) {
            *at = slot->next;
            return;
        }
}

void router_free(struct router *r, struct slot *slot)
{
    pthread_mutex_lock(&r->lock);
    unlink_slot(r, slot);
    pthread_mutex_unlock(&r->lock);
    buf_fini(&slot->response);
    mem_free(slot);
}

static int judge(const struct slot *slot)
{
    if (slot->failed)
        return last_error_set(TARE_ECLOSED, "the service ended before it answered");
    struct str error = message_get(buf_str(&slot->response), RESP_ERROR);
    if (!error.p)
        return 0;
    struct str text = message_get(error, 1);
    return last_error_set(TARE_ESERVICE, "the service: %.*s", STR_ARG(text));
}

int router_wait(struct router *r, struct slot *slot, int timeout_ms)
{
    int64_t end = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    struct timespec ts = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    pthread_mutex_lock(&r->lock);
    int rc = 0;
    while (!slot->answered && !slot->failed && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&r->answered, &r->lock, &ts);
    bool done = slot->answered || slot->failed;
    pthread_mutex_unlock(&r->lock);
    if (!done)
        return last_error_set(TARE_ETIMEOUT, "the service did not answer within %d ms", timeout_ms);
    return judge(slot);
}

/* The lock is held; it is let go for a callback. */
static void finish(struct router *r, struct slot *s, struct str response)
{
    unlink_slot(r, s);
    if (s->on_answer) {
        pthread_mutex_unlock(&r->lock);
        s->on_answer(s, response);
        buf_fini(&s->response);
        mem_free(s);
        pthread_mutex_lock(&r->lock);
        return;
    }
    if (response.p && buf_put_str(&s->response, response) == 0)
        s->answered = true;
    else
        s->failed = true;
    pthread_cond_broadcast(&r->answered);
}

/* A response is known by its request_id; older services set only the result's slot. */
static struct str address_of(struct str response)
{
    struct str id = message_get(response, RESP_ID);
    if (id.n)
        return id;
    struct str control = message_get(message_get(response, RESP_RESULT), RESULT_CONTROL);
    return message_get(control, CONTROL_SLOT);
}

void router_deliver(struct router *r, struct str response,
                    void (*on_match)(void *arg, struct tare_run *run, uint64_t position),
                    void *arg)
{
    struct str id = address_of(response);
    pthread_mutex_lock(&r->lock);
    for (struct slot *s = r->slots; s && id.n; s = s->next) {
        if (!str_eqz(id, s->id))
            continue;
        if (s->run && s->position && on_match)
            on_match(arg, s->run, s->position);
        finish(r, s, response);
        break;
    }
    pthread_mutex_unlock(&r->lock);
}

void router_set_position(struct router *r, const char *id, uint64_t position)
{
    pthread_mutex_lock(&r->lock);
    for (struct slot *s = r->slots; s; s = s->next)
        if (strcmp(s->id, id) == 0)
            s->position = position;
    pthread_mutex_unlock(&r->lock);
}

void router_abandon(struct router *r, const struct tare_run *run)
{
    pthread_mutex_lock(&r->lock);
    for (struct slot *s = r->slots; s;) {
        if (!s->position || (run && s->run != run)) {
            s = s->next;
            continue;
        }
        finish(r, s, (struct str){0});
        s = r->slots; /* the list may have changed meanwhile */
    }
    pthread_mutex_unlock(&r->lock);
}
