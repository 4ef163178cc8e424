/* SPDX-License-Identifier: MIT */
/* History: how the requests of run.log() become rows of the journal.
 *
 * A partial_history request adds items to the open row. The row is written ("flushed")
 *   - at the end of the request if it says so (action), or says nothing and has no step;
 *   - before the request is applied, if it has a step beyond the open row's.
 * A request with a step before the open row's is refused with a warning. In shared mode steps are
 * given by the backend: rows have none.
 *
 * A written row gets _runtime, _step and missing step metrics, and the summary follows it in
 * memory at once, in the journal within HANDLER_SUMMARY_NS (handler_summary.c).
 *
 * The hot path: when nothing is open and the request is flushed at its end, the row is put
 * together from slices of the request and copied once, into the journal's record.
 *
 * Rules: the peer's core/internal/stream/handler.go. */
#include "service/stream/handler_impl.h"

#include "base/diag.h"
#include "base/err.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

enum { RECORD_HISTORY = 2, RECORD_METRIC = 12, HISTORY_ITEM = 1, HISTORY_STEP = 2, REQUEST_ACTION = 3 };

/* What a PartialHistoryRequest says besides its items. */
struct request {
    bool has_step, has_action, flush, malformed;
    int64_t step;
    struct str items; /* from the first item to the end of the last, other fields between them */
};

static uint64_t first_varint(struct str message)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    uint64_t v = 0;
    while (wire_next(&r, &f) == 1)
        if (f.number == 1 && f.type == WIRE_VARINT)
            v = f.value;
    return v;
}

/* The byte behind the items that a request begins with, as far as their lengths take one byte. */
static const char *skip_items(struct str body)
{
    const char *p = body.p, *end = body.p + body.n;
    while (end - p >= 2 && p[0] == (HISTORY_ITEM << 3 | WIRE_BYTES) && (signed char)p[1] >= 0 &&
           p[1] <= end - p - 2)
        p += 2 + p[1];
    return p;
}

static struct request read_request(struct str body)
{
    struct request q = {0};
    struct wire_reader r = wire_open(body);
    struct wire_field f;
    int rc;
    r.p = skip_items(body);
    if (r.p != body.p)
        q.items = str_make(body.p, (size_t)(r.p - body.p));
    const char *from = r.p;
    while ((rc = wire_next(&r, &f)) == 1) {
        if (f.type == WIRE_BYTES && f.number == HISTORY_ITEM) {
            q.items.p = q.items.p ? q.items.p : from;
            q.items.n = (size_t)(r.p - q.items.p);
        } else if (f.type == WIRE_BYTES && f.number == HISTORY_STEP) {
            q.has_step = true;
            q.step = (int64_t)first_varint(f.bytes);
        } else if (f.type == WIRE_BYTES && f.number == REQUEST_ACTION) {
            q.has_action = true;
            q.flush = first_varint(f.bytes) != 0;
        }
        from = r.p;
    }
    q.malformed = rc < 0;
    return q;
}

/* -- rows ------------------------------------------------------------------------------------ */

/* The first few are worth a line each; a program that logs rubbish every step is not. */
static void note_bad_item(struct handler *h, int rc)
{
    enum { MAX_LINES = 10 };
    if (h->n_bad_items++ < MAX_LINES)
        diag_warn("handler: a metric is left out of step %lld: %s", (long long)h->next_step,
                  err_text(rc));
}

static void add_items(struct handler *h, struct str items)
{
    struct wire_reader r = wire_open(items);
    struct wire_field f;
    const char *from = r.p;
    while (wire_next(&r, &f) == 1) {
        if (f.type == WIRE_BYTES && f.number == HISTORY_ITEM) {
            int rc = row_add(&h->row, str_make(from, (size_t)(r.p - from)), f.bytes);
            if (rc)
                note_bad_item(h, rc);
        }
        from = r.p;
    }
}

/* Seconds with microseconds, without trailing zeros. */
static struct str put_seconds(char to[NUMBER_MAX], int64_t ns)
{
    uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    size_t n = number_format_u64(to, us / 1000000);
    uint32_t part = (uint32_t)(us % 1000000);
    if (part) {
        to[n++] = '.';
        for (uint32_t unit = 100000; part; unit /= 10) {
            to[n++] = (char)('0' + part / unit);
            part %= unit;
        }
    }
    return str_make(to, n);
}

static void add_own_items(struct handler *h, int64_t now_ns)
{
    int64_t runtime_ns = handler_runtime_ns(h, now_ns);
    struct str text = put_seconds(h->number_text[0], runtime_ns);
    row_set_number(&h->row, h->runtime_slot, text, (double)(runtime_ns / 1000) / 1e6);
    if (h->settings->shared)
        return;
    text = str_make(h->number_text[1], number_format_i64(h->number_text[1], h->next_step));
    row_set_number(&h->row, h->step_slot, text, (double)h->next_step);
}

static void write_row(struct handler *h)
{
    handler_record_begin(h);
    size_t mark = wire_buf_begin(&h->bytes, RECORD_HISTORY);
    row_encode(&h->row, &h->bytes);
    if (!h->settings->shared) {
        size_t step = wire_buf_begin(&h->bytes, HISTORY_STEP);
        if (h->next_step)
            wire_buf_varint(&h->bytes, 1, (uint64_t)h->next_step);
        wire_buf_end(&h->bytes, step);
    }
    wire_buf_end(&h->bytes, mark);
    handler_record_end(h);
}

static void sample_row(struct handler *h, const struct row *row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        const struct row_entry *e = &row->at[i];
        if (e->kind == ROW_NUMBER && e->slot != SUMMARY_NO_SLOT &&
            h->summary.slots[e->slot].n_labels == 1)
            sampler_add(&h->sampler, e->slot, e->number);
    }
}

/* A metric that a glob has made goes to the journal where the client may want it to be sent. */
static void write_expanded(struct handler *h, uint32_t first)
{
    for (uint32_t i = first; h->settings->asks_to_expand && i < h->metrics.n; i++) {
        handler_record_begin(h);
        size_t mark = wire_buf_begin(&h->bytes, RECORD_METRIC);
        metrics_put_record(&h->metrics, i, &h->bytes);
        wire_buf_end(&h->bytes, mark);
        handler_record_end(h);
    }
}

int64_t handler_step_after(const struct handler *h)
{
    return h->next_step == INT64_MAX ? INT64_MAX : h->next_step + 1;
}

void handler_flush_row(struct handler *h, int64_t next_step, int64_t now_ns)
{
    if (h->row.n) {
        add_own_items(h, now_ns);
        uint32_t n_defined = h->metrics.n;
        metrics_row(&h->metrics, &h->row, h->row.n);
        write_expanded(h, n_defined);
        if (!h->settings->server_side_summary) {
            if (row_hides_unwritten(&h->row))
                handler_write_summary(h); /* the peer's readers see each value */
            handler_summary_runtime(h, now_ns);
            row_sum(&h->row);
            handler_summary_changed(h, now_ns);
        }
        sample_row(h, &h->row);
        write_row(h);
        row_clear(&h->row);
    }
    if (!h->settings->shared)
        h->next_step = next_step;
}

/* -- requests -------------------------------------------------------------------------------- */

/* Make way for a row with the step that was asked for; false if it is too late for it. */
static bool go_to_step(struct handler *h, int64_t step, int64_t now_ns)
{
    if (step > h->next_step) {
        handler_flush_row(h, step, now_ns);
    } else if (step < h->next_step) {
        handler_warnf(h,
                      "Step %lld was logged after step %lld. Steps must be monotonically "
                      "increasing, so this data will be ignored. Define a metric to use as the "
                      "x axis to log out of order: https://wandb.me/define-metric",
                      (long long)step, (long long)h->next_step);
        return false;
    }
    return true;
}

void handler_partial_history(struct handler *h, const struct incoming *in)
{
    struct request q = read_request(in->body);
    if (q.malformed) {
        diag_warn("handler: malformed partial_history ignored");
        handler_fail(h, in->to, "Malformed request.");
        return;
    }
    if (!h->row_begun) {
        h->row_begun = true;
        h->next_step = h->settings->shared ? 0 : h->starting_step;
    }
    bool shared = h->settings->shared;
    if (q.has_step && !shared && !go_to_step(h, q.step, in->now_ns)) {
        handler_fail(h, in->to, "No response.");
        return;
    }
    bool flush = q.has_action ? q.flush : shared || !q.has_step;
    if (!flush)
        q.items = row_keep(&h->row, q.items); /* they outlive the request */
    add_items(h, q.items);
    if (flush)
        handler_flush_row(h, handler_step_after(h), in->now_ns);
    handler_fail(h, in->to, "No response.");
}

/* A row that is complete and written as it came; only the sample takes note of it. Its keys may
 * be those of the open row, so it is read with tables of its own. */
void rule_history(struct handler *h, const struct incoming *in)
{
    struct summary keys;
    struct row row;
    summary_init(&keys, h->summary.seed);
    row_init(&row, &keys, ROW_JSON);
    struct wire_reader r = wire_open(in->body);
    struct wire_field f;
    const char *from = r.p;
    for (; wire_next(&r, &f) == 1; from = r.p)
        if (f.type == WIRE_BYTES && f.number == HISTORY_ITEM)
            row_add(&row, str_make(from, (size_t)(r.p - from)), f.bytes);
    for (uint32_t i = 0; i < row.n; i++) {
        const struct row_entry *e = &row.at[i];
        if (e->slot == SUMMARY_NO_SLOT || e->kind != ROW_NUMBER || keys.slots[e->slot].n_labels > 1)
            continue;
        struct str path = str_make(keys.slots[e->slot].path, keys.slots[e->slot].path_len);
        sampler_add(&h->sampler, summary_slot(&h->summary, path), e->number);
    }
    row_fini(&row);
    summary_fini(&keys);
}

void rule_history_step(struct handler *h, const struct incoming *in)
{
    enum { HISTORY_STEP_RESPONSE = 75 };
    if (h->settings->shared) {
        handler_fail(h, in->to, "Cannot read the W&B step in shared mode.");
        return;
    }
    AUTO_BUF body = {0};
    if (h->next_step)
        wire_buf_varint(&body, 1, (uint64_t)h->next_step);
    handler_respond(h, in->to, HISTORY_STEP_RESPONSE, buf_str(&body), REPLY_NOW);
}

static void put_sample(const struct sample *m, const struct summary_slot *slot, struct buf *to)
{
    enum { ITEM = 1, VALUES_FLOAT = 3 };
    size_t mark = wire_buf_begin(to, ITEM);
    buf_append(to, slot->path, slot->path_len);
    size_t values = wire_buf_begin(to, VALUES_FLOAT);
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t bits;
        memcpy(&bits, &m->values[i], sizeof bits);
        char le[4] = {(char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
        buf_append(to, le, sizeof le);
    }
    wire_buf_end(to, values);
    wire_buf_end(to, mark);
}

void rule_sampled_history(struct handler *h, const struct incoming *in)
{
    enum { SAMPLED_HISTORY_RESPONSE = 27 };
    AUTO_BUF body = {0};
    for (uint32_t slot = 0; slot < h->sampler.n; slot++)
        if (h->sampler.at[slot].n)
            put_sample(&h->sampler.at[slot], &h->summary.slots[slot], &body);
    handler_respond(h, in->to, SAMPLED_HISTORY_RESPONSE, buf_str(&body), REPLY_NOW);
}
