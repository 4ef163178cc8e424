/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "loop/turn.h"

static uv_loop_t loop;
static struct turn turn;

static int set_up(void **state)
{
    uv_loop_init(&loop);
    turn_init(&turn, &loop);
    return 0;
}

static int tear_down(void **state)
{
    turn_close(&turn);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

struct counted {
    struct turn_task task;
    int runs;
    struct counted *adds; /* to be added by run */
    struct counted *removes;
};

static void on_run(struct turn_task *t)
{
    struct counted *c = (struct counted *)t;
    c->runs++;
    if (c->adds)
        turn_add(&turn, &c->adds->task);
    if (c->removes)
        turn_remove(&turn, &c->removes->task);
}

static void test_added_twice_runs_once(void **state)
{
    struct counted c = {.task.run = on_run};
    turn_add(&turn, &c.task);
    turn_add(&turn, &c.task);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(c.runs, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(c.runs, 1);
}

static void test_what_a_task_adds_runs_in_the_next_turn(void **state)
{
    struct counted c = {.task.run = on_run};
    c.adds = &c; /* itself */
    turn_add(&turn, &c.task);
    for (int i = 1; i < 4; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(c.runs, i);
    }
    turn_remove(&turn, &c.task);
}

static void test_a_task_may_remove_another_even_the_last(void **state)
{
    struct counted last = {.task.run = on_run}, mid = {.task.run = on_run},
                   first = {.task.run = on_run, .removes = &last};
    turn_add(&turn, &first.task);
    turn_add(&turn, &mid.task);
    turn_add(&turn, &last.task);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(first.runs, 1);
    assert_int_equal(mid.runs, 1);
    assert_int_equal(last.runs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_added_twice_runs_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_task_adds_runs_in_the_next_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_task_may_remove_another_even_the_last, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
