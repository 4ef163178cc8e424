/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "record/config.h"
#include "record/wire.h"

static struct config c;

static int start(void **state)
{
    config_init(&c, 1);
    return 0;
}

static int stop(void **state)
{
    config_fini(&c);
    return 0;
}

/* key, JSON (NULL removes), ..., NULL; keys with '/' are nested. */
static size_t apply(const char *key, const char *json)
{
    AUTO_BUF item = {0};
    AUTO_BUF record = {0};
    const char *slash = strchr(key, '/');
    if (slash) {
        wire_buf_bytes(&item, 2, str_make(key, (size_t)(slash - key)));
        wire_buf_bytes(&item, 2, str_of(slash + 1));
    } else {
        wire_buf_bytes(&item, 1, str_of(key));
    }
    if (json)
        wire_buf_bytes(&item, 16, str_of(json));
    wire_buf_bytes(&record, json ? 1 : 2, buf_str(&item));
    size_t n_bad;
    assert_int_equal(config_apply(&c, buf_str(&record), &n_bad), 0);
    return n_bad;
}

static void check(const char *want)
{
    AUTO_BUF json = {0};
    config_put_json(&c, &json);
    assert_string_equal(buf_z(&json), want);
}

static void test_values_replace_each_other(void **state)
{
    apply("a", "1");
    apply("b", "[1, 2]");
    apply("a", "\"x\"");
    apply("c", "null");
    check("{\"a\":\"x\",\"b\":[1, 2],\"c\":null}");
}

static void test_objects_are_merged(void **state)
{
    apply("a", "{\"x\": 1, \"y\": {\"z\": 2}}");
    apply("a", "{\"y\": {\"w\": 3}}");
    apply("a/v", "4");
    apply("empty", "{}");
    check("{\"a\":{\"x\":1,\"y\":{\"z\":2,\"w\":3},\"v\":4}}");
    apply("a", "5");
    check("{\"a\":5}");
}

static void test_removal_takes_all_below(void **state)
{
    apply("a", "{\"x\": 1, \"y\": 2}");
    apply("b", "1");
    apply("a/x", NULL);
    check("{\"a\":{\"y\":2},\"b\":1}");
    apply("a", NULL);
    apply("nothing", NULL);
    check("{\"b\":1}");
}

static void test_keys_with_escapes(void **state)
{
    apply("a", "{\"q\\\"\\u00e9\": 1}");
    check("{\"a\":{\"q\\\"\xc3\xa9\":1}}");
}

static void test_bad_items_are_counted(void **state)
{
    assert_int_equal(apply("a", "{"), 1);
    assert_int_equal(apply("", "1"), 1);
    check("{}");
    size_t n_bad;
    assert_true(config_apply(&c, STR("\x0a\x7f"), &n_bad) < 0);
}

static void test_deep_values_stop_somewhere(void **state)
{
    AUTO_BUF json = {0};
    for (int i = 0; i < 120; i++)
        buf_puts(&json, "{\"k\":");
    buf_putc(&json, '1');
    for (int i = 0; i < 120; i++)
        buf_putc(&json, '}');
    assert_int_equal(apply("deep", buf_z(&json)), 0);
    AUTO_BUF out = {0};
    config_put_json(&c, &out);
    assert_int_equal(out.len, json.len + sizeof "{\"deep\":}" - 1);
}

static void test_telemetry_is_keyed_by_numbers(void **state)
{
    AUTO_BUF t = {0};
    AUTO_BUF json = {0};
    wire_buf_bytes(&t, 1, STR("\x08\x01\x18\x01\x10\x00")); /* imports: 1, 3 set; 2 false */
    wire_buf_bytes(&t, 9, STR("\x0a\x01x"));
    wire_buf_bytes(&t, 12, STR("9.9"));
    wire_buf_bytes(&t, 13, STR("linux"));
    wire_buf_bytes(&t, 200, STR("\x0a\x01s"));
    config_put_telemetry(buf_str(&t), STR("0.31.0"), &json);
    assert_string_equal(buf_z(&json),
                        "{\"1\":[1,3],\"9\":{\"1\":\"x\"},\"13\":\"linux\",\"12\":\"0.31.0\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_values_replace_each_other), T(test_objects_are_merged),
        T(test_removal_takes_all_below),   T(test_keys_with_escapes),
        T(test_bad_items_are_counted),     T(test_deep_values_stop_somewhere),
        T(test_telemetry_is_keyed_by_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
