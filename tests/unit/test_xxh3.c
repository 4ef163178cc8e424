/* SPDX-License-Identifier: MIT */
/* Values of the reference implementation, for every way that a length takes. */
#include "unit.h"

#include "base/digest.h"
#include "base/xxh3.h"

#include <stdlib.h>

static const struct {
    size_t n;
    const char *hex;
} known[] = {
    {0, "99aa06d3014798d86001c324468d497f"},    {3, "390cdc5b4a895dd76e3e2670e61106ac"},
    {7, "9c62f06059404f491b174ad8d9a81f6b"},    {16, "7f9a218b0425449ae2ce54a7c19c730d"},
    {100, "76b536586de98b82580b061a98a5a9b4"},  {200, "26d28d07860728f6a4773493fbbe3543"},
    {241, "b53840fe3fedf161956cae592c67279e"},  {512, "1a7e53736720a2e631cc4c8456761b50"},
    {513, "1dcacc88c66dda0e7d7db387f492d57b"},  {2048, "e5d454057f8dce3a1c81a12455515459"},
    {100000, "57b3d8c96bba305a61b222b374cf1fa7"},
};

static void assert_known(size_t n, size_t step, const char *hex)
{
    struct xxh3 x;
    uint8_t sum[XXH128_BYTES], *bytes = malloc(n + 1);
    char text[2 * XXH128_BYTES + 1];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 7);
    xxh3_init(&x);
    for (size_t at = 0; at < n; at += step)
        xxh3_add(&x, bytes + at, n - at < step ? n - at : step);
    xxh3_end(&x, sum);
    digest_hex(text, sum, sizeof sum);
    assert_string_equal(text, hex);
    free(bytes);
}

static void test_every_length_has_its_way(void **state)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_known(known[i].n, known[i].n + 1, known[i].hex);
}

static void test_pieces_make_no_difference(void **state)
{
    static const size_t steps[] = {1, 7, 63, 64, 65, 511, 512, 513, 4096};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++)
            assert_known(known[i].n, steps[k], known[i].hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_has_its_way),
        cmocka_unit_test(test_pieces_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
