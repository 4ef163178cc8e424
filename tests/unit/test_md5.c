/* SPDX-License-Identifier: MIT */
/* MD5 alone, in lanes, and by threads that meet: the same sums. */
#include "unit.h"

#include "base/digest.h"
#include "base/md5_lanes.h"

#include <pthread.h>
#include <stdlib.h>

enum { N_BYTES = 300 * 1024 + 77, N_THREADS = 12 };

static uint8_t bytes[N_BYTES + MD5_LANES * 997];

static int fill(void **state)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

static void hex_of(struct digest *d, char hex[2 * MD5_BYTES + 1])
{
    uint8_t sum[MD5_BYTES];
    md5_end(d, sum);
    digest_hex(hex, sum, sizeof sum);
}

static void sum_alone(const uint8_t *p, size_t n, char hex[2 * MD5_BYTES + 1])
{
    struct digest d;
    md5_init(&d);
    md5_add(&d, p, n);
    hex_of(&d, hex);
}

/* RFC 1321, A.5 */
static void test_examples_of_the_standard(void **state)
{
    char hex[2 * MD5_BYTES + 1];
    sum_alone((const uint8_t *)"", 0, hex);
    assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
    sum_alone((const uint8_t *)"message digest", 14, hex);
    assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0");
}

static void test_every_number_of_lanes(void **state)
{
    for (int n = 1; n <= MD5_LANES; n++) {
        struct digest d[MD5_LANES], *to[MD5_LANES];
        const uint8_t *from[MD5_LANES];
        char alone[2 * MD5_BYTES + 1], hex[2 * MD5_BYTES + 1];
        for (int i = 0; i < n; i++) {
            md5_init(to[i] = &d[i]);
            from[i] = bytes + i * 997; /* also where no word is aligned */
        }
        md5_add_lanes(to, from, n, 64);
        for (int i = 0; i < n; i++)
            from[i] += 64;
        md5_add_lanes(to, from, n, 4096);
        for (int i = 0; i < n; i++) {
            md5_add(&d[i], from[i] + 4096, 10);
            hex_of(&d[i], hex);
            sum_alone(bytes + i * 997, 64 + 4096 + 10, alone);
            assert_string_equal(hex, alone);
        }
    }
}

struct part {
    int i;
    char hex[2 * MD5_BYTES + 1];
};

/* Pieces of other lengths in each thread, so that they come and leave while others are at work. */
static void *sum_in_pieces(void *arg)
{
    struct part *mine = arg;
    size_t n = N_BYTES - (size_t)mine->i * 1000, step = 1 + (size_t)mine->i * 7919;
    struct digest d;
    if (mine->i == 0)
        step = n;
    md5_init(&d);
    for (size_t at = 0; at < n; at += step)
        md5_add_together(&d, bytes + mine->i + at, n - at < step ? n - at : step);
    hex_of(&d, mine->hex);
    return NULL;
}

static void test_threads_that_meet_have_their_own_sums(void **state)
{
    pthread_t threads[N_THREADS];
    struct part parts[N_THREADS];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < N_THREADS; i++) {
            parts[i].i = i;
            assert_int_equal(pthread_create(&threads[i], NULL, sum_in_pieces, &parts[i]), 0);
        }
        for (int i = 0; i < N_THREADS; i++) {
            char alone[2 * MD5_BYTES + 1];
            pthread_join(threads[i], NULL);
            sum_alone(bytes + i, N_BYTES - (size_t)i * 1000, alone);
            assert_string_equal(parts[i].hex, alone);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_standard),
        cmocka_unit_test(test_every_number_of_lanes),
        cmocka_unit_test(test_threads_that_meet_have_their_own_sums),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
