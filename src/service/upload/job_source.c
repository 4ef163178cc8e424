/* SPDX-License-Identifier: MIT */
/* Which of three sources a job has: a git commit, saved code, a container image. */
#include "service/upload/job_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "record/setting_wire.h"
#include "service/upload/json_path.h"

#include <stdio.h>
#include <unistd.h>

const char *const job_source_names[] = {
    [JOB_REPO] = "repo", [JOB_CODE] = "artifact", [JOB_IMAGE] = "image"};

static const char *const missing[] = {
    [JOB_REPO] = "no repo job ingredients found, but source type set to repo",
    [JOB_CODE] = "no artifact job ingredients found, but source type set to artifact",
    [JOB_IMAGE] = "no image job ingredients found, but source type set to image",
};

static bool is_notebook(const struct job *j)
{
    return setting_wire_bool(j->settings, JOB_SET_JUPYTER);
}

static bool has(struct str metadata, const char *path)
{
    AUTO_FREE char *text = json_string_at(metadata, path);
    return text != NULL;
}

static bool is_there(const struct job *j, enum job_source_type type, struct str metadata)
{
    switch (type) {
    case JOB_REPO:
        /* a notebook's path is told from the repository's root */
        return (has(metadata, "root") || !is_notebook(j)) && has(metadata, "git.remote") &&
               has(metadata, "git.commit");
    case JOB_CODE: return j->code_id != NULL;
    case JOB_IMAGE: return has(metadata, "docker");
    case JOB_NO_SOURCE: break;
    }
    return false;
}

static int choose(const struct job *j, struct str metadata, enum job_source_type *to, struct err *e)
{
    struct str wanted = setting_wire_text(j->settings, JOB_SET_SOURCE);
    for (int type = JOB_REPO; type < JOB_NO_SOURCE; type++)
        if (str_eqz(wanted, job_source_names[type])) {
            *to = (enum job_source_type)type;
            return is_there(j, *to, metadata) ? 0 : err_set(e, TARE_EINVAL, "%s", missing[type]);
        }
    *to = JOB_REPO;
    while (*to < JOB_NO_SOURCE && !is_there(j, *to, metadata))
        *to = (enum job_source_type)(*to + 1);
    return 0;
}

/* Heap; NULL: unknown. */
static char *program_of(const struct job *j, enum job_source_type type, struct str metadata)
{
    char *path = NULL;
    if (is_notebook(j))
        return json_string_at(metadata, "program");
    if (type == JOB_CODE) /* codePath counts from the root of a repository */
        path = json_string_at(metadata, "codePathLocal");
    return path ? path : json_string_at(metadata, "codePath");
}

/* "python3.11 program": of the version what comes before the second dot. */
static void put_entrypoint(struct str metadata, const char *program, struct buf *to)
{
    AUTO_FREE char *python = json_string_at(metadata, "python");
    AUTO_BUF command = {0};
    const char *dot = strchr(python, '.');
    size_t n = dot ? strcspn(dot + 1, ".") + (size_t)(dot + 1 - python) : strlen(python);
    buf_printf(&command, "python%.*s", (int)n, python);
    buf_puts(to, ",\"entrypoint\":[");
    json_put_string(to, buf_str(&command));
    buf_putc(to, ',');
    json_put_string(to, str_of(program));
    buf_putc(to, ']');
}

static void put_notebook(const struct job *j, struct buf *to)
{
    buf_printf(to, ",\"notebook\":%s}", is_notebook(j) ? "true" : "false");
}

static void put_name(const struct job *j, struct str from, struct buf *to)
{
    AUTO_BUF name = {0};
    if (setting_wire_has(j->settings, JOB_SET_NAME)) {
        buf_put_str(to, setting_wire_text(j->settings, JOB_SET_NAME));
        return;
    }
    buf_puts(&name, "job-");
    buf_put_str(&name, from);
    job_safe_name(buf_str(&name), to);
}

/* ---- paths of notebooks ---- */

/* Take the parts of `path` that are not "." behind those of `to`, which loses one for each "..". */
static void walk(struct buf *to, struct str path)
{
    for (size_t i = 0, n; i <= path.n; i += n + 1) {
        const char *part = path.p + i, *slash = memchr(part, '/', path.n - i);
        n = slash ? (size_t)(slash - part) : path.n - i;
        if (n == 0 || (n == 1 && part[0] == '.'))
            continue;
        struct str last = to->len ? path_base(buf_str(to)) : STR("");
        if (n == 2 && memcmp(part, "..", 2) == 0 && last.n && !str_eqz(last, "..")) {
            to->len -= last.n + (to->len > last.n);
            continue;
        }
        if (to->len)
            buf_putc(to, '/');
        buf_append(to, part, n);
    }
}

/* The program, told from where Jupyter was started, as told from the repository's root. What lies
 * above the root loses its ".."s and as many parts more, as with the peer. */
static void put_below_root(struct str root, struct str jupyter, struct str program, struct buf *to)
{
    AUTO_BUF r = {0}, path = {0};
    walk(&r, root);
    walk(&path, jupyter);
    struct str a = buf_str(&r), b = buf_str(&path), whole;
    size_t common = 0, n_up = 0;
    AUTO_BUF relative = {0};
    for (size_t i = 0; i <= a.n && i <= b.n; i++) {
        bool a_ends = i == a.n || a.p[i] == '/', b_ends = i == b.n || b.p[i] == '/';
        if (a_ends && b_ends)
            common = i;
        if (i == a.n || i == b.n || a.p[i] != b.p[i])
            break;
    }
    for (size_t i = common; i < a.n; i++)
        n_up += (i == common && a.p[i] != '/') || a.p[i] == '/';
    while (n_up--)
        walk(&relative, STR(".."));
    walk(&relative, str_make(b.n ? b.p + common : "", b.n - common));
    walk(&relative, program);
    whole = buf_str(&relative);
    size_t n_dots = 0;
    while (str_starts(whole, STR("../"))) {
        whole = str_make(whole.p + 3, whole.n - 3);
        n_dots++;
    }
    for (const char *slash; n_dots && (slash = memchr(whole.p, '/', whole.n)); n_dots--)
        whole = str_make(slash + 1, whole.n - (size_t)(slash + 1 - whole.p));
    buf_put_str(to, n_dots ? STR("") : whole);
}

/* ---- the three ---- */

static int make_repo(const struct job *j, const char *program, struct str metadata, struct job_source *to,
                     const char **why, struct err *e)
{
    AUTO_FREE char *remote = json_string_at(metadata, "git.remote");
    AUTO_FREE char *commit = json_string_at(metadata, "git.commit");
    AUTO_FREE char *root = json_string_at(metadata, "root");
    AUTO_BUF path = {0}, name = {0};
    if (!is_notebook(j)) {
        buf_puts(&path, program);
    } else {
        AUTO_FREE char *base = xmem_strndup(path_base(str_of(program)).p, path_base(str_of(program)).n);
        if (access(base, F_OK) != 0) {
            *why = "the program is not in the current folder";
            to->type = JOB_NO_SOURCE;
            return 0;
        }
        if (!setting_wire_has(j->settings, JOB_SET_JUPYTER_ROOT))
            return err_set(e, TARE_EINVAL, "no root path in metadata, or settings missing jupyter root");
        put_below_root(str_of(root), setting_wire_text(j->settings, JOB_SET_JUPYTER_ROOT), str_of(program), &path);
    }
    buf_puts(&to->json, "{\"git\":{\"remote\":");
    json_put_string(&to->json, str_of(remote));
    buf_puts(&to->json, ",\"commit\":");
    json_put_string(&to->json, str_of(commit));
    buf_putc(&to->json, '}');
    put_entrypoint(metadata, buf_z(&path), &to->json);
    put_notebook(j, &to->json);
    buf_printf(&name, "%s_%s", remote, program);
    put_name(j, buf_str(&name), &to->name);
    return 0;
}

/* Code that a notebook logs starts at the notebook's folder. */
static int make_code(const struct job *j, const char *program, struct str metadata, struct job_source *to,
                     struct err *e)
{
    AUTO_BUF artifact = {0};
    bool is_here = access(program, F_OK) == 0;
    if (is_notebook(j) && !setting_wire_bool(j->settings, JOB_SET_COLAB) && !is_here) {
        program = path_base(str_of(program)).p;
        if (access(program, F_OK) != 0)
            return err_set(e, TARE_ENOTFOUND, "%s is not in the current folder", program);
    }
    buf_printf(&artifact, "wandb-artifact://_id/%s", j->code_id);
    buf_puts(&to->json, "{\"artifact\":");
    json_put_string(&to->json, buf_str(&artifact));
    put_entrypoint(metadata, program, &to->json);
    put_notebook(j, &to->json);
    put_name(j, str_of(j->code_name), &to->name);
    return 0;
}

static bool is_tag(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9') &&
            !strchr("_-.", *c))
            return false;
    return *text != 0;
}

static void make_image(const struct job *j, struct str metadata, struct job_source *to)
{
    AUTO_FREE char *image = json_string_at(metadata, "docker");
    char *colon = strrchr(image, ':');
    buf_puts(&to->json, "{\"image\":");
    json_put_string(&to->json, str_of(image));
    buf_putc(&to->json, '}');
    if (colon && is_tag(colon + 1)) {
        buf_puts(&to->alias, colon + 1);
        *colon = 0;
    }
    put_name(j, str_of(image), &to->name);
}

int job_source_find(const struct job *j, struct str metadata, struct job_source *to, const char **why,
                    struct err *e)
{
    int rc = choose(j, metadata, &to->type, e);
    if (rc)
        return rc;
    if (to->type == JOB_NO_SOURCE) {
        *why = "neither a git commit, nor saved code, nor an image is known";
        return 0;
    }
    AUTO_FREE char *program = program_of(j, to->type, metadata);
    if (to->type != JOB_IMAGE && !program) {
        *why = "the program's path is not known";
        to->type = JOB_NO_SOURCE;
        return 0;
    }
    switch (to->type) {
    case JOB_REPO: return make_repo(j, program, metadata, to, why, e);
    case JOB_CODE: return make_code(j, program, metadata, to, e);
    default: make_image(j, metadata, to); return 0;
    }
}

void job_source_fini(struct job_source *s)
{
    buf_fini(&s->json);
    buf_fini(&s->name);
    buf_fini(&s->alias);
}
