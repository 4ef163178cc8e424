/* SPDX-License-Identifier: MIT */
/* A sender on a journal, with a backend that only notes what it is told. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "journal/encoder.h"
#include "record/wire.h"
#include "service/stream/sender.h"
#include "service/stream/start_state.h"
#include "tests/support/fake_upload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct fixture {
    uv_loop_t loop;
    struct sender *s;
    char dir[64], path[128];
    int fd;
    struct journal_encoder encoder;
    struct buf settings, run;
    int n_ready, n_failed, n_finished, error, code;
    uint64_t reached;
    char message[512], told[512];
} f;

/* -- what the sender says ----------------------------------------------------------------------- */

static void on_ready(void *ctx, struct str run)
{
    f.n_ready++;
    buf_clear(&f.run);
    buf_put_str(&f.run, run);
}

static void on_failed(void *ctx, int code, const char *message)
{
    f.n_failed++;
    f.code = code;
    snprintf(f.message, sizeof f.message, "%s", message);
    uv_stop(&f.loop);
}

static void on_reached(void *ctx, uint64_t offset)
{
    f.reached = offset;
}

static void on_tell(void *ctx, bool error, const char *text)
{
    snprintf(f.told, sizeof f.told, "%s", text);
}

static void on_finished(void *ctx, int error)
{
    f.n_finished++;
    f.error = error;
    uv_stop(&f.loop);
}

static const struct sender_owner owner = {NULL,    on_ready,    on_failed, on_reached,
                                          on_tell, on_finished, NULL};

/* -- a journal ------------------------------------------------------------------------------------- */

static void write_all(const void *p, size_t n)
{
    assert_int_equal(os_write_all(f.fd, p, n, NULL), 0);
}

static int begin(void **state)
{
    memset(&f, 0, sizeof f);
    fake_upload_reset();
    strcpy(f.dir, "/tmp/tare-sender-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.path, sizeof f.path, "%s/run-abc.wandb", f.dir);
    f.fd = open(f.path, O_RDWR | O_CREAT, 0600);
    uint8_t header[JOURNAL_HEADER_BYTES];
    journal_put_header(header);
    write_all(header, sizeof header);
    journal_encoder_init(&f.encoder, JOURNAL_HEADER_BYTES);
    size_t primary = wire_buf_begin(&f.settings, 182);
    wire_buf_varint(&f.settings, 1, 1);
    wire_buf_end(&f.settings, primary);
    uv_loop_init(&f.loop);
    fake_upload_answer("UpsertBucket",
                       "{\"upsertBucket\":{\"bucket\":{\"id\":\"SID\",\"name\":\"abc\",\"displayName\":\"d-1\","
                       "\"project\":{\"name\":\"proj\",\"entity\":{\"name\":\"me\"}}}}}");
    return 0;
}

static void remove_dir(void)
{
    char state[160];
    snprintf(state, sizeof state, "%s.syncstate", f.path);
    unlink(state);
    unlink(f.path);
    rmdir(f.dir);
}

static int end(void **state)
{
    sender_free(f.s);
    f.s = NULL;
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    assert_int_equal(fake_upload.n_open, 0);
    buf_fini(&f.settings);
    buf_fini(&f.run);
    fake_upload_reset();
    close(f.fd);
    remove_dir();
    return 0;
}

static void text_setting(uint32_t number, const char *value)
{
    size_t mark = wire_buf_begin(&f.settings, number);
    wire_buf_bytes(&f.settings, 1, str_of(value));
    wire_buf_end(&f.settings, mark);
}

static void keep(uint32_t kind, const struct buf *body)
{
    AUTO_BUF record = {0}, chunks = {0};
    wire_buf_varint(&record, 1, 1);
    wire_buf_bytes(&record, kind, buf_str(body));
    journal_encode(&f.encoder, &chunks, record.data, record.len);
    write_all(chunks.data, chunks.len);
}

static void put_item(struct buf *to, uint32_t field, const char *key, const char *json)
{
    size_t mark = wire_buf_begin(to, field);
    wire_buf_bytes(to, 1, str_of(key));
    wire_buf_bytes(to, 16, str_of(json));
    wire_buf_end(to, mark);
}

static void keep_run(void)
{
    AUTO_BUF run = {0};
    wire_buf_bytes(&run, 1, STR("abc"));
    wire_buf_bytes(&run, 3, STR("proj"));
    size_t config = wire_buf_begin(&run, 4);
    put_item(&run, 1, "lr", "0.1");
    wire_buf_end(&run, config);
    keep(17, &run);
}

static void keep_row(int step, const char *key, const char *json)
{
    AUTO_BUF row = {0};
    char text[16];
    snprintf(text, sizeof text, "%d", step);
    put_item(&row, 1, key, json);
    put_item(&row, 1, "_step", text);
    keep(2, &row);
}

static void keep_summary(const char *key, const char *json)
{
    AUTO_BUF record = {0};
    put_item(&record, 1, key, json);
    keep(3, &record);
}

static void keep_exit(int code)
{
    AUTO_BUF record = {0};
    if (code)
        wire_buf_varint(&record, 1, (uint64_t)code);
    keep(18, &record);
}

static void keep_output(const char *text)
{
    AUTO_BUF record = {0};
    wire_buf_varint(&record, 1, 1);
    size_t time = wire_buf_begin(&record, 2);
    wire_buf_varint(&record, 1, 1700000000);
    wire_buf_end(&record, time);
    wire_buf_bytes(&record, 3, str_of(text));
    keep(13, &record);
}

static void make(bool is_sync)
{
    struct sender_options o = {.loop = &f.loop,
                               .settings = buf_str(&f.settings),
                               .files_dir = f.dir,
                               .is_sync = is_sync};
    struct err e;
    f.s = sender_new(&o, &owner, &e);
    assert_non_null(f.s);
}

/* Send the whole journal. */
static void send_all(void)
{
    make(true);
    sender_read(f.s, f.path, false);
    uv_run(&f.loop, UV_RUN_DEFAULT);
}

static void check_line(const char *line)
{
    if (!fake_upload_saw(line))
        fail_msg("not there: %s\n%s", line, buf_z(&fake_upload.log));
}

static void check_order(const char *const *texts)
{
    const char *last = NULL;
    for (; *texts; texts++) {
        const char *at = fake_upload_find(*texts);
        if (!at || at < last)
            fail_msg("not there, or too early: %s\n%s", *texts, buf_z(&fake_upload.log));
        last = at;
    }
}

/* -- tests ------------------------------------------------------------------------------------------ */

static void test_a_run_reaches_the_backend(void **state)
{
    keep_run();
    keep_row(0, "loss", "0.5");
    keep_row(1, "loss", "NaN");
    keep_summary("loss", "0.25");
    keep_summary("_step", "77"); /* the history knows better */
    keep_exit(3);
    send_all();
    assert_int_equal(f.n_ready, 1);
    assert_int_equal(f.n_finished, 1);
    assert_int_equal(f.error, 0);
    assert_true(f.reached == f.encoder.offset);
    assert_true(str_eqz(wire_find_bytes(buf_str(&f.run), 2), "me"));
    check_line("start me/proj/abc 0");
    check_line("history {\"loss\":0.5,\"_step\":0}");
    check_line("history {\"loss\":NaN,\"_step\":1}");
    const char *const order[] = {"call UpsertBucket", "start me", "history", "put wandb-summary.json",
                                 "put config.yaml", "lr:\n    value: 0.1", "artifacts end", "files end",
                                 "\nsummary {\"_step\":1,\"loss\":0.25}\n", "finish complete 3", NULL};
    check_order(order);
}

static void test_what_changes_a_run_is_told_at_the_end_at_the_latest(void **state)
{
    AUTO_BUF config = {0}, metric = {0}, alert = {0};
    put_item(&config, 1, "late", "3");
    wire_buf_bytes(&metric, 1, STR("loss"));
    wire_buf_bytes(&alert, 1, STR("title"));
    wire_buf_bytes(&alert, 3, STR("WARN"));
    wire_buf_varint(&alert, 4, 60);
    keep_run();
    keep(5, &config);
    keep(12, &metric);
    keep(10, &alert);
    keep_exit(0);
    send_all();
    const char *second = strstr(fake_upload_find("call UpsertBucket") + 1, "call UpsertBucket");
    assert_non_null(second);
    assert_non_null(strstr(second, "\\\"late\\\":{\\\"value\\\":3}"));
    assert_non_null(strstr(second, "\\\"m\\\":[{\\\"1\\\":\\\"loss\\\""));
    check_line("call NotifyScriptableRunAlert {\"entityName\":\"me\",\"projectName\":\"proj\",\"runName\":\"abc\","
               "\"title\":\"title\",\"text\":\"\",\"severity\":\"WARN\",\"waitDuration\":60}");
}

/* What the backend is told of a glob and of what it made, to a client of wandb 0.28 that lets it
 * match globs or not, or to another one (-1). */
static const char *told_of_globs(int lets)
{
    AUTO_BUF glob = {0}, made = {0};
    wire_buf_bytes(&glob, 2, STR("l*"));
    wire_buf_bytes(&made, 1, STR("loss"));
    wire_buf_varint(&made, 10, 1);
    if (lets >= 0) {
        size_t setting = wire_buf_begin(&f.settings, 190);
        wire_buf_varint(&f.settings, 1, (uint64_t)lets);
        wire_buf_end(&f.settings, setting);
    }
    keep_run();
    keep(12, &glob);
    keep(12, &made);
    keep_exit(0);
    send_all();
    return strstr(fake_upload_find("call UpsertBucket") + 1, "call UpsertBucket");
}

static const char made_alone[] = "\\\"m\\\":[{\\\"1\\\":\\\"loss\\\"",
                  glob_alone[] = "\\\"m\\\":[{\\\"2\\\":\\\"l*\\\"";

static void test_globs_are_left_to_the_backend(void **state)
{
    assert_non_null(strstr(told_of_globs(-1), glob_alone));
    assert_null(fake_upload_find("feature EXPAND"));
    assert_null(fake_upload_find("loss"));
}

static void test_a_client_can_forbid_that(void **state)
{
    assert_non_null(strstr(told_of_globs(0), made_alone));
    assert_null(fake_upload_find("feature EXPAND"));
    assert_null(fake_upload_find("l*"));
}

static void test_a_client_can_leave_globs_to_a_backend_that_matches_them(void **state)
{
    fake_upload.structured = true; /* it has all features */
    assert_non_null(strstr(told_of_globs(1), glob_alone));
    assert_null(fake_upload_find("loss"));
}

static void test_but_not_to_one_that_matches_none(void **state)
{
    assert_non_null(strstr(told_of_globs(1), made_alone));
    assert_non_null(fake_upload_find("feature EXPAND_DEFINED_METRIC_GLOBS"));
}

static void test_a_refused_run_is_said_in_the_backends_words(void **state)
{
    keep_run();
    keep_exit(0);
    fake_upload_fail("UpsertBucket", TARE_ENOTFOUND, 404, "project not found");
    send_all();
    assert_int_equal(f.n_ready, 0);
    assert_int_equal(f.n_failed, 1);
    assert_int_equal(f.n_finished, 0);
    assert_int_equal(f.code, 1);
    assert_string_equal(f.message, "project not found");
}

static void test_an_answer_with_errors_has_its_own_words(void **state)
{
    keep_run();
    fake_upload_fail("UpsertBucket", TARE_EPROTO, 200, "input: no");
    send_all();
    assert_int_equal(f.code, 0);
    assert_string_equal(f.message, "Error initializing run: input: no");
}

static void test_a_backend_that_does_not_answer_in_time_is_said(void **state)
{
    keep_run();
    fake_upload_fail("UpsertBucket", TARE_ETIMEOUT, 0, "HTTP 500: no");
    send_all();
    assert_int_equal(f.code, 1);
    assert_non_null(strstr(f.message, "Timed out while retrying: HTTP 500: no\nConsider increasing"));
}

static void test_a_resumed_run_goes_on(void **state)
{
    text_setting(102, "must");
    fake_upload_answer("RunResumeStatus",
                       "{\"model\":{\"bucket\":{\"id\":\"SID\",\"wandbConfig\":\"{\\\"t\\\":1}\",\"config\":\"{}\","
                       "\"historyLineCount\":5,\"eventsLineCount\":0,\"logLineCount\":2,\"historyTail\":\"[]\","
                       "\"eventsTail\":\"[]\",\"summaryMetrics\":\"{}\"}}}");
    keep_run();
    AUTO_BUF row = {0};
    put_item(&row, 1, "a", "1");
    keep(2, &row);
    keep_exit(0);
    send_all();
    const char *const order[] = {"call RunResumeStatus", "call UpsertBucket {\"id\":\"SID\"",
                                 "start me/proj/abc 5", "history {\"a\":1,\"_step\":5}", NULL};
    check_order(order);
    assert_int_equal(wire_find_varint(buf_str(&f.run), 18), 1);
    assert_int_equal(wire_find_varint(buf_str(&f.run), 14), 5);
}

static void test_a_second_sync_starts_where_the_first_did(void **state)
{
    keep_run();
    AUTO_BUF row = {0};
    put_item(&row, 1, "a", "1");
    keep(2, &row);
    char path[160];
    snprintf(path, sizeof path, "%s.syncstate", f.path);
    static const char text[] = "{\"starting_step\":40,\"starting_runtime\":1500}";
    assert_int_equal(os_write_file(path, text, sizeof text - 1, 0600), 0);
    send_all();
    check_line("history {\"a\":1,\"_step\":40}");
    assert_int_equal(sender_runtime_ms(f.s), 1500);
}

/* What a backend tells of lines is how many there are by now: of a journal sent before, its own are
 * among them. */
static void test_a_second_sync_begins_at_the_same_lines(void **state)
{
    char path[160];
    AUTO_BUF text = {0};
    struct start_state kept = {.step = 3, .lines = {7, 0, 2}};
    snprintf(path, sizeof path, "%s.syncstate", f.path);
    assert_int_equal(start_state_settle(path, "a \"b\"", &kept), 0);
    struct start_state again = {.step = 9, .lines = {107, 5, 1}};
    assert_int_equal(start_state_read(path, &again), 0);
    assert_int_equal(again.step, 3);
    assert_int_equal(start_state_settle(path, "a \"b\"", &again), 0);
    assert_int_equal(again.lines[0], 7);
    assert_int_equal(again.lines[1], 0);
    assert_int_equal(again.lines[2], 1); /* it holds less than it did: no hole */
    struct start_state other = {.step = 3, .lines = {107, 5, 1}};
    assert_int_equal(start_state_settle(path, "other", &other), 0);
    assert_int_equal(other.lines[0], 107);
    assert_int_equal(start_state_settle(path, "a \"b\"", &again), 0);
    assert_int_equal(again.lines[0], 7);
    assert_int_equal(os_read_file(path, 1000, &text), 0);
    assert_string_equal(buf_z(&text), "{\"starting_step\":3,\"starting_runtime\":0,\"lines\":"
                                      "{\"a \\\"b\\\"\":[7,0,2],\"other\":[107,5,1]}}");
    assert_true(start_state_is_cut_off(path));
    assert_int_equal(start_state_set_done(path), 0);
    assert_false(start_state_is_cut_off(path));
    assert_int_equal(start_state_settle(path, "third", &other), 0);
    assert_true(start_state_is_cut_off(path));
}

static void test_a_journal_without_an_end_is_of_a_run_that_failed(void **state)
{
    keep_run();
    send_all();
    check_line("finish complete 1");
}

static void test_nothing_is_read_while_the_file_stream_is_full(void **state)
{
    keep_run();
    keep_row(0, "a", "1");
    keep_row(1, "a", "2");
    keep_exit(0);
    fake_upload.full = true;
    make(true);
    sender_read(f.s, f.path, false);
    uv_run(&f.loop, UV_RUN_DEFAULT); /* nothing is left to do */
    assert_int_equal(f.n_finished, 0);
    assert_null(fake_upload_find("history"));
    fake_upload_drain();
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.n_finished, 1);
    check_line("history {\"a\":2,\"_step\":1}");
}

static void test_output_becomes_lines_as_a_terminal_shows_them(void **state)
{
    keep_run();
    keep_output("a 1%\ra 2%\nb");
    keep_output("c\n");
    keep_exit(0);
    send_all();
    check_line("console 0 2023-11-14T22:13:20.000000 a 2%");
    check_line("console 1 2023-11-14T22:13:20.000000 bc");
    check_line("add output.log 0 1");
}

static void test_output_is_structured_where_the_backend_wants_it(void **state)
{
    text_setting(181, "rank<0>");
    fake_upload.structured = true;
    keep_run();
    keep_output("x > \"y\"\n");
    keep_exit(0);
    send_all();
    check_line("console 0 {\"ts\":\"2023-11-14T22:13:20.000000\",\"label\":\"rank\\u003c0\\u003e\","
               "\"content\":\"x \\u003e \\\"y\\\"\"}");
}

static void test_an_end_that_takes_too_long_is_given_up(void **state)
{
    keep_run();
    keep_exit(0);
    fake_upload.black_hole = true;
    make(false);
    sender_follow(f.s, f.path);
    sender_more(f.s, f.encoder.offset, false);
    sender_bound_finish(f.s, clock_mono_ns() + 50000000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.n_finished, 1);
    assert_int_equal(f.error, TARE_ETIMEOUT);
    assert_string_equal(f.told, "Timed out finishing run.");
}

static void test_a_followed_journal_is_sent_as_it_grows(void **state)
{
    keep_run();
    make(false);
    sender_follow(f.s, f.path);
    sender_more(f.s, f.encoder.offset, false);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.n_ready, 1);
    keep_row(0, "a", "1");
    sender_more(f.s, f.encoder.offset, false);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    check_line("history {\"a\":1,\"_step\":0}");
    assert_int_equal(f.n_finished, 0);
    sender_more(f.s, f.encoder.offset, true); /* it ends without an exit record */
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.n_finished, 1);
    check_line("finish open 1");
}

static void test_it_may_be_freed_at_any_moment(void **state)
{
    keep_run();
    keep_output("x\n");
    keep_row(0, "a", "1");
    keep_exit(0);
    for (int turns = 0; turns < 20; turns++) {
        make(true);
        sender_read(f.s, f.path, false);
        for (int i = 0; i < turns && uv_run(&f.loop, UV_RUN_ONCE); i++)
            ;
        sender_free(f.s);
        f.s = NULL;
        uv_run(&f.loop, UV_RUN_DEFAULT);
        assert_int_equal(fake_upload.n_open, 0);
    }
}

static void test_a_journal_of_nothing_ends_with_an_error(void **state)
{
    send_all();
    assert_int_equal(f.n_finished, 1);
    assert_int_equal(f.error, TARE_EFORMAT);
}

int main(void)
{
    diag_open(open("/dev/null", O_WRONLY), DIAG_ERROR);
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(test_a_run_reaches_the_backend),
        T(test_what_changes_a_run_is_told_at_the_end_at_the_latest),
        T(test_globs_are_left_to_the_backend),
        T(test_a_client_can_forbid_that),
        T(test_a_client_can_leave_globs_to_a_backend_that_matches_them),
        T(test_but_not_to_one_that_matches_none),
        T(test_a_refused_run_is_said_in_the_backends_words),
        T(test_an_answer_with_errors_has_its_own_words),
        T(test_a_backend_that_does_not_answer_in_time_is_said),
        T(test_a_resumed_run_goes_on),
        T(test_a_second_sync_starts_where_the_first_did),
        T(test_a_second_sync_begins_at_the_same_lines),
        T(test_a_journal_without_an_end_is_of_a_run_that_failed),
        T(test_nothing_is_read_while_the_file_stream_is_full),
        T(test_output_becomes_lines_as_a_terminal_shows_them),
        T(test_output_is_structured_where_the_backend_wants_it),
        T(test_an_end_that_takes_too_long_is_given_up),
        T(test_a_followed_journal_is_sent_as_it_grows),
        T(test_it_may_be_freed_at_any_moment),
        T(test_a_journal_of_nothing_ends_with_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
