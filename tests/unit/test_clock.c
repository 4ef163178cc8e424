/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/clock.h"

#define S INT64_C(1000000000)

static int64_t wall, mono;

static int setup(void **state)
{
    wall = 1000000 * S;
    mono = 50 * S;
    clock_fake(&wall, &mono);
    return 0;
}

static int teardown(void **state)
{
    clock_fake(NULL, NULL);
    return 0;
}

static void test_steady_time_is_the_wall_clocks_until_that_is_set(void **state)
{
    assert_int_equal(clock_steady_ns(), wall);
    wall += 10 * S;
    mono += 10 * S;
    assert_int_equal(clock_steady_ns(), wall);
    assert_int_equal(clock_shown_ns(clock_steady_ns()), wall);
    wall -= 1000 * S;
    mono += 1 * S;
    assert_int_equal(clock_steady_ns(), 1000011 * S);
    assert_int_equal(clock_shown_ns(clock_steady_ns()), wall);
    assert_int_equal(clock_shown_ns(clock_steady_ns() - 5), wall - 5);
    wall += 100000 * S;
    assert_int_equal(clock_steady_ns(), 1000011 * S);
    assert_int_equal(clock_shown_ns(clock_steady_ns()), wall);
}

static void test_small_corrections_are_not_shown(void **state)
{
    clock_steady_ns();
    wall += S / 2;
    assert_int_equal(clock_shown_ns(1000000 * S), 1000000 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steady_time_is_the_wall_clocks_until_that_is_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_corrections_are_not_shown, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
