/* SPDX-License-Identifier: MIT */
/* Metrics' definitions, files, artifacts, alerts and output of a run. */
#include "client/run.h"

#include "base/alloc.h"
#include "client/files.h"
#include "client/interface_sock.h"
#include "client/last_error.h"
#include "client/manager.h"

#include <string.h>

int tare_define_metric(tare_run *run, const struct tare_metric *metric)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!metric || !metric->name || !*metric->name)
        return last_error_set(TARE_EINVAL, "tare_define_metric: no name");
    return publish_metric(run, metric);
}

static int queue_take(struct tare_run *run, enum entry_kind kind, struct buf *payload)
{
    char *bytes = payload->data;
    size_t n = payload->len;
    *payload = (struct buf){0};
    return manager_queue_heavy(run->manager, kind, run, bytes, n, run->manager->setup.block_ms);
}

int tare_save(tare_run *run, const char *path, const char *name, enum tare_policy policy)
{
    AUTO_BUF payload = {0};
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    rc = files_pack_save(&payload, path, name, policy);
    return rc ? rc : queue_take(run, ENTRY_SAVE, &payload);
}

int tare_log_artifact(tare_run *run, const struct tare_artifact *artifact)
{
    AUTO_BUF payload = {0};
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    rc = files_pack_artifact(&payload, artifact);
    return rc ? rc : queue_take(run, ENTRY_ARTIFACT, &payload);
}

int tare_alert(tare_run *run, const char *title, const char *text, int level, int wait_s)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!title || !*title)
        return last_error_set(TARE_EINVAL, "tare_alert: no title");
    const char *name = level >= TARE_ERROR ? "ERROR" : level >= TARE_WARNING ? "WARN" : "INFO";
    int64_t wait_ms = (int64_t)(wait_s > 0 ? wait_s : 60) * 1000;
    return publish_alert(run, title, text ? text : "", name, wait_ms);
}

int tare_output(tare_run *run, int is_stderr, const char *text, size_t len)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (len && !text)
        return last_error_set(TARE_EINVAL, "tare_output: no text");
    return len ? publish_output(run, is_stderr != 0, str_make(text, len)) : 0;
}
