/* SPDX-License-Identifier: MIT */
/* The handler on arbitrary records. The input is read as a message: field 1 is a Record, field 2
 * moves the clock (ms), field 3 closes. Whatever comes in, every record that goes to the journal
 * decodes, their numbers are without a hole, and a summary that changed is due within its time. */
#include "record/check.h"
#include "record/record.h"
#include "record/wire.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"
#include "follows.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_JOBS = 256 };

struct state {
    struct arena arena;
    int64_t n_records;
    struct handler_job *jobs[MAX_JOBS];
    size_t n_jobs;
};

static void on_append(void *ctx, struct str bytes)
{
    struct state *s = ctx;
    Pb__Record *r;
    assert(record_check(&pb__record__descriptor, bytes));
    assert(record_decode(&s->arena, bytes.p, bytes.n, &r, NULL) == 0);
    assert(r->num == ++s->n_records);
    arena_reset(&s->arena);
}

static void on_reply(void *ctx, const struct reply_to *to, struct str result, enum reply_when when)
{
    struct state *s = ctx;
    ProtobufCMessage *m;
    (void)when;
    assert(to->wanted);
    assert(record_unpack(&pb__result__descriptor, &s->arena, result.p, result.n, &m, NULL) == 0);
    arena_reset(&s->arena);
}

static void on_fail(void *ctx, const struct reply_to *to, const char *message)
{
    (void)ctx;
    assert(to->wanted && *message);
}

static void on_work(void *ctx, struct handler_job *job)
{
    struct state *s = ctx;
    assert(s->n_jobs < MAX_JOBS);
    s->jobs[s->n_jobs++] = job;
}

/* Jobs are ended without being run: they would write files. */
static void end_jobs(struct state *s, struct handler *h)
{
    while (s->n_jobs) {
        struct handler_job *job = s->jobs[--s->n_jobs];
        job->done(job, h);
    }
}

static void one(struct state *s, struct handler *h, const struct wire_field *f, int64_t *now_ns)
{
    struct reply_to to = {.wanted = f->bytes.n % 2, .mailbox_slot = "slot"};
    if (f->number == 1 && f->type == WIRE_BYTES && !follows_a_folder(f->bytes))
        handler_record(h, f->bytes, &to, *now_ns);
    else if (f->number == 2 && f->type == WIRE_VARINT)
        *now_ns += (int64_t)(f->value % 100000) * 1000000;
    else if (f->number == 3)
        handler_close(h, *now_ns);
    if (*now_ns >= handler_deadline(h))
        handler_tick(h, *now_ns);
    end_jobs(s, h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state s = {0};
    arena_init(&s.arena, 0);
    struct stream_settings settings = {
        .run_id = "run",
        .sync_dir = "",
        .sync_file = "",
        .files_dir = "/nowhere",
        .offline = true,
        .shared = size % 5 == 0,
        .server_side_summary = size % 7 == 0,
    };
    struct handler_out out = {&s, on_append, on_reply, on_fail, on_work};
    int64_t now_ns = 1795000000000000000;
    struct handler *h = handler_new(&settings, &out, now_ns);
    struct wire_reader r = wire_open(str_make(data, size));
    struct wire_field f = {0};
    while (wire_next(&r, &f) == 1)
        one(&s, h, &f, &now_ns);
    handler_close(h, now_ns);
    end_jobs(&s, h);
    handler_free(h);
    arena_fini(&s.arena);
    return 0;
}
