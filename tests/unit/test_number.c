/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/number.h"

#include <math.h>
#include <string.h>

static void check_text(double v, const char *want)
{
    char text[NUMBER_MAX + 1];
    text[number_format_double(text, v)] = 0;
    assert_string_equal(text, want);
}

static void test_forms_are_those_of_python(void **state)
{
    check_text(1.0, "1.0");
    check_text(-0.0, "-0.0");
    check_text(0.1, "0.1");
    check_text(1e-5, "1e-05");
    check_text(0.0001, "0.0001");
    check_text(1e16, "1e+16");
    check_text(1e15, "1000000000000000.0");
    check_text(123456789012345680.0, "1.2345678901234568e+17");
    check_text(5e-324, "5e-324");
    check_text(1.7976931348623157e308, "1.7976931348623157e+308");
    check_text((double)NAN, "NaN");
    check_text((double)-INFINITY, "-Infinity");
}

static void test_every_double_reads_back_as_itself(void **state)
{
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        char text[NUMBER_MAX];
        size_t n = number_format_double(text, v);
        assert_int_equal(number_parse_double(text, n, &back), n);
        assert_memory_equal(&v, &back, sizeof v);
    }
}

static void test_integers_to_their_limits(void **state)
{
    int64_t v;
    assert_int_equal(number_parse_i64("9223372036854775807,", 20, &v), 19);
    assert_true(v == INT64_MAX);
    assert_int_equal(number_parse_i64("-9223372036854775808", 20, &v), 20);
    assert_true(v == INT64_MIN);
    assert_int_equal(number_parse_i64("9223372036854775808", 19, &v), 0);
    assert_int_equal(number_parse_i64("1.5", 3, &v), 0);
    assert_int_equal(number_parse_i64("-", 1, &v), 0);
    char text[NUMBER_MAX + 1];
    text[number_format_i64(text, INT64_MIN)] = 0;
    assert_string_equal(text, "-9223372036854775808");
}

static void test_parse_stops_where_the_number_ends(void **state)
{
    double v;
    assert_int_equal(number_parse_double("1.5e3]", 6, &v), 5);
    assert_true(v == 1500);
    assert_int_equal(number_parse_double("2.e", 3, &v), 1);
    assert_int_equal(number_parse_double("1e+", 3, &v), 1);
    assert_int_equal(number_parse_double("x", 1, &v), 0);
    assert_int_equal(number_parse_double("-Infinity", 9, &v), 9);
    assert_true(isinf(v) && v < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_are_those_of_python),
        cmocka_unit_test(test_every_double_reads_back_as_itself),
        cmocka_unit_test(test_integers_to_their_limits),
        cmocka_unit_test(test_parse_stops_where_the_number_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
