/* SPDX-License-Identifier: MIT */
/* A large file of an artifact in parts, each a transfer of its own: some at once, then the backend is told to join
 * them. A part that fails for good ends the file's upload; when it is asked for again, a backend that gives the same
 * upload (tare server) has the parts that came. (peer: core/pkg/artifacts/multipart.go) */
#include "service/upload/artifact_files.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/diag.h"
#include "base/json.h"
#include "service/limits.h"

#include <stddef.h>
#include <stdio.h>
#include <utlist.h>

#define OF(p, type, member) ((struct type *)((char *)(p) - offsetof(struct type, member)))

static const char complete_multipart[] =
    "mutation CompleteMultipartUploadArtifact($completeMultipartAction: CompleteMultipartAction!,"
    " $completedParts: [UploadPartsInput!]!, $artifactID: ID!, $storagePath: String!, $uploadID: String!) {"
    " completeMultipartUploadArtifact(input: {completeMultipartAction: $completeMultipartAction,"
    " completedParts: $completedParts, artifactID: $artifactID, storagePath: $storagePath,"
    " uploadID: $uploadID}) { digest } }";

static void end_multipart(struct multipart *m, int error, const char *why)
{
    struct save *s = m->save;
    files_one_done(s, m->spec.entry, error, why);
    s->files.n_moving--;
    DL_DELETE(s->files.multiparts, m);
    spec_fini(&m->spec);
    buf_fini(&m->variables);
    graphql_call_fini(&m->call);
    mem_free(m->storage_path);
    mem_free(m->upload_id);
    mem_free(m->birth_id);
    mem_free(m->content_type);
    mem_free(m);
    files_pump(s);
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

void parts_one_over(struct art_upload *u)
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
    struct art_upload *u = files_new_upload(m->save, spec, part->url);
    char base64[28];
    part->url = NULL;
    u->of = m;
    u->part = m->n_begun++;
    m->n_moving++;
    u->transfer.part_at = u->part * spec->part_bytes;
    uint64_t left = spec->stamp.size - u->transfer.part_at;
    u->transfer.part_bytes = left < spec->part_bytes ? left : spec->part_bytes;
    base64_text(base64, part->md5, MD5_BYTES);
    buf_printf(&u->headers, "Content-Md5: %s\nContent-Type: %s\n%s", base64, m->content_type,
               m->is_resumable ? TRANSFER_RESUMABLE ": 1\n" : "");
    u->transfer.headers = buf_z(&u->headers);
    transfer_start(&u->transfer);
}

void parts_go_on(struct multipart *m)
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

void parts_begin(struct save *s, struct spec *spec, struct str node)
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
        parts_go_on(m);
}
