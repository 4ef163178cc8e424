/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "record/config.h"
#include "record/metric.h"
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

static void test_an_item_without_a_key_has_the_empty_one(void **state)
{
    apply("", "1");
    apply("a", "{\"\": 2}");
    check("{\"\":1,\"a\":{\"\":2}}");
    apply("", NULL);
    check("{\"a\":{\"\":2}}");
}

static void test_bad_items_are_counted(void **state)
{
    assert_int_equal(apply("a", "{"), 1);
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

static void test_a_backend_gets_values_wrapped(void **state)
{
    apply("a", "1");
    apply("b/c", "\"x\"");
    AUTO_BUF json = {0};
    config_put_wrapped(&c, &json);
    assert_string_equal(buf_z(&json), "{\"a\":{\"value\":1},\"b\":{\"value\":{\"c\":\"x\"}}}");
}

static void test_a_run_that_goes_on_keeps_what_is_not_set(void **state)
{
    apply("lr", "0.1");
    apply("net/depth", "3");
    apply("_wandb/t", "1");
    assert_int_equal(config_merge_resumed(&c, STR("{\"lr\":{\"value\":9},\"old\":{\"value\":[1]},"
                                                  "\"net\":{\"value\":{\"width\":5}},\"odd\":{},"
                                                  "\"_wandb\":{\"value\":{\"viz\":{\"p\":2},\"m\":[]}}}")),
                     0);
    check("{\"lr\":0.1,\"net\":{\"depth\":3},\"_wandb\":{\"t\":1,\"viz\":{\"p\":2}},\"old\":[1]}");
    assert_int_equal(config_merge_resumed(&c, STR("null")), 0);
    assert_int_equal(config_merge_resumed(&c, STR("{\"a\":1}")), TARE_EFORMAT);
    assert_int_equal(config_merge_resumed(&c, STR("[]")), TARE_EFORMAT);
}

static void define(struct metrics *m, struct summary *s, const char *name, const char *step,
                   const char *flags, size_t n_flags)
{
    AUTO_BUF record = {0};
    bool glob = strchr(name, '*') != NULL;
    wire_buf_bytes(&record, glob ? 2 : 1, str_of(name));
    if (step)
        wire_buf_bytes(&record, 4, str_of(step));
    wire_buf_bytes(&record, 7, str_make(flags, n_flags));
    assert_int_equal(metrics_apply(m, s, buf_str(&record)), 0);
}

static void test_definitions_point_to_their_steps(void **state)
{
    struct metrics m;
    struct summary s;
    metrics_init(&m, 1);
    summary_init(&s, 1);
    define(&m, &s, "loss", "epoch", "\x08\x01", 2);
    define(&m, &s, "val/*", "epoch", "", 0);
    define(&m, &s, "acc", NULL, "\x30\x01", 2);
    AUTO_BUF json = {0};
    metrics_put_config(&m, false, &json);
    assert_string_equal(buf_z(&json), "[{\"1\":\"loss\",\"5\":2,\"6\":[3],\"7\":[1]},"
                                      "{\"1\":\"epoch\",\"6\":[],\"7\":[]},"
                                      "{\"1\":\"acc\",\"6\":[3],\"7\":[6]},"
                                      "{\"2\":\"val/*\",\"5\":2,\"6\":[],\"7\":[]}]");
    metrics_fini(&m);
    summary_fini(&s);
}

static void test_what_globs_made_stands_in_their_place(void **state)
{
    struct metrics m;
    struct summary s;
    metrics_init(&m, 1);
    summary_init(&s, 1);
    define(&m, &s, "epoch", NULL, "", 0);
    define(&m, &s, "*", "epoch", "\x08\x01", 2);
    AUTO_BUF made = {0}, record = {0}, json = {0};
    wire_buf_bytes(&made, 1, STR("loss"));
    wire_buf_bytes(&made, 4, STR("epoch"));
    wire_buf_bytes(&made, 6, STR("\x10\x01\x18\x01")); /* hidden, defined */
    wire_buf_bytes(&made, 7, STR("\x08\x01"));
    wire_buf_varint(&made, 8, 2);
    wire_buf_varint(&made, 10, 1); /* expanded_from_glob */
    assert_int_equal(metrics_apply(&m, &s, buf_str(&made)), 0);
    metrics_put_config(&m, true, &json);
    assert_string_equal(buf_z(&json), "[{\"1\":\"epoch\",\"6\":[3],\"7\":[]},"
                                      "{\"1\":\"loss\",\"5\":1,\"6\":[2,3],\"7\":[1],\"8\":2}]");
    buf_clear(&json);
    metrics_put_config(&m, false, &json);
    assert_string_equal(buf_z(&json), "[{\"1\":\"epoch\",\"6\":[3],\"7\":[]},"
                                      "{\"2\":\"*\",\"5\":1,\"6\":[],\"7\":[1]}]");
    metrics_put_record(&m, metrics_find(&m, STR("loss")), &record);
    assert_true(str_eq(buf_str(&record), buf_str(&made)));
    metrics_fini(&m);
    summary_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_values_replace_each_other), T(test_objects_are_merged),
        T(test_removal_takes_all_below),   T(test_keys_with_escapes),
        T(test_an_item_without_a_key_has_the_empty_one),
        T(test_bad_items_are_counted),     T(test_deep_values_stop_somewhere),
        T(test_telemetry_is_keyed_by_numbers), T(test_a_backend_gets_values_wrapped),
        T(test_a_run_that_goes_on_keeps_what_is_not_set),
        T(test_definitions_point_to_their_steps),
        T(test_what_globs_made_stands_in_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
