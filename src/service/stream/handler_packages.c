/* SPDX-License-Identifier: MIT */
/* requirements.txt: the packages the client has loaded, written to the run's files by a worker;
 * when it is there, a files record tells so. */
#include "service/stream/handler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

#include <stdio.h>

#define FILE_NAME "requirements.txt"

struct job {
    struct handler_job job; /* first: the worker knows only this */
    char *path;
    struct buf text;
    int rc;
};

/* "name==version" */
static void put_package(struct str package, struct buf *to)
{
    struct wire_reader r = wire_open(package);
    struct wire_field f = {0};
    struct str name = {0}, version = {0};
    while (wire_next(&r, &f) == 1) {
        if (f.number == 1 && f.type == WIRE_BYTES)
            name = f.bytes;
        else if (f.number == 2 && f.type == WIRE_BYTES)
            version = f.bytes;
    }
    buf_put_str(to, name);
    buf_puts(to, "==");
    buf_put_str(to, version);
    buf_putc(to, '\n');
}

static void put_packages(struct str request, struct buf *to)
{
    struct wire_reader r = wire_open(request);
    struct wire_field f = {0};
    while (wire_next(&r, &f) == 1)
        if (f.number == 1 && f.type == WIRE_BYTES)
            put_package(f.bytes, to);
}

static void run_job(struct handler_job *base)
{
    struct job *j = (struct job *)base;
    j->rc = os_write_file(j->path, j->text.data, j->text.len, 0644);
}

static void put_files_record(struct handler *h, const char *path)
{
    enum { RECORD_FILES = 6, FILES = 1, PATH = 1, TYPE = 3, TYPE_WANDB = 1 };
    handler_record_begin(h);
    size_t record = wire_buf_begin(&h->bytes, RECORD_FILES);
    size_t item = wire_buf_begin(&h->bytes, FILES);
    wire_buf_bytes(&h->bytes, PATH, str_of(path));
    wire_buf_varint(&h->bytes, TYPE, TYPE_WANDB);
    wire_buf_end(&h->bytes, item);
    wire_buf_end(&h->bytes, record);
    handler_record_end(h);
}

static void job_done(struct handler_job *base, struct handler *h)
{
    struct job *j = (struct job *)base;
    if (j->rc)
        diag_warn("handler: cannot write %s: %s", j->path, err_text(j->rc));
    else
        put_files_record(h, FILE_NAME);
    buf_fini(&j->text);
    mem_free(j->path);
    mem_free(j);
}

void rule_python_packages(struct handler *h, const struct incoming *in)
{
    handler_fail(h, in->to, "No response.");
    if (!h->settings->primary || !*h->settings->files_dir)
        return;
    struct job *j = xmem_calloc(1, sizeof *j);
    j->job = (struct handler_job){.run = run_job, .done = job_done};
    size_t n = strlen(h->settings->files_dir) + sizeof "/" FILE_NAME;
    j->path = xmem_alloc(n);
    snprintf(j->path, n, "%s/%s", h->settings->files_dir, FILE_NAME);
    put_packages(in->body, &j->text);
    h->out.work(h->out.ctx, &j->job);
}
