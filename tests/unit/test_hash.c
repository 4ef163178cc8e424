/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/hash.h"

/* The definition, a word at a time whatever its length. */
static uint64_t plainly(const unsigned char *p, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
    for (size_t at = 0; at < n; at += 8) {
        uint64_t w = 0;
        memcpy(&w, p + at, n - at < 8 ? n - at : 8);
        __extension__ unsigned __int128 m = h ^ w ^ 0xa0761d6478bd642fu;
        m *= 0xe7037ed1a0b428dbu;
        h = (uint64_t)m ^ (uint64_t)(m >> 64);
    }
    return h ^ h >> 32;
}

/* tare server keeps hashes of names of clients beside their lines: they may not change. */
static void test_every_length_hashes_as_it_always_did(void **state)
{
    unsigned char bytes[100];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof bytes; n++)
        assert_true(hash_bytes(bytes, n, n % 3) == plainly(bytes, n, n % 3));
    assert_true(hash_bytes("a shared client", 15, 0) == UINT64_C(0x2d5663a3520431aa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_hashes_as_it_always_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
