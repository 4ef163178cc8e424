/* SPDX-License-Identifier: MIT */
/* Requests whose answer needs little: progress, status, and what only online runs can do. */
#include "service/stream/handler_impl.h"

#include "record/wire.h"

void rule_respond_empty(struct handler *h, const struct incoming *in)
{
    handler_respond(h, in->to, NO_RESPONSE, STR(""), REPLY_NOW);
}

/* The peer leaves these unanswered; whoever waits is told so. */
void rule_no_response(struct handler *h, const struct incoming *in)
{
    handler_fail(h, in->to, "No response.");
}

/* Request -> its response, which is an empty message offline. */
static const struct {
    uint32_t request, response;
} own[] = {
    {2, 20},  /* network_status: no response of a server to show */
    {5, 24},  /* login: no entity */
    {12, 29}, /* check_version: no message */
    {17, 18}, /* keepalive */
    {67, 67}, /* server_info: nothing known */
    {73, 68}, /* job_info: no job is made offline */
    {1000, 1000},
};

void rule_respond_own(struct handler *h, const struct incoming *in)
{
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (own[i].request == in->kind)
            handler_respond(h, in->to, own[i].response, STR(""), REPLY_NOW);
}

/* Nothing is uploaded offline: all counts are 0, and done means that the exit is in the file. */
void rule_poll_exit(struct handler *h, const struct incoming *in)
{
    enum { POLL_EXIT_RESPONSE = 26, DONE = 1, PUSHER_STATS = 3, FILE_COUNTS = 4, OPERATIONS = 5 };
    AUTO_BUF body = {0};
    if (h->exited)
        wire_buf_varint(&body, DONE, 1);
    wire_buf_bytes(&body, PUSHER_STATS, STR(""));
    wire_buf_bytes(&body, FILE_COUNTS, STR(""));
    wire_buf_bytes(&body, OPERATIONS, STR(""));
    handler_respond(h, in->to, POLL_EXIT_RESPONSE, buf_str(&body),
                    h->exited ? REPLY_WHEN_WRITTEN : REPLY_NOW);
}

void rule_operations(struct handler *h, const struct incoming *in)
{
    enum { OPERATIONS_RESPONSE = 74, STATS = 1 };
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, STATS, STR(""));
    handler_respond(h, in->to, OPERATIONS_RESPONSE, buf_str(&body), REPLY_NOW);
}

void rule_download_artifact(struct handler *h, const struct incoming *in)
{
    enum { DOWNLOAD_ARTIFACT_RESPONSE = 31, ERROR_MESSAGE = 1 };
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, ERROR_MESSAGE, STR("Artifacts cannot be downloaded in offline mode."));
    handler_respond(h, in->to, DOWNLOAD_ARTIFACT_RESPONSE, buf_str(&body), REPLY_NOW);
}
