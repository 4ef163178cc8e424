/* SPDX-License-Identifier: MIT */
/* The module's HTTP against a little server that answers well and badly. */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "loop/http.h"
#include "tests/support/built_module.h"
#include "tests/support/tiny_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct http *http;
static struct tiny_server server;

static int set_up(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    http = http_new(&loop);
    tiny_server_start(&server);
    return 0;
}

static void count_closed(void *ctx)
{
    ++*(int *)ctx;
}

static int tear_down(void **state)
{
    int closed = 0;
    (void)state;
    if (http)
        http_close(http, count_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, http != NULL);
    assert_int_equal(uv_loop_close(&loop), 0);
    tiny_server_stop(&server);
    return 0;
}

/* One request with its address. */
struct ask {
    struct http_request r;
    char url[4200];
    int done;
    int *order; /* counts those done */
    int nth;
};

static void on_done(struct http_request *r)
{
    struct ask *a = (struct ask *)r;
    a->done++;
    if (a->order)
        a->nth = ++*a->order;
}

static void ask_init(struct ask *a, const char *path)
{
    *a = (struct ask){0};
    http_request_init(&a->r);
    snprintf(a->url, sizeof a->url, "http://127.0.0.1:%d%s", server.port, path);
    a->r.url = a->url;
    a->r.keep_bytes = 1 << 20;
    a->r.done = on_done;
}

static void wait_for(struct ask *a)
{
    while (!a->done)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(a->done, 1);
}

static void ask(struct ask *a)
{
    http_send(http, &a->r);
    assert_int_equal(a->done, 0);
    wait_for(a);
}

/* Under bounds; 0: as ask_init has them. */
static void ask_within(struct ask *a, const char *path, size_t keep_bytes, int stall_ms, int timeout_ms)
{
    ask_init(a, path);
    if (keep_bytes)
        a->r.keep_bytes = keep_bytes;
    if (stall_ms)
        a->r.stall_ms = stall_ms;
    if (timeout_ms)
        a->r.timeout_ms = timeout_ms;
    ask(a);
}

static void assert_answer(struct ask *a, int status, const char *body)
{
    if (a->r.error)
        print_error("%s\n", a->r.why);
    assert_int_equal(a->r.error, 0);
    assert_int_equal(a->r.status, status);
    assert_int_equal(a->r.answer.len, strlen(body));
    assert_memory_equal(a->r.answer.data ? a->r.answer.data : "", body, strlen(body));
}

static void assert_fails(const char *path, int error)
{
    struct ask a;
    ask_init(&a, path);
    ask(&a);
    assert_int_equal(a.r.error, error);
    assert_true(a.r.why[0] != '\0');
    http_request_fini(&a.r);
}

static bool answer_has(struct ask *a, const char *text)
{
    return a->r.answer.len && memmem(a->r.answer.data, a->r.answer.len, text, strlen(text));
}

/* ---- good answers ---- */

static void an_answer_comes_with_its_headers(void **state)
{
    struct ask a;
    (void)state;
    ask_init(&a, "/hello");
    ask(&a);
    assert_answer(&a, 200, "hello");
    assert_true(str_eqz(http_answer_header(&a.r, "x-test"), "Yes"));
    assert_true(str_eqz(http_answer_header(&a.r, "content-length"), "5"));
    assert_int_equal(http_answer_header(&a.r, "x-tes").n, 0);
    assert_int_equal(a.r.received, 5);
    http_request_fini(&a.r);
}

static void bodies_are_sent(void **state)
{
    static const char *const methods[] = {"POST", "PUT"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ask a;
        ask_init(&a, "/echo");
        a.r.method = methods[i];
        a.r.body = STR("what is sent");
        ask(&a);
        assert_answer(&a, 200, "what is sent");
        assert_int_equal(a.r.sent, 12);
        http_request_fini(&a.r);
    }
}

static void only_our_headers_are_sent(void **state)
{
    struct ask a;
    char expected[512];
    (void)state;
    ask_init(&a, "/head");
    a.r.method = "POST";
    a.r.headers = "X-One: 1\nX-Empty:\nUser-Agent: wandb-core\n";
    ask(&a);
    snprintf(expected, sizeof expected,
             "POST /head HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: gzip\r\nX-One: 1\r\n"
             "X-Empty:\r\nUser-Agent: wandb-core\r\nContent-Length: 0\r\n\r\n",
             server.port);
    assert_answer(&a, 200, expected);
    http_request_fini(&a.r);
}

static void connections_are_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct ask a;
        ask_init(&a, "/hello");
        ask(&a);
        assert_answer(&a, 200, "hello");
        http_request_fini(&a.r);
    }
    assert_int_equal(atomic_load(&server.n_connections), 1);
}

static void a_kept_connection_that_died_is_no_error(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct ask a;
        ask_init(&a, "/once");
        a.r.method = "POST";
        a.r.body = STR("again");
        ask(&a);
        assert_answer(&a, 200, "hello");
        http_request_fini(&a.r);
        usleep(i * 1000);
    }
}

static void many_at_once_share_a_bounded_number_of_connections(void **state)
{
    enum { N = 200 };
    struct ask *asks = calloc(N, sizeof *asks);
    int done = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        ask_init(&asks[i], "/slow?3");
        asks[i].order = &done;
        http_send(http, &asks[i].r);
    }
    while (done < N)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < N; i++) {
        assert_answer(&asks[i], 200, "slow");
        http_request_fini(&asks[i].r);
    }
    assert_true(atomic_load(&server.most_open) <= 32);
    free(asks);
}

static void compressed_answers_are_unpacked(void **state)
{
    struct ask a;
    (void)state;
    ask_init(&a, "/gzip");
    ask(&a);
    assert_answer(&a, 200, "hello");
    http_request_fini(&a.r);
}

/* ---- files ---- */

enum { FILE_BYTES = 5 * 1000 * 1000 + 7 };

static int big_file(void)
{
    char path[] = "/tmp/test_http.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    char *bytes = malloc(FILE_BYTES);
    for (int i = 0; i < FILE_BYTES; i++)
        bytes[i] = (char)(i % 251);
    assert_int_equal(write(fd, bytes, FILE_BYTES), FILE_BYTES);
    free(bytes);
    return fd;
}

static uint64_t sum_of_file(int fd, off_t at, size_t n)
{
    char *bytes = malloc(n);
    assert_int_equal(pread(fd, bytes, n, at), n);
    uint64_t sum = tiny_sum(0, bytes, n);
    free(bytes);
    return sum;
}

static void a_part_of_a_file_goes_up(void **state)
{
    struct ask a;
    char sum[32];
    int fd = big_file();
    (void)state;
    for (int i = 0; i < 2; i++) {
        ask_init(&a, "/sum");
        a.r.method = i ? "POST" : "PUT";
        a.r.body_fd = fd;
        a.r.body_at = 1000;
        a.r.body_bytes = FILE_BYTES - 2000;
        ask(&a);
        sprintf(sum, "%llu", (unsigned long long)sum_of_file(fd, 1000, FILE_BYTES - 2000));
        assert_answer(&a, 200, sum);
        assert_int_equal(a.r.sent, FILE_BYTES - 2000);
        http_request_fini(&a.r);
    }
    close(fd);
}

static void a_file_that_shrank_is_an_error(void **state)
{
    struct ask a;
    int fd = big_file();
    (void)state;
    ask_init(&a, "/sum");
    a.r.method = "PUT";
    a.r.body_fd = fd;
    a.r.body_bytes = FILE_BYTES + 1;
    ask(&a);
    assert_int_equal(a.r.error, UV_EOF);
    assert_non_null(strstr(a.r.why, "shorter"));
    http_request_fini(&a.r);
    close(fd);
}

static int progress_calls;

static void on_progress(struct http_request *r)
{
    (void)r;
    progress_calls++;
}

static void an_answer_goes_to_a_file(void **state)
{
    struct ask a;
    char path[64], to[] = "/tmp/test_http.XXXXXX";
    int fd = mkstemp(to), same = big_file();
    (void)state;
    unlink(to);
    sprintf(path, "/big?%d", FILE_BYTES);
    ask_init(&a, path);
    a.r.to_fd = fd;
    a.r.to_at = 10;
    a.r.keep_bytes = 0;
    a.r.progress = on_progress;
    progress_calls = 0;
    ask(&a);
    assert_answer(&a, 200, "");
    assert_int_equal(a.r.received, FILE_BYTES);
    assert_true(progress_calls > 10);
    assert_true(sum_of_file(fd, 10, FILE_BYTES) == sum_of_file(same, 0, FILE_BYTES));
    http_request_fini(&a.r);
    close(fd);
    close(same);
}

static uint64_t written_to;

static void on_written(struct http_request *r, uint64_t at, const char *p, size_t n)
{
    (void)r;
    (void)p;
    assert_int_equal(at, written_to);
    written_to += n;
}

static void a_whole_answer_to_a_resumed_request_is_written_from_the_start(void **state)
{
    struct ask a;
    char path[64], to[] = "/tmp/test_http.XXXXXX";
    int fd = mkstemp(to), same = big_file();
    (void)state;
    unlink(to);
    sprintf(path, "/big?%d", FILE_BYTES);
    ask_init(&a, path);
    a.r.to_fd = fd;
    a.r.to_at = 10;
    a.r.resumes = true;
    a.r.written = on_written;
    written_to = 0;
    ask(&a);
    assert_answer(&a, 200, "");
    assert_int_equal(written_to, FILE_BYTES);
    assert_true(sum_of_file(fd, 0, FILE_BYTES) == sum_of_file(same, 0, FILE_BYTES));
    http_request_fini(&a.r);
    close(fd);
    close(same);
}

static void what_came_of_a_broken_answer_is_in_the_file(void **state)
{
    struct ask a;
    char to[] = "/tmp/test_http.XXXXXX";
    int fd = mkstemp(to);
    (void)state;
    unlink(to);
    ask_init(&a, "/truncated");
    a.r.to_fd = fd;
    a.r.written = on_written;
    written_to = 0;
    ask(&a);
    assert_true(a.r.error < 0 && a.r.status == 200);
    assert_true(written_to > 0 && written_to == a.r.received);
    assert_int_equal(lseek(fd, 0, SEEK_END), written_to);
    http_request_fini(&a.r);
    close(fd);
}

static void an_error_page_does_not_go_to_the_file(void **state)
{
    struct ask a;
    char to[] = "/tmp/test_http.XXXXXX";
    int fd = mkstemp(to);
    (void)state;
    unlink(to);
    ask_init(&a, "/status?404");
    a.r.to_fd = fd;
    a.r.keep_bytes = 0;
    ask(&a);
    assert_answer(&a, 404, "<html>sorry</html>");
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    http_request_fini(&a.r);
    close(fd);
}

static void a_disk_that_refuses_is_an_error(void **state)
{
    struct ask a;
    int fd = open("/dev/full", O_WRONLY);
    (void)state;
    ask_init(&a, "/big?3000000");
    a.r.to_fd = fd;
    ask(&a);
    assert_int_equal(a.r.error, UV_ENOSPC);
    http_request_fini(&a.r);
    close(fd);
}

/* ---- bad answers ---- */

static void any_status_is_an_answer(void **state)
{
    (void)state;
    for (int status = 400; status < 600; status += 7) {
        struct ask a;
        char path[32];
        sprintf(path, "/status?%d", status);
        ask_init(&a, path);
        a.r.keep_bytes = 3; /* error pages are kept all the same */
        ask(&a);
        assert_answer(&a, status, "<html>sorry</html>");
        http_request_fini(&a.r);
    }
}

static void failures_have_their_codes(void **state)
{
    (void)state;
    assert_fails("/truncated", UV_EOF);
    assert_fails("/half_head", UV_EOF);
    assert_fails("/continue", UV_ECONNRESET);
    assert_fails("/garbage", TARE_EPROTO);
    assert_fails("/reset", UV_ECONNRESET);
}

static void nobody_listens(void **state)
{
    struct ask a;
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    ask_init(&a, "/");
    snprintf(a.url, sizeof a.url, "http://127.0.0.1:%d/", ntohs(at.sin_port));
    ask(&a);
    assert_int_equal(a.r.error, UV_ECONNREFUSED);
    assert_non_null(strstr(a.r.why, "127.0.0.1"));
    http_request_fini(&a.r);
    close(fd);
}

static void addresses_that_are_none(void **state)
{
    static const char *const urls[] = {"", "hello", "ftp://x/", "file:///etc/passwd", "http://",
                                       "http://:80/", "http://[::1/", "http://h:99999/"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct ask a;
        ask_init(&a, "/");
        a.r.url = urls[i];
        ask(&a);
        assert_int_equal(a.r.error, TARE_EINVAL);
        http_request_fini(&a.r);
    }
}

static void too_long_an_answer_is_refused(void **state)
{
    struct ask a;
    (void)state;
    ask_within(&a, "/big?100000", 99999, 0, 0);
    assert_int_equal(a.r.error, TARE_ELIMIT);
    assert_true(a.r.answer.len <= 99999);
    http_request_fini(&a.r);
}

static void silence_ends_by_stall_or_timeout(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ask a;
        ask_within(&a, "/hole", 0, i ? 0 : 100, i ? 100 : 0);
        assert_int_equal(a.r.error, TARE_ETIMEOUT);
        http_request_fini(&a.r);
    }
}

static void slow_is_not_stalled(void **state)
{
    struct ask a;
    (void)state;
    ask_within(&a, "/drip?30", 0, 400, 0);
    assert_answer(&a, 200, "..............................");
    http_request_fini(&a.r);
}

static void redirects_keep_credentials_at_home(void **state)
{
    struct ask a;
    char path[1024];
    (void)state;
    snprintf(path, sizeof path, "/redirect?http://127.0.0.1:%d/head", server.port);
    ask_init(&a, path);
    a.r.headers = "Authorization: Basic secret\n";
    ask(&a);
    assert_true(answer_has(&a, "Basic secret"));
    http_request_fini(&a.r);
    snprintf(path, sizeof path, "/redirect?http://localhost:%d/head", server.port);
    ask_init(&a, path);
    a.r.headers = "Authorization: Basic secret\n";
    ask(&a);
    assert_int_equal(a.r.error, 0);
    assert_true(answer_has(&a, "GET /head"));
    assert_false(answer_has(&a, "Basic secret"));
    http_request_fini(&a.r);
    ask_init(&a, "/redirect?file:///etc/passwd");
    ask(&a);
    assert_int_equal(a.r.error, TARE_EPROTO);
    http_request_fini(&a.r);
}

static void a_proxy_is_used_if_set(void **state)
{
    struct ask a;
    char proxy[64];
    (void)state;
    snprintf(proxy, sizeof proxy, "http://u:p@127.0.0.1:%d", server.port);
    struct http_route route = {.proxy_http = proxy, .proxy_headers = "X-Proxy: 1\n"};
    ask_init(&a, "/");
    strcpy(a.url, "http://nowhere.invalid/head");
    a.r.route = &route;
    ask(&a);
    assert_int_equal(a.r.error, 0);
    assert_true(answer_has(&a, "Host: nowhere.invalid\r\n"));
    assert_true(answer_has(&a, "GET http://nowhere.invalid/head HTTP/1.1\r\n"));
    assert_true(answer_has(&a, "Proxy-Authorization: Basic dTpw\r\n"));
    http_request_fini(&a.r);
}

/* ---- cancelled ---- */

/* Until the server has several requests under way. */
static void run_a_while(void)
{
    for (int i = 0; i < 100 || atomic_load(&server.n_requests) < 10; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static void cancelled_requests_end_once(void **state)
{
    enum { N = 60 };
    struct ask *asks = calloc(N, sizeof *asks);
    int done = 0, out = open("/dev/null", O_WRONLY);
    (void)state;
    for (int i = 0; i < N; i++) {
        ask_init(&asks[i], i % 2 ? "/hole" : "/big?1000000000000");
        asks[i].r.to_fd = out;
        asks[i].order = &done;
        http_send(http, &asks[i].r);
    }
    run_a_while();
    for (int i = 0; i < N; i++) {
        http_cancel(http, &asks[i].r);
        http_cancel(http, &asks[i].r);
    }
    assert_int_equal(done, 0);
    while (done < N)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < N; i++) {
        assert_int_equal(asks[i].done, 1);
        assert_int_equal(asks[i].r.error, TARE_ECANCELLED);
        http_request_fini(&asks[i].r);
    }
    free(asks);
    close(out);
}

static void cancel_from_progress(struct http_request *r)
{
    if (r->sent + r->received > 1000000)
        http_cancel(http, r);
}

static void cancelled_from_inside_and_with_the_disk_busy(void **state)
{
    int fd = big_file(), out = open("/dev/null", O_WRONLY);
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct ask a;
        ask_init(&a, i ? "/big?50000000" : "/sum");
        a.r.method = i ? "GET" : "PUT";
        a.r.body_fd = i ? -1 : fd;
        a.r.body_bytes = i ? 0 : FILE_BYTES;
        a.r.to_fd = i == 1 ? out : -1;
        a.r.keep_bytes = 200 << 20;
        a.r.progress = cancel_from_progress;
        ask(&a);
        assert_int_equal(a.r.error, TARE_ECANCELLED);
        http_request_fini(&a.r);
    }
    close(fd);
    close(out);
}

static void closing_ends_what_is_under_way(void **state)
{
    struct ask a[50];
    int done = 0, closed = 0;
    (void)state;
    for (int i = 0; i < 50; i++) {
        ask_init(&a[i], "/hole");
        a[i].order = &done;
        http_send(http, &a[i].r);
    }
    run_a_while();
    http_close(http, count_closed, &closed);
    http = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(done, 50);
    assert_int_equal(closed, 1);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(a[i].r.error, TARE_ECANCELLED);
        http_request_fini(&a[i].r);
    }
}

static void closing_at_once_is_fine(void **state)
{
    struct ask a;
    int closed = 0;
    (void)state;
    ask_init(&a, "/hello");
    http_send(http, &a.r);
    http_close(http, count_closed, &closed);
    http = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.error, TARE_ECANCELLED);
    assert_int_equal(closed, 1);
    http_request_fini(&a.r);
}

int main(void)
{
    use_built_module();
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(closing_at_once_is_fine),
        T(an_answer_comes_with_its_headers),
        T(bodies_are_sent),
        T(only_our_headers_are_sent),
        T(connections_are_kept),
        T(a_kept_connection_that_died_is_no_error),
        T(many_at_once_share_a_bounded_number_of_connections),
        T(compressed_answers_are_unpacked),
        T(a_part_of_a_file_goes_up),
        T(a_file_that_shrank_is_an_error),
        T(an_answer_goes_to_a_file),
        T(a_whole_answer_to_a_resumed_request_is_written_from_the_start),
        T(what_came_of_a_broken_answer_is_in_the_file),
        T(an_error_page_does_not_go_to_the_file),
        T(a_disk_that_refuses_is_an_error),
        T(any_status_is_an_answer),
        T(failures_have_their_codes),
        T(nobody_listens),
        T(addresses_that_are_none),
        T(too_long_an_answer_is_refused),
        T(silence_ends_by_stall_or_timeout),
        T(slow_is_not_stalled),
        T(redirects_keep_credentials_at_home),
        T(a_proxy_is_used_if_set),
        T(cancelled_requests_end_once),
        T(cancelled_from_inside_and_with_the_disk_busy),
        T(closing_ends_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
