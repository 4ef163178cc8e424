/* SPDX-License-Identifier: MIT */
/* What Go's yaml.v3 makes of the same values. */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "record/yaml.h"

static void check(const char *json, const char *want)
{
    AUTO_BUF out = {0};
    assert_int_equal(yaml_put_json(str_of(json), &out), 0);
    assert_string_equal(buf_z(&out), want);
}

static void test_levels_are_four_blanks_and_two_behind_a_dash(void **state)
{
    check("{\"a\":{\"b\":[1,[2,3],{\"d\":[4],\"c\":{}}],\"e\":[]}}",
          "a:\n    b:\n        - 1\n        - - 2\n          - 3\n        - c: {}\n          d:\n"
          "            - 4\n    e: []\n");
}

static void test_keys_stand_in_natural_order(void **state)
{
    check("{\"a10\":1,\"a9\":2,\"B\":3,\"_x\":4,\"10\":5,\"9\":6}",
          "_x: 4\n\"9\": 6\n\"10\": 5\nB: 3\na9: 2\na10: 1\n");
}

static void test_numbers_lose_a_useless_fraction(void **state)
{
    check("[1.0,0.1,1e-5,1234567.0,100000.0,1e21,12345678901234567,NaN,-Infinity]",
          "- 1\n- 0.1\n- 1e-05\n- 1.234567e+06\n- 100000\n- 1e+21\n- 12345678901234567\n- .nan\n- -.inf\n");
}

static void test_strings_are_quoted_only_where_they_must_be(void **state)
{
    check("[\"x\",\"\",\"true\",\"yes\",\"1.5\",\"0x1f\",\"1:30\",\"2020-1-2\",\"a: b\",\"a:b\",\"-x\",\"- x\"]",
          "- x\n- \"\"\n- \"true\"\n- \"yes\"\n- \"1.5\"\n- \"0x1f\"\n- \"1:30\"\n- \"2020-1-2\"\n- 'a: b'\n"
          "- a:b\n- -x\n- '- x'\n");
    check("[\"it's #1\",\"tab\\t\",\"0.31.0\",\" x\"]", "- 'it''s #1'\n- \"tab\\t\"\n- 0.31.0\n- ' x'\n");
}

static void test_lines_are_literal(void **state)
{
    check("{\"a\":{\"v\":\"x\\ny\"},\"b\":\"x\\n\",\"c\":[\"p\\nq\"],\"d\":\"x\\n\\n\"}",
          "a:\n    v: |-\n        x\n        y\nb: |\n    x\nc:\n    - |-\n      p\n      q\nd: |+\n    x\n\n");
}

static void test_what_is_no_json_is_refused(void **state)
{
    AUTO_BUF out = {0};
    assert_int_equal(yaml_put_json(STR("{\"a\":"), &out), TARE_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_are_four_blanks_and_two_behind_a_dash),
        cmocka_unit_test(test_keys_stand_in_natural_order),
        cmocka_unit_test(test_numbers_lose_a_useless_fraction),
        cmocka_unit_test(test_strings_are_quoted_only_where_they_must_be),
        cmocka_unit_test(test_lines_are_literal),
        cmocka_unit_test(test_what_is_no_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
