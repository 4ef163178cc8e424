/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/crc32.h"
#include "base/err.h"
#include "journal/encoder.h"

#include <string.h>

static char data[200000];

static int fill(void **state)
{
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 131 + i / 251);
    return 0;
}

static void test_header_is_the_peers(void **state)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    journal_put_header(header);
    assert_memory_equal(header, ":W&B\xE1\xBE\x00", 7);
}

/* Bytes of an empty full chunk, from the peer's own test (core/internal/transactionlog). */
static void test_empty_record_has_the_known_bytes(void **state)
{
    struct journal_encoder enc;
    journal_encoder_init(&enc, JOURNAL_BLOCK_BYTES);
    AUTO_BUF out = {0};
    assert_int_equal(journal_encode(&enc, &out, NULL, 0), 0);
    assert_int_equal(out.len, 7);
    assert_memory_equal(out.data, "\x1b\xdf\x05\xa5\x00\x00\x01", 7);
    assert_int_equal(enc.offset, JOURNAL_BLOCK_BYTES + 7);
}

static uint8_t chunk_type_at(const struct buf *b, size_t at, size_t *len)
{
    const uint8_t *p = (const uint8_t *)b->data + at;
    *len = (size_t)(p[4] | p[5] << 8);
    uint32_t crc = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    assert_int_equal(crc, crc32_ieee(0, p + 6, *len + 1));
    return p[6];
}

static void test_record_that_just_fits_is_one_chunk(void **state)
{
    struct journal_encoder enc;
    journal_encoder_init(&enc, JOURNAL_HEADER_BYTES);
    AUTO_BUF out = {0};
    size_t len, room = JOURNAL_BLOCK_BYTES - 14;
    assert_int_equal(journal_encode(&enc, &out, data, room), 0);
    assert_int_equal(chunk_type_at(&out, 0, &len), JOURNAL_FULL);
    assert_int_equal(enc.offset, JOURNAL_BLOCK_BYTES);
    buf_clear(&out);
    journal_encoder_init(&enc, JOURNAL_HEADER_BYTES);
    assert_int_equal(journal_encode(&enc, &out, data, room + 1), 0);
    assert_int_equal(chunk_type_at(&out, 0, &len), JOURNAL_FIRST);
    assert_int_equal(chunk_type_at(&out, 7 + room, &len), JOURNAL_LAST);
    assert_int_equal(len, 1);
}

static void test_seven_bytes_left_take_a_first_chunk_without_data(void **state)
{
    struct journal_encoder enc;
    journal_encoder_init(&enc, JOURNAL_BLOCK_BYTES - 7);
    AUTO_BUF out = {0};
    size_t len;
    assert_int_equal(journal_encode(&enc, &out, data, 3), 0);
    assert_int_equal(chunk_type_at(&out, 0, &len), JOURNAL_FIRST);
    assert_int_equal(len, 0);
    assert_int_equal(chunk_type_at(&out, 7, &len), JOURNAL_LAST);
    assert_int_equal(len, 3);
}

static void test_fewer_than_seven_bytes_left_are_zero(void **state)
{
    for (size_t left = 1; left < 7; left++) {
        struct journal_encoder enc;
        journal_encoder_init(&enc, JOURNAL_BLOCK_BYTES - left);
        AUTO_BUF out = {0};
        size_t len;
        assert_int_equal(journal_encode(&enc, &out, data, 3), 0);
        for (size_t i = 0; i < left; i++)
            assert_int_equal(out.data[i], 0);
        assert_int_equal(chunk_type_at(&out, left, &len), JOURNAL_FULL);
        assert_int_equal(enc.offset, JOURNAL_BLOCK_BYTES + 10);
    }
}

static void test_long_record_fills_its_middle_blocks(void **state)
{
    struct journal_encoder enc;
    journal_encoder_init(&enc, JOURNAL_BLOCK_BYTES);
    AUTO_BUF out = {0};
    size_t len, at = 0;
    assert_int_equal(journal_encode(&enc, &out, data, 2 * JOURNAL_CHUNK_MAX), 0);
    assert_int_equal(chunk_type_at(&out, at, &len), JOURNAL_FIRST);
    at += 7 + len;
    assert_int_equal(chunk_type_at(&out, at, &len), JOURNAL_LAST);
    assert_int_equal(len, JOURNAL_CHUNK_MAX);
    assert_int_equal(enc.offset % JOURNAL_BLOCK_BYTES, 0);
    buf_clear(&out);
    assert_int_equal(journal_encode(&enc, &out, data, 2 * JOURNAL_CHUNK_MAX + 1), 0);
    assert_int_equal(chunk_type_at(&out, JOURNAL_BLOCK_BYTES, &len), JOURNAL_MIDDLE);
    assert_int_equal(chunk_type_at(&out, 2 * JOURNAL_BLOCK_BYTES, &len), JOURNAL_LAST);
    assert_int_equal(len, 1);
}

static void test_out_of_memory_changes_nothing(void **state)
{
    struct journal_encoder enc;
    journal_encoder_init(&enc, JOURNAL_HEADER_BYTES);
    AUTO_BUF out = {0};
    assert_int_equal(journal_encode(&enc, &out, data, 10), 0);
    size_t len = out.len;
    uint64_t offset = enc.offset;
    mem_fault_set(1, 1);
    assert_int_equal(journal_encode(&enc, &out, data, 100000), TARE_ENOMEM);
    mem_fault_set(0, 0);
    assert_int_equal(out.len, len);
    assert_int_equal(enc.offset, offset);
    assert_int_equal(journal_encode(&enc, &out, data, 100000), 0);
}

static void test_whole_records_of_every_prefix(void **state)
{
    static const size_t sizes[] = {0, 5, 32737, 1, 70000, 0, 12};
    struct journal_encoder enc;
    uint64_t start = JOURNAL_HEADER_BYTES;
    journal_encoder_init(&enc, start);
    AUTO_BUF out = {0};
    size_t ends[8], n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(journal_encode(&enc, &out, data, sizes[i]), 0);
        ends[n++] = out.len;
    }
    for (size_t cut = 0; cut <= out.len; cut++) {
        size_t want = 0;
        for (size_t i = 0; i < n; i++)
            if (ends[i] <= cut)
                want = ends[i];
        assert_int_equal(journal_whole_records(out.data, cut, start), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_is_the_peers),
        cmocka_unit_test(test_empty_record_has_the_known_bytes),
        cmocka_unit_test(test_record_that_just_fits_is_one_chunk),
        cmocka_unit_test(test_seven_bytes_left_take_a_first_chunk_without_data),
        cmocka_unit_test(test_fewer_than_seven_bytes_left_are_zero),
        cmocka_unit_test(test_long_record_fills_its_middle_blocks),
        cmocka_unit_test(test_out_of_memory_changes_nothing),
        cmocka_unit_test(test_whole_records_of_every_prefix),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
