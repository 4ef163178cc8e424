/* SPDX-License-Identifier: MIT */
/* A sweep's scheduler between a client and a backend that say anything. The input is a row of
 *
 *   1 byte kind, 2 bytes length (LE), bytes
 *
 * and whoever is to speak next says the next: the client a result's bytes (behind the right number), the
 * backend the "data" of an answer (kind & 3 = 0) or a failure: 429, 404, another. The first is the answer
 * about the sweep. A scheduler asks only valid JSON, gives only well-formed tasks with JSON in them, and
 * each question one. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/sweep/scheduler.h"
#include "service/upload/backend.h"
#include "service/upload/graphql.h"

#include <assert.h>

static struct {
    const uint8_t *p, *end;
    struct graphql_call *call;
    uv_timer_t *timer;
    uv_handle_t *closing;
    uv_close_cb on_close;
    int64_t now_ns;
    bool is_ready, is_refused, is_over, is_closed, is_cancelled;
    int n_tasks, n_asked;
    uint64_t seq;
} f;

/* ---- in place of the network and the loop ---- */

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t);
int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat);
int __wrap_uv_timer_stop(uv_timer_t *t);
void __wrap_uv_close(uv_handle_t *h, uv_close_cb closed);

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
    return 0;
}

int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
    t->timer_cb = cb;
    f.timer = t;
    f.now_ns += (int64_t)ms * 1000000;
    return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *t)
{
    f.timer = NULL;
    return 0;
}

void __wrap_uv_close(uv_handle_t *h, uv_close_cb closed)
{
    f.timer = NULL;
    f.closing = h;
    f.on_close = closed;
}

void backend_feature(struct backend *b, const char *feature, void (*ready)(void *ctx, bool has), void *ctx)
{
    ready(ctx, true);
}

void graphql_send(struct backend *b, struct graphql_call *c)
{
    assert(!f.call && json_valid(c->variables));
    f.call = c;
}

void graphql_cancel(struct backend *b, struct graphql_call *c)
{
    assert(f.call == c);
    f.is_cancelled = true;
}

void graphql_call_fini(struct graphql_call *c)
{
    buf_fini(&c->answer);
    c->data = (struct str){0};
}

/* ---- the client ---- */

static void on_ready(void *ctx, const struct sweep_facts *facts, const char *why)
{
    f.is_ready = facts != NULL;
    f.is_refused = facts == NULL;
    assert(!facts != !why);
}

static void check_run(struct str run)
{
    assert(json_valid(wire_find_bytes(run, 4)) || wire_find_bytes(run, 4).n == 0);
    assert(wire_find_varint(run, 3) >= 1 && wire_find_varint(run, 3) <= 9);
}

static void on_task(void *ctx, struct str response, bool is_over)
{
    struct wire_field part, run;
    int rc, inner;
    f.n_tasks++;
    f.is_over = is_over;
    f.seq = wire_find_varint(response, 1);
    struct wire_reader r = wire_open(response);
    while ((rc = wire_next(&r, &part)) > 0) {
        struct wire_reader runs = wire_open(part.bytes);
        while (part.type == WIRE_BYTES && part.number < 4 && (inner = wire_next(&runs, &run)) != 0) {
            assert(inner > 0);
            if (run.type == WIRE_BYTES && (run.number == 1 || (part.number == 2 && run.number == 2)))
                check_run(part.number == 3 ? wire_find_bytes(run.bytes, 1) : run.bytes);
        }
    }
    assert(rc == 0 && f.n_tasks == f.n_asked);
}

static void on_closed(void *ctx)
{
    f.is_closed = true;
}

/* ---- */

static bool next_chunk(int *kind, struct str *bytes)
{
    if (f.end - f.p < 3)
        return false;
    size_t n = f.p[1] | (size_t)f.p[2] << 8;
    *kind = f.p[0];
    f.p += 3;
    *bytes = str_make(f.p, n < (size_t)(f.end - f.p) ? n : (size_t)(f.end - f.p));
    f.p += bytes->n;
    return true;
}

static void answer(int kind, struct str bytes)
{
    static const int statuses[] = {200, 429, 404, 500};
    struct graphql_call *c = f.call;
    f.call = NULL;
    c->status = statuses[kind & 3];
    c->error = f.is_cancelled ? TARE_ECANCELLED : kind & 3 || !json_valid(bytes) ? TARE_EPROTO : 0;
    f.is_cancelled = false;
    buf_put_str(&c->answer, bytes);
    c->data = c->error ? (struct str){0} : buf_str(&c->answer);
    c->done(c);
}

static void speak(struct scheduler *s, int kind, struct str bytes)
{
    AUTO_BUF result = {0};
    if (f.call) {
        answer(kind, bytes);
        return;
    }
    wire_buf_varint(&result, 1, f.seq);
    buf_put_str(&result, bytes);
    struct str all = buf_str(&result);
    f.n_asked++;
    scheduler_next(s, f.seq ? &all : NULL);
}

static void fire(void)
{
    uv_timer_t *t = f.timer;
    f.timer = NULL;
    t->timer_cb(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int kind;
    struct str bytes;
    diag_min_level = DIAG_ERROR + 1;
    memset(&f, 0, sizeof f);
    f.now_ns = 1;
    f.p = data;
    f.end = data + size;
    clock_fake(&f.now_ns, &f.now_ns);
    struct scheduler *s = scheduler_open(&(struct scheduler_params){
        .entity = STR("e"), .project = STR("p"), .sweep = STR("s"), .batch = 3, .ready = on_ready, .task = on_task});
    for (;;) {
        if (f.timer) {
            fire();
            continue;
        }
        if (f.is_refused || f.is_over || !next_chunk(&kind, &bytes))
            break;
        if (kind & 0x40 && f.is_ready)
            scheduler_cancel(s);
        if (!f.is_over)
            speak(s, kind, bytes);
    }
    scheduler_close(s, on_closed);
    if (f.call)
        answer(0, (struct str){0});
    if (f.closing)
        f.on_close(f.closing);
    assert(f.is_closed);
    return 0;
}
