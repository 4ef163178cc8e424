/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/filestream_body.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"

struct fixture {
    struct fs_waiting w;
    struct fs_request r;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    fs_waiting_init(&f.w, 10 << 20, 9 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buf_fini(&f->r.text);
    fs_waiting_fini(&f->w);
    return 0;
}

static void add_history(struct fs_waiting *w, struct str line)
{
    AUTO_BUF quoted = {0};
    json_put_string(&quoted, line);
    fs_add_history(w, buf_str(&quoted));
}

static void take(struct fixture *f, const int32_t *exit_code)
{
    buf_fini(&f->r.text);
    f->r = (struct fs_request){0};
    assert_int_equal(fs_take(&f->w, exit_code, &f->r), 0);
    struct str body = fs_body(&f->r);
    assert_true(json_valid(body));
}

static void assert_body(struct fixture *f, const char *expected)
{
    struct str body = fs_body(&f->r);
    if (!str_eqz(body, expected))
        fail_msg("got      %.*s\nexpected %s", STR_ARG(body), expected);
}

#define HISTORY(offset, lines) \
    "{\"files\":{\"wandb-history.jsonl\":{\"offset\":" #offset ",\"content\":[" lines "]}}}"
#define CONSOLE(offset, lines) \
    "{\"files\":{\"output.log\":{\"offset\":" #offset ",\"content\":[" lines "]}}}"

static void test_nothing_is_a_heartbeat(void **state)
{
    struct fixture *f = *state;
    assert_true(fs_is_empty(&f->w));
    take(f, NULL);
    assert_body(f, "{}");
    assert_true(f->r.is_heartbeat);
}

static void test_history_lines_are_quoted_and_counted(void **state)
{
    struct fixture *f = *state;
    f->w.history.at = 18;
    add_history(&f->w, STR("{\"a\":1}"));
    add_history(&f->w, STR("{\"b\":\"x\\n\"}"));
    take(f, NULL);
    assert_body(f, HISTORY(18, "\"{\\\"a\\\":1}\",\"{\\\"b\\\":\\\"x\\\\n\\\"}\""));
    assert_int_equal(f->r.history_at, 18);
    assert_int_equal(f->r.n_history, 2);
    assert_false(f->r.more);
    assert_int_equal(f->w.bytes, 0);
    add_history(&f->w, STR("{}"));
    take(f, NULL);
    assert_body(f, HISTORY(20, "\"{}\""));
}

static void test_all_in_one(void **state)
{
    struct fixture *f = *state;
    int32_t exit_code = -3;
    f->w.console_offset = 100;
    add_history(&f->w, STR("h"));
    fs_add_event(&f->w, STR("e"));
    fs_change_summary(&f->w);
    assert_true(fs_set_summary(&f->w, STR("{\"s\":1}")));
    fs_add_console(&f->w, 5, STR("five"));
    fs_add_console(&f->w, 6, STR("six"));
    fs_add_uploaded(&f->w, STR("media/\"a\".png"));
    fs_add_uploaded(&f->w, STR("b"));
    fs_add_uploaded(&f->w, STR("b"));
    fs_add_preempting(&f->w);
    take(f, &exit_code);
    assert_body(f, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"h\"]},"
                   "\"wandb-events.jsonl\":{\"offset\":0,\"content\":[\"e\"]},"
                   "\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"s\\\":1}\"]},"
                   "\"output.log\":{\"offset\":105,\"content\":[\"five\",\"six\"]}},"
                   "\"uploaded\":[\"media/\\\"a\\\".png\",\"b\"],\"preempting\":true,"
                   "\"complete\":true,\"exitcode\":-3}");
    assert_true(f->r.has_summary && f->r.has_complete);
    assert_true(fs_is_empty(&f->w));
    assert_int_equal(f->w.bytes, 0);
}

static void test_events_alone_begin_the_body(void **state)
{
    struct fixture *f = *state;
    f->w.events.at = UINT64_MAX;
    fs_add_event(&f->w, STR("e"));
    fs_add_uploaded(&f->w, STR("u"));
    take(f, NULL);
    assert_body(f, "{\"files\":{\"wandb-events.jsonl\":{\"offset\":18446744073709551615,"
                   "\"content\":[\"e\"]}},\"uploaded\":[\"u\"]}");
}

static void test_longest_head_fits(void **state)
{
    struct fixture *f = *state;
    f->w.history.at = UINT64_MAX;
    add_history(&f->w, STR("h"));
    take(f, NULL);
    assert_body(f, HISTORY(18446744073709551615, "\"h\""));
}

static void test_uploaded_alone(void **state)
{
    struct fixture *f = *state;
    int32_t exit_code = 0;
    fs_add_uploaded(&f->w, STR("u"));
    take(f, &exit_code);
    assert_body(f, "{\"uploaded\":[\"u\"],\"complete\":true,\"exitcode\":0}");
    assert_false(f->r.is_heartbeat);
    take(f, &exit_code);
    assert_body(f, "{\"complete\":true,\"exitcode\":0}");
}

static void test_console_runs_go_one_a_request_in_turns(void **state)
{
    struct fixture *f = *state;
    int32_t exit_code = 1;
    fs_add_console(&f->w, 7, STR("seven"));
    fs_add_console(&f->w, 2, STR("two"));
    fs_add_console(&f->w, 3, STR("three"));
    fs_add_console(&f->w, 2, STR("TWO"));
    take(f, &exit_code);
    assert_body(f, CONSOLE(2, "\"TWO\",\"three\""));
    assert_true(f->r.more);
    assert_int_equal(f->r.n_console, 2);
    fs_add_console(&f->w, 2, STR("again")); /* a line that changes all the time lets the others go */
    take(f, &exit_code);
    assert_body(f, CONSOLE(7, "\"seven\""));
    take(f, &exit_code);
    assert_body(f, "{\"files\":{\"output.log\":{\"offset\":2,\"content\":[\"again\"]}},"
                   "\"complete\":true,\"exitcode\":1}");
    assert_int_equal(f->w.bytes, 0);
}

static void test_bad_utf8_is_mended(void **state)
{
    struct fixture *f = *state;
    fs_add_console(&f->w, 0, STR("a\xff\xc3z\xc3\xa9\x01"));
    take(f, NULL);
    assert_body(f, CONSOLE(0, "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\xc3\xa9\\u0001\""));
}

static void test_requests_are_limited(void **state)
{
    struct fixture *f = *state;
    fs_waiting_fini(&f->w);
    fs_waiting_init(&f->w, 40, 30);
    for (int i = 0; i < 4; i++)
        add_history(&f->w, STR("0123456789"));
    fs_add_event(&f->w, STR("0123456789"));
    fs_change_summary(&f->w);
    assert_true(fs_set_summary(&f->w, STR("012345678901234567890123456789")));
    fs_add_console(&f->w, 0, STR("0123456789"));
    add_history(&f->w, STR("a line that is longer than a whole request may be, which goes alone"));
    int32_t exit_code = 0;
    uint64_t n_history = 0;
    int n = 0;
    do {
        take(f, &exit_code);
        assert_int_equal(f->r.n_history ? f->r.history_at : n_history, n_history);
        n_history += f->r.n_history;
        assert_int_equal(f->r.has_complete, !f->r.more);
        n++;
    } while (f->r.more);
    assert_int_equal(n_history, 5);
    assert_in_range(n, 4, 6);
    assert_true(fs_is_empty(&f->w));
    assert_int_equal(f->w.bytes, 0);
}

static void test_summary_over_the_limit_is_left_out(void **state)
{
    struct fixture *f = *state;
    fs_waiting_fini(&f->w);
    fs_waiting_init(&f->w, 100, 9);
    fs_change_summary(&f->w);
    assert_false(fs_set_summary(&f->w, STR("{\"a\":1234}")));
    assert_true(fs_is_empty(&f->w));
    fs_change_summary(&f->w);
    assert_true(fs_set_summary(&f->w, STR("{\"a\":123}")));
    fs_change_summary(&f->w); /* changed again before it went: the old text goes out of the way */
    assert_true(fs_set_summary(&f->w, STR("{}")));
    take(f, NULL);
    assert_body(f, "{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{}\"]}}}");
}

static void test_age_of_what_waits(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fs_oldest(&f->w), UINT32_MAX);
    fs_add_console(&f->w, 1, STR("x"));
    fs_add_console(&f->w, 9, STR("x"));
    add_history(&f->w, STR("{}"));
    assert_int_equal(fs_oldest(&f->w), 0);
    take(f, NULL); /* history and line 1 */
    add_history(&f->w, STR("{}"));
    assert_int_equal(fs_oldest(&f->w), 0); /* line 9 */
    take(f, NULL);
    assert_int_equal(fs_oldest(&f->w), UINT32_MAX);
    fs_add_event(&f->w, STR("{}"));
    assert_int_equal(fs_oldest(&f->w), 2);
}

/* Whatever allocation fails: no crash, no leak, and either a whole body or an error. */
static void test_out_of_memory(void **state)
{
    for (int nth = 1;; nth++) {
        struct fs_waiting w;
        struct fs_request r = {0};
        fs_waiting_init(&w, 100, 100);
        mem_fault_set(nth, 1);
        for (uint64_t i = 0; i < 20; i++) {
            fs_add_history(&w, STR("\"{\\\"loss\\\":0.5}\""));
            fs_add_console(&w, i * 3 % 20, STR("text"));
        }
        fs_add_event(&w, STR("{}"));
        fs_add_uploaded(&w, STR("a"));
        fs_change_summary(&w);
        fs_set_summary(&w, STR("{}"));
        int rc = fs_take(&w, NULL, &r);
        int fired = mem_fault_fired();
        mem_fault_set(0, 0);
        if (rc == 0)
            assert_true(json_valid(fs_body(&r)));
        else
            assert_true(fired);
        buf_fini(&r.text);
        fs_waiting_fini(&w);
        if (!fired)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_a_heartbeat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history_lines_are_quoted_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_in_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_alone_begin_the_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_longest_head_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uploaded_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_console_runs_go_one_a_request_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_utf8_is_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_summary_over_the_limit_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_age_of_what_waits, setup, teardown),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
