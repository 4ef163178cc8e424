/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "record/check.h"
#include "record/record.h"

/* A request that publishes a history row of two items and a console line with a NUL in it. */
static void encode_sample(struct arena *a, struct buf *b)
{
    Pb__HistoryItem loss = PB__HISTORY_ITEM__INIT, acc = PB__HISTORY_ITEM__INIT;
    loss.key = "loss";
    loss.value_json = "0.25";
    acc.key = "acc";
    acc.value_case = PB__HISTORY_ITEM__VALUE_INTEGER;
    acc.integer = -3;
    Pb__HistoryRecord history = PB__HISTORY_RECORD__INIT;
    history.item = record_list_add(a, history.item, history.n_item++, &loss);
    history.item = record_list_add(a, history.item, history.n_item++, &acc);
    Pb__Record record = PB__RECORD__INIT;
    record.num = 7;
    record.record_type_case = PB__RECORD__RECORD_TYPE_HISTORY;
    record.history = &history;
    Pb__ServerRequest request = PB__SERVER_REQUEST__INIT;
    request.request_id = "r1";
    request.server_request_type_case = PB__SERVER_REQUEST__SERVER_REQUEST_TYPE_RECORD_PUBLISH;
    request.record_publish = &record;
    assert_int_equal(record_encode(b, &request.base), 0);
}

static void test_what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    AUTO_BUF b = {0};
    encode_sample(&a, &b);

    Pb__ServerRequest *r = NULL;
    assert_int_equal(record_decode_request(&a, b.data, b.len, &r, NULL), 0);
    assert_string_equal(r->request_id, "r1");
    assert_int_equal(r->record_publish->num, 7);
    Pb__HistoryRecord *h = r->record_publish->history;
    assert_int_equal(h->n_item, 2);
    assert_string_equal(h->item[0]->key, "loss");
    assert_string_equal(h->item[0]->value_json, "0.25");
    assert_string_equal(h->item[0]->nested_key ? "set" : "absent", "absent");
    assert_int_equal(h->item[1]->value_case, PB__HISTORY_ITEM__VALUE_INTEGER);
    assert_int_equal(h->item[1]->integer, -3);
    arena_fini(&a);
}

static void test_console_output_may_hold_nul(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    Pb__OutputRawRecord raw = PB__OUTPUT_RAW_RECORD__INIT;
    raw.line = (ProtobufCBinaryData){3, (uint8_t *)"a\0b"};
    Pb__Record in = PB__RECORD__INIT, *out = NULL;
    in.record_type_case = PB__RECORD__RECORD_TYPE_OUTPUT_RAW;
    in.output_raw = &raw;
    AUTO_BUF b = {0};
    assert_int_equal(record_encode(&b, &in.base), 0);
    assert_int_equal(record_decode(&a, b.data, b.len, &out, NULL), 0);
    assert_int_equal(out->output_raw->line.len, 3);
    assert_memory_equal(out->output_raw->line.data, "a\0b", 3);
    arena_fini(&a);
}

static void test_every_cut_of_a_message_is_malformed_or_whole(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    AUTO_BUF b = {0};
    encode_sample(&a, &b);
    size_t malformed = 0;
    for (size_t n = 0; n < b.len; n++) {
        Pb__ServerRequest *r = NULL;
        int rc = record_decode_request(&a, b.data, n, &r, NULL);
        assert_true(rc == 0 || rc == TARE_EFORMAT);
        assert_true((rc == 0) == (r != NULL));
        malformed += rc != 0;
    }
    assert_true(malformed > b.len / 2);
    arena_fini(&a);
}

static void test_the_arena_limit_stops_a_bomb(void **state)
{
    (void)state;
    /* 20,000 empty items: 2 bytes each on the wire, an object each in memory */
    static uint8_t wire[40000];
    for (size_t i = 0; i < sizeof wire; i += 2) {
        wire[i] = 1 << 3 | 2;
        wire[i + 1] = 0;
    }
    struct arena a;
    arena_init(&a, 100 * 1000);
    ProtobufCMessage *m = NULL;
    struct err e = {0};
    assert_int_equal(
        record_unpack(&pb__history_record__descriptor, &a, wire, sizeof wire, &m, &e),
        TARE_ELIMIT);
    assert_null(m);
    assert_int_equal(e.code, TARE_ELIMIT);

    struct arena wide;
    arena_init(&wide, 0);
    assert_int_equal(
        record_unpack(&pb__history_record__descriptor, &wide, wire, sizeof wire, &m, NULL), 0);
    assert_int_equal(((Pb__HistoryRecord *)m)->n_item, 20000);
    arena_fini(&wide);
    arena_fini(&a);
}

static void test_a_list_grows_in_place_of_its_owner(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    static int things[1000];
    void **list = NULL;
    for (size_t n = 0; n < 1000; n++)
        list = record_list_add(&a, list, n, &things[n]);
    for (size_t n = 0; n < 1000; n++)
        assert_ptr_equal(list[n], &things[n]);
    assert_true(a.used_bytes < 4 * 1000 * sizeof(void *));
    arena_fini(&a);
}

static void test_texts_are_mended_where_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *is, *becomes;
    } texts[] = {
        {"", ""},
        {"plain, \xC3\xA9 and \xF0\x9F\x98\x80", "plain, \xC3\xA9 and \xF0\x9F\x98\x80"},
        {"m\xF6glich", "m?glich"},
        {"cut \xE4\xB8", "cut ??"}, /* the start of a character */
        {"\x80\xC0\xAF\xED\xA0\x80 \xEF\xBF\xBD", "?????? \xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct arena a;
        arena_init(&a, 0);
        Pb__ServerErrorResponse error = PB__SERVER_ERROR_RESPONSE__INIT;
        error.message = (char *)texts[i].is;
        Pb__ServerResponse in = PB__SERVER_RESPONSE__INIT, *out = NULL;
        in.request_id = (char *)texts[i].is;
        in.server_response_type_case = PB__SERVER_RESPONSE__SERVER_RESPONSE_TYPE_ERROR_RESPONSE;
        in.error_response = &error;
        AUTO_BUF b = {0};
        assert_int_equal(record_encode(&b, &in.base), 0);
        record_mend_texts(&pb__server_response__descriptor, b.data, b.len);
        assert_true(record_check(&pb__server_response__descriptor, buf_str(&b)));
        assert_int_equal(record_decode_response(&a, b.data, b.len, &out, NULL), 0);
        assert_string_equal(out->request_id, texts[i].becomes);
        assert_string_equal(out->error_response->message, texts[i].becomes);
        arena_fini(&a);
    }
    for (size_t n = 0; n < 64; n++) { /* what is no message is left alone */
        char junk[64];
        memset(junk, 0xFF, sizeof junk);
        record_mend_texts(&pb__server_response__descriptor, junk, n);
        assert_int_equal((unsigned char)junk[0], 0xFF);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_encoded_is_decoded),
        cmocka_unit_test(test_console_output_may_hold_nul),
        cmocka_unit_test(test_every_cut_of_a_message_is_malformed_or_whole),
        cmocka_unit_test(test_the_arena_limit_stops_a_bomb),
        cmocka_unit_test(test_a_list_grows_in_place_of_its_owner),
        cmocka_unit_test(test_texts_are_mended_where_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
