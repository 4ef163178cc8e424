/* SPDX-License-Identifier: MIT */
/* What the optimizer did with a task: prior runs that it adopts, runs that it could not take, runs to be
 * stopped, suggestions of new ones. In the order of the messages' effects:
 *
 *   ends that were told are acknowledged ─► tells that failed ─► prunes ─► the end of the sweep, or suggestions
 *
 * An id that is in use already is dropped without a word to the optimizer: told that it was discarded, it
 * would forget the run that has it. */
#include "service/sweep/scheduler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "service/upload/json_path.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    WARM_ADOPTIONS = 1, WARM_SKIPPED = 2,
    MAP_KEY = 1, MAP_VALUE = 2,
    SKIPPED_RUN = 1, SKIPPED_ERROR = 2,
    GEN_OUTCOME = 1, GEN_SUGGESTIONS = 2, GEN_PRUNE = 3, GEN_TERMINATE = 4, GEN_TELL_ERRORS = 5,
    OUTCOME_SUGGESTED = 1, OUTCOME_EXHAUSTED = 3,
    SUGGESTION_ID = 1, SUGGESTION_CONFIG = 2,
    TELL_ID = 1, TELL_MESSAGE = 2,
};

/* ---- the warm start ---- */

struct adoption {
    struct str name, id;
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct adoption *)a)->name, ((const struct adoption *)b)->name);
}

static void adopt(struct scheduler *s, struct adoption a)
{
    struct sweep_run *known = sweep_run_of_name(&s->runs, a.name);
    if (sweep_run_of_id(&s->runs, a.id)) {
        diag_warn("sweep: run %.*s is not adopted: the id %.*s is in use", STR_ARG(a.name), STR_ARG(a.id));
        return;
    }
    if (known && sweep_run_is_tracked(known))
        return;
    struct sweep_run *run = sweep_run_new(&s->runs, a.id.n ? a.id : STR(""), a.name);
    run->stage = RUN_IN_FLIGHT;
    run->state = RUN_UNKNOWN;
    sweep_run_note_name(&s->runs, run);
}

/* In the order of their names: a map has none of its own. */
static void adopt_all(struct scheduler *s, struct str result)
{
    AUTO_BUF list = {0};
    struct wire_field f;
    for (struct wire_reader r = wire_open(result); wire_next(&r, &f) > 0;)
        if (f.number == WARM_ADOPTIONS && f.type == WIRE_BYTES) {
            struct adoption a = {wire_find_bytes(f.bytes, MAP_KEY), wire_find_bytes(f.bytes, MAP_VALUE)};
            buf_append(&list, &a, sizeof a);
        }
    struct adoption *all = (struct adoption *)(void *)list.data;
    size_t n = list.len / sizeof *all;
    if (n)
        qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++)
        adopt(s, all[i]);
}

static void take_warm_start(struct scheduler *s, struct str result)
{
    struct wire_field f;
    adopt_all(s, result);
    for (struct wire_reader r = wire_open(result); wire_next(&r, &f) > 0;) {
        if (f.number != WARM_SKIPPED || f.type != WIRE_BYTES)
            continue;
        struct str name = wire_find_bytes(f.bytes, SKIPPED_RUN), why = wire_find_bytes(f.bytes, SKIPPED_ERROR);
        struct sweep_run *run = sweep_run_of_name(&s->runs, name);
        if (run)
            run->stage = RUN_RETIRED;
        diag_warn("sweep: the optimizer cannot take run %.*s: %.*s", STR_ARG(name), STR_ARG(why));
    }
}

/* ---- tells ---- */

/* The client has heard of their end. Success cannot get better; all else may be resumed. */
static void settle_told(struct scheduler *s)
{
    struct sweep_run *run;
    LL_FOREACH (s->runs.first, run)
        if (run->stage == RUN_TOLD)
            run->stage = run->state == RUN_FINISHED ? RUN_RETIRED : RUN_DORMANT;
}

/* Its slot becomes free; one bad run does not fail the sweep at every poll. */
static void take_tell_error(struct scheduler *s, struct str error)
{
    struct str id = wire_find_bytes(error, TELL_ID), why = wire_find_bytes(error, TELL_MESSAGE);
    struct sweep_run *run = sweep_run_of_id(&s->runs, id);
    if (!run || !sweep_run_is_tracked(run))
        return;
    diag_warn("sweep: the optimizer cannot take run %s any more: %.*s", run->name, STR_ARG(why));
    run->stage = RUN_RETIRED;
}

/* ---- suggestions ---- */

static void next_suggestion(struct scheduler *s);

static void discard(struct scheduler *s, struct str id)
{
    wire_buf_bytes(&s->discards, GEN_DISCARDED, id);
}

static void on_enqueued(struct scheduler *s)
{
    struct sweep_run *run = s->at;
    bool found = json_at(s->call.data, "enqueueSweepRun").n > 0;
    enum failure f = scheduler_judge(s, found);
    if (f == FAILED_NOT_FOUND && !s->call.error)
        f = FAILED_FATAL; /* an empty answer says nothing about the sweep */
    if (f == FAILED_SLOW_DOWN) {
        discard(s, s->suggested_id);
        next_suggestion(s);
        return;
    }
    if (scheduler_done_of(s, f))
        return;
    AUTO_FREE char *name = json_string_at(s->call.data, "enqueueSweepRun.id");
    sweep_run_set(&run->name, str_of(name ? name : ""));
    run->stage = RUN_IN_FLIGHT;
    run->state = RUN_PENDING;
    diag_info("sweep: run %s made", run->name);
    scheduler_put_run(&s->enqueued, GEN_UPDATES, run, s->suggested_config, (struct str){0}, (struct str){0});
    next_suggestion(s);
}

/* The id is noted first, so that it stays taken whatever comes of it. False: nothing to wait for. */
static bool enqueue(struct scheduler *s, struct str suggestion)
{
    struct err e = {0};
    AUTO_BUF config = {0};
    s->suggested_id = wire_find_bytes(suggestion, SUGGESTION_ID);
    s->suggested_config = wire_find_bytes(suggestion, SUGGESTION_CONFIG);
    if (sweep_run_of_id(&s->runs, s->suggested_id)) {
        diag_warn("sweep: a suggestion is dropped: its id %.*s is in use", STR_ARG(s->suggested_id));
        return false;
    }
    s->at = sweep_run_new(&s->runs, s->suggested_id.n ? s->suggested_id : STR(""), (struct str){0});
    if (sweep_put_wire(&config, s->suggested_config, &e) != 0) {
        diag_warn("sweep: suggestion %.*s is dropped: %s", STR_ARG(s->suggested_id), e.text);
        discard(s, s->suggested_id);
        return false;
    }
    buf_clear(&s->variables);
    sweep_var_text(&s->variables, "id", str_of(s->facts.node_id));
    sweep_var_text(&s->variables, "config", buf_str(&config));
    sweep_var_raw(&s->variables, "displayName", STR("null"));
    scheduler_ask(s, ENQUEUEING, &sweep_query_enqueue, on_enqueued);
    return true;
}

static void next_suggestion(struct scheduler *s)
{
    struct wire_field f;
    while (wire_next(&s->suggestions, &f) > 0)
        if (f.number == GEN_SUGGESTIONS && f.type == WIRE_BYTES && enqueue(s, f.bytes))
            return;
    scheduler_go_on(s);
}

static void discard_all(struct scheduler *s)
{
    struct wire_field f;
    while (wire_next(&s->suggestions, &f) > 0)
        if (f.number == GEN_SUGGESTIONS && f.type == WIRE_BYTES)
            discard(s, wire_find_bytes(f.bytes, SUGGESTION_ID));
}

/* The sweep may be over since the optimizer was asked. If that cannot be known, the requests that make
 * the runs will tell. */
static void on_checked(struct scheduler *s)
{
    struct sweep_facts now = {0};
    bool found = !s->call.error && sweep_read_facts(s->call.data, &now);
    enum failure f = scheduler_judge(s, found);
    if (f == FAILED_NOT_FOUND) {
        scheduler_done_of(s, f);
    } else if (f != FAILED_NOT) {
        next_suggestion(s);
    } else if (strcmp(now.state, "PAUSED") == 0) {
        discard_all(s);
        scheduler_go_on(s);
    } else if (!scheduler_done_of_state(s, now.state)) {
        next_suggestion(s);
    }
    sweep_facts_fini(&now);
}

static bool has_suggestions(struct str result)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(result); wire_next(&r, &f) > 0;)
        if (f.number == GEN_SUGGESTIONS && f.type == WIRE_BYTES)
            return true;
    return false;
}

static void check_sweep(struct scheduler *s)
{
    s->suggestions = wire_open(s->generation);
    if (!has_suggestions(s->generation)) {
        scheduler_go_on(s);
        return;
    }
    scheduler_begin_vars(s, "sweep", str_of(s->sweep));
    scheduler_ask(s, CHECKING, &sweep_query_config, on_checked);
}

/* ---- prunes ---- */

static bool is_to_be_stopped(const struct sweep_run *run)
{
    return run->is_pruned && sweep_run_is_tracked(run) && !sweep_run_is_over(run->state);
}

static void after_prunes(struct scheduler *s)
{
    uint64_t outcome = wire_find_varint(s->generation, GEN_OUTCOME);
    struct sweep_run *run;
    int64_t n_tracked = 0;
    if (wire_find_varint(s->generation, GEN_TERMINATE)) {
        scheduler_finish(s, "the optimizer ended the sweep");
        return;
    }
    if (outcome == OUTCOME_SUGGESTED) {
        check_sweep(s);
        return;
    }
    s->is_exhausted |= outcome == OUTCOME_EXHAUSTED;
    LL_FOREACH (s->runs.first, run)
        n_tracked += sweep_run_is_tracked(run);
    /* runs that are still waiting would never begin once the sweep is finished */
    if (outcome == OUTCOME_EXHAUSTED && n_tracked == 0)
        scheduler_finish(s, "there is nothing left to search");
    else
        scheduler_go_on(s);
}

static void stop_next(struct scheduler *s);

/* One that was not stopped is tried again with the next result: the optimizer names it only once. */
static void on_run_stopped(struct scheduler *s)
{
    struct sweep_run *run = s->at;
    bool done = !s->call.error && str_eqz(json_at(s->call.data, "stopRun.success"), "true");
    scheduler_judge(s, true);
    if (done)
        run->stage = RUN_RETIRED;
    diag_info("sweep: run %s %s", run->name, done ? "stopped" : "could not be stopped");
    s->at = run->next;
    stop_next(s);
}

static void stop_next(struct scheduler *s)
{
    while (s->at && !is_to_be_stopped(s->at))
        s->at = s->at->next;
    if (!s->at || scheduler_is_ending(s)) {
        after_prunes(s);
        return;
    }
    buf_clear(&s->variables);
    sweep_var_text(&s->variables, "id", str_of(s->at->node_id));
    scheduler_ask(s, STOPPING, &sweep_query_stop_run, on_run_stopped);
}

static void take_prune(struct scheduler *s, struct str id)
{
    struct sweep_run *run = sweep_run_of_id(&s->runs, id);
    if (run && run->is_offered && sweep_run_is_tracked(run) && !sweep_run_is_over(run->state))
        run->is_pruned = true;
}

static void take_generation(struct scheduler *s, struct str result)
{
    struct wire_field f;
    s->generation = result;
    settle_told(s);
    for (struct wire_reader r = wire_open(result); wire_next(&r, &f) > 0;)
        if (f.number == GEN_TELL_ERRORS && f.type == WIRE_BYTES)
            take_tell_error(s, f.bytes);
    for (struct wire_reader r = wire_open(result); wire_next(&r, &f) > 0;)
        if (f.number == GEN_PRUNE && f.type == WIRE_BYTES)
            take_prune(s, f.bytes);
    s->at = s->runs.first;
    stop_next(s);
}

/* ---- all of it ---- */

void scheduler_take_result(struct scheduler *s)
{
    struct wire_field f, last = {0};
    for (struct wire_reader r = wire_open(buf_str(&s->result)); wire_next(&r, &f) > 0;)
        if (f.type == WIRE_BYTES && f.number >= RESULT_WARM_START && f.number <= RESULT_ERROR)
            last = f;
    if (last.number == RESULT_ERROR) { /* the sweep stays as it is: a mended client can go on with it */
        struct str why = wire_find_bytes(last.bytes, ERROR_MESSAGE);
        diag_error("sweep: the optimizer failed: %.*s", STR_ARG(why));
        scheduler_done(s, SWEEP_OPTIMIZER_ERROR, "%.*s", STR_ARG(why));
    } else if (last.number == RESULT_GENERATION) {
        take_generation(s, last.bytes);
    } else {
        if (last.number == RESULT_WARM_START)
            take_warm_start(s, last.bytes);
        scheduler_go_on(s);
    }
}
