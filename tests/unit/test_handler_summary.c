/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "record/wire.h"

#include <string.h>

static struct fake_out f;

static int start(void **state)
{
    fake_start(&f);
    return 0;
}

static int stop(void **state)
{
    fake_stop(&f);
    return 0;
}

#define LOG(...) fake_log(&f, NO_STEP, NO_ACTION, __VA_ARGS__, NULL)
#define SUMMARY(text) assert_string_equal(fake_get_summary(&f), text)

/* -- values ---------------------------------------------------------------------------------- */

static void test_the_latest_value_is_the_summary(void **state)
{
    LOG("a", "1", "s", "\"x\"");
    LOG("a", "2.50");
    SUMMARY("_step=1 a=2.50 s=\"x\"");
}

static void test_explicit_values_and_removals(void **state)
{
    LOG("a", "1");
    fake_summary(&f, "a", "{\"b\": 1}", "c", "\"x\"", NULL);
    SUMMARY("_step=0 a={\"b\": 1} c=\"x\"");
    fake_summary(&f, "a", "-", NULL);
    SUMMARY("_step=0 c=\"x\"");
    LOG("a", "3");
    SUMMARY("_step=1 a=3 c=\"x\"");
    fake_summary(&f, "d", "{", "e", "5", NULL);
    SUMMARY("_step=1 a=3 c=\"x\" e=5");
}

static void test_nested_keys(void **state)
{
    LOG("a", "{\"b\": 1, \"c\": {\"d\": 2}}");
    SUMMARY("_step=0 a/b=1 a/c/d=2");
    fake_summary(&f, "a/c", "7", NULL);
    SUMMARY("_step=0 a/b=1 a/c=7");
    fake_summary(&f, "a", "-", NULL);
    SUMMARY("_step=0");
    LOG("a", "{\"c\": 8}");
    SUMMARY("_step=1 a/c=8");
    LOG("a", "9");
    SUMMARY("_step=2 a=9");
}

static void test_null_is_no_summary(void **state)
{
    LOG("a", "1");
    LOG("a", "null");
    SUMMARY("_step=1");
}

static void test_runtime_is_in_the_summary(void **state)
{
    f.show_runtime = true;
    f.now_ns += 2500000000;
    LOG("a", "1");
    SUMMARY("_step=0 _runtime=2.5 _wandb/runtime=2 a=1");
    f.now_ns += 1000000000;
    fake_send(&f, 18, STR(""));
    SUMMARY("_step=0 _runtime=3 _wandb/runtime=3 a=1");
}

static void test_the_clock_stands_while_paused(void **state)
{
    f.show_runtime = true;
    f.now_ns += 1000000000;
    fake_request(&f, 6, STR(""));
    f.now_ns += 50000000000;
    LOG("a", "1");
    SUMMARY("_step=0 _runtime=1 _wandb/runtime=1 a=1");
    fake_request(&f, 7, STR(""));
    f.now_ns += 2000000000;
    LOG("a", "1");
    SUMMARY("_step=1 _runtime=3 _wandb/runtime=3 a=1");
}

/* -- definitions ----------------------------------------------------------------------------- */

static void test_statistics_that_a_definition_asks_for(void **state)
{
    fake_define(&f, "a summary=min,max,mean,last,first");
    LOG("a", "2");
    LOG("a", "-0.5");
    LOG("a", "4.5");
    SUMMARY("_step=2 a={\"last\":4.5,\"first\":2,\"max\":4.5,\"min\":-0.5,\"mean\":2}");
}

static void test_a_late_definition_knows_earlier_values(void **state)
{
    LOG("a", "1");
    LOG("a", "9");
    LOG("a", "5");
    fake_define(&f, "a summary=max,first");
    SUMMARY("_step=2 a={\"first\":1,\"max\":9}");
}

static void test_definitions_add_up_unless_they_overwrite(void **state)
{
    fake_define(&f, "a summary=min");
    fake_define(&f, "a summary=max");
    LOG("a", "1");
    SUMMARY("_step=0 a={\"max\":1,\"min\":1}");
    fake_define(&f, "a summary=mean overwrite");
    SUMMARY("_step=0 a={\"mean\":1}");
}

static void test_none_hides_best_and_copy_do_nothing(void **state)
{
    fake_define(&f, "a summary=none");
    fake_define(&f, "b summary=best goal=min");
    fake_define(&f, "c summary=copy");
    LOG("a", "1", "b", "2", "c", "3");
    SUMMARY("_step=0 b=2 c=3");
}

static void test_an_explicit_value_replaces_statistics(void **state)
{
    fake_define(&f, "a summary=max");
    LOG("a", "1");
    fake_summary(&f, "a", "7", NULL);
    SUMMARY("_step=0 a=7");
    LOG("a", "2");
    SUMMARY("_step=1 a=2"); /* and ends the definition */
}

static void test_a_removed_value_keeps_its_definition(void **state)
{
    fake_define(&f, "a summary=max");
    LOG("a", "5");
    fake_summary(&f, "a", "-", NULL);
    SUMMARY("_step=0");
    LOG("a", "2");
    SUMMARY("_step=1 a={\"max\":5}");
}

static void test_nan_is_the_minimum_and_the_maximum(void **state)
{
    fake_define(&f, "a summary=min,max,mean");
    LOG("a", "1");
    LOG("a", "NaN");
    LOG("a", "2");
    SUMMARY("_step=2 a={\"max\":NaN,\"min\":NaN,\"mean\":NaN}");
}

static void test_globs_define_new_metrics(void **state)
{
    fake_define(&f, "train* summary=min");
    fake_define(&f, "train/x* summary=max");
    fake_define(&f, "* summary=last");
    LOG("trainloss", "2", "trainer", "1", "other", "5");
    LOG("trainloss", "3");
    SUMMARY("_step=1 trainloss={\"min\":2} trainer={\"min\":1} other={\"last\":5}");
}

static void test_what_a_glob_makes_is_kept_for_a_client_that_may_want_it_sent(void **state)
{
    enum { METRIC = 12, NAME = 1, EXPANDED_FROM_GLOB = 10 };
    for (int asks = 0; asks < 2; asks++) {
        f.settings.asks_to_expand = asks;
        fake_define(&f, asks ? "b* summary=min" : "a* summary=min");
        fake_forget(&f);
        LOG(asks ? "b" : "a", "2");
        LOG(asks ? "b" : "a", "3");
        struct str made = wire_find_bytes(buf_str(&f.records[0]), METRIC);
        assert_int_equal(made.n > 0, asks);
        assert_int_equal(f.n_records, 2 + asks);
        assert_int_equal(str_eqz(wire_find_bytes(made, NAME), "b"), asks);
        assert_int_equal(wire_find_varint(made, EXPANDED_FROM_GLOB), asks);
    }
}

static void test_a_glob_leaves_defined_and_internal_metrics_alone(void **state)
{
    fake_define(&f, "loss summary=max");
    fake_define(&f, "* summary=min");
    LOG("loss", "2", "_x", "3");
    SUMMARY("_step=0 loss={\"max\":2} _x=3");
}

static void test_a_metric_seen_before_its_glob_is_matched_later(void **state)
{
    LOG("a", "3");
    fake_define(&f, "a* summary=max");
    SUMMARY("_step=0 a=3");
    LOG("a", "1");
    SUMMARY("_step=1 a={\"max\":3}");
}

static void test_dots_in_names_are_paths(void **state)
{
    fake_define(&f, "a.b summary=max");
    fake_define(&f, "c\\.d summary=min");
    LOG("a/b", "1", "c.d", "2");
    SUMMARY("_step=0 a/b={\"max\":1} c.d={\"min\":2}");
}

/* -- step metrics ---------------------------------------------------------------------------- */

static void test_a_missing_step_metric_is_added(void **state)
{
    fake_define(&f, "epoch");
    fake_define(&f, "loss step=epoch sync");
    LOG("epoch", "3", "x", "1");
    LOG("loss", "0.5");
    LOG("loss", "0.25", "epoch", "4");
    LOG("other", "1");
    fake_forget(&f);
    LOG("loss", "0.125");
    assert_string_equal(fake_record(&f, 0), "8 history 4: loss=0.125 _step=4 epoch=4");
    SUMMARY("_step=4 epoch=4 loss=0.125 x=1 other=1");
}

static void test_a_step_metric_that_was_never_logged_is_zero(void **state)
{
    fake_define(&f, "loss* step=my/epoch sync");
    fake_forget(&f);
    LOG("loss1", "1");
    assert_string_equal(fake_record(&f, 0), "3 history 0: loss1=1 _step=0 my/epoch=0");
}

static void test_without_sync_nothing_is_added(void **state)
{
    fake_define(&f, "loss step=epoch");
    fake_forget(&f);
    LOG("loss", "1");
    assert_string_equal(fake_record(&f, 0), "3 history 0: loss=1 _step=0");
}

static void test_bad_definitions_have_no_effect_but_are_kept(void **state)
{
    fake_send(&f, 12, STR(""));
    fake_define(&f, "\\");
    fake_define(&f, "..");
    fake_define(&f, "x.");
    LOG("a", "1");
    SUMMARY("_step=0 a=1");
    assert_int_equal(f.n_records, 5);
}

/* -- in the journal -------------------------------------------------------------------------- */

static void test_the_journal_gets_what_changed_after_a_second(void **state)
{
    assert_true(handler_deadline(f.h) == INT64_MAX);
    LOG("a", "1", "b", "1");
    int64_t due = handler_deadline(f.h);
    assert_true(due == f.now_ns + 1000000000);
    f.now_ns += 500000000;
    LOG("a", "2");
    assert_true(handler_deadline(f.h) == due);
    handler_tick(f.h, due - 1);
    assert_int_equal(f.n_records, 2);
    handler_tick(f.h, due);
    assert_string_equal(fake_record(&f, 2), "4 summary derived: _step=1 a=2 b=1");
    assert_true(handler_deadline(f.h) == INT64_MAX);
    fake_forget(&f);
    LOG("b", "5");
    handler_tick(f.h, INT64_MAX);
    assert_string_equal(fake_record(&f, 1), "6 summary derived: _step=2 b=5");
}

static void test_an_explicit_record_is_kept_and_not_undone(void **state)
{
    LOG("a", "1", "b", "1");
    fake_summary(&f, "a", "7", "b", "-", NULL);
    assert_string_equal(fake_record(&f, 1), "3 summary: a=7 b=-");
    handler_tick(f.h, INT64_MAX - 1);
    assert_string_equal(fake_record(&f, 2), "4 summary derived: _step=0");
}

static void test_nothing_is_derived_if_the_server_does_it(void **state)
{
    fake_stop(&f);
    fake_init(&f);
    f.settings.server_side_summary = true;
    fake_open(&f);
    LOG("a", "1");
    fake_send(&f, 18, STR(""));
    assert_string_equal(fake_journal(&f), "1 history 0: a=1 _step=0\n2 exit 0 runtime 0\n");
    assert_true(handler_deadline(f.h) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_the_latest_value_is_the_summary),
        T(test_explicit_values_and_removals),
        T(test_nested_keys),
        T(test_null_is_no_summary),
        T(test_runtime_is_in_the_summary),
        T(test_the_clock_stands_while_paused),
        T(test_statistics_that_a_definition_asks_for),
        T(test_a_late_definition_knows_earlier_values),
        T(test_definitions_add_up_unless_they_overwrite),
        T(test_none_hides_best_and_copy_do_nothing),
        T(test_an_explicit_value_replaces_statistics),
        T(test_a_removed_value_keeps_its_definition),
        T(test_nan_is_the_minimum_and_the_maximum),
        T(test_globs_define_new_metrics),
        T(test_what_a_glob_makes_is_kept_for_a_client_that_may_want_it_sent),
        T(test_a_glob_leaves_defined_and_internal_metrics_alone),
        T(test_a_metric_seen_before_its_glob_is_matched_later),
        T(test_dots_in_names_are_paths),
        T(test_a_missing_step_metric_is_added),
        T(test_a_step_metric_that_was_never_logged_is_zero),
        T(test_without_sync_nothing_is_added),
        T(test_bad_definitions_have_no_effect_but_are_kept),
        T(test_the_journal_gets_what_changed_after_a_second),
        T(test_an_explicit_record_is_kept_and_not_undone),
        T(test_nothing_is_derived_if_the_server_does_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
