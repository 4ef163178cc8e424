/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/retry.h"

#include "../support/fake_net.h"
#include "base/alloc.h"
#include "base/err.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/json_path.h"

#include <stdio.h>

static bool again(enum backend_use use, int error, int status)
{
    struct retry_policy p;
    struct http_request r = {.error = error, .status = status};
    retry_policy_of(&p, (struct str){0}, use);
    return retry_again(&p, &r);
}

static void test_what_is_tried_again(void **state)
{
    static const struct {
        int error, status;
        bool graphql, filestream, file;
    } rows[] = {
        {TARE_EIO, 0, true, true, true},        {TARE_ETIMEOUT, 0, true, true, true},
        {TARE_EINVAL, 0, false, false, false},  {TARE_ECANCELLED, 0, false, false, false},
        {0, 400, false, false, false},          {0, 401, false, false, false},
        {0, 404, false, false, false},          {0, 408, true, true, false},
        {0, 409, false, false, false},          {0, 418, true, true, false},
        {0, 429, true, true, true},             {0, 500, true, true, true},
        {0, 501, false, false, false},          {0, 502, true, true, true},
        {0, 200, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(again(BACKEND_GRAPHQL, rows[i].error, rows[i].status), rows[i].graphql);
        assert_int_equal(again(BACKEND_FILESTREAM, rows[i].error, rows[i].status), rows[i].filestream);
        assert_int_equal(again(BACKEND_FILE, rows[i].error, rows[i].status), rows[i].file);
    }
}

static void test_waits_grow_to_their_bound(void **state)
{
    struct retry_policy p;
    struct http_request r = {.status = 500};
    retry_policy_of(&p, (struct str){0}, BACKEND_FILESTREAM);
    assert_int_equal(retry_wait_ms(&p, &r, 1, 0), 2000);
    assert_int_equal(retry_wait_ms(&p, &r, 1, UINT32_MAX), 2500);
    assert_int_equal(retry_wait_ms(&p, &r, 2, 0), 4000);
    assert_int_equal(retry_wait_ms(&p, &r, 5, 0), 32000);
    assert_int_equal(retry_wait_ms(&p, &r, 6, 0), 60000);
    assert_int_equal(retry_wait_ms(&p, &r, UINT32_MAX, UINT32_MAX), 60000);
}

static uint32_t after(const char *value)
{
    struct retry_policy p;
    struct http_request r = {.status = 429};
    retry_policy_of(&p, (struct str){0}, BACKEND_FILE);
    buf_printf(&r.answer_headers, "server: x\nretry-after: %s\n", value);
    buf_z(&r.answer_headers);
    uint32_t ms = retry_wait_ms(&p, &r, 1, 0);
    buf_fini(&r.answer_headers);
    return ms;
}

static void test_retry_after(void **state)
{
    fake_net_begin(); /* Wed, 18 Nov 2026 11:06:40 GMT */
    assert_int_equal(after("0"), 0);
    assert_int_equal(after("7"), 7000);
    assert_int_equal(after("1.5"), 1500);
    assert_int_equal(after("-3"), 2000);
    assert_int_equal(after("soon"), 2000);
    assert_int_equal(after("1e99"), RETRY_AFTER_MAX_MS);
    assert_int_equal(after("NaN"), 2000);
    assert_int_equal(after("Wed, 18 Nov 2026 11:07:00 GMT"), 20000);
    assert_int_equal(after("Wed, 18 Nov 2020 11:07:00 GMT"), 0);
    assert_int_equal(after("Wed, 18 Nov 2026 11:07:00 GMT and so on"), 2000);
    fake_net_end();
}

static void test_settings(void **state)
{
    AUTO_BUF s = {0};
    struct retry_policy p;
    size_t mark = wire_buf_begin(&s, 147);
    wire_buf_varint(&s, 1, 3);
    wire_buf_end(&s, mark);
    mark = wire_buf_begin(&s, 148);
    wire_buf_double(&s, 1, 0.25);
    wire_buf_end(&s, mark);
    mark = wire_buf_begin(&s, 15);
    wire_buf_double(&s, 1, -1);
    wire_buf_end(&s, mark);
    retry_policy_of(&p, buf_str(&s), BACKEND_FILESTREAM);
    assert_int_equal(p.max, 3);
    assert_int_equal(p.wait_min_ms, 250);
    assert_int_equal(p.wait_max_ms, 60000);
    assert_int_equal(p.timeout_ms, 180000);
    retry_policy_of(&p, buf_str(&s), BACKEND_FILE);
    assert_int_equal(p.max, 20);
    assert_int_equal(p.timeout_ms, 0);
}

static void assert_at(const char *json, const char *path, const char *expected)
{
    struct str v = json_at(str_of(json), path);
    if (!str_eqz(v, expected))
        fail_msg("%s of %s: got %.*s", path, json, STR_ARG(v));
}

static void test_json_path(void **state)
{
    assert_at("{\"a\":{\"b\":[1,{\"c\":\"x\"}]}}", "a.b.1.c", "\"x\"");
    assert_at(" { \"a\" : [ 1 , 2 ] } ", "a.1", "2");
    assert_at("{\"a\":null}", "a", "");
    assert_at("{\"a\":1}", "a.b", "");
    assert_at("{\"a\":1}", "b", "");
    assert_at("{\"a\":[1]}", "a.1", "");
    assert_at("{\"a\":[1]}", "a.x", "");
    assert_at("{\"a\":[1]}", "a.99999999999999999999999", "");
    assert_at("{\"b\":", "b", "");
    assert_at("", "a", "");
    assert_at("   ", "a", "");
    assert_at("[", "0", "");
    AUTO_FREE char *text = json_string_at(STR("{\"a\":\"\\u00e9\\n\"}"), "a");
    assert_string_equal(text, "\xc3\xa9\n");
    assert_null(json_string_at(STR("{\"a\":1}"), "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_tried_again), cmocka_unit_test(test_waits_grow_to_their_bound),
        cmocka_unit_test(test_retry_after),         cmocka_unit_test(test_settings),
        cmocka_unit_test(test_json_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
