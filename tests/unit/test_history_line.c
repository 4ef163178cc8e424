/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "base/json.h"
#include "record/history_line.h"
#include "record/wire.h"

#include <stdio.h>

static struct history_line h, q; /* q: the same, quoted */
static struct buf record, line;

static int setup(void **state)
{
    history_line_init(&h, 0, 1);
    history_line_init(&q, 0, 1);
    buf_clear(&record);
    buf_clear(&line);
    return 0;
}

static int teardown(void **state)
{
    history_line_fini(&h);
    history_line_fini(&q);
    buf_fini(&record);
    buf_fini(&line);
    return 0;
}

static void item(const char *key, const char *json)
{
    size_t mark = wire_buf_begin(&record, 1);
    char copy[256];
    snprintf(copy, sizeof copy, "%s", key);
    if (strchr(copy, '/')) {
        for (char *at = strtok(copy, "/"); at; at = strtok(NULL, "/"))
            wire_buf_bytes(&record, 2, str_of(at));
    } else {
        wire_buf_bytes(&record, 1, str_of(copy));
    }
    wire_buf_bytes(&record, 16, str_of(json));
    wire_buf_end(&record, mark);
}

/* The record's line quoted is its line in quotes. */
static void assert_quoted_alike(int expected_rc)
{
    AUTO_BUF quoted = {0}, expected = {0};
    int64_t step;
    uint32_t n_bad;
    size_t n;
    buf_puts(&quoted, "before");
    int rc = history_line_put_quoted(&q, buf_str(&record), &quoted, &n, &step, &n_bad);
    assert_int_equal(rc, expected_rc);
    assert_int_equal(q.next_step, h.next_step);
    buf_puts(&expected, "before");
    if (!rc) {
        json_put_string(&expected, buf_str(&line));
        assert_int_equal(n, line.len);
    }
    assert_string_equal(buf_z(&quoted), buf_z(&expected));
}

/* The line of the record, which is then empty again. */
static const char *put(void)
{
    int64_t step;
    uint32_t n_bad;
    buf_clear(&line);
    assert_int_equal(history_line_put(&h, buf_str(&record), &line, &step, &n_bad), 0);
    assert_quoted_alike(0);
    buf_clear(&record);
    return buf_z(&line);
}

static void test_values_are_copied_as_logged(void **state)
{
    item("loss", "0.10000000000000001");
    item("big", "1e400");
    item("nan", "NaN");
    item("inf", "-Infinity");
    item("text", "\"a\\nb\"");
    item("list", "[1, 2.0]");
    item("quo\"te", "null");
    item("_step", "0");
    assert_string_equal(put(), "{\"loss\":0.10000000000000001,\"big\":1e400,\"nan\":NaN,"
                               "\"inf\":-Infinity,\"text\":\"a\\nb\",\"list\":[1, 2.0],"
                               "\"quo\\\"te\":null,\"_step\":0}");
}

static void test_steps_only_grow(void **state)
{
    item("_step", "5");
    assert_string_equal(put(), "{\"_step\":5}");
    item("a", "1");
    item("_step", "3");
    assert_string_equal(put(), "{\"a\":1,\"_step\":6}");
    item("a", "1");
    assert_string_equal(put(), "{\"a\":1,\"_step\":7}");
    item("_step", "8.0");
    assert_string_equal(put(), "{\"_step\":8}");
    item("_step", "100");
    assert_string_equal(put(), "{\"_step\":100}");
    assert_int_equal(h.next_step, 101);
}

static void test_a_run_may_start_later(void **state)
{
    h.next_step = q.next_step = 40;
    item("a", "1");
    assert_string_equal(put(), "{\"a\":1,\"_step\":40}");
}

static void test_nested_keys_become_objects(void **state)
{
    item("train/loss", "1");
    item("x", "2");
    item("train/acc/top1", "3");
    item("val/loss", "4");
    item("train/acc/top5", "5");
    item("_step", "9");
    assert_string_equal(put(), "{\"x\":2,\"val\":{\"loss\":4},\"train\":{\"acc\":{\"top1\":3,\"top5\":5},"
                               "\"loss\":1},\"_step\":9}");
}

static void test_an_object_is_spread_and_an_empty_one_is_nothing(void **state)
{
    item("o", "{\"a\": 1, \"b\": {\"c\": [\n1]}}");
    item("e", "{}");
    assert_string_equal(put(), "{\"o\":{\"a\":1,\"b\":{\"c\":[ 1]}},\"_step\":0}");
}

static void test_typed_values_are_written_out(void **state)
{
    size_t mark = wire_buf_begin(&record, 1);
    wire_buf_bytes(&record, 1, STR("n"));
    wire_buf_varint(&record, 5, 6); /* zigzag of 3 */
    wire_buf_end(&record, mark);
    assert_string_equal(put(), "{\"n\":3,\"_step\":0}");
}

static void test_what_is_no_json_is_left_out(void **state)
{
    int64_t step;
    uint32_t n_bad;
    item("bad", "1,\"x\":2");
    item("good", "1");
    assert_int_equal(history_line_put(&h, buf_str(&record), &line, &step, &n_bad), 0);
    assert_int_equal(n_bad, 1);
    assert_quoted_alike(0);
    assert_string_equal(buf_z(&line), "{\"good\":1,\"_step\":0}");
}

static void test_a_malformed_record_gives_no_line(void **state)
{
    int64_t step;
    uint32_t n_bad;
    item("a", "1");
    record.len--;
    assert_int_equal(history_line_put(&h, buf_str(&record), &line, &step, &n_bad), TARE_EFORMAT);
    assert_int_equal(line.len, 0);
    assert_int_equal(h.next_step, 0);
    assert_quoted_alike(TARE_EFORMAT);
}

/* Rows after another, each with keys where another row had others. */
static void test_keys_change_from_row_to_row(void **state)
{
    static const char *const keys[] = {"a", "b\"\\", "loss", "los", "_step", "n/x", "\xc3\xa9", "s\n", ""};
    static const char *const values[] = {"1", "-0.125e-300", "\"t\\u00e9\"", "[1, \"a\"]", "NaN", "7", "01", "",
                                         "1234567890123456789012345", "{}", "-", "1.", "2e", "12345678", "1 "};
    uint32_t chance = 1;
    for (int row = 0; row < 3000; row++) {
        int n_items = (int)((chance = chance * 1664525 + 1013904223) >> 28);
        for (int i = 0; i < n_items; i++) {
            uint32_t c = (chance = chance * 1664525 + 1013904223) >> 8;
            /* mostly what stood there */
            size_t key = c % 4 ? (size_t)i % 5 : c / 4 % 9, value = c / 64 % 2 ? c / 128 % 15 : c / 128 % 2;
            item(keys[key], values[value]);
        }
        put();
    }
}

static void test_a_long_row(void **state)
{
    char key[40];
    for (int row = 0; row < 3; row++) {
        for (int i = 0; i < 9000; i++) {
            snprintf(key, sizeof key, "metric %d of a long row", i);
            item(key, "1");
        }
        const char *text = put();
        assert_int_equal(strlen(text), line.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_are_copied_as_logged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steps_only_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_may_start_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nested_keys_become_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_object_is_spread_and_an_empty_one_is_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_typed_values_are_written_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_json_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_malformed_record_gives_no_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_change_from_row_to_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_long_row, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
