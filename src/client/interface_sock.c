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

/* A record in the making, and what becomes of it. */
struct draft {
    struct tare_run *run;
    struct buf b;
    struct message m;
    bool is_request;
    size_t record, request; /* where they begin */
};

static void draft_fini(struct draft *d)
{
    buf_fini(&d->b);
}
#define AUTO_DRAFT __attribute__((cleanup(draft_fini))) struct draft

/* A record of kind `record`, or with RECORD_REQUEST a request of kind `request`; its fields are
 * appended to d->b. */
static void draft_begin(struct draft *d, struct tare_run *run, uint32_t record, uint32_t request)
{
    *d = (struct draft){.run = run, .is_request = request != 0};
    message_open(&d->m, &d->b);
    d->record = wire_buf_begin(&d->b, record);
    if (request)
        d->request = wire_buf_begin(&d->b, request);
}

static void draft_end(struct draft *d, const struct slot *slot)
{
    if (d->is_request)
        wire_buf_end(&d->b, d->request);
    wire_buf_end(&d->b, d->record);
    message_close(&d->m, d->run->id, slot ? slot->id : NULL, d->is_request);
}

static int draft_publish(struct draft *d)
{
    draft_end(d, NULL);
    return publish(d->run, &d->b);
}

/* Wait for the answer. */
static int draft_ask(struct draft *d, struct buf *answer, int timeout_ms)
{
    struct slot *slot = router_slot(&d->run->manager->router, d->run, NULL);
    if (!slot)
        return out_of_memory();
    draft_end(d, slot);
    return interface_sock_ask(d->run, &d->b, slot, answer, timeout_ms);
}

/* Let `on_answer` be called in the courier's thread. */
static int draft_send(struct draft *d, void (*on_answer)(struct slot *, struct str))
{
    struct slot *slot = router_slot(&d->run->manager->router, d->run, on_answer);
    if (!slot)
        return out_of_memory();
    draft_end(d, slot);
    int rc = queue(d->run, &d->b, slot->id, d->run->manager->setup.block_ms);
    if (rc)
        router_free(&d->run->manager->router, slot);
    return rc;
}

int publish_header(struct tare_run *run)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_HEADER, 0);
    return draft_publish(&d);
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
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_REQUEST, REQUEST_CHECK_VERSION);
    message_put_z(&d.b, 1, TARE_VERSION);
    return draft_send(&d, on_version);
}

int communicate_run(struct tare_run *run, const struct buf *record, struct buf *answer,
                    int timeout_ms)
{
    AUTO_DRAFT d;
    AUTO_BUF response = {0};
    draft_begin(&d, run, RECORD_RUN, 0);
    buf_put_str(&d.b, buf_str(record));
    int rc = draft_ask(&d, &response, timeout_ms);
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
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_REQUEST, REQUEST_RUN_START);
    wire_buf_bytes(&d.b, 1, buf_str(record));
    return draft_ask(&d, NULL, timeout_ms);
}

int communicate_attach(struct tare_run *run, struct buf *answer, int timeout_ms)
{
    AUTO_DRAFT d;
    AUTO_BUF response = {0};
    draft_begin(&d, run, RECORD_REQUEST, REQUEST_ATTACH);
    message_put_z(&d.b, 20, run->id);
    int rc = draft_ask(&d, &response, timeout_ms);
    if (rc)
        return rc;
    struct str attached = response_of(buf_str(&response), RESPONSE_ATTACH);
    return buf_put_str(answer, message_get(attached, 1));
}

int communicate_exit(struct tare_run *run, int exit_code, int timeout_ms)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_EXIT, 0);
    if (exit_code)
        wire_buf_varint(&d.b, 1, (uint64_t)(int64_t)exit_code);
    return draft_ask(&d, NULL, timeout_ms);
}

int publish_probe_system_info(struct tare_run *run)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_REQUEST, REQUEST_PROBE_SYSTEM_INFO);
    return draft_publish(&d);
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
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_TELEMETRY, 0);
    telemetry_put(run, &d.b, finish);
    return draft_publish(&d);
}

int publish_remove(struct tare_run *run, uint32_t record, const char *key)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, record, 0);
    size_t item = wire_buf_begin(&d.b, REMOVE);
    message_put_z(&d.b, ITEM_KEY, key);
    wire_buf_end(&d.b, item);
    return draft_publish(&d);
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
    AUTO_DRAFT d;
    const char *star = strchr(metric->name, '*');
    const char *goal = metric->goal ? metric->goal : "";
    draft_begin(&d, run, RECORD_METRIC, 0);
    if (star && star[1])
        return last_error_set(TARE_EINVAL, "define_metric: a '*' stands at the end only");
    message_put_z(&d.b, star ? 2 : 1, metric->name);
    message_put_z(&d.b, 4, metric->step_metric);
    put_metric_options(&d.b, metric);
    if (metric->summary && !put_metric_summary(&d.b, metric->summary))
        return last_error_set(TARE_EINVAL, "define_metric: summary '%s'", metric->summary);
    if (strcmp(goal, "minimize") == 0 || strcmp(goal, "maximize") == 0)
        wire_buf_varint(&d.b, 8, goal[1] == 'i' ? 1 : 2);
    else if (*goal)
        return last_error_set(TARE_EINVAL, "define_metric: goal '%s'", goal);
    if (metric->overwrite) {
        size_t control = wire_buf_begin(&d.b, 9);
        message_put_bool(&d.b, 1, true);
        wire_buf_end(&d.b, control);
    }
    return draft_publish(&d);
}

int publish_alert(struct tare_run *run, const char *title, const char *text, const char *level,
                  int64_t wait_ms)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_ALERT, 0);
    message_put_z(&d.b, 1, title);
    message_put_z(&d.b, 2, text);
    message_put_z(&d.b, 3, level);
    wire_buf_varint(&d.b, 4, (uint64_t)wait_ms);
    return draft_publish(&d);
}

int publish_output(struct tare_run *run, bool is_stderr, struct str text)
{
    AUTO_DRAFT d;
    draft_begin(&d, run, RECORD_OUTPUT_RAW, 0);
    if (!is_stderr)
        wire_buf_varint(&d.b, 1, 1); /* STDOUT */
    message_put_time(&d.b, 2, clock_wall_ns());
    message_put_text(&d.b, 3, text);
    return draft_publish(&d);
}

static void draft_internal_messages(struct draft *d, struct tare_run *run)
{
    draft_begin(d, run, RECORD_REQUEST, REQUEST_INTERNAL_MESSAGES);
    message_put_bool(&d->b, 1, true); /* wait */
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
    struct slot *next = n ? router_slot(&run->manager->router, run, on_internal_messages) : NULL;
    if (!next)
        return;
    AUTO_DRAFT d;
    draft_internal_messages(&d, run);
    draft_end(&d, next);
    if (d.b.failed)
        router_free(&run->manager->router, next);
    else
        courier_ask(run->manager, run, next, buf_str(&d.b));
}

int publish_internal_messages(struct tare_run *run)
{
    AUTO_DRAFT d;
    draft_internal_messages(&d, run);
    return draft_send(&d, on_internal_messages);
}
