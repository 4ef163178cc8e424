/* SPDX-License-Identifier: MIT */
#include "service/upload/job_impl.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/artifact_manifest.h"
#include "service/upload/job_types.h"
#include "service/upload/json_path.h"

#include <stdlib.h>
#include <unistd.h>

/* JobInputRequest, UseArtifactRecord: proto/request.proto, files.proto */
enum { INPUT_SOURCE = 1, SOURCE_FILE = 2, FILE_PATH = 1 };
enum { USE_ID = 1, USE_TYPE = 2, USE_PARTIAL = 4, PARTIAL_NAME = 1 };

/* ---- what the run tells ---- */

struct job *job_new(struct str settings)
{
    if (setting_wire_bool(settings, JOB_SET_DISABLED) || setting_wire_bool(settings, JOB_SET_NO_MACHINE))
        return NULL;
    struct job *j = xmem_calloc(1, sizeof *j);
    buf_put_str(&j->settings_kept, settings);
    j->settings = buf_str(&j->settings_kept);
    return j;
}

void job_free(struct job *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->n_inputs; i++) {
        mem_free(j->inputs[i].file);
        buf_fini(&j->inputs[i].request);
    }
    mem_free(j->inputs);
    buf_fini(&j->settings_kept);
    mem_free(j->partial_id);
    mem_free(j->code_id);
    mem_free(j->code_name);
    mem_free(j);
}

static bool is_there(struct str message, uint32_t field)
{
    struct wire_reader r = wire_open(message);
    for (struct wire_field f; wire_next(&r, &f) == 1;)
        if (f.number == field)
            return true;
    return false;
}

void job_use_artifact(struct job *j, struct str record)
{
    struct str id = wire_find_bytes(record, USE_ID);
    if (!j || !str_eqz(wire_find_bytes(record, USE_TYPE), "job"))
        return;
    if (wire_find_bytes(wire_find_bytes(record, USE_PARTIAL), PARTIAL_NAME).n == 0) {
        j->is_disabled = true; /* the job is known whole, or its name is not */
        return;
    }
    mem_free(j->partial_id);
    j->partial_id = xmem_strndup(id.n ? id.p : "", id.n);
}

void job_add_input(struct job *j, struct str request)
{
    struct str source = wire_find_bytes(request, INPUT_SOURCE);
    if (!j || j->n_inputs == JOB_INPUTS)
        return;
    j->inputs = xmem_realloc(j->inputs, (j->n_inputs + 1) * sizeof *j->inputs);
    struct job_input *input = &j->inputs[j->n_inputs++];
    *input = (struct job_input){0};
    if (is_there(source, SOURCE_FILE)) {
        struct str path = wire_find_bytes(wire_find_bytes(source, SOURCE_FILE), FILE_PATH);
        input->file = xmem_strndup(path.n ? path.p : "", path.n);
    }
    buf_put_str(&input->request, request);
}

void job_set_code(struct job *j, const char *id, const char *name)
{
    if (!j)
        return;
    mem_free(j->code_id);
    mem_free(j->code_name);
    j->code_id = xmem_strdup(id);
    j->code_name = xmem_strdup(name);
}

bool job_is_wanted(const struct job *j)
{
    return j && !j->is_disabled;
}

const char *job_partial_id(const struct job *j)
{
    return j->partial_id;
}

/* ---- the artifact ---- */

void job_safe_name(struct str name, struct buf *to)
{
    enum { LONGEST = 128, END = 63 };
    size_t mark = to->len;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.';
        if (safe || (c & 0xc0) != 0x80) /* one for each letter of UTF-8 */
            buf_putc(to, safe ? (char)c : '_');
    }
    size_t n = to->len - mark;
    if (n <= LONGEST || to->failed)
        return;
    memset(to->data + mark + END, '.', 2);
    memmove(to->data + mark + END + 2, to->data + mark + n - END, END);
    to->len = mark + LONGEST;
}

static int put_type_of_json(struct str json, struct buf *to, struct err *e)
{
    struct arena a;
    arena_init(&a, JOB_TREE_BYTES);
    struct job_value *v = job_value_of_json(&a, json);
    if (v)
        job_type_put(v, to);
    arena_fini(&a);
    return v ? 0 : err_set(e, TARE_EFORMAT, "the run's values are no JSON, or too many");
}

static int put_job_json(const struct job *j, const struct job_run *run, const struct job_source *source,
                        struct buf *to, struct err *e)
{
    AUTO_FREE char *python = json_string_at(run->metadata, "python");
    AUTO_BUF json = {0};
    buf_puts(&json, "{\"_version\":\"v0\",\"source\":");
    buf_put_str(&json, buf_str(&source->json));
    buf_printf(&json, ",\"source_type\":\"%s\",\"input_types\":", job_source_names[source->type]);
    int rc = put_type_of_json(j->n_inputs ? STR("{}") : run->config, &json, e);
    buf_puts(&json, ",\"output_types\":");
    if (rc == 0)
        rc = put_type_of_json(run->summary, &json, e);
    buf_puts(&json, ",\"runtime\":");
    json_put_string(&json, str_of(python));
    buf_putc(&json, '}');
    job_json_put_escaped(buf_str(&json), to);
    return rc;
}

/* Add a file's content as an entry of the manifest. */
static void add_entry(struct buf *manifest, const char *name, const char *path, struct str content)
{
    enum { CONTENTS = 4, PATH = 1, DIGEST = 2, SIZE = 4, LOCAL_PATH = 6 };
    struct digest d;
    uint8_t md5[MD5_BYTES];
    char text[(MD5_BYTES + 2) / 3 * 4 + 1];
    md5_init(&d);
    md5_add(&d, content.p, content.n);
    md5_end(&d, md5);
    base64_text(text, md5, sizeof md5);
    size_t mark = wire_buf_begin(manifest, CONTENTS);
    wire_buf_bytes(manifest, PATH, str_of(name));
    wire_buf_bytes(manifest, DIGEST, str_of(text));
    wire_buf_varint(manifest, SIZE, content.n);
    wire_buf_bytes(manifest, LOCAL_PATH, str_of(path));
    wire_buf_end(manifest, mark);
}

static int add_file(struct buf *manifest, const char *dir, const char *file, const char *name, struct err *e)
{
    AUTO_BUF content = {0};
    AUTO_FREE char *path = path_join(dir, file);
    int rc = os_read_file(path, JOB_FILE_BYTES, &content);
    if (rc)
        return err_set(e, rc, "%s: %s", path, err_text(rc));
    add_entry(manifest, name, path, buf_str(&content));
    return 0;
}

static int put_manifest(const struct job *j, const struct job_run *run, const struct job_source *source,
                        const char *folder, struct buf *to, struct err *e)
{
    enum { VERSION = 1, POLICY = 2, POLICY_CONFIG = 3, ITEM_KEY = 1, ITEM_VALUE = 2 };
    AUTO_BUF json = {0};
    AUTO_FREE char *path = path_join(folder, "wandb-job.json");
    wire_buf_varint(to, VERSION, 1);
    wire_buf_bytes(to, POLICY, STR("wandb-storage-policy-v1"));
    size_t mark = wire_buf_begin(to, POLICY_CONFIG);
    wire_buf_bytes(to, ITEM_KEY, STR("storageLayout"));
    wire_buf_bytes(to, ITEM_VALUE, STR("\"V2\""));
    wire_buf_end(to, mark);
    int rc = add_file(to, run->files_dir, "requirements.txt", "requirements.frozen.txt", e);
    if (rc == 0)
        rc = put_job_json(j, run, source, &json, e);
    if (rc)
        return rc;
    rc = os_write_file(path, json.data, json.len, 0600);
    if (rc)
        return err_set(e, rc, "%s: %s", path, err_text(rc));
    add_entry(to, "wandb-job.json", path, buf_str(&json));
    AUTO_FREE char *diff = path_join(run->files_dir, "diff.patch");
    if (source->type != JOB_REPO || access(diff, F_OK) != 0)
        return 0;
    return add_file(to, run->files_dir, "diff.patch", "diff.patch", e);
}

static void put_client_id(struct buf *to, uint32_t field)
{
    enum { LENGTH = 128 };
    char id[LENGTH + 1];
    random_id(id, LENGTH);
    wire_buf_bytes(to, field, str_of(id));
}

static int put_record(const struct job_run *run, const struct job_source *source, struct str metadata,
                      struct str manifest, struct buf *to, struct err *e)
{
    enum { RUN_ID = 1, PROJECT = 2, ENTITY = 3, TYPE = 4, NAME = 5, DIGEST = 6, METADATA = 8, USER_CREATED = 9,
           USE_AFTER_COMMIT = 10, ALIASES = 11, MANIFEST = 12, FINALIZE = 14, CLIENT_ID = 15, SEQUENCE_ID = 16 };
    struct manifest read = {0};
    char digest[33] = "";
    int rc = manifest_read(&read, manifest, e);
    if (rc == 0)
        manifest_digest(&read, digest);
    manifest_fini(&read);
    wire_buf_bytes(to, RUN_ID, str_of(run->id));
    wire_buf_bytes(to, PROJECT, str_of(run->project));
    wire_buf_bytes(to, ENTITY, str_of(run->entity));
    wire_buf_bytes(to, TYPE, STR("job"));
    wire_buf_bytes(to, NAME, buf_str(&source->name));
    wire_buf_bytes(to, DIGEST, str_of(digest));
    if (metadata.n)
        wire_buf_bytes(to, METADATA, metadata);
    wire_buf_varint(to, USER_CREATED, 1);
    wire_buf_varint(to, USE_AFTER_COMMIT, 1);
    if (source->alias.len)
        wire_buf_bytes(to, ALIASES, buf_str(&source->alias));
    wire_buf_bytes(to, ALIASES, STR("latest"));
    wire_buf_bytes(to, MANIFEST, manifest);
    wire_buf_varint(to, FINALIZE, 1);
    put_client_id(to, CLIENT_ID);
    put_client_id(to, SEQUENCE_ID);
    return rc;
}

static bool is_possible(const struct job_run *run, const char **why)
{
    AUTO_FREE char *requirements = path_join(run->files_dir, "requirements.txt");
    AUTO_FREE char *python = json_string_at(run->metadata, "python");
    if (access(requirements, F_OK) != 0)
        *why = "there is no requirements.txt";
    else if (!python)
        *why = "the version of Python is not known";
    return *why == NULL;
}

int job_build(const struct job *j, const struct job_run *run, const char *folder, struct buf *record,
              const char **why, struct err *e)
{
    struct job_source source = {0};
    AUTO_BUF metadata = {0}, manifest = {0}, made = {0};
    *why = NULL;
    if (!is_possible(run, why))
        return 0;
    int rc = job_source_find(j, run->metadata, &source, why, e);
    if (rc == 0 && source.type != JOB_NO_SOURCE) {
        rc = j->n_inputs ? job_metadata(j, run, &metadata, e) : 0;
        if (rc == 0)
            rc = put_manifest(j, run, &source, folder, &manifest, e);
        if (rc == 0)
            rc = put_record(run, &source, buf_str(&metadata), buf_str(&manifest), &made, e);
        if (rc == 0 && (manifest.failed || made.failed || buf_put_str(record, buf_str(&made))))
            rc = err_set(e, TARE_ENOMEM, "out of memory");
    }
    job_source_fini(&source);
    return rc;
}
