/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/os.h"
#include "record/wire.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/job.h"
#include "service/upload/job_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define METADATA                                                                                          \
    "{\"python\":\"3.11.2\",\"program\":\"/x/a.py\",\"codePath\":\"dir/a.py\",\"codePathLocal\":\"a.py\"," \
    "\"root\":\"/x\",\"git\":{\"remote\":\"https://h/r.git\",\"commit\":\"abc\"}}"
#define NO_GIT "{\"python\":\"3.11.2\",\"codePath\":\"dir/a.py\",\"codePathLocal\":\"a.py\"}"

struct fixture {
    char dir[64];
    struct buf settings, record, text;
    struct job *job;
    struct job_run run;
    const char *why;
    struct err e;
};

static void put_file(struct fixture *x, const char *name, const char *text)
{
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/%s", x->dir, name);
    assert_int_equal(os_write_file(buf_z(&path), text, strlen(text), 0600), 0);
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    strcpy(x->dir, "/tmp/test_job.XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    put_file(x, "requirements.txt", "a==1\n");
    x->run = (struct job_run){
        .entity = "ent", .project = "proj", .id = "run1", .files_dir = x->dir,
        .config = STR("{\"lr\":0.1,\"_wandb\":{\"v\":1}}"), .summary = STR("{\"loss\":[1,\"x\"]}"),
        .metadata = STR(METADATA)};
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    AUTO_BUF command = {0};
    buf_printf(&command, "rm -rf %s", x->dir);
    assert_int_equal(system(buf_z(&command)), 0);
    job_free(x->job);
    buf_fini(&x->settings);
    buf_fini(&x->record);
    buf_fini(&x->text);
    free(x);
    return 0;
}

static void set_text(struct fixture *x, uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(&x->settings, number);
    wire_buf_bytes(&x->settings, 1, str_of(text));
    wire_buf_end(&x->settings, mark);
}

static void set_true(struct fixture *x, uint32_t number)
{
    size_t mark = wire_buf_begin(&x->settings, number);
    wire_buf_varint(&x->settings, 1, 1);
    wire_buf_end(&x->settings, mark);
}

static struct job *the_job(struct fixture *x)
{
    if (!x->job)
        x->job = job_new(buf_str(&x->settings));
    return x->job;
}

static int build(struct fixture *x)
{
    return job_build(the_job(x), &x->run, x->dir, &x->record, &x->why, &x->e);
}

static const char *made_json(struct fixture *x)
{
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/wandb-job.json", x->dir);
    buf_clear(&x->text);
    assert_int_equal(os_read_file(buf_z(&path), 1 << 20, &x->text), 0);
    return buf_z(&x->text);
}

static void assert_field(struct fixture *x, uint32_t field, const char *text)
{
    struct str s = wire_find_bytes(buf_str(&x->record), field);
    AUTO_BUF z = {0};
    buf_put_str(&z, s);
    assert_string_equal(s.n ? buf_z(&z) : "", text);
}

static void add_input(struct fixture *x, const char *file, const char *include, const char *exclude,
                      const char *schema)
{
    AUTO_BUF request = {0};
    size_t source = wire_buf_begin(&request, 1), of = wire_buf_begin(&request, file ? 2 : 1);
    if (file)
        wire_buf_bytes(&request, 1, str_of(file));
    wire_buf_end(&request, of);
    wire_buf_end(&request, source);
    const char *const paths[] = {NULL, NULL, include, exclude};
    for (uint32_t i = 2; i < 4; i++) {
        if (!paths[i])
            continue;
        size_t path = wire_buf_begin(&request, i);
        for (const char *p = paths[i]; *p; p += strcspn(p, ".") + (p[strcspn(p, ".")] == '.'))
            wire_buf_bytes(&request, 1, str_make(p, strcspn(p, ".")));
        wire_buf_end(&request, path);
    }
    if (schema)
        wire_buf_bytes(&request, 4, str_of(schema));
    job_add_input(the_job(x), buf_str(&request));
}

static void assert_metadata(struct fixture *x, const char *expected)
{
    buf_clear(&x->text);
    assert_int_equal(job_metadata(the_job(x), &x->run, &x->text, &x->e), 0);
    assert_string_equal(buf_z(&x->text), expected);
}

static void test_types_of_nested_values(void **state)
{
    static const struct {
        const char *json, *type;
    } cases[] = {
        {"1", "{\"wb_type\":\"number\"}"},
        {"NaN", "{\"wb_type\":\"number\"}"},
        {" null ", "{\"wb_type\":\"none\"}"},
        {"\"x\"", "{\"wb_type\":\"string\"}"},
        {"false", "{\"wb_type\":\"boolean\"}"},
        {"{\"b\":1,\"a\":\"x\",\"_wandb\":2}", "{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{"
                                               "\"a\":{\"wb_type\":\"string\"},\"b\":{\"wb_type\":\"number\"}}}}"},
        {"{\"a\":1,\"a\":null}", "{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{\"a\":{\"wb_type\":\"none\"}}}}"},
        {"[]", "{\"wb_type\":\"list\",\"params\":{\"element_type\":{\"wb_type\":\"unknown\"},\"length\":0}}"},
        {"[1,2]", "{\"wb_type\":\"list\",\"params\":{\"element_type\":{\"wb_type\":\"number\"},\"length\":2}}"},
        {"[1,\"a\",2]", "{\"wb_type\":\"list\",\"params\":{\"element_type\":{\"wb_type\":\"union\",\"params\":"
                        "{\"allowed_types\":[{\"wb_type\":\"number\"},{\"wb_type\":\"string\"}]}},\"length\":3}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena a;
        AUTO_BUF type = {0};
        arena_init(&a, 1 << 20);
        struct job_value *v = job_value_of_json(&a, str_of(cases[i].json));
        assert_non_null(v);
        job_type_put(v, &type);
        assert_string_equal(buf_z(&type), cases[i].type);
        arena_fini(&a);
    }
}

static void test_broken_or_too_large_json_has_no_type(void **state)
{
    struct arena a;
    arena_init(&a, 4096);
    assert_null(job_value_of_json(&a, STR("")));
    assert_null(job_value_of_json(&a, STR("{\"a\":}")));
    assert_null(job_value_of_json(&a, STR("[1,2")));
    AUTO_BUF large = {0};
    buf_puts(&large, "[0");
    for (int i = 0; i < 1000; i++)
        buf_puts(&large, ",0");
    buf_puts(&large, "]");
    assert_null(job_value_of_json(&a, buf_str(&large)));
    arena_fini(&a);
}

static void test_json_is_written_as_go_does(void **state)
{
    AUTO_BUF sorted = {0}, text = {0};
    assert_int_equal(job_json_put_sorted(STR(" {\"b\": 1.0, \"a\": [true, null, \"<\\u00e9&\"], \"b\": 2.50} "), &sorted), 0);
    job_json_put_escaped(buf_str(&sorted), &text);
    assert_string_equal(buf_z(&text), "{\"a\":[true,null,\"\\u003c\xc3\xa9\\u0026\"],\"b\":2.5}");
    buf_clear(&text);
    job_json_put_escaped(STR("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"), &text);
    assert_string_equal(buf_z(&text), "\\u2028\\u2029\xe2\x80\xaa");
    assert_int_equal(job_json_put_sorted(STR("[NaN]"), &sorted), TARE_EFORMAT);
}

static void test_names_are_made_safe(void **state)
{
    AUTO_BUF name = {0}, longest = {0};
    job_safe_name(STR("job-https://h/\xc3\xa9 r.git"), &name);
    assert_string_equal(buf_z(&name), "job-https___h___r.git");
    buf_clear(&name);
    for (int i = 0; i < 200; i++)
        buf_putc(&longest, (char)('a' + i % 26));
    job_safe_name(buf_str(&longest), &name);
    assert_int_equal(name.len, 128);
    assert_memory_equal(name.data + 63, "..", 2);
    assert_memory_equal(name.data, longest.data, 63);
    assert_memory_equal(name.data + 65, longest.data + 137, 63);
}

static void test_settings_forbid_jobs(void **state)
{
    struct fixture *x = *state;
    set_true(x, 65);
    assert_null(job_new(buf_str(&x->settings)));
    buf_clear(&x->settings);
    set_true(x, 158);
    assert_null(job_new(buf_str(&x->settings)));
    assert_false(job_is_wanted(NULL));
    job_use_artifact(NULL, STR(""));
    job_add_input(NULL, STR(""));
    job_set_code(NULL, "", "");
}

static void test_git_commit_is_the_first_choice(void **state)
{
    struct fixture *x = *state;
    put_file(x, "diff.patch", "diff");
    job_set_code(the_job(x), "ID", "source-p");
    assert_int_equal(build(x), 0);
    assert_null(x->why);
    assert_string_equal(made_json(x),
        "{\"_version\":\"v0\",\"source\":{\"git\":{\"remote\":\"https://h/r.git\",\"commit\":\"abc\"},"
        "\"entrypoint\":[\"python3.11\",\"dir/a.py\"],\"notebook\":false},\"source_type\":\"repo\","
        "\"input_types\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{\"lr\":{\"wb_type\":\"number\"}}}},"
        "\"output_types\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{\"loss\":{\"wb_type\":\"list\",\"params\":"
        "{\"element_type\":{\"wb_type\":\"union\",\"params\":{\"allowed_types\":[{\"wb_type\":\"number\"},"
        "{\"wb_type\":\"string\"}]}},\"length\":2}}}}},\"runtime\":\"3.11.2\"}");
    assert_field(x, 1, "run1");
    assert_field(x, 2, "proj");
    assert_field(x, 3, "ent");
    assert_field(x, 4, "job");
    assert_field(x, 5, "job-https___h_r.git_dir_a.py");
    assert_field(x, 8, "");
    assert_field(x, 11, "latest");
    struct manifest m = {0};
    char digest[33];
    assert_int_equal(manifest_read(&m, wire_find_bytes(buf_str(&x->record), 12), &x->e), 0);
    assert_int_equal(m.n, 3);
    assert_true(str_eqz(m.entries[0].path, "diff.patch"));
    assert_true(str_eqz(m.entries[1].path, "requirements.frozen.txt"));
    assert_int_equal(m.entries[1].size, 5);
    assert_true(str_eqz(m.entries[2].path, "wandb-job.json"));
    manifest_digest(&m, digest);
    assert_field(x, 6, digest);
    manifest_fini(&m);
}

static void test_commit_without_changes_needs_no_diff(void **state)
{
    struct fixture *x = *state;
    assert_int_equal(build(x), 0);
    assert_int_equal(x->e.code, 0);
    assert_true(x->record.len > 0);
}

static void test_saved_code_is_the_second(void **state)
{
    struct fixture *x = *state;
    x->run.metadata = STR(NO_GIT);
    job_set_code(the_job(x), "ID", "source-p");
    assert_int_equal(build(x), 0);
    assert_non_null(strstr(made_json(x), "\"source\":{\"artifact\":\"wandb-artifact://_id/ID\","
                                         "\"entrypoint\":[\"python3.11\",\"a.py\"],\"notebook\":false},"
                                         "\"source_type\":\"artifact\""));
    assert_field(x, 5, "job-source-p");
}

static void test_image_gives_its_tag_as_alias(void **state)
{
    struct fixture *x = *state;
    x->run.metadata = STR("{\"python\":\"3.11.2\",\"docker\":\"h:5000/i:v1.2\"}");
    assert_int_equal(build(x), 0);
    assert_non_null(strstr(made_json(x), "\"source\":{\"image\":\"h:5000/i:v1.2\"},\"source_type\":\"image\""));
    assert_field(x, 5, "job-h_5000_i");
    assert_non_null(memmem(x->record.data, x->record.len, "\x5a\x04v1.2\x5a\x06latest", 14));
}

static void test_settings_choose_source_and_name(void **state)
{
    struct fixture *x = *state;
    set_text(x, 81, "artifact");
    set_text(x, 145, "a name");
    assert_int_equal(build(x), TARE_EINVAL);
    assert_int_equal(x->record.len, 0);
    job_set_code(the_job(x), "ID", "source-p");
    assert_int_equal(build(x), 0);
    assert_field(x, 5, "a name");
    assert_non_null(strstr(made_json(x), "\"source_type\":\"artifact\""));
}

static void test_nothing_is_made_without_what_it_takes(void **state)
{
    struct fixture *x = *state;
    static const char *const metadata[] = {"", "{}", NO_GIT, "{\"python\":3}", "[",
                                           "{\"python\":\"3.1\",\"git\":{\"remote\":\"r\",\"commit\":\"c\"}}"};
    for (size_t i = 0; i < sizeof metadata / sizeof metadata[0]; i++) {
        x->run.metadata = str_of(metadata[i]);
        assert_int_equal(build(x), 0);
        assert_non_null(x->why);
        assert_int_equal(x->record.len, 0);
    }
    x->run.metadata = STR(METADATA);
    x->run.files_dir = "/nonexistent";
    assert_int_equal(build(x), 0);
    assert_string_equal(x->why, "there is no requirements.txt");
}

static void test_notebooks_are_told_from_the_root_of_the_repository(void **state)
{
    struct fixture *x = *state;
    char *old = getcwd(NULL, 0);
    assert_int_equal(chdir(x->dir), 0);
    put_file(x, "n.ipynb", "{}");
    set_true(x, 21);
    set_text(x, 22, "/x/books/deep");
    x->run.metadata = STR("{\"python\":\"3.11.2\",\"program\":\"in/n.ipynb\",\"root\":\"/x\","
                          "\"git\":{\"remote\":\"r\",\"commit\":\"c\"}}");
    assert_int_equal(build(x), 0);
    assert_non_null(strstr(made_json(x), "[\"python3.11\",\"books/deep/in/n.ipynb\"],\"notebook\":true"));
    assert_int_equal(unlink("n.ipynb"), 0);
    buf_clear(&x->record);
    assert_int_equal(build(x), 0);
    assert_int_equal(x->record.len, 0);
    assert_int_equal(chdir(old), 0);
    free(old);
}

static void test_inputs_become_metadata(void **state)
{
    struct fixture *x = *state;
    x->run.config = STR("{\"lr\":0.1,\"net\":{\"a\":1,\"b\":\"x\",\"e\":{}},\"o\":1}");
    add_input(x, NULL, "net", "net.b", NULL);
    add_input(x, NULL, "lr", NULL, "{\"z\":1.0,\"a\":\"<\"}");
    assert_metadata(x, "{\"input_schemas\":{\"@wandb.config\":{\"a\":\"\\u003c\",\"z\":1}},\"input_types\":{"
                       "\"@wandb.config\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{"
                       "\"lr\":{\"wb_type\":\"number\"},\"net\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{"
                       "\"a\":{\"wb_type\":\"number\"}}}}}}}},\"output_types\":{\"wb_type\":\"unknown\"}}");
    assert_int_equal(build(x), 0);
    assert_non_null(strstr(made_json(x), "\"input_types\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{}}}"));
    assert_field(x, 8, "{\"input_schemas\":{\"@wandb.config\":{\"a\":\"\\u003c\",\"z\":1}},\"input_types\":{"
                       "\"@wandb.config\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{"
                       "\"lr\":{\"wb_type\":\"number\"},\"net\":{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{"
                       "\"a\":{\"wb_type\":\"number\"}}}}}}}},\"output_types\":{\"wb_type\":\"unknown\"}}");
}

static void test_files_are_inputs(void **state)
{
    struct fixture *x = *state;
    AUTO_BUF folder = {0};
    buf_printf(&folder, "%s/_wandb_configs", x->dir);
    assert_int_equal(mkdir(buf_z(&folder), 0700), 0);
    put_file(x, "_wandb_configs/b.json", "{\"k\":1,\"l\":2}");
    put_file(x, "_wandb_configs/a.yaml",
             "base: &b {n: 0x1F, y: yes}\nd: {<<: *b, n: two}\nl: [1.5e3, .inf, ~, True]\nw: 2026-01-01\nk: {1: a}\n");
    add_input(x, "b.json", NULL, "k", NULL);
    add_input(x, "a.yaml", NULL, NULL, NULL);
    add_input(x, "none.json", NULL, NULL, NULL);
    add_input(x, "../requirements.txt", NULL, NULL, NULL);
#define D(members) "{\"wb_type\":\"typedDict\",\"params\":{\"type_map\":{" members "}}}"
#define T(name) "{\"wb_type\":\"" name "\"}"
    assert_metadata(x, "{\"input_types\":{\"files\":{\"../requirements.txt\":" T("")
                       ",\"a.yaml\":" D("\"base\":" D("\"n\":" T("number") ",\"y\":" T("string"))
                                        ",\"d\":" D("\"n\":" T("string") ",\"y\":" T("string"))
                                        ",\"k\":" T("unknown")
                                        ",\"l\":{\"wb_type\":\"list\",\"params\":{\"element_type\":{\"wb_type\":\"union\","
                                        "\"params\":{\"allowed_types\":[" T("number") "," T("none") "," T("boolean")
                                        "]}},\"length\":4}},\"w\":" T("unknown"))
                       ",\"b.json\":" D("\"l\":" T("number")) ",\"none.json\":" T("")
                       "}},\"output_types\":{\"wb_type\":\"unknown\"}}");
}

static void test_hostile_yaml_has_no_type(void **state)
{
    struct fixture *x = *state;
    AUTO_BUF folder = {0}, deep = {0};
    buf_printf(&folder, "%s/_wandb_configs", x->dir);
    assert_int_equal(mkdir(buf_z(&folder), 0700), 0);
    for (int i = 0; i < 1000; i++)
        buf_puts(&deep, "[");
    put_file(x, "_wandb_configs/a.yaml", buf_z(&deep));
    put_file(x, "_wandb_configs/b.yaml", "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
                                         "c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
                                         "e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n");
    put_file(x, "_wandb_configs/c.yaml", "a: &a [*a]\n");
    add_input(x, "a.yaml", NULL, NULL, NULL);
    add_input(x, "b.yaml", NULL, NULL, NULL);
    add_input(x, "c.yaml", NULL, NULL, NULL);
    assert_metadata(x, "{\"input_types\":{\"files\":{\"a.yaml\":" T("") ",\"b.yaml\":" T("") ",\"c.yaml\":" T("")
                       "}},\"output_types\":{\"wb_type\":\"unknown\"}}");
}

static void test_schema_that_is_no_object_is_refused(void **state)
{
    struct fixture *x = *state;
    add_input(x, NULL, NULL, NULL, "[1]");
    assert_int_equal(job_metadata(the_job(x), &x->run, &x->text, &x->e), TARE_EFORMAT);
    assert_int_equal(build(x), TARE_EFORMAT);
    assert_int_equal(x->record.len, 0);
}

static void use(struct fixture *x, const char *type, const char *partial_name)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, 1, STR("ID"));
    wire_buf_bytes(&record, 2, str_of(type));
    if (partial_name) {
        size_t mark = wire_buf_begin(&record, 4);
        wire_buf_bytes(&record, 1, str_of(partial_name));
        wire_buf_end(&record, mark);
    }
    job_use_artifact(the_job(x), buf_str(&record));
}

static void test_launched_runs_make_no_job(void **state)
{
    struct fixture *x = *state;
    use(x, "dataset", NULL);
    assert_true(job_is_wanted(x->job));
    assert_null(job_partial_id(x->job));
    use(x, "job", "name");
    assert_true(job_is_wanted(x->job));
    assert_string_equal(job_partial_id(x->job), "ID");
    use(x, "job", "");
    assert_false(job_is_wanted(x->job));
    job_free(x->job);
    x->job = NULL;
    use(x, "job", NULL);
    assert_false(job_is_wanted(x->job));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_types_of_nested_values),
        TEST(test_broken_or_too_large_json_has_no_type),
        TEST(test_json_is_written_as_go_does),
        TEST(test_names_are_made_safe),
        TEST(test_settings_forbid_jobs),
        TEST(test_git_commit_is_the_first_choice),
        TEST(test_commit_without_changes_needs_no_diff),
        TEST(test_saved_code_is_the_second),
        TEST(test_image_gives_its_tag_as_alias),
        TEST(test_settings_choose_source_and_name),
        TEST(test_nothing_is_made_without_what_it_takes),
        TEST(test_notebooks_are_told_from_the_root_of_the_repository),
        TEST(test_inputs_become_metadata),
        TEST(test_files_are_inputs),
        TEST(test_hostile_yaml_has_no_type),
        TEST(test_schema_that_is_no_object_is_refused),
        TEST(test_launched_runs_make_no_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
