/* SPDX-License-Identifier: MIT */
/* Keys, tokens, ids and options: what lets people in. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "server/auth.h"
#include "server/ids.h"
#include "server/options.h"
#include "server/token.h"

#include <stdlib.h>

static const unsigned char secret[32] = "a secret of thirty-two bytes ...";

static void test_tokens_are_genuine_and_expire(void **state)
{
    int64_t wall_ns = 1000 * 1000000000ll, mono_ns = 0;
    struct arena a;
    struct str claims;
    AUTO_BUF b = {0};
    arena_init(&a, 0);
    clock_fake(&wall_ns, &mono_ns);
    assert_int_equal(token_put(&b, secret, STR("put 12 media/a.png"), 1010), 0);
    assert_int_equal(token_check(&a, secret, buf_str(&b), &claims), 0);
    assert_true(str_eqz(claims, "put 12 media/a.png"));
    unsigned char other[32] = "another";
    assert_int_equal(token_check(&a, other, buf_str(&b), &claims), TARE_EPERM);
    for (size_t i = 0; i < b.len; i++) { /* no character may change */
        char was = b.data[i];
        b.data[i] = was == 'A' ? 'B' : 'A';
        int rc = token_check(&a, secret, buf_str(&b), &claims);
        b.data[i] = was;
        if (rc != TARE_EPERM && i + 1 < b.len && b.data[i + 1] != '.')
            fail_msg("character %zu may be changed", i);
    }
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(token_check(&a, secret, str_make(b.data, n), &claims), TARE_EPERM);
    wall_ns = 1011 * 1000000000ll;
    assert_int_equal(token_check(&a, secret, buf_str(&b), &claims), TARE_EPERM);
    clock_fake(NULL, NULL);
    arena_fini(&a);
}

static void test_ids_go_out_and_come_back(void **state)
{
    char text[ID_TEXT];
    int64_t id = 0;
    const int64_t some[] = {1, 12, 123, 9223372036854775807ll};
    for (size_t i = 0; i < 4; i++) {
        id_make(text, "Run", some[i]);
        assert_true(id_parse(str_of(text), "Run", &id));
        assert_int_equal(id, some[i]);
        assert_false(id_parse(str_of(text), "Ru", &id));
        assert_false(id_parse(str_of(text), "Artifact", &id));
    }
    static const char *const bad[] = {"", "x", "UnVu", "UnVuOg==", "UnVuOjE", "UnVuOng=", "====", "Run:1", "UnVuOjEg"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (id_parse(str_of(bad[i]), "Run", &id))
            fail_msg("took '%s'", bad[i]);
}

static void test_keys_have_the_form_that_clients_take(void **state)
{
    char a[AUTH_KEY], b[AUTH_KEY], hash[AUTH_HASH];
    auth_new_key(a);
    auth_new_key(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 46);
    assert_int_equal(strspn(a + 6, "0123456789abcdef"), 40);
    auth_hash(STR("abc"), hash);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(auth_name_ok(STR("user_gw0-1.x")));
    static const char *const bad[] = {"", "a b", "a/b", "..", "-x", "\xc3\xa9", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(auth_name_ok(str_of(bad[i])));
}

static void test_options(void **state)
{
    struct server_options o;
    struct err e;
    int rest;
    char *good[] = {"x", "--dir", "/d", "--listen=0.0.0.0:1", "--insecure", "--workers", "3", "word"};
    assert_int_equal(options_parse(8, good, &o, &rest, &e), 0);
    assert_string_equal(o.dir, "/d");
    assert_string_equal(o.listen, "0.0.0.0:1");
    assert_true(o.insecure);
    assert_int_equal(o.max_workers, 3);
    assert_int_equal(rest, 7);
    options_fini(&o);
    char *bad[][3] = {{"x", "--nope", "1"}, {"x", "--dir", NULL}, {"x", "--workers", "many"}, {"x", "--tls-cert", "c"}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(options_parse(bad[i][2] ? 3 : 2, bad[i], &o, &rest, &e), TARE_EINVAL);
    assert_true(options_is_local("127.0.0.1:80") && options_is_local("[::1]:80") && options_is_local("unix:/x"));
    assert_false(options_is_local("0.0.0.0:80") || options_is_local("[::]:80") || options_is_local("10.0.0.1:80"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_genuine_and_expire),
        cmocka_unit_test(test_ids_go_out_and_come_back),
        cmocka_unit_test(test_keys_have_the_form_that_clients_take),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
