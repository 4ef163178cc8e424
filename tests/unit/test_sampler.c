/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "service/stream/sampler.h"

static void test_few_numbers_are_all_kept(void **state)
{
    struct sampler s;
    sampler_init(&s, 7);
    for (int i = 0; i < SAMPLER_SIZE; i++)
        sampler_add(&s, 3, i);
    assert_int_equal(s.at[3].n, SAMPLER_SIZE);
    for (int i = 0; i < SAMPLER_SIZE; i++)
        assert_true(s.at[3].values[i] == (float)i);
    sampler_fini(&s);
}

static void test_a_sample_stays_in_order(void **state)
{
    struct sampler s;
    sampler_init(&s, 11);
    for (int i = 0; i < 100000; i++)
        sampler_add(&s, 0, i);
    assert_int_equal(s.at[0].n, SAMPLER_SIZE);
    assert_int_equal(s.at[0].seen, 100000);
    for (int i = 1; i < SAMPLER_SIZE; i++)
        assert_true(s.at[0].values[i - 1] < s.at[0].values[i]);
    sampler_fini(&s);
}

/* Each number has the same chance: over many samples of 480 numbers each tenth gets a tenth. */
static void test_every_number_has_the_same_chance(void **state)
{
    int tenth[10] = {0};
    struct sampler s;
    sampler_init(&s, 13);
    for (uint32_t round = 0; round < 2000; round++) {
        for (int i = 0; i < 480; i++)
            sampler_add(&s, round, i);
        for (uint32_t i = 0; i < SAMPLER_SIZE; i++)
            tenth[(int)s.at[round].values[i] / 48]++;
    }
    for (int i = 0; i < 10; i++) /* 9600 expected, standard deviation about 93 */
        assert_in_range(tenth[i], 9100, 10100);
    sampler_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_numbers_are_all_kept),
        cmocka_unit_test(test_a_sample_stays_in_order),
        cmocka_unit_test(test_every_number_has_the_same_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
