/* SPDX-License-Identifier: MIT */
#include "tests/support/tiny_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    struct tiny_server *server;
    int fd;
    char head[16384];
    size_t n_head, n_have; /* head with its empty line; all that has been read */
};

uint64_t tiny_sum(uint64_t sum, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    sum = sum ? sum : 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 0x100000001b3u;
    return sum;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

static bool answer(struct client *c, int status, const char *extra, const char *body, size_t n)
{
    char head[16384 + 512];
    int k = snprintf(head, sizeof head, "HTTP/1.1 %d Word\r\nContent-Length: %zu\r\nX-Test: Yes\r\n%s\r\n",
                     status, n, extra);
    return send_all(c->fd, head, (size_t)k) && send_all(c->fd, body, n);
}

/* A process that was stopped for a while is told EINTR where there is a timeout: see signal(7). */
static ssize_t receive(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = recv(fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool read_head(struct client *c)
{
    for (;;) {
        char *end = memmem(c->head, c->n_have, "\r\n\r\n", 4);
        if (end) {
            c->n_head = (size_t)(end - c->head) + 4;
            return true;
        }
        ssize_t got = receive(c->fd, c->head + c->n_have, sizeof c->head - 1 - c->n_have);
        if (got <= 0)
            return false;
        c->n_have += (size_t)got;
    }
}

static size_t content_length(struct client *c)
{
    for (char *p = c->head; (p = memmem(p, (size_t)(c->head + c->n_head - p), "\r\n", 2)); p += 2)
        if (strncasecmp(p + 2, "content-length:", 15) == 0)
            return strtoull(p + 17, NULL, 10);
    return 0;
}

/* The body in pieces to `take`; false if the connection ended. What follows it stays in `head`. */
static bool read_body(struct client *c, size_t n, void (*take)(void *ctx, const char *p, size_t n), void *ctx)
{
    static _Thread_local char block[65536];
    size_t have = c->n_have - c->n_head;
    size_t first = have < n ? have : n;
    take(ctx, c->head + c->n_head, first);
    memmove(c->head, c->head + c->n_head + first, have - first);
    c->n_have = have - first;
    for (n -= first; n > 0;) {
        ssize_t got = receive(c->fd, block, n < sizeof block ? n : sizeof block);
        if (got <= 0)
            return false;
        take(ctx, block, (size_t)got);
        n -= (size_t)got;
    }
    return true;
}

struct body {
    char *p;
    size_t n;
    uint64_t sum;
};

static void keep(void *ctx, const char *p, size_t n)
{
    struct body *b = ctx;
    b->sum = tiny_sum(b->sum, p, n);
    if (b->n + n > 1 << 20)
        return;
    b->p = realloc(b->p, b->n + n + 1);
    memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

static bool big(struct client *c, size_t n)
{
    static _Thread_local char block[251 * 256];
    char head[128];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i % 251);
    int k = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    bool ok = send_all(c->fd, head, (size_t)k);
    for (; ok && n > sizeof block; n -= sizeof block)
        ok = send_all(c->fd, block, sizeof block);
    return ok && send_all(c->fd, block, n);
}

static bool drip(struct client *c, size_t n)
{
    char head[128];
    int k = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    bool ok = send_all(c->fd, head, (size_t)k);
    for (; ok && n > 0; n--) {
        usleep(20000);
        ok = send_all(c->fd, ".", 1);
    }
    return ok;
}

static bool reset(struct client *c)
{
    struct linger now = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return false;
}

static bool hole(struct client *c)
{
    char byte;
    while (!atomic_load(&c->server->stop) && receive(c->fd, &byte, 1) > 0)
        ;
    return false;
}

static const char gzipped_hello[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07"
                                    "\x00\x86\xa6\x10\x36\x05\x00\x00\x00";

static bool custom(struct client *c, const char *path, const char *head, struct body *body, bool *ok)
{
    struct tiny_reply to = {.status = 200};
    if (!c->server->reply || !c->server->reply(path, head, body->p ? body->p : "", &to))
        return false;
    *ok = answer(c, to.status, to.headers, to.body, strlen(to.body));
    return true;
}

/* Answer the request for `path`; false: the connection is over. */
static bool route(struct client *c, const char *path, const char *head, struct body *body)
{
    bool ok;
    if (custom(c, path, head, body, &ok))
        return ok;
    const char *arg = strchr(path, '?');
    size_t n = arg ? strtoull(arg + 1, NULL, 10) : 0;
    char text[4200];
#define IS(name) (strncmp(path, name, strlen(name)) == 0)
    if (IS("/echo"))
        return answer(c, 200, "", body->p ? body->p : "", body->n);
    if (IS("/sum"))
        return answer(c, 200, "", text, (size_t)sprintf(text, "%llu", (unsigned long long)body->sum));
    if (IS("/head"))
        return answer(c, 200, "", head, strlen(head));
    if (IS("/big"))
        return big(c, n);
    if (IS("/drip"))
        return drip(c, n);
    if (IS("/status"))
        return answer(c, (int)n, "", "<html>sorry</html>", 18);
    if (IS("/slow")) {
        usleep((useconds_t)n * 1000);
        return answer(c, 200, "", "slow", 4);
    }
    if (IS("/redirect")) {
        snprintf(text, sizeof text, "Location: %.4000s\r\n", arg + 1);
        return answer(c, 302, text, "gone", 4);
    }
    if (IS("/gzip"))
        return answer(c, 200, "Content-Encoding: gzip\r\n", gzipped_hello, sizeof gzipped_hello - 1);
    if (IS("/truncated")) {
        send_all(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", 44);
        return false;
    }
    if (IS("/half_head")) {
        send_all(c->fd, "HTTP/1.1 200 OK\r\nContent-Ty", 27);
        return false;
    }
    if (IS("/continue")) {
        send_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        return false;
    }
    if (IS("/garbage")) {
        send_all(c->fd, "SSH-2.0-tiny\r\n", 14);
        return false;
    }
    if (IS("/reset"))
        return reset(c);
    if (IS("/hole"))
        return hole(c);
    return answer(c, 200, "", "hello", 5) && !IS("/once");
}

static bool serve_one(struct client *c)
{
    char path[4096] = "";
    struct body body = {0};
    if (!read_head(c) || sscanf(c->head, "%*15s %4095s", path) != 1)
        return false;
    char *at = strncmp(path, "http://", 7) == 0 ? strchr(path + 7, '/') : path;
    char *head = strndup(c->head, c->n_head);
    atomic_fetch_add(&c->server->n_requests, 1);
    bool ok = read_body(c, content_length(c), keep, &body) && route(c, at ? at : "/", head, &body);
    free(head);
    free(body.p);
    return ok;
}

static void *serve(void *arg)
{
    struct client *c = arg;
    int open = atomic_fetch_add(&c->server->n_open, 1) + 1;
    int most = atomic_load(&c->server->most_open);
    while (open > most && !atomic_compare_exchange_weak(&c->server->most_open, &most, open))
        ;
    while (serve_one(c))
        ;
    close(c->fd);
    struct tiny_server *s = c->server;
    free(c);
    atomic_fetch_sub(&s->n_open, 1);
    return NULL;
}

static void *listen_on(void *arg)
{
    struct tiny_server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0 && !atomic_load(&s->stop)) {
        pthread_t thread;
        struct timeval patience = {.tv_sec = 60};
        struct client *c = calloc(1, sizeof *c);
        c->server = s;
        c->fd = fd;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        atomic_fetch_add(&s->n_connections, 1);
        pthread_create(&thread, NULL, serve, c);
        pthread_detach(thread);
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

void tiny_server_start(struct tiny_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    memset(s, 0, sizeof *s);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = bind(s->fd, (struct sockaddr *)&at, sizeof at);
    rc |= listen(s->fd, 128);
    rc |= getsockname(s->fd, (struct sockaddr *)&at, &n);
    s->port = ntohs(at.sin_port);
    rc |= pthread_create(&s->thread, NULL, listen_on, s);
    assert(rc == 0);
    (void)rc;
}

/* The clients of a test are gone by then, so its connections end. */
void tiny_server_stop(struct tiny_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons((uint16_t)s->port);
    atomic_store(&s->stop, true);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        pthread_join(s->thread, NULL);
    close(fd);
    close(s->fd);
    while (atomic_load(&s->n_open) > 0)
        usleep(1000);
}
