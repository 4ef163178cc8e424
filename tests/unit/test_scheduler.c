/* SPDX-License-Identifier: MIT */
/* A sweep's scheduler over a network and a clock that are not real: what it asks the backend, when, and
 * what its client is told. Tasks are compared as a line of text, see put_task. */
#include "unit.h"

#include "../support/fake_net.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/sweep/scheduler.h"
#include "service/upload/json_path.h"

#include <stdio.h>
#include <utlist.h>

static struct {
    struct scheduler *s;
    struct buf task, result;
    uint64_t seq;
    int n_tasks, n_ready, n_closed;
    bool is_over;
    char why[256];
} t;

/* ---- tasks as text: "gen ask 1 prune [o1] gone [o2] | run-1 o1 running {\"x\":1} ..." ---- */

static const char *const run_states[] = {"?",        "running", "pending", "preempting", "preempted",
                                         "finished", "failed",  "crashed", "killed",     "unknown"};

static void put_run(struct buf *to, struct str run)
{
    buf_puts(to, " |");
    for (uint32_t field = 1; field <= 6; field++) {
        struct str text = wire_find_bytes(run, field);
        if (field == 3)
            buf_printf(to, " %s", run_states[wire_find_varint(run, 3)]);
        else if (text.n)
            buf_printf(to, " %.*s", STR_ARG(text));
    }
}

static void put_list(struct buf *to, const char *name, struct str message, uint32_t number)
{
    struct wire_field f;
    const char *begin = " [";
    for (struct wire_reader r = wire_open(message); wire_next(&r, &f) > 0;)
        if (f.number == number) {
            if (begin[1] == '[')
                buf_printf(to, " %s", name);
            buf_printf(to, "%s%.*s", begin, STR_ARG(f.bytes));
            begin = " ";
        }
    if (begin[1] == '\0')
        buf_putc(to, ']');
}

static void put_task(struct buf *to, struct str response)
{
    struct wire_field f, of;
    for (struct wire_reader r = wire_open(response); wire_next(&r, &f) > 0;) {
        if (f.number == 1)
            t.seq = f.value;
        if (f.number == 4)
            buf_printf(to, "done %d %.*s", (int)wire_find_varint(f.bytes, 1), STR_ARG(wire_find_bytes(f.bytes, 2)));
        if (f.number == 2)
            buf_printf(to, "warm%s", wire_find_varint(f.bytes, 3) ? " more" : "");
        if (f.number == 3) {
            buf_printf(to, "gen ask %d", (int)wire_find_varint(f.bytes, 2));
            put_list(to, "prune", f.bytes, 3);
            put_list(to, "gone", f.bytes, 4);
        }
        if (f.number == 2 || f.number == 3)
            for (struct wire_reader runs = wire_open(f.bytes); wire_next(&runs, &of) > 0;)
                if (of.number == 1 || (f.number == 2 && of.number == 2))
                    put_run(to, f.number == 3 ? wire_find_bytes(of.bytes, 1) : of.bytes);
    }
}

static void on_ready(void *ctx, const struct sweep_facts *facts, const char *why)
{
    t.n_ready++;
    assert_true((facts == NULL) == (why != NULL));
    if (why)
        snprintf(t.why, sizeof t.why, "%s", why);
}

static void on_task(void *ctx, struct str response, bool is_over)
{
    t.n_tasks++;
    assert_false(t.is_over);
    t.is_over = is_over;
    buf_clear(&t.task);
    put_task(&t.task, response);
}

static void on_closed(void *ctx)
{
    t.n_closed++;
}

/* ---- begin and end ---- */

#define CONFIG(text) "{\"project\":{\"sweep\":{\"id\":\"node\",\"state\":\"RUNNING\",\"config\":\"" text "\"}}}"
#define LOSS CONFIG("metric: {name: loss}")

static void open_with(bool has_feature)
{
    fake_net_begin();
    fake_net.has_feature = has_feature;
    t.s = scheduler_open(&(struct scheduler_params){
        .entity = STR("me"), .project = STR("p"), .sweep = STR("sw"), .batch = 2, .ready = on_ready, .task = on_task});
    fake_net_settle();
}

static int teardown(void **state)
{
    if (!t.n_closed)
        scheduler_close(t.s, on_closed);
    fake_net_settle();
    assert_int_equal(t.n_closed, 1);
    fake_net_end();
    buf_fini(&t.task);
    buf_fini(&t.result);
    memset(&t, 0, sizeof t);
    return 0;
}

static void open_sweep(const char *facts)
{
    open_with(true);
    assert_string_equal(fake_net_call()->operation, "SweepConfig");
    fake_net_data(facts);
    assert_int_equal(t.n_ready, 1);
    assert_string_equal(t.why, "");
}

static int setup(void **state)
{
    open_sweep(LOSS);
    return 0;
}

/* ---- steps ---- */

/* Ask for the next task, with t.result as the fields of the result's message `kind` (0: no result). */
static void next(uint32_t kind)
{
    AUTO_BUF result = {0};
    wire_buf_varint(&result, 1, t.seq);
    wire_buf_bytes(&result, kind ? kind : 2, buf_str(&t.result));
    buf_clear(&t.result);
    struct str all = buf_str(&result);
    int before = t.n_tasks;
    buf_clear(&t.task);
    scheduler_next(t.s, kind ? &all : NULL);
    if (before == t.n_tasks)
        fake_net_settle();
}

enum { WARM = 2, GEN = 3, FAILED = 4 };

static void expect_task(const char *text)
{
    assert_string_equal(t.task.len ? buf_z(&t.task) : "", text);
}

static void expect_call(const char *operation, const char *data)
{
    assert_string_equal(fake_net_call()->operation, operation);
    fake_net_data(data);
}

static void expect_slow(const char *operation, int status)
{
    assert_string_equal(fake_net_call()->operation, operation);
    assert_true(fake_net_call()->hands_back_429);
    fake_net_call()->status = status;
    fake_net_refuse(TARE_EPROTO, "no");
}

static char *variable(const char *name)
{
    return json_string_at(fake_net_call()->variables, name);
}

static void expect_variable(const char *name, const char *value)
{
    AUTO_FREE char *text = variable(name);
    assert_non_null(text);
    assert_string_equal(text, value);
}

#define RUN(name, state, summary)                                                                            \
    "{\"node\":{\"id\":\"id-" name "\",\"name\":\"" name "\",\"state\":\"" state "\",\"config\":\"{\\\"x\\\": "   \
    "{\\\"value\\\": 1}}\",\"summaryMetrics\":\"" summary "\",\"sampledHistory\":[[{\"_step\":0}]]}}"
#define LOSS_1 "{\\\"loss\\\":1}"
#define PAGE(runs) "{\"pageInfo\":{\"hasNextPage\":false,\"endCursor\":\"c\"},\"edges\":[" runs "]}"
#define MORE(runs) "{\"pageInfo\":{\"hasNextPage\":true,\"endCursor\":\"c\"},\"edges\":[" runs "]}"
#define PRIOR_OF(state, page) "{\"project\":{\"sweep\":{\"state\":\"" state "\",\"runs\":" page "}}}"
#define PRIOR(page) PRIOR_OF("RUNNING", page)
#define POLL_OF(state, page) "{\"project\":{\"sweep\":{\"state\":\"" state "\"},\"runs\":" page "}}"
#define POLL(page) POLL_OF("RUNNING", page)
#define ENQUEUED(name) "{\"enqueueSweepRun\":{\"id\":\"" name "\"}}"

static void suggest(const char *id, const char *config)
{
    size_t mark;
    wire_buf_varint(&t.result, 1, 1);
    mark = wire_buf_begin(&t.result, 2);
    wire_buf_bytes(&t.result, 1, str_of(id));
    wire_buf_bytes(&t.result, 2, str_of(config));
    wire_buf_end(&t.result, mark);
}

static void adopt(const char *name, const char *id)
{
    size_t mark = wire_buf_begin(&t.result, 1);
    wire_buf_bytes(&t.result, 1, str_of(name));
    wire_buf_bytes(&t.result, 2, str_of(id));
    wire_buf_end(&t.result, mark);
}

static void prune(const char *id)
{
    wire_buf_bytes(&t.result, 3, str_of(id));
}

static void outcome(int value)
{
    wire_buf_varint(&t.result, 1, (uint64_t)value);
}

/* An empty sweep: the first generation is being asked for. */
static void warm_up(void)
{
    next(0);
    expect_call("SweepRunsWithHistory", PRIOR(PAGE("")));
    expect_task("warm");
    next(WARM);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
}

/* One run is followed: opt-1 is run-1. */
static void follow_one(void)
{
    warm_up();
    suggest("opt-1", "{\"x\": 1}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_variable("config", "{\"x\":{\"value\":1}}");
    expect_variable("id", "node");
    expect_call("EnqueueSweepRun", ENQUEUED("run-1"));
    expect_task("gen ask 0 | run-1 opt-1 pending {\"x\": 1}");
}

/* The poll that is due finds it so. */
static void poll_one(const char *data)
{
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepWatchedRuns", data);
}

/* ---- opening ---- */

static void test_a_server_without_the_feature_is_refused(void **state)
{
    open_with(false);
    assert_int_equal(t.n_ready, 1);
    assert_non_null(strstr(t.why, "does not support"));
    assert_int_equal(fake_net.n_calls, 0);
}

static void test_what_cannot_be_scheduled_is_refused(void **state)
{
    static const struct {
        const char *facts, *word;
    } rows[] = {
        {"{\"project\":{\"sweep\":null}}", "not found"},
        {"{\"project\":null}", "not found"},
        {CONFIG("method: grid"), "no metric"},
        {CONFIG("metric: {name: a}\\nmetrics: [{name: b}]"), "both"},
        {CONFIG("metrics: [{name: a}, {goal: minimize}]"), "metrics[1]"},
        {CONFIG("metric: {name: ["), "line"},
        {CONFIG("metric: loss"), "no mapping"},
        {CONFIG("- a"), "no mapping"},
        {CONFIG("metric: {name: a}\\nrun_cap: many"), "run_cap"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        open_with(true);
        fake_net_data(rows[i].facts);
        assert_int_equal(t.n_ready, 1);
        if (!strstr(t.why, rows[i].word))
            fail_msg("%s: %s", rows[i].facts, t.why);
        if (i + 1 < sizeof rows / sizeof *rows)
            teardown(NULL);
    }
}

static void test_a_failure_of_the_backend_refuses(void **state)
{
    open_with(true);
    assert_false(fake_net_call()->hands_back_429);
    fake_net_refuse(TARE_EIO, "connection refused");
    assert_string_equal(t.why, "connection refused");
}

static void test_it_can_be_closed_while_it_opens(void **state)
{
    open_with(true);
    assert_int_equal(fake_net.n_calls, 1);
    scheduler_close(t.s, on_closed);
    fake_net_settle();
    assert_int_equal(t.n_ready, 0);
}

/* ---- in and out of step ---- */

static void test_results_must_answer_the_last_task(void **state)
{
    static const char *const words[] = {"no result", "for task 7, not for 1", "before any"};
    for (int i = 0; i < 3; i++) {
        if (i < 2) {
            next(0);
            expect_call("SweepRunsWithHistory", PRIOR(PAGE("")));
        }
        t.seq = i == 1 ? 7 : t.seq;
        next(i == 0 ? 0 : WARM);
        assert_true(t.is_over);
        assert_non_null(strstr(buf_z(&t.task), "done 5"));
        assert_non_null(strstr(buf_z(&t.task), words[i]));
        if (i < 2) {
            teardown(NULL);
            setup(NULL);
        }
    }
}

static void test_an_optimizer_that_fails_leaves_the_sweep_as_it_is(void **state)
{
    warm_up();
    wire_buf_bytes(&t.result, 1, STR("ouch"));
    next(FAILED);
    expect_task("done 6 ouch");
    assert_int_equal(fake_net.n_calls, 0);
}

/* ---- the warm start ---- */

static void test_prior_runs_come_page_by_page(void **state)
{
    next(0);
    AUTO_FREE char *specs = json_string_at(fake_net_call()->variables, "historySpecs.0");
    assert_string_equal(specs, "{\"keys\":[\"loss\",\"_step\"],\"samples\":20}");
    assert_true(str_eqz(json_at(fake_net_call()->variables, "first"), "100"));
    expect_call("SweepRunsWithHistory", PRIOR(MORE(RUN("a", "finished", LOSS_1) "," RUN("b", "running", LOSS_1))));
    expect_task("warm more | a finished {\"x\":1} {\"loss\":1} [{\"_step\":0}] | b running {\"x\":1}");
    adopt("b", "opt-b");
    next(WARM);
    expect_variable("cursor", "c");
    expect_call("SweepRunsWithHistory",
                PRIOR(PAGE(RUN("c", "finished", "{\\\"other\\\":1}") "," RUN("d", "crashed", ""))));
    expect_task("warm | c failed {\"x\":1} {\"other\":1} [{\"_step\":0}] | d crashed {\"x\":1} [{\"_step\":0}]");
    next(WARM);
    expect_variable("filters", "{\"name\":{\"$in\":[\"b\"]}}");
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("b", "running", LOSS_1))));
    expect_task("gen ask 1 prune [opt-b] | b opt-b running {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
}

static void test_an_id_in_use_is_not_adopted_again(void **state)
{
    next(0);
    expect_call("SweepRunsWithHistory", PRIOR(PAGE(RUN("a", "running", "") "," RUN("b", "running", ""))));
    adopt("b", "same");
    adopt("a", "same");
    next(WARM);
    expect_variable("filters", "{\"name\":{\"$in\":[\"a\"]}}");
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("a", "preempting", ""))));
    expect_task("gen ask 1 | a same preempting {\"x\":1} [{\"_step\":0}]"); /* and nothing to prune */
}

static void test_a_run_is_adopted_and_counted_once(void **state)
{
    teardown(NULL);
    open_sweep(CONFIG("metric: {name: loss}\\nrun_cap: 2"));
    next(0);
    expect_call("SweepRunsWithHistory", PRIOR(MORE(RUN("a", "finished", LOSS_1) "," RUN("b", "running", ""))));
    adopt("b", "opt-b");
    next(WARM); /* pages may overlap */
    expect_call("SweepRunsWithHistory", PRIOR(PAGE(RUN("a", "finished", LOSS_1) "," RUN("b", "running", ""))));
    adopt("b", "opt-b2");
    next(WARM);
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("b", "running", ""))));
    expect_task("gen ask 1 prune [opt-b] | b opt-b running {\"x\":1} [{\"_step\":0}]");
}

static void test_a_page_that_came_too_soon_is_asked_for_again(void **state)
{
    next(0);
    expect_slow("SweepRunsWithHistory", 429);
    assert_int_equal(t.n_tasks, 0);
    fake_net_pass_ms(5999); /* the poll's interval, and a second for the failure */
    assert_int_equal(t.n_tasks, 0);
    fake_net_pass_ms(1);
    expect_task("warm more");
    next(WARM);
    expect_call("SweepRunsWithHistory", PRIOR(PAGE("")));
    expect_task("warm");
}

static void test_a_sweep_that_is_over_is_not_begun(void **state)
{
    static const struct {
        const char *state, *task;
    } rows[] = {{"FINISHED", "done 3 the sweep is FINISHED"}, {"CANCELED", "done 2 the sweep is CANCELED"},
                {"FLAPPING", "done 5 the sweep is FLAPPING"}, {"ERROR", "done 5 the sweep is ERROR"}};
    for (size_t i = 0; i < 4; i++) {
        char data[200];
        next(0);
        snprintf(data, sizeof data, PRIOR_OF("%s", PAGE("")), rows[i].state);
        expect_call("SweepRunsWithHistory", data);
        expect_task(rows[i].task);
        assert_true(t.is_over);
        teardown(NULL);
        setup(NULL);
    }
}

static void test_a_sweep_that_is_gone_ends_it(void **state)
{
    next(0);
    expect_call("SweepRunsWithHistory", "{\"project\":{\"sweep\":null}}");
    expect_task("done 4 the sweep was deleted");
    teardown(NULL);
    setup(NULL);
    next(0);
    expect_slow("SweepRunsWithHistory", 404);
    expect_task("done 4 the sweep was deleted");
    teardown(NULL);
    setup(NULL);
    next(0);
    expect_slow("SweepRunsWithHistory", 400);
    assert_non_null(strstr(buf_z(&t.task), "done 5"));
    assert_non_null(strstr(buf_z(&t.task), "400"));
}

/* ---- suggestions ---- */

static void test_suggestions_become_runs_and_are_told_at_once(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "running", LOSS_1))));
    expect_task("gen ask 1 prune [opt-1] | run-1 opt-1 running {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
}

static void test_after_a_slow_optimizer_the_poll_tells_of_them(void **state)
{
    warm_up();
    fake_net_pass_ms(60000);
    suggest("opt-1", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_call("EnqueueSweepRun", ENQUEUED("run-1"));
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-1", "running", LOSS_1))));
    expect_task("gen ask 1 prune [opt-1] | run-1 opt-1 running {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
    next(GEN);
    expect_task(""); /* and not again as pending */
}

static void test_a_suggestion_that_cannot_be_taken_is_given_back(void **state)
{
    warm_up();
    suggest("bad", "{\"x\": NaN}");
    suggest("worse", "[1]");
    suggest("good", "null");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_variable("config", "{}");
    expect_call("EnqueueSweepRun", ENQUEUED("run-1"));
    expect_task("gen ask 0 gone [bad worse] | run-1 good pending null");
}

static void test_a_busy_backend_costs_the_suggestion_only(void **state)
{
    warm_up();
    suggest("lost", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_slow("EnqueueSweepRun", 429);
    fake_net_pass_ms(6000);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2 gone [lost]");
}

static void test_other_failures_end_it(void **state)
{
    warm_up();
    suggest("lost", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_slow("EnqueueSweepRun", 400);
    assert_non_null(strstr(buf_z(&t.task), "done 5"));
    teardown(NULL);
    setup(NULL);
    warm_up();
    suggest("lost", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_call("EnqueueSweepRun", "{\"enqueueSweepRun\":null}");
    assert_non_null(strstr(buf_z(&t.task), "done 5"));
}

static void test_an_id_in_use_is_dropped_and_not_given_back(void **state)
{
    follow_one();
    suggest("opt-1", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    fake_net_pass_ms(5000);
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-1", "pending", ""))));
    expect_task("gen ask 1 prune [opt-1] | run-1 opt-1 pending {\"x\":1} [{\"_step\":0}]");
}

static void test_the_sweep_may_end_or_pause_while_the_optimizer_thinks(void **state)
{
    warm_up();
    suggest("late", "{}");
    next(GEN);
    expect_call("SweepConfig", "{\"project\":{\"sweep\":{\"id\":\"node\",\"state\":\"CANCELED\"}}}");
    expect_task("done 2 the sweep is CANCELED");
    teardown(NULL);
    setup(NULL);
    warm_up();
    suggest("late", "{}");
    next(GEN);
    expect_call("SweepConfig", "{\"project\":{\"sweep\":{\"id\":\"node\",\"state\":\"PAUSED\"}}}");
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", "{\"project\":{\"sweep\":{\"id\":\"node\",\"state\":\"PAUSED\"}}}");
    expect_task("gen ask 0 gone [late]");
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
}

/* ---- ends ---- */

static void test_the_optimizer_may_end_the_sweep(void **state)
{
    warm_up();
    wire_buf_varint(&t.result, 4, 1);
    next(GEN);
    expect_variable("state", "FINISHED");
    expect_call("UpsertSweepState", "{}");
    expect_task("done 3 the optimizer ended the sweep");
}

static void test_an_exhausted_search_waits_for_its_runs(void **state)
{
    follow_one();
    outcome(3);
    poll_one(POLL(PAGE(RUN("run-1", "running", LOSS_1))));
    expect_task("gen ask 0 prune [opt-1] | run-1 opt-1 running {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
    poll_one(POLL(PAGE(RUN("run-1", "finished", LOSS_1))));
    expect_task("gen ask 0 | run-1 opt-1 finished {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    fake_net_call()->status = 500;
    assert_string_equal(fake_net_call()->operation, "UpsertSweepState");
    fake_net_refuse(TARE_EPROTO, "it costs the label only");
    expect_task("done 3 there is nothing left to search");
}

static void test_the_cap_counts_runs_that_finished(void **state)
{
    teardown(NULL);
    open_sweep(CONFIG("metric: {name: loss}\\nrun_cap: 2"));
    next(0);
    expect_call("SweepRunsWithHistory", PRIOR(PAGE(RUN("a", "finished", LOSS_1) "," RUN("b", "failed", LOSS_1))));
    next(WARM);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
    suggest("opt-1", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_call("EnqueueSweepRun", ENQUEUED("run-1"));
    poll_one(POLL(PAGE(RUN("run-1", "finished", LOSS_1))));
    assert_false(t.is_over);
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    expect_call("UpsertSweepState", "{}");
    assert_non_null(strstr(buf_z(&t.task), "done 3"));
}

/* ---- polls ---- */

static void test_a_run_that_succeeded_is_not_asked_for_again(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "finished", LOSS_1))));
    expect_task("gen ask 2 | run-1 opt-1 finished {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
}

static void test_a_run_that_failed_is_followed_but_not_told_again(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "crashed", ""))));
    expect_task("gen ask 2 | run-1 opt-1 crashed {\"x\":1} [{\"_step\":0}]");
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    expect_task("gen ask 2");
    poll_one(POLL(PAGE("")));
    expect_call("RunState", "{\"project\":{\"run\":null}}"); /* deleted now: not looked for any more */
    expect_task("gen ask 2");
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
}

static void test_states_that_cannot_be_read(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "", ""))));
    expect_task("gen ask 1 prune [opt-1] | run-1 opt-1 pending {\"x\":1} [{\"_step\":0}]");
    poll_one(POLL(PAGE(RUN("run-1", "hibernating", ""))));
    expect_task("gen ask 2 | run-1 opt-1 failed {\"x\":1} [{\"_step\":0}]");
}

static void test_a_run_that_finished_without_the_metric_failed(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "finished", "{\\\"loss\\\":null}"))));
    expect_task("gen ask 2 | run-1 opt-1 failed {\"x\":1} {\"loss\":null} [{\"_step\":0}]");
}

static void test_a_missing_run_is_asked_for_by_itself(void **state)
{
    follow_one();
    poll_one(POLL(PAGE("")));
    expect_variable("run", "run-1");
    expect_call("RunState", "{\"project\":{\"run\":{\"id\":\"x\"}}}"); /* the list lags behind */
    expect_task("gen ask 1");
    poll_one(POLL(PAGE("")));
    expect_slow("RunState", 500); /* not known: no change */
    expect_task("gen ask 1");
    next(GEN);
    fake_net_pass_ms(6000);
    expect_call("SweepWatchedRuns", POLL(PAGE("")));
    expect_call("RunState", "{\"project\":{\"run\":null}}");
    expect_task("gen ask 2 | run-1 opt-1 failed {}");
}

static void test_all_pages_of_a_poll_are_read(void **state)
{
    follow_one();
    suggest("opt-2", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_call("EnqueueSweepRun", ENQUEUED("run-2"));
    poll_one(POLL(MORE(RUN("run-1", "running", ""))));
    expect_variable("cursor", "c");
    expect_variable("filters", "{\"name\":{\"$in\":[\"run-1\",\"run-2\"]}}");
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-2", "killed", ""))));
    expect_task("gen ask 1 prune [opt-1] | run-1 opt-1 running {\"x\":1} [{\"_step\":0}]"
                " | run-2 opt-2 killed {\"x\":1} [{\"_step\":0}]");
}

static void test_failures_space_polls_out_and_success_resets(void **state)
{
    static const int waits_ms[] = {5000, 6000, 7000, 9000, 13000, 21000, 37000, 65000, 65000};
    follow_one();
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
        next(GEN);
        fake_net_pass_ms(waits_ms[i] - 1);
        assert_int_equal(fake_net.n_calls, 0);
        fake_net_pass_ms(1);
        expect_slow("SweepWatchedRuns", 429);
        expect_task("gen ask 0");
    }
    next(GEN);
    fake_net_pass_ms(65000);
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-1", "running", ""))));
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    assert_false(t.is_over);
}

static void test_a_tell_that_failed_frees_the_slot(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    size_t mark = wire_buf_begin(&t.result, 5);
    wire_buf_bytes(&t.result, 1, STR("opt-1"));
    wire_buf_end(&t.result, mark);
    next(GEN);
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
}

/* ---- prunes ---- */

static void test_a_pruned_run_is_stopped(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    prune("opt-1");
    prune("nobody");
    next(GEN);
    expect_variable("id", "id-run-1");
    expect_call("StopRun", "{\"stopRun\":{\"success\":true}}");
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
    expect_task("gen ask 2");
}

static void test_a_stop_is_tried_until_it_is_done(void **state)
{
    follow_one();
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    prune("opt-1");
    next(GEN);
    expect_call("StopRun", "{\"stopRun\":{\"success\":false}}");
    fake_net_pass_ms(5000);
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-1", "running", ""))));
    expect_task("gen ask 1 | run-1 opt-1 running {\"x\":1} [{\"_step\":0}]");
    next(GEN);
    expect_slow("StopRun", 409);
    fake_net_pass_ms(6000);
    expect_call("SweepWatchedRuns", POLL(PAGE(RUN("run-1", "finished", LOSS_1))));
    expect_task("gen ask 2 | run-1 opt-1 finished {\"x\":1} {\"loss\":1} [{\"_step\":0}]");
    next(GEN); /* it ended by itself */
    fake_net_pass_ms(5000);
    expect_call("SweepConfig", LOSS);
}

static void test_only_what_was_offered_is_pruned(void **state)
{
    follow_one();
    prune("opt-1"); /* it was only enqueued */
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    assert_false(t.is_over);
}

/* ---- stops ---- */

static void test_a_stop_ends_the_wait(void **state)
{
    follow_one();
    next(GEN);
    assert_int_equal(fake_net.n_calls, 0);
    scheduler_stop(t.s);
    expect_task("done 7 ");
    assert_true(t.is_over);
}

static void test_a_stop_ends_a_question(void **state)
{
    follow_one();
    next(GEN);
    fake_net_pass_ms(5000);
    assert_int_equal(fake_net.n_calls, 1);
    scheduler_stop(t.s);
    fake_net_settle();
    expect_task("done 7 ");
}

static void test_after_a_stop_nothing_is_asked(void **state)
{
    warm_up();
    scheduler_stop(t.s);
    suggest("a", "{}");
    suggest("b", "{}");
    next(GEN);
    assert_int_equal(fake_net.n_calls, 0);
    expect_task("done 7 ");
}

static void test_a_cancelled_question_ends_its_step(void **state)
{
    follow_one();
    next(GEN);
    scheduler_cancel(t.s);
    expect_task("done 7 ");
}

static void test_a_cancel_between_questions_does_nothing(void **state)
{
    follow_one();
    scheduler_cancel(t.s);
    poll_one(POLL(PAGE(RUN("run-1", "running", ""))));
    assert_false(t.is_over);
}

static void test_it_can_be_closed_at_any_time(void **state)
{
    follow_one();
    next(GEN);
    scheduler_close(t.s, on_closed);
    fake_net_pass_ms(10000);
    assert_int_equal(t.n_closed, 1);
    assert_int_equal(t.n_tasks, 3);
    teardown(NULL);
    setup(NULL);
    follow_one();
    next(GEN);
    fake_net_pass_ms(5000);
    scheduler_close(t.s, on_closed);
    fake_net_settle();
    assert_int_equal(t.n_closed, 1);
    assert_int_equal(t.n_tasks, 3);
}

/* Whatever the client answers with, the scheduler does not fall over. */
static void test_a_result_of_the_wrong_kind_is_survived(void **state)
{
    next(0);
    expect_call("SweepRunsWithHistory", PRIOR(MORE(RUN("a", "running", ""))));
    suggest("opt-1", "{}");
    next(GEN);
    expect_call("SweepConfig", LOSS);
    expect_call("EnqueueSweepRun", ENQUEUED("run-1"));
    expect_call("SweepRunsWithHistory", PRIOR(PAGE("")));
    expect_task("warm");
}

/* ---- parts ---- */

static void test_configurations_of_runs(void **state)
{
    static const struct {
        const char *wire, *flat;
    } rows[] = {
        {"{\"b\": {\"value\": [1, {\"c\": 2.50}]}, \"a\": {\"value\": null}, \"n\": 3}", "{\"a\":null,\"b\":[1, {\"c\": 2.50}],\"n\":3}"},
        {"", "{}"}, {"null", "{}"}, {"[]", "{}"}, {"{\"a\": NaN}", "{}"}, {"{\"a\":\"NaN\"}", "{\"a\":\"NaN\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        AUTO_BUF flat = {0};
        sweep_put_flat(&flat, str_of(rows[i].wire));
        assert_string_equal(buf_z(&flat), rows[i].flat);
    }
    AUTO_BUF wire = {0};
    assert_int_equal(sweep_put_wire(&wire, STR(" {\"b\": 1.0, \"a\": {\"value\": 2}} "), NULL), 0);
    assert_string_equal(buf_z(&wire), "{\"a\":{\"value\":{\"value\": 2}},\"b\":{\"value\":1.0}}");
    assert_int_equal(sweep_put_wire(&wire, STR(""), NULL), TARE_EFORMAT);
}

static void test_metrics_of_a_configuration(void **state)
{
    struct sweep_config c;
    struct err e = {0};
    assert_int_equal(sweep_config_read(STR("metrics:\n- {name: a}\n- name: \"b \\\"c\"\nrun_cap: 7\n"), &c, &e), 0);
    assert_string_equal(buf_z(&c.metrics), "\"a\",\"b \\\"c\"");
    assert_int_equal(c.run_cap, 7);
    assert_true(sweep_has_metrics(STR("{\"b \\u0022c\":1,\"a\":\"NaN\"}"), buf_str(&c.metrics)));
    assert_false(sweep_has_metrics(STR("{\"a\":1}"), buf_str(&c.metrics)));
    assert_false(sweep_has_metrics(STR(""), buf_str(&c.metrics)));
    sweep_config_fini(&c);
    assert_int_equal(sweep_config_read(STR("{\"metric\": {\"name\": \"json\"}, \"run_cap\": -1}"), &c, &e), 0);
    assert_string_equal(buf_z(&c.metrics), "\"json\"");
    assert_int_equal(c.run_cap, 0);
    sweep_config_fini(&c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OPENS(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENS(test_a_server_without_the_feature_is_refused), OPENS(test_what_cannot_be_scheduled_is_refused),
        OPENS(test_a_failure_of_the_backend_refuses), OPENS(test_it_can_be_closed_while_it_opens),
        T(test_results_must_answer_the_last_task), T(test_an_optimizer_that_fails_leaves_the_sweep_as_it_is),
        T(test_prior_runs_come_page_by_page), T(test_an_id_in_use_is_not_adopted_again),
        T(test_a_run_is_adopted_and_counted_once),
        T(test_a_page_that_came_too_soon_is_asked_for_again), T(test_a_sweep_that_is_over_is_not_begun),
        T(test_a_sweep_that_is_gone_ends_it), T(test_suggestions_become_runs_and_are_told_at_once),
        T(test_after_a_slow_optimizer_the_poll_tells_of_them), T(test_a_suggestion_that_cannot_be_taken_is_given_back),
        T(test_a_busy_backend_costs_the_suggestion_only), T(test_other_failures_end_it),
        T(test_an_id_in_use_is_dropped_and_not_given_back),
        T(test_the_sweep_may_end_or_pause_while_the_optimizer_thinks), T(test_the_optimizer_may_end_the_sweep),
        T(test_an_exhausted_search_waits_for_its_runs), T(test_the_cap_counts_runs_that_finished),
        T(test_a_run_that_succeeded_is_not_asked_for_again), T(test_a_run_that_failed_is_followed_but_not_told_again),
        T(test_states_that_cannot_be_read), T(test_a_run_that_finished_without_the_metric_failed),
        T(test_a_missing_run_is_asked_for_by_itself), T(test_all_pages_of_a_poll_are_read),
        T(test_failures_space_polls_out_and_success_resets), T(test_a_tell_that_failed_frees_the_slot),
        T(test_a_pruned_run_is_stopped), T(test_a_stop_is_tried_until_it_is_done),
        T(test_only_what_was_offered_is_pruned), T(test_a_stop_ends_the_wait), T(test_a_stop_ends_a_question),
        T(test_after_a_stop_nothing_is_asked), T(test_a_cancelled_question_ends_its_step),
        T(test_a_cancel_between_questions_does_nothing), T(test_it_can_be_closed_at_any_time),
        T(test_a_result_of_the_wrong_kind_is_survived), cmocka_unit_test(test_configurations_of_runs),
        cmocka_unit_test(test_metrics_of_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
