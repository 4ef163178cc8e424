/* SPDX-License-Identifier: MIT */
/* Connections, and who may keep theirs. The library has a timeout for silence; here are bounds for clients that
 * send, or read, a byte now and then, and for those that only take places away from others. */
#include "base/alloc.h"
#include "base/clock.h"
#include "server/http/inner.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    HEADER_LIMIT_S = 150,    /* from one request to the end of the next one's headers */
    MOVE_GRACE_S = 60,       /* then a body must have come, or an answer gone, with at least … */
    TIGHT_GRACE_S = 10,      /* (so soon where memory is short) */
    MOVE_MIN_BYTES_S = 1024, /* … this many bytes a second on average */
    WATCH_S = 5,
};

/* Bytes that the other side said it has; -1: not known (no TCP). */
static int64_t bytes_acked(int fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 ||
        n < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked)
        return -1;
    return (int64_t)info.tcpi_bytes_acked;
}

void http_conn_phase(struct http_server *s, struct http_conn *c, enum http_phase phase)
{
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    c->phase = phase;
    c->since_ns = clock_mono_ns();
    c->received = 0;
    c->acked_before = -1;
    pthread_mutex_unlock(&s->lock);
}

void http_conn_received(struct http_server *s, struct http_conn *c, size_t n)
{
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    c->received += (int64_t)n;
    pthread_mutex_unlock(&s->lock);
}

void http_conn_trust(struct http_server *s, struct http_conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    c->trusted = true;
    pthread_mutex_unlock(&s->lock);
}

static void kill_conn(struct http_conn *c)
{
    c->killed = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* Whose place does a newcomer get when they run out? Who has shown no key and waits, the longest wait first; then
 * who has, and is between two requests. */
static struct http_conn *find_least(struct http_server *s)
{
    struct http_conn *least = NULL, *idle = NULL;
    for (struct http_conn *c = s->conns; c; c = c->next) {
        if (c->killed || c->phase == CONN_ANSWER || c->phase == CONN_SENDING)
            continue;
        if (!c->trusted && (!least || c->since_ns < least->since_ns))
            least = c;
        if (c->trusted && c->phase == CONN_IDLE && (!idle || c->since_ns < idle->since_ns))
            idle = c;
    }
    return least ? least : idle;
}

static void conn_open(struct http_server *s, struct MHD_Connection *conn, void **socket_context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = mem_calloc(1, sizeof *c);
    *socket_context = c;
    if (!c)
        return;
    c->fd = info ? info->connect_fd : -1;
    c->since_ns = clock_mono_ns();
    pthread_mutex_lock(&s->lock);
    struct http_conn *least = s->n_conns >= s->o.max_connections - s->o.max_connections / 8 ? find_least(s) : NULL;
    if (least)
        kill_conn(least);
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    s->n_conns++;
    pthread_mutex_unlock(&s->lock);
}

static void conn_close(struct http_server *s, struct http_conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    if (c->next)
        c->next->prev = c->prev;
    *(c->prev ? &c->prev->next : &s->conns) = c->next;
    s->n_conns--;
    pthread_mutex_unlock(&s->lock);
    mem_free(c);
}

void http_on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
                        enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        conn_open(cls, conn, socket_context);
    else
        conn_close(cls, *socket_context);
}

bool http_conn_is_slow(const struct http_conn *c, int64_t now_ns, int64_t moved, bool memory_is_short)
{
    int64_t s = (now_ns - c->since_ns) / 1000000000, grace = memory_is_short ? TIGHT_GRACE_S : MOVE_GRACE_S;
    if (c->phase == CONN_IDLE)
        return s > HEADER_LIMIT_S;
    return c->phase != CONN_ANSWER && moved >= 0 && s > grace && moved < (s - grace) * MOVE_MIN_BYTES_S;
}

static bool is_too_slow(struct http_server *s, struct http_conn *c, int64_t now_ns)
{
    int64_t moved = c->received;
    if (c->phase == CONN_SENDING) {
        int64_t acked = bytes_acked(c->fd);
        if (c->acked_before < 0)
            c->acked_before = acked;
        moved = acked < 0 ? -1 : acked - c->acked_before;
    }
    return http_conn_is_slow(c, now_ns, moved, http_memory_is_short(s));
}

/* A client that closed its side in the middle of a body: the library would wait for the rest until the idle
 * timeout, and what the body was for would be held so long. */
static bool has_hung_up(const struct http_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    int unread = 0;
    return c->phase == CONN_BODY && poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) &&
           ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Twice in a row, for the last piece may be in somebody's hands. */
static bool is_given_up(struct http_conn *c)
{
    bool before = c->has_hung_up;
    c->has_hung_up = has_hung_up(c);
    return before && c->has_hung_up;
}

void *http_watch_main(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += WATCH_S;
        while (!s->stopping && pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT) {
        }
        int64_t now_ns = clock_mono_ns();
        for (struct http_conn *c = s->conns; c; c = c->next)
            if (!c->killed && (is_too_slow(s, c, now_ns) || is_given_up(c)))
                kill_conn(c);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
