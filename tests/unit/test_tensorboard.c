/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/os.h"
#include "base/digest.h"
#include "record/wire.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"
#include "service/watch/tb_convert.h"
#include "service/watch/tb_reader.h"
#include "service/watch/tb_value.h"
#include "service/watch/tensorboard.h"
#include "service/watch/tfevents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000LL

/* ---- making events ---- */

static void put_event(struct buf *to, int64_t step, struct str summary)
{
    wire_buf_double(to, 1, 1700000000.5);
    wire_buf_varint(to, 2, (uint64_t)step);
    wire_buf_bytes(to, 5, summary);
}

static void put_float(struct buf *to, uint32_t field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    char tag[WIRE_VARINT_MAX];
    buf_append(to, tag, (size_t)(wire_put_tag(tag, field, WIRE_FIXED32) - tag));
    buf_append(to, &bits, sizeof bits);
}

/* A summary of one scalar of the old style. */
static void put_scalar(struct buf *to, const char *tag, float v)
{
    size_t value = wire_buf_begin(to, 1);
    wire_buf_bytes(to, 1, str_of(tag));
    put_float(to, 2, v);
    wire_buf_end(to, value);
}

static void put_doubles(struct buf *to, uint32_t field, const double *v, size_t n)
{
    wire_buf_bytes(to, field, (struct str){(const char *)v, n * sizeof *v});
}

static void put_u32(struct buf *to, uint32_t v)
{
    buf_append(to, &v, sizeof v);
}

static void put_framed(struct buf *to, struct str data)
{
    uint64_t n = data.n;
    size_t at = to->len;
    buf_append(to, &n, sizeof n);
    put_u32(to, tfevents_checksum((struct str){to->data + at, sizeof n}));
    buf_put_str(to, data);
    put_u32(to, tfevents_checksum(data));
}

static void put_scalar_event(struct buf *to, int64_t step, const char *tag, float v)
{
    AUTO_BUF summary = {0}, event = {0};
    put_scalar(&summary, tag, v);
    put_event(&event, step, buf_str(&summary));
    put_framed(to, buf_str(&event));
}

/* ---- reading what came of them ---- */

/* "KEY=VALUE ..." of a partial_history record, the path and policy of a files record. */
static void describe(struct buf *to, struct str record)
{
    struct str request = wire_find_bytes(record, 100), files = wire_find_bytes(record, 6);
    struct wire_reader r = wire_open(wire_find_bytes(request, 10));
    struct wire_field f = {0};
    if (files.n) {
        struct str item = wire_find_bytes(files, 1);
        buf_printf(to, "files %.*s %d\n", STR_ARG(wire_find_bytes(item, 1)),
                   (int)wire_find_varint(item, 2));
    }
    if (wire_find_bytes(record, 5).n)
        buf_puts(to, "config\n");
    while (wire_next(&r, &f) > 0) {
        if (f.number != 1)
            continue;
        struct str key = wire_find_bytes(f.bytes, 2);
        if (key.n == 0)
            key = wire_find_bytes(f.bytes, 1);
        buf_printf(to, "%.*s=%.*s ", STR_ARG(key), STR_ARG(wire_find_bytes(f.bytes, 16)));
    }
    if (request.n)
        buf_putc(to, '\n');
}

static void assert_records(struct buf *records, const char *want)
{
    AUTO_BUF got = {0};
    struct str rest = buf_str(records), record;
    while (tb_next_record(&rest, &record))
        describe(&got, record);
    assert_string_equal(got.len ? buf_z(&got) : "", want);
    buf_clear(records);
}

/* ---- framing ---- */

static void test_checksum_is_the_masked_castagnoli(void **state)
{
    /* CRC-32C("123456789") = 0xe3069283 */
    uint32_t c = 0xe3069283;
    assert_int_equal(tfevents_checksum(STR("123456789")), (c >> 15 | c << 17) + 0xa282ead8);
}

static void test_records_are_found_one_by_one(void **state)
{
    AUTO_BUF file = {0};
    put_framed(&file, STR("one"));
    put_framed(&file, STR(""));
    struct str event, rest = buf_str(&file);
    size_t taken;
    for (size_t n = 0; n < 19; n++)
        assert_int_equal(tfevents_next((struct str){rest.p, n}, &event, &taken), 0);
    assert_int_equal(tfevents_next(rest, &event, &taken), 1);
    assert_true(str_eqz(event, "one"));
    assert_int_equal(taken, 19);
    rest.p += taken;
    rest.n -= taken;
    assert_int_equal(tfevents_next(rest, &event, &taken), 1);
    assert_int_equal(event.n, 0);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
    AUTO_BUF file = {0};
    put_framed(&file, STR("payload"));
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        struct str event;
        size_t taken;
        file.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(tfevents_next(buf_str(&file), &event, &taken), TARE_EFORMAT);
        file.data[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void test_names_that_fit(void **state)
{
    struct str host = STR("node-1"), any = STR("");
    assert_true(tfevents_name_fits(STR("events.out.tfevents.100.node-1"), 100, host));
    assert_true(tfevents_name_fits(STR("events.out.tfevents.100.node-1.7.v2"), 99, host));
    assert_false(tfevents_name_fits(STR("events.out.tfevents.100.node-1"), 101, host));
    assert_false(tfevents_name_fits(STR("events.out.tfevents.100.other"), 100, host));
    assert_true(tfevents_name_fits(STR("events.out.tfevents.100.other"), 0, any));
    assert_false(tfevents_name_fits(STR("events.out.tfevents.100.node-1.profile-empty"), 0, any));
    assert_false(tfevents_name_fits(STR("events.out.tfevents.x.sagemaker-uploaded"), 0, any));
    assert_false(tfevents_name_fits(STR("notes.txt"), 0, any));
}

/* ---- values ---- */

static void test_numbers_look_as_the_peer_writes_them(void **state)
{
    static const struct {
        double v;
        const char *scalar, *json;
    } cases[] = {
        {0, "0", "0"},
        {1, "1", "1"},
        {-2.5, "-2.5", "-2.5"},
        {0.1, "0.1", "0.1"},
        {123456, "123456", "123456"},
        {1234567, "1.234567e+06", "1234567"},
        {1e20, "1e+20", "100000000000000000000"},
        {1e21, "1e+21", "1e+21"},
        {0.00001, "1e-05", "0.00001"},
        {1e-7, "1e-07", "1e-7"},
        {1.5e-12, "1.5e-12", "1.5e-12"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF scalar = {0}, json = {0};
        tb_put_scalar(&scalar, cases[i].v, false);
        tb_put_json_number(&json, cases[i].v);
        assert_string_equal(buf_z(&scalar), cases[i].scalar);
        assert_string_equal(buf_z(&json), cases[i].json);
    }
    AUTO_BUF words = {0};
    tb_put_scalar(&words, NAN, true);
    tb_put_scalar(&words, -INFINITY, false);
    tb_put_scalar(&words, (double)(1.0f / 3), true);
    assert_string_equal(buf_z(&words), "NaN-Infinity0.33333334");
}

static void test_large_histograms_keep_their_weight(void **state)
{
    enum { N = 1000 };
    double edges[N + 1], weights[N], sum = 0;
    for (int i = 0; i <= N; i++)
        edges[i] = i;
    for (int i = 0; i < N; i++)
        weights[i] = i % 7;
    AUTO_BUF json = {0};
    assert_true(tb_put_histogram(&json, edges, weights, N));
    const char *text = buf_z(&json), *values = strstr(text, "\"values\":[");
    assert_non_null(values);
    int n = 0;
    for (char *p = (char *)values + 10; *p != '}'; p++, n++)
        sum += strtod(p, &p);
    assert_int_equal(n, 512);
    double want = 0;
    for (int i = 0; i < N; i++)
        want += weights[i];
    assert_true(fabs(sum - want) < 1e-6);
    weights[3] = NAN;
    assert_false(tb_put_histogram(&json, edges, weights, 5));
}

static void test_image_sizes(void **state)
{
    int64_t w, h;
    struct str png = STR("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\4\1\0\0\0\0");
    assert_string_equal(tb_image_format(png, &w, &h), "png");
    assert_int_equal(w, 2);
    assert_int_equal(h, 4);
    struct str gif = STR("GIF89a\x03\x01\x05\x00");
    assert_string_equal(tb_image_format(gif, &w, &h), "gif");
    assert_int_equal(w, 259);
    struct str jpeg = STR("\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\0\x07\0\x09\3");
    assert_string_equal(tb_image_format(jpeg, &w, &h), "jpeg");
    assert_int_equal(w, 9);
    assert_int_equal(h, 7);
    assert_null(tb_image_format(STR("not an image at all, really"), &w, &h));
}

static void test_sha256_of_known_texts(void **state)
{
    char hex[2 * SHA256_BYTES + 1];
    sha256_hex(hex, "abc", 3);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex(hex, "", 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    char many[119];
    memset(many, 'a', sizeof many);
    sha256_hex(hex, many, 119);
    assert_string_equal(hex, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
}

/* ---- conversion ---- */

struct fixture {
    char dir[64], files[96], logs[96];
    struct tb_converter c;
    struct buf records;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_tb.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->files, sizeof f->files, "%s/files", f->dir);
    snprintf(f->logs, sizeof f->logs, "%s/logs", f->dir);
    assert_int_equal(mkdir(f->logs, 0777), 0);
    tb_converter_init(&f->c, f->files);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tb_converter_fini(&f->c);
    buf_fini(&f->records);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void convert(struct fixture *f, int64_t step, struct buf *summary)
{
    AUTO_BUF event = {0};
    put_event(&event, step, buf_str(summary));
    tb_convert(&f->c, buf_str(&event), &f->records);
    buf_clear(summary);
}

static void test_events_of_a_step_become_one_row(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    put_scalar(&summary, "loss", 0.5f);
    convert(f, 3, &summary);
    put_scalar(&summary, "acc", 1);
    convert(f, 3, &summary);
    assert_records(&f->records, "");
    put_scalar(&summary, "loss", NAN);
    convert(f, 4, &summary);
    assert_records(&f->records, "loss=0.5 acc=1 global_step=3 _timestamp=1700000000.5 \n");
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "loss=NaN global_step=4 _timestamp=1700000000.5 \n");
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "");
}

static void test_namespace_stands_before_the_tag(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    f->c.name_space = strdup("train");
    put_scalar(&summary, "loss", 2);
    convert(f, 0, &summary);
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "train/loss=2 global_step=0 _timestamp=1700000000.5 \n");
}

static void put_histo(struct buf *to, const char *tag, double least, const double *right,
                      const double *weights, size_t n)
{
    size_t value = wire_buf_begin(to, 1);
    wire_buf_bytes(to, 1, str_of(tag));
    size_t histo = wire_buf_begin(to, 5);
    wire_buf_double(to, 1, least);
    put_doubles(to, 6, right, n);
    put_doubles(to, 7, weights, n);
    wire_buf_end(to, histo);
    wire_buf_end(to, value);
}

static void test_histograms_lose_the_endless_bin(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    put_histo(&summary, "a", -5, (double[]){0, 1, 2}, (double[]){0, 3, 4}, 3);
    put_histo(&summary, "b", -5, (double[]){0, 1}, (double[]){2, 3}, 2);
    put_histo(&summary, "c", 5, (double[]){0, 1}, (double[]){2, 3}, 2); /* no left edge: skipped */
    convert(f, 0, &summary);
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "a={\"_type\":\"histogram\",\"bins\":[0,1,2],\"values\":[3,4]} "
                                "b={\"_type\":\"histogram\",\"bins\":[-5,0,1],\"values\":[2,3]} "
                                "global_step=0 _timestamp=1700000000.5 \n");
    assert_int_equal(f->c.n_skipped, 1);
}

/* A value with a tensor of doubles; the plugin may be left out. */
static void put_tensor(struct buf *to, const char *tag, const char *plugin, int64_t rows, int64_t cols,
                       const double *v)
{
    size_t value = wire_buf_begin(to, 1);
    wire_buf_bytes(to, 1, str_of(tag));
    if (plugin) {
        size_t metadata = wire_buf_begin(to, 9), data = wire_buf_begin(to, 1);
        wire_buf_bytes(to, 1, str_of(plugin));
        wire_buf_end(to, data);
        wire_buf_end(to, metadata);
    }
    size_t tensor = wire_buf_begin(to, 8);
    wire_buf_varint(to, 1, 2);
    size_t shape = wire_buf_begin(to, 2);
    for (int i = 0; i < 2 && rows; i++) {
        size_t dim = wire_buf_begin(to, 2);
        wire_buf_varint(to, 1, (uint64_t)(i ? cols : rows));
        wire_buf_end(to, dim);
    }
    wire_buf_end(to, shape);
    put_doubles(to, 4, v, (size_t)(rows ? rows * cols : 1));
    wire_buf_end(to, tensor);
    wire_buf_end(to, value);
}

static void test_plugin_is_remembered_by_tag(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    put_tensor(&summary, "s", "scalars", 0, 0, (double[]){0.25});
    put_tensor(&summary, "text", "text", 0, 0, (double[]){1});
    convert(f, 0, &summary);
    put_tensor(&summary, "s", NULL, 0, 0, (double[]){0.5});
    put_tensor(&summary, "unknown", NULL, 0, 0, (double[]){9});
    convert(f, 1, &summary);
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "s=0.25 global_step=0 _timestamp=1700000000.5 \n"
                                "s=0.5 global_step=1 _timestamp=1700000000.5 \n");
}

static void test_histogram_tensors(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    put_tensor(&summary, "h", "histograms", 2, 3, (double[]){0, 1, 5, 1, 3, 6});
    put_tensor(&summary, "empty", "histograms", 0, 0, (double[]){0});
    convert(f, 0, &summary);
    tb_convert_end(&f->c, &f->records);
    assert_records(&f->records, "h={\"_type\":\"histogram\",\"bins\":[0,1,3],\"values\":[5,6]} "
                                "global_step=0 _timestamp=1700000000.5 \n");
}

static void test_images_become_media_files(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0};
    struct str png = STR("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\4\1\0\0\0\0");
    size_t value = wire_buf_begin(&summary, 1);
    wire_buf_bytes(&summary, 1, STR("im"));
    size_t image = wire_buf_begin(&summary, 4);
    wire_buf_varint(&summary, 1, 4);
    wire_buf_varint(&summary, 2, 2);
    wire_buf_bytes(&summary, 4, png);
    wire_buf_end(&summary, image);
    wire_buf_end(&summary, value);
    convert(f, 0, &summary);
    tb_convert_end(&f->c, &f->records);
    AUTO_BUF got = {0};
    struct str rest = buf_str(&f->records), record;
    while (tb_next_record(&rest, &record))
        describe(&got, record);
    assert_non_null(strstr(buf_z(&got), "im={\"_type\":\"images/separated\",\"count\":1,\"filenames\":[\"media/images/"));
    assert_non_null(strstr(buf_z(&got), "\"format\":\"png\",\"height\":4,\"width\":2}"));
    assert_memory_equal(got.data, "files media/images/", 19);
    char path[256];
    snprintf(path, sizeof path, "%s/%.49s", f->files, got.data + 6);
    assert_int_equal(access(path, R_OK), 0);
}

static void test_pr_curves_become_a_table_and_a_chart(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF summary = {0}, got = {0};
    put_tensor(&summary, "pr", "pr_curves", 6, 2, (double[]){0, 0, 0, 0, 0, 0, 0, 0, 0.9, 0.8, 0.1, 0.2});
    convert(f, 0, &summary);
    tb_convert_end(&f->c, &f->records);
    struct str rest = buf_str(&f->records), record;
    while (tb_next_record(&rest, &record))
        describe(&got, record);
    const char *text = buf_z(&got);
    assert_non_null(strstr(text, "\nconfig\n"));
    assert_non_null(strstr(text, "pr={\"_type\":\"table-file\",\"ncols\":2,\"nrows\":2,"));
    char path[256];
    snprintf(path, sizeof path, "%s/%.55s", f->files, text + 6);
    AUTO_BUF table = {0};
    assert_int_equal(os_read_file(path, 1000, &table), 0);
    assert_string_equal(buf_z(&table), "{\"columns\":[\"recall\",\"precision\"],\"data\":[[0.1,0.9],[0.2,0.8]]}");
}

static void test_malformed_events_are_counted(void **state)
{
    struct fixture *f = *state;
    tb_convert(&f->c, STR("\xff\xff"), &f->records);
    assert_int_equal(f->c.n_skipped, 1);
}

/* ---- a folder ---- */

static void append_file(struct fixture *f, const char *name, const struct buf *bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->logs, name);
    FILE *out = fopen(path, "ab");
    assert_non_null(out);
    fwrite(bytes->data, 1, bytes->len, out);
    fclose(out);
}

static void open_reader(struct fixture *f, struct tb_reader *r)
{
    tb_reader_init(r);
    r->dir = strdup(f->logs);
    r->files_dir = strdup(f->files);
    r->host = strdup("");
    r->save_path = strdup("");
    r->root = strdup(f->dir);
    tb_converter_init(&r->converter, r->files_dir);
}

static void test_files_are_read_as_they_grow(void **state)
{
    struct fixture *f = *state;
    struct tb_reader r;
    open_reader(f, &r);
    r.save = true;
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "x", 1);
    put_scalar_event(&file, 1, "x", 2);
    struct buf half = {file.data, 30, 30, false};
    append_file(f, "events.out.tfevents.1.h", &half);
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    assert_records(&f->records, "files logs/events.out.tfevents.1.h 1\n");
    half = (struct buf){file.data + 30, file.len - 30, file.len, false};
    append_file(f, "events.out.tfevents.1.h", &half);
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    assert_records(&f->records, "x=1 global_step=0 _timestamp=1700000000.5 \n");
    AUTO_BUF second = {0};
    put_scalar_event(&second, 2, "x", 3);
    append_file(f, "events.out.tfevents.2.h", &second);
    assert_true(tb_reader_read(&r, 1, true, &f->records));
    assert_records(&f->records, "files logs/events.out.tfevents.2.h 1\n"
                                "x=2 global_step=1 _timestamp=1700000000.5 \n"
                                "x=3 global_step=2 _timestamp=1700000000.5 \n");
    tb_reader_fini(&r);
}

/* torch's add_scalars writes each of its lines into a folder below, which is told of by itself. */
static void test_folders_below_are_no_part_of_a_folder(void **state)
{
    struct fixture *f = *state;
    struct tb_reader r;
    open_reader(f, &r);
    AUTO_BUF own = {0}, below = {0};
    put_scalar_event(&own, 0, "x", 1);
    append_file(f, "events.out.tfevents.1.h", &own);
    char path[256];
    snprintf(path, sizeof path, "%s/x_a", f->logs);
    assert_int_equal(mkdir(path, 0700), 0);
    put_scalar_event(&below, 0, "x", 5);
    append_file(f, "x_a/events.out.tfevents.1.h", &below);
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    buf_clear(&own);
    put_scalar_event(&own, 1, "x", 2);
    append_file(f, "events.out.tfevents.1.h", &own);
    assert_true(tb_reader_read(&r, 1, true, &f->records));
    assert_records(&f->records, "x=1 global_step=0 _timestamp=1700000000.5 \n"
                                "x=2 global_step=1 _timestamp=1700000000.5 \n");
    tb_reader_fini(&r);
}

/* Opening one to read would wait for a writer, and the run's end for that. */
static void test_a_pipe_in_a_folder_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    struct tb_reader r;
    open_reader(f, &r);
    char path[256];
    snprintf(path, sizeof path, "%s/events.out.tfevents.1.h", f->logs);
    assert_int_equal(mkfifo(path, 0600), 0);
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "x", 1);
    append_file(f, "events.out.tfevents.2.h", &file);
    alarm(20);
    assert_true(tb_reader_read(&r, 1, true, &f->records));
    alarm(0);
    assert_records(&f->records, "x=1 global_step=0 _timestamp=1700000000.5 \n");
    tb_reader_fini(&r);
}

static void test_torn_file_is_left_for_the_next_one_in_time(void **state)
{
    struct fixture *f = *state;
    struct tb_reader r;
    open_reader(f, &r);
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "x", 1);
    put_scalar_event(&file, 1, "x", 2);
    struct buf torn = {file.data, file.len - 3, file.len, false};
    append_file(f, "events.out.tfevents.1.h", &torn);
    AUTO_BUF second = {0};
    put_scalar_event(&second, 5, "x", 3);
    append_file(f, "events.out.tfevents.2.h", &second);
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    assert_records(&f->records, "");
    assert_true(tb_reader_read(&r, 1 + TB_PATIENCE_NS, false, &f->records));
    tb_convert_end(&r.converter, &f->records);
    assert_records(&f->records, "x=1 global_step=0 _timestamp=1700000000.5 \n"
                                "x=3 global_step=5 _timestamp=1700000000.5 \n");
    tb_reader_fini(&r);
}

static void test_damage_is_read_again_and_then_given_up(void **state)
{
    struct fixture *f = *state;
    struct tb_reader r;
    open_reader(f, &r);
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "x", 1);
    size_t good = file.len;
    put_scalar_event(&file, 1, "x", 2);
    file.data[good + 20] ^= 1;
    append_file(f, "events.out.tfevents.1.h", &file);
    assert_true(tb_reader_read(&r, 1, false, &f->records));
    assert_true(r.damaged);
    file.data[good + 20] ^= 1;
    char path[256];
    snprintf(path, sizeof path, "%s/events.out.tfevents.1.h", f->logs);
    assert_int_equal(os_write_file(path, file.data, file.len, 0644), 0);
    assert_true(tb_reader_read(&r, 2, true, &f->records));
    assert_records(&f->records, "x=1 global_step=0 _timestamp=1700000000.5 \n"
                                "x=2 global_step=1 _timestamp=1700000000.5 \n");
    tb_reader_fini(&r);
}

/* ---- a run ---- */

struct run {
    struct fixture *f;
    struct handler_job *jobs[64];
    int n_jobs, n_idle;
    struct buf fed;
};

static void on_feed(void *ctx, struct str record)
{
    describe(&((struct run *)ctx)->fed, record);
}

static void on_work(void *ctx, struct handler_job *job)
{
    struct run *r = ctx;
    r->jobs[r->n_jobs++] = job;
}

static void on_idle(void *ctx, int64_t now_ns)
{
    ((struct run *)ctx)->n_idle++;
}

static void run_jobs(struct run *r)
{
    for (int i = 0; i < r->n_jobs; i++) {
        r->jobs[i]->run(r->jobs[i]);
        r->jobs[i]->done(r->jobs[i], NULL);
    }
    r->n_jobs = 0;
}

static void add_dir(struct tensorboard *t, const char *path, int64_t now_ns)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, 1, str_of(path));
    tensorboard_add(t, buf_str(&record), now_ns);
}

static void test_two_folders_give_the_root(void **state)
{
    struct fixture *f = *state;
    struct run r = {.f = f};
    struct stream_settings settings = {.files_dir = f->files};
    struct tensorboard_owner owner = {&r, on_feed, on_work, on_idle};
    struct tensorboard *t = tensorboard_new(&settings, &owner);
    char train[160], test[160];
    snprintf(train, sizeof train, "%s/train", f->logs);
    snprintf(test, sizeof test, "%s/./x/../test/", f->logs);
    assert_int_equal(mkdir(train, 0777), 0);
    add_dir(t, train, 1);
    assert_int_equal(tensorboard_deadline(t), 1 + TENSORBOARD_ROOT_NS);
    assert_int_equal(r.n_jobs, 0);
    add_dir(t, test, 2);
    assert_int_equal(r.n_jobs, 2);
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "loss", 1);
    append_file(f, "train/events.out.tfevents.1.h", &file);
    run_jobs(&r);
    assert_false(tensorboard_finish(t, 3));
    run_jobs(&r);
    assert_int_equal(r.n_idle, 1);
    assert_string_equal(buf_z(&r.fed), "train/loss=1 global_step=0 _timestamp=1700000000.5 \n");
    buf_fini(&r.fed);
    tensorboard_free(t);
}

static void test_one_folder_has_no_namespace_and_does_not_delay_the_end(void **state)
{
    struct fixture *f = *state;
    struct run r = {.f = f};
    struct stream_settings settings = {.files_dir = f->files};
    struct tensorboard_owner owner = {&r, on_feed, on_work, on_idle};
    struct tensorboard *t = tensorboard_new(&settings, &owner);
    AUTO_BUF file = {0};
    put_scalar_event(&file, 0, "loss", 1);
    append_file(f, "events.out.tfevents.1.h", &file);
    add_dir(t, f->logs, 1);
    add_dir(t, "s3://bucket/logs", 1); /* refused, and no second folder */
    assert_false(tensorboard_finish(t, 2));
    run_jobs(&r);
    assert_int_equal(r.n_idle, 1);
    assert_true(tensorboard_finish(t, 3));
    assert_string_equal(buf_z(&r.fed), "loss=1 global_step=0 _timestamp=1700000000.5 \n");
    buf_fini(&r.fed);
    tensorboard_free(t);
}

int main(void)
{
#define T(name) cmocka_unit_test(test_##name)
#define F(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(checksum_is_the_masked_castagnoli),
        T(records_are_found_one_by_one),
        T(every_flipped_bit_is_noticed),
        T(names_that_fit),
        T(numbers_look_as_the_peer_writes_them),
        T(large_histograms_keep_their_weight),
        T(image_sizes),
        T(sha256_of_known_texts),
        F(events_of_a_step_become_one_row),
        F(namespace_stands_before_the_tag),
        F(histograms_lose_the_endless_bin),
        F(plugin_is_remembered_by_tag),
        F(histogram_tensors),
        F(images_become_media_files),
        F(pr_curves_become_a_table_and_a_chart),
        F(malformed_events_are_counted),
        F(files_are_read_as_they_grow),
        F(folders_below_are_no_part_of_a_folder),
        F(a_pipe_in_a_folder_holds_nothing_up),
        F(torn_file_is_left_for_the_next_one_in_time),
        F(damage_is_read_again_and_then_given_up),
        F(two_folders_give_the_root),
        F(one_folder_has_no_namespace_and_does_not_delay_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
