/* SPDX-License-Identifier: MIT */
/* Event { wall_time 1 double, step 2, summary 5 { repeated Value 1 } }
 * Value { tag 1, simple_value 2 float, image 4, histo 5, tensor 8, metadata 9 { plugin 1 { name 1 }}}
 *
 * What a value is says its plugin; it may be named in the first value of a tag alone. A value
 * without one is of the old style, where the field that is set says it. Text, audio, graphs and
 * hyperparameters are no history. Media records are kept in the journal (the peer marks them local
 * and so loses them for a later sync). */
#include "service/watch/tb_convert.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "base/json.h"
#include "base/digest.h"
#include "record/wire.h"
#include "service/watch/tb_value.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { MAX_TAGS = 100000 };

enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_SUMMARY = 5,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    VALUE_IMAGE = 4,
    VALUE_HISTO = 5,
    VALUE_TENSOR = 8,
    VALUE_METADATA = 9,
    RECORD_CONFIG = 5,
    RECORD_FILES = 6,
    RECORD_REQUEST = 100,
    REQUEST_PARTIAL_HISTORY = 10,
    ITEM_KEY = 1,
    ITEM_NESTED_KEY = 2,
    ITEM_VALUE_JSON = 16,
    TENSOR_STRING_VAL = 8,
};

enum plugin { NO_PLUGIN, SCALARS, HISTOGRAMS, IMAGES, PR_CURVES, OTHER_PLUGIN };

struct tb_tag {
    UT_hash_handle hh;
    enum plugin plugin;
    char name[];
};

void tb_converter_init(struct tb_converter *c, const char *files_dir)
{
    *c = (struct tb_converter){.files_dir = files_dir};
}

void tb_converter_fini(struct tb_converter *c)
{
    struct tb_tag *tag, *next;
    HASH_ITER(hh, c->tags, tag, next)
    {
        HASH_DEL(c->tags, tag);
        mem_free(tag);
    }
    mem_free(c->name_space);
    buf_fini(&c->items);
    buf_fini(&c->files);
    buf_fini(&c->config);
}

/* ---- records one behind the other: length in 8 bytes, bytes ---- */

void tb_put_record(struct buf *records, struct str record)
{
    uint64_t n = record.n;
    char *to = buf_reserve(records, sizeof n + record.n);
    if (!to)
        return;
    memcpy(to, &n, sizeof n);
    memcpy(to + sizeof n, record.p, record.n);
    records->len += sizeof n + record.n;
}

bool tb_next_record(struct str *records, struct str *record)
{
    uint64_t n;
    if (records->n < sizeof n)
        return false;
    memcpy(&n, records->p, sizeof n);
    *record = (struct str){records->p + sizeof n, (size_t)n};
    records->p += sizeof n + n;
    records->n -= sizeof n + (size_t)n;
    return true;
}

/* ---- a row ---- */

static void put_item(struct tb_converter *c, uint32_t key_field, struct str key, struct str json)
{
    size_t mark = wire_buf_begin(&c->items, 1);
    wire_buf_bytes(&c->items, key_field, key);
    wire_buf_bytes(&c->items, ITEM_VALUE_JSON, json);
    wire_buf_end(&c->items, mark);
}

static void put_simple(struct buf *records, uint32_t kind, struct buf *fields)
{
    if (fields->len > 0 && !fields->failed) {
        AUTO_BUF record = {0};
        wire_buf_bytes(&record, kind, buf_str(fields));
        tb_put_record(records, buf_str(&record));
    }
    buf_clear(fields);
}

static void put_row(struct tb_converter *c, struct buf *records)
{
    AUTO_BUF record = {0}, number = {0};
    json_put_i64(&number, c->step);
    put_item(c, ITEM_KEY, STR("global_step"), buf_str(&number));
    buf_clear(&number);
    tb_put_json_number(&number, isfinite(c->wall_time) ? c->wall_time : 0);
    put_item(c, ITEM_KEY, STR("_timestamp"), buf_str(&number));
    size_t action = wire_buf_begin(&c->items, 3);
    wire_buf_varint(&c->items, 1, 1); /* flush: a row of its own */
    wire_buf_end(&c->items, action);

    size_t request = wire_buf_begin(&record, RECORD_REQUEST);
    wire_buf_bytes(&record, REQUEST_PARTIAL_HISTORY, buf_str(&c->items));
    wire_buf_end(&record, request);
    if (!record.failed && !c->items.failed)
        tb_put_record(records, buf_str(&record));
}

void tb_convert_end(struct tb_converter *c, struct buf *records)
{
    put_simple(records, RECORD_FILES, &c->files);
    put_simple(records, RECORD_CONFIG, &c->config);
    if (c->items.len > 0)
        put_row(c, records);
    buf_clear(&c->items);
    c->has_step = false;
}

/* ---- media ---- */

/* A new file of `bytes` in the folder media/`kind`; its path in the run goes to `name`. */
static bool write_media(struct tb_converter *c, const char *kind, const char *ending, struct str bytes,
                        struct buf *name)
{
    char id[33];
    random_id(id, 32);
    buf_printf(name, "media/%s/%.32s.%s", kind, id, ending);
    const char *z = buf_z(name);
    AUTO_FREE char *path = z ? path_join(c->files_dir, z) : NULL;
    struct str dir = path_dir(str_of(path));
    AUTO_FREE char *folder = path ? mem_strndup(dir.p, dir.n) : NULL;
    if (!folder || os_mkdirs(folder, 0777) < 0)
        return false;
    int fd = os->open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        return false;
    int rc = os_write_all(fd, bytes.p, bytes.n, NULL);
    int closed = os->close(fd);
    if (rc < 0 || closed < 0)
        return false;
    size_t item = wire_buf_begin(&c->files, 1);
    wire_buf_bytes(&c->files, 1, buf_str(name));
    wire_buf_varint(&c->files, 3, 2); /* MEDIA; policy NOW is 0 */
    wire_buf_end(&c->files, item);
    return true;
}

/* ---- kinds of values; each says whether it could be read ---- */

static bool scalar_value(struct tb_converter *c, struct str tag, double v, bool is_float)
{
    AUTO_BUF json = {0};
    tb_put_scalar(&json, v, is_float);
    put_item(c, ITEM_NESTED_KEY, tag, buf_str(&json));
    return true;
}

static bool scalar_tensor(struct tb_converter *c, struct str tag, struct str proto)
{
    struct tb_tensor t;
    bool ok = tb_tensor_read(&t, proto) == 0 && t.n_values == 1;
    if (ok)
        scalar_value(c, tag, t.values[0], false);
    tb_tensor_fini(&t);
    return ok;
}

static bool histogram(struct tb_converter *c, struct str tag, const double *edges,
                      const double *weights, size_t n)
{
    AUTO_BUF json = {0};
    if (!tb_put_histogram(&json, edges, weights, n))
        return false;
    put_item(c, ITEM_NESTED_KEY, tag, buf_str(&json));
    return true;
}

/* Bins by their right edges. The first reaches down to minus infinity: it is left out when it is
 * empty and starts at the smallest value when it is not. */
static bool histogram_of_bins(struct tb_converter *c, struct str tag, double least,
                              const double *right, size_t n_right, const double *weights,
                              size_t n_weights)
{
    if (n_right == 0 || n_right != n_weights)
        return false;
    if (weights[0] == 0)
        return histogram(c, tag, right, weights + 1, n_weights - 1);
    if (!(least < right[0]))
        return false;
    double *edges = mem_alloc((n_right + 1) * sizeof *edges);
    if (!edges)
        return false;
    edges[0] = least;
    memcpy(edges + 1, right, n_right * sizeof *edges);
    bool ok = histogram(c, tag, edges, weights, n_weights);
    mem_free(edges);
    return ok;
}

static bool histogram_proto(struct tb_converter *c, struct str tag, struct str proto)
{
    double *right = NULL, *weights = NULL, *least = NULL;
    size_t n_right = 0, n_weights = 0, n_least = 0;
    bool ok = tb_read_doubles(proto, 6, &right, &n_right) == 0 &&
              tb_read_doubles(proto, 7, &weights, &n_weights) == 0 &&
              tb_read_doubles(proto, 1, &least, &n_least) == 0;
    ok = ok && histogram_of_bins(c, tag, n_least ? least[n_least - 1] : 0, right, n_right, weights, n_weights);
    mem_free(right);
    mem_free(weights);
    mem_free(least);
    return ok;
}

/* Rows of left edge, right edge, weight. */
static bool histogram_tensor(struct tb_converter *c, struct str tag, struct str proto)
{
    struct tb_tensor t;
    bool ok = tb_tensor_read(&t, proto) == 0 && t.rank == 2 && t.shape[1] >= 3 &&
              t.shape[0] <= (int64_t)t.n_values && t.shape[1] <= (int64_t)t.n_values + 3 &&
              t.n_values == (uint64_t)t.shape[0] * (uint64_t)t.shape[1];
    size_t n = ok ? (size_t)t.shape[0] : 0, width = ok ? (size_t)t.shape[1] : 0;
    double *edges = n ? mem_alloc((2 * n + 1) * sizeof *edges) : NULL;
    if (edges) {
        double *weights = edges + n + 1;
        for (size_t i = 0; i < n; i++) {
            edges[i] = t.values[i * width];
            edges[i + 1] = t.values[i * width + 1];
            weights[i] = t.values[i * width + 2];
        }
        for (size_t i = 1; i < n; i++)
            edges[i] = t.values[i * width];
        ok = histogram(c, tag, edges, weights, n);
    }
    mem_free(edges);
    tb_tensor_fini(&t);
    return ok && (n == 0 || edges);
}

struct images {
    struct buf names; /* JSON strings with commas between */
    const char *format;
    int n;
};

static bool add_image(struct tb_converter *c, struct images *all, struct str data, int64_t width,
                      int64_t height)
{
    int64_t w, h;
    const char *format = tb_image_format(data, &w, &h);
    if (!format || w != width || h != height || (all->format && strcmp(format, all->format) != 0))
        return false;
    AUTO_BUF name = {0};
    if (!write_media(c, "images", format, data, &name))
        return false;
    all->format = format;
    if (all->n++ > 0)
        buf_putc(&all->names, ',');
    json_put_string(&all->names, buf_str(&name));
    return true;
}

static void put_images(struct tb_converter *c, struct str tag, struct images *all, int64_t width,
                       int64_t height)
{
    AUTO_BUF json = {0};
    if (all->n > 0) {
        buf_printf(&json, "{\"_type\":\"images/separated\",\"count\":%d,\"filenames\":[", all->n);
        buf_put_str(&json, buf_str(&all->names));
        buf_printf(&json, "],\"format\":\"%s\",\"height\":%lld,\"width\":%lld}", all->format,
                   (long long)height, (long long)width);
        put_item(c, ITEM_NESTED_KEY, tag, buf_str(&json));
    }
    buf_fini(&all->names);
}

static bool image_proto(struct tb_converter *c, struct str tag, struct str proto)
{
    int64_t height = (int64_t)wire_find_varint(proto, 1), width = (int64_t)wire_find_varint(proto, 2);
    struct images all = {0};
    bool ok = add_image(c, &all, wire_find_bytes(proto, 4), width, height);
    put_images(c, tag, &all, width, height);
    return ok;
}

static int64_t number_in(struct str s)
{
    char text[24] = "";
    memcpy(text, s.p, s.n < sizeof text - 1 ? s.n : sizeof text - 1);
    return strtoll(text, NULL, 10);
}

/* Strings: width, height, then images. */
static bool image_tensor(struct tb_converter *c, struct str tag, struct str proto)
{
    struct wire_reader r = wire_open(proto);
    struct wire_field f = {0};
    struct images all = {0};
    int64_t size[2] = {0, 0};
    int n = 0;
    bool ok = true;
    while (wire_next(&r, &f) > 0) {
        if (f.number != TENSOR_STRING_VAL || f.type != WIRE_BYTES)
            continue;
        if (n < 2)
            size[n] = number_in(f.bytes);
        else
            ok &= add_image(c, &all, f.bytes, size[0], size[1]);
        n++;
    }
    put_images(c, tag, &all, size[0], size[1]);
    return ok && n > 2;
}

/* A line chart of the table at `tag`. */
static void put_chart(struct tb_converter *c, struct str tag)
{
    static const char before[] = "{\"panel_type\":\"Vega2\",\"panel_config\":{\"panelDefId\":\"wandb/line/v0\","
                                 "\"fieldSettings\":{\"x\":\"recall\",\"y\":\"precision\"},"
                                 "\"stringSettings\":{\"title\":";
    static const char between[] =
        "},\"transform\":{\"name\":\"tableWithLeafColNames\"},\"userQuery\":{\"queryFields\":["
        "{\"name\":\"runSets\",\"args\":[{\"name\":\"runSets\",\"value\":\"${runSets}\"}],\"fields\":["
        "{\"name\":\"id\"},{\"name\":\"name\"},{\"name\":\"_defaultColorIndex\"},"
        "{\"name\":\"summaryTable\",\"args\":[{\"name\":\"tableKey\",\"value\":";
    AUTO_BUF json = {0}, title = {0};
    buf_put_str(&title, tag);
    buf_puts(&title, " Precision v. Recall");
    buf_puts(&json, before);
    json_put_string(&json, buf_str(&title));
    buf_puts(&json, between);
    json_put_string(&json, tag);
    buf_puts(&json, "}]}]}]}}}");
    size_t item = wire_buf_begin(&c->config, 1);
    wire_buf_bytes(&c->config, ITEM_NESTED_KEY, STR("_wandb"));
    wire_buf_bytes(&c->config, ITEM_NESTED_KEY, STR("visualize"));
    wire_buf_bytes(&c->config, ITEM_NESTED_KEY, tag);
    wire_buf_bytes(&c->config, ITEM_VALUE_JSON, buf_str(&json));
    wire_buf_end(&c->config, item);
}

static bool put_table(struct tb_converter *c, struct str tag, const double *precision,
                      const double *recall, size_t n)
{
    AUTO_BUF table = {0}, name = {0}, json = {0};
    buf_puts(&table, "{\"columns\":[\"recall\",\"precision\"],\"data\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(&table, i ? ",[" : "[");
        tb_put_scalar(&table, recall[i], false);
        buf_putc(&table, ',');
        tb_put_scalar(&table, precision[i], false);
        buf_putc(&table, ']');
    }
    buf_puts(&table, "]}");
    if (table.failed || !write_media(c, "table", "table.json", buf_str(&table), &name))
        return false;
    char sha[2 * SHA256_BYTES + 1];
    sha256_hex(sha, table.data, table.len);
    buf_printf(&json, "{\"_type\":\"table-file\",\"ncols\":2,\"nrows\":%zu,\"path\":", n);
    json_put_string(&json, buf_str(&name));
    buf_printf(&json, ",\"sha256\":\"%s\",\"size\":%zu}", sha, table.len);
    put_item(c, ITEM_NESTED_KEY, tag, buf_str(&json));
    return true;
}

/* The last two rows are precision and recall. */
static bool pr_curve(struct tb_converter *c, struct str tag, struct str proto)
{
    struct tb_tensor t;
    bool ok = tb_tensor_read(&t, proto) == 0 && t.rank == 2 && t.shape[0] >= 2 &&
              t.shape[0] <= (int64_t)t.n_values + 2 && t.shape[1] <= (int64_t)t.n_values &&
              t.n_values == (uint64_t)t.shape[0] * (uint64_t)t.shape[1];
    if (ok) {
        size_t n = (size_t)t.shape[1];
        const double *precision = t.values + t.n_values - 2 * n;
        ok = put_table(c, tag, precision, precision + n, n);
        if (ok)
            put_chart(c, tag);
    }
    tb_tensor_fini(&t);
    return ok;
}

/* ---- values and events ---- */

/* The parts of a Value that matter; `kind` is the field that holds the value. */
struct value {
    struct str tag, body, plugin;
    uint32_t kind;
    double simple;
};

static bool read_value(struct value *v, struct str message)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f = {0};
    int rc;
    *v = (struct value){.plugin = STR("")};
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number == VALUE_TAG && f.type == WIRE_BYTES) {
            v->tag = f.bytes;
        } else if (f.number == VALUE_METADATA && f.type == WIRE_BYTES) {
            v->plugin = wire_find_bytes(wire_find_bytes(f.bytes, 1), 1);
        } else if (f.number == VALUE_SIMPLE && f.type == WIRE_FIXED32) {
            uint32_t bits = (uint32_t)f.value;
            float simple;
            memcpy(&simple, &bits, sizeof simple);
            v->simple = (double)simple;
            v->kind = f.number;
        } else if ((f.number == VALUE_IMAGE || f.number == VALUE_HISTO || f.number == VALUE_TENSOR) &&
                   f.type == WIRE_BYTES) {
            v->body = f.bytes;
            v->kind = f.number;
        }
    }
    return rc == 0 && v->tag.n > 0;
}

static enum plugin plugin_of(struct str name)
{
    static const char *const names[] = {
        [NO_PLUGIN] = "", [SCALARS] = "scalars", [HISTOGRAMS] = "histograms",
        [IMAGES] = "images", [PR_CURVES] = "pr_curves",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eqz(name, names[i]))
            return (enum plugin)i;
    return OTHER_PLUGIN;
}

/* The plugin that this value names, or the one that its tag has had. */
static enum plugin remember_plugin(struct tb_converter *c, struct str tag, struct str name)
{
    struct tb_tag *known = NULL;
    HASH_FIND(hh, c->tags, tag.p, tag.n, known);
    if (name.n == 0)
        return known ? known->plugin : NO_PLUGIN;
    if (!known && HASH_COUNT(c->tags) < MAX_TAGS) {
        known = xmem_calloc(1, sizeof *known + tag.n + 1);
        memcpy(known->name, tag.p, tag.n);
        HASH_ADD_KEYPTR(hh, c->tags, known->name, tag.n, known);
    }
    if (known)
        known->plugin = plugin_of(name);
    return plugin_of(name);
}

static bool convert_plain(struct tb_converter *c, struct str tag, const struct value *v)
{
    switch (v->kind) {
    case VALUE_SIMPLE:
        return scalar_value(c, tag, v->simple, true);
    case VALUE_HISTO:
        return histogram_proto(c, tag, v->body);
    case VALUE_IMAGE:
        return image_proto(c, tag, v->body);
    default: /* a tensor without a plugin is nothing we know */
        return true;
    }
}

static bool convert_value(struct tb_converter *c, struct str tag, const struct value *v)
{
    enum plugin plugin = remember_plugin(c, tag, v->plugin);
    bool is_tensor = v->kind == VALUE_TENSOR;
    switch (plugin) {
    case NO_PLUGIN:
        return convert_plain(c, tag, v);
    case SCALARS:
        return is_tensor ? scalar_tensor(c, tag, v->body)
                         : v->kind == VALUE_SIMPLE && scalar_value(c, tag, v->simple, true);
    case HISTOGRAMS:
        return is_tensor ? histogram_tensor(c, tag, v->body)
                         : v->kind == VALUE_HISTO && histogram_proto(c, tag, v->body);
    case IMAGES:
        return is_tensor ? image_tensor(c, tag, v->body)
                         : v->kind == VALUE_IMAGE && image_proto(c, tag, v->body);
    case PR_CURVES:
        return is_tensor && pr_curve(c, tag, v->body);
    default:
        return true;
    }
}

static void convert_summary(struct tb_converter *c, struct str summary)
{
    struct wire_reader r = wire_open(summary);
    struct wire_field f = {0};
    AUTO_BUF tag = {0};
    while (wire_next(&r, &f) > 0) {
        struct value v;
        if (f.number != 1 || f.type != WIRE_BYTES)
            continue;
        if (!read_value(&v, f.bytes)) {
            c->n_skipped++;
            continue;
        }
        buf_clear(&tag);
        if (c->name_space && *c->name_space) {
            buf_puts(&tag, c->name_space);
            buf_putc(&tag, '/');
        }
        buf_put_str(&tag, v.tag);
        if (!convert_value(c, buf_str(&tag), &v))
            c->n_skipped++;
    }
}

void tb_convert(struct tb_converter *c, struct str event, struct buf *records)
{
    struct wire_reader r = wire_open(event);
    struct wire_field f = {0};
    struct str summary = STR("");
    int64_t step = 0;
    double wall_time = 0;
    int rc;
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number == EVENT_STEP && f.type == WIRE_VARINT)
            step = (int64_t)f.value;
        else if (f.number == EVENT_WALL_TIME && f.type == WIRE_FIXED64)
            memcpy(&wall_time, &f.value, sizeof wall_time);
        else if (f.number == EVENT_SUMMARY && f.type == WIRE_BYTES)
            summary = f.bytes;
    }
    if (rc < 0) {
        c->n_skipped++;
        return;
    }
    if (c->has_step && c->step != step)
        tb_convert_end(c, records);
    c->has_step = true;
    c->step = step;
    c->wall_time = wall_time;
    convert_summary(c, summary);
}
