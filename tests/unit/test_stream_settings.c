/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

static void put_text(struct buf *b, uint32_t number, const char *value)
{
    size_t mark = wire_buf_begin(b, number);
    wire_buf_bytes(b, 1, str_of(value));
    wire_buf_end(b, mark);
}

static void put_flag(struct buf *b, uint32_t number, bool value)
{
    size_t mark = wire_buf_begin(b, number);
    if (value)
        wire_buf_varint(b, 1, 1);
    wire_buf_end(b, mark);
}

static struct buf usual(void)
{
    struct buf b = {0};
    put_flag(&b, 30, true);               /* _offline */
    put_text(&b, 85, "/d/logs");          /* log_dir */
    put_text(&b, 107, "r1");              /* run_id */
    put_text(&b, 133, "/d");              /* sync_dir */
    put_text(&b, 134, "/d/run-r1.wandb"); /* sync_file */
    put_flag(&b, 162, false);             /* _shared */
    put_text(&b, 97, "project");          /* of no use here */
    return b;
}

static void test_keeps_what_is_used(void **state)
{
    AUTO_BUF b = usual();
    struct stream_settings s;
    assert_int_equal(stream_settings_init(&s, buf_str(&b), NULL), 0);
    assert_string_equal(s.run_id, "r1");
    assert_string_equal(s.sync_dir, "/d");
    assert_string_equal(s.sync_file, "/d/run-r1.wandb");
    assert_string_equal(s.files_dir, "/d/files");
    assert_string_equal(s.log_dir, "/d/logs");
    assert_string_equal(s.log_file, "");
    assert_true(s.offline);
    assert_false(s.shared || s.skip_journal || s.silent);
    stream_settings_fini(&s);
}

static void test_the_last_of_a_repeated_setting_counts(void **state)
{
    AUTO_BUF b = usual();
    struct stream_settings s;
    put_text(&b, 107, "r2");
    put_text(&b, 133, "/much/longer/than/the/first");
    put_flag(&b, 30, false);
    assert_int_equal(stream_settings_init(&s, buf_str(&b), NULL), 0);
    assert_string_equal(s.run_id, "r2");
    assert_string_equal(s.files_dir, "/much/longer/than/the/first/files");
    assert_false(s.offline);
    stream_settings_fini(&s);
}

static void test_what_is_needed_is_named(void **state)
{
    struct err e = {0};
    struct stream_settings s;
    AUTO_BUF none = {0}, no_file = {0}, memory = {0};
    assert_int_equal(stream_settings_init(&s, buf_str(&none), &e), TARE_EINVAL);
    assert_non_null(strstr(e.text, "run_id"));
    put_text(&no_file, 107, "r");
    assert_int_equal(stream_settings_init(&s, buf_str(&no_file), &e), TARE_EINVAL);
    assert_non_null(strstr(e.text, "sync_file"));
    put_text(&memory, 107, "r");
    put_flag(&memory, 191, true); /* x_skip_transaction_log: no file is needed */
    assert_int_equal(stream_settings_init(&s, buf_str(&memory), &e), 0);
    stream_settings_fini(&s);
}

static void test_cut_anywhere_is_refused_or_read(void **state)
{
    AUTO_BUF b = usual();
    for (size_t n = 0; n < b.len; n++) {
        struct stream_settings s;
        AUTO_FREE char *exact = mem_strndup(b.data, n); /* so that reading past it is noticed */
        if (stream_settings_init(&s, str_make(exact, n), NULL) == 0)
            stream_settings_fini(&s);
    }
}

static void test_no_memory(void **state)
{
    AUTO_BUF b = usual();
    struct stream_settings s;
    mem_fault_set(1, 1);
    assert_int_equal(stream_settings_init(&s, buf_str(&b), NULL), TARE_ENOMEM);
    mem_fault_set(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_what_is_used),
        cmocka_unit_test(test_the_last_of_a_repeated_setting_counts),
        cmocka_unit_test(test_what_is_needed_is_named),
        cmocka_unit_test(test_cut_anywhere_is_refused_or_read),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
