/* SPDX-License-Identifier: MIT */
/* The way of a work:
 *
 *   work_start ─► queue ─► a runner (thread) ─► the done list of its loop's desk ─► done
 *
 * Waking a thread costs more than most works: a thousand runs that each write a little would cost
 * thousands of wake-ups with one job each. So a queue that gets on is left to few, and of the works that one
 * turn of the loop starts the first goes out at once, those behind it together when the turn ends, or when
 * one is started GATHER_NS after the last that went. A runner takes
 * work after work and tells the loop when it finds no more, or after TELL_NS. Only when the first
 * of the queue has waited for HELP_MS, another runner helps, up to WORKERS of them; works that say they
 * are long get one each at once. One that has been at the same work for STUCK_NS is not counted any more. The
 * loop's timer sees to that, and
 * collects what a runner had done before it got stuck. Where not even one thread can be made (a
 * limit of a container), the timer does the works itself: a loop that waits for a disk is better
 * than runs that are not kept. */
#include "loop/worker.h"

#include "base/alloc.h"
#include "base/thread.h"

#include <assert.h>
#include <pthread.h>

#define TELL_NS UINT64_C(1000000)
#define GATHER_NS UINT64_C(200000)
#define STUCK_NS UINT64_C(100000000)
#define IDLE_NS UINT64_C(10000000000) /* a thread without work ends */
enum { HELP_MS = 5, STACK_BYTES = 1 << 20 };

struct list {
    struct work *first, *last;
};

/* A thread. */
struct runner {
    enum { GONE, IDLE, AWAKE } state;
    bool has_wake;
    uv_cond_t wake;    /* it is not idle any more */
    uint64_t since_ns; /* when the work at hand began; 0 between two */
};

/* Where the works of one loop come back: there as long as works are out. */
struct work_desk {
    uv_loop_t *loop;
    struct work_desk *next; /* of this thread */
    struct list done;       /* under pool.mutex */
    uint64_t told_ns;       /* under pool.mutex */
    size_t n_out;
    int n_handles;
    uv_async_t news; /* `done` has grown */
    uv_timer_t look; /* ticks while works wait on either side */
    struct list gathered;   /* started in this turn, not yet queued */
    uint64_t gather_ns;     /* when the last went out */
    uv_idle_t turn_ends;    /* active since the first of this turn went out */
};

static struct {
    uv_mutex_t mutex;
    struct list queue;
    int n_long; /* works that are long, queued or at hand */
    struct runner runners[WORKERS_WITH_STUCK];
    int n_used; /* no runner beyond was ever there */
} pool;

static _Thread_local struct work_desk *desks; /* of the loops of this thread */

static void put(struct list *l, struct work *w)
{
    w->next = NULL;
    if (l->last)
        l->last->next = w;
    else
        l->first = w;
    l->last = w;
}

static struct work *take(struct list *l)
{
    struct work *w = l->first;
    if (w)
        l->first = w->next;
    if (!l->first)
        l->last = NULL;
    return w;
}

/* -- on the threads; the mutex is held but for `run` and while waiting ------------------------- */

static void put_done(struct work *w, uint64_t now_ns)
{
    struct work_desk *d = w->desk;
    pool.n_long -= w->is_long;
    put(&d->done, w);
    if (pool.queue.first && now_ns - d->told_ns < TELL_NS)
        return; /* soon, with those that follow */
    d->told_ns = now_ns;
    uv_async_send(&d->news);
}

static void run_queue(struct runner *r)
{
    struct work *w;
    r->since_ns = uv_hrtime();
    while ((w = take(&pool.queue))) {
        uv_mutex_unlock(&pool.mutex);
        w->run(w);
        uv_mutex_lock(&pool.mutex);
        r->since_ns = uv_hrtime();
        put_done(w, r->since_ns);
    }
    r->since_ns = 0;
}

static void wait_for_more(struct runner *r)
{
    r->state = IDLE;
    while (r->state == IDLE)
        if (uv_cond_timedwait(&r->wake, &pool.mutex, IDLE_NS) && r->state == IDLE)
            r->state = GONE;
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;
    uv_mutex_lock(&pool.mutex);
    do {
        run_queue(r);
        wait_for_more(r);
    } while (r->state == AWAKE);
    uv_mutex_unlock(&pool.mutex);
    return NULL;
}

/* -- who runs; the mutex is held --------------------------------------------------------------- */

/* How many runners have the prospect of taking the next work soon. */
static int n_getting_on(uint64_t now_ns)
{
    int n = 0;
    for (int i = 0; i < pool.n_used; i++) {
        const struct runner *r = &pool.runners[i];
        n += r->state == AWAKE && (r->since_ns == 0 || now_ns - r->since_ns < STUCK_NS);
    }
    return n;
}

static struct runner *find_runner(int state)
{
    for (int i = 0; i < pool.n_used; i++)
        if ((int)pool.runners[i].state == state)
            return &pool.runners[i];
    return state == GONE && pool.n_used < WORKERS_WITH_STUCK ? &pool.runners[pool.n_used++] : NULL;
}

/* If it cannot be done, the timer tries again as long as works wait. What is to be signalled once the mutex is
 * free, so that who wakes does not wait for that at once; or NULL. */
static uv_cond_t *add_runner(void)
{
    struct runner *r = find_runner(IDLE);
    if (r) {
        r->state = AWAKE;
        return &r->wake;
    }
    r = find_runner(GONE);
    if (!r || (!r->has_wake && uv_cond_init(&r->wake)))
        return NULL;
    r->has_wake = true;
    r->since_ns = 0;
    r->state = thread_start(runner_main, r, STACK_BYTES) ? GONE : AWAKE;
    return NULL;
}

static void unlock_and_signal(uv_cond_t *wake)
{
    uv_mutex_unlock(&pool.mutex);
    if (wake)
        uv_cond_signal(wake);
}

/* -- the desk, on the loop --------------------------------------------------------------------- */

static void on_desk_closed(uv_handle_t *h)
{
    struct work_desk *d = h->data;
    if (--d->n_handles == 0)
        mem_free(d);
}

static void close_desk(struct work_desk *d)
{
    struct work_desk **at = &desks;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    uv_close((uv_handle_t *)&d->news, on_desk_closed);
    uv_close((uv_handle_t *)&d->look, on_desk_closed);
    uv_close((uv_handle_t *)&d->turn_ends, on_desk_closed);
}

static void collect(struct work_desk *d)
{
    struct work *w;
    uv_mutex_lock(&pool.mutex);
    struct list done = d->done;
    d->done = (struct list){0};
    uv_mutex_unlock(&pool.mutex);
    while ((w = take(&done))) {
        w->busy = false;
        w->done(w);
        d->n_out--; /* after it, so that the desk stays for what `done` starts */
        if (d->n_out == 0)
            close_desk(d);
    }
}

static void on_news(uv_async_t *h)
{
    collect(h->data);
}

static bool is_anyone_awake(void)
{
    for (int i = 0; i < pool.n_used; i++)
        if (pool.runners[i].state == AWAKE)
            return true;
    return false;
}

static void on_look(uv_timer_t *t)
{
    static struct runner here;
    struct work_desk *d = t->data;
    uint64_t now_ns = uv_hrtime();
    uv_cond_t *wake = NULL;
    uv_mutex_lock(&pool.mutex);
    struct work *first = pool.queue.first;
    if (first && now_ns - first->queued_ns >= HELP_MS * UINT64_C(1000000) && n_getting_on(now_ns) < WORKERS)
        wake = add_runner();
    if (first && !is_anyone_awake())
        run_queue(&here);
    bool none_wait = !first && !d->done.first;
    unlock_and_signal(wake);
    if (none_wait)
        uv_timer_stop(t);
    else
        collect(d);
}

static struct work_desk *desk_of(uv_loop_t *loop)
{
    struct work_desk *d = desks;
    while (d && d->loop != loop)
        d = d->next;
    if (d)
        return d;
    d = xmem_calloc(1, sizeof *d);
    d->loop = loop;
    d->next = desks;
    desks = d;
    int rc = uv_async_init(loop, &d->news, on_news);
    assert(rc == 0); /* the loop has its descriptor already */
    (void)rc;
    uv_timer_init(loop, &d->look);
    uv_idle_init(loop, &d->turn_ends);
    d->news.data = d->look.data = d->turn_ends.data = d;
    d->n_handles = 3;
    return d;
}

static void make_pool(void)
{
    int rc = uv_mutex_init(&pool.mutex);
    assert(rc == 0);
    (void)rc;
}

/* Queue what was gathered, and `w` before it if there is one. */
static void queue(struct work_desk *d, struct work *w, uint64_t now_ns)
{
    struct list *q = &pool.queue, *more = &d->gathered;
    bool is_long = w && w->is_long;
    uv_cond_t *wake = NULL;
    d->gather_ns = now_ns;
    uv_mutex_lock(&pool.mutex);
    if (w)
        put(q, w);
    if (more->first) {
        *(q->last ? &q->last->next : &q->first) = more->first;
        q->last = more->last;
    }
    int n_busy = n_getting_on(now_ns);
    pool.n_long += is_long;
    if (n_busy == 0 || (is_long && n_busy < pool.n_long && n_busy < WORKERS))
        wake = add_runner();
    unlock_and_signal(wake);
    *more = (struct list){0};
}

/* Idle handles are called before the loop waits. */
static void on_turn_ends(uv_idle_t *h)
{
    struct work_desk *d = h->data;
    uv_idle_stop(h);
    if (d->gathered.first)
        queue(d, NULL, uv_hrtime());
}

void work_start(uv_loop_t *loop, struct work *w)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_pool);
    assert(!w->busy);
    struct work_desk *d = desk_of(loop);
    w->busy = true;
    w->desk = d;
    d->n_out++;
    w->queued_ns = uv_hrtime();
    bool gathers = uv_is_active((uv_handle_t *)&d->turn_ends);
    if (gathers && !w->is_long) {
        put(&d->gathered, w);
        if (w->queued_ns - d->gather_ns >= GATHER_NS)
            queue(d, NULL, w->queued_ns);
    } else {
        queue(d, w, w->queued_ns);
        uv_idle_start(&d->turn_ends, on_turn_ends);
    }
    if (!uv_is_active((uv_handle_t *)&d->look))
        uv_timer_start(&d->look, on_look, HELP_MS, HELP_MS);
}
