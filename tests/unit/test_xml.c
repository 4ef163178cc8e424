/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/xml.h"

static void test_elements_one_after_the_other(void **state)
{
    struct str at = STR("<a><Key>1</Key>\n<Keys>no</Keys><Key></Key><Key x=\"y\">no</Key><Key>2<b/></Key></a>"), text;
    assert_true(xml_next(&at, "Key", &text) && str_eqz(text, "1"));
    assert_true(xml_next(&at, "Key", &text) && text.n == 0);
    assert_true(xml_next(&at, "Key", &text) && str_eqz(text, "2<b/>"));
    assert_false(xml_next(&at, "Key", &text));
    assert_true(str_eqz(at, "</Key></a>") && str_eqz(text, "2<b/>"));
}

static void test_inside_of_another(void **state)
{
    struct str at = STR("<Contents><Key>k</Key><Size>7</Size></Contents><Contents><Size>8</Size></Contents>"), object, text;
    assert_true(xml_next(&at, "Contents", &object));
    struct str in = object;
    assert_true(xml_next(&in, "Size", &text) && str_eqz(text, "7"));
    in = object;
    assert_true(xml_next(&in, "Key", &text) && str_eqz(text, "k"));
    assert_true(xml_next(&at, "Contents", &object));
    assert_false(xml_next(&object, "Key", &text));
}

static void test_torn(void **state)
{
    static const char whole[] = "<Key>ab</Key>";
    struct str text;
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        struct str at = str_make(whole, n);
        assert_false(xml_next(&at, "Key", &text));
        assert_int_equal(at.n, n);
    }
    struct str none = {0}, turned = STR("</Key><Key>");
    assert_false(xml_next(&none, "Key", &text));
    assert_false(xml_next(&turned, "Key", &text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements_one_after_the_other),
        cmocka_unit_test(test_inside_of_another),
        cmocka_unit_test(test_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
