/* SPDX-License-Identifier: MIT */
/* What uploads make of bytes from clients and servers. The first byte says what the rest is:
 *   0 an ArtifactManifest: what is written of it is JSON, and its paths are sorted
 *   1 a path for json_at, a newline, and a server's answer
 *   2 a server's list of headers: one line each, nothing in them that would be two
 *   3 console and history lines, one a line: every body made of them is JSON
 *   4 the JSON of a manifest: what is written of it is read back the same
 *   5 a reference, a newline, and a store's list of objects
 *   6 a digest, a newline, and a URL with hints
 *   7 a cloud's metadata: what is kept of it is a whole message of texts in UTF-8 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"
#include "base/xml.h"
#include "record/wire.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/cloud.h"
#include "service/upload/coreweave.h"
#include "service/upload/filestream_body.h"
#include "service/upload/json_path.h"
#include "service/upload/transfer.h"
#include "service/upload/url_hints.h"

#include <assert.h>
#include <stddef.h>

static void fuzz_manifest(struct str message)
{
    enum { MANIFEST_FILE = 5 };
    struct manifest m;
    struct err e = {0};
    AUTO_BUF json = {0};
    char hex[33];
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    while (wire_next(&r, &f) > 0)
        if (f.number == MANIFEST_FILE)
            return; /* it would be read, and removed */
    int rc = manifest_read(&m, message, &e);
    assert(rc == 0 || e.text[0]);
    if (rc == 0) {
        manifest_digest(&m, hex);
        assert(manifest_write(&m, &json) == 0);
        assert(json_valid(buf_str(&json)));
        for (size_t i = 1; i < m.n; i++)
            assert(str_cmp(m.entries[i - 1].path, m.entries[i].path) < 0);
    }
    manifest_fini(&m);
}

static void fuzz_path(struct str text)
{
    const char *newline = memchr(text.p, '\n', text.n);
    char path[64];
    size_t n = newline ? (size_t)(newline - text.p) : 0;
    if (!newline || n >= sizeof path)
        return;
    memcpy(path, text.p, n);
    path[n] = 0;
    struct str json = str_make(newline + 1, text.n - n - 1);
    struct str value = json_at(json, path);
    assert(value.n == 0 || (value.p >= json.p && value.p + value.n <= json.p + json.n));
    mem_free(json_string_at(json, path));
}

static void fuzz_headers(struct str json)
{
    AUTO_BUF headers = {0};
    transfer_put_headers(&headers, json);
    for (size_t at = 0; at < headers.len;) {
        const char *p = headers.data + at, *end = memchr(p, '\n', headers.len - at);
        assert(end && memchr(p, ':', (size_t)(end - p)));
        for (const char *c = p; c < end; c++)
            assert((unsigned char)*c >= ' ' || *c == '\t');
        at += (size_t)(end - p) + 1;
    }
}

static void fuzz_lines(struct str text)
{
    struct fs_waiting w;
    fs_waiting_init(&w, 200, 100);
    for (size_t at = 0; at < text.n;) {
        const char *p = text.p + at, *end = memchr(p, '\n', text.n - at);
        struct str line = str_make(p, end ? (size_t)(end - p) : text.n - at);
        at += line.n + 1;
        if (line.n > 0 && line.p[0] == 'h')
            fs_add_event(&w, line);
        else
            fs_add_console(&w, line.n > 0 ? (unsigned char)line.p[0] : 0, line);
        fs_add_uploaded(&w, line);
    }
    bool more = true;
    int32_t exit_code = 0;
    while (more) {
        struct fs_request r = {0};
        assert(fs_take(&w, &exit_code, &r) == 0);
        assert(json_valid(fs_body(&r)));
        more = r.more;
        buf_fini(&r.text);
    }
    assert(fs_is_empty(&w) && w.bytes == 0);
    fs_waiting_fini(&w);
}

static void fuzz_stored(struct str json)
{
    struct manifest m, again;
    struct err e = {0};
    AUTO_BUF text = {0};
    int rc = manifest_parse(&m, json, &e);
    assert(rc == 0 || e.text[0]);
    if (rc == 0) {
        assert(manifest_write(&m, &text) == 0 && json_valid(buf_str(&text)));
        assert(manifest_parse(&again, buf_str(&text), &e) == 0 && again.n == m.n);
        for (size_t i = 0; i < m.n; i++)
            assert(str_eq(m.entries[i].path, again.entries[i].path) && m.entries[i].size == again.entries[i].size);
        manifest_fini(&again);
    }
    manifest_fini(&m);
}

static bool has_space(struct str s)
{
    return s.n && memchr(s.p, ' ', s.n);
}

static void fuzz_cloud(struct str text)
{
    static const char *const query[CLOUD_QUERY][2] = {{"prefix", "x"}};
    const char *newline = memchr(text.p, '\n', text.n);
    struct str ref = str_make(text.p, newline ? (size_t)(newline - text.p) : text.n), item;
    struct cloud cloud = {.s3_region = (char *)"r", .gcs_endpoint = (char *)"https://g"};
    struct cloud_place p = cloud_place_of(ref);
    struct cloud_target t;
    AUTO_BUF headers = {0};
    if (p.kind != CLOUD_NONE && p.kind != CLOUD_HTTP) {
        cloud_target_init(&t, &cloud, &p, "GET", p.key, query);
        cloud_put_headers(&cloud, &t, "", 1, &headers);
        for (const char *c = t.url; *c; c++) /* nothing that ends a request's first line */
            assert(*c != ' ' || has_space(p.host) || has_space(p.bucket));
        cloud_target_fini(&t);
    }
    for (struct str at = str_make(text.p + ref.n, text.n - ref.n); xml_next(&at, "Key", &item);) {
        assert(item.p >= text.p && item.p + item.n <= text.p + text.n);
        mem_free(cloud_xml_text(item));
    }
}

static void fuzz_hints(struct str text)
{
    const char *newline = memchr(text.p, '\n', text.n);
    struct str digest = str_make(text.p, newline ? (size_t)(newline - text.p) : 0);
    AUTO_FREE char *url = mem_strndup(text.p + digest.n, text.n - digest.n);
    size_t n = url ? strlen(url) : 0;
    if (!url)
        return;
    AUTO_FREE char *place = url_place(url, "http://localhost:8080");
    assert(!place || *place == '/');
    struct url_hints hints = url_hints_take(url, digest, "http://localhost:8080");
    assert(!strchr(url, '#') && (hints.xxh128.n == 0 || hints.xxh128.n == 32));
    assert(hints.xxh128.n == 0 || (hints.xxh128.p > url && hints.xxh128.p + 32 <= url + n));
    assert(!hints.file || (hints.file > url && *hints.file == '/' && hints.file + strlen(hints.file) <= url + n));
}

static void fuzz_metadata(struct str text)
{
    AUTO_BUF info = {0};
    coreweave_read(text, &info);
    struct wire_reader r = wire_open(buf_str(&info));
    struct wire_field f;
    int rc;
    while ((rc = wire_next(&r, &f)) > 0)
        assert(f.number <= 3 && f.bytes.n > 0 && utf8_valid(f.bytes.p, f.bytes.n));
    assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(struct str text) = {fuzz_manifest, fuzz_path, fuzz_headers, fuzz_lines,
                                                       fuzz_stored, fuzz_cloud, fuzz_hints, fuzz_metadata};
    if (size > 0)
        kinds[data[0] % 8](str_make(data + 1, size - 1));
    return 0;
}
