/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "base/os.h"
#include "record/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake_out f;

static int start(void **state)
{
    fake_init(&f);
    fake_open(&f);
    return 0;
}

static int stop(void **state)
{
    fake_stop(&f);
    return 0;
}

static void put_config(struct buf *run, const char *key, const char *json)
{
    AUTO_BUF item = {0};
    wire_buf_bytes(&item, 1, str_of(key));
    wire_buf_bytes(&item, 16, str_of(json));
    AUTO_BUF config = {0};
    wire_buf_bytes(&config, 1, buf_str(&item));
    wire_buf_bytes(run, 4, buf_str(&config));
}

static Pb__RunRecord *ask_run(struct str run)
{
    fake_ask(&f, 17, run, "slot");
    assert_int_equal(f.n_replies, 1);
    Pb__Result *r = fake_result(&f, &f.replies[0]);
    assert_int_equal(r->result_type_case, PB__RESULT__RESULT_TYPE_RUN_RESULT);
    assert_null(r->run_result->error);
    return r->run_result->run;
}

static const char *config_of(const Pb__RunRecord *run, const char *key)
{
    for (size_t i = 0; i < run->config->n_update; i++)
        if (!strcmp(run->config->update[i]->key, key))
            return run->config->update[i]->value_json;
    return NULL;
}

static void test_the_header_says_who_writes(void **state)
{
    fake_send(&f, 21, STR(""));
    assert_non_null(strstr(fake_record(&f, 0), "1 header 0.31.0+tare-"));
}

static void test_a_run_record_is_kept_and_answered(void **state)
{
    AUTO_BUF run = {0};
    AUTO_BUF telemetry = {0};
    wire_buf_bytes(&run, 1, STR("id1"));
    wire_buf_bytes(&run, 3, STR("proj"));
    wire_buf_bytes(&run, 8, STR("name"));
    wire_buf_bytes(&run, 10, STR("tag"));
    put_config(&run, "lr", "0.1");
    wire_buf_bytes(&telemetry, 3, STR("\x20\x01\x08\x00"));
    wire_buf_bytes(&telemetry, 4, STR("3.11"));
    wire_buf_bytes(&telemetry, 5, STR("0.31.0"));
    wire_buf_bytes(&run, 19, buf_str(&telemetry));
    Pb__RunRecord *r = ask_run(buf_str(&run));
    assert_string_equal(r->run_id, "id1");
    assert_string_equal(r->project, "proj");
    assert_string_equal(r->display_name, "name");
    assert_string_equal(r->tags[0], "tag");
    assert_int_equal(r->config->n_update, 2);
    assert_string_equal(config_of(r, "lr"), "{\"value\":0.1}");
    assert_string_equal(config_of(r, "_wandb"),
                        "{\"value\":{\"m\":[],\"python_version\":\"3.11\",\"cli_version\":"
                        "\"0.31.0\",\"t\":{\"3\":[4],\"4\":\"3.11\",\"5\":\"0.31.0\",\"12\":"
                        "\"0.31.0\"}}}");
    assert_int_equal(f.n_records, 1);
    assert_string_equal(fake_record(&f, 0), "1 kind 17");
}

static void test_the_answers_config_is_a_tree(void **state)
{
    AUTO_BUF run = {0};
    put_config(&run, "a", "{\"b\": 1, \"c\": {\"d\": null}, \"e\": {}}");
    Pb__RunRecord *r = ask_run(buf_str(&run));
    assert_string_equal(config_of(r, "a"), "{\"value\":{\"b\":1,\"c\":{\"d\":null}}}");
}

static void test_a_fork_starts_behind_its_branch_point(void **state)
{
    AUTO_BUF run = {0};
    AUTO_BUF branch = {0};
    wire_buf_bytes(&run, 1, STR("new"));
    wire_buf_bytes(&branch, 1, STR("old"));
    wire_buf_double(&branch, 2, 41);
    wire_buf_bytes(&branch, 3, STR("_step"));
    wire_buf_bytes(&run, 23, buf_str(&branch));
    Pb__RunRecord *r = ask_run(buf_str(&run));
    assert_true(r->forked);
    assert_int_equal(r->starting_step, 42);
}

static void test_attach_answers_the_run_that_started(void **state)
{
    Pb__Result *r = fake_answer(&f, 65, STR("\xa2\x01\x01x"));
    assert_null(r->response->attach_response->run);
    AUTO_BUF run = {0};
    wire_buf_bytes(&run, 1, STR("id1"));
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, 1, buf_str(&run));
    r = fake_answer(&f, 11, buf_str(&body));
    assert_int_equal(r->response->response_type_case, PB__RESPONSE__RESPONSE_TYPE__NOT_SET);
    r = fake_answer(&f, 65, STR(""));
    assert_string_equal(r->response->attach_response->run->run_id, "id1");
}

static void test_exit_is_answered_when_all_is_written(void **state)
{
    fake_send(&f, 17, STR(""));
    f.now_ns += 5900000000;
    fake_ask(&f, 18, STR("\x08\x03\x10\x63"), "slot");
    assert_string_equal(fake_record(&f, 2), "3 exit 3 runtime 5");
    assert_int_equal(f.n_replies, 1);
    assert_int_equal(f.replies[0].when, REPLY_WHEN_WRITTEN);
    assert_false(fake_result(&f, &f.replies[0])->exit_result->timed_out);
}

static void test_a_second_exit_is_refused(void **state)
{
    fake_send(&f, 18, STR(""));
    size_t n = f.n_records;
    fake_ask(&f, 18, STR("\x08\x01"), "slot");
    assert_int_equal(f.n_records, n);
    assert_true(f.replies[0].is_error);
}

static void test_close_writes_what_is_open_once(void **state)
{
    fake_log(&f, 0, 0, "a", "1", NULL);
    handler_close(f.h, f.now_ns);
    handler_close(f.h, f.now_ns);
    assert_string_equal(fake_journal(&f), "1 history 0: a=1 _step=0\n"
                                          "2 summary derived: _step=0 a=1\n");
}

static void test_poll_exit_is_done_after_exit(void **state)
{
    Pb__PollExitResponse *p = fake_answer(&f, 8, STR(""))->response->poll_exit_response;
    assert_false(p->done);
    assert_non_null(p->file_counts);
    assert_non_null(p->pusher_stats);
    assert_non_null(p->operation_stats);
    fake_send(&f, 18, STR(""));
    p = fake_answer(&f, 8, STR(""))->response->poll_exit_response;
    assert_true(p->done);
    assert_int_equal(f.replies[1].when, REPLY_WHEN_WRITTEN);
}

/* -- messages -------------------------------------------------------------------------------- */

static size_t n_warnings(const struct fake_reply *r)
{
    return fake_result(&f, r)->response->internal_messages_response->messages->n_warning;
}

static void ask_messages(const char *slot)
{
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, 23, STR("\x08\x01"));
    fake_ask(&f, 100, buf_str(&request), slot);
}

static void test_who_waits_for_messages_gets_the_next(void **state)
{
    ask_messages("s1");
    ask_messages("s2");
    assert_int_equal(f.n_replies, 0);
    handler_warn(f.h, "one");
    assert_int_equal(f.n_replies, 1);
    assert_string_equal(f.replies[0].to.mailbox_slot, "s1");
    assert_int_equal(n_warnings(&f.replies[0]), 1);
    handler_warn(f.h, "two");
    assert_int_equal(f.n_replies, 2);
    handler_warn(f.h, "three");
    ask_messages("s3");
    assert_int_equal(n_warnings(&f.replies[2]), 1);
}

static void test_exit_lets_go_who_waits_for_messages(void **state)
{
    ask_messages("s1");
    fake_send(&f, 18, STR(""));
    assert_int_equal(f.n_replies, 1);
    assert_int_equal(f.replies[0].when, REPLY_WHEN_WRITTEN);
    assert_int_equal(n_warnings(&f.replies[0]), 0);
    ask_messages("s2");
    assert_int_equal(f.n_replies, 2);
}

static void test_too_many_messages_are_counted_out(void **state)
{
    for (int i = 0; i < 200; i++)
        handler_warn(f.h, "x");
    Pb__Result *r = fake_answer(&f, 23, STR(""));
    assert_int_equal(r->response->internal_messages_response->messages->n_warning, 129);
}

static void test_a_cancelled_wait_gets_nothing(void **state)
{
    ask_messages("s1");
    ask_messages("s2");
    f.next_connection_id = 77;
    ask_messages("s3");
    fake_request(&f, 21, STR("\x0a\x02s2"));
    handler_cancel(f.h, 77); /* s3 */
    handler_warn(f.h, "one");
    handler_warn(f.h, "two");
    assert_int_equal(f.n_replies, 1);
    assert_string_equal(f.replies[0].to.mailbox_slot, "s1");
}

/* -- packages -------------------------------------------------------------------------------- */

static void test_packages_become_a_file(void **state)
{
    char dir[] = "/tmp/tare-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    f.settings.files_dir = dir;
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, 1, STR("\x0a\x05numpy\x12\x03"
                                 "2.0"));
    wire_buf_bytes(&body, 1, STR("\x0a\x01z\x12\x01"
                                 "1"));
    fake_request(&f, 24, buf_str(&body));
    assert_int_equal(f.n_records, 0);
    fake_run_jobs(&f);
    assert_string_equal(fake_record(&f, 0), "1 files requirements.txt/0/1");
    char path[64];
    snprintf(path, sizeof path, "%s/requirements.txt", dir);
    AUTO_BUF text = {0};
    assert_int_equal(os_read_file(path, 1000, &text), 0);
    assert_string_equal(buf_z(&text), "numpy==2.0\nz==1\n");
    unlink(path);
    rmdir(dir);
}

static void test_packages_that_cannot_be_written_leave_no_record(void **state)
{
    f.settings.files_dir = "/nowhere/at/all";
    fake_request(&f, 24, STR(""));
    fake_run_jobs(&f);
    assert_int_equal(f.n_records, 0);
}

/* A reader of the journal stops at the exit record: nothing may come after it. */
static void test_exit_waits_for_records_of_files_even_when_closed(void **state)
{
    for (int closed = 0; closed < 2; closed++) {
        char dir[] = "/tmp/tare-test-XXXXXX", path[64];
        assert_non_null(mkdtemp(dir));
        f.settings.files_dir = dir;
        fake_request(&f, 24, STR(""));
        fake_ask(&f, 18, STR(""), "slot");
        assert_int_equal(f.n_records + f.n_replies, 0);
        if (closed)
            handler_close(f.h, f.now_ns);
        assert_int_equal(f.n_records, 0);
        fake_run_jobs(&f);
        assert_string_equal(fake_record(&f, 0), "1 files requirements.txt/0/1");
        assert_non_null(strstr(fake_record(&f, f.n_records - 1), " exit"));
        assert_int_equal(f.n_replies, 1);
        snprintf(path, sizeof path, "%s/requirements.txt", dir);
        unlink(path);
        rmdir(dir);
        stop(state);
        start(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_the_header_says_who_writes),
        T(test_a_run_record_is_kept_and_answered),
        T(test_the_answers_config_is_a_tree),
        T(test_a_fork_starts_behind_its_branch_point),
        T(test_attach_answers_the_run_that_started),
        T(test_exit_is_answered_when_all_is_written),
        T(test_a_second_exit_is_refused),
        T(test_close_writes_what_is_open_once),
        T(test_poll_exit_is_done_after_exit),
        T(test_who_waits_for_messages_gets_the_next),
        T(test_exit_lets_go_who_waits_for_messages),
        T(test_too_many_messages_are_counted_out),
        T(test_a_cancelled_wait_gets_nothing),
        T(test_exit_waits_for_records_of_files_even_when_closed),
        T(test_packages_become_a_file),
        T(test_packages_that_cannot_be_written_leave_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
