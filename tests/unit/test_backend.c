/* SPDX-License-Identifier: MIT */
/* GraphQL calls, credentials and features against a little server that answers as a test says. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/upload/backend.h"
#include "service/upload/gql_words.h"
#include "service/upload/graphql.h"
#include "tests/support/built_module.h"
#include "tests/support/tiny_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uv_loop_t loop;
static struct http *http;
static struct tiny_server server;
static struct buf settings;
static char base[64], dir[64];

/* What the server was asked last, and how often; what it answers. */
static char last_head[16384], last_body[8192];
static atomic_int n_graphql, n_token;
static int fail_first;             /* so many calls get `failure`, the others `success` */
static struct tiny_reply failure, success, token;

static bool reply(const char *path, const char *head, const char *body, struct tiny_reply *to)
{
    if (strcmp(path, "/oidc/token") == 0) {
        atomic_fetch_add(&n_token, 1);
        *to = token;
    } else if (strcmp(path, "/graphql") == 0) {
        int nth = atomic_fetch_add(&n_graphql, 1);
        *to = nth < fail_first ? failure : success;
    } else {
        return false;
    }
    snprintf(last_head, sizeof last_head, "%s", head);
    snprintf(last_body, sizeof last_body, "%s", body);
    return true;
}

/* ---- settings ---- */

static void set_text(uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(&settings, number);
    wire_buf_bytes(&settings, 1, str_of(text));
    wire_buf_end(&settings, mark);
}

static void set_double(uint32_t number, double v)
{
    size_t mark = wire_buf_begin(&settings, number);
    wire_buf_double(&settings, 1, v);
    wire_buf_end(&settings, mark);
}

static void set_int(uint32_t number, uint64_t v)
{
    size_t mark = wire_buf_begin(&settings, number);
    wire_buf_varint(&settings, 1, v);
    wire_buf_end(&settings, mark);
}

static void set_headers(const char *const *pairs)
{
    size_t mark = wire_buf_begin(&settings, 14);
    for (; *pairs; pairs += 2) {
        size_t entry = wire_buf_begin(&settings, 1);
        wire_buf_bytes(&settings, 1, str_of(pairs[0]));
        wire_buf_bytes(&settings, 2, str_of(pairs[1]));
        wire_buf_end(&settings, entry);
    }
    wire_buf_end(&settings, mark);
}
#define SET_HEADERS(...) set_headers((const char *const[]){__VA_ARGS__, NULL})

/* ---- fixture ---- */

static int set_up(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    http = http_new(&loop);
    tiny_server_start(&server);
    server.reply = reply;
    snprintf(base, sizeof base, "http://127.0.0.1:%d", server.port);
    strcpy(dir, "/tmp/test_backend.XXXXXX");
    assert_non_null(mkdtemp(dir));
    buf_clear(&settings);
    set_text(57, base);
    set_double(155, 0.01);
    set_double(156, 0.02);
    n_graphql = n_token = fail_first = 0;
    success = (struct tiny_reply){.status = 200, .body = "{\"data\":{\"viewer\":{\"id\":\"x\"}}}"};
    failure = (struct tiny_reply){.status = 500, .body = "{\"error\":\"down\"}"};
    token = (struct tiny_reply){.status = 200, .body = "{\"access_token\":\"tok\",\"expires_in\":3600}"};
    return 0;
}

static void mark_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int tear_down(void **state)
{
    char command[128];
    bool closed = false;
    (void)state;
    http_close(http, mark_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    tiny_server_stop(&server);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
    buf_fini(&settings);
    return 0;
}

static struct backend *make_backend(void)
{
    struct err e = {0};
    struct backend *b = backend_new(http, &loop, buf_str(&settings), NULL, NULL, &e);
    if (!b)
        print_error("%s\n", e.text);
    assert_non_null(b);
    return b;
}

struct ask {
    struct graphql_call c;
    int done, retries;
    struct backend *b;
};

static void on_done(struct graphql_call *c)
{
    ((struct ask *)c)->done++;
}

static void on_retry(struct graphql_call *c, const char *why)
{
    assert_true(*why);
    ((struct ask *)c)->retries++;
}

static void start(struct ask *a, struct backend *b, const char *operation)
{
    *a = (struct ask){.b = b,
                      .c = {.operation = operation,
                            .document = "query Q {\n\tviewer { id }\n}",
                            .done = on_done,
                            .on_retry = on_retry}};
    graphql_send(b, &a->c);
    assert_int_equal(a->done, 0);
}

static void wait_for(struct ask *a)
{
    while (!a->done)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(a->done, 1);
}

static void ask(struct ask *a, struct backend *b, const char *operation)
{
    start(a, b, operation);
    wait_for(a);
}

/* ---- calls ---- */

static void a_call_is_sent_as_the_peer_sends_it(void **state)
{
    struct ask a;
    char expected[1024];
    (void)state;
    set_text(55, "secret");
    set_text(141, "me");
    SET_HEADERS("x-extra", "1", "bad name", "1", "X-Evil", "1\r\nHost: evil", "proxy-authorization", "p");
    struct backend *b = make_backend();
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, 0);
    assert_true(str_eqz(a.c.data, "{\"viewer\":{\"id\":\"x\"}}"));
    assert_string_equal(last_body, "{\"query\":\"query Q {\\n\\tviewer { id }\\n}\",\"operationName\":\"Viewer\"}");
    snprintf(expected, sizeof expected,
             "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: gzip\r\nX-Extra: 1\r\n"
             "User-Agent: wandb-core\r\nX-Wandb-Username: me\r\nX-Wandb-User-Email:\r\n"
             "Authorization: Basic YXBpOnNlY3JldA==\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             server.port, strlen(last_body));
    assert_string_equal(last_head, expected);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void variables_go_between_query_and_name(void **state)
{
    struct ask a = {.c = {.operation = "", .document = "{a}", .variables = STR("{\"x\":1}"), .done = on_done}};
    struct backend *b = make_backend();
    (void)state;
    graphql_send(b, &a.c);
    wait_for(&a);
    assert_string_equal(last_body, "{\"query\":\"{a}\",\"variables\":{\"x\":1},\"operationName\":\"\"}");
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void a_shared_run_says_who_writes(void **state)
{
    struct ask a;
    (void)state;
    set_int(162, 1);
    set_int(189, 1);
    struct backend *b = make_backend();
    backend_set_writer(b, "writer-1");
    ask(&a, b, "Viewer");
    assert_non_null(strstr(last_head, "X-Wandb-Use-Async-Filestream: true\r\n"));
    assert_non_null(strstr(last_head, "X-Wandb-Client-Id: writer-1\r\n"));
    assert_non_null(strstr(last_head, "X-Wandb-Server-Side-Derived-Summary: true\r\n"));
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void refusals_are_not_repeated(void **state)
{
    static const struct {
        int status, error;
    } cases[] = {{400, TARE_EPROTO}, {401, TARE_EPERM},     {403, TARE_EPERM},  {404, TARE_ENOTFOUND},
                 {409, TARE_ECONFLICT}, {422, TARE_EPROTO}, {501, TARE_EPROTO}};
    (void)state;
    struct backend *b = make_backend();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ask a;
        success = (struct tiny_reply){.status = cases[i].status, .body = "{\"errors\":[{\"message\":\"no \\\"way\\\"\"}]}"};
        n_graphql = 0;
        ask(&a, b, "Viewer");
        assert_int_equal(a.c.error, cases[i].error);
        assert_int_equal(a.c.status, cases[i].status);
        assert_string_equal(a.c.why, "no \"way\"");
        assert_int_equal(n_graphql, 1);
        graphql_call_fini(&a.c);
    }
    backend_close(b);
}

static void what_may_get_better_is_tried_again(void **state)
{
    static const int statuses[] = {408, 429, 500, 502, 503, 504};
    (void)state;
    struct backend *b = make_backend();
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct ask a;
        failure = (struct tiny_reply){.status = statuses[i], .body = "<html>sorry</html>"};
        n_graphql = 0;
        fail_first = 3;
        ask(&a, b, "Viewer");
        assert_int_equal(a.c.error, 0);
        assert_int_equal(a.retries, 3);
        assert_int_equal(n_graphql, 4);
        graphql_call_fini(&a.c);
    }
    backend_close(b);
}

static void conflicts_of_an_upsert_are_tried_again(void **state)
{
    struct ask a;
    (void)state;
    struct backend *b = make_backend();
    failure.status = 409;
    fail_first = 2;
    ask(&a, b, "UpsertBucket");
    assert_int_equal(a.c.error, 0);
    assert_int_equal(n_graphql, 3);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void tries_end(void **state)
{
    struct ask a;
    (void)state;
    set_int(154, 2);
    struct backend *b = make_backend();
    fail_first = 100;
    failure = (struct tiny_reply){.status = 502, .body = "<html>sorry</html>"};
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, TARE_EPROTO);
    assert_int_equal(a.c.status, 502);
    assert_string_equal(a.c.why, "<html>sorry</html>");
    assert_int_equal(n_graphql, 3);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void time_ends(void **state)
{
    struct ask a = {.c = {.operation = "Viewer", .document = "{a}", .done = on_done, .on_retry = on_retry}};
    (void)state;
    struct backend *b = make_backend();
    fail_first = 1000;
    a.c.give_up_ns = clock_mono_ns() + 100000000;
    graphql_send(b, &a.c);
    wait_for(&a);
    assert_int_equal(a.c.error, TARE_ETIMEOUT);
    assert_string_equal(a.c.why, "HTTP 500");
    assert_true(a.retries > 0);
    assert_true(clock_mono_ns() >= a.c.give_up_ns);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void errors_beside_data_are_told(void **state)
{
    struct ask a;
    (void)state;
    struct backend *b = make_backend();
    strcpy(success.body, "{\"data\":{\"viewer\":null},\"errors\":[{\"message\":\"one\",\"path\":[\"run\",0,\"id\"]},"
                         "{\"message\":\"two\",\"locations\":[{\"line\":3,\"column\":7}]}]}");
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, TARE_EPROTO);
    assert_int_equal(a.c.status, 200);
    assert_string_equal(a.c.why, "input: run[0].id one\ninput:3:7: two");
    assert_true(str_eqz(a.c.data, "{\"viewer\":null}"));
    graphql_call_fini(&a.c);
    strcpy(success.body, "<html>");
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, TARE_EFORMAT);
    assert_int_equal(a.c.data.n, 0);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void nobody_answers(void **state)
{
    struct ask a;
    (void)state;
    set_int(154, 1);
    set_text(57, "http://127.0.0.1:1");
    struct backend *b = make_backend();
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, UV_ECONNREFUSED);
    assert_int_equal(a.retries, 1);
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void a_cancelled_call_ends_in_every_state(void **state)
{
    (void)state;
    struct backend *b = make_backend();
    fail_first = 1000;
    for (int turns = 0; turns < 60; turns++) {
        struct ask a;
        start(&a, b, "Viewer");
        for (int i = 0; i < turns && !a.done; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            usleep(200);
        }
        graphql_cancel(b, &a.c);
        graphql_cancel(b, &a.c);
        assert_int_equal(a.done, 0);
        wait_for(&a);
        assert_int_equal(a.c.error, TARE_ECANCELLED);
        graphql_call_fini(&a.c);
    }
    backend_close(b);
}

static void closing_cancels_all(void **state)
{
    struct ask a[80];
    (void)state;
    struct backend *b = make_backend();
    fail_first = 1000;
    for (int i = 0; i < 80; i++)
        start(&a[i], b, "Viewer");
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    backend_close(b);
    for (int i = 0; i < 80; i++) {
        wait_for(&a[i]);
        assert_int_equal(a[i].c.error, TARE_ECANCELLED);
        graphql_call_fini(&a[i].c);
    }
}

static void no_address_is_an_error(void **state)
{
    struct err e = {0};
    (void)state;
    set_text(57, "hello");
    assert_null(backend_new(http, &loop, buf_str(&settings), NULL, NULL, &e));
    assert_non_null(strstr(e.text, "hello"));
}

/* ---- headers ---- */

struct got {
    struct backend_headers h;
    int calls, error;
    char why[512];
};

static void on_headers(struct backend_headers *h, int error, const char *why)
{
    struct got *g = (struct got *)h;
    g->calls++;
    g->error = error;
    snprintf(g->why, sizeof g->why, "%s", why ? why : "");
}

static bool has_credentials(struct backend *b, enum backend_use use, const char *url)
{
    struct got g = {.h.ready = on_headers};
    backend_headers(b, use, url, &g.h);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.error, 0);
    bool has = strstr(buf_z(&g.h.text), "Authorization: ") != NULL;
    buf_fini(&g.h.text);
    return has;
}

static void credentials_stay_with_the_backend(void **state)
{
    (void)state;
    set_text(55, "secret");
    set_text(57, "https://h.example/api/");
    struct backend *b = make_backend();
    assert_string_equal(backend_url(b), "https://h.example/api");
    assert_true(has_credentials(b, BACKEND_GRAPHQL, "https://h.example/api/graphql"));
    assert_true(has_credentials(b, BACKEND_FILESTREAM, "https://H.example:443/api/files"));
    assert_false(has_credentials(b, BACKEND_GRAPHQL, "http://h.example/api/graphql"));
    assert_false(has_credentials(b, BACKEND_GRAPHQL, "https://h.example:444/api/graphql"));
    assert_false(has_credentials(b, BACKEND_GRAPHQL, "https://h.example.evil/api/graphql"));
    assert_false(has_credentials(b, BACKEND_GRAPHQL, "https://h.example@evil/api/graphql"));
    assert_false(has_credentials(b, BACKEND_GRAPHQL, "https://h.example/apix"));
    assert_false(has_credentials(b, BACKEND_FILE, "https://h.example/api/file"));
    backend_files_with_credentials(b);
    assert_true(has_credentials(b, BACKEND_FILE, "https://h.example/api/file"));
    assert_false(has_credentials(b, BACKEND_FILE, "https://storage.example/api/file"));
    backend_close(b);
}

/* ---- identity tokens ---- */

static void use_identity(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/token.jwt", dir);
    assert_int_equal(os_write_file(path, " a.b+c \n", 8, 0600), 0);
    set_text(170, path);
    snprintf(path, sizeof path, "%s/credentials.json", dir);
    set_text(171, path);
}

static void put_credentials(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/credentials.json", dir);
    assert_int_equal(os_write_file(path, text, strlen(text), 0600), 0);
}

static void an_identity_token_is_exchanged_once(void **state)
{
    struct ask a[10];
    struct buf file = {0};
    char path[128];
    (void)state;
    use_identity();
    put_credentials("{\"credentials\":{\"https://other\":{\"expires_at\":\"2026-01-01 00:00:00\",\"access_token\":\"o\"}}}");
    struct backend *b = make_backend();
    for (int i = 0; i < 10; i++)
        start(&a[i], b, "Viewer");
    for (int i = 0; i < 10; i++) {
        wait_for(&a[i]);
        assert_int_equal(a[i].c.error, 0);
        graphql_call_fini(&a[i].c);
    }
    assert_int_equal(n_token, 1);
    assert_non_null(strstr(last_head, "Authorization: Bearer tok\r\n"));
    backend_close(b);
    snprintf(path, sizeof path, "%s/credentials.json", dir);
    assert_int_equal(os_read_file(path, 10000, &file), 0);
    assert_non_null(strstr(buf_z(&file), "\"access_token\": \"tok\""));
    assert_non_null(strstr(buf_z(&file), "\"https://other\": {\"expires_at\":\"2026-01-01 00:00:00\""));
    buf_fini(&file);

    b = make_backend(); /* another one finds it in the file */
    ask(&a[0], b, "Viewer");
    assert_int_equal(a[0].c.error, 0);
    assert_int_equal(n_token, 1);
    graphql_call_fini(&a[0].c);
    backend_close(b);
}

static void the_exchange_is_the_peers(void **state)
{
    struct got g = {.h.ready = on_headers};
    (void)state;
    use_identity();
    SET_HEADERS("x-extra", "1");
    struct backend *b = make_backend();
    backend_token(b, &g.h);
    while (!g.calls)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(g.error, 0);
    assert_true(str_eqz(buf_str(&g.h.text), "tok"));
    assert_string_equal(last_body,
                        "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b%2Bc");
    assert_non_null(strstr(last_head, "POST /oidc/token HTTP/1.1\r\n"));
    assert_non_null(strstr(last_head, "Content-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(strstr(last_head, "X-Extra: 1\r\n"));
    assert_null(strstr(last_head, "Authorization"));
    buf_fini(&g.h.text);
    backend_close(b);
}

static void a_refused_token_is_not_tried_again(void **state)
{
    struct ask a;
    (void)state;
    use_identity();
    token = (struct tiny_reply){.status = 401, .body = "invalid_grant"};
    struct backend *b = make_backend();
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, TARE_EPERM);
    assert_int_equal(n_token, 1);
    assert_int_equal(n_graphql, 0);
    assert_string_equal(a.c.why, "api: couldn't fetch access token: failed to retrieve access token: HTTP 401: "
                                 "invalid_grant");
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void an_expiring_token_is_exchanged_anew(void **state)
{
    struct ask a;
    (void)state;
    use_identity();
    strcpy(token.body, "{\"access_token\":\"short\",\"expires_in\":60}");
    struct backend *b = make_backend();
    for (int i = 1; i <= 3; i++) {
        ask(&a, b, "Viewer");
        assert_int_equal(a.c.error, 0);
        assert_int_equal(n_token, i);
        graphql_call_fini(&a.c);
    }
    backend_close(b);
}

/* The clock is set back by ten days, then forth: what is left of a token's life does not change. */
static void a_clock_that_is_set_does_not_matter(void **state)
{
    struct ask a;
    int64_t wall = clock_wall_ns(), mono = clock_mono_ns(), day = INT64_C(86400000000000);
    (void)state;
    use_identity();
    clock_fake(&wall, &mono);
    struct backend *b = make_backend();
    static const int by[] = {0, -10, 20};
    for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
        wall += by[i] * day;
        mono += INT64_C(1000000000);
        ask(&a, b, "Viewer");
        assert_int_equal(a.c.error, 0);
        assert_int_equal(n_token, 1);
        graphql_call_fini(&a.c);
    }
    wall += INT64_C(3600000000000) - 10 * day;
    mono += INT64_C(3600000000000); /* now it is over */
    ask(&a, b, "Viewer");
    assert_int_equal(n_token, 2);
    graphql_call_fini(&a.c);
    backend_close(b);
    clock_fake(NULL, NULL);
}

/* A backend that has forgotten the token: another is fetched, even where the file has the old one. */
static void a_token_that_is_refused_later_is_exchanged_anew(void **state)
{
    struct ask a[3];
    (void)state;
    use_identity();
    struct backend *b = make_backend();
    ask(&a[0], b, "Viewer");
    assert_int_equal(a[0].c.error, 0);
    graphql_call_fini(&a[0].c);
    strcpy(token.body, "{\"access_token\":\"second\",\"expires_in\":3600}");
    failure = (struct tiny_reply){.status = 401, .body = "{}"};
    fail_first = n_graphql + 3;
    for (int i = 0; i < 3; i++)
        start(&a[i], b, "Viewer");
    for (int i = 0; i < 3; i++) {
        wait_for(&a[i]);
        assert_int_equal(a[i].c.error, 0);
        graphql_call_fini(&a[i].c);
    }
    assert_int_equal(n_token, 2);
    assert_non_null(strstr(last_head, "Authorization: Bearer second\r\n"));
    fail_first = n_graphql + 1; /* again at once: that is for good */
    ask(&a[0], b, "Viewer");
    assert_int_equal(a[0].c.error, TARE_EPERM);
    assert_int_equal(n_token, 2);
    graphql_call_fini(&a[0].c);
    backend_close(b);
}

static void no_identity_file_is_told(void **state)
{
    struct ask a;
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/none", dir);
    set_text(170, path);
    struct backend *b = make_backend();
    ask(&a, b, "Viewer");
    assert_int_equal(a.c.error, TARE_EPERM);
    assert_non_null(strstr(a.c.why, "failed to read identity token file"));
    graphql_call_fini(&a.c);
    backend_close(b);
}

static void closing_while_a_token_is_fetched(void **state)
{
    (void)state;
    use_identity();
    token.status = 503;
    for (int turns = 0; turns < 30; turns++) {
        struct ask a;
        struct backend *b = make_backend();
        start(&a, b, "Viewer");
        for (int i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            usleep(200);
        }
        backend_close(b);
        wait_for(&a);
        assert_int_equal(a.c.error, TARE_ECANCELLED);
        graphql_call_fini(&a.c);
    }
}

/* ---- features, answers ---- */

static void count_feature(void *ctx, bool has)
{
    int *counts = ctx;
    counts[has]++;
}

static void features_are_asked_once(void **state)
{
    int counts[2] = {0};
    (void)state;
    strcpy(success.body, "{\"data\":{\"serverInfo\":{\"features\":[{\"name\":\"A\",\"isEnabled\":true},"
                         "{\"name\":\"B\",\"isEnabled\":false}]}}}");
    struct backend *b = make_backend();
    backend_feature(b, "A", count_feature, counts);
    backend_feature(b, "B", count_feature, counts);
    backend_feature(b, "C", count_feature, counts);
    while (counts[0] + counts[1] < 3)
        uv_run(&loop, UV_RUN_ONCE);
    backend_feature(b, "A", count_feature, counts);
    assert_int_equal(counts[true], 2);
    assert_int_equal(counts[false], 2);
    assert_int_equal(n_graphql, 1);
    backend_close(b);
}

static void bad_answers_are_kept_for_the_person(void **state)
{
    struct ask a;
    AUTO_BUF got = {0};
    (void)state;
    struct backend *b = make_backend();
    fail_first = 2;
    ask(&a, b, "Viewer");
    graphql_call_fini(&a.c);
    backend_take_answers(b, &got);
    struct wire_reader r = wire_open(buf_str(&got));
    struct wire_field f;
    int n = 0;
    while (wire_next(&r, &f) > 0) {
        n++;
        assert_int_equal(wire_find_varint(f.bytes, 1), 500);
        assert_true(str_eqz(wire_find_bytes(f.bytes, 2), "{\"error\":\"down\"}"));
    }
    assert_int_equal(n, 2);
    buf_clear(&got);
    backend_take_answers(b, &got);
    assert_int_equal(got.len, 0);
    backend_close(b);
}

static void words_of_errors(void **state)
{
    static const struct {
        const char *answer, *words;
    } cases[] = {
        {"<html>", "<html>"},
        {"{}", ""},
        {"{\"errors\":[]}", ""},
        {"{\"errors\":[\"plain\"]}", "plain"},
        {"{\"errors\":[{\"message\":\"a\"}]}", "a"},
        {"{\"errors\":[{\"message\":\"a\"},{\"message\":\"b\"}]}", "[a; b]"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AUTO_BUF to = {0};
        gql_put_messages(&to, str_of(cases[i].answer));
        assert_string_equal(buf_z(&to), cases[i].words);
    }
}

int main(void)
{
    use_built_module();
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_call_is_sent_as_the_peer_sends_it),
        T(variables_go_between_query_and_name),
        T(a_shared_run_says_who_writes),
        T(refusals_are_not_repeated),
        T(what_may_get_better_is_tried_again),
        T(conflicts_of_an_upsert_are_tried_again),
        T(tries_end),
        T(time_ends),
        T(errors_beside_data_are_told),
        T(nobody_answers),
        T(a_cancelled_call_ends_in_every_state),
        T(closing_cancels_all),
        T(no_address_is_an_error),
        T(credentials_stay_with_the_backend),
        T(an_identity_token_is_exchanged_once),
        T(the_exchange_is_the_peers),
        T(a_refused_token_is_not_tried_again),
        T(an_expiring_token_is_exchanged_anew),
        T(a_clock_that_is_set_does_not_matter),
        T(a_token_that_is_refused_later_is_exchanged_anew),
        T(no_identity_file_is_told),
        T(closing_while_a_token_is_fetched),
        T(features_are_asked_once),
        T(bad_answers_are_kept_for_the_person),
        cmocka_unit_test(words_of_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
