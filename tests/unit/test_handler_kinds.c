/* SPDX-License-Identifier: MIT */
/* Every kind of Record and Request has its row, and does what the row says. */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "record/names.h"
#include "record/wire.h"
#include "service/stream/handler_impl.h"

#include <stdlib.h>
#include <string.h>

static struct fake_out f;

static int start(void **state)
{
    fake_start(&f);
    return 0;
}

static int stop(void **state)
{
    fake_stop(&f);
    return 0;
}

/* The fields of `d` in its oneof `name` are the rows of the table, by number and name. */
static void check_table(const ProtobufCMessageDescriptor *d, const struct handler_kind *kinds,
                        size_t n_kinds, const char *(*name)(int))
{
    size_t n_fields = 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &d->fields[i];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        n_fields++;
        size_t found = 0;
        for (size_t k = 0; k < n_kinds; k++) {
            if (kinds[k].number != field->id)
                continue;
            found++;
            assert_string_equal(kinds[k].name, name((int)field->id));
        }
        if (found != 1)
            fail_msg("%s has %zu rows", name((int)field->id), found);
    }
    assert_int_equal(n_fields, n_kinds);
}

static void test_the_tables_are_complete(void **state)
{
    check_table(&pb__record__descriptor, handler_record_kinds, handler_n_record_kinds,
                record_kind_name);
    check_table(&pb__request__descriptor, handler_request_kinds, handler_n_request_kinds,
                request_kind_name);
}

static void test_records_are_kept_as_their_rows_say(void **state)
{
    for (size_t i = 0; i < handler_n_record_kinds; i++) {
        const struct handler_kind *k = &handler_record_kinds[i];
        if (k->number == RECORD_REQUEST || k->number == 18 || k->number == 21)
            continue; /* these have tests of their own */
        fake_forget(&f);
        fake_send(&f, k->number, STR(""));
        assert_int_equal(f.n_records, k->flags & KIND_KEPT ? 1 : 0);
    }
}

/* A kept record has a number and its kind, and nothing of how it came. */
static void test_a_kept_record_is_its_kind_and_number(void **state)
{
    fake_send(&f, 5, STR("\x0a\x0a\x0a\x01x\x82\x01\x04\"ab\""));
    assert_int_equal(f.n_records, 1);
    const char want[] = "\x08\x02\x2a\x0c\x0a\x0a\x0a\x01x\x82\x01\x04\"ab\"";
    assert_int_equal(f.records[0].len, sizeof want - 1);
    assert_memory_equal(f.records[0].data, want, sizeof want - 1);
}

static void test_a_local_record_is_not_kept(void **state)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, 5, STR(""));
    wire_buf_bytes(&record, 16, STR("\x10\x01"));
    struct reply_to to = {0};
    assert_int_equal(handler_record(f.h, buf_str(&record), &to, f.now_ns), 0);
    assert_int_equal(f.n_records, 0);
}

/* Who waits is answered once, whatever was asked: with a result or an error. */
static void test_every_kind_is_answered_once(void **state)
{
    for (size_t i = 0; i < handler_n_request_kinds; i++) {
        const struct handler_kind *k = &handler_request_kinds[i];
        fake_forget(&f);
        AUTO_BUF request = {0};
        wire_buf_bytes(&request, k->number, STR(""));
        fake_ask(&f, 100, buf_str(&request), "slot");
        if (f.n_replies != 1)
            fail_msg("%s: %zu answers", k->name, f.n_replies);
        if (f.replies[0].is_error != !(k->flags & KIND_ANSWERED))
            fail_msg("%s: error %d", k->name, f.replies[0].is_error);
    }
    for (size_t i = 0; i < handler_n_record_kinds; i++) {
        const struct handler_kind *k = &handler_record_kinds[i];
        if (k->number == RECORD_REQUEST)
            continue;
        fake_forget(&f);
        fake_ask(&f, k->number, STR(""), "slot");
        assert_int_equal(f.n_replies, 1);
        assert_int_equal(f.replies[0].is_error, !(k->flags & KIND_ANSWERED));
    }
}

/* The responses that carry a type have the one of their request. */
static void test_answers_have_the_right_type(void **state)
{
    static const struct {
        uint32_t request;
        Pb__Response__ResponseTypeCase response;
    } rows[] = {
        {1, PB__RESPONSE__RESPONSE_TYPE__NOT_SET},
        {2, PB__RESPONSE__RESPONSE_TYPE_NETWORK_STATUS_RESPONSE},
        {5, PB__RESPONSE__RESPONSE_TYPE_LOGIN_RESPONSE},
        {12, PB__RESPONSE__RESPONSE_TYPE_CHECK_VERSION_RESPONSE},
        {14, PB__RESPONSE__RESPONSE_TYPE_DOWNLOAD_ARTIFACT_RESPONSE},
        {17, PB__RESPONSE__RESPONSE_TYPE_KEEPALIVE_RESPONSE},
        {20, PB__RESPONSE__RESPONSE_TYPE__NOT_SET},
        {21, PB__RESPONSE__RESPONSE_TYPE_CANCEL_RESPONSE},
        {64, PB__RESPONSE__RESPONSE_TYPE__NOT_SET},
        {66, PB__RESPONSE__RESPONSE_TYPE__NOT_SET},
        {67, PB__RESPONSE__RESPONSE_TYPE_SERVER_INFO_RESPONSE},
        {73, PB__RESPONSE__RESPONSE_TYPE_JOB_INFO_RESPONSE},
        {74, PB__RESPONSE__RESPONSE_TYPE_GET_SYSTEM_METRICS_RESPONSE},
        {82, PB__RESPONSE__RESPONSE_TYPE_OPERATIONS_RESPONSE},
        {1000, PB__RESPONSE__RESPONSE_TYPE_TEST_INJECT_RESPONSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(fake_answer(&f, rows[i].request, STR(""))->response->response_type_case,
                         rows[i].response);
}

static int hand_over(struct str bytes)
{
    char *copy = malloc(bytes.n + 1);
    memcpy(copy, bytes.p, bytes.n);
    struct reply_to to = {0};
    int rc = handler_record(f.h, str_make(copy, bytes.n), &to, f.now_ns);
    free(copy);
    return rc;
}

static void test_what_cannot_be_decoded_is_refused(void **state)
{
    assert_true(hand_over(STR("\x2a\x02\x0a\x50")) < 0);         /* config, cut item */
    assert_true(hand_over(STR("\x2a\x04\x0a\x02\x0a\x50")) < 0); /* in the item */
    assert_true(hand_over(STR("\x2a\x05\x0a\x03\x0a\x01\xff")) < 0); /* key is not UTF-8 */
    assert_true(hand_over(STR("\x2a\x7f")) < 0);
    assert_true(hand_over(STR("\xa2\x06\x04\x22\x02\x08\x80")) < 0); /* get_summary */
    assert_int_equal(f.n_records, 0);
    assert_int_equal(hand_over(STR("")), 0); /* a Record of no kind: ignored */
    assert_int_equal(hand_over(STR("\xf2\x3f\x01x")), 0); /* of an unknown one */
    assert_int_equal(f.n_records, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(test_the_tables_are_complete),
        T(test_records_are_kept_as_their_rows_say),
        T(test_a_kept_record_is_its_kind_and_number),
        T(test_a_local_record_is_not_kept),
        T(test_every_kind_is_answered_once),
        T(test_answers_have_the_right_type),
        T(test_what_cannot_be_decoded_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
