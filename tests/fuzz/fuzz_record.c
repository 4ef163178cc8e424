/* SPDX-License-Identifier: MIT */
/* Records as a client sends them, several in one input (each behind its length as u16), to one
 * handler: the hot path walks their bytes in place. What must hold: no crash, and whatever is kept
 * or answered decodes. Jobs are not run: no input can touch a file. */
#include "base/arena.h"
#include "base/diag.h"
#include "record/record.h"
#include "record/wire.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"
#include "follows.h"

#include <stdlib.h>

static struct arena arena;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void on_append(void *ctx, struct str record)
{
    Pb__Record *r;
    (void)ctx;
    must(record_decode(&arena, record.p, record.n, &r, NULL) == 0);
    arena_reset(&arena);
}

static void on_reply(void *ctx, const struct reply_to *to, struct str result, enum reply_when when)
{
    ProtobufCMessage *m;
    (void)ctx, (void)when;
    must(to->connection_id == 1);
    must(record_unpack(&pb__result__descriptor, &arena, result.p, result.n, &m, NULL) == 0);
    arena_reset(&arena);
}

static void on_fail(void *ctx, const struct reply_to *to, const char *message)
{
    (void)ctx;
    must(to->connection_id == 1 && message);
}

/* A job that is never done would be a leak: it is told that it was, without having run. */
static struct handler_job *jobs[64];
static int n_jobs;

static void on_work(void *ctx, struct handler_job *job)
{
    (void)ctx;
    must(n_jobs < 64);
    jobs[n_jobs++] = job;
}

static void end_jobs(struct handler *h)
{
    while (n_jobs) {
        struct handler_job *job = jobs[--n_jobs];
        job->done(job, h);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct handler_out out = {NULL, on_append, on_reply, on_fail, on_work};
    const struct stream_settings settings = {.run_id = "r", .sync_dir = "/nowhere",
                                             .sync_file = "/nowhere/r", .files_dir = "/nowhere/files",
                                             .log_dir = "", .log_file = "", .offline = true,
                                             .primary = true};
    struct reply_to to = {.connection_id = 1, .request_id = "q", .mailbox_slot = "q"};
    int64_t now_ns = INT64_C(1700000000000000000);
    diag_min_level = 100;
    arena_init(&arena, 1 << 28);
    struct handler *h = handler_new(&settings, &out, now_ns);
    for (int n = 0; size >= 2 && n < 20; n++) {
        size_t len = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2, size -= 2;
        len = len < size ? len : size;
        to.wanted = n % 2;
        now_ns += 300000000;
        if (!follows_a_folder(str_make(data, len)))
            handler_record(h, str_make(data, len), &to, now_ns);
        if (handler_deadline(h) <= now_ns)
            handler_tick(h, now_ns);
        end_jobs(h);
        data += len, size -= len;
    }
    handler_close(h, now_ns);
    end_jobs(h);
    handler_free(h);
    arena_fini(&arena);
    return 0;
}
