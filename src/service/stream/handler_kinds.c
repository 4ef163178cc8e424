/* SPDX-License-Identifier: MIT */
/* Every kind of Record and of Request in wandb 0.31, and what becomes of it.
 * tests/unit/test_handler_kinds.c compares the tables with the messages of proto/. */
#include "service/stream/handler_impl.h"

enum { K = KIND_KEPT, A = KIND_ANSWERED };

const struct handler_kind handler_record_kinds[] = {
    {2, "history", rule_history, K},
    {3, "summary", rule_summary, K},
    {4, "output", NULL, K},
    {5, "config", NULL, K},
    {6, "files", NULL, K},
    {7, "stats", NULL, K},
    {8, "artifact", NULL, K},
    {9, "tbrecord", rule_tbrecord, K},
    {10, "alert", NULL, K},
    {11, "telemetry", NULL, K},
    {12, "metric", rule_metric, K},
    {13, "output_raw", rule_output_raw, K},
    {17, "run", rule_run, K | A},
    {18, "exit", rule_exit, A},     /* kept by its rule, with the runtime */
    {20, "final", NULL, 0},         /* long gone; the peer drops it */
    {21, "header", rule_header, 0}, /* kept by its rule, with our version */
    {22, "footer", NULL, 0},        /* dropped, as final */
    {23, "preempting", NULL, K},
    {24, "noop_link_artifact", NULL, 0},
    {25, "use_artifact", NULL, K},
    {26, "environment", NULL, K},
    {27, "output_logger", rule_output_logger, K},
    {100, "request", NULL, A}, /* see below */
};
const size_t handler_n_record_kinds = sizeof handler_record_kinds / sizeof handler_record_kinds[0];

/* No request is kept. */
const struct handler_kind handler_request_kinds[] = {
    {1, "stop_status", rule_stop_status, A},
    {2, "network_status", rule_network_status, A},
    {3, "defer", rule_no_response, 0},
    {4, "get_summary", rule_get_summary, A},
    {5, "login", rule_respond_own, A},
    {6, "pause", rule_pause, 0},
    {7, "resume", rule_resume, 0},
    {8, "poll_exit", rule_poll_exit, A},
    {9, "sampled_history", rule_sampled_history, A},
    {10, "partial_history", handler_partial_history, 0},
    {84, "history_step", rule_history_step, A},
    {11, "run_start", rule_run_start, A},
    {12, "check_version", rule_respond_own, A},
    {13, "log_artifact", rule_artifact, 0},
    {14, "download_artifact", rule_download_artifact, A},
    {17, "keepalive", rule_respond_own, A},
    {20, "run_status", rule_respond_empty, A},
    {21, "cancel", rule_cancel, A},
    {23, "internal_messages", rule_internal_messages, A},
    {24, "python_packages", rule_python_packages, 0},
    {64, "shutdown", rule_respond_empty, A},
    {65, "attach", rule_attach, A},
    {66, "status", rule_respond_empty, A},
    {67, "server_info", rule_respond_own, A},
    {68, "sender_mark", rule_no_response, 0},
    {69, "sender_read", rule_no_response, 0},
    {70, "status_report", rule_no_response, 0},
    {71, "summary_record", rule_no_response, 0},
    {72, "telemetry_record", rule_no_response, 0},
    {73, "job_info", rule_respond_own, A},
    {74, "get_system_metrics", rule_get_system_metrics, A},
    {77, "job_input", rule_job_input, 0},
    {78, "link_artifact", rule_artifact, 0},
    {81, "sync_finish", rule_no_response, 0},
    {82, "operations", rule_operations, A},
    {83, "probe_system_info", rule_probe_system_info, 0},
    {1000, "test_inject", rule_respond_own, A},
};
const size_t handler_n_request_kinds =
    sizeof handler_request_kinds / sizeof handler_request_kinds[0];
