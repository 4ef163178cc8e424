/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/base64.h"

#include <string.h>

/* RFC 4648, section 10. */
static void test_the_examples_of_the_rfc(void **state)
{
    static const struct {
        const char *plain, *text;
    } rows[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        AUTO_BUF made = {0};
        char back[8], text[9];
        size_t n;
        base64_put(&made, BASE64_STANDARD, rows[i].plain, strlen(rows[i].plain));
        assert_true(str_eq(buf_str(&made), str_of(rows[i].text)));
        base64_text(text, (const uint8_t *)rows[i].plain, strlen(rows[i].plain));
        assert_string_equal(text, rows[i].text);
        assert_true(base64_get(str_of(rows[i].text), BASE64_STANDARD, back, sizeof back, &n));
        assert_int_equal(n, strlen(rows[i].plain));
        assert_memory_equal(back, rows[i].plain, n);
    }
}

static void test_every_byte_comes_back_in_both_alphabets(void **state)
{
    uint8_t bytes[256], back[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(255 - i);
    for (int alphabet = BASE64_STANDARD; alphabet <= BASE64_URL; alphabet++)
        for (size_t n = 0; n <= sizeof bytes; n++) {
            AUTO_BUF text = {0};
            size_t got;
            base64_put(&text, alphabet, bytes, n);
            assert_true(base64_get(buf_str(&text), alphabet, back, n, &got));
            assert_int_equal(got, n);
            assert_memory_equal(back, bytes, n);
            if (n) /* one byte less does not hold it */
                assert_false(base64_get(buf_str(&text), alphabet, back, n - 1, &got));
        }
}

static void test_what_is_no_base64_is_refused(void **state)
{
    static const char *const bad[] = {"A", "Zg=", "Zg===", "Z===", "====", "Zm9vY", "Zm 9", "Zm9*", "Zm-_", "Z=g=", "Zm9v="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char to[8];
        size_t n;
        if (base64_get(str_of(bad[i]), BASE64_STANDARD, to, sizeof to, &n))
            fail_msg("taken: %s", bad[i]);
    }
    char to[8];
    size_t n;
    assert_true(base64_get(STR("Zm-_"), BASE64_URL, to, sizeof to, &n));
    assert_false(base64_get(STR("Zm+/"), BASE64_URL, to, sizeof to, &n));
    assert_true(base64_get(STR("Zg"), BASE64_STANDARD, to, sizeof to, &n));
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_examples_of_the_rfc),
        cmocka_unit_test(test_every_byte_comes_back_in_both_alphabets),
        cmocka_unit_test(test_what_is_no_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
