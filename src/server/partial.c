/* SPDX-License-Identifier: MIT */
/* Two locks. The table's is held for moments: who is in it, how many turns point to it. A partial's is held
 * while its file is written or read; HTTP threads only try it, for its holder may be reading gigabytes. The
 * turn with the highest number has the file; a turn that finds another number has lost it. */
#include "server/partial.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum {
    WAITING_MAX = 64,          /* open files without a request */
    WAITING_S = 10 * 60,       /* then only the file stays */
    MAKE_ROOM_S = 5 * 60,      /* no request writes a file more rarely */
};

struct partial {
    struct partial *prev, *next;
    char key[BLOB_KEY];
    int n_turns;            /* under the table's lock, as the next */
    int64_t since_ns;       /* n_turns is 0 */
    pthread_mutex_t lock;   /* of all that follows */
    unsigned number;        /* of the last turn */
    bool is_ending;         /* it is being made a blob */
    struct blob_put *put;   /* NULL: nothing, or only a file */
};

struct partials {
    struct blobs *blobs;
    pthread_mutex_t lock;
    struct partial *all; /* list, longest without a turn first */
    int n_waiting;
};

struct partials *partials_new(struct blobs *b)
{
    struct partials *ps = xmem_calloc(1, sizeof *ps);
    ps->blobs = b;
    pthread_mutex_init(&ps->lock, NULL);
    return ps;
}

static void partial_free(struct partial *p)
{
    if (p->put)
        blob_put_keep(p->put);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* ---- the table ---- */

static struct partial *find(struct partials *ps, const char *key)
{
    struct partial *p;
    DL_FOREACH (ps->all, p)
        if (strcmp(p->key, key) == 0)
            return p;
    return NULL;
}

/* With a turn more, so that it stays. */
static struct partial *enter(struct partials *ps, const char *key)
{
    pthread_mutex_lock(&ps->lock);
    struct partial *p = find(ps, key);
    if (!p && (p = mem_calloc(1, sizeof *p))) {
        snprintf(p->key, sizeof p->key, "%s", key);
        pthread_mutex_init(&p->lock, NULL);
        DL_APPEND(ps->all, p);
    } else if (p && p->n_turns == 0) {
        ps->n_waiting--;
    }
    if (p)
        p->n_turns++;
    pthread_mutex_unlock(&ps->lock);
    return p;
}

/* Under the lock: out of the table, nobody points there. */
static void take_out(struct partials *ps, struct partial *p)
{
    DL_DELETE(ps->all, p);
    ps->n_waiting--;
    partial_free(p);
}

static struct partial *longest_waiting(struct partials *ps)
{
    struct partial *p;
    DL_FOREACH (ps->all, p)
        if (p->n_turns == 0)
            return p;
    return NULL;
}

static void leave(struct partials *ps, struct partial *p)
{
    pthread_mutex_lock(&ps->lock);
    if (--p->n_turns == 0) {
        ps->n_waiting++;
        p->since_ns = clock_mono_ns();
        DL_DELETE(ps->all, p);
        DL_APPEND(ps->all, p);
        if (!p->put)
            take_out(ps, p);
        else if (ps->n_waiting > WAITING_MAX)
            take_out(ps, longest_waiting(ps));
    }
    pthread_mutex_unlock(&ps->lock);
}

void partials_free(struct partials *ps)
{
    struct partial *p, *next;
    if (!ps)
        return;
    DL_FOREACH_SAFE (ps->all, p, next)
        partial_free(p);
    pthread_mutex_destroy(&ps->lock);
    mem_free(ps);
}

/* ---- turns ---- */

/* Locked, and with a turn of a new number; NULL with a reason. `wait`: for whoever has it locked. */
static struct partial *take(struct partials *ps, const char *key, bool wait, struct partial_turn *turn, struct err *e)
{
    struct partial *p = enter(ps, key);
    if (!p) {
        err_set(e, TARE_ENOMEM, "out of memory");
        return NULL;
    }
    bool is_locked = (wait ? pthread_mutex_lock(&p->lock) : pthread_mutex_trylock(&p->lock)) == 0;
    if (is_locked && !p->is_ending) {
        *turn = (struct partial_turn){p, ++p->number};
        return p;
    }
    if (is_locked)
        pthread_mutex_unlock(&p->lock);
    leave(ps, p);
    err_set(e, TARE_EFULL, "this upload is being worked on at the moment");
    return NULL;
}

/* What a taken one has led to. */
static int settle(struct partials *ps, struct partial_turn *turn, int rc)
{
    struct partial *p = turn->partial;
    pthread_mutex_unlock(&p->lock);
    if (rc < 0) {
        *turn = (struct partial_turn){0};
        leave(ps, p);
    }
    return rc;
}

int partial_begin(struct partials *ps, const char *key, int64_t max_bytes, struct partial_turn *turn, struct err *e)
{
    struct partial *p = take(ps, key, false, turn, e);
    if (!p)
        return e->code;
    blob_put_abort(p->put);
    p->put = NULL;
    return settle(ps, turn, blob_put_begin_kept(ps->blobs, key, &p->put, max_bytes, e));
}

int partial_go_on(struct partials *ps, const char *key, int64_t at, struct partial_turn *turn, struct err *e)
{
    struct partial *p = take(ps, key, false, turn, e);
    if (!p)
        return e->code;
    bool is_there = p->put && blob_put_size(p->put) == at;
    return settle(ps, turn, is_there ? 0 : err_set(e, TARE_ENOTFOUND, "the upload does not stand at byte %lld", (long long)at));
}

int partial_look(struct partials *ps, const char *key, int64_t max_bytes, int64_t *bytes, struct partial_turn *turn,
                 struct err *e)
{
    struct partial *p = take(ps, key, true, turn, e);
    if (!p)
        return e->code;
    int rc = p->put ? 0 : blob_put_resume(ps->blobs, key, &p->put, max_bytes, e);
    if (rc == TARE_ENOTFOUND)
        rc = 0;
    *bytes = p->put ? blob_put_size(p->put) : 0;
    return settle(ps, turn, rc);
}

/* Locked, if the turn is still the last. */
static struct partial *hold(struct partial_turn *turn)
{
    struct partial *p = turn->partial;
    if (!p || pthread_mutex_trylock(&p->lock) != 0)
        return NULL; /* who has it locked has taken it */
    if (p->number == turn->number && p->put)
        return p;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int partial_write(struct partial_turn *turn, const void *data, size_t n, struct err *e)
{
    struct partial *p = hold(turn);
    if (!p)
        return err_set(e, TARE_ECONFLICT, "another request goes on with this upload");
    int rc = blob_put_write(p->put, data, n, e);
    if (rc < 0) {
        blob_put_abort(p->put);
        p->put = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int64_t partial_size(struct partial_turn *turn)
{
    struct partial *p = hold(turn);
    int64_t size = p ? blob_put_size(p->put) : -1;
    if (p)
        pthread_mutex_unlock(&p->lock);
    return size;
}

struct blob_put *partial_finish(struct partial_turn *turn)
{
    struct partial *p = hold(turn);
    if (!p)
        return NULL;
    struct blob_put *put = p->put;
    p->put = NULL;
    p->is_ending = true;
    pthread_mutex_unlock(&p->lock);
    return put;
}

void partial_end(struct partials *ps, struct partial_turn *turn)
{
    struct partial *p = turn->partial;
    if (!p)
        return;
    pthread_mutex_lock(&p->lock); /* who has it reads for this key only when `put` was NULL */
    if (p->number == turn->number) {
        p->is_ending = false;
        if (p->put && blob_put_size(p->put) < PARTIAL_MIN_BYTES) {
            blob_put_abort(p->put);
            p->put = NULL;
        }
    }
    pthread_mutex_unlock(&p->lock);
    *turn = (struct partial_turn){0};
    leave(ps, p);
}

/* ---- upkeep ---- */

void partials_make_room(struct partials *ps)
{
    struct partial *p;
    pthread_mutex_lock(&ps->lock);
    while ((p = longest_waiting(ps))) {
        blob_put_abort(p->put);
        p->put = NULL;
        take_out(ps, p);
    }
    pthread_mutex_unlock(&ps->lock);
    blobs_drop_kept(ps->blobs, MAKE_ROOM_S);
}

void partials_tidy(struct partials *ps)
{
    struct partial *p, *next;
    int64_t now_ns = clock_mono_ns();
    pthread_mutex_lock(&ps->lock);
    DL_FOREACH_SAFE (ps->all, p, next)
        if (p->n_turns == 0 && now_ns - p->since_ns >= WAITING_S * 1000000000ll)
            take_out(ps, p);
    pthread_mutex_unlock(&ps->lock);
    blobs_drop_kept(ps->blobs, PARTIAL_KEPT_S);
}
