/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "server/filter/filter.h"

#include <string.h>

/* The object of all tests; created_at is a time. */
static const char object[] =
    "{\"state\":\"finished\",\"tags\":[\"a\",\"b\"],\"n\":3,\"x\":1.5,\"nan\":NaN,\"none\":null,\"flag\":true,\"empty\":[],"
    "\"big\":1152921504606846976,\"boxes\":[{\"w\":1,\"h\":[2, 3.0]},{\"w\":5}],"
    "\"config\":{\"lr\":{\"value\":0.1},\"net.depth\":{\"value\":7},\"deep\":{\"value\":{\"k\":\"v\\u00e9\"}}}}";

static int get(void *ctx, struct str key, struct filter_value *out)
{
    if (str_eqz(key, "forbidden"))
        return TARE_EINVAL;
    if (str_eqz(key, "created_at")) {
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = 1795431562000000}; /* 2026-11-23T10:59:22Z */
        return 0;
    }
    return filter_value_at(str_of(object), key, ctx, out);
}

static int match(const char *text)
{
    struct arena a;
    struct filter *f = NULL;
    struct err e = {0};
    arena_init(&a, 0);
    int rc = filter_compile(str_of(text), &a, &f, &e);
    if (rc == 0)
        rc = filter_match(f, get, &a, &e);
    filter_fini(f);
    arena_fini(&a);
    if (rc < 0 && !e.text[0])
        fail_msg("%s: an error without a text", text);
    return rc;
}

static void expect(int want, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = match(texts[i]);
        if (rc != want)
            fail_msg("%s gave %d", texts[i], rc);
    }
}

static void test_what_matches(void **state)
{
    static const char *const yes[] = {
        "", "{}", " {} ", "{\"state\":\"finished\"}", "{\"n\":3.0}", "{\"n\":{\"$gt\":2,\"$lt\":4}}",
        "{\"x\":{\"$gte\":1.5}}", "{\"tags\":\"a\"}", "{\"tags\":{\"$in\":[\"z\",\"b\"]}}", "{\"tags\":{\"$all\":[\"b\",\"a\"]}}",
        "{\"tags\":{\"$nin\":[\"z\"]}}", "{\"none\":null}", "{\"missing\":null}", "{\"missing\":{\"$ne\":1}}",
        "{\"missing\":{\"$exists\":false}}", "{\"none\":{\"$exists\":true}}", "{\"flag\":true}",
        "{\"config.lr.value\":0.1}", "{\"config.net.depth.value\":{\"$lte\":7}}", "{\"config.deep.value.k\":\"v\\u00e9\"}",
        "{\"state\":{\"$regex\":\"^fin\\\\w+d$\"}}", "{\"$or\":[{\"n\":0},{\"n\":3}]}", "{\"$and\":[{\"n\":3},{\"x\":1.5}]}",
        "{\"$nor\":[{\"n\":0},{\"x\":0}]}", "{\"n\":{\"$not\":{\"$gt\":3}}}", "{\"$and\":[]}",
        "{\"created_at\":{\"$gt\":\"2026-11-23\"}}", "{\"created_at\":{\"$lte\":\"2026-11-23T11:59:22+01:00\"}}",
        "{\"created_at\":\"2026-11-23 10:59:22\"}", "{\"nan\":{\"$ne\":1}}", "{\"tags\":[\"a\",\"b\"]}", "{\"tags\":[\"b\"]}",
        "{\"state\":{\"$contains\":\"nish\"}}", "{\"state\":{\"$contains\":\"\"}}", "{\"tags\":{\"$contains\":\"a\"}}",
        "{\"state\":{\"$regex\":\"^FIN\",\"$options\":\"i\"}}", "{\"state\":{\"$options\":\"xi\",\"$regex\":\"F I N\"}}",
        "{\"state\":{\"$options\":\"\",\"$regex\":\"fin\"}}", "{\"empty\":[]}",
        "{\"state\":{\"$not\":{\"$regex\":\"^FIN\"},\"$regex\":\"^FIN\",\"$options\":\"i\"}}",
        "{\"$not\":{\"n\":4}}", "{\"$not\":{\"n\":3,\"x\":0}}", "{\"$not\":{\"$not\":{}}}", "{\"tags\":{\"$size\":2}}",
        "{\"empty\":{\"$size\":0}}", "{\"tags\":{\"$not\":{\"$size\":1}}}", "{\"big\":1152921504606846976}",
        "{\"big\":{\"$gt\":1152921504606846975}}", "{\"big\":1152921504606846976.0}", "{\"tags.1\":\"b\"}", "{\"boxes.1.w\":5}",
        "{\"boxes.0\":{\"h\":[2,3],\"w\":1.0}}", "{\"boxes\":{\"w\": 5}}", "{\"config.deep.value\":{\"k\":\"v\xc3\xa9\"}}",
        "{\"config.deep\":{\"value\":{\"k\":\"v\\u00e9\"}}}", "{\"boxes\":{\"$elemMatch\":{\"w\":{\"$gt\":4,\"$lt\":6}}}}",
        "{\"tags\":{\"$elemMatch\":{\"$gt\":\"a\"}}}", "{\"boxes\":[{\"w\":5}]}",
    };
    expect(1, yes, sizeof yes / sizeof *yes);
}

static void test_what_does_not_match(void **state)
{
    static const char *const no[] = {
        "{\"state\":\"Finished\"}", "{\"n\":\"3\"}", "{\"n\":{\"$gt\":3}}", "{\"missing\":{\"$gt\":0}}", "{\"missing\":1}",
        "{\"tags\":{\"$nin\":[\"a\"]}}", "{\"tags\":{\"$all\":[\"a\",\"z\"]}}", "{\"nan\":{\"$gt\":0}}", "{\"nan\":{\"$lt\":0}}",
        "{\"n\":{\"$in\":[]}}", "{\"$or\":[]}", "{\"flag\":1}", "{\"state\":{\"$regex\":\"^x\"}}", "{\"n\":{\"$regex\":\"3\"}}",
        "{\"config.lr\":0.1}", "{\"created_at\":{\"$lt\":\"2026-11-23T10:59:22Z\"}}", "{\"created_at\":{\"$gt\":\"soon\"}}",
        "{\"none\":{\"$ne\":null}}", "{\"state\":{\"$contains\":\"Nish\"}}", "{\"n\":{\"$contains\":\"3\"}}", "{\"missing\":{\"$contains\":\"\"}}",
        "{\"$nor\":[{\"n\":3}]}", "{\"n\":3,\"x\":0}", "{\"tags\":[\"a\",\"z\"]}",
        "{\"tags\":[]}", "{\"tags\":[ ]}", "{\"state\":{\"$regex\":\"^FIN\",\"$options\":\"m\"}}",
        "{\"$not\":{}}", "{\"$not\":{\"n\":3}}", "{\"tags\":{\"$size\":1}}", "{\"n\":{\"$size\":1}}", "{\"big\":1152921504606846977}",
        "{\"tags.2\":\"b\"}", "{\"tags.-1\":\"b\"}", "{\"tags.1x\":\"b\"}", "{\"boxes.0\":{\"w\":1}}", "{\"boxes.1\":{\"w\":5,\"x\":1}}",
        "{\"boxes.0.h\":{\"$elemMatch\":{\"$gt\":2,\"$lt\":3}}}", "{\"n\":{\"$elemMatch\":{\"$gt\":2}}}",
        "{\"boxes.0\":{\"w\":1,\"h\":[3,2]}}",
    };
    expect(0, no, sizeof no / sizeof *no);
}

static void test_what_is_no_filter(void **state)
{
    static const char *const bad[] = {"[1]", "{\"a\":", "3", "{\"$and\":3}", "{\"n\":{\"$in\":3}}", "{\"forbidden\":1}",
                                      "{\"s\":{\"$regex\":\"(\"}}", "{\"s\":{\"$regex\":3}}", "{\"$or\":[3]}", "{\"s\":{\"$options\":\"i\"}}",
                                      "{\"s\":{\"$regex\":\"a\",\"$options\":\"z\"}}", "{\"s\":{\"$regex\":\"a\",\"$options\":3}}",
                                      "{\"$not\":3}", "{\"s\":{\"$size\":\"1\"}}", "{\"s\":{\"$elemMatch\":1}}"};
    expect(TARE_EINVAL, bad, sizeof bad / sizeof *bad);
    assert_int_equal(match("{\"n\":{\"$where\":1}}"), TARE_EUNSUPPORTED);
    assert_int_equal(match("{\"$where\":1}"), TARE_EUNSUPPORTED);
    char deep[600] = "";
    for (int i = 0; i < 40; i++)
        strcat(deep, "{\"$or\":[");
    strcat(deep, "{}");
    for (int i = 0; i < 40; i++)
        strcat(deep, "]}");
    assert_int_equal(match(deep), TARE_ELIMIT);
}

static void test_no_filter_matches_everything(void **state)
{
    struct arena a;
    struct filter *f = NULL;
    arena_init(&a, 0);
    assert_int_equal(filter_compile((struct str){0}, &a, &f, NULL), 0);
    assert_true(filter_is_all(f));
    filter_fini(f);
    arena_fini(&a);
}

static void test_a_bad_regex_ends(void **state)
{
    /* catastrophic backtracking stops at the limit and does not match */
    struct arena a;
    struct filter *f = NULL;
    arena_init(&a, 0);
    assert_int_equal(filter_compile(STR("{\"s\":{\"$regex\":\"^(a+)+$\"}}"), &a, &f, NULL), 0);
    filter_fini(f);
    arena_fini(&a);
    assert_int_equal(match("{\"state\":{\"$regex\":\"^(([a-z])+.)+[A-Z]([a-z])+$\"}}"), 0);
}

static void test_orders_put_missing_values_last(void **state)
{
    struct order o;
    assert_int_equal(order_compile(STR("-summary_metrics.loss, +name"), "+created_at", &o, NULL), 0);
    assert_int_equal(o.n, 2);
    assert_true(o.keys[0].descending && str_eqz(o.keys[0].name, "summary_metrics.loss"));
    struct filter_value low[2] = {{.kind = FILTER_NUMBER, .number = 1}, {.kind = FILTER_STRING, .s = STR("a")}};
    struct filter_value high[2] = {{.kind = FILTER_NUMBER, .number = 2}, {.kind = FILTER_STRING, .s = STR("a")}};
    struct filter_value same[2] = {{.kind = FILTER_NUMBER, .number = 1}, {.kind = FILTER_STRING, .s = STR("b")}};
    struct filter_value none[2] = {{.kind = FILTER_MISSING}, {.kind = FILTER_STRING, .s = STR("a")}};
    assert_true(order_compare(&o, high, low) < 0);
    assert_true(order_compare(&o, low, same) < 0);
    assert_true(order_compare(&o, none, low) > 0);
    o.keys[0].descending = false;
    assert_true(order_compare(&o, none, low) > 0);
    assert_int_equal(order_compile(STR("+"), "", &o, NULL), TARE_EINVAL);
    assert_int_equal(order_compile(STR(""), "+created_at", &o, NULL), 0);
    assert_true(o.n == 1 && !o.keys[0].descending);
}

static void test_times(void **state)
{
    int64_t us;
    assert_true(filter_parse_time(STR("1970-01-01"), &us) && us == 0);
    assert_true(filter_parse_time(STR("2026-11-23T10:59:22.5Z"), &us) && us == 1795431562500000);
    assert_true(filter_parse_time(STR("2024-02-29T00:00:00-00:30"), &us) && us == 1709166600000000);
    assert_false(filter_parse_time(STR("2026-13-01"), &us));
    assert_false(filter_parse_time(STR("2026-11-23T"), &us));
    assert_false(filter_parse_time(STR("2026-11-23 later"), &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_matches),
        cmocka_unit_test(test_what_does_not_match),
        cmocka_unit_test(test_what_is_no_filter),
        cmocka_unit_test(test_no_filter_matches_everything),
        cmocka_unit_test(test_a_bad_regex_ends),
        cmocka_unit_test(test_orders_put_missing_values_last),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
