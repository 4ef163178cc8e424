/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/number.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void check_text(double v, const char *want)
{
    char text[NUMBER_MAX + 1];
    text[number_format_double(text, v)] = 0;
    assert_string_equal(text, want);
}

static void test_forms_are_those_the_sdk_sends(void **state)
{
    check_text(1.0, "1.0");
    check_text(-0.0, "-0.0");
    check_text(0.1, "0.1");
    check_text(1e-5, "0.00001");
    check_text(2.5e-5, "0.000025");
    check_text(1e-6, "1e-6");
    check_text(1.234e-10, "1.234e-10");
    check_text(0.0001, "0.0001");
    check_text(1e16, "1e+16");
    check_text(1e15, "1000000000000000.0");
    check_text(9999999999999998.0, "9999999999999998.0");
    check_text(123456789012345680.0, "1.2345678901234568e+17");
    check_text(5e-324, "5e-324");
    check_text(1.7976931348623157e308, "1.7976931348623157e+308");
    check_text((double)NAN, "NaN");
    check_text((double)-INFINITY, "-Infinity");
}

/* The significant digits of a text, without the zeros at both ends, and how many. */
static uint64_t significant(const char *text, int *n)
{
    uint64_t digits = 0;
    *n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9')
            digits = digits * 10 + (uint64_t)(*text - '0');
    while (digits && digits % 10 == 0)
        digits /= 10;
    for (uint64_t d = digits; d; d /= 10)
        ++*n;
    return digits;
}

/* It reads back as itself, with both readers; nothing shorter does; of that length it is the
 * nearest. */
static void check_shortest(double v)
{
    char text[NUMBER_MAX + 1], longer[40];
    double back;
    size_t len = number_format_double(text, v);
    text[len] = 0;
    assert_true(len <= 24);
    assert_int_equal(number_parse_double(text, len, &back), len);
    assert_memory_equal(&v, &back, sizeof v);
    back = strtod(text, NULL);
    assert_memory_equal(&v, &back, sizeof v);
    int prec = 0, n, n_want;
    do
        snprintf(longer, sizeof longer, "%.*e", prec, v);
    while (strtod(longer, NULL) != v && prec++ < 17);
    uint64_t digits = significant(text, &n), want = significant(longer, &n_want);
    assert_true(n < n_want || (n == n_want && digits == want) || v == 0);
}

static void test_every_double_has_its_shortest_text(void **state)
{
    for (int i = 0; i < 150000; i++) {
        uint64_t bits = next_random();
        double v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v))
            check_shortest(v);
        check_shortest((double)(int64_t)(next_random() >> next_random() % 64));
        check_shortest((double)(next_random() % 1000000) / 1000);
    }
    for (int e = -1074; e < 1024; e++) {
        double v = ldexp(1, e);
        check_shortest(v);
        check_shortest(nextafter(v, 0));
        check_shortest(nextafter(v, (double)INFINITY));
    }
    check_shortest(2.2250738585072014e-308);
    check_shortest(9007199254740993.0);
}

/* The borders of their rounding intervals are integers themselves here, or halves: which of them belong to the
 * interval is what decides. */
static void test_large_integers_whose_borders_are_decimals(void **state)
{
    for (int e = 52; e < 70; e++)
        for (int i = 0; i < 3000; i++)
            check_shortest(ldexp((double)((UINT64_C(1) << 52) + (i < 1500 ? (uint64_t)i : next_random() >> 12)), e - 52));
}

static void test_short_decimals_and_their_neighbours(void **state)
{
    for (int i = 0; i < 60000; i++) {
        char text[40];
        snprintf(text, sizeof text, "%de%d", (int)(next_random() % 100000), (int)(next_random() % 640) - 325);
        double v = strtod(text, NULL);
        if (!isfinite(v))
            continue;
        check_shortest(v);
        check_shortest(nextafter(v, 0));
        check_shortest(nextafter(v, 1e300));
    }
}

/* Every group of four digits, at every place a group is cut out. */
static void test_all_groups_of_digits(void **state)
{
    char want[40];
    for (int64_t group = 0; group < 10000; group++)
        for (int64_t unit = 1; unit <= INT64_C(1000000000000); unit *= 10) {
            int64_t n = group * unit;
            if (n >= INT64_C(9007199254740992))
                continue;
            snprintf(want, sizeof want, "%" PRId64 ".0", n);
            check_text((double)n, want);
            int length = snprintf(want, sizeof want, "0.%04" PRId64, group), end = length;
            while (end > 3 && want[end - 1] == '0')
                end--;
            want[end] = 0;
            check_text((double)group / 10000, want);
        }
}

/* The point at every place, among digits none of which is a zero; with and without a sign. */
static void test_the_point_at_every_place(void **state)
{
    static const char digits[] = "12345678912345678";
    for (int n = 1; n <= 16; n++)
        for (int point = 1; point <= 16; point++) {
            char text[64], zeros[] = "000000000000000000";
            if (point < n)
                snprintf(text, sizeof text, "-%.*s.%.*s", point, digits, n - point, digits + point);
            else
                snprintf(text, sizeof text, "-%.*s%.*s.0", n, digits, point - n, zeros);
            check_text(strtod(text, NULL), text);
            check_text(-strtod(text, NULL), text + 1);
        }
}

static void check_read(const char *text)
{
    double got, want = strtod(text, NULL);
    assert_int_equal(number_parse_double(text, strlen(text), &got), strlen(text));
    if (memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%s reads as %a, not %a", text, got, want);
}

static void test_reading_agrees_with_strtod(void **state)
{
    char text[80];
    for (int i = 0; i < 400000; i++) {
        uint64_t bits = next_random();
        double v;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        snprintf(text, sizeof text, "%.*e", (int)(next_random() % 25), v);
        check_read(text);
        snprintf(text, sizeof text, "%" PRIu64 ".%" PRIu64 "e%d", next_random() >> next_random() % 64,
                 next_random(), (int)(next_random() % 700) - 350);
        check_read(text);
    }
}

static void test_reading_at_the_borders(void **state)
{
    static const char *const texts[] = {
        "0", "-0", "0.0", "-0.0e5", "1e400", "-1e400", "1e-400", "1e999999999999", "0e999999999",
        "1e-999999999999", "9007199254740993", "9007199254740992.999999999999999999999",
        "9007199254740993.000000000000000000000000000000000000001", "2.2250738585072011e-308",
        "2.2250738585072014e-308", "4.9406564584124654e-324", "2.4703282292062327e-324",
        "2.4703282292062328e-324", "1.7976931348623157e308", "1.7976931348623158e308",
        "1.7976931348623159e308", "179769313486231580793728971405301e276", "1e22", "1e23",
        "8.5e22", "123456789012345678901234567890", "0.000000000000000000000000000000000001",
        "6929495644600919.5", "3.7455744005952583e15", "1.00000000000000011102230246251565",
        "1.00000000000000011102230246251566",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_read(texts[i]);
}

static void test_the_locale_does_not_matter(void **state)
{
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        skip();
    double v;
    const char *text = "1.2500000000000000000000000000000000000001";
    assert_int_equal(number_parse_double(text, strlen(text), &v), strlen(text));
    assert_true(v == 1.25);
    check_text(1.25, "1.25");
    setlocale(LC_NUMERIC, "C");
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
    char text[NUMBER_MAX + 1], want[NUMBER_MAX + 1];
    text[number_format_i64(text, INT64_MIN)] = 0;
    assert_string_equal(text, "-9223372036854775808");
    for (uint64_t u = 1, i = 0; i < 20; i++, u *= 10)
        for (uint64_t d = u - 1; d <= u + 1; d++) {
            snprintf(want, sizeof want, "%" PRIu64, d);
            text[number_format_u64(text, d)] = 0;
            assert_string_equal(text, want);
        }
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
        cmocka_unit_test(test_forms_are_those_the_sdk_sends),
        cmocka_unit_test(test_every_double_has_its_shortest_text),
        cmocka_unit_test(test_large_integers_whose_borders_are_decimals),
        cmocka_unit_test(test_short_decimals_and_their_neighbours),
        cmocka_unit_test(test_all_groups_of_digits),
        cmocka_unit_test(test_the_point_at_every_place),
        cmocka_unit_test(test_reading_agrees_with_strtod),
        cmocka_unit_test(test_reading_at_the_borders),
        cmocka_unit_test(test_the_locale_does_not_matter),
        cmocka_unit_test(test_integers_to_their_limits),
        cmocka_unit_test(test_parse_stops_where_the_number_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
