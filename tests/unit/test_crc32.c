/* SPDX-License-Identifier: MIT */
/* Both implementations are compared: the table one is compiled into this test under a new name. */
#include "tests/unit/unit.h"

#define crc32_ieee crc32_by_table
#include "base/crc32_table.c"
#undef crc32_ieee
uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n);

static void test_check_value(void **state)
{
    /* the CRC catalogue's check value for CRC-32/ISO-HDLC */
    assert_int_equal(crc32_ieee(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_by_table(0, "123456789", 9), 0xcbf43926);
}

static void test_both_agree_at_any_length_offset_and_split(void **state)
{
    unsigned char data[600];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 167 + (i >> 3));
    for (size_t at = 0; at < 9; at++)
        for (size_t n = 0; n < 580; n++) {
            uint32_t whole = crc32_ieee(0, data + at, n);
            assert_int_equal(crc32_by_table(0, data + at, n), whole);
            uint32_t first = crc32_by_table(0, data + at, n / 3);
            assert_int_equal(crc32_ieee(first, data + at + n / 3, n - n / 3), whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_both_agree_at_any_length_offset_and_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
