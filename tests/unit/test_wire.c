/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "record/frame.h"
#include "record/wire.h"

static void test_varints_of_every_size(void **state)
{
    for (int bit = 0; bit < 64; bit++)
        for (int off = -1; off <= 1; off++) {
            uint64_t v = ((uint64_t)1 << bit) + (uint64_t)off, back = 0;
            char raw[WIRE_VARINT_MAX];
            size_t n = (size_t)(wire_put_varint(raw, v) - raw);
            assert_int_equal(wire_varint_size(v), n);
            struct wire_reader r = {raw, raw + n};
            assert_true(wire_get_varint(&r, &back));
            assert_true(back == v && r.p == r.end);
            r = (struct wire_reader){raw, raw + n - 1};
            assert_false(wire_get_varint(&r, &back));
        }
}

static void test_fields_of_each_type_and_nesting(void **state)
{
    AUTO_BUF b = {0};
    size_t mark = wire_buf_begin(&b, 3);
    char filler[300] = {0};
    wire_buf_varint(&b, 1, 150);
    wire_buf_bytes(&b, 2, str_make(filler, sizeof filler));
    wire_buf_double(&b, 200, 0.5);
    assert_int_equal(wire_buf_end(&b, mark), 0);
    struct wire_reader r = wire_open(buf_str(&b));
    struct wire_field f;
    assert_int_equal(wire_next(&r, &f), 1);
    assert_int_equal(f.number, 3);
    assert_int_equal(wire_next(&r, &(struct wire_field){0}), 0);
    r = wire_open(f.bytes);
    assert_int_equal(wire_next(&r, &f), 1);
    assert_int_equal(f.value, 150);
    assert_int_equal(wire_next(&r, &f), 1);
    assert_int_equal(f.bytes.n, 300);
    assert_int_equal(wire_next(&r, &f), 1);
    assert_true(f.number == 200 && f.value == 0x3fe0000000000000u);
    assert_int_equal(wire_next(&r, &f), 0);
}

static void test_malformed_messages_are_refused(void **state)
{
    static const struct str bad[] = {
        {"\x0a", 1}, {"\x0a\x05" "abc", 5}, {"\x09\x01\x02", 3}, {"\x0d\x01", 2}, {"\x0b", 1},
        {"\x00\x01", 2}, {"\x80", 1}, {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
        {"\x88\x80\x80\x80\x80\x00\x01", 7}, {"\x0a\x81\x80\x80\x80\x80\x00" "a", 8}, /* six bytes */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire_reader r = wire_open(bad[i]);
        struct wire_field f;
        assert_int_equal(wire_next(&r, &f), -1);
    }
}

static void test_frame_headers(void **state)
{
    char raw[FRAME_HEADER];
    uint32_t len = 0;
    frame_put_header(raw, 0x01020304);
    for (size_t n = 0; n < FRAME_HEADER; n++)
        assert_int_equal(frame_peek(raw, n, FRAME_MAX_DEFAULT, &len), 0);
    assert_int_equal(frame_peek(raw, 5, FRAME_MAX_DEFAULT, &len), 1);
    assert_int_equal(len, 0x01020304);
    assert_int_equal(frame_peek(raw, 5, 1000, &len), TARE_ELIMIT);
    assert_int_equal(frame_peek("X", 1, 1000, &len), TARE_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varints_of_every_size),
        cmocka_unit_test(test_fields_of_each_type_and_nesting),
        cmocka_unit_test(test_malformed_messages_are_refused),
        cmocka_unit_test(test_frame_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
