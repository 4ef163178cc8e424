/* SPDX-License-Identifier: MIT */
#include "client/manager.h"

#include "base/alloc.h"
#include "client/courier.h"
#include "client/last_error.h"
#include "client/service_sock.h"
#include "client/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONNECT_MS = 5000,
    JOIN_MS = 60000,
    QUEUE_BYTES = 8 << 20,
    HEAVY_BYTES = 256 << 20,
    WINDOW_BYTES = 16 << 20,
    BLOCK_MS = 1000,
    HANG_MS = 30000,
    START_MS = 30000,
};

static pthread_mutex_t say_lock = PTHREAD_MUTEX_INITIALIZER;

void manager_say(const struct manager *m, int level, const char *fmt, ...)
{
    char text[1024];
    if (!m->setup.on_message)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&say_lock);
    m->setup.on_message(m->setup.on_message_arg, level, text);
    pthread_mutex_unlock(&say_lock);
}

static void fill_defaults(struct tare_setup_options *s)
{
    s->block_ms = s->block_ms < 0 ? 0 : s->block_ms ? s->block_ms : BLOCK_MS;
    s->queue_bytes = s->queue_bytes ? s->queue_bytes : QUEUE_BYTES;
    s->heavy_bytes = s->heavy_bytes ? s->heavy_bytes : HEAVY_BYTES;
    s->window_bytes = s->window_bytes ? s->window_bytes : WINDOW_BYTES;
    s->hang_ms = s->hang_ms > 0 ? s->hang_ms : HANG_MS;
    s->service_start_ms = s->service_start_ms > 0 ? s->service_start_ms : START_MS;
}

static int make_pipe(int fds[2])
{
    if (pipe(fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    }
    return 0;
}

/* The service of WANDB_SERVICE; if there is none (any more), a new one. */
static int connect_service(struct manager *m, bool must_connect, struct err *e)
{
    const char *env = getenv("WANDB_SERVICE");
    int rc;
    if (env && *env) {
        snprintf(m->service.token, sizeof m->service.token, "%s", env);
        rc = sock_client_connect(&m->sock, m->service.token, CONNECT_MS, e);
        if (rc == 0 || must_connect)
            return rc;
        manager_say(m, TARE_WARNING, "the service that WANDB_SERVICE names does not run: starting "
                                     "one");
    }
    rc = service_start(&m->service, m->setup.service_bin, m->setup.service_start_ms, e);
    if (rc)
        return rc;
    m->owns_service = true;
    rc = sock_client_connect(&m->sock, m->service.token, CONNECT_MS, e);
    if (rc == 0 && !m->setup.keep_environment)
        m->set_environment = setenv("WANDB_SERVICE", m->service.token, 1) == 0;
    return rc;
}

static void free_parts(struct manager *m)
{
    sock_client_close(&m->sock);
    ring_fini(&m->ring);
    outbox_fini(&m->control);
    router_fini(&m->router);
    close(m->wake[0]);
    close(m->wake[1]);
    mem_free(m);
}

int manager_new(struct manager **to, const struct tare_setup_options *setup, bool must_connect,
                struct err *e)
{
    struct err why = {0};
    struct manager *m = mem_calloc(1, sizeof *m);
    if (!m)
        return err_set(e, TARE_ENOMEM, "out of memory");
    m->setup = *setup;
    fill_defaults(&m->setup);
    m->sock.fd = -1;
    int rc = make_pipe(m->wake);
    if (rc) {
        mem_free(m);
        return err_set(e, rc, "pipe: %s", err_text(rc));
    }
    router_init(&m->router);
    rc = ring_init(&m->ring, m->setup.queue_bytes, m->wake[1]);
    if (rc == 0 && connect_service(m, must_connect, &why) != 0) {
        atomic_store(&m->local, true);
        m->never_connected = true;
        if (must_connect)
            rc = why.code;
        else
            manager_say(m, TARE_WARNING, "no service: %s; runs are written to files", why.text);
        last_error_take(&why);
    }
    if (rc == 0)
        rc = courier_start(m);
    if (rc) {
        free_parts(m);
        return why.code ? err_set(e, rc, "%s", why.text) : err_set(e, rc, "%s", err_text(rc));
    }
    *to = m;
    return 0;
}

void manager_free(struct manager *m, int exit_code)
{
    if (m->owns_service && !m->local)
        service_sock_inform_teardown(m, exit_code);
    courier_stop(m);
    sock_client_close(&m->sock);
    if (m->set_environment) {
        const char *env = getenv("WANDB_SERVICE");
        if (env && strcmp(env, m->service.token) == 0)
            unsetenv("WANDB_SERVICE");
    }
    int join_ms = m->local ? 0 : JOIN_MS; /* one that was given up may never end */
    if (m->owns_service && m->service.pid && service_join(&m->service, join_ms) == TARE_ETIMEOUT)
        manager_say(m, TARE_WARNING, "the service is still at work; it ends by itself");
    if (!atomic_load(&setup_exiting))
        free_parts(m);
}

void manager_abandon(struct manager *m)
{
    close(m->wake[0]);
    close(m->wake[1]);
    if (m->sock.fd >= 0)
        close(m->sock.fd);
    pthread_mutex_init(&say_lock, NULL);
}

static int full(struct tare_run *run)
{
    if (run)
        atomic_fetch_add(&run->n_dropped, 1);
    return last_error_set(TARE_EFULL, "the queue stayed full; the data was dropped");
}

int manager_queue(struct manager *m, enum entry_kind kind, struct tare_run *run, const void *head,
                  size_t n_head, const void *payload, size_t n, int wait_ms)
{
    if (n_head + n > ring_payload_max(&m->ring) / 4) {
        char *bytes = mem_alloc(n_head + n);
        if (!bytes)
            return last_error_set(TARE_ENOMEM, "out of memory");
        if (n_head)
            memcpy(bytes, head, n_head);
        if (n)
            memcpy(bytes + n_head, payload, n);
        return manager_queue_heavy(m, kind, run, bytes, n_head + n, wait_ms);
    }
    struct ring_entry *e = ring_claim(&m->ring, n_head + n, wait_ms);
    if (!e)
        return full(run);
    e->kind = (uint16_t)kind;
    e->run = run;
    if (n_head)
        memcpy(e->payload, head, n_head);
    if (n)
        memcpy(e->payload + n_head, payload, n);
    ring_put(&m->ring, e);
    return 0;
}

int manager_queue_heavy(struct manager *m, enum entry_kind kind, struct tare_run *run,
                        char *bytes_take, size_t n, int wait_ms)
{
    struct heavy h = {bytes_take, n};
    size_t before = atomic_fetch_add(&m->heavy_bytes, n);
    struct ring_entry *e = NULL;
    if (before == 0 || before + n <= m->setup.heavy_bytes)
        e = ring_claim(&m->ring, sizeof h, wait_ms);
    if (!e) {
        atomic_fetch_sub(&m->heavy_bytes, n);
        mem_free(bytes_take);
        return full(run);
    }
    e->kind = (uint16_t)kind;
    e->flags = ENTRY_HEAVY;
    e->run = run;
    memcpy(e->payload, &h, sizeof h);
    ring_put(&m->ring, e);
    return 0;
}
