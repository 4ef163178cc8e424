/* SPDX-License-Identifier: MIT */
#include "service/upload/artifact_manifest.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/number.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/json_path.h"

#include <libdeflate.h>
#include <stdlib.h>

/* proto/files.proto */
enum { MAN_VERSION = 1, MAN_POLICY = 2, MAN_CONFIG = 3, MAN_CONTENTS = 4, MAN_FILE = 5 };
enum { CONFIG_KEY = 1, CONFIG_VALUE_JSON = 2 };
enum {
    ENTRY_PATH = 1,
    ENTRY_DIGEST = 2,
    ENTRY_REF = 3,
    ENTRY_SIZE = 4,
    ENTRY_LOCAL_PATH = 6,
    ENTRY_BIRTH_ID = 7,
    ENTRY_SKIP_CACHE = 8,
    ENTRY_EXTRA = 16,
};
enum { EXTRA_KEY = 1, EXTRA_VALUE_JSON = 2 };

static struct manifest_entry *add_entry(struct manifest *m)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        void *grown = mem_realloc(m->entries, cap * sizeof *m->entries);
        if (!grown)
            return NULL;
        m->entries = grown;
        m->cap = cap;
    }
    m->entries[m->n] = (struct manifest_entry){0};
    return &m->entries[m->n++];
}

struct str manifest_keep(struct manifest *m, struct str text)
{
    char *copy = arena_strndup(&m->arena, text.p ? text.p : "", text.n);
    return copy ? str_make(copy, text.n) : (struct str){0};
}

static bool is_xxh128(struct str extra)
{
    return str_eqz(json_at(extra, "alg"), "\"XXH128\"");
}

/* ---- from the record ---- */

/* One member of "extra"; `object` begins with '{' already if it is not empty. */
static int put_extra(struct str item, struct buf *object)
{
    struct str value = wire_find_bytes(item, EXTRA_VALUE_JSON);
    if (!json_valid(value))
        return TARE_EFORMAT;
    buf_putc(object, object->len ? ',' : '{');
    json_put_string(object, wire_find_bytes(item, EXTRA_KEY));
    buf_putc(object, ':');
    buf_put_str(object, value);
    return 0;
}

static int read_entry(struct manifest *m, struct str message)
{
    struct manifest_entry *e = add_entry(m);
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    AUTO_BUF extra = {0};
    int rc;
    if (!e)
        return TARE_ENOMEM;
    struct str *const texts[] = {[ENTRY_PATH] = &e->path,
                                 [ENTRY_DIGEST] = &e->digest,
                                 [ENTRY_REF] = &e->ref,
                                 [ENTRY_LOCAL_PATH] = &e->local_path,
                                 [ENTRY_BIRTH_ID] = &e->birth_id};
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number < sizeof texts / sizeof *texts && texts[f.number] && f.type == WIRE_BYTES)
            *texts[f.number] = f.bytes;
        else if (f.number == ENTRY_SIZE && f.type == WIRE_VARINT)
            e->size = (int64_t)f.value;
        else if (f.number == ENTRY_SKIP_CACHE && f.type == WIRE_VARINT)
            e->skip_cache = f.value != 0;
        else if (f.number == ENTRY_EXTRA && f.type == WIRE_BYTES && put_extra(f.bytes, &extra))
            return TARE_EFORMAT;
    }
    if (extra.len > 0) {
        buf_putc(&extra, '}');
        e->extra = manifest_keep(m, buf_str(&extra));
        e->is_xxh128 = is_xxh128(e->extra);
    }
    return rc < 0 || extra.failed ? TARE_EFORMAT : 0;
}

static int read_config(struct manifest *m, struct str item)
{
    if (!str_eqz(wire_find_bytes(item, CONFIG_KEY), "storageRegion"))
        return 0;
    struct str value = wire_find_bytes(item, CONFIG_VALUE_JSON);
    AUTO_BUF text = {0};
    if (value.n < 2 || value.p[0] != '"' || json_unescape(&text, str_make(value.p + 1, value.n - 2)))
        return TARE_EFORMAT;
    m->storage_region = manifest_keep(m, buf_str(&text));
    return 0;
}

/* ---- from the file: gzip of JSON lines ---- */

static struct str keep_string(struct manifest *m, struct str value)
{
    AUTO_BUF text = {0};
    if (value.n < 2 || value.p[0] != '"')
        return (struct str){0};
    struct str inside = str_make(value.p + 1, value.n - 2);
    if (!memchr(inside.p, '\\', inside.n))
        return manifest_keep(m, inside);
    if (json_unescape(&text, inside))
        return (struct str){0};
    return manifest_keep(m, buf_str(&text));
}

/* The members of an entry, or of a whole line. TARE_EFORMAT: it is no object. */
static int read_members(struct manifest *m, struct manifest_entry *e, struct str object)
{
    const char *at = json_skip_space(object.p, object.p + object.n), *end = object.p + object.n;
    struct json_item item;
    int rc = TARE_EFORMAT;
    double size = 0;
    const struct {
        const char *key;
        struct str *to;
    } texts[] = {{"path", &e->path},
                 {"digest", &e->digest},
                 {"ref", &e->ref},
                 {"local_path", &e->local_path},
                 {"birthArtifactID", &e->birth_id}};
    for (bool is_object = at < end && *at++ == '{'; is_object && (rc = json_next_member(&at, end, &item)) == 1;) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            if (str_eqz(item.key, texts[i].key))
                *texts[i].to = keep_string(m, item.value);
        if (str_eqz(item.key, "size") && number_parse_double(item.value.p, item.value.n, &size) &&
            size >= 0 && size < 9e18)
            e->size = (int64_t)size;
        else if (str_eqz(item.key, "skip_cache"))
            e->skip_cache = str_eqz(item.value, "true");
        else if (str_eqz(item.key, "extra") && item.value.p[0] == '{' && item.value.n > 2)
            e->extra = manifest_keep(m, item.value);
    }
    e->is_xxh128 = is_xxh128(e->extra);
    return rc;
}

static int read_line(struct manifest *m, struct str line, struct err *err)
{
    struct manifest_entry *e = add_entry(m);
    if (!e)
        return err_set(err, TARE_ENOMEM, "out of memory");
    if (read_members(m, e, line))
        return err_set(err, TARE_EFORMAT, "could not unmarshal json");
    if (!e->path.p || !e->digest.p)
        return err_set(err, TARE_EFORMAT, "record missing '%s' key or not a string", e->path.p ? "digest" : "path");
    return 0;
}

/* The last four bytes of a gzip file say how long its contents are. */
static int unpack(struct str packed, struct buf *text)
{
    if (packed.n < 18)
        return TARE_EFORMAT;
    const unsigned char *p = (const unsigned char *)packed.p + packed.n - 4;
    size_t n = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (n > MANIFEST_FILE_BYTES)
        return TARE_ELIMIT;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    char *to = d ? buf_reserve(text, n ? n : 1) : NULL;
    int rc = !to ? TARE_ENOMEM : libdeflate_gzip_decompress(d, packed.p, packed.n, to, n, NULL) ? TARE_EFORMAT : 0;
    if (d)
        libdeflate_free_decompressor(d);
    text->len = rc ? 0 : n;
    return rc;
}

static int read_file(struct manifest *m, struct str path, struct err *e)
{
    AUTO_FREE char *name = mem_strndup(path.p, path.n);
    AUTO_BUF packed = {0}, text = {0};
    int rc = name ? os_read_file(name, MANIFEST_FILE_BYTES, &packed) : TARE_ENOMEM;
    if (name) /* whatever becomes of it, as the peer */
        os->unlink(name);
    if (!rc)
        rc = unpack(buf_str(&packed), &text);
    if (rc)
        return err_set(e, rc, "error opening manifest file: %s", err_text(rc));
    buf_fini(&packed);
    for (size_t at = 0; at < text.len && !rc;) {
        const char *p = text.data + at, *newline = memchr(p, '\n', text.len - at);
        struct str line = {p, newline ? (size_t)(newline - p) : text.len - at};
        at += line.n + 1;
        if (line.n > 0)
            rc = read_line(m, line, e);
    }
    return rc;
}

/* ---- order ---- */

struct ranked {
    struct manifest_entry entry;
    size_t rank;
};

static int by_path(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = str_cmp(x->entry.path, y->entry.path);
    return c ? c : (x->rank > y->rank) - (x->rank < y->rank);
}

static bool is_sorted(const struct manifest *m)
{
    for (size_t i = 1; i < m->n; i++)
        if (str_cmp(m->entries[i - 1].path, m->entries[i].path) >= 0)
            return false;
    return true;
}

static int sort(struct manifest *m)
{
    if (is_sorted(m))
        return 0;
    struct ranked *all = mem_calloc(m->n, sizeof *all);
    if (!all)
        return TARE_ENOMEM;
    for (size_t i = 0; i < m->n; i++)
        all[i] = (struct ranked){m->entries[i], i};
    qsort(all, m->n, sizeof *all, by_path);
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (n > 0 && str_eq(m->entries[n - 1].path, all[i].entry.path))
            n--;
        m->entries[n++] = all[i].entry;
    }
    m->n = n;
    mem_free(all);
    return 0;
}

/* ---- public ---- */

int manifest_read(struct manifest *m, struct str message, struct err *e)
{
    *m = (struct manifest){0};
    arena_init(&m->arena, 0);
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    struct str file = {0};
    int rc = 0, more;
    while (!rc && (more = wire_next(&r, &f)) != 0) {
        if (more < 0)
            rc = TARE_EFORMAT;
        else if (f.number == MAN_VERSION && f.type == WIRE_VARINT)
            m->version = (int32_t)f.value;
        else if (f.number == MAN_POLICY)
            m->storage_policy = f.bytes;
        else if (f.number == MAN_CONFIG)
            rc = read_config(m, f.bytes);
        else if (f.number == MAN_FILE)
            file = f.bytes;
    }
    if (!rc && file.n > 0)
        rc = read_file(m, file, e);
    for (r = wire_open(message); !rc && wire_next(&r, &f) > 0;)
        if (f.number == MAN_CONTENTS)
            rc = read_entry(m, f.bytes);
    if (!rc)
        rc = sort(m);
    if (rc && e && e->code == 0)
        err_set(e, rc, "the manifest of the artifact cannot be read: %s", err_text(rc));
    return rc;
}

static int read_contents(struct manifest *m, struct str contents)
{
    const char *at = contents.p, *end = contents.p + contents.n;
    struct json_item item;
    int rc = 0;
    if (contents.n == 0)
        return 0;
    if (*at++ != '{')
        return TARE_EFORMAT;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        struct manifest_entry *e = add_entry(m);
        if (!e)
            return TARE_ENOMEM;
        if (read_members(m, e, item.value))
            return TARE_EFORMAT;
        e->path = keep_string(m, str_make(item.key.p - 1, item.key.n + 2));
        if (!e->path.p)
            return TARE_EFORMAT;
    }
    return rc;
}

int manifest_parse(struct manifest *m, struct str json, struct err *e)
{
    *m = (struct manifest){0};
    arena_init(&m->arena, 0);
    double version = 0;
    struct str text = json_at(json, "version");
    int rc = json_valid(json) && json_at(json, "contents").n > 0 ? 0 : TARE_EFORMAT;
    if (text.n && number_parse_double(text.p, text.n, &version) && version >= 0 && version < INT32_MAX)
        m->version = (int32_t)version;
    m->storage_policy = keep_string(m, json_at(json, "storagePolicy"));
    m->storage_region = keep_string(m, json_at(json, "storagePolicyConfig.storageRegion"));
    m->layout = keep_string(m, json_at(json, "storagePolicyConfig.storageLayout"));
    if (!rc)
        rc = read_contents(m, json_at(json, "contents"));
    if (!rc)
        rc = sort(m);
    return rc ? err_set(e, rc, "decode manifest JSON failed: %s", err_text(rc)) : 0;
}

void manifest_fini(struct manifest *m)
{
    mem_free(m->entries);
    arena_fini(&m->arena);
    *m = (struct manifest){0};
}

void manifest_digest(const struct manifest *m, char hex[33])
{
    struct digest d;
    uint8_t md5[MD5_BYTES];
    md5_init(&d);
    md5_add(&d, "wandb-artifact-manifest-v1\n", 27);
    for (size_t i = 0; i < m->n; i++) {
        const struct manifest_entry *e = &m->entries[i];
        md5_add(&d, e->path.p, e->path.n);
        md5_add(&d, ":", 1);
        md5_add(&d, e->digest.p, e->digest.n);
        md5_add(&d, "\n", 1);
    }
    md5_end(&d, md5);
    digest_hex(hex, md5, MD5_BYTES);
}

static void put_text(struct buf *to, const char *before, struct str text)
{
    if (text.n == 0)
        return;
    buf_puts(to, before);
    json_put_string(to, text);
}

static void write_entry(const struct manifest_entry *e, struct buf *to)
{
    json_put_string(to, e->path);
    buf_puts(to, ":{\"digest\":");
    json_put_string(to, e->digest);
    put_text(to, ",\"ref\":", e->ref);
    buf_printf(to, ",\"size\":%lld", (long long)e->size);
    put_text(to, ",\"local_path\":", e->local_path);
    put_text(to, ",\"birthArtifactID\":", e->birth_id);
    buf_puts(to, e->skip_cache ? ",\"skip_cache\":true" : ",\"skip_cache\":false");
    if (e->extra.n > 2) {
        buf_puts(to, ",\"extra\":");
        buf_put_str(to, e->extra);
    }
    buf_putc(to, '}');
}

int manifest_write(const struct manifest *m, struct buf *to)
{
    buf_printf(to, "{\"version\":%d,\"storagePolicy\":", (int)m->version);
    json_put_string(to, m->storage_policy);
    buf_puts(to, ",\"storagePolicyConfig\":{\"storageLayout\":\"V2\"");
    put_text(to, ",\"storageRegion\":", m->storage_region);
    buf_puts(to, "},\"contents\":{");
    for (size_t i = 0; i < m->n; i++) {
        if (i > 0)
            buf_putc(to, ',');
        write_entry(&m->entries[i], to);
    }
    return buf_puts(to, "}}");
}

void manifest_set_md5(struct manifest *m, struct manifest_entry *entry, const uint8_t md5[16])
{
    char base64[32];
    AUTO_BUF extra = {0};
    struct json_item item;
    base64_text(base64, md5, MD5_BYTES);
    entry->digest = manifest_keep(m, str_of(base64));
    const char *at = entry->extra.p + 1, *end = entry->extra.p + entry->extra.n;
    while (entry->extra.n > 2 && json_next_member(&at, end, &item) == 1) {
        if (str_eqz(item.key, "alg"))
            continue;
        buf_printf(&extra, "%c\"%.*s\":%.*s", extra.len ? ',' : '{', STR_ARG(item.key), STR_ARG(item.value));
    }
    if (extra.len > 0)
        buf_putc(&extra, '}');
    entry->extra = extra.len ? manifest_keep(m, buf_str(&extra)) : (struct str){0};
    entry->is_xxh128 = false;
}
