/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/err.h"
#include "record/frame.h"
#include "record/frame_in.h"

#include <stdlib.h>
#include <string.h>

/* Notes the sizes of the frames it was given, and that their bytes are as put_frame made them. */
struct seen {
    size_t sizes[256];
    int n;
    int pause_at; /* the frame after which to pause; 0: never */
    int fail_at;
};

static int on_frame(void *user, struct str payload)
{
    struct seen *s = user;
    for (size_t i = 0; i < payload.n; i++)
        assert_int_equal((unsigned char)payload.p[i], (payload.n + i) % 251);
    s->sizes[s->n++] = payload.n;
    return s->n == s->fail_at ? TARE_EFORMAT : s->n == s->pause_at ? FRAMES_PAUSE : 0;
}

static void put_frame(struct buf *b, size_t n)
{
    char header[FRAME_HEADER];
    frame_put_header(header, (uint32_t)n);
    buf_append(b, header, sizeof header);
    for (size_t i = 0; i < n; i++)
        buf_putc(b, (char)((n + i) % 251));
}

static const size_t sizes[] = {0, 1, 4, 5, 6, 100, 3, 0, 0, 70000, 2, 9000, 17};
enum { N = sizeof sizes / sizeof sizes[0] };

static struct buf some_frames(void)
{
    struct buf b = {0};
    for (int i = 0; i < N; i++)
        put_frame(&b, sizes[i]);
    return b;
}

static void assert_all_seen(const struct seen *s)
{
    assert_int_equal(s->n, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(s->sizes[i], sizes[i]);
}

static void test_all_at_once_keeps_nothing(void **state)
{
    AUTO_BUF b = some_frames();
    struct seen seen = {0};
    struct frame_in f;
    frame_in_init(&f, 1 << 20);
    assert_int_equal(frame_in_feed(&f, b.data, b.len, on_frame, &seen), 0);
    assert_all_seen(&seen);
    assert_null(f.kept.data); /* all were handled in place */
    frame_in_fini(&f);
}

static void test_in_pieces_of_every_size(void **state)
{
    AUTO_BUF b = some_frames();
    for (size_t piece = 1; piece < 300; piece += piece < 20 ? 1 : 37) {
        struct seen seen = {0};
        struct frame_in f;
        frame_in_init(&f, 1 << 20);
        for (size_t at = 0; at < b.len; at += piece) {
            size_t n = b.len - at < piece ? b.len - at : piece;
            assert_int_equal(frame_in_feed(&f, b.data + at, n, on_frame, &seen), 0);
        }
        assert_all_seen(&seen);
        assert_false(frame_in_is_partial(&f));
        assert_true(f.kept.cap <= 4096); /* the room for the large one was given back */
        frame_in_fini(&f);
    }
}

static void test_a_pause_keeps_the_rest_in_order(void **state)
{
    AUTO_BUF b = some_frames();
    for (size_t piece = 1; piece < b.len * 2; piece = piece * 3 + 1) {
        struct seen seen = {.pause_at = 1};
        struct frame_in f;
        frame_in_init(&f, 1 << 20);
        for (size_t at = 0; at < b.len; at += piece) {
            size_t n = b.len - at < piece ? b.len - at : piece;
            int rc = frame_in_feed(&f, b.data + at, n, on_frame, &seen);
            while (rc == FRAMES_PAUSE) {
                seen.pause_at = seen.n + 1;
                rc = frame_in_feed(&f, NULL, 0, on_frame, &seen);
            }
            assert_int_equal(rc, 0);
        }
        assert_all_seen(&seen);
        frame_in_fini(&f);
    }
}

static void test_a_wrong_first_byte_is_found_at_once(void **state)
{
    AUTO_BUF b = {0};
    struct seen seen = {0};
    struct frame_in f;
    put_frame(&b, 10);
    buf_putc(&b, 'X');
    frame_in_init(&f, 100);
    assert_int_equal(frame_in_feed(&f, b.data, b.len, on_frame, &seen), TARE_EPROTO);
    assert_int_equal(seen.n, 1);
    frame_in_fini(&f);
}

static void test_the_limit_counts_the_payload(void **state)
{
    for (size_t n = 99; n <= 101; n++) {
        AUTO_BUF b = {0};
        struct seen seen = {0};
        struct frame_in f;
        put_frame(&b, n);
        frame_in_init(&f, 100);
        int rc = frame_in_feed(&f, b.data, FRAME_HEADER, on_frame, &seen);
        assert_int_equal(rc, n > 100 ? TARE_ELIMIT : 0);
        frame_in_fini(&f);
    }
}

static void test_an_announcement_takes_no_memory(void **state)
{
    static const char header[] = {'W', 0, 0, 0, (char)0x80, 'x'};
    struct seen seen = {0};
    struct frame_in f;
    frame_in_init(&f, FRAME_MAX_DEFAULT);
    assert_int_equal(frame_in_feed(&f, header, sizeof header, on_frame, &seen), 0);
    assert_true(f.kept.cap <= 4096);
    frame_in_fini(&f);
}

static void test_the_callbacks_error_stops(void **state)
{
    AUTO_BUF b = some_frames();
    struct seen seen = {.fail_at = 3};
    struct frame_in f;
    frame_in_init(&f, 1 << 20);
    assert_int_equal(frame_in_feed(&f, b.data, b.len, on_frame, &seen), TARE_EFORMAT);
    assert_int_equal(seen.n, 3);
    frame_in_fini(&f);
}

static void test_no_memory_for_a_rest(void **state)
{
    AUTO_BUF b = some_frames();
    struct seen seen = {0};
    struct frame_in f;
    frame_in_init(&f, 1 << 20);
    mem_fault_set(1, 1000);
    assert_int_equal(frame_in_feed(&f, b.data, b.len - 1, on_frame, &seen), TARE_ENOMEM);
    mem_fault_set(0, 0);
    assert_int_equal(seen.n, N - 1);
    frame_in_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_at_once_keeps_nothing),
        cmocka_unit_test(test_in_pieces_of_every_size),
        cmocka_unit_test(test_a_pause_keeps_the_rest_in_order),
        cmocka_unit_test(test_a_wrong_first_byte_is_found_at_once),
        cmocka_unit_test(test_the_limit_counts_the_payload),
        cmocka_unit_test(test_an_announcement_takes_no_memory),
        cmocka_unit_test(test_the_callbacks_error_stops),
        cmocka_unit_test(test_no_memory_for_a_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
