/* SPDX-License-Identifier: MIT */
/* Names and JSON are those of the SDK (sdk/data_types/base_types/media.py, image.py, table.py):
 *
 *   media/images/KEY_STEP_SHA20.png      {"_type":"image-file","sha256":...,"size":...,"path":...,
 *                                         "format":"png","width":...,"height":...}
 *   media/table/KEY_STEP_SHA20.table.json {"_type":"table-file","sha256":...,"size":...,"path":...,
 *                                         "ncols":...,"nrows":...,"log_mode":"IMMUTABLE"}
 *
 * SHA20 is the first 20 hex digits of the file's SHA-256, so the same file is not written twice. */
#include "client/media.h"

#include "base/alloc.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "client/courier.h"
#include "client/message.h"
#include "record/wire.h"

int media_send_file(struct manager *m, struct tare_run *run, const char *path, int policy)
{
    AUTO_BUF b = {0};
    struct message msg;
    message_open(&msg, &b);
    size_t files = wire_buf_begin(&b, RECORD_FILES);
    size_t item = wire_buf_begin(&b, 1);
    message_put_z(&b, 1, path);
    if (policy)
        wire_buf_varint(&b, 2, (uint64_t)policy);
    wire_buf_end(&b, item);
    wire_buf_end(&b, files);
    message_close(&msg, run->id, NULL, false);
    return b.failed ? TARE_ENOMEM : courier_emit(m, run, buf_str(&b));
}

/* A key as a path below the folder: no leading slash, no ".." that climbs (as the SDK). */
static void put_safe_key(struct buf *path, struct str key)
{
    while (key.n && key.p[0] == '/')
        key.p++, key.n--;
    while (key.n) {
        const char *slash = memchr(key.p, '/', key.n);
        struct str part = str_make(key.p, slash ? (size_t)(slash - key.p) : key.n);
        bool dots = str_eqz(part, ".") || str_eqz(part, "..");
        for (size_t i = 0; i < part.n; i++)
            buf_putc(path, dots || !part.p[i] ? '_' : part.p[i]);
        size_t skip = part.n + (slash != NULL);
        if (slash)
            buf_putc(path, '/');
        key.p += skip, key.n -= skip;
    }
}

struct media_file {
    struct str bytes;
    const char *folder, *extension;
    char hash[2 * SHA256_BYTES + 1];
};

/* Write the file; its path relative to the run's files is left in `path`. 0 or an error. */
static int store(struct tare_run *run, struct media_file *f, struct str key, int64_t step,
                 struct buf *path)
{
    struct digest d;
    uint8_t sum[SHA256_BYTES];
    sha256_init(&d);
    sha256_add(&d, f->bytes.p, f->bytes.n);
    sha256_end(&d, sum);
    digest_hex(f->hash, sum, sizeof sum);
    buf_puts(path, f->folder);
    put_safe_key(path, key);
    buf_printf(path, "_%lld_%.20s%s", (long long)step, f->hash, f->extension);
    const char *relative = buf_z(path);
    AUTO_FREE char *full = relative ? path_join(run->files_dir, relative) : NULL;
    if (!full)
        return TARE_ENOMEM;
    struct str dir = path_dir(str_of(full));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    int rc = folder ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
    return rc ? rc : os_write_file(full, f->bytes.p, f->bytes.n, 0666);
}

static uint32_t big_endian(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void put_common(struct buf *json, const char *type, const struct media_file *f,
                       const char *path)
{
    buf_printf(json, "\"_type\":\"%s\",\"sha256\":\"%s\",\"size\":%zu,\"path\":", type, f->hash,
               f->bytes.n);
    json_put_string(json, str_of(path));
}

static void put_image(struct buf *json, const struct packed *v, const struct media_file *f,
                      const char *path)
{
    buf_putc(json, '{');
    if (v->more.n) {
        buf_puts(json, "\"caption\":");
        json_put_string(json, v->more);
        buf_putc(json, ',');
    }
    put_common(json, "image-file", f, path);
    /* The first chunk of a PNG is IHDR: width and height stand at 16 and 20. */
    buf_printf(json, ",\"format\":\"png\",\"width\":%u,\"height\":%u}", big_endian(v->data.p + 16),
               big_endian(v->data.p + 20));
}

static void put_table(struct buf *json, const struct packed *v, const struct media_file *f,
                      const char *path)
{
    buf_putc(json, '{');
    put_common(json, "table-file", f, path);
    buf_printf(json, ",\"ncols\":%zu,\"nrows\":%zu,\"log_mode\":\"IMMUTABLE\"}", v->n, v->n_rows);
}

void media_put_json(struct manager *m, struct tare_run *run, const struct packed *v, int64_t step,
                    struct buf *json)
{
    AUTO_BUF text = {0};
    AUTO_BUF path = {0};
    struct media_file f = {v->data, "media/images/", ".png", ""};
    int rc = 0;
    if (v->type == TARE_TABLE) {
        rc = pack_put_table(&text, v);
        f = (struct media_file){buf_str(&text), "media/table/", ".table.json", ""};
    }
    if (rc == 0)
        rc = run->files_dir[0] ? store(run, &f, v->key, step, &path) : TARE_EUNSUPPORTED;
    if (rc == 0)
        rc = media_send_file(m, run, buf_z(&path), TARE_FILE_NOW);
    if (rc) {
        manager_say(m, TARE_WARNING, "%.*s: writing the file failed: %s", STR_ARG(v->key),
                    err_text(rc));
        buf_puts(json, "null");
        return;
    }
    (v->type == TARE_TABLE ? put_table : put_image)(json, v, &f, buf_z(&path));
}
