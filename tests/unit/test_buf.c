/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

static void test_appends_and_formats(void **state)
{
    AUTO_BUF b = {0};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_printf(&b, "%d,", i), 0);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_memory_equal(b.data + b.len - 8, "998,999,", 8);
    buf_consume(&b, b.len - 4);
    assert_string_equal(buf_z(&b), "999,");
}

static void test_failure_is_sticky_and_keeps_the_contents(void **state)
{
    AUTO_BUF b = {0};
    assert_int_equal(buf_puts(&b, "kept"), 0);
    mem_fault_set(1, 1);
    char big[200] = {0};
    assert_int_equal(buf_append(&b, big, sizeof big), TARE_ENOMEM);
    assert_int_equal(buf_putc(&b, 'x'), TARE_ENOMEM);
    assert_int_equal(b.len, 4);
    buf_clear(&b);
    assert_int_equal(buf_putc(&b, 'x'), 0);
}

static void test_huge_reserve_fails(void **state)
{
    AUTO_BUF b = {0};
    assert_null(buf_reserve(&b, SIZE_MAX - 3));
    assert_true(b.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_formats),
        cmocka_unit_test(test_failure_is_sticky_and_keeps_the_contents),
        cmocka_unit_test(test_huge_reserve_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
