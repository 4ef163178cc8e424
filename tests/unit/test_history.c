/* SPDX-License-Identifier: MIT */
#include "tests/support/store_fixture.h"

#include "base/alloc.h"
#include "server/store/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int setup(void **state)
{
    int rc = store_fixture_setup(state, "test_history");
    store_fixture_make_runs(*state);
    return rc;
}

/* ---- storing ---- */

struct append_args {
    int64_t run, writer;
    enum history_stream stream;
    struct history_batch batch;
};

static int append_job(struct db_conn *c, void *arg, struct err *e)
{
    struct append_args *a = arg;
    struct history_change change = {0};
    int rc = history_append(c, a->run, a->stream, a->writer, &a->batch, &change, e);
    return rc ? rc : history_apply(c, a->run, &change, e);
}

/* Store {"_step":s,"x":s*10} for steps from..to-1 as lines `at`... */
static int put_lines(struct fixture *f, int64_t run, int64_t at, int64_t from, int64_t to)
{
    struct append_args a = {.run = run};
    struct rowset rs;
    rowset_init(&rs);
    for (int64_t s = from; s < to; s++) {
        char line[64];
        int n = snprintf(line, sizeof line, "{\"_step\":%lld,\"x\":%lld}", (long long)s, (long long)s * 10);
        assert_int_equal(rowset_add_line(&rs, str_make(line, (size_t)n)), 0);
    }
    assert_int_equal(history_batch_encode(&rs, at, 1, &a.batch), 0);
    int rc = db_write(f->db, append_job, &a, &f->e);
    history_batch_fini(&a.batch);
    rowset_fini(&rs);
    return rc;
}

static void put_texts(struct fixture *f, int64_t at, const char *const *lines, int n)
{
    struct append_args a = {.run = 1};
    struct rowset rs;
    rowset_init(&rs);
    for (int i = 0; i < n; i++)
        assert_int_equal(rowset_add_line(&rs, str_of(lines[i])), 0);
    assert_int_equal(history_batch_encode(&rs, at, 1, &a.batch), 0);
    assert_int_equal(db_write(f->db, append_job, &a, &f->e), 0);
    history_batch_fini(&a.batch);
    rowset_fini(&rs);
}

/* ---- reading ---- */

static int keep_row(void *arg, struct str row)
{
    struct fixture *f = arg;
    buf_put_str(&f->text, row);
    buf_putc(&f->text, '\n');
    return 0;
}

static const char *scan(struct fixture *f, struct history_query q)
{
    struct db_conn *c;
    buf_clear(&f->text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    if (!q.max_step)
        q.max_step = INT64_MAX;
    if (history_scan(c, &q, keep_row, f, &f->e) != 0)
        fail_msg("%s", f->e.text);
    db_read_end(c);
    return buf_z(&f->text);
}

static int64_t run_int(struct fixture *f, int64_t run, const char *column)
{
    struct db_conn *c;
    char sql[100];
    int64_t v = -99;
    snprintf(sql, sizeof sql, "SELECT %s FROM runs WHERE id = $1", column);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_get_int(c, &f->e, &v, sql, DB_ARGS(db_i(run))), 1);
    db_read_end(c);
    return v;
}

/* The scan gives exactly the steps from..to-1 of put_lines. */
static void assert_steps(struct fixture *f, int64_t run, int64_t from, int64_t to)
{
    const char *p = scan(f, (struct history_query){.run = run});
    for (int64_t s = from; s < to; s++) {
        char line[64];
        int n = snprintf(line, sizeof line, "{\"_step\":%lld,\"x\":%lld}\n", (long long)s, (long long)s * 10);
        if (strncmp(p, line, (size_t)n) != 0)
            fail_msg("at step %lld: %.40s", (long long)s, p);
        p += n;
    }
    assert_string_equal(p, "");
}

static void test_lines_are_stored_once_whatever_comes_twice(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_lines(f, 1, 0, 0, 10), 0);
    assert_int_equal(put_lines(f, 1, 0, 0, 10), 0);
    assert_steps(f, 1, 0, 10);
    assert_int_equal(put_lines(f, 1, 5, 5, 15), 0);
    assert_steps(f, 1, 0, 15);
    assert_int_equal(put_lines(f, 1, 3, 3, 6), 0);
    assert_steps(f, 1, 0, 15);
    assert_int_equal(run_int(f, 1, "history_lines"), 15);
    assert_int_equal(run_int(f, 1, "last_step"), 14);
    assert_int_equal(run_int(f, 1, "tail_lines"), 15);
}

static void test_lines_may_come_in_any_order(void **state)
{
    struct fixture *f = *state;
    put_lines(f, 1, 20, 20, 30);
    put_lines(f, 1, 0, 0, 5);
    put_lines(f, 1, 8, 8, 12);
    put_lines(f, 1, 0, 0, 40);
    assert_steps(f, 1, 0, 40);
    assert_int_equal(run_int(f, 1, "history_lines"), 40);
}

static void test_random_retries_leave_every_line_once(void **state)
{
    struct fixture *f = *state;
    srand(7);
    for (int i = 0; i < 150; i++) {
        int64_t from = rand() % 300, to = from + 1 + rand() % 40;
        assert_int_equal(put_lines(f, 1, from, from, to), 0);
        if (i % 40 == 39)
            assert_true(history_merge(f->db, 1, i % 80 == 79, &f->e) >= 0);
    }
    for (int64_t at = 0; at < 340; at += 20)
        put_lines(f, 1, at, at, at + 20);
    assert_steps(f, 1, 0, 340);
}

static void test_large_batches_are_cut_into_segments(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_lines(f, 1, 0, 0, 40000), 0);
    assert_int_equal(run_int(f, 1, "tail_segments"), 0);
    assert_int_equal(put_lines(f, 1, 39000, 39000, 41000), 0);
    assert_int_equal(run_int(f, 1, "tail_segments"), 1);
    assert_steps(f, 1, 0, 41000);
}

static void test_writers_that_share_a_run_number_their_own_lines(void **state)
{
    struct fixture *f = *state;
    put_lines(f, 1, 0, 0, 3);
    struct append_args a = {.run = 1, .writer = 77};
    struct rowset rs;
    rowset_init(&rs);
    assert_int_equal(rowset_add_line(&rs, STR("{\"_step\":3,\"x\":30}")), 0);
    assert_int_equal(history_batch_encode(&rs, 0, 1, &a.batch), 0);
    assert_int_equal(db_write(f->db, append_job, &a, &f->e), 0);
    assert_int_equal(db_write(f->db, append_job, &a, &f->e), 0);
    history_batch_fini(&a.batch);
    rowset_fini(&rs);
    assert_steps(f, 1, 0, 4);
}

static void test_ranges_of_steps(void **state)
{
    struct fixture *f = *state;
    for (int64_t s = 0; s < 50; s += 10)
        put_lines(f, 1, s, s, s + 10);
    assert_string_equal(scan(f, (struct history_query){.run = 1, .min_step = 18, .max_step = 21}),
                        "{\"_step\":18,\"x\":180}\n{\"_step\":19,\"x\":190}\n{\"_step\":20,\"x\":200}\n");
    assert_string_equal(scan(f, (struct history_query){.run = 1, .min_step = 50}), "");
    assert_string_equal(scan(f, (struct history_query){.run = 2}), "");
}

static void test_keys_choose_rows_that_have_all_of_them(void **state)
{
    struct fixture *f = *state;
    const char *lines[] = {"{\"_step\":0,\"a\":1,\"b\":{\"c\":1,\"d\":NaN}}", "{\"_step\":1,\"a\":2}",
                           "{\"_step\":2,\"b\":{\"d\":5}}", "{\"_step\":3,\"b\":{\"c\":7},\"a\":\"x\"}"};
    put_texts(f, 0, lines, 4);
    struct str a_and_c[] = {STR("_step"), STR("a"), STR("b.c"), STR("_step")};
    assert_string_equal(scan(f, (struct history_query){.run = 1, .keys = a_and_c, .n_keys = 4}),
                        "{\"_step\":0,\"a\":1,\"b.c\":1}\n{\"_step\":3,\"a\":\"x\",\"b.c\":7}\n");
    struct str b[] = {STR("b")};
    assert_string_equal(scan(f, (struct history_query){.run = 1, .keys = b, .n_keys = 1, .strict = true}),
                        "{\"b\":{\"c\":1,\"d\":\"NaN\"}}\n{\"b\":{\"d\":5}}\n{\"b\":{\"c\":7}}\n");
    struct str none[] = {STR("a"), STR("nothing")};
    assert_string_equal(scan(f, (struct history_query){.run = 1, .keys = none, .n_keys = 2}), "");
}

static void test_samples_are_even_and_keep_the_ends(void **state)
{
    struct fixture *f = *state;
    put_lines(f, 1, 0, 0, 60);
    put_lines(f, 1, 60, 60, 101);
    assert_string_equal(scan(f, (struct history_query){.run = 1, .samples = 5}),
                        "{\"_step\":0,\"x\":0}\n{\"_step\":25,\"x\":250}\n{\"_step\":50,\"x\":500}\n"
                        "{\"_step\":75,\"x\":750}\n{\"_step\":100,\"x\":1000}\n");
    assert_string_equal(scan(f, (struct history_query){.run = 1, .samples = 3, .min_step = 10, .max_step = 12}),
                        "{\"_step\":10,\"x\":100}\n{\"_step\":11,\"x\":110}\n");
    assert_string_equal(scan(f, (struct history_query){.run = 1, .samples = 1}), "{\"_step\":100,\"x\":1000}\n");
}

/* What a scan appends to a buffer is what it hands out row by row. */
static void assert_buffer_is_the_same(struct fixture *f, struct history_query q)
{
    AUTO_BUF whole = {0};
    struct db_conn *c;
    AUTO_FREE char *rows = strdup(scan(f, q));
    buf_puts(&whole, "before");
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_scan(c, &q, NULL, &whole, &f->e), 0);
    db_read_end(c);
    for (char *p = rows; *p; p++)
        if (*p == '\n')
            *p = p[1] ? ',' : 0;
    assert_string_equal(buf_z(&whole) + strlen("before"), rows);
}

static void test_samples_in_a_buffer_are_those_by_rows(void **state)
{
    struct fixture *f = *state;
    struct str y[] = {STR("x"), STR("y")};
    put_lines(f, 1, 0, 0, 60);
    put_lines(f, 1, 60, 60, 101);
    const char *sparse[] = {"{\"_step\":101,\"x\":1,\"y\":1}", "{\"_step\":102,\"x\":1}", "{\"_step\":103,\"x\":1,\"y\":2}"};
    put_texts(f, 101, sparse, 3);
    const int64_t samples[] = {0, 1, 2, 3, 41, 59, 60, 61, 100, 101, 102, 103, 104, 105, 1 << 30};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct history_query q = {.run = 1, .samples = samples[i], .min_step = INT64_MIN, .max_step = INT64_MAX};
        assert_buffer_is_the_same(f, q);
        q.min_step = 58;
        q.max_step = 62;
        assert_buffer_is_the_same(f, q);
        q = (struct history_query){.run = 1, .samples = samples[i], .min_step = INT64_MIN, .max_step = INT64_MAX,
                                   .keys = y, .n_keys = 2};
        assert_buffer_is_the_same(f, q);
    }
}

static void test_the_last_line_and_the_keys(void **state)
{
    struct fixture *f = *state;
    struct db_conn *c;
    AUTO_BUF out = {0};
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_last_line(c, 1, HISTORY_METRICS, &out, &f->e), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(history_keys(c, 1, HISTORY_METRICS, &out, &f->e), 0);
    assert_string_equal(buf_z(&out), "{\"keys\":{},\"lastStep\":-1,\"sets\":[]}");
    db_read_end(c);
    const char *first[] = {"{\"_step\":0,\"dict\":{\"val1\":1.0},\"s\":\"a\",\"n\":3}"};
    const char *second[] = {"{\"_step\":4,\"n\":2.5,\"i\":{\"_type\":\"image-file\",\"size\":1}}"};
    put_texts(f, 0, first, 1);
    put_texts(f, 1, second, 1);
    buf_clear(&out);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_last_line(c, 1, HISTORY_METRICS, &out, &f->e), 0);
    assert_string_equal(buf_z(&out), "{\"_step\":4,\"i\":{\"_type\":\"image-file\",\"size\":1},\"n\":2.5}");
    buf_clear(&out);
    assert_int_equal(history_keys(c, 1, HISTORY_METRICS, &out, &f->e), 0);
    db_read_end(c);
    assert_string_equal(
        buf_z(&out),
        "{\"keys\":{\"_step\":{\"typeCounts\":[{\"type\":\"number\",\"count\":2}],\"monotonic\":true,\"previousValue\":4},"
        "\"dict.val1\":{\"typeCounts\":[{\"type\":\"number\",\"count\":1}],\"monotonic\":true,\"previousValue\":1.0},"
        "\"s\":{\"typeCounts\":[{\"type\":\"string\",\"count\":1}],\"monotonic\":false,\"previousValue\":\"a\"},"
        "\"n\":{\"typeCounts\":[{\"type\":\"number\",\"count\":2}],\"monotonic\":false,\"previousValue\":2.5},"
        "\"i\":{\"typeCounts\":[{\"type\":\"image-file\",\"count\":1}],\"monotonic\":false,\"previousValue\":"
        "{\"_type\":\"image-file\",\"size\":1}}},\"lastStep\":4,\"sets\":[]}");
}

/* A client may log another key each time: the list of them must not cost their square (a minute, once). */
static void test_very_many_keys(void **state)
{
    enum { N_LINES = 8, N_KEYS = 9000, MOST_CPU_S = 5 };
    struct fixture *f = *state;
    struct db_conn *c;
    struct timespec start, end;
    AUTO_BUF line = {0}, out = {0};
    for (int i = 0; i < N_LINES; i++) {
        buf_clear(&line);
        for (int k = 0; k < N_KEYS; k++)
            buf_printf(&line, "%s\"k%d_%d\":%d", k ? "," : "{\"same\":1,", i, k, k);
        buf_putc(&line, '}');
        const char *text = buf_z(&line);
        put_texts(f, i, &text, 1);
    }
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    assert_int_equal(history_keys(c, 1, HISTORY_METRICS, &out, &f->e), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    db_read_end(c);
    int n = 0;
    const char *text = buf_z(&out), counted[] = "\"count\":1}";
    for (const char *p = text; (p = strchr(p, '}')); p++) /* a sanitizer's strstr measures all that follows */
        n += p + 2 - text >= (long)sizeof counted && memcmp(p + 2 - sizeof counted, counted, sizeof counted - 1) == 0;
    assert_int_equal(n, N_LINES * N_KEYS);
    assert_non_null(strstr(buf_z(&out), "\"same\":{\"typeCounts\":[{\"type\":\"number\",\"count\":8}]"));
    assert_true(end.tv_sec - start.tv_sec < MOST_CPU_S);
}

/* ---- rewinding, forking ---- */

struct cut_args {
    int64_t from, to, max_step, lines;
};

static int rewind_job(struct db_conn *c, void *arg, struct err *e)
{
    struct cut_args *a = arg;
    return history_rewind(c, a->from, a->max_step, &a->lines, e);
}

static int copy_job(struct db_conn *c, void *arg, struct err *e)
{
    struct cut_args *a = arg;
    return history_copy(c, a->from, a->to, a->max_step, &a->lines, e);
}

static int clear_job(struct db_conn *c, void *arg, struct err *e)
{
    struct cut_args *a = arg;
    return history_clear(c, a->from, HISTORY_METRICS, e);
}

static void test_rewinding_drops_later_rows(void **state)
{
    struct fixture *f = *state;
    put_lines(f, 1, 0, 0, 5000);
    put_lines(f, 1, 5000, 5000, 5100);
    put_lines(f, 1, 5100, 5100, 5200);
    struct cut_args a = {.from = 1, .max_step = 5049};
    assert_int_equal(db_write(f->db, rewind_job, &a, &f->e), 0);
    assert_int_equal(a.lines, 5050);
    assert_steps(f, 1, 0, 5050);
    assert_int_equal(run_int(f, 1, "history_lines"), 5050);
    assert_int_equal(run_int(f, 1, "last_step"), 5049);
    a.max_step = 99;
    assert_int_equal(db_write(f->db, rewind_job, &a, &f->e), 0);
    assert_int_equal(a.lines, 100);
    put_lines(f, 1, 100, 100, 120);
    assert_steps(f, 1, 0, 120);
    a.max_step = -1;
    assert_int_equal(db_write(f->db, rewind_job, &a, &f->e), 0);
    assert_int_equal(a.lines, 0);
    assert_int_equal(run_int(f, 1, "last_step"), -1);
}

static void test_forking_copies_up_to_the_step(void **state)
{
    struct fixture *f = *state;
    put_lines(f, 1, 0, 0, 20000);
    struct cut_args a = {.from = 1, .to = 2, .max_step = 17999};
    assert_int_equal(db_write(f->db, copy_job, &a, &f->e), 0);
    assert_int_equal(a.lines, 18000);
    assert_steps(f, 2, 0, 18000);
    put_lines(f, 2, 18000, 18000, 18010);
    assert_steps(f, 2, 0, 18010);
    assert_steps(f, 1, 0, 20000);
    assert_int_equal(db_write(f->db, clear_job, &a, &f->e), 0);
    assert_steps(f, 1, 0, 0);
    assert_int_equal(run_int(f, 1, "history_lines"), 0);
    assert_steps(f, 2, 0, 18010);
}

/* ---- merging ---- */

static void test_merging_changes_nothing_that_is_read(void **state)
{
    struct fixture *f = *state;
    for (int64_t s = 0; s < 600; s += 6)
        put_lines(f, 1, s, s, s + 6);
    assert_true(history_merge_due(f->db, &f->e) > 90);
    assert_int_equal(history_merge_due(f->db, &f->e), 0);
    assert_steps(f, 1, 0, 600);
    assert_int_equal(run_int(f, 1, "tail_segments"), 1);
    assert_int_equal(run_int(f, 1, "tail_lines"), 600);
    put_lines(f, 1, 600, 600, 606);
    assert_int_equal(history_merge(f->db, 1, true, &f->e), 2);
    assert_int_equal(run_int(f, 1, "tail_segments"), 0);
    assert_int_equal(run_int(f, 1, "tail_lines"), 0);
    assert_steps(f, 1, 0, 606);
    put_lines(f, 1, 300, 300, 620); /* retries of merged lines */
    assert_steps(f, 1, 0, 620);
}

/* ---- charts ---- */

static void put_wave(struct fixture *f, int n, int spike)
{
    struct append_args a = {.run = 1};
    struct rowset rs;
    rowset_init(&rs);
    for (int i = 0; i < n; i++) {
        char line[80];
        int len = snprintf(line, sizeof line, "{\"_step\":%d,\"y\":%.17g}", i, i == spike ? 99.5 : sin(i * 1e-3));
        assert_int_equal(rowset_add_line(&rs, str_make(line, (size_t)len)), 0);
    }
    assert_int_equal(history_batch_encode(&rs, 0, 1, &a.batch), 0);
    assert_int_equal(db_write(f->db, append_job, &a, &f->e), 0);
    history_batch_fini(&a.batch);
    rowset_fini(&rs);
}

static const char *envelope(struct fixture *f, int64_t from, int64_t to, uint32_t pixels)
{
    struct db_conn *c;
    buf_clear(&f->text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_envelope(c, 1, HISTORY_METRICS, STR("y"), from, to, pixels, &f->text, &f->e), 0);
    db_read_end(c);
    return buf_z(&f->text);
}

static void test_a_chart_never_hides_a_spike(void **state)
{
    struct fixture *f = *state;
    put_wave(f, 100000, 77777);
    static const uint32_t widths[] = {1, 7, 100, 200, 1000, 100000};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const char *json = envelope(f, 0, INT64_MAX, widths[i]);
        assert_non_null(strstr(json, "99.5"));
        long total = 0;
        const char *p = strstr(json, "\"count\":[") + 9;
        for (char *end; *p != ']'; p = end + (*end == ','))
            total += strtol(p, &end, 10);
        assert_int_equal(total, 100000);
    }
    assert_null(strstr(envelope(f, 0, 70000, 100), "99.5"));
    assert_string_equal(envelope(f, 77777, 77778, 10),
                        "{\"first\":[77777],\"last\":[77777],\"min\":[99.5],\"max\":[99.5],\"mean\":[99.5],"
                        "\"end\":[99.5],\"count\":[1]}");
    assert_string_equal(envelope(f, 200000, 300000, 10),
                        "{\"first\":[],\"last\":[],\"min\":[],\"max\":[],\"mean\":[],\"end\":[],\"count\":[]}");
}

static void test_integers_beyond_64_bits_are_numbers(void **state)
{
    struct fixture *f = *state;
    struct db_conn *c;
    AUTO_BUF keys = {0};
    const char *lines[] = {"{\"_step\":0,\"y\":1000000000000000000000000000000,\"s\":\"7\"}",
                           "{\"_step\":1,\"y\":-100000000000000000000}"};
    put_texts(f, 0, lines, 2);
    assert_string_equal(envelope(f, 0, 10, 1), "{\"first\":[0],\"last\":[1],\"min\":[-1e+20],\"max\":[1e+30],"
                                               "\"mean\":[4.9999999995e+29],\"end\":[-1e+20],\"count\":[2]}");
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_keys(c, 1, HISTORY_METRICS, &keys, &f->e), 0);
    db_read_end(c);
    assert_non_null(strstr(buf_z(&keys), "\"y\":{\"typeCounts\":[{\"type\":\"number\",\"count\":2}],\"monotonic\":false,"
                                         "\"previousValue\":-100000000000000000000}"));
    assert_non_null(strstr(buf_z(&keys), "\"s\":{\"typeCounts\":[{\"type\":\"string\",\"count\":1}]"));
}

static void test_a_series_comes_whole(void **state)
{
    struct fixture *f = *state;
    const char *lines[] = {"{\"_step\":0,\"y\":1}", "{\"_step\":2,\"z\":0}", "{\"_step\":5,\"y\":-Infinity}"};
    put_texts(f, 0, lines, 3);
    struct db_conn *c;
    buf_clear(&f->text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_series(c, 1, HISTORY_METRICS, STR("y"), 0, INT64_MAX, &f->text, &f->e), 0);
    db_read_end(c);
    assert_string_equal(buf_z(&f->text), "{\"steps\":[0,5],\"values\":[1,\"-Infinity\"]}");
}

/* ---- damage ---- */

static int damage_job(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_exec(c, e, "UPDATE history_groups SET data = $1 WHERE group_no = 0", DB_ARGS(db_b("damaged", 7)));
}

static void test_verify_finds_damage(void **state)
{
    struct fixture *f = *state;
    struct db_conn *c;
    put_wave(f, 5000, 3);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_verify(c, &f->e), 0);
    db_read_end(c);
    assert_true(db_write(f->db, damage_job, NULL, &f->e) >= 1);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_verify(c, &f->e), TARE_EFORMAT);
    db_read_end(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines_are_stored_once_whatever_comes_twice),
        TEST(test_lines_may_come_in_any_order),
        TEST(test_random_retries_leave_every_line_once),
        TEST(test_large_batches_are_cut_into_segments),
        TEST(test_writers_that_share_a_run_number_their_own_lines),
        TEST(test_ranges_of_steps),
        TEST(test_keys_choose_rows_that_have_all_of_them),
        TEST(test_samples_are_even_and_keep_the_ends),
        TEST(test_samples_in_a_buffer_are_those_by_rows),
        TEST(test_the_last_line_and_the_keys),
        TEST(test_very_many_keys),
        TEST(test_rewinding_drops_later_rows),
        TEST(test_forking_copies_up_to_the_step),
        TEST(test_merging_changes_nothing_that_is_read),
        TEST(test_a_chart_never_hides_a_spike),
        TEST(test_integers_beyond_64_bits_are_numbers),
        TEST(test_a_series_comes_whole),
        TEST(test_verify_finds_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
