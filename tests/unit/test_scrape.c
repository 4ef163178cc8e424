/* SPDX-License-Identifier: MIT */
/* Endpoints of metrics on a little server that answers well, badly or not at all. */
#include "tests/unit/unit.h"

#include "loop/http.h"
#include "record/wire.h"
#include "service/watch/scrape.h"
#include "tests/support/built_module.h"
#include "tests/support/tiny_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uv_loop_t loop;
static struct http *http;
static struct scraper *scraper;
static struct tiny_server server;

static bool reply(const char *path, const char *head, const char *body, struct tiny_reply *to)
{
    static const char gpu[] = "{\"metric\":{\"__name__\":\"%s\",\"gpu\":\"0\",\"modelName\":\"H100\",\"uuid\":\"U\"},"
                              "\"value\":[1,\"5\"]}";
    to->status = 200;
    if (strcmp(path, "/metrics") == 0) {
        bool known = strstr(head, "X-Key: secret") || strstr(head, "x-key: secret");
        snprintf(to->body, sizeof to->body, "# TYPE m gauge\nm{a=\"1\"} %d\nm{a=\"2\"} 2\n", known);
    } else if (strcmp(path, "/fails") == 0) {
        to->status = 500;
        snprintf(to->body, sizeof to->body, "# TYPE m gauge\nm 1\n");
    } else if (strncmp(path, "/api/v1/query?query=", 20) == 0) {
        int n = snprintf(to->body, sizeof to->body,
                         "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[");
        n += snprintf(to->body + n, sizeof to->body - (size_t)n, gpu, path + 20);
        snprintf(to->body + n, sizeof to->body - (size_t)n, "]}}");
    } else {
        return false;
    }
    return true;
}

static int set_up(void **state)
{
    uv_loop_init(&loop);
    http = http_new(&loop);
    scraper = scraper_new(http, &loop);
    tiny_server_start(&server);
    server.reply = reply;
    return 0;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int tear_down(void **state)
{
    bool closed = false;
    scraper_close(scraper);
    http_close(http, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed); /* nothing holds it any more */
    assert_int_equal(uv_loop_close(&loop), 0);
    tiny_server_stop(&server);
    return 0;
}

static void put_entry(struct buf *to, const char *key, const char *value)
{
    size_t entry = wire_buf_begin(to, 1);
    wire_buf_bytes(to, 1, str_of(key));
    wire_buf_bytes(to, 2, str_of(value));
    wire_buf_end(to, entry);
}

static void put_pair(struct buf *to, uint32_t number, const char *key, const char *value)
{
    size_t map = wire_buf_begin(to, number);
    put_entry(to, key, value);
    wire_buf_end(to, map);
}

/* The path on our server. */
static const char *address(const char *path)
{
    static char url[256];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    return url;
}

static void put_exporter(struct buf *settings, const char *path)
{
    size_t mark = wire_buf_begin(settings, 187);
    wire_buf_bytes(settings, 1, str_of(address(path)));
    wire_buf_end(settings, mark);
}

/* Take what there is, once there is something. */
static void assert_scraped(struct scrape *s, const char *want)
{
    AUTO_BUF items = {0}, all = {0};
    for (scrape_take(s, &items); items.len == 0; scrape_take(s, &items))
        uv_run(&loop, UV_RUN_ONCE);
    struct wire_reader r = wire_open(buf_str(&items));
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        buf_put_str(&all, wire_find_bytes(f.bytes, 1));
        buf_putc(&all, '=');
        buf_put_str(&all, wire_find_bytes(f.bytes, 16));
        buf_putc(&all, ' ');
    }
    assert_string_equal(buf_z(&all), want);
}

static void test_runs_with_the_same_endpoint_ask_once(void **state)
{
    AUTO_BUF settings = {0}, rest = {0};
    put_pair(&settings, 47, "n", address("/metrics"));
    put_pair(&settings, 184, "X-Key", "secret");
    assert_true(scrape_is_wanted(buf_str(&settings)));
    assert_false(scrape_has_exporter(buf_str(&settings)));
    struct scrape *a = scrape_new(scraper, buf_str(&settings)), *b = scrape_new(scraper, buf_str(&settings));
    scrape_ask(a);
    scrape_ask(b);
    assert_scraped(a, "openmetrics.n.m.0=1.0 openmetrics.n.m.1=2.0 ");
    assert_scraped(b, "openmetrics.n.m.0=1.0 openmetrics.n.m.1=2.0 ");
    assert_int_equal(server.n_requests, 1);
    scrape_take(a, &rest); /* each answer is told once */
    assert_int_equal(rest.len, 0);
    scrape_free(a);
    scrape_free(b);
    a = scrape_new(scraper, buf_str(&settings));
    scrape_take(a, &rest); /* and not to those who were not there */
    assert_int_equal(rest.len, 0);
    scrape_free(a);
}

static void test_headers_do_not_smuggle_others(void **state)
{
    AUTO_BUF settings = {0};
    put_pair(&settings, 47, "n", address("/metrics"));
    put_pair(&settings, 184, "Y", "1\nX-Key: secret");
    struct scrape *s = scrape_new(scraper, buf_str(&settings));
    scrape_ask(s);
    assert_scraped(s, "openmetrics.n.m.0=0.0 openmetrics.n.m.1=2.0 ");
    scrape_free(s);
}

static void test_bad_endpoints_cost_only_their_figures(void **state)
{
    static const char *const bad[] = {"/hole", "/reset", "/truncated", "/garbage", "/fails", "/big?9000000", "/drip?4000"};
    AUTO_BUF settings = {0};
    struct scrape *all[7];
    for (int i = 0; i < 7; i++) {
        buf_clear(&settings);
        size_t map = wire_buf_begin(&settings, 47);
        put_entry(&settings, "bad", address(bad[i]));
        put_entry(&settings, "bad2", "no address at all");
        wire_buf_end(&settings, map);
        all[i] = scrape_new(scraper, buf_str(&settings));
        scrape_ask(all[i]);
    }
    buf_clear(&settings);
    put_pair(&settings, 47, "good", address("/metrics"));
    struct scrape *good = scrape_new(scraper, buf_str(&settings));
    scrape_ask(good);
    assert_scraped(good, "openmetrics.good.m.0=0.0 openmetrics.good.m.1=2.0 ");
    while (server.n_requests < 8)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 7; i++) {
        AUTO_BUF items = {0};
        scrape_take(all[i], &items);
        assert_int_equal(items.len, 0);
        scrape_free(all[i]); /* while their requests are still under way: the hole's and the drip's */
    }
    scrape_free(good);
}

static void on_facts(void *ctx, struct str fields)
{
    struct buf *to = ctx;
    buf_clear(to);
    buf_puts(to, "!"); /* it was called */
    buf_put_str(to, fields);
}

static void test_an_exporter_is_asked_query_by_query(void **state)
{
    AUTO_BUF settings = {0}, facts = {0};
    put_exporter(&settings, "/api/v1/query?query=DCGM_FI_DEV_GPU_TEMP&query=DCGM_FI_DEV_GPU_UTIL");
    assert_true(scrape_has_exporter(buf_str(&settings)));
    struct scrape *s = scrape_new(scraper, buf_str(&settings));
    scrape_facts(s, on_facts, &facts);
    assert_int_equal(facts.len, 0);
    assert_scraped(s, "gpu.0.temp=5.0 gpu.0.gpu=5.0 ");
    assert_int_equal(server.n_requests, 2);
    struct str fields = {facts.data + 1, facts.len - 1};
    assert_true(str_eqz(wire_find_bytes(fields, 18), "H100"));
    assert_int_equal(wire_find_varint(fields, 19), 2);
    scrape_free(s);
}

static void test_no_facts_of_an_exporter_that_fails(void **state)
{
    static const char *const bad[] = {"/hello", "/hello?query=x"}; /* no query; no such answer */
    for (int i = 0; i < 2; i++) {
        AUTO_BUF settings = {0}, facts = {0};
        put_exporter(&settings, bad[i]);
        struct scrape *s = scrape_new(scraper, buf_str(&settings));
        if (i == 1)
            server.reply = NULL;
        scrape_facts(s, on_facts, &facts);
        while (facts.len == 0)
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(facts.len, 1);
        scrape_free(s);
    }
}

int main(void)
{
    use_built_module();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
        T(runs_with_the_same_endpoint_ask_once),
        T(headers_do_not_smuggle_others),
        T(bad_endpoints_cost_only_their_figures),
        T(an_exporter_is_asked_query_by_query),
        T(no_facts_of_an_exporter_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
