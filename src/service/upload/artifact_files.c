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
#include "service/upload/artifact_impl.h"

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
static const char complete_multipart[] =
    "mutation CompleteMultipartUploadArtifact($completeMultipartAction: CompleteMultipartAction!,"
    " $completedParts: [UploadPartsInput!]!, $artifactID: ID!, $storagePath: String!, $uploadID: String!) {"
    " completeMultipartUploadArtifact(input: {completeMultipartAction: $completeMultipartAction,"
    " completedParts: $completedParts, artifactID: $artifactID, storagePath: $storagePath,"
    " uploadID: $uploadID}) { digest } }";

struct part {
    uint8_t md5[MD5_BYTES];
    char *url, *etag;
};

/* What is known of a file before it is asked for. */
struct spec {
    uint32_t entry;
    int error;
    struct file_stamp stamp;
    char md5[28];      /* base64, where the entry's digest is another */
    uint64_t part_bytes;
    uint32_t n_parts;  /* 0: in one */
    struct part *parts;
};

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

struct art_upload {
    struct art_upload *prev, *next;
    struct save *save;
    struct transfer transfer;
    struct multipart *of; /* NULL: the whole file */
    uint32_t entry, part;
    struct file_stamp stamp;
    char *path, *url;
    struct buf headers;
    uint64_t sent, total;
};

struct multipart {
    struct multipart *prev, *next;
    struct save *save;
    struct spec spec;
    char *storage_path, *upload_id, *birth_id, *content_type;
    bool is_resumable; /* each of its parts */
    uint32_t n_begun, n_done, n_moving;
    bool failed, is_calling;
    struct buf variables;
    struct graphql_call call;
};

static void pump(struct save *s);
static void go_on(struct multipart *m);

/* ---- one file is over ---- */

static void file_done(struct save *s, uint32_t entry, int error, const char *why)
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

static void free_spec(struct spec *spec)
{
    for (uint32_t i = 0; i < spec->n_parts; i++) {
        mem_free(spec->parts[i].url);
        mem_free(spec->parts[i].etag);
    }
    mem_free(spec->parts);
    spec->parts = NULL;
    spec->n_parts = 0;
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

static void part_over(struct art_upload *u);

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
        go_on(of);
    else
        pump(s);
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
        part_over(u);
    } else {
        s->files.n_moving--;
        file_done(s, u->entry, t->error, t->why);
    }
    DL_DELETE(s->files.uploads, u);
    transfer_close(t, on_upload_closed);
}

static struct art_upload *new_upload(struct save *s, const struct spec *spec, char *url)
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
    struct art_upload *u = new_upload(s, spec, url);
    transfer_put_headers(&u->headers, headers);
    u->transfer.headers = buf_z(&u->headers);
    s->files.n_moving++;
    transfer_start(&u->transfer);
}

/* ---- files in parts ---- */

static void end_multipart(struct multipart *m, int error, const char *why)
{
    struct save *s = m->save;
    file_done(s, m->spec.entry, error, why);
    s->files.n_moving--;
    DL_DELETE(s->files.multiparts, m);
    free_spec(&m->spec);
    buf_fini(&m->variables);
    graphql_call_fini(&m->call);
    mem_free(m->storage_path);
    mem_free(m->upload_id);
    mem_free(m->birth_id);
    mem_free(m->content_type);
    mem_free(m);
    pump(s);
}

static void on_completed(struct graphql_call *call)
{
    struct multipart *m = OF(call, multipart, call);
    m->is_calling = false;
    end_multipart(m, call->error, call->why);
}

static void put(struct buf *v, const char *before, struct str text)
{
    buf_puts(v, before);
    json_put_string(v, text);
}

static void complete(struct multipart *m)
{
    struct buf *v = &m->variables;
    buf_puts(v, "{\"completeMultipartAction\":\"Complete\",\"completedParts\":[");
    for (uint32_t i = 0; i < m->spec.n_parts; i++) {
        buf_printf(v, "%s{\"partNumber\":%u", i ? "," : "", i + 1);
        put(v, ",\"hexMD5\":", str_of(m->spec.parts[i].etag));
        buf_putc(v, '}');
    }
    put(v, "],\"artifactID\":", str_of(m->birth_id));
    put(v, ",\"storagePath\":", str_of(m->storage_path));
    put(v, ",\"uploadID\":", str_of(m->upload_id));
    buf_putc(v, '}');
    m->call = (struct graphql_call){.operation = "CompleteMultipartUploadArtifact",
                                    .document = complete_multipart,
                                    .variables = buf_str(v),
                                    .done = on_completed};
    m->is_calling = true;
    graphql_send(m->save->owner->backend, &m->call);
}

static void part_over(struct art_upload *u)
{
    struct multipart *m = u->of;
    struct transfer *t = &u->transfer;
    struct str etag = t->error ? (struct str){0} : http_answer_header(&t->http, "etag");
    m->n_moving--;
    m->n_done++;
    if (etag.n > 0) {
        m->spec.parts[u->part].etag = xmem_strndup(etag.p, etag.n);
    } else if (!m->failed) {
        m->failed = true;
        diag_warn("artifact %s: part %u of %s: %s", m->save->name, u->part + 1, u->path,
                  t->error ? t->why : "no ETag in the answer");
    }
}

static void start_part(struct multipart *m)
{
    struct spec *spec = &m->spec;
    struct part *part = &spec->parts[m->n_begun];
    struct art_upload *u = new_upload(m->save, spec, part->url);
    char base64[28];
    part->url = NULL;
    u->of = m;
    u->part = m->n_begun++;
    m->n_moving++;
    u->transfer.part_at = u->part * spec->part_bytes;
    uint64_t left = spec->stamp.size - u->transfer.part_at;
    u->transfer.part_bytes = left < spec->part_bytes ? left : spec->part_bytes;
    digest_base64(base64, part->md5, MD5_BYTES);
    buf_printf(&u->headers, "Content-Md5: %s\nContent-Type: %s\n%s", base64, m->content_type,
               m->is_resumable ? TRANSFER_RESUMABLE ": 1\n" : "");
    u->transfer.headers = buf_z(&u->headers);
    transfer_start(&u->transfer);
}

static void go_on(struct multipart *m)
{
    bool stop = m->failed || m->save->files.over;
    while (!stop && m->n_moving < ARTIFACT_PARTS && m->n_begun < m->spec.n_parts)
        start_part(m);
    if (m->n_moving > 0 || m->is_calling)
        return;
    if (stop)
        end_multipart(m, TARE_EIO, "a part of it could not be uploaded");
    else if (m->n_done == m->spec.n_parts)
        complete(m);
}

/* The server's headers name the type of the whole. */
static void take_headers(struct multipart *m, struct str headers)
{
    AUTO_BUF all = {0};
    transfer_put_headers(&all, headers);
    const char *text = buf_z(&all);
    const char *at = text ? strstr(text, "Content-Type: ") : NULL;
    m->content_type = at ? xmem_strndup(at + 14, strcspn(at + 14, "\n")) : xmem_strdup("");
    m->is_resumable = transfer_has_header(text, TRANSFER_RESUMABLE);
}

static bool take_part_urls(struct multipart *m, struct str list)
{
    const char *at = list.p + 1, *end = list.p + list.n;
    struct json_item item;
    uint32_t i = 0;
    while (list.n > 0 && list.p[0] == '[' && i < m->spec.n_parts && json_next_element(&at, end, &item) == 1) {
        m->spec.parts[i].url = json_string_at(item.value, "uploadUrl");
        if (!m->spec.parts[i++].url)
            return false;
    }
    return i == m->spec.n_parts;
}

static void start_multipart(struct save *s, struct spec *spec, struct str node)
{
    struct multipart *m = xmem_calloc(1, sizeof *m);
    m->save = s;
    m->spec = *spec;
    spec->parts = NULL;
    spec->n_parts = 0;
    m->storage_path = json_string_at(node, "storagePath");
    m->birth_id = json_string_at(node, "artifact.id");
    m->upload_id = json_string_at(node, "uploadMultipartUrls.uploadID");
    take_headers(m, json_at(node, "uploadHeaders"));
    DL_APPEND(s->files.multiparts, m);
    s->files.n_moving++;
    if (!m->storage_path || !m->upload_id || !take_part_urls(m, json_at(node, "uploadMultipartUrls.uploadUrlParts")))
        end_multipart(m, TARE_EPROTO, "the backend gave no places for its parts");
    else
        go_on(m);
}

/* ---- URLs ---- */

static void end_group(struct file_group *g)
{
    struct save *s = g->save;
    DL_DELETE(s->files.groups, g);
    s->files.n_groups--;
    for (uint32_t i = 0; i < g->n; i++)
        free_spec(&g->specs[i]);
    mem_free(g->hashers);
    buf_fini(&g->variables);
    graphql_call_fini(&g->call);
    mem_free(g);
    pump(s);
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
    artifacts_count_file(s->owner);
    if (spec->n_parts > 0 && json_at(node, "uploadMultipartUrls").n > 0) {
        mem_free(url);
        start_multipart(s, spec, node);
    } else if (url) {
        start_upload(s, spec, url, json_at(node, "uploadHeaders"));
    } else { /* the backend has it already */
        s->owner->progress.deduped_bytes += spec->stamp.size;
        file_done(s, spec->entry, 0, "");
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

static int md5_of(int fd, uint64_t at, uint64_t n, uint8_t md5[MD5_BYTES])
{
    enum { BLOCK = 256 * 1024 };
    AUTO_FREE char *block = mem_alloc(BLOCK);
    struct digest d;
    md5_init(&d);
    while (block && n > 0) {
        ssize_t got = os->pread(fd, block, n < BLOCK ? (size_t)n : BLOCK, (off_t)at);
        if (got <= 0)
            return got < 0 ? (int)got : UV_EOF;
        md5_add(&d, block, (size_t)got);
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    md5_end(&d, md5);
    return block ? 0 : TARE_ENOMEM;
}

/* Parts of 100 MiB, larger ones where there would be more than 10,000: what S3 takes. */
static uint64_t part_size(uint64_t file_bytes)
{
    enum { PAGE = 4096 };
    if (file_bytes < MULTIPART_PART_BYTES * MULTIPART_MAX_PARTS)
        return MULTIPART_PART_BYTES;
    uint64_t n = (file_bytes + MULTIPART_MAX_PARTS - 1) / MULTIPART_MAX_PARTS;
    return (n + PAGE - 1) / PAGE * PAGE;
}

static int measure(struct spec *spec, int fd, bool is_xxh128)
{
    struct stat st;
    uint8_t md5[MD5_BYTES];
    int rc = os->fstat(fd, &st);
    if (rc)
        return rc;
    spec->stamp = file_stamp_of(&st);
    uint64_t size = spec->stamp.size;
    if (S_ISDIR(st.st_mode))
        return UV_EISDIR;
    if (size > MULTIPART_MAX_BYTES)
        return TARE_ELIMIT;
    if (size < MULTIPART_BYTES) {
        rc = is_xxh128 ? md5_of(fd, 0, size, md5) : 0;
        if (is_xxh128)
            digest_base64(spec->md5, md5, MD5_BYTES);
        return rc;
    }
    spec->part_bytes = part_size(size);
    uint32_t n = (uint32_t)((size + spec->part_bytes - 1) / spec->part_bytes);
    spec->parts = mem_calloc(n, sizeof *spec->parts);
    if (!spec->parts)
        return TARE_ENOMEM;
    spec->n_parts = n;
    return 0;
}

static void look_run(struct work *w)
{
    struct file_group *g = OF(w, file_group, work);
    for (uint32_t i = 0; i < g->n; i++) {
        struct spec *spec = &g->specs[i];
        struct str path = g->save->manifest.entries[spec->entry].local_path;
        AUTO_FREE char *name = mem_strndup(path.p, path.n);
        int fd = name ? os->open(name, O_RDONLY | O_NONBLOCK, 0) : TARE_ENOMEM;
        spec->error = fd < 0 ? fd : measure(spec, fd, g->save->is_xxh128);
        if (fd >= 0)
            os->close(fd);
    }
}

static void ask_or_end(struct file_group *g)
{
    struct save *s = g->save;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->specs[i].error)
            file_done(s, g->specs[i].entry, g->specs[i].error, err_text(g->specs[i].error));
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
        rc = md5_of(fd, at, left < spec->part_bytes ? left : spec->part_bytes, spec->parts[i].md5);
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
        pump(s);
    }
}

static void pump(struct save *s)
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
    pump(s);
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
