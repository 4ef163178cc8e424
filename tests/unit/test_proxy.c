/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "loop/proxy.h"

#include <stdlib.h>

static void urls_are_split(void **state)
{
    struct url_parts u;
    (void)state;
    assert_true(url_split("http://h/x", &u));
    assert_true(!u.https && u.port == 80 && str_eqz(u.host, "h"));
    assert_true(url_split("HTTPS://user:p@h.example:8443?q", &u));
    assert_true(u.https && u.port == 8443 && str_eqz(u.host, "h.example"));
    assert_true(str_eqz(u.authority, "user:p@h.example:8443"));
    assert_true(url_split("http://[::1]:80/", &u));
    assert_true(u.port == 80 && str_eqz(u.host, "::1"));
    assert_true(url_split("http://[::1]", &u));
    assert_true(u.port == 80 && str_eqz(u.host, "::1"));
    static const char *const bad[] = {"", "h", "http:/h", "ftp://h", "http://", "http://:1", "http://h:x",
                                      "http://h:123456", "http://[::1", "http://[::1]x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(url_split(bad[i], &u));
}

static bool skipped(const char *url, const char *no_proxy)
{
    struct url_parts u;
    assert_true(url_split(url, &u));
    return proxy_is_skipped(&u, no_proxy);
}

static void no_proxy_is_read_as_go_does(void **state)
{
    (void)state;
    assert_true(skipped("http://localhost:8080/", ""));
    assert_true(skipped("http://127.3.4.5/", ""));
    assert_true(skipped("http://[::1]/", ""));
    assert_false(skipped("http://a.example/", ""));
    assert_true(skipped("http://a.example/", "x, * ,y"));
    assert_true(skipped("http://a.example/", "A.Example"));
    assert_true(skipped("http://b.a.example/", "a.example"));
    assert_false(skipped("http://ba.example/", "a.example"));
    assert_false(skipped("http://a.example/", ".a.example"));
    assert_true(skipped("http://b.a.example/", ".a.example"));
    assert_true(skipped("http://b.a.example/", "*.a.example"));
    assert_true(skipped("http://a.example:81/", "a.example:81"));
    assert_false(skipped("http://a.example/", "a.example:81"));
    assert_true(skipped("http://10.1.2.3/", "10.0.0.0/8"));
    assert_false(skipped("http://11.1.2.3/", "10.0.0.0/8"));
    assert_true(skipped("http://10.1.2.3/", "10.1.2.3"));
    assert_true(skipped("http://10.1.2.3:9/", "10.1.2.3:9"));
    assert_false(skipped("http://10.1.2.3:9/", "10.1.2.3:8,10.1.2.4"));
    assert_true(skipped("http://[fd00::7]/", "fd00::/16"));
    assert_true(skipped("http://[fd00::7]/", "fd00::7"));
    assert_false(skipped("http://10.1.2.3/", "fd00::/0,10.0.0.0/99,/,10.0.0.0/"));
}

static void the_environment_names_the_proxy(void **state)
{
    struct url_parts u;
    (void)state;
    assert_true(url_split("https://a.example/", &u));
    setenv("HTTPS_PROXY", "http://p:1", 1);
    setenv("no_proxy", "b.example", 1);
    unsetenv("NO_PROXY");
    assert_string_equal(proxy_from_environment(&u), "http://p:1");
    assert_true(url_split("https://b.example/", &u));
    assert_string_equal(proxy_from_environment(&u), "");
    unsetenv("HTTP_PROXY");
    setenv("http_proxy", "p2", 1);
    assert_true(url_split("http://a.example/", &u));
    assert_string_equal(proxy_from_environment(&u), "p2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_split),
        cmocka_unit_test(no_proxy_is_read_as_go_does),
        cmocka_unit_test(the_environment_names_the_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
