/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"

#include <stdlib.h>

#ifdef __GLIBC__
#include <malloc.h>

/* By how many mappings of its own an allocation changes what glibc counts. */
static size_t mapped(size_t size_bytes)
{
    size_t before = mallinfo2().hblks;
    void *p = mem_alloc(size_bytes);
    size_t n = mallinfo2().hblks - before;
    mem_free(p);
    return n;
}

static void test_large_allocations_are_mapped_as_told(void **state)
{
    if (!mapped(64 << 20))
        skip(); /* a sanitizer's malloc */
    mem_tune(1, 1 << 20, 512 << 10);
    assert_int_equal(mapped(900 << 10), 0);
    assert_int_equal(mapped(1100 << 10), 1);
}
#else
static void test_large_allocations_are_mapped_as_told(void **state)
{
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_allocations_are_mapped_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
