/* SPDX-License-Identifier: MIT */
/* The run itself: header, run record, start, attach, its clock, exit.
 *
 * The order on the wire is header, run (answered with what the run now is), run_start (answered
 * empty), ... exit (answered when everything is in the file).
 *
 * At exit the journal gets what is still open, in the peer's order: the open row, the summary, the
 * exit record with the runtime filled in. Nothing of a footer: the peer drops footer and final. */
#include "service/stream/handler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "record/config.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

enum {
    RECORD_RUN = 17,
    RECORD_EXIT = 18,
    RECORD_HEADER = 21,
    RUN_ID = 1,
    RUN_CONFIG = 4,
    RUN_SUMMARY = 5,
    RUN_STARTING_STEP = 14,
    RUN_TELEMETRY = 19,
    RUN_FORKED = 22,
    RUN_BRANCH_POINT = 23,
    BRANCH_RUN = 1,
    BRANCH_VALUE = 2,
    UPDATE_RUN = 1, /* of RunUpdateResult */
};

/* What the journal says of who wrote it; the second is what the peer asks of a server. */
#define PRODUCER "0.31.0+tare-" TARE_VERSION
#define MIN_CONSUMER "0.70.0"

void rule_header(struct handler *h, const struct incoming *in)
{
    (void)in;
    handler_record_begin(h);
    size_t header = wire_buf_begin(&h->bytes, RECORD_HEADER);
    size_t version = wire_buf_begin(&h->bytes, 1);
    wire_buf_bytes(&h->bytes, 1, STR(PRODUCER));
    wire_buf_bytes(&h->bytes, 2, STR(MIN_CONSUMER));
    wire_buf_end(&h->bytes, version);
    wire_buf_end(&h->bytes, header);
    handler_record_end(h);
}

/* -- the clock ------------------------------------------------------------------------------- */

int64_t handler_runtime_ns(const struct handler *h, int64_t now_ns)
{
    int64_t running = h->clock_runs && now_ns > h->started_ns ? now_ns - h->started_ns : 0;
    return h->elapsed_ns + running;
}

static void start_clock(struct handler *h, int64_t now_ns)
{
    if (h->clock_runs)
        return;
    h->clock_runs = true;
    h->started_ns = now_ns;
}

void rule_pause(struct handler *h, const struct incoming *in)
{
    h->elapsed_ns = handler_runtime_ns(h, in->now_ns);
    h->clock_runs = false;
    runfiles_pause(h->files, true);
    handler_fail(h, in->to, "No response.");
}

void rule_resume(struct handler *h, const struct incoming *in)
{
    start_clock(h, in->now_ns);
    runfiles_pause(h->files, false);
    handler_fail(h, in->to, "No response.");
}

/* -- run ------------------------------------------------------------------------------------- */

/* A run that branches off another one starts behind the branch point. */
static int64_t fork_step(struct str branch_point, bool *is_fork, struct str run_id)
{
    struct wire_reader r = wire_open(branch_point);
    struct wire_field f;
    struct str run = {0};
    double value = 0;
    while (wire_next(&r, &f) == 1) {
        if (f.number == BRANCH_RUN && f.type == WIRE_BYTES)
            run = f.bytes;
        else if (f.number == BRANCH_VALUE && f.type == WIRE_FIXED64)
            memcpy(&value, &f.value, sizeof value);
    }
    *is_fork = run.n && !str_eq(run, run_id);
    return value >= 0 && value < 9e18 ? (int64_t)value + 1 : 0;
}

/* The RunRecord as it came, but with the config as it now stands, an empty summary, and for a fork
 * where it starts. */
static void put_run(const struct incoming *in, struct buf *to)
{
    struct wire_reader r = wire_open(in->body);
    struct wire_field f;
    struct str config = {0}, telemetry = {0}, branch = {0}, id = {0};
    const char *from = r.p;
    for (; wire_next(&r, &f) == 1; from = r.p) {
        if (f.type == WIRE_BYTES && f.number == RUN_CONFIG) {
            config = f.bytes;
            continue;
        }
        if (f.type == WIRE_BYTES && f.number == RUN_SUMMARY)
            continue;
        if (f.type == WIRE_BYTES && f.number == RUN_TELEMETRY)
            telemetry = f.bytes;
        else if (f.type == WIRE_BYTES && f.number == RUN_BRANCH_POINT)
            branch = f.bytes;
        else if (f.type == WIRE_BYTES && f.number == RUN_ID)
            id = f.bytes;
        buf_append(to, from, (size_t)(r.p - from));
    }
    bool is_fork = false;
    int64_t step = fork_step(branch, &is_fork, id);
    if (is_fork) {
        wire_buf_varint(to, RUN_FORKED, 1);
        wire_buf_varint(to, RUN_STARTING_STEP, (uint64_t)step);
    }
    size_t mark = wire_buf_begin(to, RUN_CONFIG);
    config_put_run_result(config, telemetry, to);
    wire_buf_end(to, mark);
    wire_buf_bytes(to, RUN_SUMMARY, STR(""));
}

/* `update` is a RunUpdateResult. */
static void reply_run(struct handler *h, const struct reply_to *to, const struct buf *update)
{
    AUTO_BUF result = {0};
    wire_buf_bytes(&result, RESULT_RUN, buf_str(update));
    if (result.failed || update->failed)
        handler_fail(h, to, "Out of memory.");
    else if (to->wanted)
        h->out.reply(h->out.ctx, to, buf_str(&result), REPLY_NOW);
}

bool handler_has_run(const struct handler *h)
{
    return h->has_run;
}

void rule_run(struct handler *h, const struct incoming *in)
{
    if (!h->has_run)
        start_clock(h, in->now_ns);
    h->has_run = true;
    if (!in->to->wanted)
        return;
    if (h->online && h->refusal.len) {
        reply_run(h, in->to, &h->refusal);
        return;
    }
    if (h->online) { /* the backend is asked when it is in the journal */
        h->run_to = *in->to;
        return;
    }
    AUTO_BUF update = {0};
    size_t run = wire_buf_begin(&update, UPDATE_RUN);
    put_run(in, &update);
    wire_buf_end(&update, run);
    reply_run(h, in->to, &update);
}

/* The clock counts from here, behind the run's earlier parts. */
void handler_run_known(struct handler *h, struct str run, int64_t runtime_ms, int64_t now_ns)
{
    AUTO_BUF update = {0};
    h->elapsed_ns = runtime_ms * 1000000;
    h->started_ns = now_ns;
    wire_buf_bytes(&update, UPDATE_RUN, run);
    reply_run(h, &h->run_to, &update);
    h->run_to = (struct reply_to){0};
}

void handler_run_refused(struct handler *h, int code, const char *message)
{
    enum { UPDATE_ERROR = 2, ERROR_MESSAGE = 1, ERROR_CODE = 2 };
    size_t error = wire_buf_begin(&h->refusal, UPDATE_ERROR);
    wire_buf_bytes(&h->refusal, ERROR_MESSAGE, str_of(message));
    if (code)
        wire_buf_varint(&h->refusal, ERROR_CODE, (uint64_t)code);
    wire_buf_end(&h->refusal, error);
    reply_run(h, &h->run_to, &h->refusal);
    h->run_to = (struct reply_to){0};
}

void rule_run_start(struct handler *h, const struct incoming *in)
{
    struct wire_reader r = wire_open(in->body);
    struct wire_field f;
    while (wire_next(&r, &f) == 1) {
        if (f.number != 1 || f.type != WIRE_BYTES)
            continue;
        buf_fini(&h->run);
        buf_put_str(&h->run, f.bytes);
        runfiles_start(h->files, f.bytes);
        struct wire_reader run = wire_open(f.bytes);
        for (struct wire_field g; wire_next(&run, &g) == 1;)
            if (g.number == RUN_STARTING_STEP && g.type == WIRE_VARINT)
                h->starting_step = (int64_t)g.value;
    }
    handler_respond(h, in->to, NO_RESPONSE, STR(""), REPLY_NOW);
}

void rule_attach(struct handler *h, const struct incoming *in)
{
    enum { ATTACH_RESPONSE = 65, RUN = 1 };
    AUTO_BUF body = {0};
    if (h->run.len)
        wire_buf_bytes(&body, RUN, buf_str(&h->run));
    handler_respond(h, in->to, ATTACH_RESPONSE, buf_str(&body), REPLY_NOW);
}

/* -- exit ------------------------------------------------------------------------------------ */

/* `body` is a RunExitRecord; its runtime is replaced. */
static void write_exit(struct handler *h, struct str body, int64_t now_ns)
{
    enum { RUNTIME = 2 };
    h->exited = true;
    if (!h->settings->server_side_summary)
        handler_summary_runtime(h, now_ns);
    handler_flush_row(h, handler_step_after(h), now_ns);
    handler_write_summary(h);
    handler_record_begin(h);
    size_t mark = wire_buf_begin(&h->bytes, RECORD_EXIT);
    struct wire_reader r = wire_open(body);
    struct wire_field f;
    const char *from = r.p;
    for (; wire_next(&r, &f) == 1; from = r.p)
        if (f.number != RUNTIME)
            buf_append(&h->bytes, from, (size_t)(r.p - from));
    int64_t seconds = handler_runtime_ns(h, now_ns) / 1000000000;
    if (seconds)
        wire_buf_varint(&h->bytes, RUNTIME, (uint64_t)seconds);
    wire_buf_end(&h->bytes, mark);
    handler_record_end(h);
}

void rule_exit(struct handler *h, const struct incoming *in)
{
    if (h->exited || h->exit_waits) {
        diag_warn("handler: a second exit is ignored");
        handler_fail(h, in->to, "No response.");
        return;
    }
    buf_put_str(&h->exit_body, in->body);
    h->exit_to = *in->to;
    h->exit_waits = true;
    if (runfiles_finish(h->files, in->now_ns))
        handler_exit_now(h, in->now_ns);
}

void handler_exit_now(struct handler *h, int64_t now_ns)
{
    if (!h->exit_waits)
        return;
    h->exit_waits = false;
    write_exit(h, buf_str(&h->exit_body), now_ns);
    buf_fini(&h->exit_body);
    AUTO_BUF result = {0};
    wire_buf_bytes(&result, RESULT_EXIT, STR(""));
    if (h->exit_to.wanted)
        h->out.reply(h->out.ctx, &h->exit_to, buf_str(&result),
                     h->online ? REPLY_WHEN_SENT : REPLY_WHEN_WRITTEN);
    if (!h->online || h->sent)
        handler_release_waiters(h, REPLY_WHEN_WRITTEN);
}

void handler_sent(struct handler *h)
{
    h->sent = true;
    if (h->exited)
        handler_release_waiters(h, REPLY_NOW);
}
