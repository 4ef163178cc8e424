/* SPDX-License-Identifier: MIT */
#include "client/service_sock.h"

#include "client/interface_sock.h"
#include "client/last_error.h"
#include "client/message.h"
#include "record/wire.h"

static void put_info(struct buf *b, const char *stream_id)
{
    size_t info = wire_buf_begin(b, RECORD_INFO);
    message_put_z(b, INFO_STREAM_ID, stream_id);
    wire_buf_end(b, info);
}

int service_sock_inform_init(struct tare_run *run, int timeout_ms)
{
    AUTO_BUF b = {0};
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return last_error_set(TARE_ENOMEM, "out of memory");
    size_t init = wire_buf_begin(&b, REQ_INIT);
    wire_buf_bytes(&b, 1, str_make(run->settings, run->settings_len));
    put_info(&b, run->id);
    wire_buf_end(&b, init);
    message_put_z(&b, REQ_ID, slot->id);
    return interface_sock_ask(run, &b, slot, NULL, timeout_ms);
}

int service_sock_inform_attach(struct tare_run *run, struct buf *settings, int timeout_ms)
{
    AUTO_BUF b = {0};
    AUTO_BUF answer = {0};
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return last_error_set(TARE_ENOMEM, "out of memory");
    size_t attach = wire_buf_begin(&b, REQ_ATTACH);
    put_info(&b, run->id);
    wire_buf_end(&b, attach);
    message_put_z(&b, REQ_ID, slot->id);
    int rc = interface_sock_ask(run, &b, slot, &answer, timeout_ms);
    if (rc)
        return rc;
    struct str response = message_get(buf_str(&answer), RESP_ATTACH);
    return buf_put_str(settings, message_get(response, 1));
}

int service_sock_inform_finish(struct tare_run *run, int wait_ms)
{
    AUTO_BUF b = {0};
    size_t finish = wire_buf_begin(&b, REQ_FINISH);
    put_info(&b, run->id);
    wire_buf_end(&b, finish);
    return interface_sock_publish(run, &b, wait_ms);
}

/* Through the outbox of the control messages: sent when all runs' messages are. */
int service_sock_inform_teardown(struct manager *m, int exit_code)
{
    AUTO_BUF b = {0};
    size_t teardown = wire_buf_begin(&b, REQ_TEARDOWN);
    if (exit_code)
        wire_buf_varint(&b, 1, (uint64_t)(int64_t)exit_code);
    wire_buf_end(&b, teardown);
    struct entry_message head = {{0}};
    if (b.failed)
        return last_error_set(TARE_ENOMEM, "out of memory");
    return manager_queue(m, ENTRY_MESSAGE, NULL, &head, sizeof head, b.data, b.len,
                         m->setup.hang_ms);
}
