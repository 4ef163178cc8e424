/* SPDX-License-Identifier: MIT */
/* Requests whose answer needs little: progress, status, and what only online runs can do. What the
 * sender of an online run knows is asked of it. */
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
    {5, 24},  /* login: no entity */
    {12, 29}, /* check_version: no message */
    {17, 18}, /* keepalive */
    {67, 67}, /* server_info: nothing known */
    {73, 68}, /* job_info: the peer does not answer; nothing in the SDK asks */
    {1000, 1000},
};

void rule_respond_own(struct handler *h, const struct incoming *in)
{
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (own[i].request == in->kind)
            handler_respond(h, in->to, own[i].response, STR(""), REPLY_NOW);
}

void rule_stop_status(struct handler *h, const struct incoming *in)
{
    enum { STOP_STATUS_RESPONSE = 19 };
    AUTO_BUF body = {0};
    if (h->online)
        h->out.ask(h->out.ctx, ASK_STOP, &body);
    handler_respond(h, in->to, h->online ? STOP_STATUS_RESPONSE : NO_RESPONSE, buf_str(&body),
                    REPLY_NOW);
}

void rule_network_status(struct handler *h, const struct incoming *in)
{
    enum { NETWORK_STATUS_RESPONSE = 20 };
    AUTO_BUF body = {0};
    if (h->online)
        h->out.ask(h->out.ctx, ASK_NETWORK, &body);
    handler_respond(h, in->to, NETWORK_STATUS_RESPONSE, buf_str(&body), REPLY_NOW);
}

/* Online, done means that everything is with the backend. Offline nothing is uploaded: all counts
 * are 0, and done means that the exit is in the file. */
void rule_poll_exit(struct handler *h, const struct incoming *in)
{
    enum { POLL_EXIT_RESPONSE = 26, DONE = 1, PUSHER_STATS = 3, FILE_COUNTS = 4, OPERATIONS = 5 };
    AUTO_BUF body = {0};
    if (h->online) {
        if (h->exited && h->sent)
            wire_buf_varint(&body, DONE, 1);
        h->out.ask(h->out.ctx, ASK_PROGRESS, &body);
        handler_respond(h, in->to, POLL_EXIT_RESPONSE, buf_str(&body), REPLY_NOW);
        return;
    }
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
    size_t stats = wire_buf_begin(&body, STATS);
    if (h->online)
        h->out.ask(h->out.ctx, ASK_OPERATIONS, &body);
    wire_buf_end(&body, stats);
    handler_respond(h, in->to, OPERATIONS_RESPONSE, buf_str(&body), REPLY_NOW);
}

void rule_download_artifact(struct handler *h, const struct incoming *in)
{
    enum { DOWNLOAD_ARTIFACT_RESPONSE = 31, ERROR_MESSAGE = 1 };
    AUTO_BUF body = {0};
    if (h->online) {
        rule_artifact(h, in);
        return;
    }
    wire_buf_bytes(&body, ERROR_MESSAGE, STR("Artifact downloads are not supported in offline mode."));
    handler_respond(h, in->to, DOWNLOAD_ARTIFACT_RESPONSE, buf_str(&body), REPLY_NOW);
}

/* Offline the SDK sends a record instead, and the peer leaves the request unanswered. */
void rule_artifact(struct handler *h, const struct incoming *in)
{
    if (h->online)
        h->out.artifact(h->out.ctx, in->kind, in->body, in->to);
    else
        rule_no_response(h, in);
}

/* Nobody waits for an answer. */
void rule_job_input(struct handler *h, const struct incoming *in)
{
    if (h->online)
        h->out.job_input(h->out.ctx, in->body);
    rule_no_response(h, in);
}
