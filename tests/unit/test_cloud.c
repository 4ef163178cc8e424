/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/cloud.h"

#include "base/alloc.h"
#include "base/xml.h"

#include <stdlib.h>

static void test_what_a_shared_key_signs(void **state)
{
    /* "Authorize with Shared Key", the example of a container's metadata */
    struct cloud_target t = {.method = "GET",
                             .resource = (char *)"/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"};
    AUTO_BUF text = {0};
    cloud_azure_text(&t, "", "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n", &text);
    assert_string_equal(buf_z(&text),
                        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
                        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20");
}

static void assert_place(const char *ref, enum cloud_kind kind, const char *bucket, const char *key)
{
    struct cloud_place p = cloud_place_of(str_of(ref));
    assert_int_equal(p.kind, kind);
    if (kind != CLOUD_NONE)
        assert_true(str_eqz(p.bucket, bucket) && str_eqz(p.key, key));
}

static void test_where_references_are(void **state)
{
    assert_place("s3://b/k/x y", CLOUD_S3, "b", "k/x y");
    assert_place("s3://b", CLOUD_S3, "b", "");
    assert_place("gs://b/", CLOUD_GCS, "b", "");
    assert_place("https://a.blob.core.windows.net/box/k/x", CLOUD_AZURE, "box", "k/x");
    assert_place("https://a.blob.core.windows.net", CLOUD_AZURE, "", "");
    assert_place("http://a.blob.core.windows.net/box/k", CLOUD_HTTP, "a.blob.core.windows.net", "box/k");
    assert_place("file:///x", CLOUD_NONE, "", "");
    assert_place("", CLOUD_NONE, "", "");
}

static void assert_url(struct cloud *c, const char *ref, const char *key, const char *query, const char *url)
{
    struct cloud_place p = cloud_place_of(str_of(ref));
    const char *pairs[CLOUD_QUERY][2] = {{query, query ? "a/ b" : NULL}};
    struct cloud_target t;
    cloud_target_init(&t, c, &p, "GET", str_of(key), (const char *const(*)[2])pairs);
    assert_string_equal(t.url, url);
    cloud_target_fini(&t);
}

static void test_addresses(void **state)
{
    char region[] = "eu-1", google[] = "https://storage.googleapis.com", mine[] = "http://localhost:1/base", sas[] = "sig=x";
    struct cloud c = {.s3_region = region, .gcs_endpoint = google};
    assert_url(&c, "s3://b/", "k/ü", NULL, "https://b.s3.eu-1.amazonaws.com/k/%C3%BC");
    assert_url(&c, "s3://b.c/", "k", NULL, "https://s3.eu-1.amazonaws.com/b.c/k");
    assert_url(&c, "gs://b/", "k/x", "alt", "https://storage.googleapis.com/storage/v1/b/b/o/k%2Fx?alt=a%2F%20b");
    assert_url(&c, "https://a.blob.core.windows.net/box/k", "", "comp", "https://a.blob.core.windows.net/box?comp=a%2F%20b");
    c.s3_endpoint = c.azure_endpoint = mine;
    c.azure_sas = sas;
    assert_url(&c, "s3://b/", "k", NULL, "http://localhost:1/base/b/k");
    assert_url(&c, "https://a.blob.core.windows.net/box/k", "k", NULL, "http://localhost:1/base/box/k?sig=x");
}

static void test_xml(void **state)
{
    struct str at = STR("<a><Key>x&amp;&#233;&#x4e2d;&lt;&nope;&</Key><Key>2</Key><Key>torn"), text;
    assert_true(xml_next(&at, "Key", &text));
    AUTO_FREE char *plain = cloud_xml_text(text);
    assert_string_equal(plain, "x&\xc3\xa9\xe4\xb8\xad<&nope;&");
    assert_true(xml_next(&at, "Key", &text) && str_eqz(text, "2"));
    assert_false(xml_next(&at, "Key", &text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_shared_key_signs),
        cmocka_unit_test(test_where_references_are),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_xml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
