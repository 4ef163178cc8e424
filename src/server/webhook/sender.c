/* SPDX-License-Identifier: MIT */
/* The thread that delivers. It is started when something is due and ends when nothing is, so a server
 * that sends no alerts has neither it nor libcurl.
 *
 * A try is written down before it is made (`claim`): it counts even if the server dies in it, and of
 * several servers on one database one alone makes it. */
#include "server/webhook/webhook.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/random.h"
#include "server/remote/remote.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 32, TIMEOUT_MS = 10000, KEEP_DAYS = 7, LOOK_S = 30, GONE = 410 };

/* Seconds to wait after the nth try; a delivery that has failed after the last of them is given up: about
 * nine hours after the first. */
static const int pause_s[] = {2, 10, 30, 120, 600, 1800, 3600, 7200, 18000};
enum { MAX_TRIES = sizeof pause_s / sizeof *pause_s + 1 };

struct webhook_sender {
    struct db *db;
    pthread_t thread;
    bool started;          /* the thread is to be joined; janitor's thread only */
    atomic_bool running;   /* the thread is at work */
    atomic_bool stopping;
    atomic_bool woken;     /* something new is due */
    int64_t looked_ns;     /* when the store was last asked; janitor's thread only */
};

struct delivery {
    int64_t id, webhook_id, tries, next_try_us;
    char *url, *secret, *message_id, *body;
    char error[200]; /* "": delivered */
    bool give_up;
};

static int64_t now_us(void)
{
    return clock_wall_ns() / 1000;
}

static void delivery_fini(struct delivery *d)
{
    mem_free(d->url);
    mem_free(d->secret);
    mem_free(d->message_id);
    mem_free(d->body);
}

/* ---- the store ---- */

static int load_due(struct db *db, struct delivery *to, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct db_conn *c;
    int n = 0, rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_query(c, e, &rows,
                  "SELECT d.id, d.webhook_id, d.tries, w.url, w.secret, d.message_id, d.body FROM webhook_deliveries d"
                  " JOIN webhooks w ON w.id = d.webhook_id WHERE d.done_at IS NULL AND d.next_try_at <= $1"
                  " ORDER BY d.next_try_at, d.id LIMIT $2",
                  DB_ARGS(db_i(now_us()), db_i(BATCH)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        to[n++] = (struct delivery){
            .id = db_int(rows, 0), .webhook_id = db_int(rows, 1), .tries = db_int(rows, 2),
            .url = xmem_strdup(db_text(rows, 3)), .secret = xmem_strdup(db_text(rows, 4)),
            .message_id = xmem_strdup(db_text(rows, 5)), .body = xmem_strdup(db_text(rows, 6))};
    db_rows_end(rows);
    rows = NULL;
    db_read_end(c);
    for (int i = 0; rc < 0 && i < n; i++)
        delivery_fini(&to[i]);
    return rc < 0 ? rc : n;
}

static int64_t pause_us(int64_t tries)
{
    int64_t us = tries <= MAX_TRIES - 1 ? pause_s[tries - 1] * 1000000ll : 0;
    return us + us / 5 * (random_u32() % 1024) / 1024; /* up to a fifth more: no herds */
}

/* One row, if nobody was faster. The next try waits for this one's end, or its server's. */
static int claim_job(struct db_conn *c, void *arg, struct err *e)
{
    struct delivery *d = arg;
    return db_exec(c, e,
                   "UPDATE webhook_deliveries SET tries = tries + 1, next_try_at = $3"
                   " WHERE id = $1 AND tries = $2 AND done_at IS NULL",
                   DB_ARGS(db_i(d->id), db_i(d->tries), db_i(d->next_try_us)));
}

static int settle_job(struct db_conn *c, void *arg, struct err *e)
{
    struct delivery *d = arg;
    bool done = !*d->error || d->give_up;
    return db_exec(c, e, "UPDATE webhook_deliveries SET done_at = $2, error = $3, next_try_at = $4 WHERE id = $1",
                   DB_ARGS(db_i(d->id), db_i_if(done, now_us()), db_t(*d->error ? d->error : NULL),
                           db_i(now_us() + pause_us(d->tries + 1))));
}

static int forget_job(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "DELETE FROM webhook_deliveries WHERE done_at < $1",
                   DB_ARGS(db_i(now_us() - KEEP_DAYS * 86400 * 1000000ll)));
}

/* ---- one delivery ---- */

static void post(struct webhook_sender *s, struct delivery *d)
{
    AUTO_BUF signature = {0};
    char id[80], time[60];
    struct remote_answer answer;
    struct err e = {0};
    int64_t at_s = now_us() / 1000000;
    snprintf(id, sizeof id, "webhook-id: %s", d->message_id);
    snprintf(time, sizeof time, "webhook-timestamp: %lld", (long long)at_s);
    buf_puts(&signature, "webhook-signature: ");
    webhook_sign(&signature, d->secret, d->message_id, at_s, str_of(d->body));
    struct remote_request r = {
        .method = "POST", .url = d->url, .body = str_of(d->body), .total_ms = TIMEOUT_MS, .stop = &s->stopping,
        .headers = {"Content-Type: application/json", id, time, buf_z(&signature)}};
    int rc = r.headers[3] ? remote_send(&r, &answer, &e) : TARE_ENOMEM;
    if (rc)
        snprintf(d->error, sizeof d->error, "%.190s", e.text[0] ? e.text : err_text(rc));
    else if (answer.status / 100 != 2)
        snprintf(d->error, sizeof d->error, "answered with status %d", answer.status);
    d->give_up = d->tries + 1 >= MAX_TRIES || (!rc && answer.status == GONE);
    if (r.headers[3])
        remote_answer_fini(&answer);
}

static int deliver(struct webhook_sender *s, struct delivery *d, struct err *e)
{
    d->next_try_us = now_us() + TIMEOUT_MS * 1000 + pause_us(d->tries + 1);
    int rc = db_write(s->db, claim_job, d, e);
    if (rc <= 0)
        return rc;
    post(s, d);
    if (*d->error && atomic_load(&s->stopping))
        return 0; /* cut off: it stays due */
    if (*d->error)
        diag_warn("webhook %lld, try %lld: %s%s", (long long)d->webhook_id, (long long)d->tries + 1, d->error,
                  d->give_up ? "; given up" : "");
    return db_write(s->db, settle_job, d, e);
}

/* Did an earlier one of the batch fail at the same webhook? Then the others wait for the next round. */
static bool is_failing(const struct delivery *all, int n, int64_t webhook_id)
{
    for (int i = 0; i < n; i++)
        if (all[i].webhook_id == webhook_id && *all[i].error)
            return true;
    return false;
}

static int send_batch(struct webhook_sender *s, struct err *e)
{
    struct delivery due[BATCH];
    int n = load_due(s->db, due, e), rc = n < 0 ? n : 0;
    for (int i = 0; i < n && rc >= 0 && !atomic_load(&s->stopping); i++)
        if (!is_failing(due, i, due[i].webhook_id))
            rc = deliver(s, &due[i], e);
    for (int i = 0; i < n; i++)
        delivery_fini(&due[i]);
    return rc < 0 ? rc : n;
}

static void *sender_main(void *arg)
{
    struct webhook_sender *s = arg;
    struct err e = {0};
    int n;
    do
        n = send_batch(s, &e);
    while (n > 0 && !atomic_load(&s->stopping));
    if (n == 0)
        n = db_write(s->db, forget_job, NULL, &e);
    if (n < 0)
        diag_warn("webhooks: %s", e.text);
    atomic_store(&s->running, false);
    return NULL;
}

/* ---- from outside ---- */

struct webhook_sender *webhook_sender_new(struct db *db)
{
    struct webhook_sender *s = xmem_calloc(1, sizeof *s);
    s->db = db;
    atomic_store(&s->woken, true); /* what an earlier server has left */
    return s;
}

void webhook_sender_wake(struct webhook_sender *s)
{
    atomic_store(&s->woken, true);
}

/* When must the store be asked? After an alert, when a retry may be due, and now and then for what other
 * servers on the same database have left. */
static int anything_due(struct webhook_sender *s, struct err *e)
{
    struct db_conn *c;
    int64_t next_us = 0;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &next_us, "SELECT MIN(next_try_at) FROM webhook_deliveries WHERE done_at IS NULL", DB_NONE);
    db_read_end(c);
    if (rc == 1 && next_us < now_us() + LOOK_S * 1000000ll)
        atomic_store(&s->woken, true); /* look again soon */
    return rc < 0 ? rc : rc == 1 && next_us <= now_us();
}

int webhook_sender_look(struct webhook_sender *s, struct err *e)
{
    int64_t now_ns = clock_mono_ns();
    if (atomic_load(&s->running))
        return 0;
    if (!atomic_exchange(&s->woken, false) && now_ns - s->looked_ns < LOOK_S * 1000000000ll)
        return 0;
    s->looked_ns = now_ns;
    int rc = anything_due(s, e);
    if (rc <= 0)
        return rc;
    if (s->started)
        pthread_join(s->thread, NULL);
    atomic_store(&s->running, true);
    s->started = pthread_create(&s->thread, NULL, sender_main, s) == 0;
    if (s->started)
        return 0;
    atomic_store(&s->running, false);
    return err_set(e, TARE_ENOMEM, "a thread could not be started");
}

void webhook_sender_free(struct webhook_sender *s)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    if (s->started)
        pthread_join(s->thread, NULL);
    mem_free(s);
}
