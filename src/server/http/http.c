/* SPDX-License-Identifier: MIT */
/* libmicrohttpd calls `on_request` for a request several times: with the headers, with every piece
 * of the body, when the body is complete, and again after it was resumed. The first call finds the
 * route and checks the key; the call after the body hands the request to a worker and suspends the
 * connection; the call after the reply sends it. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/spare.h"
#include "server/http/inner.h"
#include "server/http/route.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 16 * 1024,    /* request line, headers and the buffer for reading, a connection */
    IDLE_TIMEOUT_S = 120,        /* nothing sent or received */
    SWALLOW_BYTES = 64 << 20,    /* of a body, after an error, so that the client reads the reply */
    SMALL_BODY_BYTES = 64 << 10, /* larger ones are not read at all when refused at once */
    MAX_QUEUE = 2048,
    MAX_QUERY = 64,              /* parameters … */
    QUERY_BYTES = 64,            /* … that the library takes for each */
    ARENA_BYTES = 256 * 1024,
    WAIT_NS = 1000000,
    CANCEL_MS = 500, /* between two tries to end what does not end by itself */
};

/* ---- one request ----------------------------------------------------------------------- */

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->inner->conn, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_request *r, const char *name, struct arena *a)
{
    const char *raw = MHD_lookup_connection_value(r->inner->conn, MHD_GET_ARGUMENT_KIND, name);
    struct str out;
    return raw && route_decode(a, str_of(raw), true, &out) ? out.p : NULL;
}

struct budget *http_memory(const struct http_request *r)
{
    return &r->inner->server->memory;
}

const char *http_peer(const struct http_request *r)
{
    return r->inner->peer;
}

static bool is_host(const char *z)
{
    size_t n = strlen(z);
    return n && n < 256 &&
           strspn(z, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_[]") == n;
}

void http_base_url(const struct http_request *r, struct buf *to)
{
    const char *host = http_header(r, "Host"), *proto = http_header(r, "X-Forwarded-Proto");
    const struct http_server *s = r->inner->server;
    bool tls = s->o.tls_cert || (proto && strcmp(proto, "https") == 0);
    buf_printf(to, "%s://%s", tls ? "https" : "http",
               host && is_host(host) ? host : s->port ? s->address : "localhost");
}

static void peer_text(struct http_inner *q)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(q->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    snprintf(q->peer, sizeof q->peer, "-");
    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, q->peer, sizeof q->peer);
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, q->peer,
                  sizeof q->peer);
}

static void set_phase(struct http_inner *q, enum http_phase phase)
{
    http_conn_phase(q->server, q->client, phase);
}

static struct http_inner *request_new(struct http_server *s, struct MHD_Connection *conn, const char *url,
                                      const char *method)
{
    struct http_inner *q = mem_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    q->server = s;
    q->conn = conn;
    q->client = info ? info->socket_context : NULL;
    q->r.inner = q;
    q->r.app = s->o.app;
    q->r.began_ns = clock_mono_ns();
    arena_init(&q->arena, ARENA_BYTES);
    q->r.method = str_of(method);
    q->r.path = str_of(arena_strdup(&q->arena, url));
    q->r.content_length = -1;
    peer_text(q);
    pthread_mutex_lock(&s->lock);
    s->n_requests++;
    pthread_mutex_unlock(&s->lock);
    return q;
}

static bool has_body(const struct http_request *r)
{
    return r->content_length > 0 || (r->content_length < 0 && http_header(r, "Transfer-Encoding"));
}

static void answer_options(struct http_request *r)
{
    http_set_header(r, "Access-Control-Allow-Origin", "*");
    http_set_header(r, "Access-Control-Allow-Methods", "GET, HEAD, PUT, POST");
    http_set_header(r, "Access-Control-Allow-Headers", "*");
    http_reply_str(r, 204, NULL, STR(""));
}

static void reply_busy(struct http_request *r)
{
    http_set_header(r, "Retry-After", "1");
    http_reply_error(r, 503, "the server is busy");
}

/* Connections that were at something when the end began may ask for more. */
static void reply_ending(struct http_request *r)
{
    http_set_header(r, "Connection", "close");
    http_reply_error(r, 503, "the server is ending");
}

static bool is_malformed(struct http_request *r)
{
    const char *why;
    int status = http_check_headers(r, &why);
    if (!status)
        return false;
    r->inner->bad = true; /* nobody knows where the next request begins */
    http_set_header(r, "Connection", "close");
    http_reply_error(r, status, "%s", why);
    return true;
}

static bool is_small(const struct http_request *r)
{
    return r->content_length >= 0 && r->content_length <= SMALL_BODY_BYTES;
}

/* Route, key, limits; then the route's own beginning. May reply. */
static void begin_request(struct http_inner *q)
{
    struct http_request *r = &q->r;
    struct http_server *s = q->server;
    const struct http_route *other = NULL;
    if (is_malformed(r))
        return;
    const struct http_route *route = route_find(s->o.routes, r->method, r->path, &q->arena, r->params,
                                                &r->n_params, &other);
    if (!route && other && str_eq(r->method, STR("OPTIONS")))
        answer_options(r);
    else if (!route)
        http_reply_error(r, other ? 405 : 404, other ? "method not allowed" : "not found");
    r->route = route ? route : other; /* its path may be secret all the same */
    if (!route)
        return;
    int known = route->open ? 1 : s->o.authorize(r);
    if (!route->open && http_is_cross_site(r)) {
        http_reply_error(r, 403, "another site's page may not do this");
    } else if (known < 0) { /* to clients, a 401 would be final */
        http_set_header(r, "Retry-After", "5");
        http_reply_error(r, 503, "the key cannot be checked now");
    } else if (!known) {
        http_set_header(r, "WWW-Authenticate", "Basic realm=\"tare\"");
        http_reply_error(r, 401, "user is not logged in: the API key is missing or not valid");
    } else if (route->body == HTTP_NO_BODY ? has_body(r)
                                           : r->content_length > 0 && (uint64_t)r->content_length > route->max_body) {
        http_reply_error(r, 413, "the body is too large");
    } else if (route->body == HTTP_KEPT && http_memory_is_short(s) && !is_small(r)) {
        reply_busy(r);
    } else if (route->begin) {
        route->begin(r);
    }
    if (!http_replied(r) && (r->user.id || route->begin))
        http_conn_trust(s, q->client);
}

static bool take_memory(struct http_inner *q, size_t n)
{
    if (!budget_take(&q->server->memory, n, q->kept))
        return false;
    q->kept += n;
    return true;
}

static void keep_piece(struct http_inner *q, const char *p, size_t n)
{
    struct http_request *r = &q->r;
    if (r->body.len + n > r->route->max_body) {
        http_reply_error(r, 413, "the body is too large");
        return;
    }
    if (!take_memory(q, n)) {
        reply_busy(r);
        return;
    }
    if (!r->body.cap && r->content_length > 0)
        spare_take(&r->body, (size_t)r->content_length);
    if (!r->body.cap && r->content_length > 0 && r->content_length < (1 << 20))
        buf_reserve(&r->body, (size_t)r->content_length);
    if (buf_append(&r->body, p, n))
        http_reply_error(r, 503, "out of memory");
}

/* False: end the connection. */
static bool take_piece(struct http_inner *q, const char *p, size_t n)
{
    struct http_request *r = &q->r;
    http_conn_received(q->server, q->client, n);
    if (http_replied(r)) {
        q->swallowed += (int64_t)n;
        return q->swallowed <= SWALLOW_BYTES;
    }
    if (r->route->body == HTTP_KEPT)
        keep_piece(q, p, n);
    else if (r->route->body == HTTP_STREAMED)
        r->route->data(r, p, n);
    else
        http_reply_error(r, 413, "no body is expected here");
    return true;
}

static void unpack_and_handle(struct http_inner *q)
{
    struct http_request *r = &q->r;
    const char *packed = r->route->body == HTTP_KEPT ? http_header(r, "Content-Encoding") : NULL;
    int rc = 0;
    if (packed && strcmp(packed, "gzip") == 0)
        rc = http_gunzip(&r->body, r->route->max_body, &q->server->memory, &q->kept);
    else if (packed && strcmp(packed, "identity") != 0)
        rc = TARE_EUNSUPPORTED;
    if (rc == TARE_ELIMIT)
        http_reply_error(r, 413, "the body is too large");
    else if (rc == TARE_EUNSUPPORTED)
        http_reply_error(r, 415, "this Content-Encoding is not supported");
    else if (rc == TARE_EFULL)
        reply_busy(r);
    else if (rc)
        http_reply_error(r, rc == TARE_ENOMEM ? 503 : 400, "the body cannot be unpacked");
    else
        r->route->handle(r);
}

static void work_run(struct work *w)
{
    unpack_and_handle((struct http_inner *)((char *)w - offsetof(struct http_inner, work)));
}

/* The connection sleeps until the reply; if that came meanwhile, it is woken at once. */
static void wait_for_reply(struct http_inner *q)
{
    int reading = REQ_READING;
    MHD_suspend_connection(q->conn);
    atomic_fetch_add(&q->server->n_waiting, 1);
    if (!atomic_compare_exchange_strong(&q->state, &reading, REQ_WAITING)) {
        MHD_resume_connection(q->conn);
        atomic_fetch_sub(&q->server->n_waiting, 1);
    }
}

static bool is_quick(const struct http_request *r)
{
    return r->route->quick || (r->route->quick_body && r->body.len <= r->route->quick_body &&
                               !http_header(r, "Content-Encoding"));
}

/* True: the connection was suspended, nothing more may be done with it now. */
static bool dispatch(struct http_inner *q)
{
    struct http_request *r = &q->r;
    set_phase(q, CONN_ANSWER);
    q->dispatched = true;
    if (is_quick(r)) {
        unpack_and_handle(q);
        if (http_replied(r))
            return false;
        wait_for_reply(q);
        return true;
    }
    q->work.run = work_run;
    MHD_suspend_connection(q->conn);
    atomic_fetch_add(&q->server->n_waiting, 1);
    atomic_store(&q->state, REQ_WAITING);
    if (workers_push(q->server->workers, &q->work))
        reply_busy(r);
    return true;
}

static enum MHD_Result send_reply(struct http_inner *q)
{
    if (q->queued)
        return MHD_YES;
    q->queued = true;
    set_phase(q, CONN_SENDING);
    return MHD_queue_response(q->conn, (unsigned)q->status, q->response);
}

/* The library takes memory of the connection for each parameter behind '?'; where it ends there, the request would be
 * neither answered nor ended (0.9.75). So of too many it is not shown any: `uri` lies in its own buffer, and it has not
 * looked for them yet. */
static char too_many;

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
    const char *query = strchr(uri, '?');
    int n = 0;
    (void)cls, (void)conn;
    for (const char *p = query; p; p = strchr(p + 1, '&'))
        n++;
    if (n == 0 || (n <= MAX_QUERY && strlen(uri) + (size_t)n * QUERY_BYTES < HEADER_BYTES - 2048))
        return NULL;
    ((char *)(uintptr_t)query)[1] = 0;
    return &too_many;
}

static void reply_too_long(struct http_inner *q)
{
    q->bad = true;
    http_set_header(&q->r, "Connection", "close");
    http_reply_error(&q->r, 414, "the query is too long, or has more than %d parameters", MAX_QUERY);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    struct http_inner *q = *context;
    (void)version;
    if (!q || *context == &too_many) {
        bool is_long = *context == &too_many;
        *context = q = request_new(cls, conn, url, method);
        if (!q)
            return MHD_NO;
        if (is_long)
            reply_too_long(q);
        else if (atomic_load(&q->server->ending))
            reply_ending(&q->r);
        else
            begin_request(q);
        set_phase(q, CONN_BODY);
        if (q->bad || (http_replied(&q->r) && has_body(&q->r) && !is_small(&q->r))) {
            linger_add(&q->server->linger, q->client ? q->client->fd : -1);
            return send_reply(q); /* the library reads no more of this connection */
        }
        return MHD_YES;
    }
    if (*upload_size) {
        bool go_on = take_piece(q, upload, *upload_size);
        *upload_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (!http_replied(&q->r) && !q->dispatched && dispatch(q))
        return MHD_YES;
    return http_replied(&q->r) ? send_reply(q) : MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct http_server *s = cls;
    struct http_inner *q = *context;
    (void)conn;
    if (!q || *context == &too_many)
        return;
    *context = NULL;
    bool sent = how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (s->o.on_done)
        s->o.on_done(&q->r, sent ? q->status : 0, sent ? q->reply_bytes : 0);
    if (q->r.route && q->r.route->end)
        q->r.route->end(&q->r);
    if (q->response)
        MHD_destroy_response(q->response);
    set_phase(q, CONN_IDLE);
    spare_give(&q->r.body);
    budget_give(&s->memory, q->kept);
    arena_fini(&q->arena);
    mem_free(q);
    pthread_mutex_lock(&s->lock);
    s->n_requests--;
    if (s->draining) /* the watcher sleeps on this, too: waking it after each request costs more than some requests */
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- listening ------------------------------------------------------------------------- */

static int listen_unix(struct http_server *s, const char *path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return err_set(e, TARE_EINVAL, "the socket path is too long: %s", path);
    memcpy(a.sun_path, path, strlen(path));
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path); /* the directory's lock says that nobody else uses it */
    if (s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(s->listen_fd, 1024) < 0)
        return err_set(e, -errno, "listening on unix:%s: %s", path, strerror(errno));
    s->unix_path = xmem_strdup(path);
    snprintf(s->address, sizeof s->address, "unix:%s", path);
    return 0;
}

static int listen_on(struct http_server *s, const struct addrinfo *ai, struct err *e, const char *text)
{
    int one = 1;
    struct sockaddr_storage at = {0};
    socklen_t n = sizeof at;
    char host[INET6_ADDRSTRLEN], port[8];
    s->listen_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd >= 0)
        setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (s->listen_fd < 0 || bind(s->listen_fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
        listen(s->listen_fd, 1024) < 0 || getsockname(s->listen_fd, (struct sockaddr *)&at, &n) < 0)
        return err_set(e, -errno, "listening on %s: %s", text, strerror(errno));
    getnameinfo((struct sockaddr *)&at, n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    s->port = atoi(port);
    snprintf(s->address, sizeof s->address, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

/* getaddrinfo takes 99999 for 34463. */
static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 5 && !text[n] && atoi(text) <= 65535;
}

static int open_socket(struct http_server *s, const char *text, struct err *e)
{
    if (strncmp(text, "unix:", 5) == 0)
        return listen_unix(s, text + 5, e);
    const char *colon = strrchr(text, ':');
    char host[256];
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (!n || n >= sizeof host || !is_port(colon + 1))
        return err_set(e, TARE_EINVAL, "not an address to listen on: %s (ADDR:PORT or unix:PATH)", text);
    memcpy(host, text, n);
    host[n] = 0;
    char *name = host;
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        name = host + 1;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *ai = NULL;
    if (strspn(name, "0123456789.:abcdefABCDEF") == strlen(name))
        hints.ai_flags |= AI_NUMERICHOST;
    int rc = getaddrinfo(name, colon + 1, &hints, &ai);
    if (rc)
        return err_set(e, TARE_EINVAL, "listening on %s: %s", text, gai_strerror(rc));
    rc = listen_on(s, ai, e, text);
    freeaddrinfo(ai);
    return rc;
}

static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls, (void)conn;
    return strlen(s); /* paths are split before they are decoded: route.c */
}

static void on_library_log(void *cls, const char *fmt, va_list ap)
{
    char text[400];
    (void)cls;
    vsnprintf(text, sizeof text, fmt, ap);
    diag_debug("http: %.*s", (int)strcspn(text, "\n"), text);
}

static int start_daemon(struct http_server *s, struct err *e)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem items[20];
    int n = 0;
#define ITEM(name, number, pointer) items[n++] = (struct MHD_OptionItem){name, (intptr_t)(number), pointer}
    if (s->o.threads > 1)
        ITEM(MHD_OPTION_THREAD_POOL_SIZE, s->o.threads, NULL);
    if (s->o.tls_cert) {
        flags |= MHD_USE_TLS;
        ITEM(MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)s->o.tls_cert);
        ITEM(MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)s->o.tls_key);
    }
    ITEM(MHD_OPTION_LISTEN_SOCKET, s->listen_fd, NULL);
    ITEM(MHD_OPTION_CONNECTION_LIMIT, s->o.max_connections, NULL);
    ITEM(MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, NULL);
    ITEM(MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_BYTES, NULL);
    ITEM(MHD_OPTION_NOTIFY_COMPLETED, on_completed, s);
    ITEM(MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, s);
    ITEM(MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s);
    ITEM(MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL);
    ITEM(MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
    ITEM(MHD_OPTION_END, 0, NULL);
#undef ITEM
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER,
                                 on_library_log, NULL, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    return s->daemon ? 0 : err_set(e, TARE_EIO, "the HTTP server could not be started%s",
                                   s->o.tls_cert ? " (is the certificate with its key good?)" : "");
}

static void fill_defaults(struct http_options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!o->threads)
        o->threads = cores < 1 ? 1 : cores > 4 ? 4 : (int)cores;
    if (!o->max_workers)
        o->max_workers = 16;
    if (!o->max_connections)
        o->max_connections = 4096;
    if (!o->max_memory)
        o->max_memory = (size_t)1 << 30;
}

static void server_free(struct http_server *s)
{
    workers_free(s->workers);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->unix_path)
        unlink(s->unix_path);
    mem_free(s->unix_path);
    linger_fini(&s->linger);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

int http_open(const struct http_options *o, struct http_server **out, struct err *e)
{
    struct http_server *s = xmem_calloc(1, sizeof *s);
    s->o = *o;
    s->listen_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    linger_init(&s->linger);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    fill_defaults(&s->o);
    s->memory.max_bytes = s->o.max_memory;
    s->workers = workers_new(s->o.max_workers, MAX_QUEUE);
    int rc = open_socket(s, o->listen, e);
    *out = s; /* the first request may be answered before the daemon's start returns */
    if (!rc)
        rc = start_daemon(s, e);
    if (!rc && pthread_create(&s->watcher, NULL, http_watch_main, s)) {
        MHD_stop_daemon(s->daemon);
        s->listen_fd = -1;
        rc = err_set(e, TARE_ENOMEM, "the HTTP server's watcher could not be started");
    }
    if (rc) {
        *out = NULL;
        server_free(s);
    }
    return rc;
}

/* Wait until no request is under way. A suspended connection must not meet MHD_stop_daemon. */
static void drain(struct http_server *s, int grace_ms)
{
    struct timespec until = clock_mono_after(grace_ms);
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    while (s->n_requests && pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT) {
    }
    for (struct http_conn *c = s->conns; c; c = c->next) /* clients in the middle of a body */
        if (c->phase != CONN_ANSWER)
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
}

static void cancel(struct http_server *s)
{
    if (s->o.cancel)
        s->o.cancel(s->o.app);
}

/* Clients are refused from now on: a pipe in which nothing comes takes the place of the listening socket, under its number;
 * the library closes it. MHD_quiesce_daemon would do, but it takes the socket out of a thread's epoll set while that thread,
 * which sees the end already, may do the same; the second to come finds nothing and aborts the program (0.9.75). Without a
 * descriptor left for the pipe clients wait until the end. */
static void stop_listening(struct http_server *s, int nobody[2])
{
    if (pipe(nobody) == 0) {
        dup2(nobody[0], s->listen_fd);
        close(nobody[0]);
    }
    s->listen_fd = -1;
}

void http_close(struct http_server *s, int grace_ms)
{
    if (!s)
        return;
    int nobody[2] = {-1, -1};
    stop_listening(s, nobody);
    drain(s, grace_ms);
    atomic_store(&s->ending, true);
    while (!workers_stop(s->workers, CANCEL_MS)) /* then what they were at is answered */
        cancel(s);
    int64_t began_ns = clock_mono_ns();
    while (atomic_load(&s->n_waiting) > 0) { /* what they handed on (to the database's writer) will be */
        nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
        if (clock_mono_ns() - began_ns > CANCEL_MS * 1000000ll)
            cancel(s);
    }
    drain(s, CANCEL_MS); /* these answers are on their way */
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->watcher, NULL);
    MHD_stop_daemon(s->daemon);
    if (nobody[1] >= 0)
        close(nobody[1]);
    server_free(s);
}

const char *http_address(const struct http_server *s)
{
    return s->address;
}

int http_port(const struct http_server *s)
{
    return s->port;
}

void http_get_stats(struct http_server *s, struct http_stats *out)
{
    pthread_mutex_lock(&s->lock);
    out->connections = s->n_conns;
    pthread_mutex_unlock(&s->lock);
    workers_count(s->workers, &out->workers, &out->busy_workers, &out->queued);
    out->memory_bytes = atomic_load(&s->memory.used_bytes);
}
