/* SPDX-License-Identifier: MIT */
/* What a backend is told of a run, and what its answers change: bytes to bytes. */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "record/wire.h"
#include "service/stream/sender_run.h"
#include "service/upload/json_path.h"

#include <stdlib.h>

static struct run_params p;
static struct config c;
static struct run_error e;
static struct buf out;

static int setup(void **state)
{
    config_init(&c, 1);
    return 0;
}

static int teardown(void **state)
{
    run_params_fini(&p);
    config_fini(&c);
    buf_fini(&out);
    e = (struct run_error){0};
    return 0;
}

static void put_text(struct buf *to, uint32_t field, const char *text)
{
    wire_buf_bytes(to, field, str_of(text));
}

static void take_record(bool with_tags)
{
    AUTO_BUF r = {0}, git = {0};
    put_text(&r, 1, "abc");
    put_text(&r, 3, "proj");
    put_text(&r, 8, "first \"try\"");
    put_text(&r, 13, "host1");
    if (with_tags) {
        put_text(&r, 10, "a");
        put_text(&r, 10, "b");
    }
    put_text(&git, 1, "https://example.com/x.git");
    put_text(&git, 2, "c0ffee");
    wire_buf_bytes(&r, 21, buf_str(&git));
    run_update(&p, buf_str(&r), STR(""));
}

static const char *upsert(bool with_params, bool with_config)
{
    buf_clear(&out);
    run_put_upsert(&p, with_params, with_config ? &c : NULL, &out);
    assert_true(json_valid(buf_str(&out)));
    return buf_z(&out);
}

static void check(const char *path, const char *want)
{
    char *text = json_string_at(buf_str(&out), path);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void test_the_first_upsert_says_all(void **state)
{
    take_record(true);
    AUTO_BUF path = {0};
    summary_path(&path, &STR("lr"), 1);
    config_set(&c, buf_str(&path), STR("0.1"));
    upsert(true, true);
    check("name", "abc");
    check("project", "proj");
    check("displayName", "first \"try\"");
    check("repo", "https://example.com/x.git");
    check("commit", "c0ffee");
    check("tags.1", "b");
    check("config", "{\"lr\":{\"value\":0.1}}");
    assert_int_equal(json_at(buf_str(&out), "entity").n, 0);
    assert_non_null(strstr(buf_z(&out), "\"summaryMetrics\":null"));
}

static void test_a_change_of_the_config_names_the_run_and_no_more(void **state)
{
    take_record(true);
    upsert(false, true);
    check("name", "abc");
    check("config", "{}");
    assert_int_equal(json_at(buf_str(&out), "displayName").n, 0);
    assert_int_equal(json_at(buf_str(&out), "tags").n, 0);
    upsert(true, false);
    assert_int_equal(json_at(buf_str(&out), "config").n, 0);
}

static void test_a_later_record_changes_what_it_names(void **state)
{
    take_record(true);
    AUTO_BUF r = {0};
    put_text(&r, 9, "notes");
    put_text(&r, 10, "z");
    run_update(&p, buf_str(&r), STR(""));
    upsert(true, false);
    check("notes", "notes");
    check("tags.0", "z");
    check("displayName", "first \"try\"");
    assert_int_equal(json_at(buf_str(&out), "tags.1").n, 0);
}

static void test_sync_renames_tags_and_replaces_names(void **state)
{
    take_record(true);
    const struct tag_rename tags[] = {{"a", "x"}, {"b", ""}};
    const struct sender_changes changes = {.entity = "team", .tags = tags, .n_tags = 2};
    run_change(&p, &changes);
    upsert(true, false);
    check("entity", "team");
    check("tags.0", "x");
    assert_int_equal(json_at(buf_str(&out), "tags.1").n, 0);
}

static void test_the_answer_fills_in_what_the_backend_chose(void **state)
{
    take_record(false);
    run_take_upsert(&p, STR("{\"upsertBucket\":{\"bucket\":{\"id\":\"SID\",\"name\":\"abc\",\"displayName\":\"d-1\","
                            "\"historyLineCount\":7,\"project\":{\"name\":\"proj\",\"entity\":{\"name\":\"me\"}}}}}"));
    assert_string_equal(run_text(&p, RUN_TEXT_ENTITY), "me");
    assert_string_equal(run_text(&p, RUN_TEXT_STORAGE_ID), "SID");
    assert_string_equal(run_text(&p, RUN_TEXT_DISPLAY_NAME), "d-1");
    assert_int_equal(p.offsets.history, 7);
    run_take_upsert(&p, STR("{}"));
    assert_string_equal(run_text(&p, RUN_TEXT_ENTITY), "me");
}

static void test_the_client_gets_its_record_back_with_what_is_known(void **state)
{
    take_record(true);
    AUTO_BUF r = {0};
    put_text(&r, 3, "other");
    put_text(&r, 12, "sweep");
    wire_buf_varint(&r, 99, 5); /* not known here */
    run_set_text(&p, RUN_TEXT_ENTITY, STR("me"));
    p.starting_step = 4;
    p.runtime_ms = 9500;
    p.resumed = true;
    buf_puts(&p.summary, "{\"loss\":0.5}");
    run_put_record(&p, &c, buf_str(&r), &out);
    struct str run = buf_str(&out);
    assert_true(str_eqz(wire_find_bytes(run, 2), "me"));
    assert_true(str_eqz(wire_find_bytes(run, 3), "proj"));
    assert_int_equal(wire_find_varint(run, 14), 4);
    assert_int_equal(wire_find_varint(run, 20), 9);
    assert_int_equal(wire_find_varint(run, 18), 1);
    assert_int_equal(wire_find_varint(run, 99), 5);
    struct str item = wire_find_bytes(wire_find_bytes(run, 5), 1);
    assert_true(str_eqz(wire_find_bytes(item, 1), "loss"));
    assert_true(str_eqz(wire_find_bytes(item, 16), "0.5"));
}

/* -- runs that go on ------------------------------------------------------------------------------ */

#define BUCKET(more)                                                                               \
    "{\"model\":{\"bucket\":{\"id\":\"SID\",\"wandbConfig\":\"{\\\"t\\\":{}}\",\"config\":\"{\\\"lr\\\":{\\\"value\\\":1}}\"," \
    "\"historyLineCount\":3,\"eventsLineCount\":2,\"logLineCount\":5,\"tags\":[\"t1\"],\"notes\":\"n\"," more "}}}"
#define TAILS                                                                                       \
    "\"historyTail\":\"[\\\"{\\\\\\\"_step\\\\\\\":7,\\\\\\\"_runtime\\\\\\\":12.5}\\\"]\","                 \
    "\"eventsTail\":\"[]\",\"summaryMetrics\":\"{\\\"_step\\\":6,\\\"loss\\\":0.1,\\\"_wandb\\\":{\\\"runtime\\\":20}}\""

static void test_a_resumed_run_goes_on_where_it_was(void **state)
{
    take_record(false);
    assert_int_equal(run_take_resume(&p, &c, STR(BUCKET(TAILS)), STR("allow"), &e), 0);
    assert_int_equal(p.starting_step, 8);
    assert_int_equal(p.runtime_ms, 20000);
    assert_int_equal(p.offsets.history, 3);
    assert_int_equal(p.offsets.console, 5);
    assert_true(p.resumed);
    assert_string_equal(run_text(&p, RUN_TEXT_NOTES), "n");
    assert_int_equal(p.n_tags, 1);
    config_put_json(&c, &out);
    assert_string_equal(buf_z(&out), "{\"lr\":1}");
}

static void test_stale_steps_give_way_to_the_count_of_rows(void **state)
{
    take_record(false);
    assert_int_equal(run_take_resume(&p, &c,
                                     STR(BUCKET("\"historyTail\":\"[]\",\"eventsTail\":\"[]\",\"summaryMetrics\":\"null\"")),
                                     STR("must"), &e),
                     0);
    assert_int_equal(p.starting_step, 3);
}

static void test_whether_a_run_may_exist_depends_on_the_mode(void **state)
{
    take_record(false);
    struct str none = STR("{\"model\":{\"bucket\":null}}");
    struct str never_ran = STR("{\"model\":{\"bucket\":{\"id\":\"x\",\"wandbConfig\":\"{}\"}}}");
    assert_int_equal(run_take_resume(&p, &c, none, STR("allow"), &e), 0);
    assert_int_equal(run_take_resume(&p, &c, never_ran, STR("never"), &e), 0);
    assert_int_equal(run_take_resume(&p, &c, none, STR("must"), &e), -1);
    assert_int_equal(e.code, 3);
    assert_non_null(strstr(e.message, "Run (abc) does not exist"));
    assert_int_equal(run_take_resume(&p, &c, STR(BUCKET(TAILS)), STR("never"), &e), -1);
    assert_non_null(strstr(e.message, "Run (abc) already exists"));
}

static void test_half_an_answer_is_an_error(void **state)
{
    take_record(false);
    assert_int_equal(run_take_resume(&p, &c, STR(BUCKET("\"eventsTail\":\"[]\"")), STR("allow"), &e), -1);
    assert_string_equal(e.message, "Error initializing run: no summary metrics found in resume response");
    assert_int_equal(run_take_resume(&p, &c, STR(BUCKET("\"eventsTail\":\"[\\\"{\\\"]\"")), STR("allow"), &e), -1);
}

static void test_forks_and_rewinds_begin_behind_their_step(void **state)
{
    struct run_branch b = {.run = STR("old"), .metric = STR("_step"), .value = 9};
    take_record(false);
    assert_int_equal(run_fork(&p, &b, &e), 0);
    assert_int_equal(p.starting_step, 10);
    assert_true(p.forked);
    b.metric = STR("loss");
    assert_int_equal(run_fork(&p, &b, &e), -1);
    assert_int_equal(e.code, 4);
    assert_int_equal(run_rewind(&p, &b, &e), -1);
    assert_int_equal(run_take_rewind(&p, &c, STR("{\"rewindRun\":{\"rewoundRun\":{\"id\":\"S\",\"name\":\"abc\","
                                                 "\"config\":\"{\\\"k\\\":{\\\"value\\\":2}}\",\"historyLineCount\":10}}}"), &e), 0);
    assert_int_equal(p.offsets.history, 10);
    assert_int_equal(run_take_rewind(&p, &c, STR("{}"), &e), -1);
    assert_string_equal(e.message, "failed to rewind run: run not found");
    b.metric = STR("_step");
    run_put_rewind_variables(&p, &b, &out);
    assert_string_equal(buf_z(&out), "{\"runName\":\"abc\",\"entity\":null,\"project\":\"proj\","
                                     "\"metricName\":\"_step\",\"metricValue\":9}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_the_first_upsert_says_all),
        T(test_a_change_of_the_config_names_the_run_and_no_more),
        T(test_a_later_record_changes_what_it_names),
        T(test_sync_renames_tags_and_replaces_names),
        T(test_the_answer_fills_in_what_the_backend_chose),
        T(test_the_client_gets_its_record_back_with_what_is_known),
        T(test_a_resumed_run_goes_on_where_it_was),
        T(test_stale_steps_give_way_to_the_count_of_rows),
        T(test_whether_a_run_may_exist_depends_on_the_mode),
        T(test_half_an_answer_is_an_error),
        T(test_forks_and_rewinds_begin_behind_their_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
