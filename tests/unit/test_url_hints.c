/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/url_hints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MD5 "Xrn/+w3dx7t8Qw3ZmXJ5Cw=="
#define XXH "57b3d8c96bba305a61b222b374cf1fa7"
#define BOTH "#md5=" MD5 "&xxh128=" XXH
#define HERE "http://127.0.0.1:8080/storage/t/n"

static char text[400];
static const char *backend = "http://localhost:8080";

static struct url_hints take(const char *url)
{
    assert_true(strlen(url) < sizeof text);
    strcpy(text, url);
    struct url_hints h = url_hints_take(text, STR(MD5), backend);
    assert_null(strchr(text, '#'));
    return h;
}

static void assert_none(const char *url)
{
    struct url_hints h = take(url);
    assert_int_equal(h.xxh128.n, 0);
    assert_null(h.file);
}

static void test_a_url_without_hints_stays(void **state)
{
    assert_none(HERE "?a=b&md5=" MD5);
    assert_string_equal(text, HERE "?a=b&md5=" MD5);
}

static void test_what_is_said_of_this_digest_is_taken(void **state)
{
    struct url_hints h = take("https://far.example/x" BOTH);
    assert_true(str_eqz(h.xxh128, XXH));
    assert_null(h.file);
    assert_string_equal(text, "https://far.example/x");
}

static void test_what_is_said_of_another_digest_or_in_another_form_is_not(void **state)
{
    assert_none(HERE "#");
    assert_none(HERE "#md5=" MD5);
    assert_none(HERE "#md5=AAA/+w3dx7t8Qw3ZmXJ5Cw==&xxh128=" XXH);
    assert_none(HERE "#xxh128=" XXH "&md5=" MD5);
    assert_none(HERE "#md5=" MD5 "&xxh128=57b3");
    assert_none(HERE "#md5=" MD5 "&xxh128=57b3d8c96bba305a61b222b374cf1fag");
    assert_none(HERE BOTH "0");
    assert_none(HERE BOTH "&more=1");
    strcpy(text, HERE "#md5=&xxh128=" XXH);
    assert_int_equal(url_hints_take(text, STR(""), backend).xxh128.n, 0);
}

static void test_a_file_is_for_this_machine_only(void **state)
{
    static const char *const near[] = {"http://127.0.0.1:8080/x", "https://localhost/x", "http://[::1]:1/x", "http://127.9.9.9/x"};
    static const char *const far[] = {"http://10.0.0.1/x", "https://localhost.example.com/x", "http://127.0.0.1.example.com/x", "ftp://127.0.0.1/x"};
    char url[300];
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        snprintf(url, sizeof url, "%s%s&file=/a%%20b/%%C3%%A9%%23c", near[i], BOTH);
        struct url_hints h = take(url);
        assert_string_equal(h.file, "/a b/é#c");
        assert_true(str_eqz(h.xxh128, XXH));
    }
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        snprintf(url, sizeof url, "%s%s&file=/a", far[i], BOTH);
        assert_null(take(url).file);
    }
    backend = "https://api.example.com";
    struct url_hints h = take(HERE BOTH "&file=/a");
    backend = "http://localhost:8080";
    assert_null(h.file);
    assert_true(str_eqz(h.xxh128, XXH));
    assert_string_equal(take(HERE BOTH "&file=/a").file, "/a");
}

static void test_a_path_that_is_none_is_not_taken(void **state)
{
    static const char *const bad[] = {"", "relative", "./a", "/a%", "/a%2", "/a%zz", "/a%00b", "%2Fa"};
    char url[300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(url, sizeof url, "%s%s&file=%s", HERE, BOTH, bad[i]);
        struct url_hints h = take(url);
        assert_null(h.file);
        assert_true(str_eqz(h.xxh128, XXH));
    }
}

static void assert_place(const char *url, const char *want)
{
    char *place = url_place(url, backend);
    if (want)
        assert_string_equal(place, want);
    else
        assert_null(place);
    free(place);
}

static void test_the_folder_of_an_upload(void **state)
{
    assert_place(HERE "#place=/var/a%20b", "/var/a b");
    assert_place(HERE, NULL);
    assert_place(HERE "#place=", NULL);
    assert_place(HERE "#place=tmp", NULL);
    assert_place(HERE "#place=/a%0", NULL);
    assert_place(HERE "#place=/a%00", NULL);
    assert_place("https://far.example/x#place=/tmp", NULL);
    backend = "https://api.example.com";
    assert_place(HERE "#place=/tmp", NULL);
    backend = "http://localhost:8080";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_url_without_hints_stays),
        cmocka_unit_test(test_what_is_said_of_this_digest_is_taken),
        cmocka_unit_test(test_what_is_said_of_another_digest_or_in_another_form_is_not),
        cmocka_unit_test(test_a_file_is_for_this_machine_only),
        cmocka_unit_test(test_a_path_that_is_none_is_not_taken),
        cmocka_unit_test(test_the_folder_of_an_upload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
