/* SPDX-License-Identifier: MIT */
#include "client/backend.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "client/interface_sock.h"
#include "client/message.h"
#include "record/wire.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *env_or(const char *option, const char *variable, const char *otherwise)
{
    if (option && *option)
        return option;
    const char *env = variable ? getenv(variable) : NULL;
    return env && *env ? env : otherwise;
}

/* "a,b,c" of WANDB_TAGS as a list. */
static int split_tags(struct run_options *to, const char *text)
{
    size_t n = 1, i = 0;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    to->tag_text = mem_strndup(text, strlen(text));
    to->tag_list = mem_calloc(n, sizeof *to->tag_list);
    if (!to->tag_text || !to->tag_list)
        return TARE_ENOMEM;
    char *rest = NULL;
    for (char *t = strtok_r(to->tag_text, ",", &rest); t; t = strtok_r(NULL, ",", &rest))
        to->tag_list[i++] = t;
    to->o.n_tags = i;
    to->tags = to->tag_list;
    return 0;
}

static int check_id(const char *id, struct err *e)
{
    size_t n = strlen(id);
    if (!n || n > 128 || strpbrk(id, "/\\#?%:") || id[0] == '.')
        return err_set(e, TARE_EINVAL, "a run id has 1 to 128 characters, none of / \\ # ? %% : "
                                       "and no dot at the start");
    return 0;
}

static int check_resume(const char *resume, struct err *e)
{
    static const char *const known[] = {"", "allow", "must", "never", "auto"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(resume, known[i]) == 0)
            return 0;
    return err_set(e, TARE_EINVAL, "resume is '%s', not allow, must, never or auto", resume);
}

static int check_mode(struct run_options *to, struct err *e)
{
    const char *mode = to->o.mode;
    if (!mode)
        mode = to->o.mode = to->o.api_key ? "online" : "offline";
    to->disabled = strcmp(mode, "disabled") == 0;
    to->online = strcmp(mode, "online") == 0;
    if (!to->disabled && !to->online && strcmp(mode, "offline") != 0 && strcmp(mode, "dryrun") != 0)
        return err_set(e, TARE_EINVAL, "mode is '%s', not online, offline or disabled", mode);
    return 0;
}

int run_options_init(struct run_options *to, const struct tare_options *from, struct err *e)
{
    memset(to, 0, sizeof *to);
    if (from && from->size != sizeof *from)
        return err_set(e, TARE_EINVAL, "the options were not made by tare_options_defaults()");
    if (from)
        to->o = *from;
    struct tare_options *o = &to->o;
    o->project = env_or(o->project, "WANDB_PROJECT", "uncategorized");
    o->entity = env_or(o->entity, "WANDB_ENTITY", NULL);
    o->group = env_or(o->group, "WANDB_RUN_GROUP", NULL);
    o->job_type = env_or(o->job_type, "WANDB_JOB_TYPE", NULL);
    o->name = env_or(o->name, "WANDB_NAME", NULL);
    o->id = env_or(o->id, "WANDB_RUN_ID", NULL);
    o->notes = env_or(o->notes, "WANDB_NOTES", NULL);
    o->dir = env_or(o->dir, "WANDB_DIR", ".");
    o->resume = env_or(o->resume, "WANDB_RESUME", "");
    o->base_url = env_or(o->base_url, "WANDB_BASE_URL", "https://api.wandb.ai");
    o->api_key = env_or(o->api_key, "WANDB_API_KEY", NULL);
    o->mode = env_or(o->mode, "WANDB_MODE", NULL);
    o->program = env_or(o->program, "WANDB_PROGRAM", NULL);
    o->sweep_id = env_or(o->sweep_id, "WANDB_SWEEP_ID", NULL);
    o->init_ms = o->init_ms > 0 ? o->init_ms : 90000;
    o->finish_ms = o->finish_ms > 0 ? o->finish_ms : 86400000;
    to->tags = o->tags;
    const char *tags = getenv("WANDB_TAGS");
    int rc = o->n_tags == 0 && tags && *tags ? split_tags(to, tags) : 0;
    if (rc == 0)
        rc = check_mode(to, e);
    if (rc == 0)
        rc = check_resume(o->resume, e);
    if (rc == 0 && o->id)
        rc = check_id(o->id, e);
    if (rc)
        run_options_fini(to);
    return rc;
}

void run_options_fini(struct run_options *o)
{
    mem_free(o->tag_text);
    mem_free(o->tag_list);
    o->tag_text = NULL;
    o->tag_list = NULL;
}

static void format_timespec(char to[16], time_t t)
{
    struct tm tm;
    localtime_r(&t, &tm);
    strftime(to, 16, "%Y%m%d_%H%M%S", &tm);
}

int backend_make_folder(const char *wandb_dir, bool online, const char *id, int64_t start_ns,
                        char **path, char timespec[16], struct err *e)
{
    int rc = os_mkdirs(wandb_dir, 0777);
    if (rc)
        return err_set(e, rc, "making %.200s: %s", wandb_dir, err_text(rc));
    time_t t = (time_t)(start_ns / 1000000000);
    for (int i = 0; i < 1000; i++, t++) { /* one that is there belongs to another run: go on */
        char name[PATH_MAX];
        format_timespec(timespec, t);
        snprintf(name, sizeof name, "%srun-%s-%s", online ? "" : "offline-", timespec, id);
        char *full = path_join(wandb_dir, name);
        if (!full)
            return err_set(e, TARE_ENOMEM, "out of memory");
        rc = os->mkdir(full, 0777);
        if (rc == 0) {
            *path = full;
            break;
        }
        mem_free(full);
        if (rc != -EEXIST)
            return err_set(e, rc, "making a folder in %.200s: %s", wandb_dir, err_text(rc));
    }
    static const char *const below[] = {"files", "logs", "tmp/code"};
    for (size_t i = 0; rc == 0 && i < sizeof below / sizeof *below; i++) {
        AUTO_FREE char *sub = path_join(*path, below[i]);
        rc = sub ? os_mkdirs(sub, 0777) : TARE_ENOMEM;
    }
    return rc ? err_set(e, rc, "making the run's folders: %s", err_text(rc)) : 0;
}

/* dir/wandb, or dir/.wandb if that is there. */
static char *find_wandb_dir(const char *dir)
{
    char *real = realpath(dir, NULL);
    char *base = real ? mem_strndup(real, strlen(real)) : NULL;
    free(real);
    if (!base && dir[0] == '/')
        base = mem_strndup(dir, strlen(dir));
    if (!base) {
        char cwd[PATH_MAX];
        base = getcwd(cwd, sizeof cwd) ? path_join(cwd, dir) : NULL;
    }
    char *hidden = base ? path_join(base, ".wandb") : NULL;
    char *usual = base ? path_join(base, "wandb") : NULL;
    bool use_hidden = hidden && access(hidden, F_OK) == 0;
    mem_free(base);
    mem_free(use_hidden ? usual : hidden);
    return use_hidden ? hidden : usual;
}

/* wandb/latest-run -> the run's folder. What fails here does not matter. */
static void link_latest(const char *wandb_dir, const char *run_dir)
{
    char tmp[PATH_MAX], link[PATH_MAX];
    struct str base = path_base(str_of(run_dir));
    char id[9];
    random_id(id, 8);
    if (snprintf(tmp, sizeof tmp, "%s/.latest-%s", wandb_dir, id) >= (int)sizeof tmp ||
        snprintf(link, sizeof link, "%s/latest-run", wandb_dir) >= (int)sizeof link)
        return;
    AUTO_FREE char *target = mem_strndup(base.p, base.n);
    if (target && os->symlink(target, tmp) == 0 && os->rename(tmp, link) != 0)
        os->unlink(tmp);
}

/* ---- the Settings message: every field is a wrapper message with one field ---- */

static void set_text(struct buf *b, uint32_t field, const char *text)
{
    if (!text || !*text)
        return;
    size_t at = wire_buf_begin(b, field);
    message_put_z(b, 1, text);
    wire_buf_end(b, at);
}

static void set_bool(struct buf *b, uint32_t field, bool on)
{
    size_t at = wire_buf_begin(b, field);
    message_put_bool(b, 1, on);
    wire_buf_end(b, at);
}

static void set_int(struct buf *b, uint32_t field, int64_t v)
{
    size_t at = wire_buf_begin(b, field);
    if (v)
        wire_buf_varint(b, 1, (uint64_t)v);
    wire_buf_end(b, at);
}

static void set_double(struct buf *b, uint32_t field, double v)
{
    size_t at = wire_buf_begin(b, field);
    wire_buf_double(b, 1, v);
    wire_buf_end(b, at);
}

static void set_path(struct buf *b, uint32_t field, const char *dir, const char *name)
{
    AUTO_FREE char *path = path_join(dir, name);
    if (path)
        set_text(b, field, path);
    else
        b->failed = true;
}

static void put_paths(struct buf *b, const struct tare_run *run, const char *wandb_dir)
{
    char file[160];
    struct str root = path_dir(str_of(wandb_dir));
    AUTO_FREE char *root_z = mem_strndup(root.p, root.n);
    snprintf(file, sizeof file, "run-%s.wandb", run->id);
    set_text(b, 105, root_z);
    set_text(b, 142, wandb_dir);
    set_text(b, 133, run->dir);
    set_path(b, 134, run->dir, file);
    set_path(b, 85, run->dir, "logs");
    set_path(b, 86, run->dir, "logs/debug-internal.log");
    set_path(b, 89, run->dir, "logs/debug.log");
    set_path(b, 49, run->dir, "tmp/code");
    set_path(b, 140, run->dir, "tmp");
    set_path(b, 87, wandb_dir, "debug-internal.log");
    set_path(b, 135, wandb_dir, "latest-run");
    set_path(b, 103, wandb_dir, "wandb-resume.json");
}

static void put_identity(struct buf *b, const struct tare_run *run, const struct run_options *ro)
{
    const struct tare_options *o = &ro->o;
    set_text(b, 107, run->id);
    set_text(b, 97, o->project);
    set_text(b, 69, o->entity);
    set_text(b, 106, o->group);
    set_text(b, 108, o->job_type);
    set_text(b, 110, o->name);
    set_text(b, 111, o->notes);
    set_text(b, 129, o->sweep_id);
    set_text(b, 102, o->resume);
    size_t tags = wire_buf_begin(b, 112);
    for (size_t i = 0; i < o->n_tags; i++)
        message_put_z(b, 1, ro->tags[i]);
    wire_buf_end(b, tags);
}

static void put_program(struct buf *b, const struct tare_options *o)
{
    char host[256] = "", exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    gethostname(host, sizeof host - 1);
    set_text(b, 77, host);
    set_text(b, 95, o->program ? o->program : exe);
    set_text(b, 13, exe);
    set_int(b, 42, getpid());
}

/* Where people look: https://app.wandb.ai for https://api.wandb.ai, else the backend itself. */
static void set_app_url(struct buf *b, const char *base_url)
{
    const char *own = getenv("WANDB_APP_URL"), *api = strstr(base_url, "://api.");
    AUTO_BUF url = {0};
    if (own && *own)
        buf_puts(&url, own);
    else if (api)
        buf_printf(&url, "%.*s://app.%s", (int)(api - base_url), base_url, api + 7);
    else
        buf_puts(&url, base_url);
    const char *z = buf_z(&url);
    if (z)
        set_text(b, 202, z);
    else
        b->failed = true;
}

static int put_settings(struct buf *b, const struct tare_run *run, const struct run_options *ro,
                        const char *wandb_dir, const char *timespec)
{
    const struct tare_options *o = &ro->o;
    put_identity(b, run, ro);
    put_paths(b, run, wandb_dir);
    put_program(b, o);
    set_bool(b, 30, !ro->online);
    set_text(b, 92, ro->online ? "online" : "offline");
    set_text(b, 109, ro->online ? "run" : "offline-run");
    set_text(b, 139, timespec);
    set_text(b, 40, timespec);
    set_double(b, 41, (double)run->start_ns / 1e9);
    set_text(b, 57, o->base_url);
    set_app_url(b, o->base_url);
    set_bool(b, 182, true); /* x_primary: the files of the run are ours to bring */
    if (ro->online)
        set_text(b, 55, o->api_key);
    set_text(b, 60, "off"); /* console: nothing is captured */
    set_bool(b, 65, true);  /* no job */
    set_bool(b, 63, o->no_git != 0);
    set_bool(b, 10, o->no_stats != 0);
    set_bool(b, 37, false); /* no requirements.txt: there are no packages */
    set_int(b, 76, 30);
    set_double(b, 79, (double)o->init_ms / 1e3);
    return b->failed ? TARE_ENOMEM : 0;
}

static int copy(char **to, const char *from)
{
    *to = mem_strndup(from ? from : "", from ? strlen(from) : 0);
    return *to ? 0 : TARE_ENOMEM;
}

int backend_prepare(struct tare_run *run, const struct run_options *ro, bool no_service,
                    struct err *e)
{
    char timespec[16];
    AUTO_BUF settings = {0};
    AUTO_FREE char *wandb_dir = find_wandb_dir(ro->o.dir);
    run->start_ns = clock_wall_ns();
    run->online = ro->online;
    run->finish_ms = ro->o.finish_ms;
    if (ro->o.id)
        snprintf(run->id, sizeof run->id, "%s", ro->o.id);
    else
        random_id(run->id, 8);
    if (!wandb_dir || copy(&run->name, ro->o.name) || copy(&run->project, ro->o.project) ||
        copy(&run->entity, ro->o.entity))
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = backend_make_folder(wandb_dir, ro->online && !no_service, run->id, run->start_ns,
                                 &run->dir, timespec, e);
    if (rc)
        return rc;
    run->files_dir = path_join(run->dir, "files");
    if (!run->files_dir || put_settings(&settings, run, ro, wandb_dir, timespec) != 0)
        return err_set(e, TARE_ENOMEM, "out of memory");
    link_latest(wandb_dir, run->dir);
    run->settings = settings.data;
    run->settings_len = settings.len;
    settings = (struct buf){0};
    return 0;
}

void backend_put_run(const struct tare_run *run, const struct run_options *ro, struct buf *b)
{
    const struct tare_options *o = &ro->o;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    message_put_z(b, RUN_ID, run->id);
    message_put_z(b, RUN_ENTITY, o->entity);
    message_put_z(b, RUN_PROJECT, o->project);
    size_t config = wire_buf_begin(b, RUN_CONFIG);
    size_t item = wire_buf_begin(b, UPDATE);
    message_put_z(b, ITEM_KEY, "_wandb");
    message_put_z(b, ITEM_JSON, "{}");
    wire_buf_end(b, item);
    wire_buf_end(b, config);
    message_put_z(b, RUN_GROUP, o->group);
    message_put_z(b, RUN_JOB_TYPE, o->job_type);
    message_put_z(b, RUN_NAME, o->name);
    message_put_z(b, RUN_NOTES, o->notes);
    for (size_t i = 0; i < o->n_tags; i++)
        message_put_z(b, RUN_TAGS, ro->tags[i]);
    message_put_z(b, RUN_SWEEP_ID, o->sweep_id);
    message_put_z(b, RUN_HOST, host);
    message_put_time(b, RUN_START_TIME, run->start_ns);
    size_t telemetry = wire_buf_begin(b, RUN_TELEMETRY);
    telemetry_put(run, b, false);
    wire_buf_end(b, telemetry);
    message_put_bool(b, RUN_RESUME, strcmp(o->resume, "allow") == 0 || strcmp(o->resume, "must") == 0);
}
