/* SPDX-License-Identifier: MIT */
/* What the service does with a run's messages, as far as the .wandb file needs it:
 *
 *   partial_history  gathered to one history record a step, by the service's rules: a greater
 *                    explicit step ends the one before, a smaller one is dropped, no step given or
 *                    flush ends it at once; _step and _runtime are added
 *   summary          the last value of each key, written when a second has passed and at the exit
 *   run, exit, ...   written as they are
 *   requests         answered, so that callers go on as with a service
 *
 * Not done here: what define_metric asks of the summary (the records are kept, and a sync or
 * `tare show` derives it), system metrics, captured output as a terminal would show it. */
#include "client/local.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "client/local_inside.h"
#include "client/message.h"
#include "record/wire.h"

#include <stdlib.h>

enum { OUT_MAX = 256 << 20, SUMMARY_MS = 1000 };

const char *local_path(const struct local *l)
{
    return l->path;
}

/* ---- writing ---- */

/* `record` has the number l->num, which is free again if this fails. */
static int put_record(struct local *l, const struct buf *record)
{
    int rc = record->failed ? TARE_ENOMEM : 0;
    if (rc == 0 && l->out.len > OUT_MAX)
        rc = l->file.first_error ? l->file.first_error : TARE_ELIMIT;
    if (rc == 0)
        rc = journal_encode(&l->encoder, &l->out, record->data, record->len);
    l->num -= rc != 0;
    return rc;
}

static void open_record(struct local *l, struct buf *b)
{
    wire_buf_varint(b, RECORD_NUM, (uint64_t)++l->num);
}

static int write_field(struct local *l, uint32_t field, struct str bytes)
{
    AUTO_BUF b = {0};
    open_record(l, &b);
    wire_buf_bytes(&b, field, bytes);
    return put_record(l, &b);
}

int local_write_out(struct local *l)
{
    size_t kept = 0;
    if (!l->out.len)
        return 0;
    int rc = journal_writer_append(&l->file, l->out.data, l->out.len, &kept);
    buf_consume(&l->out, kept);
    return rc;
}

static void put_key_json(struct buf *b, uint32_t field, struct str key, struct str json)
{
    size_t item = wire_buf_begin(b, field);
    message_put_text(b, ITEM_KEY, key);
    message_put_text(b, ITEM_JSON, json);
    wire_buf_end(b, item);
}

static int write_summary(struct local *l)
{
    AUTO_BUF b = {0};
    if (!l->summary_changed)
        return 0;
    open_record(l, &b);
    size_t summary = wire_buf_begin(&b, RECORD_SUMMARY);
    for (size_t i = 0; i < l->summary.n; i++) {
        const struct key_item *k = &l->summary.items[i];
        if (k->changed)
            put_key_json(&b, UPDATE, str_make(k->key, k->key_len), str_make(k->json, k->json_len));
    }
    wire_buf_end(&b, summary);
    keys_clear(&l->summary);
    l->summary_changed = false;
    l->summary_ns = clock_mono_ns();
    return put_record(l, &b);
}

int local_tick(struct local *l, int64_t now_ns)
{
    if (now_ns - l->summary_ns >= (int64_t)SUMMARY_MS * 1000000)
        write_summary(l);
    return local_write_out(l);
}

/* ---- history ---- */

int local_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double local_number(struct str json)
{
    double v;
    return number_parse_double(json.p, json.n, &v) ? v : 0;
}

/* Whether the service has written this step already. */
static bool is_written(const struct local *l)
{
    struct key_item *k = keys_find(&l->partial, STR("_timestamp"));
    if (!l->replay || !k || !k->changed)
        return false;
    double t = local_number(str_make(k->json, k->json_len));
    return bsearch(&t, l->seen, l->n_seen, sizeof t, local_compare) != NULL;
}

static int set_number(struct local *l, const char *key, double v, bool integer)
{
    char text[NUMBER_MAX];
    size_t n = integer ? number_format_i64(text, (int64_t)v) : number_format_double(text, v);
    return keys_put(&l->partial, str_of(key), str_make(text, n));
}

static void derive_runtime(struct local *l)
{
    struct key_item *t = keys_find(&l->partial, STR("_timestamp"));
    struct key_item *r = keys_find(&l->partial, STR("_runtime"));
    if (!t || !t->changed || (r && r->changed))
        return;
    double start = (double)l->run->start_ns / 1e9;
    double runtime = local_number(str_make(t->json, t->json_len)) - start;
    set_number(l, "_runtime", runtime > 0 ? runtime : 0, false);
}

/* End the step: write it, take it into the summary. */
static int flush_step(struct local *l, int64_t next_step)
{
    AUTO_BUF b = {0};
    int rc = 0;
    bool write = l->partial_open && !is_written(l);
    if (l->partial_open) {
        set_number(l, "_step", (double)l->step, true);
        derive_runtime(l);
        open_record(l, &b);
        size_t history = wire_buf_begin(&b, RECORD_HISTORY);
        for (size_t i = 0; i < l->partial.n; i++) {
            const struct key_item *k = &l->partial.items[i];
            struct str key = str_make(k->key, k->key_len), json = str_make(k->json, k->json_len);
            if (!k->changed)
                continue;
            put_key_json(&b, HISTORY_ITEM, key, json);
            keys_put(&l->summary, key, json);
        }
        size_t step = wire_buf_begin(&b, HISTORY_STEP);
        wire_buf_varint(&b, STEP_NUM, (uint64_t)l->step);
        wire_buf_end(&b, step);
        wire_buf_end(&b, history);
        l->summary_changed = true;
    }
    if (write)
        rc = put_record(l, &b);
    else if (l->partial_open)
        l->num--;
    if (write || !l->partial_open || next_step > l->step + 1)
        l->step = next_step;
    keys_clear(&l->partial);
    l->partial_open = false;
    return rc;
}

static void gather(struct local *l, struct str partial)
{
    struct wire_reader r = wire_open(partial);
    struct wire_field f;
    while (wire_next(&r, &f) > 0)
        if (f.number == PARTIAL_ITEM && f.type == WIRE_BYTES) {
            keys_put(&l->partial, message_get(f.bytes, ITEM_KEY), message_get(f.bytes, ITEM_JSON));
            l->partial_open = true;
        }
}

static int take_partial(struct local *l, struct str partial)
{
    bool has_step = message_has(partial, PARTIAL_STEP);
    bool has_action = message_has(partial, PARTIAL_ACTION);
    int rc = 0;
    if (has_step) {
        int64_t step = (int64_t)message_get_varint(message_get(partial, PARTIAL_STEP), STEP_NUM);
        if (step > l->step)
            rc = flush_step(l, step);
        else if (step < l->step)
            return 0;
    }
    gather(l, partial);
    bool flush = has_action ? message_get_varint(message_get(partial, PARTIAL_ACTION), ACTION_FLUSH)
                            : !has_step;
    return rc == 0 && flush ? flush_step(l, l->step + 1) : rc;
}

/* ---- the rest of the records ---- */

static int take_summary(struct local *l, struct str summary)
{
    struct wire_reader r = wire_open(summary);
    struct wire_field f;
    int rc = write_summary(l);
    if (rc)
        return rc;
    while (wire_next(&r, &f) > 0) {
        struct str key = f.type == WIRE_BYTES ? message_get(f.bytes, ITEM_KEY) : (struct str){0};
        if (f.number == UPDATE && key.n)
            keys_put(&l->summary, key, message_get(f.bytes, ITEM_JSON));
    }
    keys_clear(&l->summary); /* written here and now, as it came */
    return write_field(l, RECORD_SUMMARY, summary);
}

static int take_exit(struct local *l, struct str exit_record)
{
    AUTO_BUF b = {0};
    int rc = flush_step(l, l->step + 1);
    if (rc == 0)
        rc = write_summary(l);
    if (l->has_exit || rc)
        return rc;
    buf_put_str(&b, exit_record);
    int64_t runtime = (clock_wall_ns() - l->run->start_ns) / 1000000000;
    if (!message_has(exit_record, 2) && runtime > 0)
        wire_buf_varint(&b, 2, (uint64_t)runtime);
    rc = write_field(l, RECORD_EXIT, buf_str(&b));
    if (rc == 0)
        rc = write_field(l, RECORD_FOOTER, (struct str){0});
    l->has_exit = true;
    return rc ? rc : local_write_out(l);
}

static int write_header(struct local *l)
{
    AUTO_BUF b = {0};
    if (l->has_header)
        return 0;
    l->has_header = true;
    size_t info = wire_buf_begin(&b, 1);
    message_put_z(&b, 1, "libtare " TARE_VERSION);
    message_put_z(&b, 2, "0.70.0"); /* the least reader, as the peer's (core/internal/version) */
    wire_buf_end(&b, info);
    return write_field(l, RECORD_HEADER, buf_str(&b));
}

/* ---- answers ---- */

struct answer {
    struct buf *b;
    size_t result, response;
};

/* Begin a ServerResponse with a Result; its own field follows. */
static void answer_open(struct answer *a, struct buf *b, struct str slot)
{
    a->b = b;
    wire_buf_bytes(b, RESP_ID, slot);
    a->result = wire_buf_begin(b, RESP_RESULT);
    size_t control = wire_buf_begin(b, RESULT_CONTROL);
    wire_buf_bytes(b, CONTROL_SLOT, slot);
    wire_buf_end(b, control);
}

static void put_summary_items(const struct local *l, struct buf *b)
{
    for (size_t i = 0; i < l->summary.n; i++) {
        const struct key_item *k = &l->summary.items[i];
        put_key_json(b, 1, str_make(k->key, k->key_len), str_make(k->json, k->json_len));
    }
}

/* The response to a request, by its field number. */
static void answer_request(const struct local *l, uint32_t request, struct str slot, struct buf *b)
{
    static const struct {
        uint32_t request, response;
    } pairs[] = {
        {REQUEST_GET_SUMMARY, RESPONSE_GET_SUMMARY}, {REQUEST_POLL_EXIT, RESPONSE_POLL_EXIT},
        {REQUEST_SAMPLED_HISTORY, RESPONSE_SAMPLED_HISTORY},
        {REQUEST_RUN_START, RESPONSE_RUN_START},     {REQUEST_SHUTDOWN, RESPONSE_SHUTDOWN},
        {REQUEST_ATTACH, RESPONSE_ATTACH},           {REQUEST_STATUS, RESPONSE_STATUS},
        {REQUEST_HISTORY_STEP, RESPONSE_HISTORY_STEP},
    };
    size_t i = 0, n = sizeof pairs / sizeof *pairs;
    while (i < n && pairs[i].request != request)
        i++;
    if (!slot.n || i == n)
        return;
    struct answer a;
    answer_open(&a, b, slot);
    size_t response = wire_buf_begin(b, RESULT_RESPONSE);
    size_t kind = wire_buf_begin(b, pairs[i].response);
    if (request == REQUEST_GET_SUMMARY)
        put_summary_items(l, b);
    else if (request == REQUEST_POLL_EXIT)
        message_put_bool(b, 1, true);
    else if (request == REQUEST_HISTORY_STEP)
        wire_buf_varint(b, 1, (uint64_t)l->step);
    wire_buf_end(b, kind);
    wire_buf_end(b, response);
    wire_buf_end(b, a.result);
}

static void answer_record(uint32_t field, struct str body, struct str slot, struct buf *b)
{
    struct answer a;
    answer_open(&a, b, slot);
    size_t result = wire_buf_begin(b, field == RECORD_RUN ? RESULT_RUN : RESULT_EXIT);
    if (field == RECORD_RUN)
        wire_buf_bytes(b, 1, body);
    wire_buf_end(b, result);
    wire_buf_end(b, a.result);
}

/* ---- taking messages ---- */

static int take_request(struct local *l, struct str request, struct str slot, struct buf *answer)
{
    struct wire_reader r = wire_open(request);
    struct wire_field f;
    if (wire_next(&r, &f) <= 0 || f.type != WIRE_BYTES)
        return 0;
    if (f.number == REQUEST_PARTIAL_HISTORY)
        return take_partial(l, f.bytes);
    if (f.number == REQUEST_LOG_ARTIFACT)
        return write_field(l, RECORD_ARTIFACT, message_get(f.bytes, 1));
    int rc = f.number == REQUEST_STATUS ? local_write_out(l) : 0; /* a flush waits for this */
    answer_request(l, f.number, slot, answer);
    return rc;
}

static int take_field(struct local *l, const struct wire_field *f, struct str slot,
                      struct buf *answer)
{
    int rc = 0;
    switch (f->number) {
    case RECORD_REQUEST:
        return take_request(l, f->bytes, slot, answer);
    case RECORD_HEADER:
        return write_header(l);
    case RECORD_SUMMARY:
        return take_summary(l, f->bytes);
    case RECORD_EXIT:
        rc = take_exit(l, f->bytes);
        break;
    case RECORD_RUN:
        rc = write_header(l);
        if (rc == 0 && !l->has_run)
            rc = write_field(l, RECORD_RUN, f->bytes);
        l->has_run = true;
        break;
    default:
        return write_field(l, f->number, f->bytes);
    }
    if (slot.n)
        answer_record(f->number, f->bytes, slot, answer);
    return rc;
}

int local_take(struct local *l, struct str request, struct buf *answer)
{
    struct str slot = message_get(request, REQ_ID);
    struct str record = message_get(request, REQ_RECORD);
    if (message_has(request, REQ_INIT) && slot.n) {
        wire_buf_bytes(answer, RESP_ID, slot);
        message_put_empty(answer, RESP_INIT);
        return 0;
    }
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    while (record.p && wire_next(&r, &f) > 0)
        if (f.type == WIRE_BYTES && f.number != RECORD_CONTROL && f.number != RECORD_INFO)
            return take_field(l, &f, slot, answer);
    return 0;
}

void local_set_replay(struct local *l, bool replay)
{
    l->replay = replay;
}

void local_close(struct local *l)
{
    if (l->file.fd >= 0) {
        flush_step(l, l->step + 1);
        write_summary(l);
        local_write_out(l);
        journal_writer_close(&l->file);
    }
    keys_fini(&l->partial);
    keys_fini(&l->summary);
    buf_fini(&l->out);
    mem_free(l->seen);
    mem_free(l->path);
    mem_free(l);
}
