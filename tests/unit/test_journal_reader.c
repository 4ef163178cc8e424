/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "journal/encoder.h"
#include "journal/reader.h"
#include "tests/support/fake_os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- a journal whose records' places are known ---- */

enum { MAX_RECORDS = 2000 };

struct made {
    struct buf file;
    size_t n;
    struct {
        size_t at, end;   /* bytes of the file, padding before it not counted */
        size_t body, len; /* its data in `bodies` */
        bool hurt;        /* a change touched it */
    } rec[MAX_RECORDS];
    struct buf bodies;
};

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

static void made_init(struct made *m)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    memset(m, 0, sizeof *m);
    journal_put_header(header);
    buf_append(&m->file, header, sizeof header);
}

static void made_fini(struct made *m)
{
    buf_fini(&m->file);
    buf_fini(&m->bodies);
}

static void made_add(struct made *m, size_t len)
{
    size_t body = m->bodies.len;
    char *p = buf_reserve(&m->bodies, len);
    bool binary = rnd(2);
    for (size_t i = 0; i < len; i++)
        p[i] = (char)(binary ? rnd(6) : 32 + rnd(90)); /* many bytes that could be a chunk type */
    m->bodies.len += len;
    struct journal_encoder enc;
    size_t left = journal_block_left(m->file.len);
    size_t at = m->file.len + (left < JOURNAL_CHUNK_HEADER_BYTES ? left : 0);
    journal_encoder_init(&enc, m->file.len);
    assert_int_equal(journal_encode(&enc, &m->file, m->bodies.data + body, len), 0);
    m->rec[m->n].at = at;
    m->rec[m->n].end = m->file.len;
    m->rec[m->n].body = body;
    m->rec[m->n].len = len;
    m->n++;
}

static size_t usual_size(void)
{
    switch (rnd(12)) {
    case 0:
        return 0;
    case 1:
        return rnd(90000);
    case 2:
        return 32740 + rnd(40);
    default:
        return 20 + rnd(900);
    }
}

/* ---- changes ---- */

static void hurt(struct made *m, size_t from, size_t to)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->rec[i].at < to && m->rec[i].end > from)
            m->rec[i].hurt = true;
}

static void replace_bytes(struct made *m, size_t at, size_t remove, size_t add)
{
    struct buf b = {0};
    buf_append(&b, m->file.data, at);
    for (size_t i = 0; i < add; i++)
        buf_putc(&b, (char)rnd(256));
    buf_append(&b, m->file.data + at + remove, m->file.len - at - remove);
    hurt(m, at, at + remove);
    for (size_t i = 0; i < m->n; i++) {
        if (m->rec[i].at < at && m->rec[i].end > at)
            m->rec[i].hurt = true;
        if (m->rec[i].at >= at + remove) {
            m->rec[i].at += add - remove;
            m->rec[i].end += add - remove;
        } else if (m->rec[i].at >= at) {
            m->rec[i].at = m->rec[i].end = 0; /* gone; no later change can touch it */
        }
    }
    buf_fini(&m->file);
    m->file = b;
}

static void change_somewhere(struct made *m)
{
    if (m->file.len < 2)
        return;
    size_t at = rnd((uint32_t)m->file.len), left = m->file.len - at;
    size_t n = 1 + rnd(rnd(2) ? 12 : 50000);
    if (n > left)
        n = left;
    switch (rnd(5)) {
    case 0: /* flip a bit */
        m->file.data[at] = (char)(m->file.data[at] ^ 1 << rnd(8));
        hurt(m, at, at + 1);
        break;
    case 1: /* a hole */
        memset(m->file.data + at, 0, n);
        hurt(m, at, at + n);
        break;
    case 2:
        replace_bytes(m, at, n, 0);
        break;
    case 3:
        replace_bytes(m, at, 0, n);
        break;
    case 4:
        hurt(m, at, m->file.len);
        m->file.len = at;
        break;
    }
}

/* ---- checking what comes back ---- */

/* Which record `item` is, from `next` on. No record between may be unhurt. */
static size_t find_record(const struct made *m, size_t next, const struct journal_item *item)
{
    size_t hurt_one = m->n;
    for (size_t i = next; i < m->n; i++) {
        struct str want = str_make(m->bodies.data + m->rec[i].body, m->rec[i].len);
        if (!m->rec[i].hurt) {
            if (m->rec[i].at == item->offset && str_eq(want, item->bytes))
                return i;
            break;
        }
        if (hurt_one == m->n && str_eq(want, item->bytes))
            hurt_one = i; /* its bytes happen to be as before, or stand elsewhere */
    }
    assert_true(hurt_one < m->n);
    return hurt_one;
}

/* All records that no change touched come back, in order; others only unchanged. */
static void check(struct made *m, struct journal_reader *r)
{
    struct journal_item item;
    size_t next = 0;
    uint64_t end = 0, gaps = 0;
    int rc;
    while ((rc = journal_reader_next(r, &item)) != JOURNAL_END) {
        assert_true(rc > 0);
        assert_true(item.offset >= end);
        if (rc == JOURNAL_GAP) {
            assert_non_null(item.gap.reason);
            end = item.gap.offset + item.gap.bytes;
            assert_true(end <= m->file.len);
            gaps += item.gap.bytes;
            continue;
        }
        end = item.offset + item.bytes.n;
        next = find_record(m, next, &item) + 1;
    }
    for (; next < m->n; next++)
        assert_true(m->rec[next].hurt);
    assert_int_equal(r->gap_bytes, gaps);
    assert_int_equal(journal_reader_next(r, &item), JOURNAL_END);
}

static int file_of(const struct buf *b)
{
    int fd = memfd_create("journal", MFD_CLOEXEC);
    assert_int_equal(write(fd, b->data, b->len), b->len);
    return fd;
}

static void check_both(struct made *m)
{
    struct journal_reader r;
    journal_reader_init_bytes(&r, buf_str(&m->file));
    check(m, &r);
    uint64_t n_records = r.n_records, n_gaps = r.n_gaps;
    journal_reader_close(&r);
    journal_reader_init_fd(&r, file_of(&m->file));
    check(m, &r);
    assert_int_equal(r.n_records, n_records);
    assert_int_equal(r.n_gaps, n_gaps);
    journal_reader_close(&r);
}

/* ---- tests ---- */

static struct made made;

static void test_records_of_all_sizes_come_back(void **state)
{
    static const size_t around[] = {0, 1, 7, 32754, 32761, 32768, 65522, 65536, 98304, 1000000};
    made_init(&made);
    for (size_t i = 0; i < sizeof around / sizeof *around; i++)
        for (size_t off = 0; off < 17; off++)
            if (around[i] + off >= 8 && (around[i] < 1000000 || off == 8))
                made_add(&made, around[i] + off - 8);
    struct journal_reader r;
    check_both(&made);
    journal_reader_init_bytes(&r, buf_str(&made.file));
    check(&made, &r);
    assert_int_equal(r.n_records, made.n);
    assert_int_equal(r.n_gaps, 0);
    assert_int_equal(r.version, 0);
    journal_reader_close(&r);
    made_fini(&made);
}

static void test_every_cut_of_a_small_file_gives_the_records_before_it(void **state)
{
    made_init(&made);
    for (size_t i = 0; i < 6; i++)
        made_add(&made, i * 9);
    size_t whole = made.file.len;
    for (size_t cut = 0; cut <= whole; cut++) {
        for (size_t i = 0; i < made.n; i++)
            made.rec[i].hurt = made.rec[i].end > cut;
        made.file.len = cut;
        check_both(&made);
        made.file.len = whole;
    }
    made_fini(&made);
}

static void test_every_flipped_byte_costs_one_record(void **state)
{
    made_init(&made);
    for (size_t i = 0; i < 8; i++)
        made_add(&made, 20 + i);
    for (size_t at = JOURNAL_HEADER_BYTES; at < made.file.len; at++) {
        for (size_t i = 0; i < made.n; i++)
            made.rec[i].hurt = made.rec[i].at <= at && at < made.rec[i].end;
        made.file.data[at] = (char)~made.file.data[at];
        struct journal_reader r;
        journal_reader_init_bytes(&r, buf_str(&made.file));
        check(&made, &r);
        assert_int_equal(r.n_records, made.n - 1);
        assert_int_equal(r.n_gaps, 1);
        journal_reader_close(&r);
        made.file.data[at] = (char)~made.file.data[at];
    }
    made_fini(&made);
}

static void test_random_damage_costs_only_what_it_touched(void **state)
{
    for (uint64_t trial = 1; trial <= 300; trial++) {
        seed = trial;
        made_init(&made);
        for (size_t n = 1 + rnd(150); n; n--)
            made_add(&made, usual_size());
        for (size_t n = 1 + rnd(3); n; n--)
            change_somewhere(&made);
        check_both(&made);
        made_fini(&made);
    }
}

static void test_gap_says_where_and_how_much(void **state)
{
    made_init(&made);
    for (size_t i = 0; i < 3; i++)
        made_add(&made, 100);
    made.file.data[made.rec[1].at + 50] ^= 1;
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_bytes(&r, buf_str(&made.file));
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_GAP);
    assert_int_equal(item.gap.offset, made.rec[1].at);
    assert_int_equal(item.gap.bytes, 107);
    assert_string_equal(item.gap.reason, "damaged");
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(item.offset, made.rec[2].at);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_END);
    journal_reader_close(&r);
    made_fini(&made);
}

static void test_other_files_hold_no_records(void **state)
{
    static const char *const texts[] = {"", ":W&", "#!/bin/sh\necho this is not a journal\n"};
    for (size_t i = 0; i < 3; i++) {
        struct journal_reader r;
        struct journal_item item;
        journal_reader_init_bytes(&r, str_of(texts[i]));
        assert_int_equal(journal_reader_next(&r, &item), JOURNAL_GAP);
        assert_int_equal(journal_reader_next(&r, &item), JOURNAL_END);
        assert_int_equal(r.version, -1);
        assert_int_equal(r.n_records, 0);
        journal_reader_close(&r);
    }
}

static void test_unknown_version_is_said_and_records_still_come(void **state)
{
    made_init(&made);
    made_add(&made, 10);
    made.file.data[6] = 1;
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_bytes(&r, buf_str(&made.file));
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_GAP);
    assert_non_null(strstr(item.gap.reason, "version"));
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    journal_reader_close(&r);
    made_fini(&made);
}

static void test_longer_than_the_limit_is_a_gap(void **state)
{
    made_init(&made);
    made_add(&made, 10);
    made_add(&made, 100000);
    made_add(&made, 10);
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_bytes(&r, buf_str(&made.file));
    r.record_max = 99999;
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_GAP);
    assert_non_null(strstr(item.gap.reason, "limit"));
    assert_true(item.gap.bytes > 100000);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_END);
    journal_reader_close(&r);
    made_fini(&made);
}

/* A file that grows by any number of bytes at a time: each record comes once it is whole. */
static void test_growing_file_is_followed(void **state)
{
    seed = 77;
    made_init(&made);
    for (int i = 0; i < 150; i++)
        made_add(&made, usual_size());
    int fd = memfd_create("journal", MFD_CLOEXEC);
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_fd(&r, fd);
    r.live = true;
    size_t written = 0, next = 0;
    while (written < made.file.len) {
        size_t n = 1 + rnd(rnd(3) ? 40 : 30000);
        if (n > made.file.len - written)
            n = made.file.len - written;
        assert_int_equal(write(fd, made.file.data + written, n), n);
        written += n;
        int rc;
        while ((rc = journal_reader_next(&r, &item)) != JOURNAL_END) {
            assert_int_equal(rc, JOURNAL_RECORD);
            assert_int_equal(item.offset, made.rec[next].at);
            next++;
        }
        assert_true(next == made.n || made.rec[next].end > written);
    }
    assert_int_equal(next, made.n);
    r.live = false;
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_END);
    assert_int_equal(r.n_gaps, 0);
    journal_reader_close(&r);
    made_fini(&made);
}

/* Some file systems show the new size before the new bytes. */
static void test_zeros_at_the_end_of_a_growing_file_are_waited_for(void **state)
{
    made_init(&made);
    made_add(&made, 100);
    made_add(&made, 100);
    int fd = memfd_create("journal", MFD_CLOEXEC);
    size_t half = made.rec[1].at;
    assert_int_equal(pwrite(fd, made.file.data, half, 0), half);
    assert_int_equal(ftruncate(fd, (off_t)made.file.len), 0);
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_fd(&r, fd);
    r.live = true;
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_END);
    assert_int_equal(pwrite(fd, made.file.data, made.file.len, 0), made.file.len);
    assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
    assert_int_equal(r.n_gaps, 0);
    journal_reader_close(&r);
    made_fini(&made);
}

static void test_seek_goes_to_a_record(void **state)
{
    seed = 5;
    made_init(&made);
    for (int i = 0; i < 60; i++)
        made_add(&made, usual_size());
    struct journal_reader r;
    struct journal_item item;
    journal_reader_init_fd(&r, file_of(&made.file));
    for (int i = 0; i < 200; i++) {
        size_t at = rnd((uint32_t)made.n);
        journal_reader_seek(&r, made.rec[at].at);
        assert_int_equal(journal_reader_next(&r, &item), JOURNAL_RECORD);
        assert_int_equal(item.offset, made.rec[at].at);
        assert_int_equal(item.bytes.n, made.rec[at].len);
        assert_int_equal(journal_reader_offset(&r), made.rec[at].end);
    }
    journal_reader_close(&r);
    made_fini(&made);
}

static int read_all(struct journal_reader *r)
{
    struct journal_item item;
    int rc;
    while ((rc = journal_reader_next(r, &item)) > 0)
        ;
    return rc;
}

static void test_nth_read_or_allocation_fails_and_reading_goes_on(void **state)
{
    seed = 9;
    made_init(&made);
    for (int i = 0; i < 120; i++)
        made_add(&made, usual_size());
    for (int nth = 1, fired = 1; fired; nth++) {
        struct fake_os fake;
        struct journal_reader r;
        journal_reader_init_fd(&r, file_of(&made.file));
        fake_os_install(&fake, (struct os_fault){OS_FAULT_ERROR, nth, 1});
        mem_fault_set(nth, 1);
        int rc, n_failed = 0;
        while ((rc = read_all(&r)) < 0) {
            assert_true(rc == -EIO || rc == TARE_ENOMEM);
            n_failed++;
        }
        fired = fake.fired || mem_fault_fired();
        mem_fault_set(0, 0);
        fake_os_remove();
        assert_int_equal(r.n_records, made.n);
        assert_int_equal(r.n_gaps, 0);
        assert_true(n_failed > 0 || !fired);
        journal_reader_close(&r);
    }
    made_fini(&made);
}

/* Bytes that look like chunks everywhere must not make reading slow: 8 MiB of them in seconds,
 * not hours. */
static void test_hostile_bytes_are_read_in_time(void **state)
{
    size_t n = 4 << 20;
    char *p = mem_alloc(n);
    static const char pattern[] = {'\xff', '\x7f', 1};
    for (size_t i = 0; i < n; i++)
        p[i] = pattern[i % 3];
    struct journal_reader r;
    journal_reader_init_bytes(&r, str_make(p, n));
    assert_int_equal(read_all(&r), 0);
    assert_int_equal(r.n_records, 0);
    assert_int_equal(r.gap_bytes, n);
    journal_reader_close(&r);
    mem_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_of_all_sizes_come_back),
        cmocka_unit_test(test_every_cut_of_a_small_file_gives_the_records_before_it),
        cmocka_unit_test(test_every_flipped_byte_costs_one_record),
        cmocka_unit_test(test_random_damage_costs_only_what_it_touched),
        cmocka_unit_test(test_gap_says_where_and_how_much),
        cmocka_unit_test(test_other_files_hold_no_records),
        cmocka_unit_test(test_unknown_version_is_said_and_records_still_come),
        cmocka_unit_test(test_longer_than_the_limit_is_a_gap),
        cmocka_unit_test(test_growing_file_is_followed),
        cmocka_unit_test(test_zeros_at_the_end_of_a_growing_file_are_waited_for),
        cmocka_unit_test(test_seek_goes_to_a_record),
        cmocka_unit_test(test_nth_read_or_allocation_fails_and_reading_goes_on),
        cmocka_unit_test(test_hostile_bytes_are_read_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
