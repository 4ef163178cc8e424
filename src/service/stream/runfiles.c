/* SPDX-License-Identifier: MIT */
#include "service/stream/runfiles.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "record/setting_wire.h"
#include "service/stream/console.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"
#include "service/watch/git.h"
#include "service/watch/machine.h"
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_buffer.h"
#include "service/watch/tensorboard.h"

#include <fcntl.h>
#include <stdlib.h>

/* Of Settings. */
enum {
    SET_DISABLE_META = 7,
    SET_DISABLE_STATS = 10, /* the machine is not looked at, not even once */
    SET_OFFLINE = 30,
    SET_CONSOLE = 60,
    SET_DISABLE_GIT = 63,
    SET_GIT_ROOT = 75,
    SET_PROGRAM_RELPATH = 96,
    SET_SAVE_CODE = 115,
    SET_DISABLE_MACHINE_INFO = 158,
    SET_PROGRAM_ABSPATH = 159,
    SET_STATS_BUFFER_SIZE = 161,
    SET_CONSOLE_MULTIPART = 166,
    SET_LABEL = 181,
    SET_CHUNK_MAX_BYTES = 199,
    SET_CHUNK_MAX_SECONDS = 201,
    SET_DISABLE_GIT_FORK_POINT = 203,
};

/* Of Record, FilesItem, OutputRawRecord, OutputLoggerRecord, RunRecord, GitRepoRecord. */
enum {
    RECORD_FILES = 6,
    RECORD_STATS = 7,
    RECORD_ENVIRONMENT = 26,
    ITEM_PATH = 1,
    ITEM_POLICY = 2,
    ITEM_TYPE = 3,
    POLICY_END = 1,
    TYPE_WANDB = 1,
    RAW_TYPE = 1,
    RAW_STDOUT = 1,
    RAW_LINE = 3,
    LOGGER_LINE = 1,
    RUN_GIT = 21,
};

struct runfiles {
    struct runfiles_owner owner;
    const struct stream_settings *settings; /* borrowed */
    struct console *console;
    struct tensorboard *tensorboard; /* NULL until the first tbrecord */
    struct sysmon *sysmon;     /* NULL before run_start, and where metrics are switched off */
    struct sysmon_buffer samples; /* the last ones */
    int64_t made_ns;           /* when this was made */
    int64_t sample_due_ns;     /* of the next sample; INT64_MAX while one is being taken */
    int64_t scrape_due_ns;     /* when endpoints are asked for it; INT64_MAX if they are already */
    struct buf waiting_program; /* of a probe that waits for runfiles_gpus */
    bool paused;
    char *label;               /* what console borrows */
    struct buf git;            /* GitRepoRecord of run_start */
    char writer_id[WRITER_ID_LEN + 1];
    int n_busy;                /* jobs whose record is still to come */
    bool finished, idle_wanted;
};

/* A job that makes files, and after that a record. Fields are set by the maker of the job; `run`
 * fills `record`. */
struct file_job {
    struct handler_job base;
    struct runfiles *r;
    void (*make)(struct file_job *job); /* on a worker thread */
    char *files_dir;                    /* a copy: the job touches nothing of r */
    struct buf in;                      /* what `make` needs */
    struct buf also_in;
    struct buf gpus;                    /* of other machines */
    char writer_id[WRITER_ID_LEN + 1];
    bool fork_point;                    /* of the patches */
    uint32_t kind;                      /* of the record */
    struct buf record;                  /* its body; none if empty */
};

static char *text_setting(const struct runfiles *r, uint32_t number)
{
    struct str s = setting_wire_text(r->settings->raw, number);
    return xmem_strndup(s.p, s.n);
}

static bool flag(const struct runfiles *r, uint32_t number)
{
    return setting_wire_bool(r->settings->raw, number);
}

/* Of several writers of a run one alone makes its files. */
static bool may_write(const struct runfiles *r)
{
    return r->settings->primary && *r->settings->files_dir && !r->finished;
}

static void make_console(struct runfiles *r)
{
    struct str settings = r->settings->raw;
    r->label = text_setting(r, SET_LABEL);
    struct console_options o = {
        .files_dir = r->settings->files_dir,
        .label = r->label,
        .capture = *r->settings->files_dir && !str_eqz(setting_wire_text(settings, SET_CONSOLE), "off"),
        .multipart = setting_wire_bool(settings, SET_CONSOLE_MULTIPART),
        .chunk_max_bytes = (int32_t)setting_wire_int(settings, SET_CHUNK_MAX_BYTES),
        .chunk_max_seconds = (int32_t)setting_wire_int(settings, SET_CHUNK_MAX_SECONDS),
    };
    r->console = console_new(&o);
}

struct runfiles *runfiles_new(const struct stream_settings *settings,
                              const struct runfiles_owner *owner, int64_t now_ns)
{
    struct runfiles *r = xmem_calloc(1, sizeof *r);
    r->owner = *owner;
    r->settings = settings;
    r->made_ns = now_ns;
    r->sample_due_ns = r->scrape_due_ns = INT64_MAX;
    sysmon_buffer_init(&r->samples, (int32_t)setting_wire_int(settings->raw, SET_STATS_BUFFER_SIZE));
    machine_writer_id(r->writer_id, now_ns);
    make_console(r);
    return r;
}

void runfiles_free(struct runfiles *r)
{
    if (!r)
        return;
    if (console_lines_lost(r->console) > 0)
        diag_warn("runfiles: %llu lines of output did not reach %s in time; the journal has them",
                  (unsigned long long)console_lines_lost(r->console), r->settings->files_dir);
    console_free(r->console);
    tensorboard_free(r->tensorboard);
    sysmon_free(r->sysmon);
    sysmon_buffer_fini(&r->samples);
    mem_free(r->label);
    buf_fini(&r->git);
    buf_fini(&r->waiting_program);
    mem_free(r);
}

const char *runfiles_writer_id(const struct runfiles *r)
{
    return r->writer_id;
}

/* ---- jobs ---- */

static void one_less(struct runfiles *r)
{
    r->n_busy--;
    if (r->idle_wanted && r->n_busy == 0) {
        r->idle_wanted = false;
        r->owner.idle(r->owner.ctx, clock_steady_ns());
    }
}

static void file_job_run(struct handler_job *base)
{
    struct file_job *job = (struct file_job *)base;
    job->make(job);
}

static void file_job_done(struct handler_job *base, struct handler *h)
{
    (void)h;
    struct file_job *job = (struct file_job *)base;
    struct runfiles *r = job->r;
    if (job->record.len > 0 && !job->record.failed)
        r->owner.keep(r->owner.ctx, job->kind, buf_str(&job->record));
    mem_free(job->files_dir);
    buf_fini(&job->in);
    buf_fini(&job->also_in);
    buf_fini(&job->gpus);
    buf_fini(&job->record);
    mem_free(job);
    one_less(r);
}

static struct file_job *new_job(struct runfiles *r, void (*make)(struct file_job *), uint32_t kind)
{
    struct file_job *job = xmem_calloc(1, sizeof *job);
    job->base.run = file_job_run;
    job->base.done = file_job_done;
    job->r = r;
    job->make = make;
    job->files_dir = xmem_strdup(r->settings->files_dir);
    job->kind = kind;
    memcpy(job->writer_id, r->writer_id, sizeof job->writer_id);
    return job;
}

static void start_job(struct file_job *job)
{
    job->r->n_busy++;
    job->r->owner.work(job->r->owner.ctx, &job->base);
}

/* Write `bytes` as files_dir/name and make the folders in name. 0 or a negative code; says so. */
static int write_file(const char *files_dir, const char *name, struct str bytes)
{
    AUTO_FREE char *path = path_join(files_dir, name);
    struct str dir = path_dir(str_of(path));
    AUTO_FREE char *folder = path ? mem_strndup(dir.p, dir.n) : NULL;
    if (!folder)
        return TARE_ENOMEM;
    int rc = strchr(name, '/') ? os_mkdirs(folder, 0777) : 0;
    int fd = rc < 0 ? rc : os->open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0) {
        rc = os_write_all(fd, bytes.p, bytes.n, NULL);
        int closed = os->close(fd);
        rc = rc < 0 ? rc : closed;
    } else {
        rc = fd;
    }
    if (rc < 0)
        diag_warn("runfiles: writing %s: %s", path, err_text(rc));
    return rc;
}

/* Append a FilesItem that names a file of ours. */
static void put_files_item(struct buf *to, struct str path)
{
    size_t mark = wire_buf_begin(to, 1);
    wire_buf_bytes(to, ITEM_PATH, path);
    wire_buf_varint(to, ITEM_TYPE, TYPE_WANDB);
    wire_buf_end(to, mark);
}

/* ---- requirements.txt ---- */

static void make_requirements(struct file_job *job)
{
    if (write_file(job->files_dir, "requirements.txt", buf_str(&job->in)) == 0)
        put_files_item(&job->record, STR("requirements.txt"));
}

static void put_package(struct buf *to, struct str package)
{
    buf_put_str(to, wire_find_bytes(package, 1));
    buf_puts(to, "==");
    buf_put_str(to, wire_find_bytes(package, 2));
    buf_putc(to, '\n');
}

void runfiles_packages(struct runfiles *r, struct str request)
{
    if (!may_write(r))
        return;
    struct file_job *job = new_job(r, make_requirements, RECORD_FILES);
    struct wire_reader reader = wire_open(request);
    struct wire_field f = {0};
    while (wire_next(&reader, &f) > 0)
        if (f.number == 1 && f.type == WIRE_BYTES)
            put_package(&job->in, f.bytes);
    start_job(job);
}

/* ---- wandb-metadata.json ---- */

/* `in` is the settings, `also_in` the record of the program. Offline the file is left to the sync,
 * as the peer does: it is made of the two records, and an inode costs more than all else here. */
static void make_host_record(struct file_job *job)
{
    if (!setting_wire_bool(buf_str(&job->in), SET_DISABLE_STATS))
        machine_put_host(&job->record, buf_str(&job->in), buf_str(&job->gpus), job->writer_id);
    if (setting_wire_bool(buf_str(&job->in), SET_OFFLINE))
        return;
    AUTO_BUF both = {0}, json = {0};
    buf_put_str(&both, buf_str(&job->also_in));
    buf_put_str(&both, buf_str(&job->record));
    if (machine_put_json(&json, buf_str(&both)) == 0)
        write_file(job->files_dir, "wandb-metadata.json", buf_str(&json));
}

static struct str_pair git_of(const struct runfiles *r)
{
    struct str git = buf_str(&r->git);
    return (struct str_pair){wire_find_bytes(git, 1), wire_find_bytes(git, 2)};
}

static void start_host_record(struct runfiles *r, struct str program, struct str gpus)
{
    struct file_job *job = new_job(r, make_host_record, RECORD_ENVIRONMENT);
    buf_put_str(&job->in, r->settings->raw);
    buf_put_str(&job->also_in, program);
    buf_put_str(&job->gpus, gpus);
    start_job(job);
}

void runfiles_gpus(struct runfiles *r, struct str fields)
{
    if (r->waiting_program.len == 0)
        return;
    start_host_record(r, buf_str(&r->waiting_program), fields);
    buf_fini(&r->waiting_program);
    one_less(r);
}

bool runfiles_probe(struct runfiles *r, int64_t now_ns)
{
    (void)now_ns;
    if (!may_write(r) || flag(r, SET_DISABLE_META) || flag(r, SET_DISABLE_MACHINE_INFO))
        return false;
    AUTO_BUF program = {0};
    bool has_stats = !flag(r, SET_DISABLE_STATS);
    machine_put_program(&program, r->settings->raw, git_of(r), r->writer_id);
    r->owner.keep(r->owner.ctx, RECORD_ENVIRONMENT, buf_str(&program));
    bool asks = r->owner.scrape_gpus && has_stats && r->waiting_program.len == 0;
    if (!asks) {
        start_host_record(r, buf_str(&program), STR(""));
        return has_stats;
    }
    buf_put_str(&r->waiting_program, buf_str(&program));
    r->n_busy++;
    r->owner.scrape_gpus(r->owner.ctx);
    return has_stats;
}

/* ---- code ---- */

static int copy_file(const char *from, const char *files_dir, const char *name)
{
    AUTO_BUF bytes = {0};
    int rc = os_read_file(from, 256 << 20, &bytes);
    return rc < 0 ? rc : write_file(files_dir, name, buf_str(&bytes));
}

/* `in` is where the program is, `also_in` its path in the repository. */
static void make_code(struct file_job *job)
{
    AUTO_BUF name = {0};
    buf_puts(&name, "code/");
    buf_put_str(&name, buf_str(&job->also_in));
    const char *from = buf_z(&job->in), *z = buf_z(&name);
    AUTO_FREE char *path = z ? path_join(job->files_dir, z) : NULL;
    struct stat st;
    if (!from || !path || stat(from, &st) != 0 || !S_ISREG(st.st_mode)) /* not a pipe, which is read only once */
        return;
    if (stat(path, &st) != 0 && copy_file(from, job->files_dir, z) < 0)
        return;
    put_files_item(&job->record, buf_str(&name));
}

static void save_code(struct runfiles *r)
{
    struct str relative = setting_wire_text(r->settings->raw, SET_PROGRAM_RELPATH);
    struct str absolute = setting_wire_text(r->settings->raw, SET_PROGRAM_ABSPATH);
    if (!path_is_safe(relative) || absolute.n == 0)
        return;
    struct file_job *job = new_job(r, make_code, RECORD_FILES);
    buf_put_str(&job->in, absolute);
    buf_put_str(&job->also_in, relative);
    start_job(job);
}

/* `in` is the repository's folder. */
static void make_patches(struct file_job *job)
{
    AUTO_BUF names = {0};
    const char *root = buf_z(&job->in);
    if (!root)
        return;
    git_save_patches(root, job->files_dir, job->fork_point, &names);
    for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1)
        put_files_item(&job->record, str_of(names.data + at));
}

/* The client names the repository if its own folder is in one. Else the program may be: the peer
 * then looks around its own working folder, which for a service of many programs is anywhere. */
static void save_patches(struct runfiles *r)
{
    struct str root = setting_wire_text(r->settings->raw, SET_GIT_ROOT);
    if (root.n == 0)
        root = path_dir(setting_wire_text(r->settings->raw, SET_PROGRAM_ABSPATH));
    if (flag(r, SET_DISABLE_GIT))
        return;
    struct file_job *job = new_job(r, make_patches, RECORD_FILES);
    buf_put_str(&job->in, root);
    job->fork_point = !flag(r, SET_DISABLE_GIT_FORK_POINT);
    start_job(job);
}

/* Endpoints are asked a while before, so that their answers are there. What comes later is in the next
 * sample. */
static void set_sample_due(struct runfiles *r, int64_t due_ns, int64_t ahead_ns)
{
    r->sample_due_ns = due_ns;
    if (r->owner.scrape)
        r->scrape_due_ns = due_ns - ahead_ns;
}

static void set_first_sample(struct runfiles *r)
{
    int64_t wait_ns = r->owner.scrape ? SYSMON_ANSWERS_NS : SYSMON_FIRST_NS;
    set_sample_due(r, r->made_ns + wait_ns, wait_ns);
}

static void set_next_sample(struct runfiles *r, int64_t due_ns)
{
    int64_t half_ns = sysmon_interval_ns(r->sysmon) / 2;
    set_sample_due(r, due_ns, half_ns < SYSMON_AHEAD_NS ? half_ns : SYSMON_AHEAD_NS);
}

void runfiles_start(struct runfiles *r, struct str run)
{
    buf_clear(&r->git);
    buf_put_str(&r->git, wire_find_bytes(run, RUN_GIT));
    if (may_write(r) && flag(r, SET_SAVE_CODE) && !flag(r, SET_DISABLE_MACHINE_INFO)) {
        save_code(r);
        save_patches(r);
    }
    if (!r->sysmon && !r->finished && (r->sysmon = sysmon_new(r->settings->raw)))
        set_first_sample(r);
}

/* ---- TensorBoard ---- */

static void on_tensorboard_feed(void *ctx, struct str record)
{
    struct runfiles *r = ctx;
    r->owner.feed(r->owner.ctx, record);
}

static void on_tensorboard_work(void *ctx, struct handler_job *job)
{
    struct runfiles *r = ctx;
    r->owner.work(r->owner.ctx, job);
}

static void on_tensorboard_idle(void *ctx, int64_t now_ns)
{
    one_less(ctx);
}

void runfiles_tensorboard(struct runfiles *r, struct str tbrecord, int64_t now_ns)
{
    if (r->finished)
        return;
    struct tensorboard_owner owner = {r, on_tensorboard_feed, on_tensorboard_work, on_tensorboard_idle};
    if (!r->tensorboard)
        r->tensorboard = tensorboard_new(r->settings, &owner);
    tensorboard_add(r->tensorboard, tbrecord, now_ns);
}

/* ---- output.log ---- */

struct console_job {
    struct handler_job base;
    struct runfiles *r;
    struct console_write *write;
    bool is_last; /* begun after the end: not tried again */
};

static void console_job_run(struct handler_job *base)
{
    console_write_run(((struct console_job *)base)->write);
}

static void write_console(struct runfiles *r, int64_t now_ns);

static void console_job_done(struct handler_job *base, struct handler *h)
{
    (void)h;
    struct console_job *job = (struct console_job *)base;
    struct runfiles *r = job->r;
    bool is_lost = job->write->rc < 0 && job->is_last;
    int rc = console_written(r->console, job->write, clock_steady_ns());
    if (rc < 0)
        diag_warn("runfiles: output.log of %s: %s", r->settings->files_dir, err_text(rc));
    if (r->finished && !is_lost)
        write_console(r, clock_steady_ns()); /* what came while this was under way, or was refused before */
    mem_free(job);
}

/* Of an online run that has its output in parts: each is uploaded at the end. (An offline one names
 * no part: the peer's sync makes its own.) */
static void name_part(struct runfiles *r, const struct console_write *w)
{
    size_t n = strlen(r->settings->files_dir);
    AUTO_BUF record = {0};
    if (r->settings->offline || !w->is_first || !flag(r, SET_CONSOLE_MULTIPART) ||
        strncmp(w->path, r->settings->files_dir, n) != 0 || w->path[n] != '/')
        return;
    size_t mark = wire_buf_begin(&record, 1);
    wire_buf_bytes(&record, ITEM_PATH, str_of(w->path + n + 1));
    wire_buf_varint(&record, ITEM_POLICY, POLICY_END);
    wire_buf_varint(&record, ITEM_TYPE, TYPE_WANDB);
    wire_buf_end(&record, mark);
    r->owner.keep(r->owner.ctx, RECORD_FILES, buf_str(&record));
}

static void write_console(struct runfiles *r, int64_t now_ns)
{
    struct console_write *w = console_take_write(r->console, now_ns, r->finished);
    if (!w)
        return;
    name_part(r, w);
    struct console_job *job = xmem_calloc(1, sizeof *job);
    job->base.run = console_job_run;
    job->base.done = console_job_done;
    job->r = r;
    job->write = w;
    job->is_last = r->finished;
    r->owner.work(r->owner.ctx, &job->base);
}

void runfiles_output(struct runfiles *r, struct str output_raw, int64_t now_ns)
{
    bool is_error = wire_find_varint(output_raw, RAW_TYPE) != RAW_STDOUT;
    if (!r->finished)
        console_output(r->console, is_error, wire_find_bytes(output_raw, RAW_LINE), now_ns);
}

void runfiles_line(struct runfiles *r, struct str output_logger, int64_t now_ns)
{
    if (!r->finished)
        console_line(r->console, wire_find_bytes(output_logger, LOGGER_LINE), now_ns);
}

/* ---- metrics of the system ---- */

struct sample_job {
    struct handler_job base;
    struct runfiles *r;
    int64_t now_ns;
    struct buf scraped;
    struct buf record;
};

static void sample_job_run(struct handler_job *base)
{
    struct sample_job *job = (struct sample_job *)base;
    /* nobody else touches it meanwhile */
    sysmon_sample(job->r->sysmon, clock_shown_ns(job->now_ns), buf_str(&job->scraped), &job->record);
}

static void take_sample(struct runfiles *r, struct str record)
{
    sysmon_buffer_add(&r->samples, record);
    r->owner.keep(r->owner.ctx, RECORD_STATS, record);
}

/* Runs with one interval take their samples at the same moments, so that what they share is read once and
 * the loop wakes up once for all. The first and second sample are half an interval apart at least. */
static int64_t next_tick(int64_t now_ns, int64_t interval_ns)
{
    return ((now_ns + interval_ns / 2) / interval_ns + 1) * interval_ns;
}

static void sample_job_done(struct handler_job *base, struct handler *h)
{
    (void)h;
    struct sample_job *job = (struct sample_job *)base;
    struct runfiles *r = job->r;
    if (!r->finished) {
        if (job->record.len > 0 && !job->record.failed)
            take_sample(r, buf_str(&job->record));
        set_next_sample(r, next_tick(job->now_ns, sysmon_interval_ns(r->sysmon)));
    }
    buf_fini(&job->scraped);
    buf_fini(&job->record);
    mem_free(job);
}

static void start_sample(struct runfiles *r, int64_t now_ns)
{
    struct sample_job *job = xmem_calloc(1, sizeof *job);
    job->base.run = sample_job_run;
    job->base.done = sample_job_done;
    job->r = r;
    job->now_ns = now_ns;
    if (r->owner.scrape)
        r->owner.scrape(r->owner.ctx, &job->scraped);
    r->sample_due_ns = r->scrape_due_ns = INT64_MAX;
    r->owner.work(r->owner.ctx, &job->base);
}

void runfiles_metrics(const struct runfiles *r, struct buf *to)
{
    sysmon_buffer_put(&r->samples, r->sysmon ? sysmon_label(r->sysmon) : STR(""), to);
}

void runfiles_pause(struct runfiles *r, bool paused)
{
    r->paused = paused;
}

/* ---- time and end ---- */

int64_t runfiles_deadline(const struct runfiles *r)
{
    int64_t console_ns = console_deadline(r->console);
    int64_t other_ns = r->tensorboard ? tensorboard_deadline(r->tensorboard) : INT64_MAX;
    int64_t due_ns = console_ns < other_ns ? console_ns : other_ns;
    if (!r->paused && !r->finished && r->sample_due_ns < due_ns)
        due_ns = r->sample_due_ns;
    if (!r->paused && !r->finished && r->scrape_due_ns < due_ns)
        due_ns = r->scrape_due_ns;
    return due_ns;
}

void runfiles_tick(struct runfiles *r, int64_t now_ns)
{
    if (now_ns >= console_deadline(r->console))
        write_console(r, now_ns);
    if (r->tensorboard)
        tensorboard_tick(r->tensorboard, now_ns);
    if (!r->paused && !r->finished && r->scrape_due_ns != INT64_MAX && now_ns >= r->scrape_due_ns) {
        r->scrape_due_ns = INT64_MAX;
        r->owner.scrape(r->owner.ctx, NULL);
    }
    if (!r->paused && !r->finished && r->sample_due_ns != INT64_MAX && now_ns >= r->sample_due_ns)
        start_sample(r, now_ns);
}

bool runfiles_finish(struct runfiles *r, int64_t now_ns)
{
    if (!r->finished) {
        r->finished = true;
        runfiles_gpus(r, STR("")); /* nobody waits for an exporter any more */
        write_console(r, now_ns);
        if (r->tensorboard && !tensorboard_finish(r->tensorboard, now_ns))
            r->n_busy++;
    }
    r->idle_wanted = r->n_busy > 0;
    return r->n_busy == 0;
}
