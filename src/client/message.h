/* SPDX-License-Identifier: MIT */
/* The messages the client sends, written field by field. Numbers are those of proto/. */
#ifndef TARE_CLIENT_MESSAGE_H
#define TARE_CLIENT_MESSAGE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Field numbers, by message. */
enum {
    REQ_RECORD = 1, REQ_INIT = 3, REQ_FINISH = 4, REQ_ATTACH = 5, REQ_DETACH = 6, REQ_TEARDOWN = 7,
    REQ_ID = 10,

    RESP_RESULT = 2, RESP_INIT = 3, RESP_ATTACH = 5, RESP_ID = 10, RESP_ERROR = 200,

    RECORD_NUM = 1, RECORD_HISTORY = 2, RECORD_SUMMARY = 3, RECORD_CONFIG = 5, RECORD_FILES = 6,
    RECORD_ARTIFACT = 8, RECORD_ALERT = 10, RECORD_TELEMETRY = 11, RECORD_METRIC = 12,
    RECORD_OUTPUT_RAW = 13, RECORD_CONTROL = 16, RECORD_RUN = 17, RECORD_EXIT = 18,
    RECORD_HEADER = 21, RECORD_FOOTER = 22, RECORD_REQUEST = 100, RECORD_INFO = 200,

    CONTROL_LOCAL = 2, CONTROL_SLOT = 4, INFO_STREAM_ID = 1,

    RESULT_RUN = 17, RESULT_EXIT = 18, RESULT_RESPONSE = 100, RESULT_CONTROL = 16,

    REQUEST_GET_SUMMARY = 4, REQUEST_POLL_EXIT = 8, REQUEST_SAMPLED_HISTORY = 9,
    REQUEST_PARTIAL_HISTORY = 10, REQUEST_RUN_START = 11, REQUEST_CHECK_VERSION = 12,
    REQUEST_LOG_ARTIFACT = 13, REQUEST_INTERNAL_MESSAGES = 23, REQUEST_SHUTDOWN = 64,
    REQUEST_ATTACH = 65, REQUEST_STATUS = 66, REQUEST_PROBE_SYSTEM_INFO = 83,
    REQUEST_HISTORY_STEP = 84,

    RESPONSE_GET_SUMMARY = 25, RESPONSE_POLL_EXIT = 26, RESPONSE_SAMPLED_HISTORY = 27,
    RESPONSE_RUN_START = 28, RESPONSE_CHECK_VERSION = 29, RESPONSE_INTERNAL_MESSAGES = 37,
    RESPONSE_SHUTDOWN = 64, RESPONSE_ATTACH = 65, RESPONSE_STATUS = 66, RESPONSE_HISTORY_STEP = 75,

    ITEM_KEY = 1, ITEM_NESTED_KEY = 2, ITEM_JSON = 16,
    UPDATE = 1, REMOVE = 2, /* of config and summary records */
    PARTIAL_ITEM = 1, PARTIAL_STEP = 2, PARTIAL_ACTION = 3,
    HISTORY_ITEM = 1, HISTORY_STEP = 2, STEP_NUM = 1, ACTION_FLUSH = 1,

    RUN_ID = 1, RUN_ENTITY = 2, RUN_PROJECT = 3, RUN_CONFIG = 4, RUN_GROUP = 6, RUN_JOB_TYPE = 7,
    RUN_NAME = 8, RUN_NOTES = 9, RUN_TAGS = 10, RUN_SWEEP_ID = 12, RUN_HOST = 13,
    RUN_STARTING_STEP = 14, RUN_START_TIME = 17, RUN_RESUMED = 18, RUN_TELEMETRY = 19,
    RUN_RUNTIME = 20, RUN_RESUME = 24,
};

/* Append a string field; what is not UTF-8 becomes U+FFFD, since the other side refuses a message
 * with a broken string. Nothing for an empty string. 0 or TARE_ENOMEM. */
int message_put_text(struct buf *b, uint32_t number, struct str text);
int message_put_z(struct buf *b, uint32_t number, const char *text); /* NULL is empty */
int message_put_bool(struct buf *b, uint32_t number, bool on);       /* nothing for false */
int message_put_time(struct buf *b, uint32_t number, int64_t ns);    /* a Timestamp */
int message_put_empty(struct buf *b, uint32_t number);               /* a message without fields */

/* A ServerRequest that carries a Record: open, append the record's own field, close. `slot` is
 * the mailbox slot where an answer is wanted, or NULL. `local` marks requests, which are not
 * kept. */
struct message {
    struct buf *b;
    size_t record;
};
void message_open(struct message *m, struct buf *b);
int message_close(struct message *m, const char *stream_id, const char *slot, bool local);

/* A whole request record whose message has no fields, such as poll_exit. */
int message_put_request(struct buf *b, uint32_t request, const char *stream_id, const char *slot);

/* The first field `number` of a message: its bytes, or p == NULL where there is none. */
struct str message_get(struct str message, uint32_t number);
bool message_has(struct str message, uint32_t number);
uint64_t message_get_varint(struct str message, uint32_t number); /* 0 where there is none */

#endif
