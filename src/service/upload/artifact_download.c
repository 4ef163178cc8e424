/* SPDX-License-Identifier: MIT */
/* Downloading an artifact: its manifest, then its files, a group at a time, then its references:
 *
 *   ArtifactManifest ─► the manifest's JSON ─► sorted out (worker)
 *     group: what is there, or in the cache? (worker) ─► ArtifactFileURLsByManifestEntries ─► downloads
 *     references (reference_set.h), when all files are there
 *
 * Files that fit in memory are written at once when all of them is there; large ones grow in a part
 * beside their place. No group is begun while many files wait, so memory does not grow with their number.
 * Large files that were copied from a server of our own go into the cache after the answer.
 * The first failure ends all; files that are there already stay. A URL that was given an hour ago may
 * have run out of time: it is asked for anew.
 * (peer: core/pkg/artifacts/downloader.go. It takes no notice of path_prefix and of wrong digests, asks
 * for ever for a URL that it does not get, and leaves all references to the program. We leave it those to files
 * and to other artifacts.) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/path.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/download.h"
#include "service/upload/reference_set.h"
#include "service/upload/url_hints.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define OF(p, type, member) ((struct type *)((char *)(p) - offsetof(struct type, member)))

/* proto/request.proto */
enum { ASK_ID = 1, ASK_ROOT = 2, ASK_MAY_MISS = 4, ASK_SKIP_CACHE = 5, ASK_PREFIX = 6 };
enum { DOWNLOAD_RESPONSE_ERROR = 1 };
enum { OP_DESC = 1, OP_RUNTIME = 2, OP_PROGRESS = 3, OP_ERROR = 4, STATS_OPERATIONS = 1 };

static const char artifact_manifest[] =
    "query ArtifactManifest($artifact_id: ID!) { artifact(id: $artifact_id) { currentManifest { file {"
    " directUrl } } } }";
static const char file_urls[] =
    "query ArtifactFileURLsByManifestEntries($id: ID!, $entries: [ArtifactManifestEntryInput!],"
    " $storageLayout: String!, $manifestVersion: String!, $storageRegion: String) { artifact(id: $id) {"
    " filesByManifestEntries(storageLayout: $storageLayout, manifestVersion: $manifestVersion,"
    " entries: $entries, storageRegion: $storageRegion) { pageInfo { hasNextPage endCursor } edges { node {"
    " name directUrl } } } } }";

/* A file that was copied from the folder of a server of our own: whoever waits need not wait for a second copy. */
struct late {
    uint32_t entry;
    char xxh128[2 * XXH128_BYTES + 1];
};

struct fetch {
    struct fetch *prev, *next;
    struct artifacts *owner;
    struct artifact_ask *ask;
    char *id, *root, *prefix, *cache; /* cache NULL: none */
    char *manifest_url;
    bool is_begun, is_calling, is_getting, is_reading;
    struct buf variables;
    struct graphql_call call;
    struct download get;      /* the manifest */
    struct buf json;
    struct manifest manifest; /* slices of json */
    struct work work;
    uint32_t *todo;           /* files that are still to be asked for */
    size_t n_todo, at_todo;
    uint32_t *refs;
    size_t n_refs;
    bool may_miss, had_refs;
    struct reference_set *set; /* while they are fetched */
    struct fetch_group *groups; /* list: being prepared */
    int n_groups;
    struct fetch_file *files; /* list: with a URL, waiting or on their way */
    int n_files, n_large;
    uint64_t n_done;
    bool cache_failed;        /* has been said */
    struct late *late;        /* what goes into the cache after the answer */
    size_t n_late;
    int late_rc;              /* the worker's */
    struct err read_err;      /* of the manifest; the worker's */
    struct err err;
    int64_t began_ns;
};

struct fetch_group {
    struct fetch_group *prev, *next;
    struct fetch *fetch;
    uint32_t entries[FETCH_GROUP]; /* once looked at: those that are not there */
    uint32_t n, n_found;
    struct err err;
    bool is_calling;
    struct buf variables;
    struct graphql_call call;
    struct work work;
};

struct fetch_file {
    struct fetch_file *prev, *next;
    struct fetch *fetch;
    uint32_t entry;
    bool is_large, is_begun;
    char *url, *path;
    struct str quick; /* in `url`, behind its end, as is: */
    const char *here;
    int64_t url_ns;
    int cache_rc; /* of putting it into the cache */
    bool is_late; /* that comes after the answer */
    struct download download;
    struct pool_slot slot;
};

static void pump(struct fetch *f);
static void let_go(struct fetch *f);

static const struct manifest_entry *entry_of(const struct fetch *f, uint32_t i)
{
    return &f->manifest.entries[i];
}

/* Heap. */
static char *place_at(const struct fetch *f, uint32_t i)
{
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/", f->root);
    buf_put_str(&path, entry_of(f, i)->path);
    return xmem_strndup(path.data, path.len);
}

/* ---- the end ---- */

static void free_fetch(struct fetch *f)
{
    mem_free(f->id);
    mem_free(f->root);
    mem_free(f->prefix);
    mem_free(f->cache);
    mem_free(f->manifest_url);
    mem_free(f->late);
    mem_free(f->todo);
    mem_free(f->refs);
    buf_fini(&f->variables);
    graphql_call_fini(&f->call);
    manifest_fini(&f->manifest);
    buf_fini(&f->json);
    mem_free(f);
}

static void tell_of_cache(struct fetch *f, int rc)
{
    char text[200];
    if (rc == 0 || f->cache_failed)
        return;
    f->cache_failed = true;
    snprintf(text, sizeof text, "Files of an artifact could not be put into the cache %.100s: %s", f->cache, err_text(rc));
    diag_warn("%s", text);
    if (artifacts_are_wanted(f->owner))
        f->owner->owner.tell(f->owner->owner.ctx, false, text);
}

static void late_run(struct work *w)
{
    struct fetch *f = OF(w, fetch, work);
    for (size_t i = 0; i < f->n_late; i++) {
        AUTO_FREE char *path = place_at(f, f->late[i].entry);
        int rc = artifact_cache_add_if(f->cache, entry_of(f, f->late[i].entry), path, f->late[i].xxh128);
        f->late_rc = rc ? rc : f->late_rc;
    }
}

static void late_done(struct work *w)
{
    struct fetch *f = OF(w, fetch, work);
    struct artifacts *a = f->owner;
    tell_of_cache(f, f->late_rc);
    free_fetch(f);
    artifacts_release(a);
}

static void end(struct fetch *f)
{
    struct artifacts *a = f->owner;
    AUTO_BUF response = {0};
    if (f->err.code) {
        diag_error("failed to download artifact %s: %s", f->id, f->err.text);
        wire_buf_bytes(&response, DOWNLOAD_RESPONSE_ERROR, str_of(f->err.text));
    }
    DL_DELETE(a->fetches, f);
    a->n_fetches--;
    f->ask->done(f->ask, buf_str(&response));
    artifacts_wake(a);
    if (f->n_late > 0 && !f->err.code) {
        f->work.is_long = true;
        f->work.run = late_run;
        f->work.done = late_done;
        work_start(a->loop, &f->work);
        return;
    }
    free_fetch(f);
    artifacts_release(a);
}

static bool is_idle(const struct fetch *f)
{
    return !f->is_calling && !f->is_getting && !f->is_reading && f->n_groups == 0 && f->n_files == 0 && !f->set;
}

static void free_file(struct fetch_file *x)
{
    mem_free(x->url);
    mem_free(x->path);
    mem_free(x);
}

static void drop_waiting(struct fetch *f)
{
    struct fetch_file *x, *next;
    DL_FOREACH_SAFE (f->files, x, next) {
        if (x->is_begun)
            continue;
        pool_leave(&x->slot);
        DL_DELETE(f->files, x);
        f->n_files--;
        free_file(x);
    }
}

static void stop_all(struct fetch *f)
{
    struct fetch_file *x;
    struct fetch_group *g;
    drop_waiting(f);
    if (f->is_calling)
        graphql_cancel(f->owner->backend, &f->call);
    if (f->is_getting)
        download_cancel(&f->get);
    if (f->set)
        reference_set_cancel(f->set);
    DL_FOREACH (f->groups, g)
        if (g->is_calling)
            graphql_cancel(f->owner->backend, &g->call);
    DL_FOREACH (f->files, x)
        download_cancel(&x->download);
}

/* The first failure is the one that is told. */
__attribute__((format(printf, 3, 4))) static void fail(struct fetch *f, int error, const char *fmt, ...)
{
    va_list ap;
    AUTO_BUF why = {0};
    if (f->err.code)
        return;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    err_set(&f->err, error, "%.*s", STR_ARG(buf_str(&why)));
    stop_all(f);
}

/* ---- a file ---- */

static void fail_file(struct fetch_file *x)
{
    struct fetch *f = x->fetch;
    const struct download *d = &x->download;
    bool is_old = clock_mono_ns() - x->url_ns >= FETCH_URL_NS && d->status >= 400 && d->status < 500;
    if (is_old && !f->err.code) {
        f->todo[--f->at_todo] = x->entry; /* its place is free: it was taken from there */
        return;
    }
    if (d->error == TARE_ECONFLICT)
        fail(f, d->error, "%.*s: %s", STR_ARG(entry_of(f, x->entry)->path), d->why);
    else
        fail(f, d->error, "%s", d->why[0] ? d->why : err_text(d->error));
}

static void cache_later(struct fetch_file *x)
{
    struct fetch *f = x->fetch;
    f->late = xmem_realloc(f->late, (f->n_late + 1) * sizeof *f->late);
    struct late *late = &f->late[f->n_late++];
    late->entry = x->entry;
    snprintf(late->xxh128, sizeof late->xxh128, "%.*s", STR_ARG(x->quick));
}

static void on_file(struct download *d)
{
    struct fetch_file *x = OF(d, fetch_file, download);
    struct fetch *f = x->fetch;
    DL_DELETE(f->files, x);
    f->n_files--;
    f->n_large -= x->is_large;
    if (d->error)
        fail_file(x);
    else
        f->n_done++;
    if (!d->error && x->is_late && f->cache)
        cache_later(x);
    tell_of_cache(f, x->cache_rc);
    pool_leave(&x->slot);
    if (x->is_large && !f->err.code)
        let_go(f);
    free_file(x);
    pump(f);
}

/* On a worker. */
static void on_landed(struct download *d, const char *part)
{
    struct fetch_file *x = OF(d, fetch_file, download);
    x->is_late = d->is_ours && d->quick.n > 0;
    if (x->fetch->cache && !x->is_late)
        x->cache_rc = artifact_cache_add(x->fetch->cache, entry_of(x->fetch, x->entry), part);
}

static void on_turn(struct pool_slot *s)
{
    struct fetch_file *x = OF(s, fetch_file, slot);
    const struct manifest_entry *e = entry_of(x->fetch, x->entry);
    x->is_begun = true;
    x->download = (struct download){
        .backend = x->fetch->owner->backend,
        .url = x->url,
        .path = x->path,
        .digest = e->digest,
        .is_xxh128 = e->is_xxh128,
        .quick = x->quick,
        .quick_is_for_here = x->fetch->cache != NULL,
        .here = x->here,
        .size = (uint64_t)e->size,
        .landed = on_landed,
        .done = on_file,
    };
    download_start(&x->download);
}

/* Those that may go: large files a few at a time, they take memory. */
static void let_go(struct fetch *f)
{
    struct fetch_file *x, *next;
    DL_FOREACH_SAFE (f->files, x, next) {
        if (x->is_begun || x->slot.place != POOL_OUT || (x->is_large && f->n_large >= FETCH_LARGE))
            continue;
        f->n_large += x->is_large;
        pool_enter(&x->slot);
    }
}

/* ---- a group: its URLs ---- */

static void end_group(struct fetch_group *g)
{
    struct fetch *f = g->fetch;
    DL_DELETE(f->groups, g);
    f->n_groups--;
    f->n_done += g->n_found;
    if (g->err.code)
        fail(f, g->err.code, "%s", g->err.text);
    buf_fini(&g->variables);
    graphql_call_fini(&g->call);
    mem_free(g);
    pump(f);
}

/* The cache outlives backends. What goes there has the MD5 by our own sum, or comes from the folder of our user's own
 * server (own_server.h), whose word is as good as anything else that this user has written there (the SDK looks at no
 * digest when it fills it). */
static void take_hints(struct fetch_file *x)
{
    const struct manifest_entry *e = entry_of(x->fetch, x->entry);
    struct url_hints hints = {0};
    if (x->url && !e->is_xxh128)
        hints = url_hints_take(x->url, e->digest, backend_url(x->fetch->owner->backend));
    x->here = hints.file;
    x->quick = hints.xxh128;
}

static void add_file(struct fetch_group *g, uint32_t entry, struct str url_json)
{
    struct fetch *f = g->fetch;
    struct fetch_file *x = xmem_calloc(1, sizeof *x);
    x->fetch = f;
    x->entry = entry;
    x->is_large = entry_of(f, entry)->size > TRANSFER_SMALL_BYTES;
    x->url = json_string_at(url_json, "");
    x->path = place_at(f, entry);
    take_hints(x);
    x->url_ns = clock_mono_ns();
    x->slot.go = on_turn;
    DL_APPEND(f->files, x);
    f->n_files++;
}

/* Which of the group is meant; they are in the order of their paths, and answers mostly too. */
static uint32_t find(const struct fetch_group *g, struct str name, uint32_t guess)
{
    if (guess < g->n && str_eq(entry_of(g->fetch, g->entries[guess])->path, name))
        return guess;
    uint32_t low = 0, high = g->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int c = str_cmp(entry_of(g->fetch, g->entries[middle])->path, name);
        if (c == 0)
            return middle;
        low = c < 0 ? middle + 1 : low;
        high = c < 0 ? high : middle;
    }
    return g->n;
}

static void take_urls(struct fetch_group *g)
{
    struct str edges = json_at(g->call.data, "artifact.filesByManifestEntries.edges");
    const char *at = edges.p + 1, *end = edges.p + edges.n;
    struct json_item item;
    AUTO_FREE bool *has = xmem_calloc(g->n, sizeof *has);
    for (uint32_t i = 0; edges.n > 1 && *edges.p == '[' && json_next_element(&at, end, &item) == 1; i++) {
        AUTO_FREE char *name = json_string_at(item.value, "node.name");
        struct str url = json_at(item.value, "node.directUrl");
        uint32_t k = name ? find(g, str_of(name), i) : g->n;
        if (k == g->n || has[k] || url.n < 3 || *url.p != '"')
            continue;
        has[k] = true;
        add_file(g, g->entries[k], url);
    }
    for (uint32_t k = 0; k < g->n; k++)
        if (!has[k] && !g->err.code)
            err_set(&g->err, TARE_ENOTFOUND, "the backend gives no URL for %.*s",
                    STR_ARG(entry_of(g->fetch, g->entries[k])->path));
}

static void on_urls(struct graphql_call *c)
{
    struct fetch_group *g = OF(c, fetch_group, call);
    g->is_calling = false;
    if (c->error)
        err_set(&g->err, c->error, "%s", c->why[0] ? c->why : err_text(c->error));
    else if (!g->fetch->err.code)
        take_urls(g);
    if (!g->err.code && !g->fetch->err.code)
        let_go(g->fetch);
    end_group(g);
}

static void put_string(struct buf *to, const char *before, struct str text)
{
    buf_puts(to, before);
    json_put_string(to, text);
}

static void put_entry(struct buf *v, const struct manifest_entry *e)
{
    put_string(v, "{\"name\":", e->path);
    put_string(v, ",\"digest\":", e->digest);
    if (e->birth_id.n)
        put_string(v, ",\"birthArtifactID\":", e->birth_id);
    else
        buf_puts(v, ",\"birthArtifactID\":null");
    buf_printf(v, ",\"ref\":null,\"size\":%lld}", (long long)e->size);
}

static void ask_urls(struct fetch_group *g)
{
    struct fetch *f = g->fetch;
    struct buf *v = &g->variables;
    put_string(v, "{\"id\":", str_of(f->id));
    buf_puts(v, ",\"entries\":[");
    for (uint32_t i = 0; i < g->n; i++) {
        if (i > 0)
            buf_putc(v, ',');
        put_entry(v, entry_of(f, g->entries[i]));
    }
    put_string(v, "],\"storageLayout\":", f->manifest.layout);
    buf_printf(v, ",\"manifestVersion\":\"%d\",\"storageRegion\":null}", (int)f->manifest.version);
    g->call = (struct graphql_call){.operation = "ArtifactFileURLsByManifestEntries",
                                    .document = file_urls,
                                    .variables = buf_str(v),
                                    .done = on_urls};
    g->is_calling = true;
    graphql_send(f->owner->backend, &g->call);
}

/* ---- a group: what is there ---- */

static void look_run(struct work *w)
{
    struct fetch_group *g = OF(w, fetch_group, work);
    struct fetch *f = g->fetch;
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        AUTO_FREE char *place = place_at(f, g->entries[i]);
        int rc = artifact_restore(f->cache, entry_of(f, g->entries[i]), place);
        if (rc < 0 && !g->err.code)
            err_set(&g->err, rc, "open %s: %s", place, err_text(rc));
        if (rc <= 0)
            g->entries[n++] = g->entries[i];
    }
    g->n_found = g->n - n;
    g->n = n;
}

static void look_done(struct work *w)
{
    struct fetch_group *g = OF(w, fetch_group, work);
    if (g->n == 0 || g->err.code || g->fetch->err.code)
        end_group(g);
    else
        ask_urls(g);
}

static void begin_group(struct fetch *f)
{
    struct fetch_group *g = xmem_calloc(1, sizeof *g);
    g->fetch = f;
    while (g->n < FETCH_GROUP && f->at_todo < f->n_todo)
        g->entries[g->n++] = f->todo[f->at_todo++];
    DL_APPEND(f->groups, g);
    f->n_groups++;
    g->work.run = look_run;
    g->work.done = look_done;
    work_start(f->owner->loop, &g->work);
}

/* ---- references ---- */

static void on_missed(void *ctx, const char *why)
{
    struct fetch *f = ctx;
    char text[600];
    snprintf(text, sizeof text, "Not downloaded: %s", why);
    diag_warn("%s", text);
    if (artifacts_are_wanted(f->owner))
        f->owner->owner.tell(f->owner->owner.ctx, false, text);
}

static void on_not_cached(void *ctx, int rc)
{
    tell_of_cache(ctx, rc);
}

static void on_references(void *ctx, const struct err *e)
{
    struct fetch *f = ctx;
    f->set = NULL;
    if (e->code)
        fail(f, e->code, "%s", e->text);
    pump(f);
}

/* True if they are under way. */
static bool begin_references(struct fetch *f)
{
    struct reference_set_owner owner = {f,       f->owner->backend, &f->manifest,  f->refs,   f->n_refs,      f->root,
                                        f->cache, f->may_miss,      on_missed,     on_not_cached, on_references};
    f->had_refs = true;
    f->set = f->n_refs > 0 ? reference_set_start(&owner) : NULL;
    return f->set != NULL;
}

/* Something has ended: begin what may, or end. */
static void pump(struct fetch *f)
{
    while (!f->err.code && f->at_todo < f->n_todo && f->n_groups < FETCH_GROUPS && f->n_files < FETCH_AHEAD)
        begin_group(f);
    bool is_over = is_idle(f) && (f->err.code || f->at_todo == f->n_todo);
    if (is_over && !f->err.code && !f->had_refs && begin_references(f))
        return;
    if (is_over)
        end(f);
}

/* ---- the manifest ---- */

/* A name that leaves the folder is refused, whoever made the artifact. */
static int sort_out(struct fetch *f)
{
    size_t n = f->manifest.n;
    f->todo = mem_calloc(n + 1, sizeof *f->todo);
    f->refs = mem_calloc(n + 1, sizeof *f->refs);
    if (!f->todo || !f->refs)
        return err_set(&f->read_err, TARE_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const struct manifest_entry *e = &f->manifest.entries[i];
        if (!str_starts(e->path, str_of(f->prefix)))
            continue;
        if (!path_is_safe(e->path))
            return err_set(&f->read_err, TARE_EINVAL, "the artifact has a file whose path leaves its folder: %.*s", STR_ARG(e->path));
        if (e->ref.n > 0)
            f->refs[f->n_refs++] = (uint32_t)i;
        else if (e->size < 0)
            return err_set(&f->read_err, TARE_EFORMAT, "%.*s: the manifest has no size for it", STR_ARG(e->path));
        else
            f->todo[f->n_todo++] = (uint32_t)i;
    }
    return 0;
}

static void read_run(struct work *w)
{
    struct fetch *f = OF(w, fetch, work);
    if (manifest_parse(&f->manifest, buf_str(&f->json), &f->read_err) == 0)
        sort_out(f);
}

static void read_done(struct work *w)
{
    struct fetch *f = OF(w, fetch, work);
    f->is_reading = false;
    if (f->read_err.code)
        fail(f, f->read_err.code, "%s", f->read_err.text);
    pump(f);
}

static void on_manifest(struct download *d)
{
    struct fetch *f = OF(d, fetch, get);
    f->is_getting = false;
    f->json = d->http.answer;
    d->http.answer = (struct buf){0};
    download_fini(d);
    if (d->error && d->status)
        fail(f, d->error, "%s", d->why);
    else if (d->error)
        fail(f, d->error, "http request failed: %s", d->why[0] ? d->why : err_text(d->error));
    if (f->err.code) {
        pump(f);
        return;
    }
    f->is_reading = true;
    f->work.run = read_run;
    f->work.done = read_done;
    work_start(f->owner->loop, &f->work);
}

static void get_manifest(struct fetch *f)
{
    f->get = (struct download){.backend = f->owner->backend,
                               .url = f->manifest_url,
                               .keep_bytes = FETCH_MANIFEST_BYTES,
                               .done = on_manifest};
    f->is_getting = true;
    download_start(&f->get);
}

static void on_manifest_url(struct graphql_call *c)
{
    struct fetch *f = OF(c, fetch, call);
    f->is_calling = false;
    f->manifest_url = c->error ? NULL : json_string_at(c->data, "artifact.currentManifest.file.directUrl");
    if (c->error)
        fail(f, c->error, "%s", c->why[0] ? c->why : err_text(c->error));
    else if (json_at(c->data, "artifact").n == 0)
        fail(f, TARE_ENOTFOUND, "could not access artifact");
    else if (!f->manifest_url)
        fail(f, TARE_ENOTFOUND, "could not access manifest for artifact");
    if (f->err.code)
        pump(f);
    else
        get_manifest(f);
}

static void begin(struct fetch *f)
{
    f->is_begun = f->is_calling = true;
    put_string(&f->variables, "{\"artifact_id\":", str_of(f->id));
    buf_putc(&f->variables, '}');
    f->call = (struct graphql_call){.operation = "ArtifactManifest",
                                    .document = artifact_manifest,
                                    .variables = buf_str(&f->variables),
                                    .done = on_manifest_url};
    graphql_send(f->owner->backend, &f->call);
}

/* ---- public ---- */

void fetch_begin_all(struct artifacts *a)
{
    struct fetch *f, *next;
    int n = 0;
    DL_FOREACH_SAFE (a->fetches, f, next) {
        if (!f->is_begun && n < FETCHES)
            begin(f);
        n += f->is_begun;
    }
}

void fetch_cancel_all(struct artifacts *a)
{
    struct fetch *f, *next;
    DL_FOREACH_SAFE (a->fetches, f, next) {
        fail(f, TARE_ECANCELLED, "the download was given up");
        pump(f);
    }
}

int fetch_operations(const struct artifacts *a, struct buf *to, int room)
{
    const struct fetch *f;
    DL_FOREACH (a->fetches, f) {
        if (room-- <= 0)
            break;
        AUTO_BUF text = {0};
        size_t mark = wire_buf_begin(to, STATS_OPERATIONS);
        wire_buf_bytes(to, OP_DESC, STR("downloading artifact"));
        wire_buf_double(to, OP_RUNTIME, (double)(clock_mono_ns() - f->began_ns) / 1e9);
        if (f->is_calling && f->call.why[0])
            wire_buf_bytes(to, OP_ERROR, str_of(f->call.why));
        if (f->n_todo > 0) {
            buf_printf(&text, "%llu/%zu files", (unsigned long long)f->n_done, f->n_todo);
            wire_buf_bytes(to, OP_PROGRESS, buf_str(&text));
        }
        wire_buf_end(to, mark);
    }
    return a->n_fetches;
}

static char *text_of(struct str request, uint32_t field)
{
    struct str s = wire_find_bytes(request, field);
    return xmem_strndup(s.n ? s.p : "", s.n);
}

void artifacts_download(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    struct fetch *f = xmem_calloc(1, sizeof *f);
    a->over = a->is_freed; /* it may have been finished before */
    f->owner = a;
    f->ask = ask;
    f->id = text_of(request, ASK_ID);
    f->root = text_of(request, ASK_ROOT);
    f->prefix = text_of(request, ASK_PREFIX);
    f->may_miss = wire_find_varint(request, ASK_MAY_MISS) != 0;
    if (a->cache && !wire_find_varint(request, ASK_SKIP_CACHE))
        f->cache = xmem_strdup(a->cache);
    f->began_ns = clock_mono_ns();
    DL_APPEND(a->fetches, f);
    a->n_fetches++;
    a->n_open++;
    artifacts_wake(a);
}
