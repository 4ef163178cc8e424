/* SPDX-License-Identifier: MIT */
/* The way of a record through the handler:
 *
 *   bytes -> which kind? -> its rule (state, answers, more records) -> kept in the journal or not
 *
 * The hot kind, a request of partial_history, is looked for first and never decoded as a tree: see
 * handler_history.c and record/row.c. All others are looked up in the tables of handler_kinds.c.
 *
 * A record is kept as { num, kind }: `control` and `_info` only matter on the way here. Records
 * are numbered from 1 in the order of the journal, as the peer does. */
#include "service/stream/handler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/random.h"
#include "record/check.h"
#include "record/record.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

#include <stdarg.h>
#include <stdio.h>

/* The setting x_history_value_encoding: a list of "json" and "typed"; JSON if it names neither. */
static unsigned history_forms(const struct stream_settings *settings)
{
    enum { X_HISTORY_VALUE_ENCODING = 211 };
    struct str list = setting_wire_text(settings->raw, X_HISTORY_VALUE_ENCODING);
    if (!list.p)
        return ROW_JSON;
    bool typed = memmem(list.p, list.n, "typed", 5), json = memmem(list.p, list.n, "json", 4);
    return typed ? ROW_TYPED | (json ? ROW_JSON : 0u) : ROW_JSON;
}

struct handler *handler_new(const struct stream_settings *settings, const struct handler_out *out,
                            int64_t now_ns)
{
    struct handler *h = mem_calloc(1, sizeof *h);
    if (!h)
        return NULL;
    uint64_t seed[2];
    random_bytes(seed, sizeof seed);
    h->settings = settings;
    h->out = *out;
    h->summary_due_ns = INT64_MAX;
    h->online = out->ask != NULL;
    handler_files_init(h, now_ns);
    summary_init(&h->summary, seed[0]);
    metrics_init(&h->metrics, seed[0]);
    row_init(&h->row, &h->summary, history_forms(settings));
    sampler_init(&h->sampler, seed[1]);
    h->step_slot = summary_slot_z(&h->summary, "_step");
    h->runtime_slot = summary_slot_z(&h->summary, "_runtime");
    struct str labels[] = {STR("_wandb"), STR("runtime")};
    AUTO_BUF path = {0};
    summary_path(&path, labels, 2);
    h->wandb_runtime_slot = summary_slot(&h->summary, buf_str(&path));
    return h;
}

void handler_free(struct handler *h)
{
    if (!h)
        return;
    handler_messages_fini(h);
    runfiles_free(h->files);
    buf_fini(&h->exit_body);
    row_fini(&h->row);
    sampler_fini(&h->sampler);
    metrics_fini(&h->metrics);
    summary_fini(&h->summary);
    buf_fini(&h->run);
    buf_fini(&h->refusal);
    buf_fini(&h->bytes);
    mem_free(h);
}

/* -- out ------------------------------------------------------------------------------------- */

void handler_record_begin(struct handler *h)
{
    buf_clear(&h->bytes);
    wire_buf_varint(&h->bytes, RECORD_NUM, h->n_kept + 1);
}

void handler_record_end(struct handler *h)
{
    if (h->bytes.failed) {
        handler_warn(h, "A record was lost: out of memory.");
        return;
    }
    h->n_kept++;
    h->out.append(h->out.ctx, buf_str(&h->bytes));
    if (h->bytes.cap > 64 << 10)
        buf_fini(&h->bytes);
}

void handler_keep(struct handler *h, uint32_t kind, struct str body)
{
    handler_record_begin(h);
    wire_buf_bytes(&h->bytes, kind, body);
    handler_record_end(h);
}

void handler_respond(struct handler *h, const struct reply_to *to, uint32_t response,
                     struct str body, enum reply_when when)
{
    if (!to->wanted)
        return;
    AUTO_BUF result = {0};
    size_t mark = wire_buf_begin(&result, RESULT_RESPONSE);
    if (response != NO_RESPONSE)
        wire_buf_bytes(&result, response, body);
    wire_buf_end(&result, mark);
    if (result.failed)
        handler_fail(h, to, "Out of memory.");
    else
        h->out.reply(h->out.ctx, to, buf_str(&result), when);
}

void handler_fail(struct handler *h, const struct reply_to *to, const char *message)
{
    if (to->wanted)
        h->out.fail(h->out.ctx, to, message);
}

/* -- in -------------------------------------------------------------------------------------- */

/* The parts of a Record that matter on the way in. */
struct parts {
    uint32_t kind;
    struct str body, control;
};

static int read_record(struct str record, struct parts *p)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    *p = (struct parts){0};
    int rc;
    while ((rc = wire_next(&r, &f)) == 1) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == RECORD_CONTROL) {
            p->control = f.bytes;
        } else if (f.number != RECORD_UUID && f.number != RECORD_INFO) {
            p->kind = f.number;
            p->body = f.bytes;
        }
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

/* The one field of a Request; `kind` is 0 if it has none. */
static int read_request(struct str request, struct parts *p)
{
    struct wire_reader r = wire_open(request);
    struct wire_field f;
    int rc;
    p->kind = 0;
    while ((rc = wire_next(&r, &f)) == 1) {
        if (f.type != WIRE_BYTES)
            continue;
        p->kind = f.number;
        p->body = f.bytes;
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

static bool is_local(struct str control)
{
    struct wire_reader r = wire_open(control);
    struct wire_field f;
    bool local = false;
    while (wire_next(&r, &f) == 1)
        if (f.number == CONTROL_LOCAL && f.type == WIRE_VARINT)
            local = f.value != 0;
    return local;
}

static const struct handler_kind *find_kind(const struct handler_kind *kinds, size_t n,
                                            uint32_t number)
{
    for (size_t i = 0; i < n; i++)
        if (kinds[i].number == number)
            return &kinds[i];
    return NULL;
}

static void handle_request(struct handler *h, const struct incoming *in)
{
    const struct handler_kind *kind =
        find_kind(handler_request_kinds, handler_n_request_kinds, in->kind);
    if (!kind) {
        diag_warn("handler: unknown request %u ignored", in->kind);
        handler_fail(h, in->to, "Unknown request.");
    } else if (kind->rule) {
        kind->rule(h, in);
    }
}

static void handle_record(struct handler *h, const struct incoming *in)
{
    const struct handler_kind *kind =
        find_kind(handler_record_kinds, handler_n_record_kinds, in->kind);
    if (!kind) {
        diag_warn("handler: unknown record %u ignored", in->kind);
        handler_fail(h, in->to, "Unknown record.");
        return;
    }
    if (kind->rule)
        kind->rule(h, in);
    if (kind->flags & KIND_KEPT && !in->local)
        handler_keep(h, in->kind, in->body);
    if (!(kind->flags & KIND_ANSWERED))
        handler_fail(h, in->to, "No response.");
}

/* Cold kinds are kept as they came, so they are checked whole; the hot one is as it is read. */
static bool is_well_formed(const ProtobufCMessageDescriptor *envelope, const struct parts *p)
{
    const ProtobufCFieldDescriptor *d =
        protobuf_c_message_descriptor_get_field(envelope, p->kind);
    return !d || (d->type == PROTOBUF_C_TYPE_MESSAGE && record_check(d->descriptor, p->body));
}

int handler_record(struct handler *h, struct str record, const struct reply_to *to, int64_t now_ns)
{
    struct parts p;
    int rc = read_record(record, &p);
    if (rc)
        return rc;
    struct incoming in = {.body = p.body, .kind = p.kind, .to = to, .now_ns = now_ns};
    if (p.kind != RECORD_REQUEST) {
        if (!is_well_formed(&pb__record__descriptor, &p))
            return TARE_EFORMAT;
        in.local = is_local(p.control);
        handle_record(h, &in);
        return 0;
    }
    rc = read_request(p.body, &p);
    if (rc)
        return rc;
    in.body = p.body;
    in.kind = p.kind;
    if (p.kind == 10) {
        handler_partial_history(h, &in);
        return 0;
    }
    if (!is_well_formed(&pb__request__descriptor, &p))
        return TARE_EFORMAT;
    handle_request(h, &in);
    return 0;
}

/* -- time and end ---------------------------------------------------------------------------- */

int64_t handler_deadline(const struct handler *h)
{
    int64_t files_ns = runfiles_deadline(h->files);
    return files_ns < h->summary_due_ns ? files_ns : h->summary_due_ns;
}

void handler_tick(struct handler *h, int64_t now_ns)
{
    if (now_ns >= h->summary_due_ns)
        handler_write_summary(h);
    runfiles_tick(h->files, now_ns);
}

void handler_close(struct handler *h, int64_t now_ns)
{
    if (h->closed)
        return;
    h->closed = true;
    if (runfiles_finish(h->files, now_ns))
        handler_exit_now(h, now_ns);
    if (!h->exited && !h->exit_waits) {
        handler_flush_row(h, handler_step_after(h), now_ns);
        handler_write_summary(h);
    }
    handler_release_waiters(h, REPLY_NOW);
}
