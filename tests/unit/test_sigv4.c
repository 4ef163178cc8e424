/* SPDX-License-Identifier: MIT */
/* The examples of "Signature Calculations for the Authorization Header", Amazon S3 API Reference. */
#include "tests/unit/unit.h"

#include "base/sigv4.h"

#include <string.h>

static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void assert_signed(struct sigv4 s, const char *signature)
{
    struct buf got = {0};
    s.key_id = "AKIAIOSFODNN7EXAMPLE";
    s.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    s.region = "us-east-1";
    s.unix_s = 1369353600; /* 2013-05-24 */
    assert_int_equal(sigv4_authorization(&s, &got), 0);
    assert_non_null(strstr(buf_z(&got), "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"));
    assert_string_equal(strstr(buf_z(&got), "Signature=") + 10, signature);
    buf_fini(&got);
}

#define HOST {"host", "examplebucket.s3.amazonaws.com"}
#define DATE {"x-amz-date", "20130524T000000Z"}

static void test_get_with_a_range(void **state)
{
    assert_signed((struct sigv4){.method = "GET", .path = "/test.txt", .query = "", .payload_hash = empty,
                                 .headers = {HOST, {"range", "bytes=0-9"}, {"x-amz-content-sha256", empty}, DATE},
                                 .n_headers = 4},
                  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put(void **state)
{
    static const char hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    assert_signed((struct sigv4){.method = "PUT", .path = "/test%24file.text", .query = "", .payload_hash = hash,
                                 .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, HOST,
                                             {"x-amz-content-sha256", hash}, DATE,
                                             {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                                 .n_headers = 5},
                  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void test_query_without_a_value(void **state)
{
    assert_signed((struct sigv4){.method = "GET", .path = "/", .query = "lifecycle=", .payload_hash = empty,
                                 .headers = {HOST, {"x-amz-content-sha256", empty}, DATE}, .n_headers = 3},
                  "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void test_list(void **state)
{
    assert_signed((struct sigv4){.method = "GET", .path = "/", .query = "max-keys=2&prefix=J", .payload_hash = empty,
                                 .headers = {HOST, {"x-amz-content-sha256", empty}, DATE}, .n_headers = 3},
                  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_with_a_range),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_query_without_a_value),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
