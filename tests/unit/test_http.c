/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "server/http/http.h"
#include "server/http/inner.h"
#include "server/http/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- routes ---------------------------------------------------------------------------- */

static const struct http_route table[] = {
    {"GET", "/"},
    {"GET", "/a/{x}"},
    {"POST", "/a/{x}/b"},
    {"GET", "/files/{e}/{name...}"},
    {0},
};

static const char *route_of(const char *method, const char *path, struct str *params, const struct http_route **other)
{
    static struct arena a;
    int n = 0;
    arena_reset(&a);
    const struct http_route *r = route_find(table, str_of(method), str_of(path), &a, params, &n, other);
    return r ? r->pattern : "none";
}

static void test_paths_find_their_routes(void **state)
{
    struct str p[HTTP_MAX_PARAMS];
    const struct http_route *other;
    assert_string_equal(route_of("GET", "/", p, &other), "/");
    assert_string_equal(route_of("HEAD", "/a/x%20y%2Fz", p, &other), "/a/{x}");
    assert_true(str_eqz(p[0], "x y/z"));
    assert_string_equal(route_of("GET", "/files/me/media/a%20b.png", p, &other), "/files/{e}/{name...}");
    assert_true(str_eqz(p[0], "me") && str_eqz(p[1], "media/a b.png"));
    assert_string_equal(route_of("GET", "/a/x/b", p, &other), "none");
    assert_ptr_equal(other, &table[2]);
    assert_string_equal(route_of("GET", "/nothing", p, &other), "none");
    assert_null(other);
}

static void test_tricky_paths_match_nothing(void **state)
{
    static const char *const bad[] = {
        "", "a", "/a", "/a/", "/a//", "/a/.", "/a/..", "/a/%2e%2e", "/a/%00", "/a/%zz", "/a/%4", "/a/x/",
        "/files/e/", "/files/e/..", "/files/e/x/../y", "/files/e/%2e%2e/y", "/files/e/x//y", "/files/e/x%2f..%2fy",
        "/files/../x", "/a/x%2f..%2fy", "/a/..%2Fy", "/a/y%2F.", "/a/%2Fy", "/files/e/x/", "/files/e/a%00b", "//", "/files//x",
    };
    struct str p[HTTP_MAX_PARAMS];
    const struct http_route *other;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strcmp(route_of("GET", bad[i], p, &other), "none") != 0)
            fail_msg("'%s' matched", bad[i]);
}

/* ---- gzip ------------------------------------------------------------------------------ */

static void pack(const void *p, size_t n, struct buf *to)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t most = libdeflate_gzip_compress_bound(c, n);
    char *w = buf_reserve(to, most);
    to->len += libdeflate_gzip_compress(c, p, n, w, most);
    libdeflate_free_compressor(c);
}

static int unpack(struct buf *b, size_t max)
{
    struct budget memory = {.max_bytes = SIZE_MAX};
    size_t taken = 0;
    int rc = http_gunzip(b, max, &memory, &taken);
    assert_int_equal(memory.used_bytes, taken);
    assert_true(rc || taken >= b->len);
    return rc;
}

static void test_gzip_bodies_are_unpacked_up_to_a_limit(void **state)
{
    static char zeros[1 << 20];
    struct buf b = {0};
    pack("hello", 5, &b);
    assert_int_equal(unpack(&b, 5), 0);
    assert_true(str_eqz(buf_str(&b), "hello"));
    buf_clear(&b);
    pack("one,", 4, &b);
    pack("two", 3, &b); /* members in a row */
    assert_int_equal(unpack(&b, 100), 0);
    assert_true(str_eqz(buf_str(&b), "one,two"));
    buf_clear(&b);
    pack(zeros, sizeof zeros, &b); /* a bomb: 1 KiB to 1 MiB */
    assert_int_equal(unpack(&b, sizeof zeros - 1), TARE_ELIMIT);
    memset(b.data + b.len - 4, 0xff, 4); /* a lie about the length */
    assert_int_equal(unpack(&b, sizeof zeros), TARE_EFORMAT);
    buf_clear(&b);
    buf_puts(&b, "this is not gzip at all, is it?");
    assert_int_equal(unpack(&b, 1000), TARE_EFORMAT);
    b.len = 3;
    assert_int_equal(unpack(&b, 1000), TARE_EFORMAT);
    buf_clear(&b);
    pack(zeros, sizeof zeros, &b);
    struct budget little = {.max_bytes = sizeof zeros};
    size_t taken = 0;
    assert_int_equal(http_gunzip(&b, sizeof zeros, &little, &taken), TARE_EFULL);
    buf_fini(&b);
}

/* ---- a server -------------------------------------------------------------------------- */

static _Atomic(int) n_ended;
static size_t streamed;
enum { LARGE = 32 << 20 };
static char served_file[] = "/tmp/tare_test_http_XXXXXX";

static void reply_params(struct http_request *r)
{
    struct buf b = {0};
    buf_printf(&b, "%.*s by %lld %s", STR_ARG(r->params[0]), (long long)r->user.id,
               http_header(r, "X-Thing") ? http_header(r, "X-Thing") : "-");
    http_reply(r, 200, "text/plain", &b);
}

static void reply_body(struct http_request *r)
{
    http_reply(r, 200, "text/plain", &r->body);
}

static void *late(void *arg)
{
    usleep(20000);
    http_reply_str(arg, 201, "text/plain", STR("late"));
    return NULL;
}

static void reply_late(struct http_request *r)
{
    pthread_t t;
    pthread_create(&t, NULL, late, r);
    pthread_detach(t);
}

static void *much_later(void *arg)
{
    usleep(1200000);
    http_reply_str(arg, 201, "text/plain", STR("late"));
    return NULL;
}

/* As what the database's writer answers. */
static void reply_much_later(struct http_request *r)
{
    pthread_t t;
    pthread_create(&t, NULL, much_later, r);
    pthread_detach(t);
}

static void put_begin(struct http_request *r)
{
    streamed = 0;
    if (str_eqz(r->params[0], "no"))
        http_reply_error(r, 403, "not \"you\"");
}

static void put_data(struct http_request *r, const void *p, size_t n)
{
    streamed += n;
    if (str_eqz(r->params[0], "full") && streamed > 1000)
        http_reply_error(r, 507, "full");
}

static void put_handle(struct http_request *r)
{
    struct buf b = {0};
    buf_printf(&b, "%zu", streamed);
    http_reply(r, 200, "text/plain", &b);
}

static void count_end(struct http_request *r)
{
    n_ended++;
}

static void reply_file(struct http_request *r)
{
    http_reply_fd(r, open(served_file, O_RDONLY), 10, "text/plain", "tag");
}

static void reply_large(struct http_request *r)
{
    struct buf b = {0};
    memset(buf_reserve(&b, LARGE), 'x', LARGE);
    b.len = LARGE;
    http_reply(r, 200, "text/plain", &b);
}

static sem_t stuck;

static void wait_stuck(struct http_request *r)
{
    sem_wait(&stuck);
    http_reply_str(r, 200, "text/plain", STR("free"));
}

static struct http_server *begun; /* what http_open gives */

static void tell_begun(struct http_request *r)
{
    http_reply_str(r, 200, "text/plain", begun ? STR("whole") : STR("half"));
}

static const struct http_route routes[] = {
    {"GET", "/begun", .open = true, .quick = true, .handle = tell_begun},
    {"GET", "/open", .open = true, .quick = true, .handle = reply_late},
    {"GET", "/params/{x}", .handle = reply_params},
    {"POST", "/body", .body = HTTP_KEPT, .max_body = 100000, .handle = reply_body},
    {"POST", "/small", .body = HTTP_KEPT, .max_body = 100000, .quick_body = 100, .handle = reply_body},
    {"GET", "/stuck", .handle = wait_stuck},
    {"GET", "/large", .handle = reply_large},
    {"GET", "/late", .handle = reply_late},
    {"GET", "/much-later", .handle = reply_much_later},
    {"PUT", "/put/{x}", .body = HTTP_STREAMED, .max_body = 50 << 20, .begin = put_begin, .data = put_data,
     .handle = put_handle, .end = count_end},
    {"GET", "/file", .handle = reply_file, .cors = true},
    {0},
};

static int authorize(struct http_request *r)
{
    const char *h = http_header(r, "Authorization");
    r->user.id = 7;
    if (h && strcmp(h, "Bearer unsure") == 0)
        return TARE_EIO;
    return h && strcmp(h, "Bearer good") == 0;
}

static int setup(void **state)
{
    struct http_options o = {.listen = "127.0.0.1:0", .routes = routes, .authorize = authorize,
                             .base_url = "https://tare.example"};
    struct http_server *s;
    struct err e;
    int fd = mkstemp(served_file);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    assert_int_equal(http_open(&o, &s, &e), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    http_close(*state, 2000);
    unlink(served_file);
    return 0;
}

static void *open_own(struct http_options o)
{
    struct http_server *s;
    struct err e;
    o.listen = "127.0.0.1:0";
    o.routes = routes;
    o.authorize = authorize;
    assert_int_equal(http_open(&o, &s, &e), 0);
    return s;
}

static int dial(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_port(*state)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval tv = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Send all, close the sending side, read all; headers in lower case are easier to find, so only looked for
 * as they come. */
static const char *talk(void **state, const void *p, size_t n, struct buf *answer)
{
    int fd = dial(state);
    buf_clear(answer);
    for (size_t at = 0; at < n;) {
        ssize_t w = send(fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
        if (w <= 0)
            break;
        at += (size_t)w;
    }
    ssize_t got;
    while ((got = read(fd, buf_reserve(answer, 65536), 65536)) > 0)
        answer->len += (size_t)got;
    close(fd);
    return buf_z(answer);
}

#define GOOD "Host: h\r\nAuthorization: Bearer good\r\nConnection: close\r\n"

static const char *ask(void **state, const char *request, struct buf *answer)
{
    return talk(state, request, strlen(request), answer);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in:\n%s", part, text);
}

static void test_requests_are_answered(void **state)
{
    AUTO_BUF b = {0};
    const char *t = ask(state, "GET /params/a%20b HTTP/1.1\r\nX-Thing: 9\r\n" GOOD "\r\n", &b);
    assert_has(t, "HTTP/1.1 200 ");
    assert_has(t, "\r\n\r\na b by 7 9");
    assert_has(ask(state, "GET /late HTTP/1.1\r\n" GOOD "\r\n", &b), "HTTP/1.1 201 ");
    assert_has(ask(state, "GET /open HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &b), "\r\n\r\nlate");
}

static void test_refusals(void **state)
{
    AUTO_BUF b = {0};
    assert_has(ask(state, "GET /nope HTTP/1.1\r\n" GOOD "\r\n", &b), "HTTP/1.1 404 ");
    assert_has(ask(state, "DELETE /late HTTP/1.1\r\n" GOOD "\r\n", &b), "HTTP/1.1 405 ");
    const char *t = ask(state, "GET /late HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer bad\r\n\r\n", &b);
    assert_has(t, "HTTP/1.1 401 ");
    assert_has(t, "\"errors\":[{\"message\":\"user is not logged in");
    t = ask(state, "GET /late HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer unsure\r\n\r\n", &b);
    assert_has(t, "HTTP/1.1 503 "); /* a client takes a 401 for final */
    assert_has(t, "Retry-After: ");
    assert_has(ask(state, "GET /late HTTP/1.1\r\n" GOOD "Content-Length: 5\r\n\r\nhello", &b), "HTTP/1.1 413 ");
    t = ask(state, "OPTIONS /file HTTP/1.1\r\nHost: h\r\nOrigin: x\r\nConnection: close\r\n\r\n", &b);
    assert_has(t, "HTTP/1.1 204 ");
    assert_has(t, "Access-Control-Allow-Origin: *");
}

static void test_bodies_are_kept_and_limited(void **state)
{
    AUTO_BUF b = {0}, q = {0}, z = {0};
    assert_has(ask(state, "POST /body HTTP/1.1\r\n" GOOD "Content-Length: 5\r\n\r\nhello", &b), "\r\n\r\nhello");
    assert_has(ask(state, "POST /body HTTP/1.1\r\n" GOOD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", &b),
               "\r\n\r\nabcde");
    assert_has(ask(state, "POST /body HTTP/1.1\r\n" GOOD "Content-Length: 100001\r\n\r\n", &b), "HTTP/1.1 413 ");
    buf_puts(&q, "POST /body HTTP/1.1\r\n" GOOD "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 30; i++) /* 30 chunks of 4 KiB: too much without saying so */
        buf_printf(&q, "1000\r\n%4096s\r\n", "x");
    buf_puts(&q, "0\r\n\r\n");
    assert_has(talk(state, q.data, q.len, &b), "HTTP/1.1 413 ");

    static char zeros[200000];
    pack("packed", 6, &z);
    buf_clear(&q);
    buf_printf(&q, "POST /body HTTP/1.1\r\n" GOOD "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", z.len);
    buf_append(&q, z.data, z.len);
    assert_has(talk(state, q.data, q.len, &b), "\r\n\r\npacked");
    buf_clear(&z);
    pack(zeros, sizeof zeros, &z);
    buf_clear(&q);
    buf_printf(&q, "POST /body HTTP/1.1\r\n" GOOD "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", z.len);
    buf_append(&q, z.data, z.len);
    assert_has(talk(state, q.data, q.len, &b), "HTTP/1.1 413 ");
    assert_has(ask(state, "POST /body HTTP/1.1\r\n" GOOD "Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", &b),
               "HTTP/1.1 415 ");
}

static void test_small_bodies_do_not_wait_for_a_worker(void **state)
{
    static const char ask_stuck[] = "GET /stuck HTTP/1.1\r\n" GOOD "\r\n";
    struct http_stats stats = {0};
    AUTO_BUF b = {0};
    sem_init(&stuck, 0, 0);
    void *own = open_own((struct http_options){.max_workers = 1});
    int fd = dial(&own);
    assert_int_equal(send(fd, ask_stuck, sizeof ask_stuck - 1, MSG_NOSIGNAL), sizeof ask_stuck - 1);
    for (; stats.busy_workers < 1; usleep(1000))
        http_get_stats(own, &stats);
    assert_has(ask(&own, "POST /small HTTP/1.1\r\n" GOOD "Content-Length: 5\r\n\r\nhello", &b), "\r\n\r\nhello");
    sem_post(&stuck);
    assert_true(read(fd, buf_reserve(&b, 4096), 4096) > 0);
    close(fd);
    http_close(own, 2000);
    sem_destroy(&stuck);
}

static void test_streams_are_not_kept(void **state)
{
    AUTO_BUF b = {0}, q = {0};
    size_t n = 3 << 20;
    buf_printf(&q, "PUT /put/x HTTP/1.1\r\n" GOOD "Content-Length: %zu\r\n\r\n", n);
    memset(buf_reserve(&q, n), 'x', n);
    q.len += n;
    assert_has(talk(state, q.data, q.len, &b), "\r\n\r\n3145728");
    buf_clear(&q);
    buf_printf(&q, "PUT /put/full HTTP/1.1\r\n" GOOD "Content-Length: 50000\r\n\r\n%50000s", "x");
    assert_has(talk(state, q.data, q.len, &b), "HTTP/1.1 507 ");
    const char *t = ask(state, "PUT /put/no HTTP/1.1\r\n" GOOD "Content-Length: 4\r\n\r\nbody", &b);
    assert_has(t, "HTTP/1.1 403 ");
    assert_has(t, "{\"error\":\"not \\\"you\\\"\"");
}

/* Go's client, which reads meanwhile, and Python's, which first writes all, find out why either way. */
static void test_a_refusal_reaches_who_still_writes(void **state)
{
    enum { BODY = 40 << 20 };
    AUTO_BUF b = {0};
    char *body = calloc(1, BODY);
    int fd = dial(state);
    dprintf(fd, "PUT /put/no HTTP/1.1\r\n" GOOD "Content-Length: %d\r\n\r\n", BODY);
    usleep(100000); /* the refusal is sent before the first byte of the body comes */
    for (int at = 0; at < BODY;) {
        ssize_t n = send(fd, body + at, (size_t)(BODY - at), MSG_NOSIGNAL);
        if (n <= 0)
            fail_msg("after %d bytes: %s", at, strerror(errno));
        at += (int)n;
    }
    ssize_t got;
    while ((got = read(fd, buf_reserve(&b, 4096), 4096)) > 0)
        b.len += (size_t)got;
    assert_has(buf_z(&b), "HTTP/1.1 403 ");
    close(fd);
    free(body);
}

static void test_a_client_that_goes_away_is_forgotten(void **state)
{
    int before = n_ended, fd = dial(state);
    static const char half[] = "PUT /put/x HTTP/1.1\r\n" GOOD "Content-Length: 1000\r\n\r\nonly this";
    assert_int_equal(write(fd, half, sizeof half - 1), sizeof half - 1);
    usleep(20000);
    close(fd);
    for (int i = 0; i < 3000 && n_ended == before; i++)
        usleep(10000);
    assert_int_equal(n_ended, before + 1);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *range, *status, *body, *content_range;
    } cases[] = {
        {"bytes=2-4", "206", "234", "bytes 2-4/10"}, {"bytes=7-", "206", "789", "bytes 7-9/10"},
        {"bytes=-3", "206", "789", "bytes 7-9/10"},  {"bytes=0-99", "206", "0123456789", "bytes 0-9/10"},
        {"bytes=0-0", "206", "0", "bytes 0-0/10"},   {"bytes=10-", "416", NULL, "bytes */10"},
        {"bytes=-0", "416", NULL, "bytes */10"},     {"bytes=1-2,4-5", "200", "0123456789", NULL},
        {"bytes=x", "200", "0123456789", NULL},      {"bytes=4-2", "200", "0123456789", NULL},
        {"lines=1-2", "200", "0123456789", NULL},
    };
    AUTO_BUF b = {0};
    char q[300], want[80];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(q, sizeof q, "GET /file HTTP/1.1\r\n" GOOD "Range: %s\r\n\r\n", cases[i].range);
        const char *t = ask(state, q, &b);
        snprintf(want, sizeof want, "HTTP/1.1 %s ", cases[i].status);
        assert_has(t, want);
        if (cases[i].body)
            assert_string_equal(strstr(t, "\r\n\r\n") + 4, cases[i].body);
        if (cases[i].content_range)
            assert_has(t, cases[i].content_range);
    }
    assert_has(ask(state, "GET /file HTTP/1.1\r\n" GOOD "If-None-Match: \"tag\"\r\n\r\n", &b), "HTTP/1.1 304 ");
    const char *t = ask(state, "HEAD /file HTTP/1.1\r\n" GOOD "\r\n", &b);
    assert_has(t, "Content-Length: 10");
    assert_string_equal(strstr(t, "\r\n\r\n") + 4, "");
}

static void test_large_headers_are_refused(void **state)
{
    AUTO_BUF b = {0}, q = {0};
    buf_printf(&q, "GET /late HTTP/1.1\r\nX-Big: %70000s\r\n" GOOD "\r\n", "x");
    const char *t = talk(state, q.data, q.len, &b);
    assert_true(b.len == 0 || strstr(t, "HTTP/1.1 431 ") || strstr(t, "HTTP/1.1 413 ") || strstr(t, "HTTP/1.1 400 "));
}

/* Whatever their number and length, there is an answer, or the end, at once. */
static void test_many_parameters_are_refused(void **state)
{
    static const int numbers[] = {1, 2, 10, 40, 60, 64, 65, 66, 100, 150, 200, 250, 300, 500, 1000, 2500, 5000};
    AUTO_BUF b = {0}, q = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (int more = 0; more < 24000; more += more < 4000 ? 1000 : 250) {
            int n = numbers[i];
            buf_clear(&q);
            buf_printf(&q, "GET /params/x?%0*d", more + 1, 1);
            for (int k = 1; k < n; k++)
                buf_puts(&q, k % 2 ? "&a" : "&");
            buf_puts(&q, " HTTP/1.1\r\n" GOOD "\r\n");
            int64_t start_ns = clock_mono_ns();
            const char *t = talk(state, q.data, q.len, &b);
            if (clock_mono_ns() - start_ns > 5000000000ll)
                fail_msg("%d parameters, %zu bytes: no answer", n, q.len);
            bool few = n <= 64 && q.len < (n > 1 ? 10000 : 14000), many = n > 64, answered = strstr(t, "HTTP/1.1 200 ") != NULL;
            if (q.len > 15000 && b.len == 0) /* no room for an answer either: ended at once */
                continue;
            if (few ? !answered : many && (answered || !(strstr(t, "HTTP/1.1 414 ") || strstr(t, "HTTP/1.1 431 "))))
                fail_msg("%d parameters, %zu bytes: %.60s", n, q.len, t);
        }
}

/* Messages of which two readers could think differently. */
static void test_doubtful_messages_are_refused(void **state)
{
    static const struct {
        const char *headers, *status;
    } cases[] = {
        {"Content-Length: 5\r\nContent-Length: 5\r\n", "400"},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", "400"},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400"},
        {"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "400"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400"},
        {"Transfer-Encoding: gzip, chunked\r\n", "501"},
        {"Transfer-Encoding: xchunked\r\n", "501"},
        {"Content-Length: 9223372036854775808\r\n", "400"},
        {"Content-Length : 5\r\n", "400"},
        {"Content Length: 5\r\n", "400"},
        {"Host: other\r\n", "400"},
    };
    AUTO_BUF b = {0};
    char q[500], want[40];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(q, sizeof q, "POST /body HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n%s\r\n5\r\nhello\r\n0\r\n\r\n"
                 "GET /params/smuggled HTTP/1.1\r\n" GOOD "\r\n", cases[i].headers);
        const char *t = ask(state, q, &b);
        snprintf(want, sizeof want, "HTTP/1.1 %s ", cases[i].status);
        assert_has(t, want);
        assert_has(t, "Connection: close");
        if (strstr(t, "smuggled"))
            fail_msg("another request was read behind %s", cases[i].headers);
    }
}

/* A browser that knows the key must not be made to use it by any page. */
static void test_pages_of_other_sites_change_nothing(void **state)
{
    static const struct {
        const char *headers, *status;
    } cases[] = {
        {"Origin: http://evil.example\r\n", "403"},   {"Origin: null\r\n", "403"},
        {"Origin: http://h:81\r\n", "403"},           {"Origin: http://h\r\n", "200"},
        {"Origin: https://tare.example\r\n", "200"},  {"Sec-Fetch-Site: cross-site\r\n", "403"},
        {"Sec-Fetch-Site: same-site\r\n", "403"},     {"Sec-Fetch-Site: none\r\n", "200"},
        {"Sec-Fetch-Site: same-origin\r\nOrigin: https://front.example\r\n", "200"},
        {"", "200"},
    };
    AUTO_BUF b = {0};
    char q[400], want[40];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(q, sizeof q, "POST /body HTTP/1.1\r\n" GOOD "%sContent-Length: 5\r\n\r\nhello", cases[i].headers);
        snprintf(want, sizeof want, "HTTP/1.1 %s ", cases[i].status);
        assert_has(ask(state, q, &b), want);
        assert_has(buf_z(&b), "X-Content-Type-Options: nosniff");
    }
    assert_has(ask(state, "GET /file HTTP/1.1\r\n" GOOD "Origin: http://evil.example\r\n\r\n", &b), "HTTP/1.1 200 ");
}

static void assert_closed(int fd)
{
    char c;
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
}

/* Half requests that nobody has shown a key for give way to new ones; those of known clients stay. */
static void test_held_connections_lock_nobody_out(void **state)
{
    enum { MAX = 32, MANY = 100 };
    static const char half[] = "POST /body HTTP/1.1\r\nHost: h\r\nX-Slow: ";
    static const char known[] = "GET /params/known HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n";
    void *own = open_own((struct http_options){.max_connections = MAX, .threads = 1});
    int fd[MANY], friend_fd = dial(&own);
    char answer[1000];
    AUTO_BUF b = {0};
    assert_true(send(friend_fd, known, sizeof known - 1, MSG_NOSIGNAL) > 0);
    assert_true(read(friend_fd, answer, sizeof answer) > 0);
    for (int i = 0; i < MANY; i++) {
        fd[i] = dial(&own);
        send(fd[i], half, sizeof half - 1, MSG_NOSIGNAL);
    }
    assert_has(ask(&own, "GET /params/new HTTP/1.1\r\n" GOOD "\r\n", &b), "new by 7");
    assert_true(send(friend_fd, known, sizeof known - 1, MSG_NOSIGNAL) > 0);
    assert_true(read(friend_fd, answer, sizeof answer) > 0);
    close(friend_fd);
    assert_closed(fd[0]);
    for (int i = 1; i < MANY; i++)
        close(fd[i]);
    http_close(own, 2000);
}

/* Bodies that are held cost no more than they may; small requests go on. */
static void test_memory_of_all_requests_is_bounded(void **state)
{
    enum { MANY = 20, EACH = 90000 };
    void *own = open_own((struct http_options){.max_memory = 1000000, .threads = 1});
    struct http_stats stats = {0};
    char *q = malloc(EACH);
    AUTO_BUF b = {0};
    int fd[MANY], n_busy = 0;
    memset(q, 'x', EACH);
    for (int i = 0; i < MANY; i++) {
        static const char head[] = "POST /body HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\nContent-Length: 95000\r\n\r\n";
        fd[i] = dial(&own);
        assert_true(send(fd[i], head, sizeof head - 1, MSG_NOSIGNAL) > 0);
    }
    for (int i = 0; i < MANY; i++)
        send(fd[i], q, EACH, MSG_NOSIGNAL);
    for (int i = 0; i < 3000 && stats.memory_bytes < 700000; i++, usleep(10000))
        http_get_stats(own, &stats);
    assert_in_range(stats.memory_bytes, 700000, 770000); /* with the refusals, which are answers too */
    assert_has(ask(&own, "POST /body HTTP/1.1\r\n" GOOD "Content-Length: 5\r\n\r\nhello", &b), "\r\n\r\nhello");
    assert_has(ask(&own, "POST /body HTTP/1.1\r\n" GOOD "Content-Length: 70000\r\n\r\n", &b), "HTTP/1.1 503 ");
    assert_has(buf_z(&b), "Retry-After: 1");
    for (int i = 0; i < MANY; i++) {
        n_busy += send(fd[i], q, 5000, MSG_NOSIGNAL) == 5000 && read(fd[i], buf_reserve(&b, 4096), 4096) > 12 &&
                  memcmp(b.data + b.len + 9, "503", 3) == 0;
        close(fd[i]);
    }
    assert_true(n_busy >= MANY - 750000 / EACH);
    for (int i = 0; i < 3000 && stats.memory_bytes; i++, usleep(10000))
        http_get_stats(own, &stats);
    assert_int_equal(stats.memory_bytes, 0);
    free(q);
    http_close(own, 2000);
}

/* Where memory is short, an answer that nobody reads is not kept for long. */
static void test_who_does_not_read_is_cut_off(void **state)
{
    static const char ask_large[] = "GET /large HTTP/1.1\r\n" GOOD "\r\n";
    void *own = open_own((struct http_options){.max_memory = LARGE + LARGE / 2});
    struct http_stats stats = {0};
    AUTO_BUF b = {0};
    int fd = dial(&own);
    assert_int_equal(send(fd, ask_large, sizeof ask_large - 1, MSG_NOSIGNAL), sizeof ask_large - 1);
    for (int i = 0; i < 3000 && !stats.memory_bytes; i++, usleep(10000))
        http_get_stats(own, &stats);
    assert_true(stats.memory_bytes >= LARGE);
    for (int i = 0; i < 600 && stats.memory_bytes; i++, usleep(100000))
        http_get_stats(own, &stats);
    assert_int_equal(stats.memory_bytes, 0);
    close(fd);
    const char *t = ask(&own, ask_large, &b);
    assert_true(b.len > LARGE && memcmp(t, "HTTP/1.1 200 ", 13) == 0);
    http_close(own, 2000);
}

static void test_who_is_too_slow(void **state)
{
    static const int64_t s = 1000000000;
    struct http_conn c = {.phase = CONN_IDLE};
    assert_false(http_conn_is_slow(&c, 140 * s, 0, false));
    assert_true(http_conn_is_slow(&c, 160 * s, 0, false));
    for (int phase = CONN_BODY; phase <= CONN_SENDING; phase++) {
        bool counts = phase != CONN_ANSWER;
        c.phase = (enum http_phase)phase;
        assert_false(http_conn_is_slow(&c, 59 * s, 0, false));
        assert_int_equal(http_conn_is_slow(&c, 70 * s, 5000, false), counts);
        assert_false(http_conn_is_slow(&c, 70 * s, 11000, false));
        assert_int_equal(http_conn_is_slow(&c, 20 * s, 5000, true), counts);
        assert_false(http_conn_is_slow(&c, 9 * s, 0, true));
        assert_false(http_conn_is_slow(&c, 9999 * s, -1, true));
    }
}

static void test_connections_are_used_again(void **state)
{
    static const char twice[] = "GET /params/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n"
                                "GET /params/2 HTTP/1.1\r\n" GOOD "\r\n";
    AUTO_BUF b = {0};
    const char *t = ask(state, twice, &b);
    assert_has(t, "1 by 7");
    assert_has(t, "2 by 7");
}

static void free_stuck(void *app)
{
    sem_post(&stuck);
}

/* Asks for what is stuck, and then on and on; the answers. */
static void *ask_on_and_on(void *arg)
{
    void *state[1] = {*(void **)arg};
    struct buf *all = mem_calloc(1, sizeof *all);
    int fd = dial(state);
    ssize_t n;
    dprintf(fd, "GET /stuck HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n");
    while ((n = read(fd, buf_reserve(all, 4096), 4096)) > 0) {
        static const char more[] = "GET /params/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n";
        all->len += (size_t)n;
        send(fd, more, sizeof more - 1, MSG_NOSIGNAL);
    }
    close(fd);
    return all;
}

static void test_who_asks_on_while_the_server_ends_is_refused(void **state)
{
    enum { CLIENTS = 3 };
    void *own[1] = {open_own((struct http_options){.cancel = free_stuck})};
    pthread_t clients[CLIENTS];
    AUTO_BUF b = {0};
    sem_init(&stuck, 0, 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, ask_on_and_on, &own[0]);
    int late = dial(own);
    dprintf(late, "GET /much-later HTTP/1.1\r\n" GOOD "\r\n");
    usleep(200000);
    http_close(own[0], 100);
    ssize_t n;
    while ((n = read(late, buf_reserve(&b, 4096), 4096)) > 0)
        b.len += (size_t)n;
    close(late);
    assert_has(buf_z(&b), "HTTP/1.1 201 ");
    for (int i = 0; i < CLIENTS; i++) {
        struct buf *all;
        pthread_join(clients[i], (void **)&all);
        assert_has(buf_z(all), "HTTP/1.1 200 ");
        assert_null(strstr(buf_z(all), "x by 7"));
        buf_fini(all);
        mem_free(all);
    }
    sem_destroy(&stuck);
}

/* The answer of a server that is not there yet; heap. */
static void *ask_early(void *path)
{
    static const char request[] = "GET /begun HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct buf *all = mem_calloc(1, sizeof *all);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(a.sun_path, path);
    while (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        ;
    send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    ssize_t n;
    while ((n = read(fd, buf_reserve(all, 4096), 4096)) > 0)
        all->len += (size_t)n;
    close(fd);
    return all;
}

/* Its first request may come before http_open has returned. */
static void test_who_asks_while_the_server_begins_finds_it_whole(void **state)
{
    enum { TIMES = 40 };
    char dir[] = "/tmp/tare_test_http_dir_XXXXXX", path[64], listen[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    snprintf(listen, sizeof listen, "unix:%s", path);
    for (int i = 0; i < TIMES; i++) {
        struct http_options o = {.listen = listen, .routes = routes, .authorize = authorize, .threads = 4};
        struct buf *all;
        struct err e;
        pthread_t client;
        begun = NULL;
        pthread_create(&client, NULL, ask_early, path);
        assert_int_equal(http_open(&o, &begun, &e), 0);
        pthread_join(client, (void **)&all);
        assert_has(buf_z(all), "\r\n\r\nwhole");
        buf_fini(all);
        mem_free(all);
        http_close(begun, 2000);
    }
    rmdir(dir);
}

static void test_url_encoding(void **state)
{
    AUTO_BUF b = {0};
    http_url_encode(&b, STR("a b/%\xc3\xa9~"), true);
    assert_string_equal(buf_z(&b), "a%20b/%25%C3%A9~");
    buf_clear(&b);
    http_url_encode(&b, STR("a/b"), false);
    assert_string_equal(buf_z(&b), "a%2Fb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_find_their_routes),
        cmocka_unit_test(test_tricky_paths_match_nothing),
        cmocka_unit_test(test_gzip_bodies_are_unpacked_up_to_a_limit),
        cmocka_unit_test(test_requests_are_answered),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bodies_are_kept_and_limited),
        cmocka_unit_test(test_small_bodies_do_not_wait_for_a_worker),
        cmocka_unit_test(test_streams_are_not_kept),
        cmocka_unit_test(test_a_refusal_reaches_who_still_writes),
        cmocka_unit_test(test_a_client_that_goes_away_is_forgotten),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_large_headers_are_refused),
        cmocka_unit_test(test_many_parameters_are_refused),
        cmocka_unit_test(test_doubtful_messages_are_refused),
        cmocka_unit_test(test_pages_of_other_sites_change_nothing),
        cmocka_unit_test(test_held_connections_lock_nobody_out),
        cmocka_unit_test(test_memory_of_all_requests_is_bounded),
        cmocka_unit_test(test_who_does_not_read_is_cut_off),
        cmocka_unit_test(test_who_is_too_slow),
        cmocka_unit_test(test_connections_are_used_again),
        cmocka_unit_test(test_who_asks_on_while_the_server_ends_is_refused),
        cmocka_unit_test(test_who_asks_while_the_server_begins_finds_it_whole),
        cmocka_unit_test(test_url_encoding),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
