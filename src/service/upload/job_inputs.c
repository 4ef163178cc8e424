/* SPDX-License-Identifier: MIT */
/* The metadata of a job: the types of the inputs that the program declared, and their schemas. */
#include "service/upload/job_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/job_types.h"

#include <stdlib.h>

/* JobInputRequest, proto/request.proto */
enum { INPUT_INCLUDE = 2, INPUT_EXCLUDE = 3, INPUT_SCHEMA = 4, PATH_LABEL = 1 };

#define CONFIGS_DIR "_wandb_configs"
#define RUN_CONFIG "@wandb.config"

/* The paths in fields `number` of all inputs of one thing. The arrays are in `a`. */
static size_t paths_of(struct arena *a, const struct job_input *input, uint32_t number, struct job_path *to,
                       size_t n, size_t room)
{
    struct wire_reader r = wire_open(buf_str(&input->request));
    for (struct wire_field f; wire_next(&r, &f) == 1 && n < room;) {
        if (f.number != number || f.type != WIRE_BYTES)
            continue;
        struct str *labels = arena_alloc(a, (f.bytes.n / 2 + 1) * sizeof *labels); /* a label takes 2 bytes */
        struct wire_reader path = wire_open(f.bytes);
        if (!labels)
            return n;
        to[n] = (struct job_path){labels, 0};
        for (struct wire_field g; wire_next(&path, &g) == 1;)
            if (g.number == PATH_LABEL && g.type == WIRE_BYTES)
                labels[to[n].n++] = g.bytes;
        n++;
    }
    return n;
}

static bool is_same(const struct job_input *a, const struct job_input *b)
{
    return a->file ? a == b : !b->file; /* those of the run's config count together */
}

/* The paths of the run's config are gathered from all requests about it; each file stands alone. */
static void put_filtered(const struct job *j, const struct job_input *of, struct arena *a, struct job_value *map,
                         struct buf *to)
{
    struct job_path *include = arena_alloc(a, 2 * JOB_INPUT_PATHS * sizeof *include);
    struct job_path *exclude = include ? include + JOB_INPUT_PATHS : NULL;
    size_t n_include = 0, n_exclude = 0;
    for (size_t i = 0; include && i < j->n_inputs; i++) {
        if (!is_same(of, &j->inputs[i]))
            continue;
        n_include = paths_of(a, &j->inputs[i], INPUT_INCLUDE, include, n_include, JOB_INPUT_PATHS);
        n_exclude = paths_of(a, &j->inputs[i], INPUT_EXCLUDE, exclude, n_exclude, JOB_INPUT_PATHS);
    }
    job_value_filter(map, include, n_include, exclude, n_exclude);
    job_type_put(map, to);
}

static struct job_value *read_file(struct arena *a, const char *dir, const char *path, struct err *e)
{
    AUTO_BUF text = {0}, name = {0};
    buf_printf(&name, "%s/" CONFIGS_DIR "/%s", dir, path);
    if (!path_is_safe(str_of(path))) {
        err_set(e, TARE_EINVAL, "not below the run's folder");
        return NULL;
    }
    int rc = os_read_file(buf_z(&name), JOB_INPUT_FILE_BYTES, &text);
    if (rc) {
        err_set(e, rc, "%s", err_text(rc));
        return NULL;
    }
    if (str_ends(str_of(path), STR(".yaml")) || str_ends(str_of(path), STR(".yml")))
        return job_value_of_yaml(a, buf_str(&text), e);
    struct job_value *v = str_ends(str_of(path), STR(".json")) ? job_value_of_json(a, buf_str(&text)) : NULL;
    if (!v)
        err_set(e, TARE_EFORMAT, "neither JSON nor YAML");
    return v;
}

/* A file that cannot be read has a type without a name, as with the peer. */
static void put_file_type(const struct job *j, const struct job_run *run, const struct job_input *input,
                          struct buf *to)
{
    struct arena a;
    struct err e = {0};
    arena_init(&a, JOB_TREE_BYTES);
    struct job_value *v = read_file(&a, run->files_dir, input->file, &e);
    if (v && v->kind == JOB_MAP) {
        put_filtered(j, input, &a, v, to);
    } else {
        diag_warn("job: input %s: %s", input->file, e.code ? e.text : "it holds no keys");
        buf_puts(to, "{\"wb_type\":\"\"}");
    }
    arena_fini(&a);
}

/* The last of an input counts that is told of twice. */
static bool is_last(const struct job *j, size_t at)
{
    const char *file = j->inputs[at].file;
    for (size_t i = at + 1; i < j->n_inputs; i++)
        if (!file ? !j->inputs[i].file : j->inputs[i].file && strcmp(file, j->inputs[i].file) == 0)
            return false;
    return true;
}

static int by_path(const void *a, const void *b)
{
    const struct job_input *const *x = a, *const *y = b;
    return strcmp((*x)->file, (*y)->file);
}

/* The inputs that count: files by path, and the run's config (or NULL). */
static size_t files_of(const struct job *j, const struct job_input **files, const struct job_input **config)
{
    size_t n = 0;
    *config = NULL;
    for (size_t i = 0; i < j->n_inputs; i++) {
        if (!is_last(j, i))
            continue;
        if (j->inputs[i].file)
            files[n++] = &j->inputs[i];
        else
            *config = &j->inputs[i];
    }
    if (n)
        qsort(files, n, sizeof *files, by_path);
    return n;
}

static void put_types(const struct job *j, const struct job_run *run, const struct job_input **files, size_t n,
                      const struct job_input *config, struct buf *to)
{
    struct arena a;
    arena_init(&a, JOB_TREE_BYTES);
    struct job_value *v = config ? job_value_of_json(&a, run->config) : NULL;
    if (v && v->kind == JOB_MAP) {
        buf_puts(to, "\"" RUN_CONFIG "\":");
        put_filtered(j, config, &a, v, to);
        buf_puts(to, n ? "," : "");
    }
    arena_fini(&a);
    for (size_t i = 0; i < n; i++) {
        buf_puts(to, i ? "," : "\"files\":{");
        json_put_string(to, str_of(files[i]->file));
        buf_putc(to, ':');
        put_file_type(j, run, files[i], to);
    }
    buf_puts(to, n ? "}" : "");
}

/* A schema is a JSON object, the empty text is none. */
static int put_schema(const struct job_input *input, struct buf *to, struct err *e)
{
    struct str schema = wire_find_bytes(buf_str(&input->request), INPUT_SCHEMA);
    if (json_skip_space(schema.p, schema.p + schema.n)[0] != '{' || job_json_put_sorted(schema, to))
        return err_set(e, TARE_EFORMAT, "the schema of %s is no JSON object", input->file ? input->file : RUN_CONFIG);
    return 0;
}

/* The input whose schema counts: of a file that is told of twice the last that has one; of the run's
 * config the last that is told, as with the peer. NULL: none. */
static const struct job_input *schema_of(const struct job *j, const struct job_input *input)
{
    for (const struct job_input *i = input; i && i >= j->inputs; i--) {
        bool is_of_it = i == input || (input->file && i->file && strcmp(i->file, input->file) == 0);
        if (is_of_it && wire_find_bytes(buf_str(&i->request), INPUT_SCHEMA).n > 0)
            return i;
    }
    return NULL;
}

static int put_schemas(const struct job *j, const struct job_input **files, size_t n, const struct job_input *config,
                       struct buf *to, struct err *e)
{
    int rc = 0;
    bool any = false;
    const struct job_input *of = schema_of(j, config);
    if (of) {
        buf_puts(to, "\"" RUN_CONFIG "\":");
        rc = put_schema(of, to, e);
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        of = schema_of(j, files[i]);
        if (!of)
            continue;
        buf_puts(to, to->len ? "," : "");
        buf_puts(to, any ? "" : "\"files\":{");
        any = true;
        json_put_string(to, str_of(files[i]->file));
        buf_putc(to, ':');
        rc = put_schema(of, to, e);
    }
    buf_puts(to, any ? "}" : "");
    return rc;
}

/* The peer takes the type of the outputs' type, which it does not know, for that of the outputs. */
int job_metadata(const struct job *j, const struct job_run *run, struct buf *to, struct err *e)
{
    AUTO_BUF types = {0}, schemas = {0}, json = {0};
    const struct job_input *config;
    const struct job_input **files = xmem_calloc(j->n_inputs + 1, sizeof *files);
    size_t n = files_of(j, files, &config);
    int rc = put_schemas(j, files, n, config, &schemas, e);
    put_types(j, run, files, n, config, &types);
    mem_free(files);
    if (rc)
        return rc;
    buf_putc(&json, '{');
    if (schemas.len)
        buf_printf(&json, "\"input_schemas\":{%s},", buf_z(&schemas));
    buf_puts(&json, "\"input_types\":{");
    buf_put_str(&json, buf_str(&types));
    buf_puts(&json, "},\"output_types\":{\"wb_type\":\"unknown\"}}");
    job_json_put_escaped(buf_str(&json), to);
    return json.failed || to->failed || types.failed ? err_set(e, TARE_ENOMEM, "out of memory") : 0;
}
