/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/budget.h"

#include <string.h>

static void test_allocations_do_not_overlap(void **state)
{
    struct arena a;
    arena_init(&a, 0);
    char *p[300];
    for (int i = 0; i < 300; i++) {
        size_t n = (size_t)(i * 37 % 5000) + 1;
        p[i] = arena_alloc(&a, n);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], i & 255, n);
    }
    for (int i = 0; i < 300; i++)
        for (size_t k = 0; k < (size_t)(i * 37 % 5000) + 1; k++)
            assert_int_equal((unsigned char)p[i][k], i & 255);
    arena_fini(&a);
}

static void test_limit_is_kept_and_reset_gives_it_back(void **state)
{
    struct arena a;
    arena_init(&a, 100000);
    assert_null(arena_alloc(&a, 100001));
    assert_non_null(arena_alloc(&a, 90000));
    assert_null(arena_alloc(&a, 20000));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 90000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_fini(&a);
}

static void test_out_of_memory_is_null(void **state)
{
    struct arena a;
    arena_init(&a, 0);
    mem_fault_set(1, 1);
    assert_null(arena_alloc(&a, 10));
    assert_int_equal(mem_fault_fired(), 1);
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    arena_fini(&a);
}

static void test_blocks_are_taken_from_the_budget(void **state)
{
    struct budget b = {.max_bytes = 250000};
    struct arena one, two;
    arena_init(&one, 0);
    arena_init(&two, 0);
    one.budget = two.budget = &b;
    assert_non_null(arena_alloc(&one, 150000));
    assert_true(b.used_bytes >= 150000);
    assert_null(arena_alloc(&two, 60000));
    assert_non_null(arena_alloc(&two, 10));
    arena_reset(&one);
    assert_non_null(arena_alloc(&two, 60000));
    arena_fini(&one);
    arena_fini(&two);
    assert_int_equal(b.used_bytes, 0);
    assert_ptr_equal(two.budget, &b);
    mem_fault_set(1, 1);
    assert_null(arena_alloc(&two, 10));
    assert_int_equal(b.used_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_do_not_overlap),
        cmocka_unit_test(test_limit_is_kept_and_reset_gives_it_back),
        cmocka_unit_test(test_out_of_memory_is_null),
        cmocka_unit_test(test_blocks_are_taken_from_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
