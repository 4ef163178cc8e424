/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/path.h"

static void test_join(void **state)
{
    AUTO_FREE char *a = path_join("a", "b/c");
    assert_string_equal(a, "a/b/c");
    AUTO_FREE char *b = path_join("a/", "b");
    assert_string_equal(b, "a/b");
    AUTO_FREE char *c = path_join("a", "/b");
    assert_string_equal(c, "/b");
    AUTO_FREE char *d = path_join("", "b");
    assert_string_equal(d, "b");
}

static void test_base_and_dir(void **state)
{
    assert_true(str_eqz(path_base(STR("a/b")), "b"));
    assert_true(str_eqz(path_base(STR("b")), "b"));
    assert_true(str_eqz(path_dir(STR("/b")), "/"));
    assert_true(str_eqz(path_dir(STR("a/b/c")), "a/b"));
    assert_true(str_eqz(path_dir(STR("c")), "."));
}

static void test_names_that_leave_the_folder_are_unsafe(void **state)
{
    assert_true(path_is_safe(STR("a/b..c/..d")));
    assert_true(path_is_safe(STR("./a")));
    assert_false(path_is_safe(STR("")));
    assert_false(path_is_safe(STR("/a")));
    assert_false(path_is_safe(STR("..")));
    assert_false(path_is_safe(STR("a/../../b")));
    assert_false(path_is_safe(STR("a/..")));
    assert_false(path_is_safe(str_make("a\0b", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_base_and_dir),
        cmocka_unit_test(test_names_that_leave_the_folder_are_unsafe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
