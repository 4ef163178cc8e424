/* SPDX-License-Identifier: MIT */
/* A turn of the courier:
 *
 *   ring ──format──► the run's outbox ──send──► service
 *                          ▲ ack ◄──router── its answers
 *
 * The outbox keeps what was sent until the service is known to have dealt with it: after
 * BARRIER_BYTES or BARRIER_MS the courier asks a `status` request, which every service answers in
 * order. What was acknowledged is kept for KEEP_MS longer, and the last KEEP_BYTES before that as
 * well, since services write a little later than they answer (ours within 10 ms, the peer when a
 * block of 32 KiB is full).
 *
 * What happens when the service is lost stands in lost.c.
 *
 * Sleep: while entries come, the courier looks every NAP_MS without being woken, so that logging
 * costs no system call; after IDLE_TURNS empty turns it sleeps until woken. */
#include "client/courier.h"

#include "base/clock.h"
#include "base/alloc.h"
#include "client/files.h"
#include "client/format.h"
#include "client/local.h"
#include "client/lost.h"
#include "client/message.h"
#include "client/run.h"
#include "client/setup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum {
    BARRIER_BYTES = 128 << 10,
    BARRIER_MS = 50,
    BARRIERS_MAX = 2,
    KEEP_BYTES = 128 << 10,
    KEEP_MS = 100,
    UNSENT_MAX = 1 << 20, /* formatted ahead of the socket */
    NAP_MS = 1,
    IDLE_TURNS = 5,
};

static const int64_t ms_ns = 1000000;

/* ---- out ---- */

int courier_ask(struct manager *m, struct tare_run *run, struct slot *slot, struct str message)
{
    router_set_position(&m->router, slot->id, run->out.built + 5 + message.n);
    int rc = courier_emit(m, run, message);
    if (rc)
        router_free(&m->router, slot);
    return rc;
}

int courier_emit(struct manager *m, struct tare_run *run, struct str message)
{
    if (m->local)
        return lost_emit(m, run, message);
    int rc = outbox_put(&run->out, message);
    if (rc == 0 && !run->unasked_since_ns)
        run->unasked_since_ns = clock_mono_ns();
    return rc;
}

/* ---- in from the ring ---- */

/* The next double above a positive one. */
static double next_above(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits++;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void do_values(struct manager *m, struct tare_run *run, enum entry_kind kind,
                      const char *payload)
{
    struct entry_values head;
    AUTO_BUF b = {0};
    memcpy(&head, payload, sizeof head);
    if (kind == ENTRY_LOG) {
        if (head.timestamp <= run->last_timestamp)
            head.timestamp = next_above(run->last_timestamp);
        run->last_timestamp = head.timestamp;
    }
    int rc = format_entry(m, run, kind, &head, payload + sizeof head, &b);
    if (rc == 0)
        rc = courier_emit(m, run, buf_str(&b));
    if (rc == TARE_ENOMEM)
        atomic_fetch_add(&run->n_dropped, 1);
}

static void do_message(struct manager *m, struct tare_run *run, const char *payload, size_t n)
{
    struct entry_message head;
    memcpy(&head, payload, sizeof head);
    struct str message = str_make(payload + sizeof head, n - sizeof head);
    if (!run) {
        if (!m->local)
            outbox_put(&m->control, message);
        return;
    }
    if (head.slot[0]) /* before it can be answered */
        router_set_position(&m->router, head.slot, run->out.built + 5 + message.n);
    courier_emit(m, run, message);
}

static void add_run(struct manager *m, struct tare_run *run)
{
    struct err e;
    run->next = m->runs;
    m->runs = run;
    if (!m->local || run->attached)
        return;
    if (local_open(run, false, &e) != 0)
        manager_say(m, TARE_ERROR, "run %s is not kept: %s", run->id, e.text);
    else
        atomic_store(&run->in_file, true);
}

static void release_run(struct manager *m, struct tare_run *run)
{
    for (struct tare_run **at = &m->runs; *at; at = &(*at)->next)
        if (*at == run) {
            *at = run->next;
            break;
        }
    if (m->sending == run)
        m->sending = NULL;
    router_abandon(&m->router, run);
    if (run->local)
        local_close(run->local);
    run->local = NULL;
    if (!atomic_load(&setup_exiting))
        run_free(run);
}

static void do_entry(struct manager *m, struct tare_run *run, enum entry_kind kind,
                     const char *payload, size_t n)
{
    switch (kind) {
    case ENTRY_LOG:
    case ENTRY_CONFIG:
    case ENTRY_SUMMARY:
        do_values(m, run, kind, payload);
        return;
    case ENTRY_MESSAGE:
        do_message(m, run, payload, n);
        return;
    case ENTRY_SAVE:
        files_save(m, run, payload, n);
        return;
    case ENTRY_ARTIFACT:
        files_artifact(m, run, payload, n);
        return;
    case ENTRY_ADD_RUN:
        add_run(m, run);
        return;
    case ENTRY_RELEASE_RUN:
        release_run(m, run);
        return;
    }
}

static bool must_wait(const struct manager *m, const struct ring_entry *e)
{
    if (m->local || !e->run)
        return false;
    const struct outbox *o = &e->run->out;
    if (e->kind == ENTRY_RELEASE_RUN) /* its outbox goes first */
        return o->sent < o->built;
    return o->built - o->sent > UNSENT_MAX || outbox_held(o) > m->setup.window_bytes + KEEP_BYTES;
}

/* Take entries from the ring until it is empty or an outbox is full. How many. */
static int drain(struct manager *m)
{
    int n = 0;
    struct ring_entry *e;
    while ((e = ring_peek(&m->ring)) && n < 10000 && !must_wait(m, e)) {
        if (e->flags & ENTRY_HEAVY) {
            struct heavy h;
            memcpy(&h, e->payload, sizeof h);
            do_entry(m, e->run, (enum entry_kind)e->kind, h.bytes, h.n);
            mem_free(h.bytes);
            atomic_fetch_sub(&m->heavy_bytes, h.n);
        } else {
            do_entry(m, e->run, (enum entry_kind)e->kind, e->payload, e->len);
        }
        ring_drop(&m->ring, e);
        n++;
    }
    return n;
}

/* ---- the socket ---- */

static void on_match(void *arg, struct tare_run *run, uint64_t position)
{
    (void)arg;
    int64_t now = clock_mono_ns();
    int n_old = 0;
    if (position > atomic_load(&run->acked_bytes))
        atomic_store(&run->acked_bytes, position);
    while (n_old < run->n_acks && now - run->acks[n_old].ns >= KEEP_MS * ms_ns)
        n_old++;
    if (n_old) {
        outbox_ack(&run->out, run->acks[n_old - 1].position, KEEP_BYTES);
        run->n_acks -= n_old;
        memmove(run->acks, run->acks + n_old, (size_t)run->n_acks * sizeof *run->acks);
    }
    if (run->n_acks == RUN_ACKS) /* the newest stands for both: kept longer, never shorter */
        run->n_acks--;
    run->acks[run->n_acks++] = (struct run_ack){position, now};
}

static int receive(struct manager *m)
{
    size_t before = m->sock.in.len - m->sock.in_at;
    int rc = sock_client_receive(&m->sock);
    if (m->sock.in.len - m->sock.in_at != before)
        m->progress_ns = clock_mono_ns();
    struct str message;
    int got;
    while ((got = sock_client_next(&m->sock, &message)) > 0)
        router_deliver(&m->router, message, on_match, NULL);
    return got < 0 ? got : rc;
}

/* Send from one outbox. 1: all of it went, 0: the socket is full. */
static int send_outbox(struct manager *m, struct outbox *o)
{
    struct str s;
    while ((s = outbox_unsent(o)).n) {
        ssize_t n = sock_client_send(&m->sock, s);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        outbox_sent(o, (size_t)n);
        m->progress_ns = clock_mono_ns();
    }
    return 1;
}

static int send_run(struct manager *m, struct tare_run *run)
{
    int rc = send_outbox(m, &run->out);
    atomic_store(&run->sent_bytes, run->out.sent);
    m->sending = rc == 0 ? run : NULL;
    return rc;
}

/* Send what the socket takes: first the rest of a frame that is partly sent. */
static int send_all(struct manager *m)
{
    int rc = m->sending ? send_run(m, m->sending) : 1;
    for (struct tare_run *r = m->runs; r && rc > 0; r = r->next)
        if (r->out.sent < r->out.built)
            rc = send_run(m, r);
    return rc > 0 ? send_outbox(m, &m->control) : rc;
}

static bool has_unsent(const struct manager *m)
{
    for (const struct tare_run *r = m->runs; r; r = r->next)
        if (r->out.sent < r->out.built)
            return true;
    return m->control.sent < m->control.built;
}

/* ---- barriers ---- */

static void on_barrier(struct slot *slot, struct str response)
{
    (void)response;
    slot->run->n_barriers--;
}

static void ask(struct manager *m, struct tare_run *run, int64_t now)
{
    AUTO_BUF b = {0};
    struct slot *slot = router_slot(&m->router, run, on_barrier);
    if (!slot)
        return; /* the next turn tries again */
    message_put_request(&b, REQUEST_STATUS, run->id, slot->id);
    slot->position = run->out.built + 5 + b.len;
    if (b.failed || outbox_put(&run->out, buf_str(&b)) != 0) {
        router_free(&m->router, slot);
        return;
    }
    if (run->n_barriers++ == 0)
        run->owed_since_ns = now;
    run->unasked = run->out.built;
    run->unasked_since_ns = 0;
}

/* Ask the runs that are due; returns the milliseconds until the next is, -1 if none will be. */
static int ask_due(struct manager *m, int64_t now)
{
    int next_ms = -1;
    for (struct tare_run *r = m->runs; r; r = r->next) {
        if (!r->unasked_since_ns || r->n_barriers >= BARRIERS_MAX)
            continue;
        int64_t left = r->unasked_since_ns + BARRIER_MS * ms_ns - now;
        if (left <= 0 || r->out.built - r->unasked >= BARRIER_BYTES)
            ask(m, r, now);
        else if (next_ms < 0 || left / ms_ns < next_ms)
            next_ms = (int)(left / ms_ns) + 1;
    }
    return next_ms;
}

static bool is_owed(const struct manager *m)
{
    for (const struct tare_run *r = m->runs; r; r = r->next)
        if (r->n_barriers > 0)
            return true;
    return has_unsent(m);
}

/* ---- the loop ---- */

static void swallow(const struct pollfd *p)
{
    char bytes[64];
    if (p->revents & ~POLLIN) { /* the program has closed our pipe: at least do not spin */
        poll(NULL, 0, NAP_MS);
        return;
    }
    while (read(p->fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        ;
}

/* Sleep until there is something to do, at most `timeout_ms` (-1: no bound). */
static void doze(struct manager *m, int timeout_ms, bool until_woken)
{
    struct pollfd p[2] = {{.fd = m->wake[0], .events = POLLIN},
                          {.fd = m->local ? -1 : m->sock.fd, .events = POLLIN}};
    if (!m->local && has_unsent(m))
        p[1].events |= POLLOUT;
    if (until_woken && !ring_sleep(&m->ring))
        return;
    poll(p, 2, timeout_ms);
    if (until_woken)
        ring_awake(&m->ring);
    if (p[0].revents)
        swallow(&p[0]);
}

/* One turn with the service; the milliseconds until it wants another one, -1: when woken. */
static int service_turn(struct manager *m)
{
    int64_t now = clock_mono_ns();
    int next_ms = ask_due(m, now);
    int rc = send_all(m);
    if (rc >= 0)
        rc = receive(m);
    if (rc < 0) {
        lost_service(m, rc == TARE_ECLOSED ? "it closed the connection" : err_text(rc));
        return 0;
    }
    bool was_owed = m->owed;
    m->owed = is_owed(m);
    if (!m->owed)
        return next_ms;
    if (!was_owed)
        m->progress_ns = now;
    if (now - m->progress_ns > m->setup.hang_ms * ms_ns) {
        lost_service(m, "it does not answer");
        return 0;
    }
    return next_ms < 0 || next_ms > 100 ? 100 : next_ms;
}

static int local_turn(struct manager *m)
{
    int next_ms = -1;
    for (struct tare_run *r = m->runs; r; r = r->next)
        if (r->local) {
            local_tick(r->local, clock_mono_ns());
            next_ms = 500;
        }
    return next_ms;
}

static bool is_done(struct manager *m)
{
    return atomic_load(&m->stop) && !ring_peek(&m->ring) && (m->local || !has_unsent(m));
}

static void *courier_main(void *arg)
{
    struct manager *m = arg;
    int idle = 0;
    m->progress_ns = clock_mono_ns();
    while (!is_done(m)) {
        int n = drain(m);
        int next_ms = m->local ? local_turn(m) : service_turn(m);
        idle = n ? 0 : idle + 1;
        bool more = ring_peek(&m->ring) != NULL;
        if (more && n)
            continue;
        bool deep = idle > IDLE_TURNS && !more;
        doze(m, deep ? next_ms : NAP_MS, deep);
    }
    return NULL;
}

int courier_start(struct manager *m)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are the program's: none is handled in this thread */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&m->courier, NULL, courier_main, m);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    m->courier_runs = rc == 0;
    return -rc;
}

void courier_stop(struct manager *m)
{
    if (!m->courier_runs)
        return;
    atomic_store(&m->stop, true);
    (void)!write(m->wake[1], "", 1);
    pthread_join(m->courier, NULL);
    m->courier_runs = false;
}
