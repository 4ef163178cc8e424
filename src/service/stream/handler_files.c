/* SPDX-License-Identifier: MIT */
/* The rules that make files: they hand on to runfiles, whose records come back here. */
#include "service/stream/handler_impl.h"

#include "base/clock.h"
#include "record/wire.h"

static void on_keep(void *ctx, uint32_t kind, struct str body)
{
    struct handler *h = ctx;
    if (!h->exited) /* a reader of the journal stops at the exit record */
        handler_keep(h, kind, body);
}

static void on_work(void *ctx, struct handler_job *job)
{
    struct handler *h = ctx;
    h->out.work(h->out.ctx, job);
}

/* Nobody waits for an answer to what was made here. */
static void on_feed(void *ctx, struct str record)
{
    struct handler *h = ctx;
    struct reply_to nobody = {0};
    if (!h->exited)
        handler_record(h, record, &nobody, clock_steady_ns());
}

static void on_scrape(void *ctx, struct buf *to)
{
    struct handler *h = ctx;
    h->out.scrape(h->out.ctx, to);
}

static void on_scrape_gpus(void *ctx)
{
    struct handler *h = ctx;
    h->out.scrape_gpus(h->out.ctx);
}

static void on_idle(void *ctx, int64_t now_ns)
{
    struct handler *h = ctx;
    if (h->exit_waits)
        handler_exit_now(h, now_ns);
    else if (!h->exited)
        handler_write_summary(h); /* of rows that came after handler_close */
}

void handler_files_init(struct handler *h, int64_t now_ns)
{
    struct runfiles_owner owner = {h, on_keep, on_work, on_feed, on_idle,
                                   h->out.scrape ? on_scrape : NULL,
                                   h->out.scrape_gpus ? on_scrape_gpus : NULL};
    h->files = runfiles_new(h->settings, &owner, now_ns);
}

const char *handler_writer_id(const struct handler *h)
{
    return runfiles_writer_id(h->files);
}

void rule_python_packages(struct handler *h, const struct incoming *in)
{
    runfiles_packages(h->files, in->body);
    handler_fail(h, in->to, "No response.");
}

void rule_probe_system_info(struct handler *h, const struct incoming *in)
{
    if (runfiles_probe(h->files, in->now_ns) && h->out.probed)
        h->out.probed(h->out.ctx);
    handler_fail(h, in->to, "No response.");
}

void handler_gpus(struct handler *h, struct str fields)
{
    runfiles_gpus(h->files, fields);
}

void handler_environment(struct handler *h, struct str fields)
{
    enum { RECORD_ENVIRONMENT = 26, WRITER_ID = 199 };
    AUTO_BUF record = {0};
    buf_put_str(&record, fields);
    wire_buf_bytes(&record, WRITER_ID, str_of(handler_writer_id(h)));
    on_keep(h, RECORD_ENVIRONMENT, buf_str(&record));
}

void rule_get_system_metrics(struct handler *h, const struct incoming *in)
{
    enum { GET_SYSTEM_METRICS_RESPONSE = 69 };
    AUTO_BUF body = {0};
    runfiles_metrics(h->files, &body);
    handler_respond(h, in->to, GET_SYSTEM_METRICS_RESPONSE, buf_str(&body), REPLY_NOW);
}

void rule_tbrecord(struct handler *h, const struct incoming *in)
{
    runfiles_tensorboard(h->files, in->body, in->now_ns);
}

void rule_output_raw(struct handler *h, const struct incoming *in)
{
    runfiles_output(h->files, in->body, in->now_ns);
}

void rule_output_logger(struct handler *h, const struct incoming *in)
{
    runfiles_line(h->files, in->body, in->now_ns);
}
