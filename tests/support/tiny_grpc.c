/* SPDX-License-Identifier: MIT */
#include "tests/support/tiny_grpc.h"

#include "record/wire.h"
#include "tests/support/watch_test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

static bool get(int fd, void *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, (char *)to + at, n - at, 0);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

static void put_frame(int fd, int type, int flags, uint32_t stream, const void *payload, size_t n)
{
    unsigned char head[9] = {(unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n,
                             (unsigned char)type, (unsigned char)flags, (unsigned char)(stream >> 24),
                             (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
    send(fd, head, sizeof head, MSG_NOSIGNAL | (n > 0 ? MSG_MORE : 0));
    if (n > 0)
        send(fd, payload, n, MSG_NOSIGNAL);
}

/* A field that is not to be kept in tables (RFC 7541, 6.2.2). */
static void put_field(struct buf *to, const char *name, const char *value)
{
    buf_putc(to, 0);
    buf_putc(to, (char)strlen(name));
    buf_puts(to, name);
    buf_putc(to, (char)strlen(value));
    buf_puts(to, value);
}

static void answer(struct tiny_grpc *g, int fd, uint32_t stream, struct str body)
{
    AUTO_BUF message = {0}, framed = {0}, first = {0}, last = {0}, name = {0};
    CHECK(body.n > 5);
    buf_put_str(&name, wire_find_bytes(str_make(body.p + 5, body.n - 5), 1));
    atomic_fetch_add(&g->n_calls, 1);
    int status = g->reply(buf_z(&name), &message);
    char number[16];
    if (status < 0)
        return;
    snprintf(number, sizeof number, "%d", status);
    buf_putc(&first, (char)0x88); /* :status 200 */
    put_field(&first, "content-type", "application/grpc");
    put_field(status == 0 ? &last : &first, "grpc-status", number);
    put_frame(fd, HEADERS, END_HEADERS | (status == 0 ? 0 : END_STREAM), stream, first.data, first.len);
    if (status != 0)
        return;
    buf_putc(&framed, 0);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(&framed, (char)(message.len >> shift));
    buf_put_str(&framed, buf_str(&message));
    CHECK(framed.len < 16384);
    put_frame(fd, DATA, 0, stream, framed.data, framed.len);
    put_frame(fd, HEADERS, END_HEADERS | END_STREAM, stream, last.data, last.len);
}

static void serve(struct tiny_grpc *g, int fd)
{
    static char payload[1 << 16];
    char preface[24];
    unsigned char head[9];
    if (!get(fd, preface, sizeof preface))
        return; /* one that only looked whether somebody is there */
    CHECK(memcmp(preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", sizeof preface) == 0);
    put_frame(fd, SETTINGS, 0, 0, NULL, 0);
    while (get(fd, head, sizeof head)) {
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        uint32_t stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
        CHECK(n <= sizeof payload);
        if (!get(fd, payload, n))
            return;
        if (head[3] == SETTINGS && !(head[4] & ACK))
            put_frame(fd, SETTINGS, ACK, 0, NULL, 0);
        if (head[3] == PING && !(head[4] & ACK))
            put_frame(fd, PING, ACK, 0, payload, n);
        if (head[3] == DATA && n > 0)
            answer(g, fd, stream, str_make(payload, n));
    }
}

static void *run(void *arg)
{
    struct tiny_grpc *g = arg;
    for (int fd; (fd = accept(g->fd, NULL, NULL)) >= 0; close(fd))
        serve(g, fd);
    return NULL;
}

void tiny_grpc_start(struct tiny_grpc *g)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    g->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(g->fd >= 0 && bind(g->fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(g->fd, 16) == 0);
    CHECK(getsockname(g->fd, (struct sockaddr *)&at, &n) == 0);
    g->port = ntohs(at.sin_port);
    CHECK(pthread_create(&g->thread, NULL, run, g) == 0);
}
