/* SPDX-License-Identifier: MIT */
/* A step begins with the client's question and ends with a task. In between one thing at a time is asked
 * of the backend; the state says which (the picture leaves out that every state may lead to OVER):
 *
 *                 result of a generation                      runs all told
 *   OPENING ─► IDLE ──► STOPPING ─► CHECKING ─► ENQUEUEING ─► RESTING ─► POLLING ─► CONFIRMING ─► IDLE
 *               │  └─► FINISHING ─► OVER                      ▲ (429)
 *               └──► WARMING (pages of prior runs) ───────────┘
 *
 * What ends the loop: the sweep is finished, stopped or gone, a failure that the network layer has given
 * up on, an optimizer that failed, the client. A step that is stopped asks nothing more: its questions
 * count as cancelled. Requests are tried again by graphql.c; only 429 is handed back, because the wait
 * between polls grows by it (1 s, doubled up to 60 s, until something succeeds).
 *
 * (peer: core/internal/sweeps/scheduler/{scheduler,statemachine,polling,failurepolicy}.go) */
#include "service/sweep/scheduler_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "service/limits.h"
#include "service/upload/gql_words.h"

#include <assert.h>
#include <stdarg.h>

#define TO(state) (1u << (state))

static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [OPENING] = {"opening", TO(IDLE) | TO(OVER)},
    [IDLE] = {"idle", TO(IDLE) | TO(WARMING) | TO(STOPPING) | TO(FINISHING) | TO(CHECKING) | TO(RESTING) | TO(OVER)},
    [WARMING] = {"warming", TO(IDLE) | TO(RESTING) | TO(OVER)},
    [STOPPING] = {"stopping", TO(STOPPING) | TO(FINISHING) | TO(CHECKING) | TO(WARMING) | TO(RESTING) | TO(IDLE) | TO(OVER)},
    [FINISHING] = {"finishing", TO(OVER)},
    [CHECKING] = {"checking", TO(ENQUEUEING) | TO(WARMING) | TO(RESTING) | TO(IDLE) | TO(OVER)},
    [ENQUEUEING] = {"enqueueing", TO(ENQUEUEING) | TO(WARMING) | TO(RESTING) | TO(IDLE) | TO(OVER)},
    [RESTING] = {"resting", TO(POLLING) | TO(IDLE) | TO(OVER)},
    [POLLING] = {"polling", TO(POLLING) | TO(CONFIRMING) | TO(FINISHING) | TO(IDLE) | TO(OVER)},
    [CONFIRMING] = {"confirming", TO(CONFIRMING) | TO(FINISHING) | TO(IDLE) | TO(OVER)},
    [OVER] = {"over", 0},
};

static void move(struct scheduler *s, int to)
{
    assert(states[s->state].to & TO(to));
    s->state = to;
}

/* ---- the end ---- */

static void free_if_done(struct scheduler *s)
{
    if (!s->is_closing || !s->is_timer_closed || s->is_call_under_way || s->is_feature_awaited)
        return;
    graphql_call_fini(&s->call);
    sweep_facts_fini(&s->facts);
    sweep_config_fini(&s->config);
    sweep_runs_free(&s->runs);
    HASH_CLEAR(hh, s->rows);
    arena_fini(&s->arena);
    struct buf *const bufs[] = {&s->variables, &s->result, &s->discards, &s->enqueued, &s->updates};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_fini(bufs[i]);
    mem_free(s->entity);
    mem_free(s->project);
    mem_free(s->sweep);
    mem_free(s->warm_cursor);
    void (*closed)(void *ctx) = s->closed;
    void *ctx = s->params.ctx;
    mem_free(s);
    closed(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct scheduler *s = h->data;
    s->is_timer_closed = true;
    free_if_done(s);
}

void scheduler_close(struct scheduler *s, void (*closed)(void *ctx))
{
    s->is_closing = true;
    s->closed = closed;
    if (s->is_call_under_way)
        graphql_cancel(s->params.backend, &s->call);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

/* ---- tasks ---- */

void scheduler_put_done(struct buf *to, uint64_t seq, enum sweep_done reason, const char *message)
{
    if (seq)
        wire_buf_varint(to, TASK_SEQ, seq);
    size_t mark = wire_buf_begin(to, TASK_DONE);
    wire_buf_varint(to, DONE_REASON, reason);
    if (*message)
        wire_buf_bytes(to, DONE_MESSAGE, str_of(message));
    wire_buf_end(to, mark);
}

static void give(struct scheduler *s, struct str response, bool is_over)
{
    move(s, is_over ? OVER : IDLE);
    s->is_cancelled = false;
    graphql_call_fini(&s->call);
    buf_fini(&s->result);
    s->params.task(s->params.ctx, response, is_over);
}

void scheduler_give(struct scheduler *s, uint32_t kind, struct str body)
{
    AUTO_BUF response = {0};
    wire_buf_varint(&response, TASK_SEQ, ++s->seq);
    wire_buf_bytes(&response, kind, body);
    give(s, buf_str(&response), false);
}

void scheduler_done(struct scheduler *s, enum sweep_done reason, const char *fmt, ...)
{
    AUTO_BUF message = {0}, response = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&message, fmt, ap);
    va_end(ap);
    const char *text = buf_z(&message);
    scheduler_put_done(&response, ++s->seq, reason, text ? text : "");
    give(s, buf_str(&response), true);
}

bool scheduler_done_of(struct scheduler *s, enum failure f)
{
    AUTO_BUF why = {0};
    switch (f) {
    case FAILED_SHUTDOWN:
        scheduler_done(s, SWEEP_SHUTDOWN, "%s", "");
        return true;
    case FAILED_NOT_FOUND:
        scheduler_done(s, SWEEP_NOT_FOUND, "the sweep was deleted");
        return true;
    case FAILED_FATAL:
        scheduler_put_why(s, &why);
        scheduler_done(s, SWEEP_FATAL_ERROR, "%.*s", STR_ARG(buf_str(&why)));
        return true;
    default:
        return false;
    }
}

/* FLAPPING: the backend has paused a sweep whose runs keep crashing; CRASHED: the scheduler of a launched
 * sweep has. A state that is not known does not stop anything. */
bool scheduler_done_of_state(struct scheduler *s, const char *state)
{
    static const struct {
        const char *state;
        enum sweep_done reason;
    } ends[] = {{"FINISHED", SWEEP_FINISHED},    {"CANCELED", SWEEP_TERMINATED},
                {"ERROR", SWEEP_FATAL_ERROR},    {"FLAPPING", SWEEP_FATAL_ERROR},
                {"CRASHED", SWEEP_FATAL_ERROR}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(ends[i].state, state) == 0) {
            scheduler_done(s, ends[i].reason, "the sweep is %s", state);
            return true;
        }
    return false;
}

/* ---- asking ---- */

bool scheduler_is_ending(const struct scheduler *s)
{
    return s->is_stopped || s->is_cancelled;
}

void scheduler_begin_vars(struct scheduler *s, const char *name, struct str value)
{
    buf_clear(&s->variables);
    sweep_var_text(&s->variables, "entity", str_of(s->entity));
    sweep_var_text(&s->variables, "project", str_of(s->project));
    sweep_var_text(&s->variables, name, value);
}

static void on_answer(struct graphql_call *c)
{
    struct scheduler *s = (struct scheduler *)((char *)c - offsetof(struct scheduler, call));
    s->is_call_under_way = false;
    if (s->is_closing)
        free_if_done(s);
    else
        s->answered(s);
}

void scheduler_ask(struct scheduler *s, int to, const struct sweep_query *q, void (*answered)(struct scheduler *s))
{
    if (to != OPENING)
        move(s, to);
    sweep_vars_end(&s->variables);
    graphql_call_fini(&s->call);
    s->call = (struct graphql_call){
        .operation = q->operation,
        .document = q->document,
        .variables = buf_str(&s->variables),
        .hands_back_429 = to != OPENING,
        .done = on_answer,
    };
    s->answered = answered;
    if (scheduler_is_ending(s)) {
        s->call.error = TARE_ECANCELLED;
        answered(s);
        return;
    }
    s->is_call_under_way = true;
    graphql_send(s->params.backend, &s->call);
}

static void slow_down(struct scheduler *s)
{
    s->slowdown_ms *= 2;
    if (s->slowdown_ms < SWEEP_SLOWDOWN_MIN_MS)
        s->slowdown_ms = SWEEP_SLOWDOWN_MIN_MS;
    if (s->slowdown_ms > SWEEP_SLOWDOWN_MAX_MS)
        s->slowdown_ms = SWEEP_SLOWDOWN_MAX_MS;
}

enum failure scheduler_judge(struct scheduler *s, bool found)
{
    const struct graphql_call *c = &s->call;
    if (scheduler_is_ending(s) || c->error == TARE_ECANCELLED)
        return FAILED_SHUTDOWN;
    if (!c->error && found) {
        s->slowdown_ms = 0;
        return FAILED_NOT;
    }
    slow_down(s);
    diag_warn("sweep: %s: %s", c->operation, c->error ? c->why : "the answer lacks what was asked for");
    if (c->error && c->status == 429)
        return FAILED_SLOW_DOWN;
    return !c->error || c->status == 404 ? FAILED_NOT_FOUND : FAILED_FATAL;
}

void scheduler_put_why(const struct scheduler *s, struct buf *to)
{
    if (s->call.error && s->call.status != 0 && s->call.status != 200)
        gql_put_http_error(to, s->call.status, buf_str(&s->call.answer));
    else if (s->call.error)
        gql_put_failure(to, &s->call);
    while (to->len && to->data[to->len - 1] == '\n')
        to->len--;
    if (to->len == 0)
        buf_printf(to, "the backend's answer to %s lacks what was asked for", s->call.operation);
}

/* ---- waiting ---- */

int64_t scheduler_rest_ms(const struct scheduler *s)
{
    if (!s->last_poll_ns)
        return -1;
    return s->poll_ms + s->slowdown_ms - (clock_mono_ns() - s->last_poll_ns) / 1000000;
}

static void on_rested(uv_timer_t *t)
{
    struct scheduler *s = t->data;
    s->rested(s);
}

void scheduler_rest(struct scheduler *s, void (*rested)(struct scheduler *s))
{
    int64_t ms = scheduler_rest_ms(s);
    if (scheduler_is_ending(s)) {
        scheduler_done_of(s, FAILED_SHUTDOWN);
        return;
    }
    move(s, RESTING);
    s->rested = rested;
    uv_timer_start(&s->timer, on_rested, ms > 0 ? (uint64_t)ms : 0, 0);
}

static void interrupt(struct scheduler *s)
{
    if (s->is_call_under_way) {
        graphql_cancel(s->params.backend, &s->call);
    } else if (s->state == RESTING) {
        uv_timer_stop(&s->timer);
        scheduler_done_of(s, FAILED_SHUTDOWN);
    }
}

void scheduler_cancel(struct scheduler *s)
{
    if (s->state == IDLE || s->state == OVER)
        return;
    s->is_cancelled = true;
    interrupt(s);
}

void scheduler_stop(struct scheduler *s)
{
    s->is_stopped = true;
    interrupt(s);
}

/* ---- finishing ---- */

/* A failure only costs the label; whoever looks at the sweep sees it running. */
static void on_finished(struct scheduler *s)
{
    scheduler_judge(s, true);
    scheduler_done(s, SWEEP_FINISHED, "%s", s->why_finished);
}

void scheduler_finish(struct scheduler *s, const char *why)
{
    s->why_finished = why;
    buf_clear(&s->variables);
    sweep_var_text(&s->variables, "id", str_of(s->facts.node_id));
    sweep_var_text(&s->variables, "state", STR("FINISHED"));
    scheduler_ask(s, FINISHING, &sweep_query_set_state, on_finished);
}

/* ---- steps ---- */

static void give_enqueued(struct scheduler *s)
{
    AUTO_BUF updates = s->enqueued;
    s->enqueued = (struct buf){0};
    scheduler_give_generation(s, buf_str(&updates), false, 0);
}

void scheduler_go_on(struct scheduler *s)
{
    if (scheduler_is_ending(s))
        scheduler_done_of(s, FAILED_SHUTDOWN);
    else if (!s->is_warm)
        scheduler_warm_start(s);
    else if (s->enqueued.len && scheduler_rest_ms(s) > 0)
        give_enqueued(s); /* the client need not wait to learn which runs they became */
    else
        scheduler_rest(s, scheduler_poll);
}

/* Does a result answer the task that awaits one? */
static bool is_in_turn(const struct scheduler *s, const struct str *result, struct buf *why)
{
    uint64_t seq = result ? wire_find_varint(*result, RESULT_SEQ) : 0;
    unsigned long long awaited = s->seq;
    if (s->seq == 0 && !result)
        return true;
    if (s->seq != 0 && result && seq == s->seq)
        return true;
    if (s->seq == 0)
        buf_printf(why, "a result came for task %llu before any was given", (unsigned long long)seq);
    else if (!result)
        buf_printf(why, "no result came for task %llu", awaited);
    else
        buf_printf(why, "a result came for task %llu, not for %llu", (unsigned long long)seq, awaited);
    return false;
}

void scheduler_next(struct scheduler *s, const struct str *result)
{
    AUTO_BUF why = {0};
    assert(s->state == IDLE);
    if (!is_in_turn(s, result, &why)) {
        diag_error("sweep: out of step with the client: %.*s", STR_ARG(buf_str(&why)));
        scheduler_done(s, SWEEP_FATAL_ERROR,
                       "the scheduler and its client are out of step: %.*s. Run the scheduler again: the sweep goes on.",
                       STR_ARG(buf_str(&why)));
        return;
    }
    buf_clear(&s->result);
    if (!result) {
        scheduler_go_on(s);
    } else if (buf_put_str(&s->result, *result) != 0) {
        scheduler_done(s, SWEEP_FATAL_ERROR, "%s", err_text(TARE_ENOMEM));
    } else {
        scheduler_take_result(s);
    }
}

/* ---- opening ---- */

static void refuse(struct scheduler *s, const char *why)
{
    move(s, OVER);
    s->params.ready(s->params.ctx, NULL, why);
}

static void on_facts(struct scheduler *s)
{
    struct err e = {0};
    AUTO_BUF why = {0};
    if (s->call.error) {
        scheduler_put_why(s, &why);
        refuse(s, buf_z(&why) ? buf_z(&why) : "");
    } else if (!sweep_read_facts(s->call.data, &s->facts)) {
        refuse(s, "sweep not found");
    } else if (sweep_config_read(str_of(s->facts.config), &s->config, &e) != 0) {
        refuse(s, e.text);
    } else {
        move(s, IDLE);
        graphql_call_fini(&s->call);
        s->params.ready(s->params.ctx, &s->facts, NULL);
    }
}

static void on_feature(void *ctx, bool has)
{
    struct scheduler *s = ctx;
    s->is_feature_awaited = false;
    if (s->is_closing) {
        free_if_done(s);
    } else if (!has) {
        refuse(s, "this W&B server does not support the local sweep scheduler");
    } else {
        scheduler_begin_vars(s, "sweep", str_of(s->sweep));
        scheduler_ask(s, OPENING, &sweep_query_config, on_facts);
    }
}

static void on_begin(uv_timer_t *t)
{
    struct scheduler *s = t->data;
    s->is_feature_awaited = true;
    backend_feature(s->params.backend, "SWEEPS_LOCAL_SCHEDULER", on_feature, s);
}

struct scheduler *scheduler_open(const struct scheduler_params *p)
{
    struct scheduler *s = xmem_calloc(1, sizeof *s);
    double ms = p->poll_s * 1000;
    s->params = *p;
    s->params.batch = p->batch ? p->batch : 1;
    s->entity = xmem_strndup(p->entity.n ? p->entity.p : "", p->entity.n);
    s->project = xmem_strndup(p->project.n ? p->project.p : "", p->project.n);
    s->sweep = xmem_strndup(p->sweep.n ? p->sweep.p : "", p->sweep.n);
    s->poll_ms = ms > SWEEP_POLL_MIN_MS ? ms < SWEEP_POLL_MAX_MS ? (int64_t)ms : SWEEP_POLL_MAX_MS : SWEEP_POLL_MIN_MS;
    arena_init(&s->arena, SWEEP_POLL_BYTES);
    uv_timer_init(p->loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_begin, 0, 0);
    return s;
}
