/* SPDX-License-Identifier: MIT */
#include "record/names.h"

#include <stddef.h>

struct kind {
    int number;
    const char *name;
};

#define RECORD(K, name) {PB__RECORD__RECORD_TYPE_##K, name}
static const struct kind record_kinds[] = {
    RECORD(HISTORY, "history"),
    RECORD(SUMMARY, "summary"),
    RECORD(OUTPUT, "output"),
    RECORD(CONFIG, "config"),
    RECORD(FILES, "files"),
    RECORD(STATS, "stats"),
    RECORD(ARTIFACT, "artifact"),
    RECORD(TBRECORD, "tbrecord"),
    RECORD(ALERT, "alert"),
    RECORD(TELEMETRY, "telemetry"),
    RECORD(METRIC, "metric"),
    RECORD(OUTPUT_RAW, "output_raw"),
    RECORD(RUN, "run"),
    RECORD(EXIT, "exit"),
    RECORD(FINAL, "final"),
    RECORD(HEADER, "header"),
    RECORD(FOOTER, "footer"),
    RECORD(PREEMPTING, "preempting"),
    RECORD(NOOP_LINK_ARTIFACT, "noop_link_artifact"),
    RECORD(USE_ARTIFACT, "use_artifact"),
    RECORD(ENVIRONMENT, "environment"),
    RECORD(OUTPUT_LOGGER, "output_logger"),
    RECORD(REQUEST, "request"),
};

#define REQUEST(K, name) {PB__REQUEST__REQUEST_TYPE_##K, name}
static const struct kind request_kinds[] = {
    REQUEST(STOP_STATUS, "stop_status"),
    REQUEST(NETWORK_STATUS, "network_status"),
    REQUEST(DEFER, "defer"),
    REQUEST(GET_SUMMARY, "get_summary"),
    REQUEST(LOGIN, "login"),
    REQUEST(PAUSE, "pause"),
    REQUEST(RESUME, "resume"),
    REQUEST(POLL_EXIT, "poll_exit"),
    REQUEST(SAMPLED_HISTORY, "sampled_history"),
    REQUEST(PARTIAL_HISTORY, "partial_history"),
    REQUEST(HISTORY_STEP, "history_step"),
    REQUEST(RUN_START, "run_start"),
    REQUEST(CHECK_VERSION, "check_version"),
    REQUEST(LOG_ARTIFACT, "log_artifact"),
    REQUEST(DOWNLOAD_ARTIFACT, "download_artifact"),
    REQUEST(KEEPALIVE, "keepalive"),
    REQUEST(RUN_STATUS, "run_status"),
    REQUEST(CANCEL, "cancel"),
    REQUEST(INTERNAL_MESSAGES, "internal_messages"),
    REQUEST(PYTHON_PACKAGES, "python_packages"),
    REQUEST(SHUTDOWN, "shutdown"),
    REQUEST(ATTACH, "attach"),
    REQUEST(STATUS, "status"),
    REQUEST(SERVER_INFO, "server_info"),
    REQUEST(SENDER_MARK, "sender_mark"),
    REQUEST(SENDER_READ, "sender_read"),
    REQUEST(STATUS_REPORT, "status_report"),
    REQUEST(SUMMARY_RECORD, "summary_record"),
    REQUEST(TELEMETRY_RECORD, "telemetry_record"),
    REQUEST(JOB_INFO, "job_info"),
    REQUEST(GET_SYSTEM_METRICS, "get_system_metrics"),
    REQUEST(JOB_INPUT, "job_input"),
    REQUEST(LINK_ARTIFACT, "link_artifact"),
    REQUEST(SYNC_FINISH, "sync_finish"),
    REQUEST(OPERATIONS, "operations"),
    REQUEST(PROBE_SYSTEM_INFO, "probe_system_info"),
    REQUEST(TEST_INJECT, "test_inject"),
};

#define SERVER(K, name) {PB__SERVER_REQUEST__SERVER_REQUEST_TYPE_##K, name}
static const struct kind server_kinds[] = {
    SERVER(RECORD_PUBLISH, "record_publish"),
    SERVER(RECORD_COMMUNICATE, "record_communicate"),
    SERVER(INFORM_INIT, "inform_init"),
    SERVER(INFORM_FINISH, "inform_finish"),
    SERVER(INFORM_ATTACH, "inform_attach"),
    SERVER(INFORM_DETACH, "inform_detach"),
    SERVER(INFORM_TEARDOWN, "inform_teardown"),
    SERVER(AUTHENTICATE, "authenticate"),
    SERVER(INIT_SYNC, "init_sync"),
    SERVER(SYNC, "sync"),
    SERVER(SYNC_STATUS, "sync_status"),
    SERVER(API_INIT_REQUEST, "api_init_request"),
    SERVER(API_REQUEST, "api_request"),
    SERVER(CANCEL, "cancel"),
    SERVER(API_CLEANUP_REQUEST, "api_cleanup_request"),
    SERVER(SWEEP_SCHEDULER_INIT, "sweep_scheduler_init"),
    SERVER(SWEEP_SCHEDULER_NEXT_TASK, "sweep_scheduler_next_task"),
    SERVER(SWEEP_SCHEDULER_STOP, "sweep_scheduler_stop"),
};

static const char *find(const struct kind *kinds, size_t n, int number)
{
    if (number == 0)
        return "none";
    for (size_t i = 0; i < n; i++)
        if (kinds[i].number == number)
            return kinds[i].name;
    return "unknown";
}

#define FIND(table, number) find(table, sizeof(table) / sizeof(table)[0], number)

const char *record_kind_name(int kind)
{
    return FIND(record_kinds, kind);
}

const char *request_kind_name(int kind)
{
    return FIND(request_kinds, kind);
}

const char *server_request_kind_name(int kind)
{
    return FIND(server_kinds, kind);
}

const char *record_name(const Pb__Record *r)
{
    if (!r)
        return "none";
    if (r->record_type_case == PB__RECORD__RECORD_TYPE_REQUEST)
        return request_kind_name((int)r->request->request_type_case);
    return record_kind_name((int)r->record_type_case);
}
