/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/utf8.h"

#include <string.h>

static void test_every_code_point_comes_back(void **state)
{
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        char bytes[UTF8_MAX];
        uint32_t back;
        size_t n = utf8_encode(bytes, cp);
        if (utf8_decode(bytes, n, &back) != n || back != cp)
            fail_msg("U+%X", cp);
    }
}

static void test_malformed_bytes_take_one_byte(void **state)
{
    static const char *const bad[] = {"\x80", "\xC0\x80", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                      "\xF8\x88\x80\x80\x80", "\xE0\x80\xAF", "\xC3("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t cp = 0;
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &cp), 1);
        assert_int_equal(cp, UTF8_BAD);
    }
}

static void test_surrogates_encode_as_bad(void **state)
{
    char bytes[UTF8_MAX];
    assert_int_equal(utf8_encode(bytes, 0xD800), 3);
    assert_memory_equal(bytes, "\xEF\xBF\xBD", 3);
}

static void test_widths(void **state)
{
    assert_int_equal(utf8_width('a'), 1);
    assert_int_equal(utf8_width(0xE9), 1);
    assert_int_equal(utf8_width(0x301), 0);
    assert_int_equal(utf8_width(0x200B), 0);
    assert_int_equal(utf8_width(0x8FDB), 2);
    assert_int_equal(utf8_width(0x1F680), 2);
    assert_int_equal(utf8_width(0x2588), 1); /* the block of a progress bar */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point_comes_back),
        cmocka_unit_test(test_malformed_bytes_take_one_byte),
        cmocka_unit_test(test_surrogates_encode_as_bad),
        cmocka_unit_test(test_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
