/* SPDX-License-Identifier: MIT */
/* The peer's way, where it has one: S3FileTransfer, GCSFileTransfer and AzureFileTransfer in
 * core/internal/filetransfer (which its downloader never gets to: it leaves references to the program), and
 * the SDK's wandb/sdk/artifacts/storage_handlers for http(s). */
#include "service/upload/reference.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/path.h"
#include "base/xml.h"
#include "service/limits.h"
#include "service/upload/artifact_impl.h"
#include "service/upload/download.h"
#include "service/upload/pool.h"

#include <stddef.h>
#include <stdio.h>
#include <utlist.h>

#define OF(p, type, member) ((struct type *)((char *)(p) - offsetof(struct type, member)))

/* One object on its way. */
struct object {
    struct object *prev, *next;
    struct reference *ref;
    struct cloud_target target;
    char *path;
    bool is_begun;
    struct download download;
    struct pool_slot slot;
};

struct reference {
    struct reference_owner owner;
    struct manifest_entry entry;
    char *path, *url, *key, *etag, *version, *marker;
    struct cloud_place place;
    bool is_prefix;   /* nothing is known of it but where it is */
    bool is_searching_versions;
    bool is_asking, is_restoring, has_listed;
    struct cloud_target target;
    struct download ask;
    struct object *objects; /* list */
    int n_objects, n_seen, restored, cache_rc;
    struct work work;
    struct err err;
};

static void search(struct reference *r);

/* ---- the end ---- */

static void free_object(struct object *o)
{
    cloud_target_fini(&o->target);
    mem_free(o->path);
    mem_free(o);
}

static void free_reference(struct reference *r)
{
    cloud_target_fini(&r->target);
    mem_free(r->path);
    mem_free(r->url);
    mem_free(r->key);
    mem_free(r->etag);
    mem_free(r->version);
    mem_free(r->marker);
    mem_free(r);
}

static void look_for_end(struct reference *r)
{
    if (r->is_asking || r->is_restoring || r->n_objects > 0)
        return;
    r->owner.done(r->owner.ctx, r, &r->err, r->cache_rc);
    free_reference(r);
}

static void stop(struct reference *r)
{
    struct object *o, *next;
    if (r->is_asking)
        download_cancel(&r->ask);
    DL_FOREACH_SAFE (r->objects, o, next) {
        if (o->is_begun) {
            download_cancel(&o->download);
            continue;
        }
        pool_leave(&o->slot);
        DL_DELETE(r->objects, o);
        r->n_objects--;
        free_object(o);
    }
}

__attribute__((format(printf, 3, 4))) static void fail(struct reference *r, int error, const char *fmt, ...)
{
    va_list ap;
    AUTO_BUF why = {0};
    if (r->err.code)
        return;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    err_set(&r->err, error, "reference %s: %.*s", r->url, STR_ARG(buf_str(&why)));
    stop(r);
}

/* ---- asking the store ---- */

static void put_range(const struct download *d, char range[48])
{
    *range = '\0';
    if (d->http.resumes)
        snprintf(range, 48, "bytes=%llu-", (unsigned long long)d->http.to_at);
}

static void sign_ask(struct download *d, struct buf *to)
{
    struct reference *r = OF(d, reference, ask);
    cloud_put_headers(r->owner.cloud, &r->target, "", clock_wall_ns() / 1000000000, to);
}

static void ask(struct reference *r, void (*done)(struct download *d))
{
    r->ask = (struct download){.backend = r->owner.backend,
                               .url = r->target.url,
                               .method = r->target.method,
                               .keep_bytes = REFERENCE_LIST_BYTES,
                               .is_foreign = true,
                               .put_headers = sign_ask,
                               .done = done};
    r->is_asking = true;
    download_start(&r->ask);
}

/* The answer, which is freed after the next call of `ask` or now. True if it is good. */
static bool has_answer(struct reference *r, struct buf *answer)
{
    struct download *d = &r->ask;
    r->is_asking = false;
    *answer = d->http.answer;
    d->http.answer = (struct buf){0};
    if (d->error && !r->err.code)
        fail(r, d->status == 404 ? TARE_ENOTFOUND : d->error, "%s", d->why);
    return r->err.code == 0;
}

static void set_target(struct reference *r, const char *method, struct str key, const char *const query[CLOUD_QUERY][2])
{
    cloud_target_fini(&r->target);
    cloud_target_init(&r->target, r->owner.cloud, &r->place, method, key, query);
}

static const char *version_name(const struct reference *r)
{
    return r->place.kind == CLOUD_GCS ? "generation" : r->place.kind == CLOUD_S3 ? "versionId" : "versionid";
}

/* ---- objects ---- */

static void on_object(struct download *d)
{
    struct object *o = OF(d, object, download);
    struct reference *r = o->ref;
    DL_DELETE(r->objects, o);
    r->n_objects--;
    if (d->error)
        fail(r, d->status == 404 ? TARE_ENOTFOUND : d->error, "%s", d->why[0] ? d->why : err_text(d->error));
    pool_leave(&o->slot);
    free_object(o);
    if (!r->err.code && r->n_objects == 0 && !r->has_listed)
        search(r);
    else
        look_for_end(r);
}

/* On a worker. */
static void on_landed(struct download *d, const char *part)
{
    struct reference *r = OF(d, object, download)->ref;
    if (r->owner.cache && !r->is_prefix)
        r->cache_rc = artifact_cache_add(r->owner.cache, &r->entry, part);
}

static void sign_object(struct download *d, struct buf *to)
{
    struct object *o = OF(d, object, download);
    char range[48];
    put_range(d, range);
    cloud_put_headers(o->ref->owner.cloud, &o->target, range, clock_wall_ns() / 1000000000, to);
}

static void on_turn(struct pool_slot *s)
{
    struct object *o = OF(s, object, slot);
    struct reference *r = o->ref;
    bool has_etag = !r->is_prefix && r->place.kind != CLOUD_GCS; /* Google's is of the metadata */
    o->is_begun = true;
    o->download = (struct download){.backend = r->owner.backend,
                                    .url = r->place.kind == CLOUD_HTTP ? r->url : o->target.url,
                                    .path = o->path,
                                    .is_foreign = true,
                                    .put_headers = sign_object,
                                    .etag = has_etag ? r->etag : NULL,
                                    .landed = on_landed,
                                    .done = on_object};
    download_start(&o->download);
}

/* Where an object of a prefix goes: the rest of its name, in the folder. NULL: nowhere. */
static char *place_of(struct reference *r, struct str key)
{
    AUTO_BUF path = {0};
    struct str prefix = str_of(r->key), rest = str_make(key.p + prefix.n, key.n - prefix.n);
    while (rest.n > 0 && *rest.p == '/')
        rest = str_make(rest.p + 1, rest.n - 1);
    buf_puts(&path, r->path);
    if (rest.n > 0) {
        if (!path_is_safe(rest))
            return NULL;
        buf_putc(&path, '/');
        buf_put_str(&path, rest);
    }
    return xmem_strndup(path.data, path.len);
}

static void add_object(struct reference *r, struct str key, const char *version)
{
    struct object *o = xmem_calloc(1, sizeof *o);
    const char *query[CLOUD_QUERY][2] = {{0}};
    int n = 0;
    o->ref = r;
    o->path = place_of(r, key);
    if (r->place.kind == CLOUD_GCS) {
        query[n][0] = "alt";
        query[n++][1] = "media";
    }
    if (version) {
        query[n][0] = version_name(r);
        query[n][1] = version;
    }
    if (!o->path) {
        mem_free(o);
        fail(r, TARE_EINVAL, "the name of an object leaves the folder: %.*s", STR_ARG(key));
        return;
    }
    if (r->place.kind != CLOUD_HTTP)
        cloud_target_init(&o->target, r->owner.cloud, &r->place, "GET", key, query);
    o->slot.go = on_turn;
    DL_APPEND(r->objects, o);
    r->n_objects++;
    r->n_seen++;
    pool_enter(&o->slot);
}

static void fetch_it(struct reference *r)
{
    r->has_listed = true;
    add_object(r, str_of(r->key), r->version);
    look_for_end(r);
}

/* ---- lists ---- */

static bool same(struct str etag, const char *wanted)
{
    AUTO_FREE char *text = cloud_xml_text(etag);
    struct str s = str_of(text);
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = str_make(s.p + 1, s.n - 2);
    return str_eqz(s, wanted);
}

static char *tag_text(struct str in, const char *tag)
{
    struct str text;
    return xml_next(&in, tag, &text) && text.n > 0 ? cloud_xml_text(text) : NULL;
}

/* An item of a list of versions: is it the one? */
static void take_version(struct reference *r, struct str item)
{
    struct str at = item, etag;
    bool is_s3 = r->place.kind == CLOUD_S3;
    AUTO_FREE char *name = tag_text(item, is_s3 ? "Key" : "Name");
    if (!r->version && name && strcmp(name, r->key) == 0 && xml_next(&at, is_s3 ? "ETag" : "Etag", &etag) &&
        same(etag, r->etag))
        r->version = tag_text(item, "VersionId");
}

static void take_item(struct reference *r, struct str name)
{
    if (r->err.code || name.n == 0 || name.p[name.n - 1] == '/' || !str_starts(name, str_of(r->key)))
        return; /* a folder; or not what was asked for */
    if (r->n_seen >= REFERENCE_OBJECTS)
        fail(r, TARE_ELIMIT, "more than %d objects begin so", REFERENCE_OBJECTS);
    else
        add_object(r, name, NULL);
}

static void take_xml(struct reference *r, struct str all)
{
    bool is_s3 = r->place.kind == CLOUD_S3;
    const char *tag = !is_s3 ? "Blob" : r->is_searching_versions ? "Version" : "Contents";
    struct str at = all, item;
    while (!r->err.code && xml_next(&at, tag, &item)) {
        AUTO_FREE char *name = tag_text(item, is_s3 ? "Key" : "Name");
        if (r->is_searching_versions)
            take_version(r, item);
        else if (name)
            take_item(r, str_of(name));
    }
    r->marker = tag_text(all, !is_s3 ? "NextMarker" : r->is_searching_versions ? "NextKeyMarker" : "NextContinuationToken");
}

static void take_json(struct reference *r, struct str all)
{
    struct str items = json_at(all, "items");
    const char *at = items.p + 1, *end = items.p + items.n;
    struct json_item item;
    while (items.n > 1 && *items.p == '[' && json_next_element(&at, end, &item) == 1) {
        AUTO_FREE char *name = json_string_at(item.value, "name");
        if (name)
            take_item(r, str_of(name));
    }
    r->marker = json_string_at(all, "nextPageToken");
}

static void fail_and_end(struct reference *r, int error)
{
    fail(r, error, "digest/etag mismatch: unable to find version with expected digest %s", r->etag);
    look_for_end(r);
}

static void on_list(struct download *d)
{
    struct reference *r = OF(d, reference, ask);
    AUTO_BUF answer = {0};
    if (has_answer(r, &answer)) {
        mem_free(r->marker);
        r->marker = NULL;
        if (r->place.kind == CLOUD_GCS)
            take_json(r, buf_str(&answer));
        else
            take_xml(r, buf_str(&answer));
        r->has_listed = !r->marker;
    }
    download_fini(d);
    if (r->err.code)
        look_for_end(r);
    else if (r->is_searching_versions && r->version)
        fetch_it(r);
    else if (!r->has_listed && r->n_objects == 0)
        search(r); /* else when these are there */
    else if (r->has_listed && r->is_searching_versions)
        fail_and_end(r, TARE_ENOTFOUND);
    else
        look_for_end(r);
}

/* The next page. */
static void search(struct reference *r)
{
    const char *m = r->marker, *s3_list[CLOUD_QUERY][2] = {{"continuation-token", m}, {"list-type", "2"}, {"max-keys", "1000"}, {"prefix", r->key}};
    const char *s3_versions[CLOUD_QUERY][2] = {{"key-marker", m}, {"max-keys", "1000"}, {"prefix", r->key}, {"versions", ""}};
    const char *gcs[CLOUD_QUERY][2] = {{"pageToken", m}, {"prefix", r->key}};
    if (r->place.kind == CLOUD_AZURE) {
        const char *full[CLOUD_QUERY][2] = {{"comp", "list"}};
        int n = 1;
        if (r->is_searching_versions)
            full[n][0] = "include", full[n++][1] = "versions";
        if (m)
            full[n][0] = "marker", full[n++][1] = m;
        full[n][0] = "prefix", full[n++][1] = r->key;
        full[n][0] = "restype", full[n++][1] = "container";
        set_target(r, "GET", STR(""), full);
    } else {
        const char *(*all)[2] = r->place.kind == CLOUD_GCS ? gcs : r->is_searching_versions ? s3_versions : s3_list;
        if (!m) /* the first pair is the marker's */
            memmove(all, all + 1, (CLOUD_QUERY - 1) * sizeof *all);
        set_target(r, "GET", STR(""), (const char *const(*)[2])all);
    }
    ask(r, on_list);
}

/* ---- its state now ---- */

static void on_folder(struct download *d)
{
    struct reference *r = OF(d, reference, ask);
    AUTO_BUF answer = {0};
    has_answer(r, &answer); /* it is one: there is nothing to fetch */
    download_fini(d);
    look_for_end(r);
}

/* Google: a name without its last slash may be a folder's, as the SDK kept it. */
static bool may_be_folder(const struct reference *r)
{
    struct str base = path_base(str_of(r->key));
    return r->place.kind == CLOUD_GCS && r->ask.status == 404 && r->entry.size == 0 &&
           !(base.n && memchr(base.p, '.', base.n));
}

static void on_look(struct download *d)
{
    struct reference *r = OF(d, reference, ask);
    AUTO_BUF answer = {0}, folder = {0};
    if (may_be_folder(r) && !r->err.code) {
        static const char *const none[CLOUD_QUERY][2];
        download_fini(d);
        r->is_asking = false;
        buf_printf(&folder, "%s/", r->key);
        set_target(r, "GET", buf_str(&folder), none);
        ask(r, on_folder);
        return;
    }
    if (!has_answer(r, &answer)) {
        download_fini(d);
        look_for_end(r);
        return;
    }
    AUTO_FREE char *of_json = r->place.kind == CLOUD_GCS ? json_string_at(buf_str(&answer), "etag") : NULL;
    struct str etag = of_json ? str_of(of_json) : http_answer_header(&d->http, "etag");
    bool is_same = same(etag, r->etag);
    if (!is_same && (r->version || r->place.kind == CLOUD_GCS))
        fail(r, TARE_ECONFLICT, "digest/etag mismatch: etag %.*s does not match expected digest %s", STR_ARG(etag), r->etag);
    download_fini(d);
    if (r->err.code) {
        look_for_end(r);
    } else if (is_same) {
        fetch_it(r);
    } else {
        r->is_searching_versions = true;
        search(r);
    }
}

static void look(struct reference *r)
{
    const char *query[CLOUD_QUERY][2] = {{0}};
    if (r->version) {
        query[0][0] = version_name(r);
        query[0][1] = r->version;
    }
    set_target(r, r->place.kind == CLOUD_GCS ? "GET" : "HEAD", str_of(r->key), query);
    ask(r, on_look);
}

/* ---- begin ---- */

static void restore_run(struct work *w)
{
    struct reference *r = OF(w, reference, work);
    r->restored = r->owner.cache && !r->is_prefix ? artifact_restore(r->owner.cache, &r->entry, r->path) : 0;
}

static void restore_done(struct work *w)
{
    struct reference *r = OF(w, reference, work);
    r->is_restoring = false;
    if (r->restored < 0)
        fail(r, r->restored, "open %s: %s", r->path, err_text(r->restored));
    if (r->err.code || r->restored > 0)
        look_for_end(r);
    else if (r->place.kind == CLOUD_HTTP)
        fetch_it(r);
    else if (r->is_prefix)
        search(r);
    else
        look(r);
}

/* Azure's references are URLs, the others' keys stand as they are; a version behind them is cut off. */
static char *key_of(const struct cloud_place *p)
{
    AUTO_BUF key = {0};
    struct str s = p->key;
    const char *cut = p->kind == CLOUD_S3 ? "?versionId=" : p->kind == CLOUD_GCS ? "#" : "?";
    const char *at = s.n ? memmem(s.p, s.n, cut, strlen(cut)) : NULL;
    s.n = at && p->kind != CLOUD_HTTP ? (size_t)(at - s.p) : s.n;
    for (size_t i = 0; i < s.n; i++) {
        bool is_escape = p->kind == CLOUD_AZURE && s.p[i] == '%' && i + 2 < s.n && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0;
        buf_putc(&key, is_escape ? (char)(hex_digit(s.p[i + 1]) * 16 + hex_digit(s.p[i + 2])) : s.p[i]);
        i += is_escape ? 2 : 0;
    }
    return xmem_strndup(key.len ? key.data : "", key.len);
}

static char *version_of(struct str extra)
{
    char *text = json_string_at(extra, "versionID");
    struct str raw = json_at(extra, "versionID");
    return text || raw.n == 0 ? text : xmem_strndup(raw.p, raw.n); /* Google's are numbers */
}

struct reference *reference_start(const struct manifest_entry *e, const char *path, const struct reference_owner *owner)
{
    struct cloud_place place = cloud_place_of(e->ref);
    if (place.kind == CLOUD_NONE)
        return NULL;
    struct reference *r = xmem_calloc(1, sizeof *r);
    r->owner = *owner;
    r->entry = *e;
    r->place = place;
    r->path = xmem_strdup(path);
    r->url = xmem_strndup(e->ref.p, e->ref.n);
    r->key = key_of(&place);
    r->etag = xmem_strndup(e->digest.n ? e->digest.p : "", e->digest.n);
    r->version = version_of(e->extra);
    r->is_prefix = str_eq(e->digest, e->ref);
    r->is_restoring = true;
    r->work.run = restore_run;
    r->work.done = restore_done;
    work_start(backend_loop(owner->backend), &r->work);
    return r;
}

void reference_cancel(struct reference *r)
{
    fail(r, TARE_ECANCELLED, "the download was given up");
    if (!r->is_asking && !r->is_restoring && r->n_objects == 0)
        look_for_end(r);
}
