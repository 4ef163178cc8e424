/* SPDX-License-Identifier: MIT */
/* The end, however it comes:
 *
 *   SERVING ─► FINISHING ─► PARTING ─► GONE
 *
 *   entering FINISHING   who is still in the listener's queue is let in, the listener closed, every
 *                        socket read until it is empty; then all streams are finished
 *   entering PARTING     the last stream has closed its journal; the last answers are sent
 *   entering GONE        no connection is left; the loop's own handles are closed, and it ends
 *
 * A signal is often aimed at a whole job (Ctrl-C, a scheduler that preempts): the program may catch
 * it and go on to log its last state. So unless it came from our own parent, the service serves on
 * until the program is done or gone, or a second signal comes. */
#include "service/service.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/platform.h"
#include "service/stream/footer.h"
#include "service/watch/scrape.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_SIGNAL = 128, PARENT_LOOK_MS = 1000 };

/* -- signals ----------------------------------------------------------------------------------- */

static uv_async_t *signal_async;
static volatile sig_atomic_t signal_count, signal_sender, signal_number;

static void on_os_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    signal_number = number;
    signal_sender = info->si_code == SI_USER ? info->si_pid : 0;
    signal_count = signal_count + 1;
    uv_async_send(signal_async);
    errno = saved;
}

static void catch_signals(struct service *s)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_sigaction = on_os_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    signal_async = &s->on_signal;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        sigaction(ends[i], &a, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file over its limit is a failed write, like a full disk */
}

static void ignore_signals(void)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void on_grace_over(uv_timer_t *t)
{
    service_end(t->data, "the time after a signal is over", EXIT_SIGNAL, false, 0);
}

static void on_signal(uv_async_t *h)
{
    struct service *s = h->data;
    bool from_parent = signal_sender && signal_sender == getppid();
    bool again = s->signals > 0 && signal_count > s->signals;
    s->signals = signal_count;
    diag_info("signal %d from process %d", (int)signal_number, (int)signal_sender);
    if (s->stage == FINISHING) /* who pressed Control-C waits for us and has seen why */
        streams_bound(&s->streams, signal_number == SIGINT ? 0 : ONLINE_PART_MS * INT64_C(1000000));
    if (s->stage != SERVING)
        return;
    if (from_parent || again || s->n_connections == 0 || s->streams.n_open == 0) {
        service_end(s, "a signal", EXIT_SIGNAL, false, 0);
        return;
    }
    uv_timer_start(&s->end_timer, on_grace_over, SIGNAL_GRACE_MS, 0);
}

/* After a signal, nothing left to wait for? */
static void check_signalled(struct service *s)
{
    if (s->stage == SERVING && s->signals && (s->n_connections == 0 || s->streams.n_open == 0))
        service_end(s, "a signal", EXIT_SIGNAL, false, 0);
}

/* -- the parent -------------------------------------------------------------------------------- */

/* One that does not wait for the end any more was interrupted: whoever reads its output, which is ours too,
 * shall not wait either. (The C client starts us without an output, and may leave us to ourselves.) */
static void on_parent_gone(struct service *s)
{
    if (s->stage == FINISHING && footer_is_seen())
        streams_bound(&s->streams, 0);
    service_end(s, "the parent has ended", EXIT_OK, false, 0);
}

static void on_parent_poll(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    uv_poll_stop(p);
    on_parent_gone(p->data);
}

static void on_parent_look(uv_timer_t *t)
{
    struct service *s = t->data;
    if (getppid() != s->options.pid && kill((pid_t)s->options.pid, 0) < 0 && errno == ESRCH)
        on_parent_gone(s);
}

static void watch_parent(struct service *s)
{
    s->parent_fd = -1;
    uv_timer_init(&s->loop, &s->parent_timer);
    s->parent_timer.data = s;
    if (s->options.pid == 0 || s->options.detached)
        return;
    int fd = platform_process_fd((pid_t)s->options.pid);
    if (fd >= 0) {
        s->parent_fd = fd;
        uv_poll_init(&s->loop, &s->parent_poll, fd);
        s->parent_poll.data = s;
        uv_poll_start(&s->parent_poll, UV_READABLE, on_parent_poll);
        return;
    }
    /* Gone already: found out by the first look. */
    uv_timer_start(&s->parent_timer, on_parent_look, fd == -ESRCH ? 1 : PARENT_LOOK_MS,
                   PARENT_LOOK_MS);
}

/* -- clients ----------------------------------------------------------------------------------- */

static void on_client(struct server_sock *sock, int fd, bool tcp, bool refuse)
{
    struct service *s = (struct service *)((char *)sock - offsetof(struct service, sock));
    connection_open(s, fd, tcp, refuse);
}

static bool on_scarce(struct server_sock *sock)
{
    struct service *s = (struct service *)((char *)sock - offsetof(struct service, sock));
    return streams_spare_a_descriptor(&s->streams);
}

static void on_idle(uv_timer_t *t)
{
    service_end(t->data, "no client for as long as --idle-timeout says", EXIT_OK, true, 0);
}

static void watch_idleness(struct service *s)
{
    if (!s->options.detached || s->options.idle_timeout_ns == 0 || s->stage != SERVING)
        return;
    if (s->n_connections)
        uv_timer_stop(&s->idle_timer);
    else if (!uv_is_active((uv_handle_t *)&s->idle_timer))
        uv_timer_start(&s->idle_timer, on_idle,
                       (uint64_t)((s->options.idle_timeout_ns + 999999) / 1000000), 0);
}

/* -- the end ----------------------------------------------------------------------------------- */

static void on_too_long(uv_timer_t *t)
{
    struct service *s = t->data;
    diag_error("the end takes too long: %d streams have not closed, %d connections",
               s->streams.n_closing, s->n_connections);
    server_sock_close(&s->sock);
    diag_flush(DIAG_FLUSH_MS);
    _exit(EXIT_ERROR);
}

static void on_http_closed(void *ctx)
{
    (void)ctx;
}

static void on_tell(uv_timer_t *t)
{
    struct service *s = t->data;
    streams_tell_waits(&s->streams);
}

static void close_handles(struct service *s)
{
    s->stage = GONE;
    uv_close((uv_handle_t *)&s->idle_timer, NULL);
    uv_close((uv_handle_t *)&s->end_timer, NULL);
    uv_close((uv_handle_t *)&s->tell_timer, NULL);
    uv_close((uv_handle_t *)&s->parent_timer, NULL);
    uv_close((uv_handle_t *)&s->orphan_timer, NULL);
    uv_close((uv_handle_t *)&s->refuse_timer, NULL);
    if (s->parent_fd >= 0) {
        uv_close((uv_handle_t *)&s->parent_poll, NULL);
        close(s->parent_fd);
    }
    ignore_signals();
    uv_close((uv_handle_t *)&s->on_signal, NULL);
    turn_close(&s->turn);
    streams_fini(&s->streams);
    syncs_fini(s);
    scraper_close(s->scraper);
    if (s->http)
        http_close(s->http, on_http_closed, s);
}

static void on_linger_over(uv_timer_t *t)
{
    struct service *s = t->data;
    struct connection *c, *next;
    DL_FOREACH_SAFE(s->connections, c, next)
        connection_close(c);
}

static void part(struct service *s)
{
    struct connection *c, *next;
    s->stage = PARTING;
    uv_timer_start(&s->end_timer, on_linger_over, OUT_LINGER_MS, 0);
    DL_FOREACH_SAFE(s->connections, c, next)
        connection_part(c);
    service_connections_changed(s);
}

static void on_sweep(struct work *w)
{
    (void)w;
    server_sock_sweep();
}

static void on_swept(struct work *w)
{
    (void)w;
}

void service_stream_made(struct service *s)
{
    if (s->sweep.run)
        return;
    s->sweep.run = on_sweep;
    s->sweep.done = on_swept;
    work_start(&s->loop, &s->sweep);
}

/* Nothing that ends with the service is under way any more? */
static void check_finished(struct service *s)
{
    if (s->stage == FINISHING && s->streams.n_open == 0 && s->streams.n_closing == 0 &&
        s->syncs.n_running == 0)
        part(s);
}

void service_streams_changed(struct service *s)
{
    if (s->streams.n_open == 0 && s->streams.n_closing == 0)
        mem_trim(64 * 1024);
    check_finished(s);
    check_signalled(s);
}

void service_syncs_changed(struct service *s)
{
    check_finished(s);
}

void service_connections_changed(struct service *s)
{
    watch_idleness(s);
    check_signalled(s);
    if (s->stage == PARTING && s->n_connections == 0)
        close_handles(s);
}

struct http *service_http(struct service *s)
{
    if (!s->http)
        s->http = http_new(&s->loop);
    return s->http;
}

struct scraper *service_scraper(struct service *s)
{
    if (!s->scraper)
        s->scraper = scraper_new(service_http(s), &s->loop);
    return s->scraper;
}

void service_end(struct service *s, const char *why, int exit_code, bool finish_streams,
                 int run_exit)
{
    if (s->stage != SERVING || s->end_queued)
        return;
    diag_info("ending: %s", why);
    s->exit_code = exit_code;
    s->finish_streams = finish_streams;
    s->run_exit = run_exit;
    s->end_queued = true;
    turn_add(&s->turn, &s->end_task);
}

/* Outside of any connection's callback, so that all of them can be read. */
static void on_end(struct turn_task *t)
{
    struct service *s = (struct service *)((char *)t - offsetof(struct service, end_task));
    struct connection *c, *next;
    s->stage = FINISHING;
    uv_timer_stop(&s->idle_timer);
    uv_timer_stop(&s->orphan_timer);
    uv_timer_start(&s->end_timer, on_too_long, END_MS + (s->http ? ONLINE_END_MS : 0), 0);
    uv_timer_start(&s->tell_timer, on_tell, END_TELL_MS, END_TELL_AGAIN_MS);
    server_sock_accept_waiting(&s->sock);
    server_sock_close(&s->sock);
    DL_FOREACH_SAFE(s->connections, c, next)
        connection_drain(c);
    streams_end_all(&s->streams, s->finish_streams, s->run_exit);
    syncs_abort_all(s);
    sweeps_stop_all(s);
    service_streams_changed(s);
}

/* -- life -------------------------------------------------------------------------------------- */

static char read_buffer[READ_BUFFER_BYTES];

int service_open(struct service *s, const struct options *o, struct err *e)
{
    s->options = *o;
    s->read_buffer = read_buffer;
    int rc = uv_loop_init(&s->loop);
    if (rc)
        return err_set(e, rc, "starting the event loop: %s", err_text(rc));
    rc = server_sock_open(&s->sock, &s->loop, (int)o->pid, o->listen_on_localhost, e);
    if (rc) {
        uv_loop_close(&s->loop);
        return rc;
    }
    uv_async_init(&s->loop, &s->on_signal, on_signal);
    s->on_signal.data = s;
    catch_signals(s);
    rc = server_sock_write_port_file(&s->sock, o->port_filename, e);
    if (rc) {
        server_sock_close(&s->sock);
        return rc;
    }
    mailbox_init(&s->mailbox);
    streams_init(&s->streams, &s->loop);
    turn_init(&s->turn, &s->loop);
    s->end_task.run = on_end;
    uv_timer_init(&s->loop, &s->idle_timer);
    uv_timer_init(&s->loop, &s->end_timer);
    uv_timer_init(&s->loop, &s->tell_timer);
    s->tell_timer.data = s;
    uv_timer_init(&s->loop, &s->orphan_timer);
    uv_timer_init(&s->loop, &s->refuse_timer);
    s->orphan_timer.data = s->idle_timer.data = s->end_timer.data = s->refuse_timer.data = s;
    s->sock.on_client = on_client;
    s->sock.on_scarce = on_scarce;
    server_sock_start(&s->sock);
    watch_parent(s);
    watch_idleness(s);
    return 0;
}

int service_run(struct service *s)
{
    uv_run(&s->loop, UV_RUN_DEFAULT);
    mailbox_fini(&s->mailbox);
    int rc = uv_loop_close(&s->loop);
    if (rc) {
        diag_error("a handle was left open at the end");
        return EXIT_ERROR;
    }
    return s->exit_code;
}
