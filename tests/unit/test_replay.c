/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "journal/encoder.h"
#include "journal/reader.h"
#include "journal/replay.h"
#include "record/wire.h"

#include <stdio.h>
#include <string.h>

enum { HISTORY = 2, SUMMARY = 3, CONFIG = 5, METRIC = 12, RUN = 17, EXIT = 18 };

static struct replay r;
static char summary_json[4096], config_json[4096];

static int start(void **state)
{
    replay_init(&r, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    replay_fini(&r);
    return 0;
}

/* An item { key or nested_key (labels separated by '/', one label with '/' before it), value_json }
 */
static void put_item(struct buf *b, uint32_t field, const char *key, const char *json)
{
    size_t mark = wire_buf_begin(b, field);
    if (!strchr(key, '/')) {
        wire_buf_bytes(b, 1, str_of(key));
    } else {
        for (const char *at = key + (*key == '/'); *at;) {
            size_t n = strcspn(at, "/");
            wire_buf_bytes(b, 2, str_make(at, n));
            at += n + (at[n] != 0);
        }
    }
    if (json)
        wire_buf_bytes(b, 16, str_of(json));
    wire_buf_end(b, mark);
}

/* Give a record of `kind` with the items key, value, key, value, ..., NULL. */
static void give(uint32_t kind, const char *uuid, const char *const *pairs)
{
    AUTO_BUF b = {0};
    size_t mark = wire_buf_begin(&b, kind);
    for (; *pairs; pairs += 2)
        put_item(&b, 1, pairs[0], pairs[1]);
    wire_buf_end(&b, mark);
    if (uuid)
        wire_buf_bytes(&b, 19, str_of(uuid));
    assert_int_equal(replay_record(&r, buf_str(&b)), kind);
}

#define GIVE(kind, ...) give(kind, NULL, (const char *const[]){__VA_ARGS__, NULL})
#define GIVE_DERIVED(...)                                                                          \
    give(SUMMARY, SUMMARY_DERIVED_UUID, (const char *const[]){__VA_ARGS__, NULL})

/* define_metric(name, summary="max") */
static void define_max(const char *name)
{
    AUTO_BUF b = {0};
    size_t mark = wire_buf_begin(&b, METRIC);
    wire_buf_bytes(&b, 1, str_of(name));
    size_t inner = wire_buf_begin(&b, 7);
    wire_buf_varint(&b, 2, 1);
    wire_buf_end(&b, inner);
    wire_buf_end(&b, mark);
    assert_int_equal(replay_record(&r, buf_str(&b)), METRIC);
}

static const char *summary(void)
{
    AUTO_BUF b = {0};
    replay_settle(&r);
    summary_put_json(&r.summary, &b);
    snprintf(summary_json, sizeof summary_json, "%.*s", STR_ARG(buf_str(&b)));
    return summary_json;
}

static const char *config(void)
{
    AUTO_BUF b = {0};
    config_put_json(&r.config, &b);
    snprintf(config_json, sizeof config_json, "%.*s", STR_ARG(buf_str(&b)));
    return config_json;
}

static void test_summary_is_the_last_value_of_each_metric(void **state)
{
    GIVE(HISTORY, "a", "1", "b", "NaN");
    GIVE(HISTORY, "a", "2.5");
    assert_string_equal(summary(), "{\"a\":2.5,\"b\":NaN}");
    assert_int_equal(r.n_rows, 2);
}

static void test_definitions_shape_the_summary(void **state)
{
    define_max("a");
    GIVE(HISTORY, "a", "1");
    GIVE(HISTORY, "a", "3");
    GIVE(HISTORY, "a", "2");
    assert_string_equal(summary(), "{\"a\":{\"max\":3}}");
}

static void test_explicit_value_stays_until_the_metric_is_logged_again(void **state)
{
    GIVE(HISTORY, "a", "1");
    GIVE(SUMMARY, "a", "7");
    assert_string_equal(summary(), "{\"a\":7}");
    GIVE(HISTORY, "a", "2");
    assert_string_equal(summary(), "{\"a\":2}");
}

/* The peer writes what it derived from a row just before the row, naming labels by nested_key. */
static void test_what_the_peer_derived_does_not_count_as_explicit(void **state)
{
    define_max("a");
    GIVE(SUMMARY, "/a", "{\"max\":3}");
    GIVE(HISTORY, "/a", "3");
    GIVE(SUMMARY, "/a", "{\"max\": 3.0}");
    GIVE(HISTORY, "/a", "2");
    GIVE(SUMMARY, "/a", "{\"max\":5}");
    GIVE(HISTORY, "/a", "5");
    assert_string_equal(summary(), "{\"a\":{\"max\":5}}");
}

/* An explicit value switches a definition off; then the peer derives plain values. */
static void test_explicit_value_in_the_peers_journal(void **state)
{
    define_max("a");
    GIVE(SUMMARY, "/a", "{\"max\":3}");
    GIVE(HISTORY, "/a", "3");
    GIVE(SUMMARY, "a", "9");
    assert_string_equal(summary(), "{\"a\":9}");
    GIVE(SUMMARY, "/a", "1");
    GIVE(HISTORY, "/a", "1");
    assert_string_equal(summary(), "{\"a\":1}");
}

static void test_what_the_peer_derived_is_believed_when_its_row_is_lost(void **state)
{
    GIVE(SUMMARY, "/a", "3", "/b/c", "[1]");
    assert_string_equal(summary(), "{\"a\":3,\"b\":{\"c\":[1]}}");
}

static void test_our_checkpoints_give_what_is_no_rows(void **state)
{
    define_max("a");
    GIVE(HISTORY, "a", "4", "_runtime", "1.25", "lost", "1");
    GIVE_DERIVED("/a", "{\"max\":3}", "/_runtime", "2", "/_wandb/runtime", "2", "/lost", "5");
    assert_string_equal(summary(), "{\"a\":{\"max\":4},\"_runtime\":2,\"lost\":5,"
                                   "\"_wandb\":{\"runtime\":2}}");
    GIVE(HISTORY, "a", "6");
    assert_non_null(strstr(summary(), "\"a\":{\"max\":6}"));
}

static void test_config_merges_and_shows_null(void **state)
{
    GIVE(CONFIG, "lr", "0.1", "opt", "{\"name\":\"adam\",\"wd\":null}");
    GIVE(CONFIG, "opt", "{\"wd\":2}", "/opt/beta", "[0.9]");
    assert_string_equal(config(),
                        "{\"lr\":0.1,\"opt\":{\"name\":\"adam\",\"wd\":2,\"beta\":[0.9]}}");
}

static void test_run_and_end_are_told(void **state)
{
    AUTO_BUF b = {0};
    size_t mark = wire_buf_begin(&b, RUN);
    wire_buf_bytes(&b, 1, STR("abc"));
    wire_buf_bytes(&b, 3, STR("proj"));
    wire_buf_bytes(&b, 8, STR("a name"));
    wire_buf_bytes(&b, 10, STR("t1"));
    wire_buf_bytes(&b, 10, STR("t2"));
    wire_buf_end(&b, mark);
    assert_int_equal(replay_record(&r, buf_str(&b)), RUN);
    assert_string_equal(r.run_id, "abc");
    assert_string_equal(r.project, "proj");
    assert_string_equal(r.name, "a name");
    assert_string_equal(r.tags, "t1, t2");
    assert_false(r.exited);
    buf_clear(&b);
    mark = wire_buf_begin(&b, EXIT);
    wire_buf_varint(&b, 1, 3);
    wire_buf_end(&b, mark);
    replay_record(&r, buf_str(&b));
    assert_true(r.exited);
    assert_int_equal(r.exit_code, 3);
}

static void test_malformed_records_are_counted_and_change_nothing(void **state)
{
    GIVE(HISTORY, "a", "1");
    assert_int_equal(replay_record(&r, STR("\xff\xff\xff")), 0);
    assert_int_equal(replay_record(&r, STR("")), 0);
    GIVE(HISTORY, "a", "not json", "", "3");
    assert_int_equal(r.n_bad, 4);
    assert_string_equal(summary(), "{\"a\":1}");
}

static int64_t seen_steps;

static void on_row(void *ctx, struct replay *replay)
{
    assert_ptr_equal(ctx, &seen_steps);
    assert_true(replay->has_step);
    seen_steps += replay->step;
}

static void test_rows_come_with_their_steps(void **state)
{
    static const struct replay_events on = {.on_row = on_row};
    replay_fini(&r);
    replay_init(&r, &on, &seen_steps);
    for (uint64_t step = 5; step < 8; step++) {
        AUTO_BUF b = {0};
        size_t mark = wire_buf_begin(&b, HISTORY);
        put_item(&b, 1, "x", "1");
        size_t inner = wire_buf_begin(&b, 2);
        wire_buf_varint(&b, 1, step);
        wire_buf_end(&b, inner);
        wire_buf_end(&b, mark);
        replay_record(&r, buf_str(&b));
    }
    assert_int_equal(seen_steps, 5 + 6 + 7);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_summary_is_the_last_value_of_each_metric),
        CASE(test_definitions_shape_the_summary),
        CASE(test_explicit_value_stays_until_the_metric_is_logged_again),
        CASE(test_what_the_peer_derived_does_not_count_as_explicit),
        CASE(test_explicit_value_in_the_peers_journal),
        CASE(test_what_the_peer_derived_is_believed_when_its_row_is_lost),
        CASE(test_our_checkpoints_give_what_is_no_rows),
        CASE(test_config_merges_and_shows_null),
        CASE(test_run_and_end_are_told),
        CASE(test_malformed_records_are_counted_and_change_nothing),
        CASE(test_rows_come_with_their_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
