/* SPDX-License-Identifier: MIT */
/* A batch of files: are they there, and not up already; where may they go; there they go.
 *
 *   look (worker) ─► CreateRunFiles ─► a transfer each
 *
 * One batch is prepared at a time, and none while many transfers wait: so URLs are fresh when they
 * are used and memory does not grow with the number of files. */
#include "service/upload/file_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "base/path.h"
#include "service/limits.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <utlist.h>

#define OF(p, type, member) ((struct type *)((char *)(p) - offsetof(struct type, member)))

/* (peer: core/api/graphql/mutation_create_run_files.graphql) */
static const char create_run_files[] =
    "mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {"
    " createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files})"
    " { runID uploadHeaders files { name uploadUrl } } }";

struct look { /* at one file */
    struct file *file;
    char *full_path;
    int error;
    struct file_stamp stamp;
};

struct file_batch {
    struct files *owner;
    struct look looks[FILES_BATCH];
    int n;
    bool is_calling;
    struct work work;
    struct graphql_call call;
    struct buf variables;
};

/* ---- the end of a batch ---- */

static bool is_wanted(const struct files *f)
{
    return !f->is_freed && !f->aborted;
}

/* Its file does not go up this time. */
static void drop(struct files *f, struct file *file)
{
    file->place = QUIET;
    if (file->again && is_wanted(f))
        file_gather(f, file);
}

static void end_batch(struct file_batch *b)
{
    struct files *f = b->owner;
    for (int i = 0; i < b->n; i++) {
        if (b->looks[i].file->place == ASKED)
            drop(f, b->looks[i].file);
        mem_free(b->looks[i].full_path);
    }
    buf_fini(&b->variables);
    graphql_call_fini(&b->call);
    mem_free(b);
    f->batch = NULL;
    if (!f->is_freed)
        files_look(f);
    file_free_later(f);
}

/* ---- transfers ---- */

static void free_upload(struct transfer *t)
{
    struct upload *u = OF(t, upload, transfer);
    struct files *f = u->file->owner;
    if (--u->headers->n_users == 0) {
        buf_fini(&u->headers->text);
        mem_free(u->headers);
    }
    mem_free(u->url);
    mem_free(u->full_path);
    mem_free(u);
    file_free_later(f);
}

static void on_moved(struct transfer *t)
{
    struct upload *u = OF(t, upload, transfer);
    struct file *file = u->file;
    struct files_progress *p = &file->owner->progress;
    p->uploaded_bytes += t->sent - file->sent;
    p->total_bytes += t->total - file->total;
    file->sent = t->sent;
    file->total = t->total;
    if (file->was_counted)
        return;
    file->was_counted = true;
    uint32_t *counts[] = {[FILE_OTHER] = &p->n_other, [FILE_WANDB] = &p->n_wandb,
                          [FILE_MEDIA] = &p->n_media, [FILE_ARTIFACT] = &p->n_artifact};
    ++*counts[file->kind];
}

/* A URL may have run out of time; another is asked for. */
static bool may_ask_again(const struct transfer *t)
{
    return t->error == TARE_EPROTO && t->status >= 400 && t->status < 500;
}

static void on_uploaded(struct files *f, struct file *file, const struct transfer *t)
{
    file->is_up = true;
    file->up = t->stamp;
    file->n_urls = 0;
    if (!file->is_writing)
        buf_fini(&file->bytes);
    f->owner.uploaded(f->owner.ctx, file->path);
    if (!t->has_changed || (file->live && !f->finishing)) {
        file->n_changes = 0;
    } else if (file->n_changes++ < FILE_CHANGES) {
        file->again = true;
    } else {
        diag_warn("%s changes all the time: what is up may be torn", file->path);
    }
}

static void on_done(struct transfer *t)
{
    struct upload *u = OF(t, upload, transfer);
    struct file *file = u->file;
    struct files *f = file->owner;
    on_moved(t);
    file->place = QUIET;
    DL_DELETE(f->uploads, u);
    f->n_uploads--;
    if (t->error == 0)
        on_uploaded(f, file, t);
    else if (may_ask_again(t) && file->n_urls++ < FILE_URLS)
        file->again = true;
    else if (t->error != TARE_ECANCELLED)
        file_failed(f, file, t->error, t->why);
    if (file->again && is_wanted(f))
        file_gather(f, file);
    transfer_close(t, free_upload);
    if (!f->is_freed)
        files_look(f);
}

static void start_upload(struct files *f, struct look *l, char *url, struct file_headers *headers)
{
    struct upload *u = xmem_calloc(1, sizeof *u);
    u->file = l->file;
    u->url = url;
    u->headers = headers;
    headers->n_users++;
    u->full_path = l->full_path;
    l->full_path = NULL;
    u->transfer = (struct transfer){.backend = f->backend,
                                    .loop = f->loop,
                                    .policy = &f->policy,
                                    .path = u->full_path,
                                    .url = u->url,
                                    .headers = buf_z(&headers->text),
                                    .moved = on_moved,
                                    .done = on_done};
    if (l->error) { /* it could not be written: from memory */
        u->transfer.path = NULL;
        u->transfer.body = buf_str(&l->file->bytes);
    }
    l->file->place = MOVING;
    DL_APPEND(f->uploads, u);
    f->n_uploads++;
    f->n_open++;
    transfer_start(&u->transfer);
}

/* ---- URLs ---- */

static struct look *find(struct file_batch *b, const char *name)
{
    struct file *file;
    HASH_FIND_STR(b->owner->known, name, file);
    for (int i = 0; file && file->place == ASKED && i < b->n; i++)
        if (b->looks[i].file == file)
            return &b->looks[i];
    return NULL;
}

static void take_urls(struct file_batch *b)
{
    struct files *f = b->owner;
    struct file_headers *headers = xmem_calloc(1, sizeof *headers);
    headers->n_users = 1;
    transfer_put_headers(&headers->text, json_at(b->call.data, "createRunFiles.uploadHeaders"));
    buf_z(&headers->text);
    struct str list = json_at(b->call.data, "createRunFiles.files");
    const char *at = list.p + (list.n > 0), *end = list.p + list.n;
    struct json_item item;
    while (list.n > 0 && list.p[0] == '[' && json_next_element(&at, end, &item) == 1) {
        AUTO_FREE char *name = json_string_at(item.value, "name");
        char *url = json_string_at(item.value, "uploadUrl");
        struct look *l = name && url ? find(b, name) : NULL;
        if (l)
            start_upload(f, l, url, headers);
        else
            mem_free(url);
    }
    if (--headers->n_users == 0) {
        buf_fini(&headers->text);
        mem_free(headers);
    }
}

static void fail_all(struct file_batch *b, int error, const char *why)
{
    for (int i = 0; i < b->n; i++)
        if (b->looks[i].file->place == ASKED)
            file_failed(b->owner, b->looks[i].file, error, why);
}

static void on_urls(struct graphql_call *call)
{
    struct file_batch *b = OF(call, file_batch, call);
    b->is_calling = false;
    if (is_wanted(b->owner)) {
        if (call->error == 0)
            take_urls(b);
        fail_all(b, call->error ? call->error : TARE_EPROTO,
                 call->error ? call->why : "the backend gave no place for it");
    }
    end_batch(b);
}

static void ask_urls(struct file_batch *b)
{
    struct files *f = b->owner;
    struct buf *v = &b->variables;
    buf_puts(v, "{\"entity\":");
    json_put_string(v, str_of(f->entity));
    buf_puts(v, ",\"project\":");
    json_put_string(v, str_of(f->project));
    buf_puts(v, ",\"run\":");
    json_put_string(v, str_of(f->run_id));
    buf_puts(v, ",\"files\":[");
    const char *sep = "";
    for (int i = 0; i < b->n; i++) {
        if (b->looks[i].file->place != ASKED)
            continue;
        buf_puts(v, sep);
        json_put_string(v, str_of(b->looks[i].file->path));
        sep = ",";
    }
    buf_puts(v, "]}");
    b->call = (struct graphql_call){.operation = "CreateRunFiles", .document = create_run_files,
                                    .variables = buf_str(v), .done = on_urls};
    b->is_calling = true;
    graphql_send(f->backend, &b->call);
}

/* ---- looking ---- */

static void look_run(struct work *w)
{
    struct file_batch *b = OF(w, file_batch, work);
    for (int i = 0; i < b->n; i++) {
        struct stat st;
        struct look *l = &b->looks[i];
        l->error = stat(l->full_path, &st) ? -errno : S_ISDIR(st.st_mode) ? UV_EISDIR : 0;
        if (!l->error)
            l->stamp = file_stamp_of(&st);
    }
}

/* True if it is to go up; else it is dropped. A folder that a pattern matches is no file. */
static bool is_due(struct files *f, struct look *l)
{
    bool has_bytes = l->file->bytes.len > 0;
    if (l->error == UV_EISDIR && !has_bytes)
        ;
    else if (l->error && !has_bytes)
        file_failed(f, l->file, l->error, err_text(l->error));
    else if (l->error || !l->file->is_up || !file_stamp_eq(&l->stamp, &l->file->up))
        return true;
    drop(f, l->file);
    return false;
}

static void look_done(struct work *w)
{
    struct file_batch *b = OF(w, file_batch, work);
    int n_due = 0;
    for (int i = 0; i < b->n && is_wanted(b->owner); i++)
        n_due += is_due(b->owner, &b->looks[i]);
    if (n_due > 0 && is_wanted(b->owner))
        ask_urls(b);
    else
        end_batch(b);
}

void file_batch_begin(struct files *f)
{
    if (f->batch || !f->gathered || f->n_uploads >= FILES_AHEAD)
        return;
    struct file_batch *b = xmem_calloc(1, sizeof *b);
    struct file *file, *next;
    b->owner = f;
    DL_FOREACH_SAFE (f->gathered, file, next) {
        if (b->n == FILES_BATCH)
            break;
        if (file->is_writing)
            continue;
        DL_DELETE(f->gathered, file);
        file->place = ASKED;
        file->again = false;
        b->looks[b->n++] = (struct look){.file = file, .full_path = path_join(f->dir, file->path)};
    }
    if (b->n == 0) {
        mem_free(b);
        return;
    }
    f->batch = b;
    f->n_open++;
    b->work.run = look_run;
    b->work.done = look_done;
    work_start(f->loop, &b->work);
}

void file_batch_cancel(struct files *f)
{
    if (f->batch && f->batch->is_calling)
        graphql_cancel(f->backend, &f->batch->call);
}

void file_uploads_cancel(struct files *f)
{
    struct upload *u, *next;
    DL_FOREACH_SAFE (f->uploads, u, next)
        transfer_cancel(&u->transfer);
}

void file_uploads_close(struct files *f)
{
    struct upload *u, *next;
    DL_FOREACH_SAFE (f->uploads, u, next)
        transfer_close(&u->transfer, free_upload);
    f->uploads = NULL;
}
