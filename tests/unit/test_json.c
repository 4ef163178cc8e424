/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "base/json.h"

static void test_accepts_what_python_writes(void **state)
{
    static const char *const good[] = {
        "0", "-1.5e+10", "1E5", "\"a\\u00e9\\n\"", "[]", "{}", "[1, 2,[3]]", " {\"a\": {\"b\": [null]}} ",
        "NaN", "-Infinity", "[Infinity]", "true", "{\"\":0}", "[[],{}]",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!json_valid(str_of(good[i])))
            fail_msg("refused %s", good[i]);
}

static void test_refuses_what_is_no_json(void **state)
{
    static const char *const bad[] = {
        "", " ", "01", "1.", ".5", "+1", "1e", "-", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"a\nb\"", "[1,]",
        "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "[1 2]", "[1}", "{\"a\":1]", "tru", "nul", "1 2", "nan",
        "{\"a\":1,}", "]", "-NaN",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (json_valid(str_of(bad[i])))
            fail_msg("accepted %s", bad[i]);
}

static void assert_trimmed(struct str text, struct str expected)
{
    text = json_trim(text);
    assert_int_equal(text.n, expected.n);
    if (expected.n)
        assert_memory_equal(text.p, expected.p, expected.n);
}

static void test_only_white_space_of_json_is_trimmed(void **state)
{
    assert_trimmed(STR(" \t\r\n [1, 2]\n\r\t "), STR("[1, 2]"));
    assert_trimmed(STR("\v1\f"), STR("\v1\f"));
    assert_trimmed(str_make("1\0 ", 3), str_make("1\0", 2));
    assert_trimmed(STR(" \n"), (struct str){0});
    assert_trimmed((struct str){0}, (struct str){0});
}

static void test_depth_is_limited(void **state)
{
    char deep[2 * JSON_MAX_DEPTH + 4];
    memset(deep, '[', JSON_MAX_DEPTH);
    deep[JSON_MAX_DEPTH] = '0';
    memset(deep + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH);
    assert_true(json_valid(str_make(deep, 2 * JSON_MAX_DEPTH + 1)));
    memset(deep, '[', JSON_MAX_DEPTH + 1);
    deep[JSON_MAX_DEPTH + 1] = '0';
    memset(deep + JSON_MAX_DEPTH + 2, ']', JSON_MAX_DEPTH + 1);
    assert_false(json_valid(str_make(deep, 2 * JSON_MAX_DEPTH + 3)));
}

static void test_walks_members_and_elements(void **state)
{
    struct str text = STR("\"k\\\"1\" : [1, {\"x\":2}] , \"b\":null} tail");
    const char *at = text.p, *end = text.p + text.n;
    struct json_item item;
    assert_int_equal(json_next_member(&at, end, &item), 1);
    assert_true(str_eq(item.key, STR("k\\\"1")));
    assert_true(str_eq(item.value, STR("[1, {\"x\":2}]")));
    const char *in = item.value.p + 1;
    struct json_item element;
    assert_int_equal(json_next_element(&in, end, &element), 1);
    assert_true(str_eq(element.value, STR("1")));
    assert_int_equal(json_next_element(&in, end, &element), 1);
    assert_int_equal(json_next_element(&in, end, &element), 0);
    assert_int_equal(json_next_member(&at, end, &item), 1);
    assert_true(str_eq(item.value, STR("null")));
    assert_int_equal(json_next_member(&at, end, &item), 0);
    assert_memory_equal(at, " tail", 5);
    at = "\"a\":1,}";
    assert_int_equal(json_next_member(&at, at + 7, &item), TARE_EFORMAT);
}

static void test_strings_survive_a_round_trip(void **state)
{
    AUTO_BUF out = {0};
    AUTO_BUF back = {0};
    struct str raw = str_make("a\"\\\x01\n\t\x7f\0z\xc3\xa9", 11);
    assert_int_equal(json_put_string(&out, raw), 0);
    assert_true(json_valid(buf_str(&out)));
    assert_int_equal(json_unescape(&back, str_make(out.data + 1, out.len - 2)), 0);
    assert_true(str_eq(buf_str(&back), raw));
    buf_clear(&back);
    assert_int_equal(json_unescape(&back, STR("\\ud83d\\ude00 \\ud83d \\u00e9\\/")), 0);
    assert_true(str_eq(buf_str(&back), STR("\xf0\x9f\x98\x80 \xef\xbf\xbd \xc3\xa9/")));
    assert_int_equal(json_unescape(&back, STR("\\")), TARE_EFORMAT);
    assert_int_equal(json_unescape(&back, STR("\\u12")), TARE_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_what_python_writes),
        cmocka_unit_test(test_refuses_what_is_no_json),
        cmocka_unit_test(test_only_white_space_of_json_is_trimmed),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_walks_members_and_elements),
        cmocka_unit_test(test_strings_survive_a_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
