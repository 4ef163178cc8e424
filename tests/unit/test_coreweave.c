/* SPDX-License-Identifier: MIT */
/* Where in CoreWeave's cloud a run is: who is asked, how often, and what of the answer is kept. */
#include "unit.h"

#include "base/err.h"
#include "record/wire.h"
#include "service/upload/coreweave.h"
#include "tests/support/fake_net.h"

#include <stdio.h>
#include <string.h>

static struct coreweave *asked;
static struct buf told;
static int n_told;

static void on_done(void *ctx, struct str info)
{
    assert_ptr_equal(ctx, &told);
    n_told++;
    buf_put_str(&told, info);
}

static void put_text(struct buf *to, uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(to, number);
    wire_buf_bytes(to, 1, str_of(text));
    wire_buf_end(to, mark);
}

static int set_up(void **state)
{
    AUTO_BUF settings = {0};
    fake_net_begin();
    put_text(&settings, 192, "http://127.0.0.1:9/");
    put_text(&settings, 193, "api/meta-data");
    n_told = 0;
    buf_clear(&told);
    asked = coreweave_ask(NULL, buf_str(&settings), STR("te\"am"), on_done, &told);
    return 0;
}

static int tear_down(void **state)
{
    coreweave_free(asked);
    fake_net_settle();
    fake_net_end();
    buf_fini(&told);
    return 0;
}

static void answer_question(const char *id)
{
    char data[256];
    const struct graphql_call *c = fake_net_call();
    assert_string_equal(c->operation, "OrganizationCoreWeaveOrganizationID");
    assert_non_null(strstr(c->document, "coreWeaveOrganizationId"));
    assert_true(str_eqz(c->variables, "{\"entityName\":\"te\\\"am\"}"));
    snprintf(data, sizeof data, "{\"entity\":{\"organization\":%s}}", id);
    fake_net_data(data);
}

static void test_customers_are_asked_where_they_are(void **state)
{
    answer_question("{\"coreWeaveOrganizationId\":\"cw-1\"}");
    const struct http_request *r = fake_net_request();
    assert_string_equal(r->method, "GET");
    assert_string_equal(r->url, "http://127.0.0.1:9/api/meta-data");
    assert_int_equal(r->timeout_ms, 5000);
    fake_net_answer(200, "join_token: secret\ncluster_name: c 1\r\n\nnonsense\n org_id :o:2 \nregion:US\nregion: EU");
    assert_int_equal(n_told, 1);
    assert_true(str_eqz(wire_find_bytes(buf_str(&told), 1), "c 1"));
    assert_true(str_eqz(wire_find_bytes(buf_str(&told), 2), "o:2"));
    assert_true(str_eqz(wire_find_bytes(buf_str(&told), 3), "EU"));
    assert_null(memmem(told.data, told.len, "secret", 6));
}

static void test_others_are_not(void **state)
{
    static const char *const none[] = {"null", "{}", "{\"coreWeaveOrganizationId\":null}",
                                       "{\"coreWeaveOrganizationId\":\"\"}", "{\"coreWeaveOrganizationId\":7}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        answer_question(none[i]);
        assert_int_equal(fake_net.n_requests, 0);
        tear_down(NULL);
        set_up(NULL);
    }
    fake_net_call();
    fake_net_refuse(TARE_EPROTO, "no such field");
    assert_int_equal(fake_net.n_requests + n_told, 0);
}

static void test_it_is_tried_three_more_times(void **state)
{
    answer_question("{\"coreWeaveOrganizationId\":\"cw-1\"}");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fake_net.n_requests, 1);
        if (i % 2)
            fake_net_answer(503, "");
        else
            fake_net_fail(TARE_ETIMEOUT, "too slow");
        assert_int_equal(fake_net.n_requests, 0);
        fake_net_pass_ms(999); /* no wait is shorter */
        assert_int_equal(fake_net.n_requests, 0);
        fake_net_pass_ms(9001); /* none is longer */
    }
    assert_int_equal(fake_net.n_requests, 0);
    assert_int_equal(fake_net.n_sent, 4);
    assert_int_equal(n_told, 0);
}

static void test_an_answer_that_will_not_get_better(void **state)
{
    answer_question("{\"coreWeaveOrganizationId\":\"cw-1\"}");
    fake_net_answer(404, "cluster_name: no");
    fake_net_pass_ms(60000);
    assert_int_equal(fake_net.n_requests + n_told, 0);
}

/* The run ends, in each state; tear_down sees that nothing is left. */
static void test_it_is_forgotten_at_any_time(void **state)
{
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            answer_question("{\"coreWeaveOrganizationId\":\"cw-1\"}");
        if (i > 1)
            fake_net_answer(500, "");
        tear_down(NULL);
        assert_int_equal(n_told, 0);
        set_up(NULL);
    }
}

static void test_odd_answers(void **state)
{
    AUTO_BUF info = {0};
    coreweave_read(STR(""), &info);
    coreweave_read(STR("\n:\n::\ncluster_name\norg_id:\nregion: \xff\xfe\nCLUSTER_NAME: x\n"), &info);
    assert_int_equal(info.len, 0);
    coreweave_read(STR("cluster_name:x"), &info);
    assert_true(str_eqz(wire_find_bytes(buf_str(&info), 1), "x"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(customers_are_asked_where_they_are),
        T(others_are_not),
        T(it_is_tried_three_more_times),
        T(an_answer_that_will_not_get_better),
        T(it_is_forgotten_at_any_time),
        cmocka_unit_test(test_odd_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
