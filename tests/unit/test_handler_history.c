/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "record/wire.h"

#include <stdio.h>
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

#define RECORD(n, text) assert_string_equal(fake_record(&f, n), text)

/* -- when a row is written ------------------------------------------------------------------- */

static void test_a_request_without_step_is_a_row(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "loss", "0.5", "acc", "1", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "loss", "0.25", NULL);
    assert_int_equal(f.n_records, 2);
    RECORD(0, "2 history 0: loss=0.5 acc=1 _step=0");
    RECORD(1, "3 history 1: loss=0.25 _step=1");
}

static void test_an_explicit_step_stays_open_until_the_next(void **state)
{
    fake_log(&f, 0, NO_ACTION, "a", "1", NULL);
    fake_log(&f, 0, NO_ACTION, "b", "2", NULL);
    assert_int_equal(f.n_records, 0);
    fake_log(&f, 7, NO_ACTION, "a", "3", NULL);
    RECORD(0, "2 history 0: a=1 b=2 _step=0");
    assert_int_equal(f.n_records, 1);
}

static void test_action_decides_over_step(void **state)
{
    fake_log(&f, 3, 1, "a", "1", NULL);
    RECORD(0, "2 history 3: a=1 _step=3");
    fake_log(&f, NO_STEP, 0, "a", "2", NULL);
    assert_int_equal(f.n_records, 1);
    fake_log(&f, NO_STEP, NO_ACTION, "b", "3", NULL);
    RECORD(1, "3 history 4: a=2 b=3 _step=4");
}

static void test_later_values_of_a_key_win_in_an_open_row(void **state)
{
    fake_log(&f, 0, 0, "a", "1", "b", "2", NULL);
    fake_log(&f, 0, 1, "b", "3", NULL);
    RECORD(0, "2 history 0: a=1 b=3 _step=0");
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", "a", "2", NULL);
    RECORD(1, "3 history 1: a=2 _step=1");
}

static void test_an_earlier_step_is_refused_with_a_warning(void **state)
{
    fake_log(&f, 5, 1, "a", "1", NULL);
    fake_log(&f, 4, 1, "a", "2", NULL);
    fake_log(&f, 5, 1, "a", "3", NULL);
    assert_int_equal(f.n_records, 1);
    Pb__Result *r = fake_answer(&f, 23, STR(""));
    Pb__InternalMessages *m = r->response->internal_messages_response->messages;
    assert_int_equal(m->n_warning, 2);
    assert_non_null(strstr(m->warning[0], "4"));
    assert_non_null(strstr(m->warning[0], "6"));
    assert_non_null(strstr(m->warning[0], "Steps must be monotonically increasing"));
}

static void test_an_empty_flush_moves_the_step_and_writes_nothing(void **state)
{
    fake_log(&f, NO_STEP, 1, NULL);
    fake_log(&f, NO_STEP, 1, NULL);
    assert_int_equal(f.n_records, 0);
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", NULL);
    RECORD(0, "2 history 2: a=1 _step=2");
}

static void test_exit_writes_the_open_row(void **state)
{
    fake_log(&f, 2, 0, "a", "1", NULL);
    fake_send(&f, 18, STR(""));
    assert_string_equal(fake_journal(&f), "2 history 2: a=1 _step=2\n"
                                          "3 summary derived: _step=2 a=1\n"
                                          "4 exit 0 runtime 0\n");
}

static void test_a_run_that_starts_later_begins_there(void **state)
{
    fake_stop(&f);
    fake_init(&f);
    fake_open(&f);
    AUTO_BUF run = {0};
    wire_buf_varint(&run, 14, 40);
    AUTO_BUF run_start = {0};
    wire_buf_bytes(&run_start, 1, buf_str(&run));
    fake_request(&f, 11, buf_str(&run_start));
    Pb__Result *r = fake_answer(&f, 84, STR(""));
    assert_int_equal(r->response->history_step_response->step, 0); /* as the peer */
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", NULL);
    RECORD(0, "1 history 40: a=1 _step=40");
    r = fake_answer(&f, 84, STR(""));
    assert_int_equal(r->response->history_step_response->step, 41);
}

static void test_the_last_step_of_all(void **state)
{
    fake_log(&f, INT64_MAX, 1, "a", "1", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "a", "2", NULL);
    RECORD(0, "2 history 9223372036854775807: a=1 _step=9223372036854775807");
    RECORD(1, "3 history 9223372036854775807: a=2 _step=9223372036854775807");
}

static void test_shared_mode_has_no_step(void **state)
{
    fake_stop(&f);
    fake_init(&f);
    f.settings.shared = true;
    fake_open(&f);
    fake_log(&f, 9, NO_ACTION, "a", "1", NULL);
    fake_log(&f, 3, 0, "a", "2", NULL);
    fake_log(&f, 1, NO_ACTION, "b", "3", NULL);
    assert_string_equal(fake_journal(&f), "1 history: a=1\n2 history: a=2 b=3\n");
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, 84, STR(""));
    fake_ask(&f, 100, buf_str(&request), "s");
    assert_true(f.replies[0].is_error);
}

/* -- what is in a row ------------------------------------------------------------------------ */

static void test_objects_are_spread_out(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "img", "{\"_type\": \"image\", \"size\": {\"w\": 3}, \"x\": []}",
             "empty", "{}", "s", "\"{}\"", NULL);
    RECORD(0, "2 history 0: img/_type=\"image\" img/size/w=3 img/x=[] s=\"{}\" _step=0");
}

static void test_a_value_replaces_what_is_below_it_and_above(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "a/b", "1", "a/c", "2", "x", "0", "a", "3", NULL);
    RECORD(0, "2 history 0: x=0 a=3 _step=0");
    fake_log(&f, NO_STEP, NO_ACTION, "a", "3", "a/b", "4", NULL);
    RECORD(1, "3 summary derived: _step=0 a=3 x=0"); /* before it is gone */
    RECORD(2, "4 history 1: a/b=4 _step=1");
    fake_log(&f, NO_STEP, NO_ACTION, "a", "3", "a", "{\"z\":5}", NULL);
    RECORD(3, "5 history 2: a/z=5 _step=2"); /* beside a/b: nothing is hidden */
    assert_string_equal(fake_get_summary(&f), "_step=2 a/b=4 x=0 a/z=5");
}

static void test_values_stay_as_they_came(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "a", "NaN", "b", "-Infinity", "c",
             "123456789012345678901234567890", "d", "1.10", "e", "null", "f", "[1, 2]", NULL);
    RECORD(0, "2 history 0: a=NaN b=-Infinity c=123456789012345678901234567890 d=1.10 e=null "
              "f=[1, 2] _step=0");
}

static void test_bad_items_are_left_out(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", "b", "nope", "c", "", "", "2", "d", "1 2", "e",
             "{\"x\":}", "f", "3", NULL);
    RECORD(0, "2 history 0: a=1 f=3 _step=0");
}

static void test_own_keys_replace_the_users(void **state)
{
    f.show_runtime = true;
    f.now_ns += 1234567891;
    fake_log(&f, NO_STEP, NO_ACTION, "_step", "77", "_runtime", "5", "a", "1", NULL);
    RECORD(0, "2 history 0: _step=0 _runtime=1.234567 a=1");
    f.now_ns += 765432109;
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", NULL);
    RECORD(1, "3 history 1: a=1 _runtime=2 _step=1");
}

/* The same keys in other orders and numbers, so that each guess of the hot path goes wrong. */
static void test_rows_of_changing_keys(void **state)
{
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", "b", "2", "c", "3", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "c", "4", "a", "5", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "aa", "6", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "a", "7", "b", "8", "c", "\"x\"", "d", "9", NULL);
    fake_log(&f, NO_STEP, NO_ACTION, "a", "7", "b", "8", "c", "1", "d", "true", NULL);
    assert_string_equal(fake_journal(&f), "2 history 0: a=1 b=2 c=3 _step=0\n"
                                          "3 history 1: c=4 a=5 _step=1\n"
                                          "4 history 2: aa=6 _step=2\n"
                                          "5 history 3: a=7 b=8 c=\"x\" d=9 _step=3\n"
                                          "6 history 4: a=7 b=8 c=1 d=true _step=4\n");
    assert_string_equal(fake_get_summary(&f), "_step=4 a=7 b=8 c=1 aa=6 d=true");
}

static void test_long_values_and_keys(void **state)
{
    char key[400], value[700];
    memset(key, 'k', sizeof key - 1);
    memset(value, '5', sizeof value - 1);
    key[sizeof key - 1] = value[sizeof value - 1] = 0;
    for (int i = 0; i < 3; i++)
        fake_log(&f, NO_STEP, NO_ACTION, key, value, "b", "1", NULL);
    AUTO_BUF want = {0};
    buf_printf(&want, "4 history 2: %s=%s b=1 _step=2", key, value);
    RECORD(2, buf_z(&want));
}

static void test_a_row_of_many_keys(void **state)
{
    AUTO_BUF body = {0};
    for (int round = 0; round < 2; round++) {
        buf_clear(&body);
        for (int i = 0; i < 5000; i++) {
            AUTO_BUF item = {0};
            AUTO_BUF key = {0};
            buf_printf(&key, "key%d", i);
            wire_buf_bytes(&item, 1, buf_str(&key));
            wire_buf_bytes(&item, 16, STR("12.5"));
            wire_buf_bytes(&body, 1, buf_str(&item));
        }
        fake_request(&f, 10, buf_str(&body));
    }
    assert_int_equal(f.n_records, 2);
    assert_int_equal(f.records[0].len > 5000 * 15, 1);
    assert_null(strstr(fake_record(&f, 1), "key4999=12.5 key"));
    assert_non_null(strstr(fake_record(&f, 1), "key4999=12.5 _step=1"));
}

/* -- forms of values ------------------------------------------------------------------------- */

/* One item of each typed value, without value_json. */
static void log_typed(void)
{
    AUTO_BUF body = {0};
    static const struct {
        const char *key;
        uint32_t field;
    } items[] = {{"none", 3}, {"flag", 4}, {"int", 5}, {"num", 6}, {"text", 7}, {"json", 8}};
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        AUTO_BUF item = {0};
        wire_buf_bytes(&item, 1, str_of(items[i].key));
        switch (items[i].field) {
        case 5: wire_buf_varint(&item, 5, 9); break; /* zigzag of -5 */
        case 6: wire_buf_double(&item, 6, 0.1); break;
        case 7: wire_buf_bytes(&item, 7, STR("a\"b")); break;
        case 8: wire_buf_bytes(&item, 8, STR("{\"x\":1,\"y\":[2]}")); break;
        default: wire_buf_varint(&item, items[i].field, items[i].field == 4);
        }
        wire_buf_bytes(&body, 1, buf_str(&item));
    }
    fake_request(&f, 10, buf_str(&body));
}

static void start_with(struct str encoding)
{
    fake_stop(&f);
    fake_init(&f);
    static char raw[64];
    char wrapper[32];
    char *end = wire_put_bytes(wrapper, 1, encoding);
    struct str value = str_make(wrapper, (size_t)(end - wrapper));
    f.settings.raw = str_make(raw, (size_t)(wire_put_bytes(raw, 211, value) - raw));
    fake_open(&f);
}

static void test_typed_values_are_written_as_json(void **state)
{
    log_typed();
    RECORD(0, "2 history 0: none=null flag=true int=-5 num=0.1 text=\"a\\\"b\" json/x=1 json/y=[2] "
              "_step=0");
    assert_string_equal(fake_get_summary(&f),
                        "_step=0 flag=true int=-5 num=0.1 text=\"a\\\"b\" json/x=1 json/y=[2]");
}

static void test_typed_values_stay_typed_if_the_setting_says_so(void **state)
{
    start_with(STR("typed"));
    log_typed();
    RECORD(0, "1 history 0: none=[none] flag=[true] int=[i-5] num=[f0.10000000000000001] "
              "text=[ta\"b] json/x=[i1] json/y=[j[2]] _step=[i0]");
}

static void test_both_forms_are_written_if_the_setting_says_so(void **state)
{
    start_with(STR("json, typed"));
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1.5", "b", "\"x\\u0041\"", "c", "NaN", NULL);
    RECORD(0, "1 history 0: a=1.5[f1.5] b=\"x\\u0041\"[txA] c=NaN[fnan] _step=0[i0]");
}

/* -- other ways to log ----------------------------------------------------------------------- */

static void test_a_history_record_is_kept_as_it_came(void **state)
{
    fake_log(&f, 0, 0, "a", "1", NULL);
    AUTO_BUF item = {0};
    wire_buf_bytes(&item, 1, STR("a"));
    wire_buf_bytes(&item, 16, STR("2"));
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, 1, buf_str(&item));
    fake_send(&f, 2, buf_str(&body));
    fake_log(&f, 0, 1, "b", "1", NULL);
    assert_string_equal(fake_journal(&f), "2 history: a=2\n3 history 0: a=1 b=1 _step=0\n");
    Pb__Result *r = fake_answer(&f, 9, STR(""));
    Pb__SampledHistoryResponse *s = r->response->sampled_history_response;
    for (size_t i = 0; i < s->n_item; i++)
        if (!strcmp(s->item[i]->key, "a"))
            assert_true(s->item[i]->n_values_float == 2 && s->item[i]->values_float[0] == 2);
}

static void test_sampled_history_has_short_metrics_whole(void **state)
{
    for (int i = 0; i < 30; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d.5", i);
        fake_log(&f, NO_STEP, NO_ACTION, "a", text, "s", "\"x\"", "n/m", "1", NULL);
    }
    Pb__Result *r = fake_answer(&f, 9, STR(""));
    Pb__SampledHistoryResponse *s = r->response->sampled_history_response;
    assert_int_equal(s->n_item, 3); /* _step, _runtime, a */
    for (size_t i = 0; i < s->n_item; i++) {
        assert_int_equal(s->item[i]->n_values_float, 30);
        for (size_t k = 0; k < 30 && !strcmp(s->item[i]->key, "a"); k++)
            assert_true(s->item[i]->values_float[k] == (float)k + 0.5f);
    }
}

static void test_a_malformed_request_is_ignored(void **state)
{
    fake_request(&f, 10, STR("\x0a\x50zz"));
    fake_log(&f, NO_STEP, NO_ACTION, "a", "1", NULL);
    assert_int_equal(f.n_records, 1);
    struct reply_to to = {0};
    assert_true(handler_record(f.h, STR("\xff\xff\xff"), &to, f.now_ns) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_a_request_without_step_is_a_row),
        T(test_an_explicit_step_stays_open_until_the_next),
        T(test_action_decides_over_step),
        T(test_later_values_of_a_key_win_in_an_open_row),
        T(test_an_earlier_step_is_refused_with_a_warning),
        T(test_an_empty_flush_moves_the_step_and_writes_nothing),
        T(test_exit_writes_the_open_row),
        T(test_a_run_that_starts_later_begins_there),
        T(test_the_last_step_of_all),
        T(test_shared_mode_has_no_step),
        T(test_objects_are_spread_out),
        T(test_a_value_replaces_what_is_below_it_and_above),
        T(test_values_stay_as_they_came),
        T(test_bad_items_are_left_out),
        T(test_own_keys_replace_the_users),
        T(test_rows_of_changing_keys),
        T(test_long_values_and_keys),
        T(test_a_row_of_many_keys),
        T(test_typed_values_are_written_as_json),
        T(test_typed_values_stay_typed_if_the_setting_says_so),
        T(test_both_forms_are_written_if_the_setting_says_so),
        T(test_a_history_record_is_kept_as_it_came),
        T(test_sampled_history_has_short_metrics_whole),
        T(test_a_malformed_request_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
