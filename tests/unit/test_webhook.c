/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/digest.h"
#include "server/webhook/webhook.h"

#include <string.h>

static void assert_mac(const char *key, const char *text, const char *hex)
{
    uint8_t mac[SHA256_BYTES];
    char got[2 * SHA256_BYTES + 1];
    hmac_sha256(mac, key, strlen(key), text, strlen(text));
    digest_hex(got, mac, sizeof mac);
    assert_string_equal(got, hex);
}

/* RFC 4231, test cases 2 and 6. */
static void test_hmac_of_the_rfc(void **state)
{
    char long_key[132];
    assert_mac("Jefe", "what do ya want for nothing?",
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, 131);
    long_key[131] = 0;
    assert_mac(long_key, "Test Using Larger Than Block-Size Key - Hash Key First",
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* The example of the Standard Webhooks' specification. */
static void test_signature_of_the_specification(void **state)
{
    struct buf got = {0};
    assert_int_equal(webhook_sign(&got, "whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121,
                                  STR("{\"event_type\":\"ping\",\"data\":{\"success\":true}}")),
                     0);
    assert_string_equal(buf_z(&got), "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    buf_fini(&got);
}

static void test_new_secrets_differ(void **state)
{
    char a[WEBHOOK_SECRET], b[WEBHOOK_SECRET];
    webhook_new_secret(a);
    webhook_new_secret(b);
    assert_int_equal(strlen(a), 6 + 44);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac_of_the_rfc),
        cmocka_unit_test(test_signature_of_the_specification),
        cmocka_unit_test(test_new_secrets_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
