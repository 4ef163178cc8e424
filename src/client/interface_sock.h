/* SPDX-License-Identifier: MIT */
/* The records and requests of one run, built and sent over the socket (the peer's InterfaceSock).
 * `communicate_*` wait for an answer, `publish_*` do not. Errors set last_error. */
#ifndef TARE_CLIENT_INTERFACE_SOCK_H
#define TARE_CLIENT_INTERFACE_SOCK_H

#include "base/buf.h"
#include "client/manager.h"
#include "client/run.h"

/* Queue a whole ServerRequest. */
int interface_sock_publish(struct tare_run *run, const struct buf *message, int wait_ms);

/* Queue one that `slot` expects the answer of, wait for it, free the slot. The ServerResponse is
 * appended to `answer` if not NULL.
 * Expected: TARE_EFULL, TARE_ETIMEOUT, TARE_ECLOSED, TARE_ESERVICE */
int interface_sock_ask(struct tare_run *run, const struct buf *message, struct slot *slot,
                       struct buf *answer, int timeout_ms);

/* A request without fields; the ServerResponse is appended to `answer` if not NULL. */
int communicate_request(struct tare_run *run, uint32_t request, struct buf *answer,
                        int timeout_ms);

int publish_header(struct tare_run *run);
/* Sent without waiting; if an answer comes that has news, on_message gets them. */
int communicate_check_version(struct tare_run *run);
/* The RunRecord `record`; the service's view of the run is appended to `answer`. */
int communicate_run(struct tare_run *run, const struct buf *record, struct buf *answer,
                    int timeout_ms);
int communicate_run_start(struct tare_run *run, const struct buf *record, int timeout_ms);
int communicate_attach(struct tare_run *run, struct buf *answer, int timeout_ms);
int communicate_exit(struct tare_run *run, int exit_code, int timeout_ms);
int publish_probe_system_info(struct tare_run *run);
int publish_telemetry(struct tare_run *run, bool finish);
int publish_remove(struct tare_run *run, uint32_t record, const char *key);
int publish_metric(struct tare_run *run, const struct tare_metric *metric);
int publish_alert(struct tare_run *run, const char *title, const char *text, const char *level,
                  int64_t wait_ms);
int publish_output(struct tare_run *run, bool is_stderr, struct str text);
/* Ask for what the service has to say; asked again after each answer. */
int publish_internal_messages(struct tare_run *run);

/* A TelemetryRecord's fields. */
void telemetry_put(const struct tare_run *run, struct buf *b, bool finish);

#endif
