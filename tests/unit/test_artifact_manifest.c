/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/artifact_manifest.h"

#include "base/digest.h"
#include "base/json.h"
#include "record/wire.h"

#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    struct buf message, json;
    struct manifest m;
};

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    wire_buf_varint(&x->message, 1, 1);
    wire_buf_bytes(&x->message, 2, STR("wandb-storage-policy-v1"));
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    manifest_fini(&x->m);
    buf_fini(&x->message);
    buf_fini(&x->json);
    free(x);
    return 0;
}

static void add(struct fixture *x, const char *path, const char *digest, const char *extra_key, const char *extra_json)
{
    size_t mark = wire_buf_begin(&x->message, 4);
    wire_buf_bytes(&x->message, 1, str_of(path));
    wire_buf_bytes(&x->message, 2, str_of(digest));
    wire_buf_varint(&x->message, 4, 5);
    wire_buf_bytes(&x->message, 6, STR("/tmp/\"x\""));
    if (extra_key) {
        size_t inner = wire_buf_begin(&x->message, 16);
        wire_buf_bytes(&x->message, 1, str_of(extra_key));
        wire_buf_bytes(&x->message, 2, str_of(extra_json));
        wire_buf_end(&x->message, inner);
    }
    wire_buf_end(&x->message, mark);
}

static int read_it(struct fixture *x, struct err *e)
{
    return manifest_read(&x->m, buf_str(&x->message), e);
}

static void assert_json(struct fixture *x, const char *contents)
{
    assert_int_equal(manifest_write(&x->m, &x->json), 0);
    assert_true(json_valid(buf_str(&x->json)));
    AUTO_BUF whole = {0};
    buf_printf(&whole, "{\"version\":1,\"storagePolicy\":\"wandb-storage-policy-v1\",\"storagePolicyConfig\":"
                       "{\"storageLayout\":\"V2\"},\"contents\":{%s}}", contents);
    assert_string_equal(buf_z(&x->json), buf_z(&whole));
}

static void test_contents_are_sorted_and_the_later_counts(void **state)
{
    struct fixture *x = *state;
    add(x, "b", "old", NULL, NULL);
    add(x, "a/c", "A", "k", "{\"z\":1}");
    add(x, "b", "B", NULL, NULL);
    assert_int_equal(read_it(x, NULL), 0);
    assert_json(x, "\"a/c\":{\"digest\":\"A\",\"size\":5,\"local_path\":\"/tmp/\\\"x\\\"\",\"skip_cache\":false,"
                   "\"extra\":{\"k\":{\"z\":1}}},"
                   "\"b\":{\"digest\":\"B\",\"size\":5,\"local_path\":\"/tmp/\\\"x\\\"\",\"skip_cache\":false}");
    char hex[33];
    manifest_digest(&x->m, hex);
    assert_string_equal(hex, "fd080d6da3848b057e5c3a7d6f837d99");
}

static void test_empty_manifest(void **state)
{
    struct fixture *x = *state;
    assert_int_equal(read_it(x, NULL), 0);
    assert_json(x, "");
}

/* As the SDK leaves it for large artifacts. */
static void put_file(struct fixture *x, char *path, const char *text)
{
    char packed[4096];
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t n = libdeflate_gzip_compress(c, text, strlen(text), packed, sizeof packed);
    libdeflate_free_compressor(c);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, packed, n), n);
    close(fd);
    wire_buf_bytes(&x->message, 5, str_of(path));
}

static void test_file_of_lines(void **state)
{
    struct fixture *x = *state;
    char path[] = "/tmp/test_manifest_XXXXXX";
    put_file(x, path,
             "{\"path\": \"z\\u00e9\", \"digest\": \"D\", \"size\": 12, \"local_path\": \"/l\", \"skip_cache\": true}\n"
             "\n{\"path\":\"r\",\"digest\":\"s3://b\",\"ref\":\"s3://b\",\"birthArtifactID\":\"\",\"extra\":{\"etag\":\"x\"}}\n");
    assert_int_equal(read_it(x, NULL), 0);
    assert_json(x, "\"r\":{\"digest\":\"s3://b\",\"ref\":\"s3://b\",\"size\":0,\"skip_cache\":false,\"extra\":{\"etag\":\"x\"}},"
                   "\"z\xc3\xa9\":{\"digest\":\"D\",\"size\":12,\"local_path\":\"/l\",\"skip_cache\":true}");
    assert_int_equal(access(path, F_OK), -1); /* it is taken away */
}

static void test_files_that_are_damaged(void **state)
{
    static const char *const texts[] = {"{", "[]", "7", "{\"digest\":\"x\"}", "{\"path\":\"x\"}", "{\"path\":1,\"digest\":\"x\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct fixture *x = *state;
        char path[] = "/tmp/test_manifest_XXXXXX";
        struct err e = {0};
        buf_clear(&x->message);
        put_file(x, path, texts[i]);
        assert_true(read_it(x, &e) < 0);
        assert_true(e.text[0]);
        manifest_fini(&x->m);
    }
    struct fixture *x = *state;
    struct err e = {0};
    buf_clear(&x->message);
    wire_buf_bytes(&x->message, 5, STR("/nonexistent/file"));
    assert_true(read_it(x, &e) < 0);
}

static void test_bad_messages(void **state)
{
    struct fixture *x = *state;
    struct err e = {0};
    add(x, "a", "b", "k", "{not json");
    assert_true(read_it(x, &e) < 0);
    manifest_fini(&x->m);
    buf_clear(&x->message);
    buf_puts(&x->message, "\x22\x7f");
    assert_true(read_it(x, &e) < 0);
}

static void test_xxh128_becomes_md5(void **state)
{
    struct fixture *x = *state;
    uint8_t md5[16] = {0};
    add(x, "a", "xx", "alg", "\"XXH128\"");
    assert_int_equal(read_it(x, NULL), 0);
    assert_true(x->m.entries[0].is_xxh128);
    manifest_set_md5(&x->m, &x->m.entries[0], md5);
    assert_json(x, "\"a\":{\"digest\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"size\":5,\"local_path\":\"/tmp/\\\"x\\\"\",\"skip_cache\":false}");
}

static void test_stored_manifest(void **state)
{
    struct fixture *x = *state;
    struct err e = {0};
    static const char json[] =
        "{\"version\":1,\"storagePolicy\":\"p\",\"storagePolicyConfig\":{\"storageLayout\":\"V1\"},\"contents\":{"
        "\"b\":{\"digest\":\"d2\",\"size\":7,\"extra\":{\"alg\":\"XXH128\"}},"
        "\"a\\u00e9/\\\"\":{\"digest\":\"d1\",\"ref\":\"s3://x/y\",\"birthArtifactID\":\"id\"}}}";
    assert_int_equal(manifest_parse(&x->m, str_of(json), &e), 0);
    assert_int_equal(x->m.n, 2);
    assert_true(str_eqz(x->m.layout, "V1") && x->m.version == 1);
    assert_true(str_eqz(x->m.entries[0].path, "a\xc3\xa9/\"") && str_eqz(x->m.entries[0].ref, "s3://x/y"));
    assert_true(str_eqz(x->m.entries[0].birth_id, "id") && !x->m.entries[0].is_xxh128);
    assert_true(x->m.entries[1].size == 7 && x->m.entries[1].is_xxh128);
}

static void test_stored_manifests_that_are_none(void **state)
{
    struct fixture *x = *state;
    static const char *const bad[] = {"", "[]", "{}", "{\"contents\":7}", "{\"contents\":{\"a\":7}}",
                                      "{\"contents\":{\"a\":{}", "{\"contents\":{}} more"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_true(manifest_parse(&x->m, str_of(bad[i]), &e) < 0);
        assert_non_null(strstr(e.text, "decode manifest JSON failed"));
        manifest_fini(&x->m);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_contents_are_sorted_and_the_later_counts), T(test_empty_manifest), T(test_file_of_lines),
        T(test_files_that_are_damaged), T(test_bad_messages), T(test_xxh128_becomes_md5),
        T(test_stored_manifest), T(test_stored_manifests_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
