/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/alloc.h"
#include "base/json.h"
#include "server/store/segment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state = 88172645463325252u;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static void assert_columns_equal(const struct column *a, const struct column *b)
{
    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_int_equal(column_row(a, i), column_row(b, i));
        assert_int_equal(column_kind(a, i), column_kind(b, i));
        if (column_kind(a, i) == V_TEXT) {
            assert_int_equal(column_text(a, i).n, column_text(b, i).n);
            assert_memory_equal(column_text(a, i).p, column_text(b, i).p, column_text(a, i).n);
        } else if (column_kind(a, i) >= V_INT) {
            assert_true(a->bits[i] == b->bits[i]);
        }
    }
}

static size_t round_trip(const struct column *c, uint32_t n_rows)
{
    AUTO_CODEC *k = codec_take();
    AUTO_BUF block = {0};
    struct column back = {0};
    assert_int_equal(codec_put_column(k, &block, c, 1), 0);
    assert_int_equal(codec_get_column(k, buf_str(&block), n_rows, &back), 0);
    assert_columns_equal(c, &back);
    column_fini(&back);
    return block.len;
}

static size_t doubles_round_trip(double (*f)(uint32_t), uint32_t n)
{
    struct column c = {0};
    for (uint32_t i = 0; i < n; i++)
        column_add(&c, i, V_DOUBLE, bits_of_double(f(i)));
    size_t size = round_trip(&c, n);
    column_fini(&c);
    return size;
}

static double any_bits(uint32_t i)
{
    (void)i;
    return double_of_bits((uint64_t)next_random() << 32 | next_random());
}

static double uniform(uint32_t i)
{
    (void)i;
    return (double)(((uint64_t)next_random() << 32 | next_random()) >> 11) * 0x1p-53;
}

static double decimals(uint32_t i)
{
    return round(uniform(i) * 1e5) / 1e5;
}

static double floats(uint32_t i)
{
    return (double)(float)uniform(i);
}

static double clock_times(uint32_t i)
{
    return 1795430000.25 + i * 0.1 + uniform(i) * 1e-3;
}

static double specials(uint32_t i)
{
    static const double all[] = {0.0, -0.0, INFINITY, -INFINITY, 5e-324, 1.7976931348623157e308, 1e22, 0.1};
    return i % 9 == 8 ? NAN : all[i % 9];
}

static void test_doubles_come_back_bit_for_bit(void **unused)
{
    (void)unused;
    double (*all[])(uint32_t) = {any_bits, uniform, decimals, floats, clock_times, specials};
    for (size_t f = 0; f < sizeof all / sizeof *all; f++)
        for (uint32_t n = 1; n < 3000; n += n / 3 + 1)
            doubles_round_trip(all[f], n);
}

static void test_columns_are_small(void **unused)
{
    (void)unused;
    assert_in_range(doubles_round_trip(uniform, 10000), 0, 69500);
    assert_in_range(doubles_round_trip(decimals, 10000), 0, 23000);
    assert_in_range(doubles_round_trip(floats, 10000), 0, 34000);
    assert_in_range(doubles_round_trip(clock_times, 10000), 0, 22000);
    struct column steps = {0};
    for (uint32_t i = 0; i < 10000; i++)
        column_add(&steps, i, V_INT, i + 7);
    assert_in_range(round_trip(&steps, 10000), 0, 40);
    column_fini(&steps);
}

static void test_mixed_and_sparse_columns_come_back(void **unused)
{
    (void)unused;
    for (int round = 0; round < 200; round++) {
        struct column c = {0};
        uint32_t row = 0;
        unsigned kinds = 1 + next_random() % 63, gap = next_random() % 4;
        for (uint32_t i = 0; i < next_random() % 500 + 1; i++, row += 1 + (gap ? next_random() % gap : 0)) {
            enum value_kind kind = (enum value_kind)(next_random() % V_KINDS);
            if (!(kinds >> kind & 1))
                continue;
            if (kind == V_TEXT) {
                char text[40];
                int n = snprintf(text, sizeof text, "\"t%u\"", (unsigned)(next_random() % 1000));
                column_add_text(&c, row, str_make(text, (size_t)n));
            } else {
                column_add(&c, row, kind, kind < V_INT ? 0 : next_random() >> next_random() % 32);
            }
        }
        round_trip(&c, row + 1);
        column_fini(&c);
    }
}

static void test_damage_is_noticed(void **unused)
{
    (void)unused;
    AUTO_CODEC *k = codec_take();
    AUTO_BUF block = {0};
    struct column c = {0}, back = {0};
    for (uint32_t i = 0; i < 300; i++)
        column_add(&c, 2 * i, V_DOUBLE, bits_of_double(uniform(i)));
    assert_int_equal(codec_put_column(k, &block, &c, 1), 0);
    for (size_t i = 0; i < block.len; i++) {
        block.data[i] ^= 4;
        column_clear(&back);
        assert_int_equal(codec_get_column(k, buf_str(&block), 600, &back), TARE_EFORMAT);
        block.data[i] ^= 4;
    }
    for (size_t n = 0; n < block.len; n++) {
        column_clear(&back);
        assert_int_equal(codec_get_column(k, str_make(block.data, n), 600, &back), TARE_EFORMAT);
    }
    column_clear(&back);
    assert_int_equal(codec_get_column(k, buf_str(&block), 598, &back), TARE_EFORMAT); /* rows out of range */
    column_fini(&back);
    column_fini(&c);
}

/* ---- lines ---- */

/* As a body has it: quoted. */
static int add_quoted(struct rowset *rs, const char *line)
{
    AUTO_BUF quoted = {0}, rest = {0};
    bool whole;
    json_put_string(&quoted, str_of(line));
    const char *p = quoted.data + 1, *end = quoted.data + quoted.len, *at = rowset_begin_quoted(rs, p, end, &whole);
    if (whole) {
        assert_ptr_equal(at, end);
        return 0;
    }
    assert_int_equal(json_unescape(&rest, str_make(at, (size_t)(end - at) - 1)), 0);
    return at == p ? rowset_add_line(rs, buf_str(&rest)) : rowset_add_rest(rs, buf_str(&rest));
}

/* Quoted lines are the same columns. */
static void assert_quoted_alike(struct codec *k, const char *const *lines, uint32_t n, const struct segment *s)
{
    struct rowset rs;
    struct segment other = {0};
    rowset_init(&rs);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(add_quoted(&rs, lines[i]), 0);
    assert_int_equal(segment_encode(k, &rs, 0, n, 0, 3, &other), 0);
    assert_true(str_eq(buf_str(&s->directory), buf_str(&other.directory)));
    for (int i = 0; (uint32_t)i < s->n_groups; i++)
        assert_true(str_eq(buf_str(&s->groups[i]), buf_str(&other.groups[i])));
    segment_fini(&other);
    rowset_fini(&rs);
}

static char *lines_round_trip(const char *const *lines, uint32_t n, bool strict)
{
    AUTO_CODEC *k = codec_take();
    struct rowset rs;
    struct segment s = {0};
    struct segment_keys keys;
    rowset_init(&rs);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(rowset_add_line(&rs, str_of(lines[i])), 0);
    assert_int_equal(segment_encode(k, &rs, 0, n, 0, 3, &s), 0);
    assert_quoted_alike(k, lines, n, &s);
    assert_int_equal(segment_keys_read(k, buf_str(&s.directory), &keys), 0);
    struct column *columns = calloc(keys.n + 1, sizeof *columns);
    struct row_field *fields = calloc(keys.n + 1, sizeof *fields);
    for (uint32_t i = 0; i < keys.n; i++) {
        const struct segment_key *key = &keys.keys[i];
        struct str block = str_make(s.groups[key->group].data + key->offset, key->length);
        assert_int_equal(codec_get_column(k, block, s.n_lines, &columns[i]), 0);
        fields[i] = (struct row_field){.path = key->path, .column = &columns[i]};
    }
    struct row_writer *w = row_writer_new(fields, keys.n, strict);
    AUTO_BUF out = {0};
    for (uint32_t i = 0; i < n; i++) {
        assert_true(row_writer_put(w, i, &out) >= 0);
        buf_putc(&out, '\n');
    }
    buf_putc(&out, 0);
    row_writer_free(w);
    for (uint32_t i = 0; i < keys.n; i++)
        column_fini(&columns[i]);
    free(columns);
    free(fields);
    segment_keys_fini(&keys);
    segment_fini(&s);
    rowset_fini(&rs);
    return strdup(out.data);
}

static void assert_line(const char *line, const char *want)
{
    char *got = lines_round_trip(&line, 1, false);
    got[strlen(got) - 1] = 0;
    assert_string_equal(got, want);
    free(got);
}

static void test_values_of_lines_come_back_exactly(void **unused)
{
    (void)unused;
    assert_line("{}", "{}");
    assert_line(" { \"a\" : 1 , \"b\" : 2.50 } ", "{\"a\":1,\"b\":2.5}");
    assert_line("{\"a\":NaN,\"b\":Infinity,\"c\":-Infinity}", "{\"a\":NaN,\"b\":Infinity,\"c\":-Infinity}");
    assert_line("{\"a\":-0.0,\"b\":0.0,\"c\":0}", "{\"a\":-0.0,\"b\":0.0,\"c\":0}");
    assert_line("{\"a\":-0,\"b\":-1,\"c\":{\"d\":-0}}", "{\"a\":-0.0,\"b\":-1,\"c\":{\"d\":-0.0}}");
    assert_line("{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
                "{\"a\":9223372036854775807,\"b\":-9223372036854775808}");
    assert_line("{\"a\":18446744073709551615,\"b\":1e999}", "{\"a\":18446744073709551615,\"b\":1e999}");
    assert_line("{\"a\":1.0,\"b\":1e2,\"c\":100}", "{\"a\":1.0,\"b\":100.0,\"c\":100}");
    assert_line("{\"a\":true,\"b\":false,\"c\":null}", "{\"a\":true,\"b\":false,\"c\":null}");
    assert_line("{\"a\":\"x\\n\\u00e9\\\"\",\"b\":[1, 2]}", "{\"a\":\"x\\n\\u00e9\\\"\",\"b\":[1, 2]}");
}

static void test_objects_come_back_nested(void **unused)
{
    (void)unused;
    assert_line("{\"a\":{\"b\":1,\"c\":{\"d\":2}},\"e\":3}", "{\"a\":{\"b\":1,\"c\":{\"d\":2}},\"e\":3}");
    assert_line("{\"a.b\":1,\"a\":{\"b\":2}}", "{\"a\":{\"b\":2},\"a.b\":1}");
    assert_line("{\"a\":{}}", "{\"a\":{}}");
    assert_line("{\"a\":{\"\":{\"\":1}}}", "{\"a\":{\"\":{\"\":1}}}");
    assert_line("{\"\":1}", "{\"\":1}");
    assert_line("{\"a\\\\\":1,\"a\\\"\":2}", "{\"a\\\"\":2,\"a\\\\\":1}");
    assert_line("{\"i\":{\"_type\":\"image-file\",\"size\":3}}", "{\"i\":{\"_type\":\"image-file\",\"size\":3}}");
    assert_line("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}",
                "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}");
}

static void test_a_key_twice_counts_once(void **unused)
{
    (void)unused;
    assert_line("{\"a\":1,\"a\":\"two\"}", "{\"a\":\"two\"}");
}

static void test_lines_that_differ_keep_apart(void **unused)
{
    (void)unused;
    const char *lines[] = {"{\"a\":1}", "{\"b\":{\"c\":2.5}}", "{}", "{\"b\":7,\"a\":\"x\"}", "{\"a\":3}"};
    char *got = lines_round_trip(lines, 5, false);
    assert_string_equal(got, "{\"a\":1}\n{\"b\":{\"c\":2.5}}\n{}\n{\"a\":\"x\",\"b\":7}\n{\"a\":3}\n");
    free(got);
}

static void test_strict_rows_are_strict_json(void **unused)
{
    (void)unused;
    const char *lines[] = {"{\"a\":NaN,\"b\":[NaN,\"NaN\",-Infinity],\"c\":\"x\"}"};
    char *got = lines_round_trip(lines, 1, true);
    assert_string_equal(got, "{\"a\":\"NaN\",\"b\":[\"NaN\",\"NaN\",\"-Infinity\"],\"c\":\"x\"}\n");
    free(got);
}

static void test_rows_that_leave_the_path_of_the_row_before(void **unused)
{
    (void)unused;
    const char *lines[] = {
        "{\"a\":1,\"b\":2.5,\"c\":true,\"_step\":0}",     "{\"a\":-1,\"b\":NaN,\"c\":null,\"_step\":1}",
        "{\"a\":1,\"b\":\"x\\ny\",\"c\":3,\"_step\":2}", "{\"a\":1 ,\"b\":2,\"c\":3}",
        "{\"a\":1, \"b\":2,\"c\":[1],\"d\":{\"e\":1}}",   "{\"a\":1,\"bb\":2,\"c\":3,\"_step\":4}",
        "{\"a\":123456789012345678901234567890,\"b\":2}", "{}",
        "{\"b\":2}",                                     "{\"a\":1,\"b\":Infinity,\"c\":3,\"_step\":4}",
        "{\"a\":{\"b\":7},\"b\":2.5}",                  "{\"a\":{\"b\":7},\"b\":2.5 }",
    };
    free(lines_round_trip(lines, sizeof lines / sizeof *lines, false));
}

static void test_what_is_no_object_is_refused(void **unused)
{
    (void)unused;
    static const char *const bad[] = {"", "1", "[]", "null", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}}",
                                      "{\"a\":1 \"b\":2}", "{a:1}", "{\"a\":01}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":nul}",
                                      "{\"a\":\"x}", "{\"a\\q\":1}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":-01}", "{\"a\":1e}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rowset rs;
        rowset_init(&rs);
        int rc = rowset_add_line(&rs, str_of(bad[i]));
        if (rc != TARE_EFORMAT)
            fail_msg("%s: %d", bad[i], rc);
        rowset_fini(&rs);
        rowset_init(&rs);
        assert_int_equal(add_quoted(&rs, "{\"a\":1}"), 0);
        if ((rc = add_quoted(&rs, bad[i])) != TARE_EFORMAT)
            fail_msg("%s, quoted: %d", bad[i], rc);
        rowset_fini(&rs);
    }
}

static void test_envelopes_hold_every_extreme(void **unused)
{
    (void)unused;
    AUTO_CODEC *k = codec_take();
    struct rowset rs;
    struct segment s = {0};
    struct segment_keys keys;
    struct envelope env;
    rowset_init(&rs);
    for (int i = 0; i < 5000; i++) {
        char line[80];
        int n = snprintf(line, sizeof line, "{\"_step\":%d,\"x\":%.6f}", 3 * i, i == 4321 ? 1e6 : sin(i * 0.01));
        assert_int_equal(rowset_add_line(&rs, str_make(line, (size_t)n)), 0);
    }
    assert_int_equal(segment_encode(k, &rs, 0, 5000, 0, 1, &s), 0);
    assert_int_equal(s.min_step, 0);
    assert_int_equal(s.max_step, 3 * 4999);
    assert_true(s.sorted);
    assert_int_equal(segment_keys_read(k, buf_str(&s.directory), &keys), 0);
    const struct segment_key *key = &keys.keys[1];
    assert_true(str_eqz(key->path, "x"));
    assert_true(key->max == 1e6);
    assert_true(key->env_length > 0);
    struct str block = str_make(s.groups[key->env_group].data + key->env_offset, key->env_length);
    assert_int_equal(envelope_read(k, block, key->n_numbers, &env), 0);
    assert_int_equal(env.n, 40);
    assert_true(env.max[4321 / 128] == 1e6);
    assert_int_equal(env.first_step[1], 3 * 128);
    assert_int_equal(env.last_step[39], 3 * 4999);
    assert_int_equal(env.count[39], 5000 - 39 * 128);
    envelope_fini(&env);
    segment_keys_fini(&keys);
    segment_fini(&s);
    rowset_fini(&rs);
}

static void test_memory_failures_are_told(void **unused)
{
    (void)unused;
    const char *line = "{\"_step\":1,\"a\":0.5,\"b\":{\"c\":\"x\"},\"d\":[1],\"e\":7}";
    for (int nth = 1;; nth++) {
        struct rowset rs;
        struct segment s = {0};
        mem_fault_set(nth, 1);
        struct codec *k = codec_take();
        rowset_init(&rs);
        int rc = k ? rowset_add_line(&rs, str_of(line)) : TARE_ENOMEM;
        if (!rc)
            rc = rowset_add_line(&rs, STR("{\"a\":\"y\",\"z\":1.5}"));
        if (!rc)
            rc = segment_encode(k, &rs, 0, 2, 0, 1, &s);
        int fired = mem_fault_fired();
        mem_fault_set(0, 0);
        if (!rc) { /* nothing failed, or only the attempt to compress */
            struct segment_keys keys;
            uint32_t n_values = 0;
            assert_int_equal(segment_keys_read(k, buf_str(&s.directory), &keys), 0);
            for (uint32_t i = 0; i < keys.n; i++)
                n_values += keys.keys[i].n_values;
            assert_int_equal(n_values, 7);
            segment_keys_fini(&keys);
        }
        codec_give(k);
        codec_pool_clear();
        segment_fini(&s);
        rowset_fini(&rs);
        if (!fired) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_true(rc == TARE_ENOMEM || rc == 0);
    }
}

static size_t block_of(struct codec *k, size_t n, int level)
{
    AUTO_BUF text = {0}, block = {0}, back = {0};
    for (size_t i = 0; i < n; i++)
        buf_putc(&text, "loss, acc. "[i % 11]);
    assert_int_equal(codec_put_bytes(k, &block, buf_str(&text), level), 0);
    assert_int_equal(codec_get_bytes(k, buf_str(&block), n, &back), 0);
    assert_true(str_eq(buf_str(&text), buf_str(&back)));
    return block.len;
}

/* Small posts are merged soon: their few hundred bytes are not worth the work. */
static void test_short_blocks_are_packed_only_when_they_stay(void **unused)
{
    (void)unused;
    AUTO_CODEC *k = codec_take();
    assert_in_range(block_of(k, 700, 1), 700, 720);
    assert_in_range(block_of(k, 700, 3), 1, 100);
    assert_in_range(block_of(k, 2000, 1), 1, 100);
    assert_in_range(block_of(k, 200, 3), 200, 220);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_come_back_bit_for_bit),
        cmocka_unit_test(test_columns_are_small),
        cmocka_unit_test(test_mixed_and_sparse_columns_come_back),
        cmocka_unit_test(test_damage_is_noticed),
        cmocka_unit_test(test_values_of_lines_come_back_exactly),
        cmocka_unit_test(test_objects_come_back_nested),
        cmocka_unit_test(test_a_key_twice_counts_once),
        cmocka_unit_test(test_lines_that_differ_keep_apart),
        cmocka_unit_test(test_strict_rows_are_strict_json),
        cmocka_unit_test(test_rows_that_leave_the_path_of_the_row_before),
        cmocka_unit_test(test_what_is_no_object_is_refused),
        cmocka_unit_test(test_envelopes_hold_every_extreme),
        cmocka_unit_test(test_short_blocks_are_packed_only_when_they_stay),
        cmocka_unit_test(test_memory_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
