/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/filestream.h"

#include "../support/fake_net.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/limits.h"

#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>

enum { SET_INTERVAL = 175, SET_MAX_LINE_BYTES = 178, SET_STOP_ON_FATAL = 205, SET_NO_GZIP = 208 };

struct fixture {
    bool is_sync;
    struct filestream *f;
    uv_loop_t loop;
    struct buf settings;
    const char *summary;
    int n_drained, n_told, n_finished, finished_error;
    bool told_error;
    char told[512];
    uint64_t reached;
};

static void on_summary(void *ctx, struct buf *to)
{
    struct fixture *x = ctx;
    buf_puts(to, x->summary ? x->summary : "");
}

static void on_drained(void *ctx)
{
    ((struct fixture *)ctx)->n_drained++;
}

static void on_reached(void *ctx, uint64_t mark)
{
    struct fixture *x = ctx;
    assert_true(mark > x->reached);
    x->reached = mark;
}

static void on_tell(void *ctx, bool error, const char *text)
{
    struct fixture *x = ctx;
    x->n_told++;
    x->told_error = error;
    snprintf(x->told, sizeof x->told, "%s", text);
}

static void on_finished(void *ctx, int error)
{
    struct fixture *x = ctx;
    x->n_finished++;
    x->finished_error = error;
}

static void set_int(struct fixture *x, uint32_t number, uint64_t v)
{
    size_t mark = wire_buf_begin(&x->settings, number);
    wire_buf_varint(&x->settings, 1, v);
    wire_buf_end(&x->settings, mark);
}

static void begin(struct fixture *x)
{
    struct filestream_owner owner = {x, on_summary, on_drained, on_reached, on_tell, on_finished, x->is_sync};
    x->f = filestream_new(NULL, buf_str(&x->settings), &x->loop, &owner);
}

/* Just started: what comes gathers. */
static void start_now(struct fixture *x)
{
    struct filestream_offsets from = {0};
    begin(x);
    filestream_start(x->f, "us", "my project", "run1", &from);
}

static void start(struct fixture *x)
{
    start_now(x);
    fake_net_pass_ms(FILESTREAM_FIRST_NS / 1000000);
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    fake_net_begin();
    set_int(x, SET_NO_GZIP, 1);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    filestream_free(x->f);
    fake_net_end();
    buf_fini(&x->settings);
    free(x);
    return 0;
}

static void history(struct fixture *x, const char *line)
{
    AUTO_BUF quoted = {0};
    json_put_string(&quoted, str_of(line));
    filestream_history(x->f, buf_str(&quoted), strlen(line));
}

static void assert_body(const char *expected)
{
    struct str body = fake_net_request()->body;
    if (!str_eqz(body, expected))
        fail_msg("got      %.*s\nexpected %s", STR_ARG(body), expected);
}

static void assert_quiet(void)
{
    fake_net_settle();
    assert_int_equal(fake_net.n_requests, 0);
}

#define HISTORY(offset, lines) \
    "{\"files\":{\"wandb-history.jsonl\":{\"offset\":" #offset ",\"content\":[" lines "]}}}"

/* ---- pace ---- */

static void test_first_line_goes_at_once_then_lines_gather(void **state)
{
    struct fixture *x = *state;
    start(x);
    assert_quiet();
    history(x, "a");
    struct http_request *r = fake_net_request();
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->url, "http://backend/files/us/my%20project/run1/file_stream");
    assert_string_equal(r->headers, "Authorization: Basic x\nContent-Type: application/json\n");
    assert_int_equal(r->timeout_ms, 180000);
    assert_body(HISTORY(0, "\"a\""));
    history(x, "b"); /* while it is under way */
    fake_net_answer(200, "{\"exitcode\":null,\"limits\":{}}");
    assert_quiet();
    fake_net_pass_ms(14000);
    history(x, "c");
    assert_quiet();
    fake_net_pass_ms(1001);
    assert_body(HISTORY(1, "\"b\",\"c\""));
    fake_net_answer(200, "");
    assert_int_equal(fake_net.n_sent, 2);
}

static void test_what_a_run_begins_with_gathers(void **state)
{
    struct fixture *x = *state;
    start_now(x);
    history(x, "a");
    fake_net_pass_ms(2000);
    history(x, "b");
    assert_quiet();
    fake_net_pass_ms(1001);
    assert_body(HISTORY(0, "\"a\",\"b\""));
    fake_net_answer(200, "{}");
    history(x, "c");
    fake_net_pass_ms(14000);
    assert_quiet();
}

/* The peer's tests of finish_timeout want that: what a short run logs has not left when it ends. */
static void test_a_run_that_is_given_up_at_once_has_sent_nothing(void **state)
{
    struct fixture *x = *state;
    start_now(x);
    history(x, "a");
    fake_net_pass_ms(1500);
    filestream_abort(x->f);
    fake_net_settle();
    assert_int_equal(x->finished_error, TARE_ECANCELLED);
    assert_int_equal(fake_net.n_sent, 0);
}

static void set_interval(struct fixture *x, double seconds)
{
    size_t mark = wire_buf_begin(&x->settings, SET_INTERVAL);
    wire_buf_double(&x->settings, 1, seconds);
    wire_buf_end(&x->settings, mark);
}

/* Ten more go at once; then one in ten seconds, as little as it can be, retries too. */
static void test_a_quota_that_is_empty_slows_it_down(void **state)
{
    static const char empty[] = "ratelimit-remaining: 0\nratelimit-reset: 60\n";
    struct fixture *x = *state;
    set_interval(x, 0.001);
    start(x);
    for (int i = 0; i < 11; i++) {
        history(x, "a");
        fake_net_pass_ms(2);
        fake_net_answer_to(fake_net_request(), 200, empty, "{}");
    }
    history(x, "b");
    fake_net_pass_ms(9000);
    assert_quiet();
    fake_net_pass_ms(1100);
    fake_net_answer_to(fake_net_request(), 500, empty, "{}");
    fake_net_pass_ms(9000);
    assert_quiet();
    fake_net_pass_ms(1100);
    fake_net_answer_to(fake_net_request(), 200, empty, "{}");
    history(x, "c");
    fake_net_pass_ms(5000);
    assert_quiet();
    filestream_abort(x->f); /* while it waits */
    fake_net_settle();
    assert_int_equal(x->n_finished, 1);
}

static void test_credentials_that_can_be_had_anew(void **state)
{
    struct fixture *x = *state;
    fake_net.renews = true;
    start(x);
    history(x, "a");
    fake_net_answer(401, "{}");
    fake_net_pass_ms(5000);
    assert_body(HISTORY(0, "\"a\""));
    fake_net_answer(200, "{}");
    assert_int_equal(x->n_told, 0);
}

static void test_interval_of_the_settings(void **state)
{
    struct fixture *x = *state;
    set_interval(x, 0.5);
    start(x);
    history(x, "a");
    fake_net_answer(200, "{}");
    history(x, "b");
    fake_net_pass_ms(499);
    assert_quiet();
    fake_net_pass_ms(2);
    fake_net_answer(200, "{}");
}

static void test_heartbeat_after_silence(void **state)
{
    struct fixture *x = *state;
    start_now(x);
    fake_net_pass_ms(29999);
    assert_quiet();
    fake_net_pass_ms(2);
    assert_body("{}");
    fake_net_answer(200, "{\"limits\":{\"heartbeat_seconds\":5}}"); /* as older backends say */
    fake_net_pass_ms(4990);
    assert_quiet();
    history(x, "a"); /* a heartbeat does not make lines wait */
    assert_body(HISTORY(0, "\"a\""));
    fake_net_answer(200, "{}");
}

static void test_preempting_does_not_wait(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    fake_net_answer(200, "{}");
    history(x, "b");
    assert_quiet();
    filestream_preempting(x->f);
    assert_body("{\"files\":{\"wandb-history.jsonl\":{\"offset\":1,\"content\":[\"b\"]}},\"preempting\":true}");
    fake_net_answer(200, "{}");
}

static void test_nothing_goes_before_the_start(void **state)
{
    struct fixture *x = *state;
    begin(x);
    history(x, "a");
    filestream_console(x->f, 2, STR("two"));
    fake_net_pass_ms(100000);
    assert_quiet();
    struct filestream_offsets from = {.history = 7, .events = 8, .console = 9};
    filestream_start(x->f, "us", "p", "r", &from);
    filestream_event(x->f, STR("e"));
    fake_net_pass_ms(FILESTREAM_FIRST_NS / 1000000);
    assert_body("{\"files\":{\"wandb-history.jsonl\":{\"offset\":7,\"content\":[\"a\"]},"
                "\"wandb-events.jsonl\":{\"offset\":8,\"content\":[\"e\"]},"
                "\"output.log\":{\"offset\":11,\"content\":[\"two\"]}}}");
    fake_net_answer(200, "{}");
}

static void test_summary_is_asked_for_once_a_request(void **state)
{
    struct fixture *x = *state;
    start(x);
    x->summary = "{\"a\":1}";
    filestream_summary(x->f);
    filestream_summary(x->f);
    x->summary = "{\"a\":2}";
    assert_body("{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"a\\\":2}\"]}}}");
    filestream_summary(x->f);
    x->summary = "{\"a\":3}";
    fake_net_answer(200, "{}");
    fake_net_pass_ms(15001);
    assert_body("{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"a\\\":3}\"]}}}");
    fake_net_answer(200, "{}");
    fake_net_pass_ms(15001);
    assert_quiet();
}

/* ---- memory ---- */

/* How many lines of 100,000 bytes it takes until it is full. */
static uint64_t fill(struct fixture *x)
{
    static char line[100000];
    memset(line, 'x', sizeof line);
    line[0] = line[sizeof line - 1] = '"';
    uint64_t n = 0;
    for (; !filestream_is_full(x->f); n++)
        filestream_history(x->f, str_make(line, sizeof line), sizeof line - 2);
    return n;
}

static void test_a_full_stream_sends_at_once_and_says_when_there_is_room(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    fake_net_request();
    uint64_t n = fill(x);
    assert_in_range(n, FILESTREAM_FULL_BYTES / 100000 - 1, FILESTREAM_FULL_BYTES / 100000 + 1);
    assert_int_equal(x->n_drained, 0);
    fake_net_answer(200, "{}");
    assert_int_equal(x->n_drained, 1);
    assert_in_range(fake_net_request()->body.n, n * 100000, 10 << 20);
    fake_net_answer(200, "{}");
    assert_int_equal(x->n_drained, 1);
}

static void test_a_sync_that_packs_nothing_is_full_later(void **state)
{
    struct fixture *x = *state;
    x->is_sync = true;
    start(x);
    assert_in_range(fill(x), FILESTREAM_FULL_HERE_BYTES / 100000 - 1, FILESTREAM_FULL_HERE_BYTES / 100000 + 1);
}

static void test_a_sync_that_packs_is_full_in_between(void **state)
{
    struct fixture *x = *state;
    x->is_sync = true;
    set_int(x, SET_NO_GZIP, 0);
    start(x);
    assert_in_range(fill(x), FILESTREAM_FULL_SYNC_BYTES / 100000 - 1, FILESTREAM_FULL_SYNC_BYTES / 100000 + 1);
}

static void test_lines_over_the_limit_are_left_out_and_told(void **state)
{
    struct fixture *x = *state;
    set_int(x, SET_MAX_LINE_BYTES, 5);
    start(x);
    history(x, "123456");
    history(x, "1234567");
    assert_string_equal(x->told, "Skipped uploading run.log() data that exceeded size limit (6 > 5).");
    assert_false(x->told_error);
    history(x, "12345");
    assert_body(HISTORY(0, "\"12345\""));
    fake_net_answer(200, "{}");
    assert_int_equal(x->n_told, 1);
    fake_net_pass_ms(60001);
    history(x, "12345678");
    assert_int_equal(x->n_told, 2);
    filestream_finish(x->f, false, 0);
    while (fake_net_settle(), fake_net.n_requests > 0)
        fake_net_answer(200, "{}");
    assert_string_equal(x->told, "3 lines of data that exceeded the size limit were not uploaded.");
    assert_int_equal(x->finished_error, 0);
}

/* ---- trouble ---- */

static void test_a_failed_request_is_repeated_as_it_was(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    static const struct {
        int error, status;
        const char *body;
    } tries[] = {{TARE_EIO, 0, "connection refused"}, {0, 500, "{\"error\":\"oops\"}"}, {0, 502, "<html>Bad gateway</html>"},
                 {0, 429, ""}, {0, 408, ""}, {TARE_ETIMEOUT, 0, "timed out"}, {TARE_EPROTO, 0, "cut off"}};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        assert_body(HISTORY(0, "\"a\""));
        history(x, "later");
        if (tries[i].error)
            fake_net_fail(tries[i].error, tries[i].body);
        else
            fake_net_answer(tries[i].status, tries[i].body);
        AUTO_BUF ops = {0};
        assert_int_equal(filestream_operations(x->f, &ops), 1);
        struct str op = wire_find_bytes(buf_str(&ops), 1);
        assert_true(str_eqz(wire_find_bytes(op, 1), "uploading history steps 0-0"));
        assert_true(wire_find_bytes(op, 4).n > 0);
        if (tries[i].status == 500)
            assert_true(str_eqz(wire_find_bytes(op, 4), "retrying HTTP 500: oops"));
        assert_quiet();
        fake_net_pass_ms(60001);
    }
    assert_int_equal(x->n_told, 1); /* of the stall */
    assert_non_null(strstr(x->told, "stalled"));
    assert_body(HISTORY(0, "\"a\""));
    fake_net_answer(200, "{}");
    assert_body(HISTORY(1, "\"later\",\"later\",\"later\",\"later\",\"later\",\"later\",\"later\""));
    fake_net_answer(200, "{}");
    AUTO_BUF ops = {0};
    assert_int_equal(filestream_operations(x->f, &ops), 0);
}

static void test_an_answer_cut_off_after_its_status_is_an_answer(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    struct http_request *r = fake_net_request();
    r->error = TARE_EPROTO;
    fake_net_answer_to(r, 200, "", "{\"stop");
    fake_net_pass_ms(20000);
    assert_int_equal(fake_net.n_sent, 1);
    assert_false(filestream_is_stopped(x->f));
}

static void test_what_the_backend_refuses_ends_the_stream(void **state)
{
    static const int refusals[] = {400, 401, 402, 403, 404, 409, 410, 413, 422, 501};
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct fixture *x = *state;
        start(x);
        filestream_mark(x->f, 10 * i + 1);
        fake_net_settle();
        history(x, "a");
        filestream_mark(x->f, 10 * i + 2);
        fake_net_answer(refusals[i], "{\"error\":\"no\"}");
        assert_int_equal(x->n_told, i + 1);
        assert_true(x->told_error);
        assert_non_null(strstr(x->told, "Fatal error while uploading data."));
        history(x, "b");
        fake_net_pass_ms(100000);
        assert_quiet();
        assert_false(filestream_is_full(x->f));
        assert_false(filestream_is_stopped(x->f));
        filestream_finish(x->f, true, 0);
        fake_net_settle();
        assert_int_equal(x->n_finished, i + 1);
        assert_true(x->finished_error < 0);
        assert_int_equal(x->reached, 10 * i + 1);
        filestream_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

static void test_fatal_stops_the_program_where_that_is_wanted(void **state)
{
    struct fixture *x = *state;
    set_int(x, SET_STOP_ON_FATAL, 1);
    start(x);
    history(x, "a");
    fake_net_answer(404, "");
    assert_true(filestream_is_stopped(x->f));
}

static void test_stop_is_heard_and_kept(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    fake_net_answer(200, "{\"stopped\":true}");
    assert_true(filestream_is_stopped(x->f));
    fake_net_pass_ms(30001);
    fake_net_answer(200, "{\"stopped\":false}");
    assert_true(filestream_is_stopped(x->f));
}

static void test_answers_that_are_no_json(void **state)
{
    static const char *const answers[] = {"", "null", "[]", "{", "\"stopped\"", "{\"stopped\":\"true\"}",
                                          "{\"limits\":{\"heartbeat_seconds\":-1}}", "{\"limits\":7}", "<html>"};
    struct fixture *x = *state;
    start(x);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        history(x, "a");
        fake_net_pass_ms(15000);
        fake_net_answer(200, answers[i]);
    }
    assert_false(filestream_is_stopped(x->f));
    fake_net_pass_ms(14000);
    assert_quiet();
}

/* ---- marks ---- */

static void test_marks_are_reached_when_acknowledged(void **state)
{
    struct fixture *x = *state;
    start(x);
    filestream_mark(x->f, 1); /* nothing waits */
    assert_int_equal(x->reached, 0);
    fake_net_settle();
    assert_int_equal(x->reached, 1);
    history(x, "a");
    filestream_mark(x->f, 2);
    fake_net_request();
    history(x, "b");
    filestream_mark(x->f, 3);
    assert_int_equal(x->reached, 1);
    fake_net_answer(200, "{}");
    assert_int_equal(x->reached, 2);
    fake_net_pass_ms(15001);
    filestream_mark(x->f, 4); /* nothing was added since */
    fake_net_answer(200, "{}");
    assert_int_equal(x->reached, 4);
}

static void test_mark_waits_for_all_console_runs(void **state)
{
    struct fixture *x = *state;
    start(x);
    filestream_console(x->f, 1, STR("one"));
    filestream_console(x->f, 5, STR("five"));
    filestream_console(x->f, 9, STR("nine"));
    filestream_mark(x->f, 1);
    fake_net_answer(200, "{}");
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(x->reached, 0);
        filestream_console(x->f, 1, STR("one changes all the time"));
        filestream_mark(x->f, 2 + i);
        fake_net_pass_ms(15001);
        fake_net_answer(200, "{}");
    }
    assert_int_equal(x->reached, 1);
}

/* ---- the end ---- */

static void test_finish_sends_the_rest_and_the_exit_code(void **state)
{
    struct fixture *x = *state;
    start(x);
    history(x, "a");
    fake_net_request();
    filestream_console(x->f, 1, STR("one"));
    filestream_console(x->f, 5, STR("five"));
    filestream_finish(x->f, true, 3);
    fake_net_answer(200, "{}");
    assert_body("{\"files\":{\"output.log\":{\"offset\":1,\"content\":[\"one\"]}}}");
    fake_net_answer(200, "{}");
    assert_body("{\"files\":{\"output.log\":{\"offset\":5,\"content\":[\"five\"]}},\"complete\":true,\"exitcode\":3}");
    assert_int_equal(x->n_finished, 0);
    fake_net_fail(TARE_EIO, "reset");
    assert_int_equal(x->n_finished, 0);
    fake_net_pass_ms(10000);
    fake_net_answer(200, "{}");
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0);
    fake_net_pass_ms(100000);
    assert_quiet();
}

static void test_finish_of_a_quiet_stream(void **state)
{
    struct fixture *x = *state;
    start(x);
    filestream_finish(x->f, false, 0);
    assert_int_equal(x->n_finished, 0); /* not from inside */
    fake_net_settle();
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0);
    assert_int_equal(fake_net.n_sent, 0);
}

static void test_finish_without_start(void **state)
{
    struct fixture *x = *state;
    begin(x);
    history(x, "a");
    filestream_finish(x->f, true, 0);
    fake_net_settle();
    assert_int_equal(x->finished_error, TARE_ECANCELLED);
}

static void test_abort_at_every_moment(void **state)
{
    for (int moment = 0; moment < 5; moment++) {
        struct fixture *x = *state;
        start(x);
        fake_net.headers_wait = moment == 1;
        if (moment > 0)
            history(x, "a");
        if (moment > 1)
            fake_net_request();
        if (moment == 3)
            fake_net_answer(500, "");
        if (moment == 4) {
            fake_net_answer(200, "");
            filestream_finish(x->f, false, 0);
        }
        fake_net_settle();
        int n = x->n_finished;
        filestream_abort(x->f);
        assert_int_equal(x->n_finished, n);
        fake_net_settle();
        if (moment == 1)
            fake_net_headers();
        assert_int_equal(x->n_finished, moment + 1);
        assert_int_equal(x->finished_error, moment == 0 || moment == 4 ? 0 : TARE_ECANCELLED);
        filestream_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

static void test_free_at_every_moment(void **state)
{
    for (int moment = 0; moment < 5; moment++) {
        struct fixture *x = *state;
        start(x);
        fake_net.headers_wait = moment == 1;
        history(x, "a");
        if (moment > 0)
            fake_net_settle();
        if (moment == 3)
            fake_net_answer(500, "");
        if (moment == 4)
            filestream_finish(x->f, true, 0);
        filestream_free(x->f);
        x->f = NULL;
        if (moment == 1)
            fake_net_headers();
        fake_net_settle();
        assert_int_equal(x->n_finished + x->n_told + (int)x->reached, 0);
    }
}

static void test_no_credentials(void **state)
{
    struct fixture *x = *state;
    start(x);
    fake_net.headers_error = TARE_ETIMEOUT;
    history(x, "a");
    assert_quiet();
    assert_int_equal(x->n_told, 0);
    fake_net.headers_error = 0;
    fake_net_pass_ms(5000);
    fake_net_answer(200, "{}");
    fake_net.headers_error = TARE_EPERM;
    history(x, "b");
    fake_net_pass_ms(15001);
    assert_int_equal(x->n_told, 1);
    assert_true(x->told_error);
}

static void test_gzip_where_both_want_it(void **state)
{
    struct fixture *x = *state;
    buf_clear(&x->settings);
    fake_net.has_feature = true;
    start(x);
    history(x, "{\"a\":1}");
    struct http_request *r = fake_net_request();
    assert_non_null(strstr(r->headers, "Content-Encoding: gzip\n"));
    char text[200];
    size_t n;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    assert_int_equal(libdeflate_gzip_decompress(d, r->body.p, r->body.n, text, sizeof text, &n), 0);
    libdeflate_free_decompressor(d);
    assert_true(str_eqz(str_make(text, n), HISTORY(0, "\"{\\\"a\\\":1}\"")));
    fake_net_answer(500, "");
    fake_net_pass_ms(5000);
    assert_non_null(strstr(fake_net_request()->headers, "gzip"));
    fake_net_answer(200, "{}");
    fake_net_pass_ms(30001);
    assert_body("{}"); /* heartbeats as they are */
    fake_net_answer(200, "{}");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_first_line_goes_at_once_then_lines_gather),
        T(test_what_a_run_begins_with_gathers),
        T(test_a_run_that_is_given_up_at_once_has_sent_nothing),
        T(test_interval_of_the_settings),
        T(test_a_quota_that_is_empty_slows_it_down),
        T(test_credentials_that_can_be_had_anew),
        T(test_heartbeat_after_silence),
        T(test_preempting_does_not_wait),
        T(test_nothing_goes_before_the_start),
        T(test_summary_is_asked_for_once_a_request),
        T(test_a_full_stream_sends_at_once_and_says_when_there_is_room),
        T(test_a_sync_that_packs_nothing_is_full_later),
        T(test_a_sync_that_packs_is_full_in_between),
        T(test_lines_over_the_limit_are_left_out_and_told),
        T(test_a_failed_request_is_repeated_as_it_was),
        T(test_an_answer_cut_off_after_its_status_is_an_answer),
        T(test_what_the_backend_refuses_ends_the_stream),
        T(test_fatal_stops_the_program_where_that_is_wanted),
        T(test_stop_is_heard_and_kept),
        T(test_answers_that_are_no_json),
        T(test_marks_are_reached_when_acknowledged),
        T(test_mark_waits_for_all_console_runs),
        T(test_finish_sends_the_rest_and_the_exit_code),
        T(test_finish_of_a_quiet_stream),
        T(test_finish_without_start),
        T(test_abort_at_every_moment),
        T(test_free_at_every_moment),
        T(test_no_credentials),
        T(test_gzip_where_both_want_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
