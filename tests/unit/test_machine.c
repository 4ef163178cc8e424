/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/err.h"
#include "record/record.h"
#include "record/setting_wire.h"
#include "service/watch/machine.h"

#include <stdlib.h>
#include <string.h>

static void put_setting(struct buf *b, uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(b, number);
    wire_buf_bytes(b, 1, str_of(text));
    wire_buf_end(b, mark);
}

static void put_number(struct buf *b, uint32_t number, uint64_t v)
{
    size_t mark = wire_buf_begin(b, number);
    wire_buf_varint(b, 1, v);
    wire_buf_end(b, mark);
}

static void put_double(struct buf *b, uint32_t number, double v)
{
    size_t mark = wire_buf_begin(b, number);
    wire_buf_double(b, 1, v);
    wire_buf_end(b, mark);
}

static Pb__EnvironmentRecord *decode(struct arena *a, const struct buf *b)
{
    ProtobufCMessage *m = NULL;
    assert_int_equal(record_unpack(&pb__environment_record__descriptor, a, b->data, b->len, &m, NULL), 0);
    return (Pb__EnvironmentRecord *)m;
}

static void test_program_comes_from_the_settings(void **state)
{
    AUTO_BUF settings = {0}, record = {0};
    put_setting(&settings, 32, "Linux");
    put_setting(&settings, 95, "/home/a/train.py");
    put_setting(&settings, 77, "host1");
    put_double(&settings, 41, 1700000000.25);
    size_t mark = wire_buf_begin(&settings, 1);
    wire_buf_bytes(&settings, 1, STR("--lr"));
    wire_buf_bytes(&settings, 1, STR("0.1"));
    wire_buf_end(&settings, mark);
    setenv("SLURM_JOB_ID", "7", 1);
    struct str_pair git = {STR("https://example.com/r.git"), STR("abc")};
    machine_put_program(&record, buf_str(&settings), git, "writer");
    unsetenv("SLURM_JOB_ID");

    struct arena a = {0};
    Pb__EnvironmentRecord *e = decode(&a, &record);
    assert_string_equal(e->os, "Linux");
    assert_string_equal(e->program, "/home/a/train.py");
    assert_string_equal(e->host, "host1");
    assert_int_equal(e->started_at->seconds, 1700000000);
    assert_int_equal(e->started_at->nanos, 250000000);
    assert_int_equal(e->n_args, 2);
    assert_string_equal(e->args[1], "0.1");
    assert_string_equal(e->git->remote_url, "https://example.com/r.git");
    assert_string_equal(e->git->commit, "abc");
    assert_int_equal(e->n_slurm, 1);
    assert_string_equal(e->slurm[0]->key, "job_id");
    assert_string_equal(e->slurm[0]->value, "7");
    assert_string_equal(e->writer_id, "writer");
    arena_fini(&a);
}

static void test_host_is_seen_and_settings_win(void **state)
{
    AUTO_BUF settings = {0}, record = {0};
    put_number(&settings, 194, 77);
    put_setting(&settings, 197, "H200");
    machine_put_host(&record, buf_str(&settings), STR(""), "w");
    struct arena a = {0};
    Pb__EnvironmentRecord *e = decode(&a, &record);
    assert_int_equal(e->cpu_count, 77);
    assert_true(e->cpu_count_logical > 0);
    assert_string_equal(e->gpu_type, "H200");
    assert_int_equal(e->n_disk, 1);
    assert_string_equal(e->disk[0]->key, "/");
    assert_true(e->disk[0]->value->total >= e->disk[0]->value->used);
    assert_true(e->memory->total > 1 << 20);
    arena_fini(&a);
}

static void test_json_has_the_peers_names(void **state)
{
    AUTO_BUF settings = {0}, record = {0}, json = {0};
    put_setting(&settings, 32, "Linux \"x\"");
    put_double(&settings, 41, 1700000000.5);
    machine_put_program(&record, buf_str(&settings), (struct str_pair){STR("u"), STR("c")}, "w1");
    wire_buf_varint(&record, 16, 4);
    size_t entry = wire_buf_begin(&record, 20);
    wire_buf_bytes(&record, 1, STR("/"));
    size_t info = wire_buf_begin(&record, 2);
    wire_buf_varint(&record, 1, 10);
    wire_buf_end(&record, info);
    wire_buf_end(&record, entry);
    assert_int_equal(machine_put_json(&json, buf_str(&record)), 0);
    assert_string_equal(buf_z(&json), "{\n"
                                      "  \"os\": \"Linux \\\"x\\\"\",\n"
                                      "  \"startedAt\": \"2023-11-14T22:13:20.500Z\",\n"
                                      "  \"git\": {\n"
                                      "    \"remote\": \"u\",\n"
                                      "    \"commit\": \"c\"\n"
                                      "  },\n"
                                      "  \"cpu_count\": 4,\n"
                                      "  \"disk\": {\n"
                                      "    \"/\": {\n"
                                      "      \"total\": \"10\"\n"
                                      "    }\n"
                                      "  },\n"
                                      "  \"writerId\": \"w1\"\n"
                                      "}");
}

static void test_malformed_record_is_refused(void **state)
{
    AUTO_BUF json = {0};
    assert_int_equal(machine_put_json(&json, STR("\x0a\x7f")), TARE_EFORMAT);
}

static void test_writer_ids_are_ordered_by_time(void **state)
{
    char a[WRITER_ID_LEN + 1], b[WRITER_ID_LEN + 1];
    machine_writer_id(a, 1700000000000000000);
    machine_writer_id(b, 1700000001000000000);
    assert_int_equal(strlen(a), WRITER_ID_LEN);
    assert_int_equal(a[14], '7');
    assert_true(strcmp(a, b) < 0);
}

static void test_absent_settings_are_empty(void **state)
{
    AUTO_BUF s = {0};
    put_setting(&s, 5, "x");
    assert_true(str_eqz(setting_wire_text(buf_str(&s), 5), "x"));
    assert_int_equal(setting_wire_text(buf_str(&s), 6).n, 0);
    assert_false(setting_wire_bool(buf_str(&s), 5)); /* of another type */
    size_t at = 0;
    struct str v;
    assert_true(setting_wire_list(buf_str(&s), 5, &at, &v));
    assert_false(setting_wire_list(buf_str(&s), 5, &at, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_comes_from_the_settings),
        cmocka_unit_test(test_host_is_seen_and_settings_win),
        cmocka_unit_test(test_json_has_the_peers_names),
        cmocka_unit_test(test_malformed_record_is_refused),
        cmocka_unit_test(test_writer_ids_are_ordered_by_time),
        cmocka_unit_test(test_absent_settings_are_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
