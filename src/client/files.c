/* SPDX-License-Identifier: MIT */
/* The payload of an entry is a list of texts, each with its length (u32) before it.
 *
 * An artifact's manifest is the SDK's (sdk/artifacts/artifact_manifests/artifact_manifest_v1.py):
 * an entry's digest is the base64 of the file's MD5 (of a reference: its URL), the artifact's the
 * hex MD5 of "wandb-artifact-manifest-v1\n" and a line "PATH:DIGEST\n" for each entry in order of
 * paths. Files are copied to artifacts/N/ in the run's folder, since the upload comes later. */
#include "client/files.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "client/courier.h"
#include "client/last_error.h"
#include "client/media.h"
#include "client/message.h"
#include "record/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COPY_BYTES = 256 << 10 };

static void pack_text(struct buf *b, const char *text)
{
    uint32_t n = text ? (uint32_t)strlen(text) : 0;
    buf_append(b, &n, sizeof n);
    buf_append(b, text, n);
}

static void pack_u32(struct buf *b, size_t v)
{
    uint32_t u = (uint32_t)v;
    buf_append(b, &u, sizeof u);
}

static int packed(const struct buf *b)
{
    return b->failed ? last_error_set(TARE_ENOMEM, "out of memory") : 0;
}

int files_pack_save(struct buf *b, const char *path, const char *name, enum tare_policy policy)
{
    if (!path || !*path)
        return last_error_set(TARE_EINVAL, "tare_save: no path");
    if (name && !path_is_safe(str_of(name)))
        return last_error_set(TARE_EINVAL, "tare_save: the name '%.200s' leaves the folder", name);
    char *real = realpath(path, NULL);
    if (!real)
        return last_error_set(errno == ENOENT ? TARE_ENOTFOUND : TARE_EIO, "%.300s: %s", path,
                              strerror(errno));
    struct str base = path_base(str_of(path));
    AUTO_FREE char *last = mem_strndup(base.p, base.n);
    pack_u32(b, (size_t)policy);
    pack_text(b, real);
    pack_text(b, name ? name : last);
    free(real);
    return packed(b);
}

static int check_artifact(const struct tare_artifact *a)
{
    if (!a || !a->name || !*a->name || !a->type || !*a->type)
        return last_error_set(TARE_EINVAL, "tare_log_artifact: it needs a name and a type");
    if (a->metadata && !json_valid(str_of(a->metadata)))
        return last_error_set(TARE_EFORMAT, "tare_log_artifact: the metadata is not JSON");
    for (size_t i = 0; i < a->n_files; i++) {
        const struct tare_artifact_file *f = &a->files[i];
        if (!f->path || !*f->path)
            return last_error_set(TARE_EINVAL, "tare_log_artifact: a file has no path");
        if (f->name && !path_is_safe(str_of(f->name)))
            return last_error_set(TARE_EINVAL, "tare_log_artifact: the name '%.200s' leaves the "
                                               "artifact", f->name);
        if (!f->reference && access(f->path, R_OK) != 0)
            return last_error_set(errno == ENOENT ? TARE_ENOTFOUND : TARE_EIO, "%.300s: %s",
                                  f->path, strerror(errno));
    }
    return 0;
}

int files_pack_artifact(struct buf *b, const struct tare_artifact *a)
{
    int rc = check_artifact(a);
    if (rc)
        return rc;
    pack_text(b, a->name);
    pack_text(b, a->type);
    pack_text(b, a->description);
    pack_text(b, a->metadata);
    pack_u32(b, a->aliases ? a->n_aliases : 1);
    for (size_t i = 0; i < (a->aliases ? a->n_aliases : 1); i++)
        pack_text(b, a->aliases ? a->aliases[i] : "latest");
    pack_u32(b, a->n_files);
    for (size_t i = 0; i < a->n_files; i++) {
        const struct tare_artifact_file *f = &a->files[i];
        struct str base = path_base(str_of(f->path));
        AUTO_FREE char *last = mem_strndup(base.p, base.n);
        char *real = f->reference ? NULL : realpath(f->path, NULL);
        pack_u32(b, f->reference != 0);
        pack_text(b, real ? real : f->path);
        pack_text(b, f->name ? f->name : last);
        free(real);
    }
    return packed(b);
}

/* ---- the courier's side ---- */

static uint32_t take_u32(const char **at)
{
    uint32_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return v;
}

/* A text as a string of its own; NULL when out of memory. */
static char *take_text(const char **at)
{
    uint32_t n = take_u32(at);
    char *text = mem_strndup(*at, n);
    *at += n;
    return text;
}

static int make_parent(const char *path)
{
    struct str dir = path_dir(str_of(path));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    return folder ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
}

/* Copy a file, feeding its bytes to `md5` (may be NULL). */
static int copy_file(const char *from, const char *to, struct digest *md5, uint64_t *size)
{
    AUTO_FREE char *bytes = mem_alloc(COPY_BYTES);
    int rc = bytes ? make_parent(to) : TARE_ENOMEM;
    if (rc)
        return rc;
    int in = os->open(from, O_RDONLY, 0);
    if (in < 0)
        return in;
    int out = os->open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ssize_t n = out < 0 ? out : 0;
    *size = 0;
    while (out >= 0 && (n = os->read(in, bytes, COPY_BYTES)) > 0) {
        rc = os_write_all(out, bytes, (size_t)n, NULL);
        if (rc)
            break;
        if (md5)
            md5_add(md5, bytes, (size_t)n);
        *size += (uint64_t)n;
    }
    os->close(in);
    if (out >= 0)
        os->close(out);
    return rc ? rc : n < 0 ? (int)n : 0;
}

/* Put a link (or for policy NOW a copy) of the file into the run's files. */
static int place(const char *path, const char *to, int policy)
{
    uint64_t size;
    char *there = realpath(to, NULL);
    bool same = there && strcmp(there, path) == 0;
    free(there);
    if (same)
        return 0;
    int rc = make_parent(to);
    if (rc)
        return rc;
    os->unlink(to);
    rc = policy == TARE_FILE_NOW ? -1 : os->symlink(path, to);
    return rc ? copy_file(path, to, NULL, &size) : 0;
}

void files_save(struct manager *m, struct tare_run *run, const char *payload, size_t n)
{
    (void)n;
    int policy = (int)take_u32(&payload);
    AUTO_FREE char *path = take_text(&payload);
    AUTO_FREE char *name = take_text(&payload);
    AUTO_FREE char *to = name && run->files_dir ? path_join(run->files_dir, name) : NULL;
    int rc = path && to ? 0 : TARE_ENOMEM;
    size_t inside = run->files_dir ? strlen(run->files_dir) : 0;
    if (rc == 0 && strncmp(path, run->files_dir, inside) == 0 && path[inside] == '/')
        rc = media_send_file(m, run, path + inside + 1, policy); /* it is there already */
    else if (rc == 0 && (rc = place(path, to, policy)) == 0)
        rc = media_send_file(m, run, name, policy);
    if (rc)
        manager_say(m, TARE_WARNING, "saving %s: %s", path ? path : "a file", err_text(rc));
}

struct entry {
    char *path, *name, *local;
    char digest[64];
    uint64_t size;
    bool reference;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int stage(struct entry *e, const char *folder)
{
    struct digest md5;
    uint8_t sum[MD5_BYTES];
    e->local = path_join(folder, e->name);
    if (!e->local)
        return TARE_ENOMEM;
    md5_init(&md5);
    int rc = copy_file(e->path, e->local, &md5, &e->size);
    if (rc)
        return rc;
    md5_end(&md5, sum);
    base64_text(e->digest, sum, sizeof sum);
    return 0;
}

static void put_manifest_entry(struct buf *b, const struct entry *e)
{
    size_t at = wire_buf_begin(b, 4);
    message_put_z(b, 1, e->name);
    message_put_z(b, 2, e->reference ? e->path : e->digest);
    if (e->reference)
        message_put_z(b, 3, e->path);
    if (e->size)
        wire_buf_varint(b, 4, e->size);
    message_put_z(b, 6, e->local);
    wire_buf_end(b, at);
}

static void put_manifest(struct buf *b, const struct entry *entries, size_t n)
{
    size_t manifest = wire_buf_begin(b, 12);
    wire_buf_varint(b, 1, 1);
    message_put_z(b, 2, "wandb-storage-policy-v1");
    size_t config = wire_buf_begin(b, 3);
    message_put_z(b, 1, "storageLayout");
    message_put_z(b, 2, "\"V2\"");
    wire_buf_end(b, config);
    for (size_t i = 0; i < n; i++)
        put_manifest_entry(b, &entries[i]);
    wire_buf_end(b, manifest);
}

static void digest_of(const struct entry *entries, size_t n, char hex[2 * MD5_BYTES + 1])
{
    static const char header[] = "wandb-artifact-manifest-v1\n";
    struct digest md5;
    uint8_t sum[MD5_BYTES];
    md5_init(&md5);
    md5_add(&md5, header, sizeof header - 1);
    for (size_t i = 0; i < n; i++) {
        const char *d = entries[i].reference ? entries[i].path : entries[i].digest;
        md5_add(&md5, entries[i].name, strlen(entries[i].name));
        md5_add(&md5, ":", 1);
        md5_add(&md5, d, strlen(d));
        md5_add(&md5, "\n", 1);
    }
    md5_end(&md5, sum);
    digest_hex(hex, sum, sizeof sum);
}

struct artifact {
    char *name, *type, *description, *metadata;
    const char *aliases; /* packed */
    struct entry *entries;
    size_t n;
};

static void put_artifact(struct buf *b, const struct tare_run *run, const struct artifact *a)
{
    char client_id[129], sequence_id[129], hex[2 * MD5_BYTES + 1];
    const char *at = a->aliases;
    random_id(client_id, 128);
    random_id(sequence_id, 128);
    digest_of(a->entries, a->n, hex);
    message_put_z(b, 1, run->id);
    message_put_z(b, 2, run->project);
    message_put_z(b, 3, run->entity);
    message_put_z(b, 4, a->type);
    message_put_z(b, 5, a->name);
    message_put_z(b, 6, hex);
    message_put_z(b, 7, a->description);
    message_put_z(b, 8, a->metadata);
    message_put_bool(b, 9, true); /* user_created */
    for (uint32_t i = take_u32(&at); i; i--) {
        AUTO_FREE char *alias = take_text(&at);
        message_put_z(b, 11, alias);
    }
    put_manifest(b, a->entries, a->n);
    message_put_bool(b, 14, true); /* finalize */
    message_put_z(b, 15, client_id);
    message_put_z(b, 16, sequence_id);
    message_put_z(b, 20, "MANIFEST_MD5");
}

/* Offline a record, which is kept; online a request, which uploads it now. */
static int send_artifact(struct manager *m, struct tare_run *run, const struct artifact *a,
                         const char *staging)
{
    AUTO_BUF b = {0};
    struct message msg;
    size_t request = 0, log = 0;
    bool keep = !run->online || m->local;
    message_open(&msg, &b);
    if (!keep) {
        request = wire_buf_begin(&b, RECORD_REQUEST);
        log = wire_buf_begin(&b, REQUEST_LOG_ARTIFACT);
    }
    size_t artifact = wire_buf_begin(&b, keep ? RECORD_ARTIFACT : 1);
    put_artifact(&b, run, a);
    wire_buf_end(&b, artifact);
    if (!keep) {
        message_put_z(&b, 3, staging);
        wire_buf_end(&b, log);
        wire_buf_end(&b, request);
    }
    message_close(&msg, run->id, NULL, !keep);
    return b.failed ? TARE_ENOMEM : courier_emit(m, run, buf_str(&b));
}

static int take_entries(struct artifact *a, const char **at, const char *folder)
{
    int rc = 0;
    a->n = take_u32(at);
    a->entries = mem_calloc(a->n + 1, sizeof *a->entries);
    if (!a->entries)
        return TARE_ENOMEM;
    for (size_t i = 0; i < a->n && rc == 0; i++) {
        struct entry *e = &a->entries[i];
        e->reference = take_u32(at) != 0;
        e->path = take_text(at);
        e->name = take_text(at);
        if (!e->path || !e->name)
            return TARE_ENOMEM;
        rc = e->reference ? 0 : stage(e, folder);
    }
    if (rc == 0)
        qsort(a->entries, a->n, sizeof *a->entries, by_name);
    return rc;
}

static void artifact_fini(struct artifact *a)
{
    for (size_t i = 0; a->entries && i < a->n; i++) {
        mem_free(a->entries[i].path);
        mem_free(a->entries[i].name);
        mem_free(a->entries[i].local);
    }
    mem_free(a->entries);
    mem_free(a->name);
    mem_free(a->type);
    mem_free(a->description);
    mem_free(a->metadata);
}

void files_artifact(struct manager *m, struct tare_run *run, const char *payload, size_t n)
{
    (void)n;
    struct artifact a = {0};
    char folder[PATH_MAX];
    a.name = take_text(&payload);
    a.type = take_text(&payload);
    a.description = take_text(&payload);
    a.metadata = take_text(&payload);
    a.aliases = payload;
    for (uint32_t i = take_u32(&payload); i; i--) {
        uint32_t len = take_u32(&payload);
        payload += len;
    }
    struct str dir = path_dir(str_of(run->files_dir));
    int len = snprintf(folder, sizeof folder, "%.*s/artifacts/%u", STR_ARG(dir),
                       run->n_artifacts++);
    int rc = len < (int)sizeof folder && run->files_dir[0] ? 0 : TARE_EUNSUPPORTED;
    if (rc == 0)
        rc = a.name && a.type ? take_entries(&a, &payload, folder) : TARE_ENOMEM;
    if (rc == 0)
        rc = send_artifact(m, run, &a, folder);
    if (rc)
        manager_say(m, TARE_ERROR, "the artifact %s was not logged: %s", a.name ? a.name : "",
                    err_text(rc));
    artifact_fini(&a);
}
