/* SPDX-License-Identifier: MIT */
#include "client/interface_sock.h"

#include "base/clock.h"
#include "client/courier.h"
#include "client/last_error.h"
#include "client/message.h"
#include "record/wire.h"

#include <string.h>

static int out_of_memory(void)
{
    return last_error_set(TARE_ENOMEM, "out of memory");
}

static int queue(struct tare_run *run, const struct buf *message, const char *slot, int wait_ms)
{
    struct entry_message head = {{0}};
    if (message->failed)
        return out_of_memory();
    if (slot)
        memcpy(head.slot, slot, sizeof head.slot);
    return manager_queue(run->manager, ENTRY_MESSAGE, run, &head, sizeof head, message->data,
                         message->len, wait_ms);
}

int interface_sock_publish(struct tare_run *run, const struct buf *message, int wait_ms)
{
    return queue(run, message, NULL, wait_ms);
}

static int publish(struct tare_run *run, const struct buf *message)
{
    return queue(run, message, NULL, run->manager->setup.block_ms);
}

int interface_sock_ask(struct tare_run *run, const struct buf *message, struct slot *slot,
                       struct buf *answer, int timeout_ms)
{
    struct router *r = &run->manager->router;
    int64_t start = clock_mono_ns();
    int rc = queue(run, message, slot->id, timeout_ms);
    if (rc == 0) {
        int64_t spent_ms = (clock_mono_ns() - start) / 1000000;
        rc = router_wait(r, slot, spent_ms < timeout_ms ? timeout_ms - (int)spent_ms : 0);
    }
    if (rc == 0 && answer && buf_put_str(answer, buf_str(&slot->response)) != 0)
        rc = out_of_memory();
    router_free(r, slot);
    return rc;
}

int communicate_request(struct tare_run *run, uint32_t request, struct buf *answer, int timeout_ms)
{
    AUTO_BUF b = {0};
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return out_of_memory();
    message_put_request(&b, request, run->id, slot->id);
    return interface_sock_ask(run, &b, slot, answer, timeout_ms);
}

/* A request that nobody waits for the answer of. */
static int send_with_callback(struct tare_run *run, struct slot *slot, const struct buf *b)
{
    int rc = queue(run, b, slot->id, run->manager->setup.block_ms);
    if (rc)
        router_free(&run->manager->router, slot);
    return rc;
}

int publish_header(struct tare_run *run)
{
    AUTO_BUF b = {0};
    struct message m;
    message_open(&m, &b);
    message_put_empty(&b, RECORD_HEADER);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

static void say_text(const struct tare_run *run, int level, struct str text)
{
    if (text.n)
        manager_say(run->manager, level, "%.*s", STR_ARG(text));
}

static struct str response_of(struct str response, uint32_t kind)
{
    struct str result = message_get(response, RESP_RESULT);
    return message_get(message_get(result, RESULT_RESPONSE), kind);
}

static void on_version(struct slot *slot, struct str response)
{
    struct str version = response_of(response, RESPONSE_CHECK_VERSION);
    say_text(slot->run, TARE_INFO, message_get(version, 1));
    say_text(slot->run, TARE_WARNING, message_get(version, 2));
    say_text(slot->run, TARE_WARNING, message_get(version, 3));
}

int communicate_check_version(struct tare_run *run)
{
    AUTO_BUF b = {0};
    struct message m;
    struct slot *slot = router_slot(&run->manager->router, run, on_version);
    if (!slot)
        return out_of_memory();
    message_open(&m, &b);
    size_t request = wire_buf_begin(&b, RECORD_REQUEST);
    size_t check = wire_buf_begin(&b, REQUEST_CHECK_VERSION);
    message_put_z(&b, 1, TARE_VERSION);
    wire_buf_end(&b, check);
    wire_buf_end(&b, request);
    message_close(&m, run->id, slot->id, true);
    return send_with_callback(run, slot, &b);
}

int communicate_run(struct tare_run *run, const struct buf *record, struct buf *answer,
                    int timeout_ms)
{
    AUTO_BUF b = {0};
    AUTO_BUF response = {0};
    struct message m;
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return out_of_memory();
    message_open(&m, &b);
    wire_buf_bytes(&b, RECORD_RUN, buf_str(record));
    message_close(&m, run->id, slot->id, false);
    int rc = interface_sock_ask(run, &b, slot, &response, timeout_ms);
    if (rc)
        return rc;
    struct str result = message_get(message_get(buf_str(&response), RESP_RESULT), RESULT_RUN);
    struct str error = message_get(result, 2);
    if (error.p) {
        struct str text = message_get(error, 1);
        return last_error_set(TARE_ESERVICE, "the service refused the run: %.*s", STR_ARG(text));
    }
    return buf_put_str(answer, message_get(result, 1));
}

int communicate_run_start(struct tare_run *run, const struct buf *record, int timeout_ms)
{
    AUTO_BUF b = {0};
    struct message m;
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return out_of_memory();
    message_open(&m, &b);
    size_t request = wire_buf_begin(&b, RECORD_REQUEST);
    size_t start = wire_buf_begin(&b, REQUEST_RUN_START);
    wire_buf_bytes(&b, 1, buf_str(record));
    wire_buf_end(&b, start);
    wire_buf_end(&b, request);
    message_close(&m, run->id, slot->id, true);
    return interface_sock_ask(run, &b, slot, NULL, timeout_ms);
}

int communicate_attach(struct tare_run *run, struct buf *answer, int timeout_ms)
{
    AUTO_BUF b = {0};
    AUTO_BUF response = {0};
    struct message m;
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return out_of_memory();
    message_open(&m, &b);
    size_t request = wire_buf_begin(&b, RECORD_REQUEST);
    size_t attach = wire_buf_begin(&b, REQUEST_ATTACH);
    message_put_z(&b, 20, run->id);
    wire_buf_end(&b, attach);
    wire_buf_end(&b, request);
    message_close(&m, run->id, slot->id, true);
    int rc = interface_sock_ask(run, &b, slot, &response, timeout_ms);
    if (rc)
        return rc;
    struct str attached = response_of(buf_str(&response), RESPONSE_ATTACH);
    return buf_put_str(answer, message_get(attached, 1));
}

int communicate_exit(struct tare_run *run, int exit_code, int timeout_ms)
{
    AUTO_BUF b = {0};
    struct message m;
    struct slot *slot = router_slot(&run->manager->router, run, NULL);
    if (!slot)
        return out_of_memory();
    message_open(&m, &b);
    size_t exit_at = wire_buf_begin(&b, RECORD_EXIT);
    if (exit_code)
        wire_buf_varint(&b, 1, (uint64_t)(int64_t)exit_code);
    wire_buf_end(&b, exit_at);
    message_close(&m, run->id, slot->id, false);
    return interface_sock_ask(run, &b, slot, NULL, timeout_ms);
}

int publish_probe_system_info(struct tare_run *run)
{
    AUTO_BUF b = {0};
    message_put_request(&b, REQUEST_PROBE_SYSTEM_INFO, run->id, NULL);
    return publish(run, &b);
}

void telemetry_put(const struct tare_run *run, struct buf *b, bool finish)
{
    enum { FEATURE = 3, CLI_VERSION = 5, PLATFORM = 13, FEATURE_FINISH = 2, FEATURE_OFFLINE = 4 };
    size_t feature = wire_buf_begin(b, FEATURE);
    message_put_bool(b, FEATURE_FINISH, finish);
    message_put_bool(b, FEATURE_OFFLINE, !run->online && !run->attached);
    wire_buf_end(b, feature);
    message_put_z(b, CLI_VERSION, "tare/" TARE_VERSION);
#if defined(__linux__) && defined(__x86_64__)
    message_put_z(b, PLATFORM, "linux-x86_64");
#elif defined(__linux__) && defined(__aarch64__)
    message_put_z(b, PLATFORM, "linux-aarch64");
#endif
}

int publish_telemetry(struct tare_run *run, bool finish)
{
    AUTO_BUF b = {0};
    struct message m;
    message_open(&m, &b);
    size_t at = wire_buf_begin(&b, RECORD_TELEMETRY);
    telemetry_put(run, &b, finish);
    wire_buf_end(&b, at);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

int publish_remove(struct tare_run *run, uint32_t record, const char *key)
{
    AUTO_BUF b = {0};
    struct message m;
    message_open(&m, &b);
    size_t at = wire_buf_begin(&b, record);
    size_t item = wire_buf_begin(&b, REMOVE);
    message_put_z(&b, ITEM_KEY, key);
    wire_buf_end(&b, item);
    wire_buf_end(&b, at);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

/* Set the flags of MetricSummary for a list such as "min,max". False if it has another word. */
static bool put_metric_summary(struct buf *b, const char *list)
{
    static const struct {
        const char *name;
        uint32_t field;
    } flags[] = {{"min", 1}, {"max", 2},  {"mean", 3}, {"best", 4},
                 {"last", 5}, {"none", 6}, {"copy", 7}, {"first", 8}};
    size_t at = wire_buf_begin(b, 7);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ","), i = 0, count = sizeof flags / sizeof *flags;
        while (i < count && !str_eqz(str_make(p, n), flags[i].name))
            i++;
        if (i == count)
            return false;
        message_put_bool(b, flags[i].field, true);
        p += n + (p[n] == ',');
    }
    wire_buf_end(b, at);
    return true;
}

static void put_metric_options(struct buf *b, const struct tare_metric *metric)
{
    bool sync = metric->step_sync > 0 || (metric->step_sync < 0 && metric->step_metric);
    size_t options = wire_buf_begin(b, 6);
    message_put_bool(b, 1, sync);
    message_put_bool(b, 2, metric->hidden != 0);
    message_put_bool(b, 3, true); /* defined */
    wire_buf_end(b, options);
}

int publish_metric(struct tare_run *run, const struct tare_metric *metric)
{
    AUTO_BUF b = {0};
    struct message m;
    const char *star = strchr(metric->name, '*');
    const char *goal = metric->goal ? metric->goal : "";
    if (star && star[1])
        return last_error_set(TARE_EINVAL, "define_metric: a '*' stands at the end only");
    message_open(&m, &b);
    size_t at = wire_buf_begin(&b, RECORD_METRIC);
    message_put_z(&b, star ? 2 : 1, metric->name);
    message_put_z(&b, 4, metric->step_metric);
    put_metric_options(&b, metric);
    if (metric->summary && !put_metric_summary(&b, metric->summary))
        return last_error_set(TARE_EINVAL, "define_metric: summary '%s'", metric->summary);
    if (strcmp(goal, "minimize") == 0 || strcmp(goal, "maximize") == 0)
        wire_buf_varint(&b, 8, goal[1] == 'i' ? 1 : 2);
    else if (*goal)
        return last_error_set(TARE_EINVAL, "define_metric: goal '%s'", goal);
    if (metric->overwrite) {
        size_t control = wire_buf_begin(&b, 9);
        message_put_bool(&b, 1, true);
        wire_buf_end(&b, control);
    }
    wire_buf_end(&b, at);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

int publish_alert(struct tare_run *run, const char *title, const char *text, const char *level,
                  int64_t wait_ms)
{
    AUTO_BUF b = {0};
    struct message m;
    message_open(&m, &b);
    size_t at = wire_buf_begin(&b, RECORD_ALERT);
    message_put_z(&b, 1, title);
    message_put_z(&b, 2, text);
    message_put_z(&b, 3, level);
    wire_buf_varint(&b, 4, (uint64_t)wait_ms);
    wire_buf_end(&b, at);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

int publish_output(struct tare_run *run, bool is_stderr, struct str text)
{
    AUTO_BUF b = {0};
    struct message m;
    message_open(&m, &b);
    size_t at = wire_buf_begin(&b, RECORD_OUTPUT_RAW);
    if (!is_stderr)
        wire_buf_varint(&b, 1, 1); /* STDOUT */
    message_put_time(&b, 2, clock_wall_ns());
    message_put_text(&b, 3, text);
    wire_buf_end(&b, at);
    message_close(&m, run->id, NULL, false);
    return publish(run, &b);
}

static int put_internal_messages(struct buf *b, const char *run_id, const char *slot)
{
    struct message m;
    message_open(&m, b);
    size_t request = wire_buf_begin(b, RECORD_REQUEST);
    size_t messages = wire_buf_begin(b, REQUEST_INTERNAL_MESSAGES);
    message_put_bool(b, 1, true);
    wire_buf_end(b, messages);
    wire_buf_end(b, request);
    return message_close(&m, run_id, slot, true);
}

/* In the courier's thread. An empty answer comes when the run ends. */
static void on_internal_messages(struct slot *slot, struct str response)
{
    struct tare_run *run = slot->run;
    struct str messages = message_get(response_of(response, RESPONSE_INTERNAL_MESSAGES), 1);
    struct wire_reader r = wire_open(messages);
    struct wire_field f = {0};
    int n = 0;
    while (messages.p && wire_next(&r, &f) > 0)
        if (f.number == 1 && f.type == WIRE_BYTES) {
            say_text(run, TARE_WARNING, f.bytes);
            n++;
        }
    AUTO_BUF b = {0};
    struct slot *next = n ? router_slot(&run->manager->router, run, on_internal_messages) : NULL;
    if (!next)
        return;
    if (put_internal_messages(&b, run->id, next->id) != 0)
        router_free(&run->manager->router, next);
    else
        courier_ask(run->manager, run, next, buf_str(&b));
}

int publish_internal_messages(struct tare_run *run)
{
    AUTO_BUF b = {0};
    struct slot *slot = router_slot(&run->manager->router, run, on_internal_messages);
    if (!slot)
        return out_of_memory();
    put_internal_messages(&b, run->id, slot->id);
    return send_with_callback(run, slot, &b);
}
