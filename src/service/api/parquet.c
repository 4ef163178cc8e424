/* SPDX-License-Identifier: MIT */
/* What the library answers a scan with, all numbers little endian:
 *
 *   u32 columns, {u32 length, name} each, u32 rows, then a value for each column of each row
 *   value: u8 type, then
 *     0 null    1 i64    2 u64    3 f64    4 string: u32 length, bytes    5 bool: u8
 *     6 binary: u32 length, bytes    7 list: u32 n, values    8 map: u32 n, {u32 length, key, value}
 *
 * Errors are text that the library allocates, often {"error": "..."}. */
#include "service/api/parquet.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "service/upload/json_path.h"

#include <dlfcn.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "librust_parquet_ffi.so"

enum { MAX_COLUMNS = 1 << 20, MAX_DEPTH = 64 };

struct scan_result {
    void *vector;
    const char *data;
    uint64_t n_bytes, n_rows;
};

static struct {
    void *(*create_reader)(const char *path, const char *const *columns, long n_columns, char **error);
    char *(*scan)(void *reader, int64_t min_step, int64_t max_step, struct scan_result *to);
    void (*free_string)(char *s);
    void (*free_buffer)(void *vector);
    void (*free_reader)(void *reader);
} library;

struct parquet_file {
    void *reader;
};

/* ---- the library ---- */

static bool find_symbols(void *handle)
{
    static const struct {
        const char *name;
        void **to;
    } symbols[] = {
        {"create_reader", (void **)&library.create_reader},
        {"reader_scan_step_range", (void **)&library.scan},
        {"free_string", (void **)&library.free_string},
        {"free_buffer", (void **)&library.free_buffer},
        {"free_reader", (void **)&library.free_reader},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (!(*symbols[i].to = dlsym(handle, symbols[i].name)))
            return false;
    return true;
}

/* The name we were started under: in a wheel that is a link beside the library. */
static char *beside_us(void)
{
    AUTO_BUF words = {0};
    if (os_read_file("/proc/self/cmdline", 1 << 20, &words) != 0 || words.len == 0)
        return NULL;
    struct str dir = path_dir(str_make(words.data, strnlen(words.data, words.len)));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    return folder ? path_join(folder, LIBRARY) : NULL;
}

static void open_library(void)
{
    const char *set = getenv("TARE_PARQUET");
    AUTO_FREE char *path = set && *set ? mem_strndup(set, strlen(set)) : beside_us();
    void *handle = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (handle && find_symbols(handle))
        return;
    library.create_reader = NULL;
    diag_info("history: no " LIBRARY ": exported rows are asked of the backend");
}

bool parquet_is_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_library);
    return library.create_reader != NULL;
}

/* ---- files ---- */

static int fail(struct err *e, const char *what, const char *path, char *text)
{
    AUTO_FREE char *inner = text ? json_string_at(str_of(text), "error") : NULL;
    err_set(e, TARE_EIO, "%s%s%s", what, path, inner ? inner : text ? text : "no reason given");
    if (text)
        library.free_string(text);
    return TARE_EIO;
}

struct parquet_file *parquet_open(const char *path, const char *const *keys, size_t n_keys, struct err *e)
{
    char *error = NULL;
    if (!parquet_is_there()) {
        err_set(e, TARE_EUNSUPPORTED, "could not find library " LIBRARY);
        return NULL;
    }
    void *reader = library.create_reader(path, n_keys ? keys : NULL, (long)n_keys, &error);
    if (!reader) {
        AUTO_BUF which = {0};
        buf_printf(&which, "%s: ", path);
        fail(e, "failed to create reader for file: ", buf_z(&which), error);
        return NULL;
    }
    struct parquet_file *f = xmem_calloc(1, sizeof *f);
    f->reader = reader;
    return f;
}

void parquet_close(struct parquet_file *f)
{
    if (f)
        library.free_reader(f->reader);
    mem_free(f);
}

int parquet_scan(struct parquet_file *f, int64_t min_step, int64_t max_step, struct api_rows *rows,
                 struct err *e)
{
    struct scan_result result = {0};
    char *error = library.scan(f->reader, min_step, max_step, &result);
    if (error)
        return fail(e, "error scanning step range: ", "", error);
    if (result.n_rows == 0 || result.n_bytes == 0)
        return 0;
    int rc = parquet_decode(str_make(result.data, result.n_bytes), rows);
    library.free_buffer(result.vector);
    return rc ? err_set(e, rc, "failed to decode binary data") : 0;
}

/* ---- decoding ---- */

struct in {
    const char *p, *end;
};

static bool take(struct in *in, void *to, size_t n)
{
    if ((size_t)(in->end - in->p) < n)
        return false;
    memcpy(to, in->p, n);
    in->p += n;
    return true;
}

static bool take_u32(struct in *in, uint32_t *to)
{
    bool ok = take(in, to, sizeof *to);
    *to = ok ? le32toh(*to) : 0;
    return ok;
}

static bool take_u64(struct in *in, uint64_t *to)
{
    bool ok = take(in, to, sizeof *to);
    *to = ok ? le64toh(*to) : 0;
    return ok;
}

static bool take_text(struct in *in, struct str *to)
{
    uint32_t n;
    if (!take_u32(in, &n) || (size_t)(in->end - in->p) < n)
        return false;
    *to = str_make(in->p, n);
    in->p += n;
    return true;
}

static bool put_value(struct in *in, struct buf *to, int depth);

static bool put_list(struct in *in, struct buf *to, int depth, bool is_map)
{
    uint32_t n;
    struct str key;
    if (!take_u32(in, &n))
        return false;
    buf_putc(to, is_map ? '{' : '[');
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(to, ',');
        if (is_map) {
            if (!take_text(in, &key))
                return false;
            json_put_string(to, key);
            buf_putc(to, ':');
        }
        if (!put_value(in, to, depth))
            return false;
    }
    return buf_putc(to, is_map ? '}' : ']') == 0;
}

static bool put_binary(struct in *in, struct buf *to)
{
    struct str bytes;
    if (!take_text(in, &bytes))
        return false;
    AUTO_FREE char *text = mem_alloc((bytes.n + 2) / 3 * 4 + 1);
    if (!text)
        return false;
    base64_text(text, (const uint8_t *)bytes.p, bytes.n);
    return json_put_string(to, str_of(text)) == 0;
}

static bool put_double(struct buf *to, uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return json_put_double(to, v) == 0;
}

static bool put_text(struct in *in, struct buf *to)
{
    struct str text;
    return take_text(in, &text) && json_put_string(to, text) == 0;
}

/* One value as JSON. */
static bool put_value(struct in *in, struct buf *to, int depth)
{
    unsigned char type, truth;
    uint64_t n = 0;
    if (depth == MAX_DEPTH || !take(in, &type, 1))
        return false;
    switch (type) {
    case 0: return buf_puts(to, "null") == 0;
    case 1: return take_u64(in, &n) && json_put_i64(to, (int64_t)n) == 0;
    case 2: return take_u64(in, &n) && buf_printf(to, "%llu", (unsigned long long)n) == 0;
    case 3: return take_u64(in, &n) && put_double(to, n);
    case 4: return put_text(in, to);
    case 5: return take(in, &truth, 1) && buf_puts(to, truth ? "true" : "false") == 0;
    case 6: return put_binary(in, to);
    case 7: return put_list(in, to, depth + 1, false);
    case 8: return put_list(in, to, depth + 1, true);
    default: return false;
    }
}

static bool put_rows(struct in *in, const struct str *names, uint32_t n_columns, struct api_rows *rows)
{
    AUTO_BUF value = {0};
    uint32_t n_rows;
    if (!take_u32(in, &n_rows))
        return false;
    if (n_columns == 0)
        return n_rows == 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        struct api_row *row = api_rows_add(rows);
        for (uint32_t k = 0; k < n_columns; k++) {
            buf_clear(&value);
            if (!put_value(in, &value, 0))
                return false;
            api_row_put(row, names[k], buf_str(&value));
        }
    }
    return true;
}

int parquet_decode(struct str bytes, struct api_rows *rows)
{
    struct in in = {bytes.p, bytes.n ? bytes.p + bytes.n : bytes.p};
    uint32_t n;
    if (!take_u32(&in, &n) || n > MAX_COLUMNS || n > bytes.n / 4)
        return TARE_EFORMAT;
    AUTO_FREE struct str *names = mem_calloc(n ? n : 1, sizeof *names);
    if (!names)
        return TARE_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        if (!take_text(&in, &names[i]))
            return TARE_EFORMAT;
    return put_rows(&in, names, n, rows) ? 0 : TARE_EFORMAT;
}
