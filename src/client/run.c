/* SPDX-License-Identifier: MIT */
/* A run's life, in the order of the peer's wandb.init and run.finish:
 *
 *   tare_init    setup_manager        connects, or launches the service
 *                backend_prepare      identity, folder, settings
 *                inform_init          ─► waits for the answer
 *                publish_header       ─►
 *                check_version        ─► answered or not
 *                communicate_run      ─► waits: the run as the service sees it
 *                communicate_run_start─► waits at most 30 s
 *                probe_system_info, internal_messages, telemetry ─►
 *   tare_finish  telemetry            ─►
 *                exit, poll_exit, get_summary, shutdown ─► wait for each
 *                inform_finish        ─►                                      */
#include "client/run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "client/backend.h"
#include "client/files.h"
#include "client/interface_sock.h"
#include "client/last_error.h"
#include "client/message.h"
#include "client/pack.h"
#include "client/service_sock.h"
#include "client/setup.h"
#include "record/wire.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUN_START_MS = 30000, ATTACH_MS = 10000, SHUTDOWN_MS = 30000, SMALL_WAIT_MS = 10000 };

static struct tare_run *run_new(struct manager *m)
{
    struct tare_run *run = mem_calloc(1, sizeof *run);
    if (!run)
        return NULL;
    run->manager = m;
    run->generation = atomic_load(&setup_generation);
    pthread_mutex_init(&run->lock, NULL);
    return run;
}

void run_free(struct tare_run *run)
{
    while (run->config) {
        struct config_item *item = run->config;
        run->config = item->next;
        mem_free(item->key);
        mem_free(item->json);
        mem_free(item);
    }
    outbox_fini(&run->out);
    mem_free(run->name);
    mem_free(run->project);
    mem_free(run->entity);
    mem_free(run->dir);
    mem_free(run->files_dir);
    mem_free(run->settings);
    pthread_mutex_destroy(&run->lock);
    mem_free(run);
}

int run_check(const struct tare_run *run)
{
    if (!run)
        return last_error_set(TARE_EINVAL, "there is no run");
    if (run->generation != atomic_load_explicit(&setup_generation, memory_order_relaxed)) {
        atomic_fetch_add(&((struct tare_run *)(uintptr_t)run)->n_forked, 1);
        return last_error_set(TARE_EFORKED, "the run belongs to the parent process: attach to it, "
                                            "or begin another");
    }
    if (atomic_load(&run->closed))
        return last_error_set(TARE_ECLOSED, "the run is finished");
    return run->manager ? 0 : 1;
}

/* ---- begin ---- */

static int remaining_ms(int64_t end_ns)
{
    int64_t left = (end_ns - clock_mono_ns()) / 1000000;
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static int queue_run(struct tare_run *run, enum entry_kind kind, int wait_ms)
{
    return manager_queue(run->manager, kind, run, NULL, 0, NULL, 0, wait_ms);
}

/* What the service says of the run: a resumed one has its own name and step. */
static void take_run(struct tare_run *run, struct str record)
{
    struct str name = message_get(record, RUN_NAME);
    char *text = name.n ? mem_strndup(name.p, name.n) : NULL;
    if (text) {
        mem_free(run->name);
        run->name = text;
    }
    run->step = (int64_t)message_get_varint(record, RUN_STARTING_STEP);
}

/* A request that was on its way when the service died is answered by the library's own file,
 * so it is asked once more. */
static int say_hello(struct tare_run *run, const struct run_options *ro, int64_t end_ns)
{
    AUTO_BUF record = {0};
    AUTO_BUF answer = {0};
    backend_put_run(run, ro, &record);
    if (record.failed)
        return last_error_set(TARE_ENOMEM, "out of memory");
    int rc = service_sock_inform_init(run, remaining_ms(end_ns));
    if (rc)
        return rc;
    publish_header(run);
    communicate_check_version(run);
    rc = communicate_run(run, &record, &answer, remaining_ms(end_ns));
    if (rc)
        return rc;
    take_run(run, buf_str(&answer));
    int left_ms = remaining_ms(end_ns);
    rc = communicate_run_start(run, &record, left_ms < RUN_START_MS ? left_ms : RUN_START_MS);
    if (rc && rc != TARE_ETIMEOUT)
        return rc;
    publish_probe_system_info(run);
    publish_internal_messages(run);
    return publish_telemetry(run, false);
}

static int begin(struct tare_run *run, const struct run_options *ro)
{
    struct err e = {0};
    struct manager *m = run->manager;
    int64_t end_ns = clock_mono_ns() + (int64_t)ro->o.init_ms * 1000000;
    int rc = backend_prepare(run, ro, m->local, &e);
    if (rc) {
        run_free(run);
        return last_error_take(&e);
    }
    rc = queue_run(run, ENTRY_ADD_RUN, ro->o.init_ms);
    if (rc) {
        run_free(run);
        return rc;
    }
    rc = say_hello(run, ro, end_ns);
    if (rc == 0 && setup_add_run(run) != 0)
        rc = last_error_set(TARE_ENOMEM, "out of memory");
    if (rc) {
        struct err why = {.code = rc};
        snprintf(why.text, sizeof why.text, "%s", tare_last_error_text());
        atomic_store(&run->closed, true);
        queue_run(run, ENTRY_RELEASE_RUN, SMALL_WAIT_MS); /* on failure the memory stays */
        last_error_take(&why);
    }
    return rc;
}

int tare_init(const struct tare_options *options, tare_run **to)
{
    struct run_options ro;
    struct err e = {0};
    struct manager *m = NULL;
    if (!to)
        return last_error_set(TARE_EINVAL, "tare_init: nowhere to put the run");
    if (run_options_init(&ro, options, &e) != 0)
        return last_error_take(&e);
    int rc = ro.disabled ? 0 : setup_manager(&m, false, &e);
    struct tare_run *run = rc == 0 ? run_new(m) : NULL;
    if (rc == 0 && !run)
        rc = err_set(&e, TARE_ENOMEM, "out of memory");
    if (rc == 0 && ro.disabled)
        snprintf(run->id, sizeof run->id, "%s", ro.o.id ? ro.o.id : "disabled");
    else if (rc == 0)
        rc = begin(run, &ro);
    else
        last_error_take(&e);
    run_options_fini(&ro);
    if (rc == 0)
        *to = run;
    return rc;
}

int tare_attach(const char *run_id, tare_run **to)
{
    struct err e = {0};
    struct manager *m = NULL;
    AUTO_BUF settings = {0};
    AUTO_BUF record = {0};
    if (!run_id || !*run_id || strlen(run_id) > 128 || !to)
        return last_error_set(TARE_EINVAL, "tare_attach needs a run id");
    if (setup_manager(&m, true, &e) != 0)
        return last_error_take(&e);
    struct tare_run *run = run_new(m);
    if (!run)
        return last_error_set(TARE_ENOMEM, "out of memory");
    run->attached = true;
    run->finish_ms = 86400000;
    snprintf(run->id, sizeof run->id, "%s", run_id);
    int rc = queue_run(run, ENTRY_ADD_RUN, ATTACH_MS);
    if (rc) {
        run_free(run);
        return rc;
    }
    rc = service_sock_inform_attach(run, &settings, ATTACH_MS);
    if (rc == 0)
        rc = communicate_attach(run, &record, ATTACH_MS);
    if (rc == 0 && setup_add_run(run) != 0)
        rc = TARE_ENOMEM;
    if (rc) {
        struct err why = {.code = rc == TARE_ETIMEOUT ? TARE_ESERVICE : rc};
        snprintf(why.text, sizeof why.text, "attaching to %.128s: %.300s", run_id,
                 tare_last_error_text());
        atomic_store(&run->closed, true);
        queue_run(run, ENTRY_RELEASE_RUN, SMALL_WAIT_MS);
        return last_error_take(&why);
    }
    struct str files = message_get(message_get(buf_str(&settings), 133), 1); /* sync_dir */
    run->dir = mem_strndup("", 0);
    run->files_dir = mem_alloc(files.n + 7);
    if (run->files_dir)
        snprintf(run->files_dir, files.n + 7, "%.*s%s", STR_ARG(files), files.n ? "/files" : "");
    take_run(run, buf_str(&record));
    run_take_config(run, message_get(buf_str(&record), RUN_CONFIG));
    *to = run;
    return 0;
}

/* ---- end ---- */

/* Wait until all before it was dealt with. */
static int barrier(struct tare_run *run, int timeout_ms)
{
    return communicate_request(run, REQUEST_STATUS, NULL, timeout_ms);
}

int tare_flush(tare_run *run, int timeout_ms)
{
    int rc = run_check(run);
    return rc ? (rc > 0 ? 0 : rc) : barrier(run, timeout_ms);
}

static void release(struct tare_run *run)
{
    atomic_store(&run->closed, true);
    setup_remove_run(run);
    queue_run(run, ENTRY_RELEASE_RUN, SMALL_WAIT_MS);
}

int tare_detach(tare_run *run)
{
    int rc = run_check(run);
    if (rc > 0)
        run_free(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    rc = barrier(run, run->finish_ms);
    release(run);
    return rc;
}

static int say_goodbye(struct tare_run *run, int exit_code)
{
    int64_t end_ns = clock_mono_ns() + (int64_t)run->finish_ms * 1000000;
    publish_telemetry(run, true);
    int rc = communicate_exit(run, exit_code, remaining_ms(end_ns));
    if (rc)
        return rc;
    communicate_request(run, REQUEST_POLL_EXIT, NULL, remaining_ms(end_ns));
    communicate_request(run, REQUEST_GET_SUMMARY, NULL, remaining_ms(end_ns));
    int left_ms = remaining_ms(end_ns);
    communicate_request(run, REQUEST_SHUTDOWN, NULL, left_ms < SHUTDOWN_MS ? left_ms : SHUTDOWN_MS);
    return service_sock_inform_finish(run, SMALL_WAIT_MS);
}

int tare_finish(tare_run *run, int exit_code)
{
    int rc = run_check(run);
    if (rc > 0)
        run_free(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    rc = say_goodbye(run, exit_code);
    release(run);
    return rc;
}

/* ---- what it is ---- */

const char *tare_run_id(const tare_run *run)
{
    return run ? run->id : "";
}

const char *tare_run_dir(const tare_run *run)
{
    return run && run->dir ? run->dir : "";
}

const char *tare_run_name(const tare_run *run)
{
    return run && run->name ? run->name : "";
}

int tare_run_stats(const tare_run *run, struct tare_stats *to)
{
    if (!run || !to)
        return last_error_set(TARE_EINVAL, "there is no run");
    *to = (struct tare_stats){
        .logged = atomic_load(&run->n_logged),
        .dropped = atomic_load(&run->n_dropped),
        .forked = atomic_load(&run->n_forked),
        .sent_bytes = atomic_load(&run->sent_bytes),
        .acked_bytes = atomic_load(&run->acked_bytes),
        .in_file = atomic_load(&run->in_file),
    };
    return 0;
}
