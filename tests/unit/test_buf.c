/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/spare.h"

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

static void test_spare_buffers_come_back(void **state)
{
    struct buf b[6] = {0};
    char *data[6];
    spare_take(&b[0], 1000);
    assert_int_equal(b[0].cap, 0); /* not worth it */
    for (int i = 0; i < 6; i++) {
        spare_take(&b[i], 1 << 20);
        assert_true(b[i].cap >= 1 << 20);
        data[i] = b[i].data;
        buf_puts(&b[i], "x");
    }
    for (int i = 0; i < 6; i++) {
        spare_give(&b[i]);
        assert_int_equal(b[i].cap, 0);
    }
    spare_take(&b[0], 300 << 10); /* a larger one will do */
    assert_ptr_equal(b[0].data, data[0]);
    assert_int_equal(b[0].len, 0);
    spare_take(&b[1], 3 << 20); /* none is that large */
    assert_true(b[1].cap >= 3 << 20);
    spare_give(&b[1]);
    spare_give(&b[0]);
    spare_trim();
    spare_take(&b[0], 2 << 20); /* the smallest that will do; it was used meanwhile */
    assert_true(b[0].cap >= 3 << 20);
    spare_give(&b[0]);
    spare_trim();
    spare_trim();
    spare_take(&b[0], 100 << 20);
    assert_int_equal(b[0].cap, 0); /* too large to be kept */
    spare_clear();
    mem_fault_set(1, 1);
    spare_take(&b[0], 1 << 20); /* none is left */
    assert_true(b[0].failed && !b[0].cap);
    mem_fault_set(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_formats),
        cmocka_unit_test(test_failure_is_sticky_and_keeps_the_contents),
        cmocka_unit_test(test_huge_reserve_fails),
        cmocka_unit_test(test_spare_buffers_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
