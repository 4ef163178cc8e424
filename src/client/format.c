/* SPDX-License-Identifier: MIT */
#include "client/format.h"

#include "client/media.h"
#include "client/message.h"
#include "client/pack.h"
#include "base/json.h"
#include "record/wire.h"

/* key and JSON text of one value, as an item of any record. */
static void put_item(struct manager *m, struct tare_run *run, const struct entry_values *head,
                     uint32_t field, const struct packed *v, struct buf *b, struct buf *json)
{
    size_t item = wire_buf_begin(b, field);
    message_put_text(b, ITEM_KEY, v->key);
    buf_clear(json);
    if (v->type == TARE_IMAGE || v->type == TARE_TABLE)
        media_put_json(m, run, v, head->media_step, json);
    else
        pack_put_json(json, v);
    message_put_text(b, ITEM_JSON, buf_str(json));
    wire_buf_end(b, item);
}

static void put_timestamp(double timestamp, struct buf *b, struct buf *json)
{
    size_t item = wire_buf_begin(b, PARTIAL_ITEM);
    message_put_z(b, ITEM_KEY, "_timestamp");
    buf_clear(json);
    json_put_double(json, timestamp);
    message_put_text(b, ITEM_JSON, buf_str(json));
    wire_buf_end(b, item);
}

static void put_items(struct manager *m, struct tare_run *run, const struct entry_values *head,
                      uint32_t field, const char *values, struct buf *b)
{
    AUTO_BUF json = {0};
    bool has_timestamp = head->timestamp == 0;
    for (uint32_t i = 0; i < head->n; i++) {
        struct packed v;
        pack_next(&values, &v);
        if (field == PARTIAL_ITEM && str_eqz(v.key, "_step"))
            continue; /* the service's; as the SDK */
        has_timestamp |= str_eqz(v.key, "_timestamp");
        put_item(m, run, head, field, &v, b, &json);
    }
    if (!has_timestamp)
        put_timestamp(head->timestamp, b, &json);
    if (json.failed)
        b->failed = true;
}

static void put_partial_history(struct manager *m, struct tare_run *run,
                                const struct entry_values *head, const char *values, struct buf *b)
{
    size_t request = wire_buf_begin(b, RECORD_REQUEST);
    size_t partial = wire_buf_begin(b, REQUEST_PARTIAL_HISTORY);
    put_items(m, run, head, PARTIAL_ITEM, values, b);
    if (head->step != TARE_STEP_AUTO) {
        size_t step = wire_buf_begin(b, PARTIAL_STEP);
        wire_buf_varint(b, STEP_NUM, (uint64_t)head->step);
        wire_buf_end(b, step);
    }
    if (head->commit != TARE_COMMIT_AUTO) {
        size_t action = wire_buf_begin(b, PARTIAL_ACTION);
        message_put_bool(b, ACTION_FLUSH, head->commit == TARE_COMMIT_YES);
        wire_buf_end(b, action);
    }
    wire_buf_end(b, partial);
    wire_buf_end(b, request);
}

static void put_update(struct manager *m, struct tare_run *run, uint32_t record,
                       const struct entry_values *head, const char *values, struct buf *b)
{
    size_t at = wire_buf_begin(b, record);
    put_items(m, run, head, UPDATE, values, b);
    wire_buf_end(b, at);
}

int format_entry(struct manager *m, struct tare_run *run, enum entry_kind kind,
                 const struct entry_values *head, const char *values, struct buf *b)
{
    struct message msg;
    message_open(&msg, b);
    if (kind == ENTRY_LOG)
        put_partial_history(m, run, head, values, b);
    else
        put_update(m, run, kind == ENTRY_CONFIG ? RECORD_CONFIG : RECORD_SUMMARY, head, values, b);
    return message_close(&msg, run->id, NULL, kind == ENTRY_LOG);
}
