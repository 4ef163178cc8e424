/* SPDX-License-Identifier: MIT */
/* The files of an artifact, a group at a time:
 *
 *   look (workers: sizes, digests of parts) ─► CreateArtifactFiles ─► a transfer each, or none where
 *   the backend has the content already; large files in parts ─► CompleteMultipartUploadArtifact
 *
 * No group is begun while many transfers wait, so memory does not grow with the number of files.
 * Files that failed are asked for anew in a next round, while each round brings more than half of
 * its files: that is for URLs that have run out of time. A file that changes on its way is not what
 * its digest says: it fails. (peer: core/pkg/artifacts/saver.go, multipart.go) */
#include "service/upload/artifact_files.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <utlist.h>

#define OF(p, type, member) ((struct type *)((char *)(p) - offsetof(struct type, member)))

enum { OP_DESC = 1, OP_RUNTIME = 2, OP_PROGRESS = 3, OP_ERROR = 4, OP_SUBTASKS = 5 };

static const char create_files[] =
    "mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) { createArtifactFiles(input: $input) {"
    " files { edges { node { storagePath uploadUrl uploadHeaders uploadMultipartUrls { uploadID"
    " uploadUrlParts { partNumber uploadUrl } } artifact { id } } } } } }";
/* A share of the parts of a group's large files: every ARTIFACT_HASHERS-th of them. */
struct hasher {
    struct work work;
    struct file_group *group;
    uint32_t first;
    int error;
};

struct file_group {
    struct file_group *prev, *next;
    struct save *save;
    struct spec specs[ARTIFACT_GROUP];
    uint32_t n;
    struct hasher *hashers; /* while parts are hashed */
    uint32_t n_hashing;
    bool is_calling;
    struct buf variables;
    struct graphql_call call;
    struct work work;
};


/* ---- one file is over ---- */

void files_one_done(struct save *s, uint32_t entry, int error, const char *why)
{
    struct save_files *f = &s->files;
    if (error == 0) {
        f->n_done++;
        return;
    }
    struct str path = s->manifest.entries[entry].path;
    diag_warn("artifact %s: %.*s: %s", s->name, STR_ARG(path), why);
    if (s->err.code == 0 || f->n_again == 0)
        err_set(&s->err, error, "%.*s: %s", STR_ARG(path), why);
    f->again[f->n_again++] = entry;
}

/* ---- transfers ---- */

static void on_moved(struct transfer *t)
{
    struct art_upload *u = OF(t, art_upload, transfer);
    struct files_progress *p = &u->save->owner->progress;
    p->uploaded_bytes += t->sent - u->sent;
    p->total_bytes += t->total - u->total;
    u->sent = t->sent;
    u->total = t->total;
}

static void on_upload_closed(struct transfer *t)
{
    struct art_upload *u = OF(t, art_upload, transfer);
    struct save *s = u->save;
    struct multipart *of = u->of;
    mem_free(u->path);
    mem_free(u->url);
    buf_fini(&u->headers);
    mem_free(u);
    if (of)
        parts_go_on(of);
    else
        files_pump(s);
}

/* It is not the file whose digest we have. */
static void check_stamp(struct art_upload *u)
{
    struct transfer *t = &u->transfer;
    if (t->error == 0 && (t->has_changed || !file_stamp_eq(&t->stamp, &u->stamp))) {
        t->error = TARE_ECONFLICT;
        snprintf(t->why, sizeof t->why, "the file has changed while it was uploaded");
    }
}

static void on_uploaded(struct transfer *t)
{
    struct art_upload *u = OF(t, art_upload, transfer);
    struct save *s = u->save;
    on_moved(t);
    check_stamp(u);
    if (u->of) {
        parts_one_over(u);
    } else {
        s->files.n_moving--;
        files_one_done(s, u->entry, t->error, t->why);
    }
    DL_DELETE(s->files.uploads, u);
    transfer_close(t, on_upload_closed);
}

struct art_upload *files_new_upload(struct save *s, const struct spec *spec, char *url)
{
    struct art_upload *u = xmem_calloc(1, sizeof *u);
    struct str path = s->manifest.entries[spec->entry].local_path;
    u->save = s;
    u->entry = spec->entry;
    u->stamp = spec->stamp;
    u->path = xmem_strndup(path.p, path.n);
    u->url = url;
    u->transfer = (struct transfer){.backend = s->owner->backend,
                                    .loop = s->owner->loop,
                                    .policy = &s->owner->policy,
                                    .path = u->path,
                                    .url = u->url,
                                    .moved = on_moved,
                                    .done = on_uploaded};
    DL_APPEND(s->files.uploads, u);
    return u;
}

static void start_upload(struct save *s, const struct spec *spec, char *url, struct str headers)
{
    struct art_upload *u = files_new_upload(s, spec, url);
    transfer_put_headers(&u->headers, headers);
    u->transfer.headers = buf_z(&u->headers);
    s->files.n_moving++;
    transfer_start(&u->transfer);
}

/* ---- URLs ---- */

static void put(struct buf *v, const char *before, struct str text)
{
    buf_puts(v, before);
    json_put_string(v, text);
}


static void end_group(struct file_group *g)
{
    struct save *s = g->save;
    DL_DELETE(s->files.groups, g);
    s->files.n_groups--;
    for (uint32_t i = 0; i < g->n; i++)
        spec_fini(&g->specs[i]);
    mem_free(g->hashers);
    buf_fini(&g->variables);
    graphql_call_fini(&g->call);
    mem_free(g);
    files_pump(s);
}

static void stop_all(struct save *s, int error, const char *fmt, const char *why)
{
    if (!s->files.over)
        err_set(&s->err, error, fmt, why);
    s->files.over = true;
    save_files_cancel(s);
}

static void take_node(struct save *s, struct spec *spec, struct str node)
{
    struct manifest_entry *e = &s->manifest.entries[spec->entry];
    AUTO_FREE char *birth = json_string_at(node, "artifact.id");
    char *url = json_string_at(node, "uploadUrl");
    if (birth)
        e->birth_id = manifest_keep(&s->manifest, str_of(birth));
    bool in_parts = spec->n_parts > 0 && json_at(node, "uploadMultipartUrls").n > 0;
    if ((in_parts || url) && !e->was_counted) { /* what the backend has already is none to the peer */
        e->was_counted = true;
        artifacts_count_file(s->owner);
    }
    if (in_parts) {
        mem_free(url);
        parts_begin(s, spec, node);
    } else if (url) {
        start_upload(s, spec, url, json_at(node, "uploadHeaders"));
    } else { /* the backend has it already */
        s->owner->progress.deduped_bytes += spec->stamp.size;
        files_one_done(s, spec->entry, 0, "");
    }
}

static uint32_t n_asked(const struct file_group *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n; i++)
        n += g->specs[i].error == 0;
    return n;
}

static uint32_t count_elements(struct str list)
{
    const char *at = list.p + 1, *end = list.p + list.n;
    struct json_item item;
    uint32_t n = 0;
    while (list.n > 0 && list.p[0] == '[' && json_next_element(&at, end, &item) == 1)
        n++;
    return n;
}

static void take_nodes(struct file_group *g)
{
    struct save *s = g->save;
    struct str edges = json_at(g->call.data, "createArtifactFiles.files.edges");
    const char *at = edges.p + 1, *end = edges.p + edges.n;
    struct json_item item;
    uint32_t i = 0;
    if (count_elements(edges) != n_asked(g)) {
        stop_all(s, TARE_EPROTO, "ArtifactSaver.uploadFiles: %s", "the backend gave another number of upload URLs");
        return;
    }
    while (json_next_element(&at, end, &item) == 1) {
        while (g->specs[i].error)
            i++;
        take_node(s, &g->specs[i++], json_at(item.value, "node"));
    }
}

static void on_urls(struct graphql_call *call)
{
    struct file_group *g = OF(call, file_group, call);
    struct save *s = g->save;
    g->is_calling = false;
    if (call->error)
        stop_all(s, call->error, "ArtifactSaver.uploadFiles: requesting upload URLs failed: %s", call->why);
    else if (!s->files.over)
        take_nodes(g);
    end_group(g);
}

static void put_spec(struct buf *v, const struct save *s, const struct spec *spec)
{
    const struct manifest_entry *e = &s->manifest.entries[spec->entry];
    put(v, "{\"artifactID\":", str_of(s->artifact_id));
    put(v, ",\"artifactManifestID\":", str_of(s->manifest_id));
    if (s->has_algorithm)
        put(v, ",\"digest\":", e->digest);
    put(v, ",\"md5\":", s->is_xxh128 ? str_of(spec->md5) : e->digest);
    put(v, ",\"mimetype\":null,\"name\":", e->path);
    buf_puts(v, ",\"uploadPartsInput\":");
    buf_puts(v, spec->n_parts ? "" : "null");
    for (uint32_t i = 0; i < spec->n_parts; i++) {
        char hex[2 * MD5_BYTES + 1];
        digest_hex(hex, spec->parts[i].md5, MD5_BYTES);
        buf_printf(v, "%s{\"hexMD5\":\"%s\",\"partNumber\":%u}", i ? "," : "[", hex, i + 1);
    }
    buf_puts(v, spec->n_parts ? "]}" : "}");
}

static void ask_urls(struct file_group *g)
{
    struct save *s = g->save;
    struct buf *v = &g->variables;
    const char *sep = "";
    buf_puts(v, "{\"input\":{\"artifactFiles\":[");
    for (uint32_t i = 0; i < g->n; i++) {
        if (g->specs[i].error)
            continue;
        buf_puts(v, sep);
        put_spec(v, s, &g->specs[i]);
        sep = ",";
    }
    buf_puts(v, "],\"clientMutationId\":null,\"cloudRegionID\":null,\"storageLayout\":\"V2\"");
    if (s->has_algorithm)
        put(v, ",\"digestAlgorithm\":", s->is_xxh128 ? STR("MANIFEST_XXH128") : STR("MANIFEST_MD5"));
    buf_puts(v, "}}");
    g->call = (struct graphql_call){
        .operation = "CreateArtifactFiles", .document = create_files, .variables = buf_str(v), .done = on_urls};
    g->is_calling = true;
    graphql_send(s->owner->backend, &g->call);
}

/* ---- looking ---- */

static void look_run(struct work *w)
{
    struct file_group *g = OF(w, file_group, work);
    for (uint32_t i = 0; i < g->n; i++) {
        struct spec *spec = &g->specs[i];
        struct str path = g->save->manifest.entries[spec->entry].local_path;
        AUTO_FREE char *name = mem_strndup(path.p, path.n);
        int fd = name ? os->open(name, O_RDONLY | O_NONBLOCK, 0) : TARE_ENOMEM;
        spec->error = fd < 0 ? fd : spec_measure(spec, fd, g->save->is_xxh128);
        if (fd >= 0)
            os->close(fd);
    }
}

static void ask_or_end(struct file_group *g)
{
    struct save *s = g->save;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->specs[i].error)
            files_one_done(s, g->specs[i].entry, g->specs[i].error, err_text(g->specs[i].error));
    if (n_asked(g) > 0 && !s->files.over)
        ask_urls(g);
    else
        end_group(g);
}

/* ---- digests of parts, several at once ---- */

static int hash_parts(const struct hasher *h, struct spec *spec)
{
    struct str path = h->group->save->manifest.entries[spec->entry].local_path;
    AUTO_FREE char *name = mem_strndup(path.p, path.n);
    int fd = name ? os->open(name, O_RDONLY | O_NONBLOCK, 0) : TARE_ENOMEM, rc = fd < 0 ? fd : 0;
    for (uint32_t i = h->first; i < spec->n_parts && !rc; i += ARTIFACT_HASHERS) {
        uint64_t at = i * spec->part_bytes, left = spec->stamp.size - at;
        rc = spec_md5(fd, at, left < spec->part_bytes ? left : spec->part_bytes, spec->parts[i].md5);
    }
    if (fd >= 0)
        os->close(fd);
    return rc;
}

static void hash_run(struct work *w)
{
    struct hasher *h = OF(w, hasher, work);
    for (uint32_t i = 0; i < h->group->n && !h->error; i++)
        if (h->group->specs[i].n_parts > 0)
            h->error = hash_parts(h, &h->group->specs[i]);
}

static void hash_done(struct work *w)
{
    struct hasher *h = OF(w, hasher, work);
    struct file_group *g = h->group;
    for (uint32_t i = 0; h->error && i < g->n; i++)
        if (g->specs[i].n_parts > 0)
            g->specs[i].error = h->error;
    if (--g->n_hashing == 0)
        ask_or_end(g);
}

static void look_done(struct work *w)
{
    struct file_group *g = OF(w, file_group, work);
    uint32_t n_large = 0;
    for (uint32_t i = 0; i < g->n; i++)
        n_large += g->specs[i].n_parts > 0;
    if (n_large == 0 || g->save->files.over) {
        ask_or_end(g);
        return;
    }
    g->hashers = xmem_calloc(ARTIFACT_HASHERS, sizeof *g->hashers);
    for (uint32_t i = 0; i < ARTIFACT_HASHERS; i++) {
        struct hasher *h = &g->hashers[i];
        *h = (struct hasher){.work = {.run = hash_run, .done = hash_done}, .group = g, .first = i};
        g->n_hashing++;
        work_start(g->save->owner->loop, &h->work);
    }
}

/* Large files go alone: their parts are hashed first. */
static void begin_group(struct save *s)
{
    struct save_files *f = &s->files;
    struct file_group *g = xmem_calloc(1, sizeof *g);
    g->save = s;
    while (g->n < ARTIFACT_GROUP && f->at_todo < f->n_todo) {
        uint32_t entry = f->todo[f->at_todo];
        bool is_large = s->manifest.entries[entry].size >= (int64_t)MULTIPART_BYTES;
        if (is_large && g->n > 0)
            break;
        g->specs[g->n++].entry = entry;
        f->at_todo++;
        if (is_large)
            break;
    }
    DL_APPEND(f->groups, g);
    f->n_groups++;
    g->work.run = look_run;
    g->work.done = look_done;
    work_start(s->owner->loop, &g->work);
}

/* ---- rounds ---- */

static void end_round(struct save *s)
{
    struct save_files *f = &s->files;
    f->is_ended = f->over || f->n_again == 0 || f->n_again > f->n_round / 2;
    if (f->over) {
        save_fail(s, s->err.code ? s->err.code : TARE_ECANCELLED, "%s", s->err.text);
    } else if (f->n_again == 0) {
        s->err = (struct err){0};
        save_go(s, SAVE_RESOLVING);
    } else if (f->n_again > f->n_round / 2) {
        save_fail(s, s->err.code, "ArtifactSaver.uploadFiles: most remaining uploads (%zu/%zu) have failed, giving up: %s",
                  f->n_again, f->n_round, s->err.text);
    } else {
        uint32_t *done = f->todo;
        diag_warn("artifact %s: %zu files failed to upload, once more", s->name, f->n_again);
        f->todo = f->again;
        f->again = done;
        f->n_round = f->n_todo = f->n_again;
        f->at_todo = f->n_again = 0;
        files_pump(s);
    }
}

void files_pump(struct save *s)
{
    struct save_files *f = &s->files;
    if (f->is_ended)
        return;
    if (!artifacts_are_wanted(s->owner))
        f->over = true;
    while (!f->over && f->at_todo < f->n_todo && f->n_groups < ARTIFACT_GROUPS && f->n_moving < ARTIFACT_AHEAD)
        begin_group(s);
    if (f->n_groups > 0 || f->n_moving > 0 || f->uploads)
        return;
    if (f->over || f->at_todo == f->n_todo)
        end_round(s);
}

void save_files_begin(struct save *s)
{
    struct save_files *f = &s->files;
    f->todo = mem_calloc(s->manifest.n + 1, sizeof *f->todo);
    f->again = mem_calloc(s->manifest.n + 1, sizeof *f->again);
    if (!f->todo || !f->again || s->manifest.n > UINT32_MAX) {
        save_fail(s, TARE_ENOMEM, "ArtifactSaver.uploadFiles: out of memory");
        return;
    }
    for (size_t i = 0; i < s->manifest.n; i++)
        if (s->manifest.entries[i].local_path.n > 0)
            f->todo[f->n_todo++] = (uint32_t)i;
    f->n_round = f->n_files = f->n_todo;
    files_pump(s);
}

void save_files_cancel(struct save *s)
{
    struct save_files *f = &s->files;
    struct file_group *g;
    struct art_upload *u;
    struct multipart *m;
    f->over = true;
    DL_FOREACH (f->groups, g)
        if (g->is_calling)
            graphql_cancel(s->owner->backend, &g->call);
    DL_FOREACH (f->uploads, u)
        transfer_cancel(&u->transfer);
    DL_FOREACH (f->multiparts, m)
        if (m->is_calling)
            graphql_cancel(s->owner->backend, &m->call);
}

void save_files_fini(struct save *s)
{
    mem_free(s->files.todo);
    mem_free(s->files.again);
}

int save_files_operations(const struct save *s, struct buf *to, int room)
{
    const struct art_upload *u;
    DL_FOREACH (s->files.uploads, u) {
        if (room-- <= 0)
            break;
        const struct transfer *t = &u->transfer;
        AUTO_BUF text = {0};
        size_t mark = wire_buf_begin(to, OP_SUBTASKS);
        buf_put_str(&text, s->manifest.entries[u->entry].path);
        if (u->of)
            buf_printf(&text, " (%u/%u)", u->part + 1, u->of->spec.n_parts);
        wire_buf_bytes(to, OP_DESC, buf_str(&text));
        wire_buf_double(to, OP_RUNTIME, (double)(clock_mono_ns() - t->began_ns) / 1e9);
        if (t->why[0])
            wire_buf_bytes(to, OP_ERROR, str_of(t->why));
        wire_buf_end(to, mark);
    }
    return 0;
}
