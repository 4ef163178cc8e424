/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/err.h"
#include "record/wire.h"
#include "service/watch/dcgm.h"
#include "service/watch/openmetrics.h"

#include <math.h>

/* The items as "KEY=VALUE ...". */
static void assert_items(struct buf *items, const char *want)
{
    AUTO_BUF all = {0};
    struct wire_reader r = wire_open(buf_str(items));
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        if (all.len > 0)
            buf_putc(&all, ' ');
        buf_put_str(&all, wire_find_bytes(f.bytes, 1));
        buf_putc(&all, '=');
        buf_put_str(&all, wire_find_bytes(f.bytes, 16));
    }
    assert_string_equal(all.len ? buf_z(&all) : "", want);
    buf_clear(items);
}

static void read_all(const char *text, const char *want)
{
    AUTO_BUF items = {0};
    struct openmetrics *o = openmetrics_new(STR("n"), STR(""));
    openmetrics_read(o, str_of(text), &items);
    assert_items(&items, want);
    openmetrics_free(o);
}

static void test_typed_gauges_and_counters_count(void **state)
{
    read_all("# HELP a what\n# TYPE a gauge\na 1\n# TYPE b counter\r\nb 2.5 1700000000\n"
             "# TYPE c histogram\nc_bucket{le=\"1\"} 3\nc 4\nuntyped 5\n# TYPE d unknown\nd 6\n"
             "late 7\n# TYPE late gauge\nlate 8\n# TYPE e counter\ne_total 9\n# EOF\n",
             "openmetrics.n.a.0=1.0 openmetrics.n.b.0=2.5 openmetrics.n.late.0=8.0");
}

static void test_numbers_are_read_as_rust_reads_them(void **state)
{
    read_all("# TYPE a gauge\na +Inf\na NaN\na .5\na 5.\na +1e3\na -7\na 0x10\na 1_0\na e\na .\na\na  3\n",
             "openmetrics.n.a.0=null openmetrics.n.a.0=null openmetrics.n.a.0=0.5 openmetrics.n.a.0=5.0 "
             "openmetrics.n.a.0=1000.0 openmetrics.n.a.0=-7.0 openmetrics.n.a.0=3.0");
    double v;
    assert_true(openmetrics_number(STR("-infinity"), &v) && isinf(v) && v < 0);
    assert_false(openmetrics_number(STR("+-1"), &v));
    assert_false(openmetrics_number(STR("1e"), &v));
    assert_false(openmetrics_number(STR(""), &v));
}

static void test_sets_of_labels_are_numbered_for_good(void **state)
{
    AUTO_BUF items = {0};
    struct openmetrics *o = openmetrics_new(STR("n"), STR(""));
    openmetrics_read(o, STR("# TYPE m gauge\n# TYPE k gauge\nm{a=\"1\",b=\"x\"} 1\nm{a=\"2\"} 2\nk 9\n"), &items);
    assert_items(&items, "openmetrics.n.m.0=1.0 openmetrics.n.m.1=2.0 openmetrics.n.k.0=9.0");
    openmetrics_read(o, STR("# TYPE m gauge\nm{a=\"2\"} 5\nm{a=\"3\"} 6\nm{ b=\"x\", a=\"1\",} 4\nm 7\n"), &items);
    assert_items(&items, "openmetrics.n.m.1=5.0 openmetrics.n.m.2=6.0 openmetrics.n.m.0=4.0 openmetrics.n.m.3=7.0");
    openmetrics_free(o);
}

static void test_labels_hold_what_is_escaped(void **state)
{
    read_all("# TYPE m gauge\nm{a=\"x,y}\",b=\"say \\\"hi\\\"\\n\"} 1\nm{a=\"x,y}\",b=\"say \\\"hi\\\"\\\\n\"} 2\n"
             "m{a=\"1\",a=\"2\"} 3\nm{a=\"2\"} 4\n"
             "m{a=1} 5\nm{a=\"1} 5\nm{a} 5\nm} 5\n",
             "openmetrics.n.m.0=1.0 openmetrics.n.m.1=2.0 openmetrics.n.m.2=3.0 openmetrics.n.m.2=4.0");
    read_all("# TYPE \xff\xfe gauge\n\xff\xfe 1\n# TYPE b gauge\nb 2\n", "openmetrics.n.b.0=2.0"); /* no UTF-8 */
}

static void put_sequence(struct buf *filters, const char *pattern)
{
    size_t mark = wire_buf_begin(filters, 1);
    wire_buf_bytes(filters, 1, str_of(pattern));
    wire_buf_end(filters, mark);
}

static void put_mapping(struct buf *filters, const char *metric, const char *label, const char *pattern)
{
    size_t mapping = wire_buf_begin(filters, 2), entry = wire_buf_begin(filters, 1);
    wire_buf_bytes(filters, 1, str_of(metric));
    size_t labels = wire_buf_begin(filters, 2), one = wire_buf_begin(filters, 1);
    wire_buf_bytes(filters, 1, str_of(label));
    wire_buf_bytes(filters, 2, str_of(pattern));
    wire_buf_end(filters, one);
    wire_buf_end(filters, labels);
    wire_buf_end(filters, entry);
    wire_buf_end(filters, mapping);
}

static const char *const two_gpus = "# TYPE DCGM_TEMP gauge\nDCGM_TEMP{gpu=\"0\",pod=\"wandb-1\"} 40\n"
                                    "DCGM_TEMP{gpu=\"1\",pod=\"other\"} 41\n# TYPE requests counter\nrequests 7\n";

static void read_filtered(const struct buf *filters, const char *want)
{
    AUTO_BUF items = {0};
    struct openmetrics *o = openmetrics_new(STR("gpus"), buf_str(filters));
    openmetrics_read(o, str_of(two_gpus), &items);
    assert_items(&items, want);
    openmetrics_free(o);
}

static void test_filters_are_patterns_of_name_and_labels(void **state)
{
    AUTO_BUF f = {0};
    read_filtered(&f, "openmetrics.gpus.DCGM_TEMP.0=40.0 openmetrics.gpus.DCGM_TEMP.1=41.0 "
                      "openmetrics.gpus.requests.0=7.0");
    put_sequence(&f, "^gpus\\.req");
    read_filtered(&f, "openmetrics.gpus.requests.0=7.0");
    buf_clear(&f);
    put_mapping(&f, ".*", "pod", "wandb-.*");
    read_filtered(&f, "openmetrics.gpus.DCGM_TEMP.0=40.0"); /* a sample without that label is not kept */
    buf_clear(&f);
    put_mapping(&f, "DCGM", "gpu", "^1$");
    read_filtered(&f, "openmetrics.gpus.DCGM_TEMP.0=41.0"); /* only what is kept is numbered */
    buf_clear(&f);
    put_sequence(&f, "(");
    read_filtered(&f, ""); /* a typing error does not let all through */
    buf_clear(&f);
    put_mapping(&f, ".*", "gpu", "[");
    read_filtered(&f, "");
}

/* ---- DCGM ---- */

static void test_urls_of_queries(void **state)
{
    AUTO_BUF url = {0};
    const char *setting = "http://u:p@localhost:9090/api/v1/query?x=1&query=q1&query=q2%7Bnode=%22l+3%22}#end";
    assert_true(dcgm_url(setting, 0, &url));
    assert_string_equal(buf_z(&url), "http://localhost:9090/api/v1/query?query=q1");
    buf_clear(&url);
    assert_true(dcgm_url(setting, 1, &url));
    assert_string_equal(buf_z(&url), "http://localhost:9090/api/v1/query?query=q2%7Bnode%3D%22l%203%22%7D");
    assert_false(dcgm_url(setting, 2, &url));
    assert_false(dcgm_url("http://localhost:9090/metrics", 0, &url));
    assert_false(dcgm_url("://invalid?query=x", 0, &url));
}

static void test_gpus_of_an_exporter(void **state)
{
    static const char answer[] =
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":["
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_GPU_TEMP\",\"gpu\":\"0\",\"hostname\":\"h1\",\"node\":\"n1\","
        "\"modelName\":\"NVIDIA H100\",\"uuid\":\"GPU-1\"},\"value\":[1700000000.5,\"42\"]},"
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_FB_FREE\",\"device\":\"nvidia3\",\"hostname\":\"h\\u00e9\"},"
        "\"value\":[1,\"7.5\"]},"
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_GPU_UTIL\",\"gpu\":\"1\"},\"value\":[1,\"9\"]},"
        "{\"metric\":{\"__name__\":\"DCGM_FI_OTHER\",\"gpu\":\"1\"},\"value\":[1,\"9\"]},"
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_GPU_UTIL\"},\"value\":[1,\"9\"]},"
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_GPU_UTIL\",\"gpu\":\"1\"},\"value\":[1,\"x\"]},"
        "{\"metric\":3},5]}}";
    AUTO_BUF items = {0}, gpus = {0}, facts = {0};
    char why[256];
    assert_int_equal(dcgm_read(str_of(answer), &items, &gpus, why), 0);
    assert_items(&items, "gpu.0.temp/l:n1=42.0 gpu.3.memoryFree/l:h\u00e9=7.5 gpu.1.gpu=9.0");
    dcgm_put_facts(&facts, buf_str(&gpus));
    assert_true(str_eqz(wire_find_bytes(buf_str(&facts), 18), "NVIDIA H100"));
    assert_int_equal(wire_find_varint(buf_str(&facts), 19), 1);
    assert_true(str_eqz(wire_find_bytes(wire_find_bytes(buf_str(&facts), 24), 5), "GPU-1"));
}

static void test_answers_that_are_none(void **state)
{
    AUTO_BUF items = {0}, gpus = {0}, facts = {0};
    char why[256];
    assert_int_equal(dcgm_read(STR("<html>"), &items, &gpus, why), TARE_EFORMAT);
    assert_int_equal(dcgm_read(STR("{\"status\":\"error\",\"errorType\":\"bad\",\"error\":\"no\"}"), &items, &gpus, why),
                     TARE_EFORMAT);
    assert_string_equal(why, "bad: no");
    assert_int_equal(dcgm_read(STR("{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\"}}"), &items, &gpus, why),
                     TARE_EFORMAT);
    assert_int_equal(dcgm_read(STR("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\"}}"), &items, &gpus, why), 0);
    assert_int_equal(items.len, 0);
    dcgm_put_facts(&facts, buf_str(&gpus));
    assert_int_equal(facts.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typed_gauges_and_counters_count),
        cmocka_unit_test(test_numbers_are_read_as_rust_reads_them),
        cmocka_unit_test(test_sets_of_labels_are_numbered_for_good),
        cmocka_unit_test(test_labels_hold_what_is_escaped),
        cmocka_unit_test(test_filters_are_patterns_of_name_and_labels),
        cmocka_unit_test(test_urls_of_queries),
        cmocka_unit_test(test_gpus_of_an_exporter),
        cmocka_unit_test(test_answers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
