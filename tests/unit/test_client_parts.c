/* SPDX-License-Identifier: MIT */
/* Parts of the client library that need no service: digests, packing, the ring, outbox, keys. */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/digest.h"
#include "client/keys.h"
#include "client/message.h"
#include "client/outbox.h"
#include "client/pack.h"
#include "client/ring.h"
#include "record/wire.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_digests_of_known_texts(void **state)
{
    char hex[2 * SHA256_BYTES + 1], base64[32];
    uint8_t sum[SHA256_BYTES];
    struct digest d;
    sha256_init(&d);
    sha256_add(&d, "abc", 3);
    sha256_end(&d, sum);
    digest_hex(hex, sum, SHA256_BYTES);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    md5_init(&d);
    md5_add(&d, "message ", 8);
    md5_add(&d, "digest", 6);
    md5_end(&d, sum);
    digest_hex(hex, sum, MD5_BYTES);
    assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0");
    base64_text(base64, sum, MD5_BYTES);
    assert_string_equal(base64, "+WtpfXy3k41SWi8xqvFh0A==");
}

static void test_digests_do_not_depend_on_how_bytes_come(void **state)
{
    char text[1000];
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n < 200; n += 7) {
        uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
        struct digest d;
        sha256_init(&d);
        sha256_add(&d, text, n);
        sha256_end(&d, a);
        sha256_init(&d);
        for (size_t i = 0; i < n; i++)
            sha256_add(&d, text + i, 1);
        sha256_end(&d, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

/* JSON of one value, through packing. */
static void check_json(struct tare_value v, const char *want)
{
    struct pack_size size;
    struct packed p;
    struct buf json = {0};
    assert_int_equal(pack_measure(&v, 1, &size), 0);
    char *block = mem_alloc(size.bytes);
    assert_ptr_equal(pack_write(block, &v, 1), block + size.bytes);
    const char *at = block;
    pack_next(&at, &p);
    assert_ptr_equal(at, block + size.bytes);
    assert_true(str_eqz(p.key, v.key));
    if (p.type == TARE_TABLE)
        pack_put_table(&json, &p);
    else
        pack_put_json(&json, &p);
    assert_string_equal(buf_z(&json), want);
    buf_fini(&json);
    mem_free(block);
}

static void test_values_become_json(void **state)
{
    const double f64s[] = {1, 0.5, (double)NAN};
    const int64_t i64s[] = {-1, INT64_MAX};
    check_json(tare_f64("a", 1), "1.0");
    check_json(tare_f64("a", (double)-INFINITY), "-Infinity");
    check_json(tare_i64("a", INT64_MIN), "-9223372036854775808");
    check_json(tare_bool("a", 7), "true");
    check_json(tare_null("a"), "null");
    check_json(tare_str("a", "x\"y\n"), "\"x\\\"y\\n\"");
    check_json(tare_str("a", NULL), "null");
    check_json(tare_json("a", "{\"b\":[1,NaN]}"), "{\"b\":[1,NaN]}");
    check_json(tare_f64s("a", f64s, 3), "[1.0,0.5,NaN]");
    check_json(tare_i64s("a", i64s, 2), "[-1,9223372036854775807]");
    check_json(tare_f64s("a", NULL, 0), "[]");
}

static void test_samples_are_counted_as_numpy_does(void **state)
{
    const double x[] = {1, 2, 3, 4, (double)NAN}, same[] = {5, 5};
    check_json(tare_samples("h", x, 5, 3),
               "{\"_type\":\"histogram\",\"values\":[1,1,2],\"bins\":[1.0,2.0,3.0,4.0]}");
    check_json(tare_samples("h", same, 2, 2),
               "{\"_type\":\"histogram\",\"values\":[0,2],\"bins\":[4.5,5.0,5.5]}");
}

static void test_a_table_is_rows_of_cells(void **state)
{
    static const char *const columns[] = {"name", "n"};
    const struct tare_value cells[] = {tare_str("", "a"), tare_i64("", 1), tare_null(""),
                                       tare_f64("", 2.5)};
    struct tare_table t = {columns, 2, cells, 2};
    check_json(tare_tab("t", &t), "{\"columns\":[\"name\",\"n\"],\"data\":[[\"a\",1],[null,2.5]]}");
}

static void check_refused(struct tare_value v, int want)
{
    struct pack_size size;
    assert_int_equal(pack_measure(&v, 1, &size), want);
    assert_int_equal(tare_last_error(), want);
    assert_true(strlen(tare_last_error_text()) > 3);
}

static void test_what_is_not_a_value_is_refused(void **state)
{
    struct tare_image not_png = {"hello, this is no png file at all!", 34, NULL};
    struct tare_histogram wide = {(const double *)"", (const int64_t *)"", 513};
    check_refused(tare_f64(NULL, 1), TARE_EINVAL);
    check_refused(tare_f64("", 1), TARE_EINVAL);
    check_refused(tare_json("a", "{\"b\":"), TARE_EFORMAT);
    check_refused(tare_json("a", NULL), TARE_EFORMAT);
    check_refused(tare_png("a", &not_png), TARE_EFORMAT);
    check_refused(tare_png("a", NULL), TARE_EINVAL);
    check_refused(tare_hist("a", &wide), TARE_ELIMIT);
    check_refused(tare_tab("a", NULL), TARE_EINVAL);
    check_refused(tare_value_of("a", (enum tare_type)99), TARE_EINVAL);
}

static void test_broken_utf8_is_repaired_on_the_wire(void **state)
{
    struct buf b = {0};
    assert_int_equal(message_put_text(&b, 1, STR("a\xff" "b\xc3")), 0);
    assert_true(str_eqz(message_get(buf_str(&b), 1), "a\xef\xbf\xbd" "b\xef\xbf\xbd"));
    buf_clear(&b);
    message_put_text(&b, 1, STR("gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x98\x80 und mehr Text"));
    assert_true(str_starts(message_get(buf_str(&b), 1), STR("gr\xc3\xbc\xc3\x9f")));
    assert_null(strstr(buf_z(&b), "\xef\xbf\xbd"));
    buf_clear(&b);
    message_put_text(&b, 1, STR("\xed\xa0\x80")); /* a surrogate */
    assert_non_null(strstr(buf_z(&b), "\xef\xbf\xbd"));
    buf_fini(&b);
}

/* ---- the ring ---- */

enum { PRODUCERS = 3, ENTRIES = 20000 };

static void *produce(void *arg)
{
    struct ring *r = arg;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        size_t n = 4 + i * 37 % 300;
        struct ring_entry *e = ring_claim(r, n, -1);
        e->kind = 1;
        memset(e->payload, (int)(i & 0xff), n);
        memcpy(e->payload, &i, 4);
        ring_put(r, e);
    }
    return NULL;
}

static void test_ring_keeps_every_entry_whole(void **state)
{
    struct ring r;
    pthread_t threads[PRODUCERS];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(ring_init(&r, 65536, fds[1]), 0);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_create(&threads[i], NULL, produce, &r);
    uint64_t sum = 0;
    for (int n = 0; n < PRODUCERS * ENTRIES;) {
        struct ring_entry *e = ring_peek(&r);
        if (!e)
            continue;
        uint32_t i;
        memcpy(&i, e->payload, 4);
        assert_int_equal(e->len, 4 + i * 37 % 300);
        if (e->len > 4)
            assert_int_equal((unsigned char)e->payload[e->len - 1], i & 0xff);
        sum += i;
        n++;
        ring_drop(&r, e);
    }
    assert_true(sum == (uint64_t)PRODUCERS * ENTRIES * (ENTRIES - 1) / 2);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    ring_fini(&r);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_full_ring_makes_one_call_wait_and_no_more(void **state)
{
    struct ring r;
    struct timespec a, b;
    assert_int_equal(ring_init(&r, 65536, -1), 0);
    int n = 0;
    struct ring_entry *e;
    while ((e = ring_claim(&r, 1000, 0))) {
        e->kind = 1;
        ring_put(&r, e);
        n++;
    }
    assert_int_equal(n, 65536 / 1024);
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_null(ring_claim(&r, 1000, 50));
    for (int i = 0; i < 100; i++)
        assert_null(ring_claim(&r, 1000, 50));
    clock_gettime(CLOCK_MONOTONIC, &b);
    int64_t ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
    assert_in_range(ms, 45, 4000); /* 101 waits of 50 would be 5050 */
    for (int i = 0; i < 3; i++)
        ring_drop(&r, ring_peek(&r));
    e = ring_claim(&r, 1000, 50);
    assert_non_null(e);
    ring_put(&r, e);
    ring_fini(&r);
}

/* ---- the outbox ---- */

static int count_bytes(void *arg, struct str message)
{
    *(size_t *)arg += message.n;
    return 0;
}

static void test_outbox_keeps_what_is_not_acknowledged(void **state)
{
    struct outbox o = {0};
    char text[30000];
    memset(text, 'm', sizeof text);
    for (int i = 0; i < 10; i++)
        assert_int_equal(outbox_put(&o, str_make(text, sizeof text)), 0);
    for (struct str s; (s = outbox_unsent(&o)).n;)
        outbox_sent(&o, s.n > 12345 ? 12345 : s.n);
    assert_int_equal(o.sent, o.built);
    outbox_ack(&o, o.built - 100000, 0);
    assert_in_range(outbox_held(&o), 100000, 200000);
    size_t held = 0;
    outbox_take_all(&o, count_bytes, &held);
    assert_in_range(held, 90000, 200000);
    assert_int_equal(outbox_held(&o), 0);
    outbox_fini(&o);
}

static void test_keys_keep_the_last_text(void **state)
{
    struct keys k = {0};
    char key[16];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(keys_put(&k, str_of(key), round ? str_of(key) : STR("x")), 0);
        }
    assert_int_equal(k.n, 1000);
    struct key_item *item = keys_find(&k, STR("k777"));
    assert_true(str_eqz(str_make(item->json, item->json_len), "k777"));
    assert_null(keys_find(&k, STR("k1000")));
    keys_clear(&k);
    assert_false(item->changed);
    keys_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests_of_known_texts),
        cmocka_unit_test(test_digests_do_not_depend_on_how_bytes_come),
        cmocka_unit_test(test_values_become_json),
        cmocka_unit_test(test_samples_are_counted_as_numpy_does),
        cmocka_unit_test(test_a_table_is_rows_of_cells),
        cmocka_unit_test(test_what_is_not_a_value_is_refused),
        cmocka_unit_test(test_broken_utf8_is_repaired_on_the_wire),
        cmocka_unit_test(test_ring_keeps_every_entry_whole),
        cmocka_unit_test(test_a_full_ring_makes_one_call_wait_and_no_more),
        cmocka_unit_test(test_outbox_keeps_what_is_not_acknowledged),
        cmocka_unit_test(test_keys_keep_the_last_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
