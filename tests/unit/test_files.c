/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/file.h"

#include "../support/fake_net.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/upload/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SET_IGNORE_GLOBS = 78 };

struct fixture {
    struct files *f;
    uv_loop_t loop;
    struct buf settings, uploaded;
    char dir[64];
    int n_told, n_finished, finished_error;
    char told[700];
};

static void on_uploaded(void *ctx, const char *path)
{
    struct fixture *x = ctx;
    buf_printf(&x->uploaded, "%s ", path);
}

static void on_tell(void *ctx, bool error, const char *text)
{
    struct fixture *x = ctx;
    x->n_told++;
    snprintf(x->told, sizeof x->told, "%s", text);
}

static void on_finished(void *ctx, int error)
{
    struct fixture *x = ctx;
    x->n_finished++;
    x->finished_error = error;
}

static void begin(struct fixture *x)
{
    struct files_owner owner = {x, on_uploaded, on_tell, on_finished};
    x->f = files_new(NULL, buf_str(&x->settings), &x->loop, x->dir, &owner);
}

static void start(struct fixture *x)
{
    begin(x);
    files_start(x->f, "us", "p", "run1");
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    snprintf(x->dir, sizeof x->dir, "/tmp/test_files_XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    fake_net_begin();
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    char command[128];
    files_free(x->f);
    fake_net_end();
    buf_fini(&x->settings);
    buf_fini(&x->uploaded);
    snprintf(command, sizeof command, "rm -rf %s", x->dir);
    assert_int_equal(system(command), 0);
    free(x);
    return 0;
}

static void write_file(struct fixture *x, const char *name, const char *text, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, n, file), n);
    fclose(file);
}

static void put_text(struct fixture *x, const char *name, const char *text)
{
    write_file(x, name, text, strlen(text));
}

static void add(struct fixture *x, const char *name, enum file_policy policy)
{
    files_add(x->f, str_of(name), policy, FILE_OTHER);
}

/* Give every file of the call that is under way the URL http://s/NAME. */
static void give_urls(const char *headers)
{
    AUTO_BUF answer = {0};
    struct str names = json_at(fake_net_call()->variables, "files");
    const char *at = names.p + 1;
    struct json_item item;
    buf_printf(&answer, "{\"createRunFiles\":{\"runID\":\"x\",\"uploadHeaders\":%s,\"files\":[", headers);
    for (const char *sep = ""; json_next_element(&at, names.p + names.n, &item) == 1; sep = ",")
        buf_printf(&answer, "%s{\"name\":%.*s,\"uploadUrl\":\"http://s/%.*s\"}", sep, STR_ARG(item.value),
                   (int)item.value.n - 2, item.value.p + 1);
    buf_puts(&answer, "]}}");
    fake_net_data(buf_z(&answer));
}

static void assert_files(const char *json)
{
    struct str names = json_at(fake_net_call()->variables, "files");
    if (!str_eqz(names, json))
        fail_msg("asked for %.*s, not %s", STR_ARG(names), json);
}

static void assert_quiet(void)
{
    fake_net_settle();
    assert_int_equal(fake_net.n_calls, 0);
    assert_int_equal(fake_net.n_requests, 0);
}

static void finish(struct fixture *x)
{
    files_finish(x->f);
    assert_int_equal(x->n_finished, 0);
    fake_net_settle();
}

/* A run that ends with one file of one byte, which is to be uploaded. */
static void upload_one(struct fixture *x)
{
    put_text(x, "a", "1");
    start(x);
    add(x, "a", FILE_NOW);
    finish(x);
}

static void assert_uploaded(struct fixture *x, const char *names)
{
    assert_string_equal(x->uploaded.len ? buf_z(&x->uploaded) : "", names);
}

/* ---- policies ---- */

static void test_files_are_gathered_and_put(void **state)
{
    struct fixture *x = *state;
    struct files_progress p;
    put_text(x, "a.txt", "alpha");
    put_text(x, "b.txt", "");
    start(x);
    add(x, "a.txt", FILE_NOW);
    add(x, "./b.txt", FILE_NOW);
    add(x, "a.txt", FILE_NOW);
    fake_net_pass_ms(FILES_GATHER_MS - 1);
    assert_quiet();
    fake_net_pass_ms(1);
    assert_string_equal(fake_net_call()->operation, "CreateRunFiles");
    assert_true(str_eqz(fake_net_call()->variables,
                        "{\"entity\":\"us\",\"project\":\"p\",\"run\":\"run1\",\"files\":[\"a.txt\",\"b.txt\"]}"));
    give_urls("[\"Content-MD5: x\",\"X-Y:z:1\",\"bad\",\"In ject: a\",\"Evil: a\\r\\nHost: b\"]");
    struct http_request *r = fake_net_request();
    assert_string_equal(r->method, "PUT");
    assert_string_equal(r->url, "http://s/a.txt");
    assert_string_equal(r->headers, "Authorization: Basic x\nContent-MD5: x\nX-Y: z:1\n");
    assert_true(str_eqz(r->body, "alpha"));
    fake_net_answer(200, "");
    r = fake_net_request();
    assert_int_equal(r->body.n, 0);
    assert_int_equal(r->body_fd, -1);
    fake_net_answer(201, "");
    assert_uploaded(x, "a.txt b.txt ");
    files_progress(x->f, &p);
    assert_int_equal(p.uploaded_bytes, 5);
    assert_int_equal(p.total_bytes, 5);
    assert_int_equal(p.n_other, 2);
    finish(x);
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0);
    assert_int_equal(fake_net.n_sent, 2);
}

static void test_end_files_go_at_the_end(void **state)
{
    struct fixture *x = *state;
    put_text(x, "a", "1");
    begin(x);
    add(x, "a", FILE_END);
    files_start(x->f, "us", "p", "run1");
    fake_net_pass_ms(100000);
    assert_quiet();
    finish(x);
    give_urls("[]");
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
    assert_int_equal(x->n_finished, 1);
}

static void test_live_files_go_when_they_change_and_at_the_end(void **state)
{
    struct fixture *x = *state;
    put_text(x, "a", "1");
    start(x);
    add(x, "a", FILE_LIVE);
    fake_net_pass_ms(FILES_GATHER_MS);
    give_urls("[]");
    fake_net_answer(200, "");
    fake_net_pass_ms(20000);
    assert_quiet();
    put_text(x, "a", "12");
    fake_net_pass_ms(FILE_WATCH_MS + FILES_GATHER_MS);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "12"));
    fake_net_answer(200, "");
    put_text(x, "a", "123");
    finish(x);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "123"));
    fake_net_answer(200, "");
    assert_uploaded(x, "a a a ");
    assert_int_equal(x->n_finished, 1);
}

static void test_live_file_that_is_up_is_not_sent_again_at_the_end(void **state)
{
    struct fixture *x = *state;
    put_text(x, "a", "1");
    start(x);
    add(x, "a", FILE_LIVE);
    fake_net_pass_ms(FILES_GATHER_MS);
    give_urls("[]");
    fake_net_answer(200, "");
    finish(x);
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(fake_net.n_sent, 1);
}

static void test_live_file_that_comes_later(void **state)
{
    struct fixture *x = *state;
    start(x);
    add(x, "a", FILE_LIVE);
    fake_net_pass_ms(FILES_GATHER_MS);
    assert_int_equal(x->n_told, 1);
    put_text(x, "a", "1");
    fake_net_pass_ms(FILE_WATCH_MS + FILES_GATHER_MS);
    give_urls("[]");
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
}

static void test_ignored_files_stay(void **state)
{
    struct fixture *x = *state;
    size_t mark = wire_buf_begin(&x->settings, SET_IGNORE_GLOBS);
    wire_buf_bytes(&x->settings, 1, STR("*.txt"));
    wire_buf_bytes(&x->settings, 1, STR("sub/[ab]?"));
    wire_buf_end(&x->settings, mark);
    start(x);
    char path[128];
    snprintf(path, sizeof path, "%s/sub", x->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    put_text(x, "a.txt", "1");
    put_text(x, "sub/a.txt", "1");
    put_text(x, "sub/b1", "1");
    put_text(x, "sub/c1", "1");
    add(x, "a.txt", FILE_NOW);
    add(x, "sub/a.txt", FILE_NOW); /* a star does not reach over a slash */
    add(x, "sub/b1", FILE_LIVE);
    add(x, "sub/c1", FILE_NOW);
    finish(x);
    assert_files("[\"sub/a.txt\",\"sub/c1\"]");
    give_urls("[]");
    fake_net_answer(200, "");
    fake_net_answer(200, "");
    assert_int_equal(x->n_finished, 1);
}

static void test_what_is_no_file_is_told(void **state)
{
    struct fixture *x = *state;
    char path[128];
    start(x);
    snprintf(path, sizeof path, "%s/dir", x->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/pipe", x->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    put_text(x, "real", "1");
    static const char *const names[] = {"missing", "dir", "pipe", "../escape", "/etc/passwd", "", ".", "real"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add(x, names[i], FILE_NOW);
    finish(x);
    assert_files("[\"pipe\",\"real\"]");
    give_urls("[]");
    fake_net_answer(200, "");
    assert_uploaded(x, "real ");
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0); /* nothing of it could come later */
    assert_int_equal(x->n_told, 2); /* the first, and how many in the end; a folder is no file */
    assert_string_equal(x->told, "2 files of the run could not be uploaded.");
}

static void test_media_is_known_by_its_folder(void **state)
{
    struct fixture *x = *state;
    struct files_progress p;
    char path[128];
    start(x);
    snprintf(path, sizeof path, "%s/media", x->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    put_text(x, "media/a", "1");
    put_text(x, "c", "1");
    add(x, "media/a", FILE_NOW);
    files_add(x->f, STR("c"), FILE_NOW, FILE_WANDB);
    finish(x);
    give_urls("[]");
    fake_net_answer(200, "");
    fake_net_answer(200, "");
    files_progress(x->f, &p);
    assert_int_equal(p.n_media, 1);
    assert_int_equal(p.n_wandb, 1);
    assert_int_equal(p.n_other, 0);
}

/* ---- files made here ---- */

static void test_put_writes_and_uploads_the_newest(void **state)
{
    struct fixture *x = *state;
    char path[128], text[16] = "";
    start(x);
    files_put(x->f, "sub/config.yaml", STR("one"), FILE_WANDB);
    files_put(x->f, "sub/config.yaml", STR("two"), FILE_WANDB);
    fake_net_pass_ms(FILES_GATHER_MS);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "two"));
    files_put(x->f, "sub/config.yaml", STR("three"), FILE_WANDB); /* while the other is on its way */
    fake_net_answer(200, "");
    finish(x);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "three"));
    fake_net_answer(200, "");
    assert_int_equal(x->n_finished, 1);
    snprintf(path, sizeof path, "%s/sub/config.yaml", x->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "three");
}

static void test_put_goes_from_memory_where_it_cannot_be_written(void **state)
{
    struct fixture *x = *state;
    put_text(x, "sub", "a file, no folder");
    start(x);
    files_put(x->f, "sub/config.yaml", STR("one"), FILE_WANDB);
    fake_net_pass_ms(FILES_GATHER_MS);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "one"));
    files_put(x->f, "sub/config.yaml", STR("two"), FILE_WANDB);
    fake_net_settle();
    assert_true(str_eqz(fake_net_request()->body, "one")); /* its bytes stay till then */
    fake_net_answer(200, "");
    finish(x);
    give_urls("[]");
    assert_true(str_eqz(fake_net_request()->body, "two"));
    fake_net_answer(200, "");
    assert_int_equal(x->finished_error, 0);
}

/* ---- trouble ---- */

static void test_failed_uploads_are_tried_again(void **state)
{
    struct fixture *x = *state;
    upload_one(x);
    give_urls("[]");
    fake_net_answer(500, "oops");
    assert_quiet();
    AUTO_BUF ops = {0};
    assert_int_equal(files_operations(x->f, &ops, 10), 1);
    struct str op = wire_find_bytes(buf_str(&ops), 1);
    assert_true(str_eqz(wire_find_bytes(op, 1), "uploading a"));
    assert_true(str_eqz(wire_find_bytes(op, 3), "0B/1B"));
    assert_true(str_eqz(wire_find_bytes(op, 4), "retrying HTTP 500: oops"));
    put_text(x, "a", "it is read anew");
    fake_net_pass_ms(2500);
    fake_net_fail(TARE_EIO, "reset");
    fake_net_pass_ms(5000);
    assert_true(str_eqz(fake_net_request()->body, "it is read anew"));
    fake_net_answer(204, "");
    assert_uploaded(x, "a ");
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->n_told, 0);
}

static void test_tries_are_bounded(void **state)
{
    struct fixture *x = *state;
    upload_one(x);
    give_urls("[]");
    for (int i = 0; i < 21; i++) {
        assert_int_equal(x->n_finished, 0);
        fake_net_answer(503, "");
        fake_net_pass_ms(60001);
    }
    assert_int_equal(x->n_finished, 1);
    assert_true(x->finished_error < 0);
    assert_string_equal(x->told, "Could not upload a: HTTP 503: ");
}

static void test_a_refused_url_is_replaced(void **state)
{
    struct fixture *x = *state;
    upload_one(x);
    give_urls("[]");
    fake_net_answer(403, "expired");
    give_urls("[]");
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
    assert_int_equal(x->finished_error, 0);
}

static void test_urls_are_replaced_twice_only(void **state)
{
    struct fixture *x = *state;
    upload_one(x);
    for (int i = 0; i < 1 + FILE_URLS; i++) {
        give_urls("[]");
        fake_net_answer(403, "expired");
    }
    assert_int_equal(x->n_finished, 1);
    assert_string_equal(x->told, "Could not upload a: HTTP 403: expired");
}

static void test_answers_that_make_no_sense(void **state)
{
    static const char *const answers[] = {
        "{}", "", "null", "[]", "{\"createRunFiles\":null}", "{\"createRunFiles\":{\"files\":7}}",
        "{\"createRunFiles\":{\"files\":[]}}", "{\"createRunFiles\":{\"files\":[{\"name\":\"a\",\"uploadUrl\":null}]}}",
        "{\"createRunFiles\":{\"files\":[{\"name\":\"../b\",\"uploadUrl\":\"http://x\"}]}}",
        "{\"createRunFiles\":{\"files\":[{\"name\":\"other\",\"uploadUrl\":\"http://x\"}]}}",
        "{\"createRunFiles\":{\"files\":[7,{},{\"name\":1,\"uploadUrl\":2}", "<html>",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct fixture *x = *state;
        put_text(x, "a", "1");
        put_text(x, "other", "1");
        start(x);
        add(x, "a", FILE_NOW);
        files_add(x->f, STR("other"), FILE_END, FILE_OTHER); /* known, but not asked for yet */
        fake_net_pass_ms(FILES_GATHER_MS);
        fake_net_data(answers[i]);
        assert_quiet();
        assert_int_equal(x->n_told, i + 1);
        files_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

static void test_a_url_given_twice_is_used_once(void **state)
{
    struct fixture *x = *state;
    upload_one(x);
    fake_net_call();
    fake_net_data("{\"createRunFiles\":{\"files\":[{\"name\":\"a\",\"uploadUrl\":\"http://1\"},"
                  "{\"name\":\"a\",\"uploadUrl\":\"http://2\"}]}}");
    assert_int_equal(fake_net.n_requests, 1);
    fake_net_answer(200, "");
    assert_int_equal(x->n_finished, 1);
}

static void test_refused_batches_are_told_once(void **state)
{
    struct fixture *x = *state;
    put_text(x, "a", "1");
    put_text(x, "b", "1");
    start(x);
    add(x, "a", FILE_NOW);
    add(x, "b", FILE_NOW);
    finish(x);
    fake_net_refuse(TARE_EPERM, "permission denied");
    assert_int_equal(x->n_told, 2);
    assert_string_equal(x->told, "2 files of the run could not be uploaded.");
    assert_int_equal(x->finished_error, TARE_EPERM);
}

/* ---- files that change ---- */

static void test_a_file_that_changes_while_it_is_sent_is_sent_again(void **state)
{
    struct fixture *x = *state;
    static char text[TRANSFER_SMALL_BYTES + 1];
    memset(text, 'x', sizeof text);
    write_file(x, "a", text, sizeof text);
    start(x);
    add(x, "a", FILE_NOW);
    finish(x);
    for (int i = 0; i < 1 + FILE_CHANGES; i++) {
        give_urls("[]");
        struct http_request *r = fake_net_request();
        assert_true(r->body_fd >= 0);
        assert_int_equal(r->body_bytes, sizeof text);
        text[0]++;
        usleep(5000);
        write_file(x, "a", text, sizeof text);
        fake_net_answer(200, "");
    }
    assert_int_equal(x->n_finished, 1); /* it does not go on for ever */
    assert_int_equal(x->finished_error, 0);
}

static void test_a_file_that_gets_shorter_is_measured_again(void **state)
{
    struct fixture *x = *state;
    static char text[TRANSFER_SMALL_BYTES + 1];
    memset(text, 'x', sizeof text);
    write_file(x, "a", text, sizeof text);
    start(x);
    add(x, "a", FILE_NOW);
    finish(x);
    give_urls("[]");
    fake_net_request();
    put_text(x, "a", "short");
    fake_net_fail(UV_EOF, "end of file");
    fake_net_pass_ms(2500);
    assert_true(str_eqz(fake_net_request()->body, "short"));
    fake_net_answer(200, "");
    assert_int_equal(x->n_finished, 1);
}

static void test_a_file_that_vanishes_after_the_look(void **state)
{
    struct fixture *x = *state;
    char path[128];
    upload_one(x);
    fake_net_call();
    snprintf(path, sizeof path, "%s/a", x->dir);
    unlink(path);
    give_urls("[]");
    assert_quiet();
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0);
}

/* ---- many ---- */

static void test_many_files_go_in_batches_a_bounded_number_at_once(void **state)
{
    enum { N = 700 };
    struct fixture *x = *state;
    start(x);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        put_text(x, name, name);
        add(x, name, FILE_NOW);
    }
    finish(x);
    int n_calls = 0, n_puts = 0;
    while (x->n_finished == 0) {
        fake_net_settle();
        assert_in_range(fake_net.n_requests, 0, POOL_TRANSFERS);
        if (fake_net.n_calls > 0) {
            give_urls("[]");
            n_calls++;
        } else {
            fake_net_answer(200, "");
            n_puts++;
        }
    }
    assert_int_equal(n_calls, 3);
    assert_int_equal(n_puts, N);
    struct files_progress p;
    files_progress(x->f, &p);
    assert_int_equal(p.n_other, N);
}

/* ---- the end ---- */

static void test_finish_of_nothing(void **state)
{
    struct fixture *x = *state;
    begin(x); /* not even started */
    finish(x);
    assert_int_equal(x->n_finished, 1);
    assert_int_equal(x->finished_error, 0);
}

/* Bring a run to one of several moments with something under way. */
static void to_moment(struct fixture *x, int moment)
{
    static char text[TRANSFER_SMALL_BYTES + 1];
    memset(text, 'x', sizeof text);
    write_file(x, "a", text, sizeof text);
    begin(x);
    if (moment > 0)
        files_start(x->f, "us", "p", "run1");
    add(x, "a", FILE_LIVE);
    files_put(x->f, "put", STR("1"), FILE_OTHER);
    fake_net.headers_wait = moment == 4;
    if (moment > 1)
        fake_net_pass_ms(FILES_GATHER_MS);
    if (moment > 2)
        give_urls("[]");
    if (moment > 4)
        fake_net_request();
    if (moment == 6)
        fake_net_answer(500, "");
    if (moment == 7)
        files_finish(x->f);
}

enum { N_MOMENTS = 8 };

static void test_abort_at_every_moment(void **state)
{
    for (int moment = 0; moment < N_MOMENTS; moment++) {
        struct fixture *x = *state;
        to_moment(x, moment);
        files_abort(x->f);
        assert_int_equal(x->n_finished, moment);
        fake_net_settle();
        for (int i = 0; i < 2 && moment == 4; i++)
            fake_net_headers();
        assert_int_equal(x->n_finished, moment + 1);
        assert_int_equal(x->finished_error, TARE_ECANCELLED);
        files_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

static void test_free_at_every_moment(void **state)
{
    for (int moment = 0; moment < N_MOMENTS; moment++) {
        struct fixture *x = *state;
        to_moment(x, moment);
        files_free(x->f);
        x->f = NULL;
        for (int i = 0; i < 2 && moment == 4; i++)
            fake_net_headers();
        fake_net_settle();
        assert_int_equal(x->n_finished + x->n_told, 0);
    }
}

/* ---- uploads that go on where they broke off ---- */

enum { LARGE = 3 * TRANSFER_STEP_BYTES };
#define GOES_ON "[\"X-Tare-Resumable:1\"]"

static bool has_line(const struct http_request *r, const char *line)
{
    AUTO_BUF all = {0}, text = {0};
    buf_printf(&all, "\n%s", r->headers);
    buf_printf(&text, "\n%s\n", line);
    return strstr(buf_z(&all), buf_z(&text)) != NULL;
}

static void key_of(const struct http_request *r, char key[80])
{
    const char *at = strstr(r->headers, "X-Tare-Upload: ");
    assert_non_null(at);
    snprintf(key, 80, "%.*s", (int)strcspn(at, "\n"), at);
}

static void write_large(struct fixture *x, size_t n, char c)
{
    char *text = malloc(n);
    memset(text, c, n);
    write_file(x, "a", text, n);
    free(text);
}

static void begin_large(struct fixture *x, size_t n)
{
    write_large(x, n, 'x');
    start(x);
    add(x, "a", FILE_NOW);
    finish(x);
    give_urls(GOES_ON);
}

static void break_off(uint64_t sent, int tries)
{
    struct http_request *r = fake_net_request();
    r->sent = sent;
    r->progress(r);
    fake_net_fail(TARE_EIO, "reset");
    fake_net_pass_ms(2500 << tries);
}

static void assert_looks(void)
{
    char line[80];
    struct http_request *r = fake_net_request();
    snprintf(line, sizeof line, "Content-Range: bytes */%d", LARGE);
    assert_true(has_line(r, line));
    assert_true(r->body_fd < 0 && r->body.n == 0);
}

static void answer_look(const char *range)
{
    assert_looks();
    fake_net_answer_to(fake_net_request(), 308, range, "");
}

static void test_a_broken_upload_goes_on(void **state)
{
    struct fixture *x = *state;
    char key[80], again[80], line[80];
    begin_large(x, LARGE);
    key_of(fake_net_request(), key);
    assert_int_equal(fake_net_request()->body_bytes, LARGE);
    assert_null(strstr(fake_net_request()->headers, "Content-Range"));
    break_off(1000000, 0);
    for (int i = 1; i <= 2; i++) {
        answer_look(i == 1 ? "range: bytes=0-999999\n" : "range: bytes=0-1999999\n");
        struct http_request *r = fake_net_request();
        assert_int_equal(r->body_at, i * 1000000);
        assert_int_equal(r->body_bytes, LARGE - i * 1000000);
        snprintf(line, sizeof line, "Content-Range: bytes %d-%d/%d", i * 1000000, LARGE - 1, LARGE);
        assert_true(has_line(r, line));
        assert_non_null(strstr(r->headers, "Content-MD5: "));
        key_of(r, again);
        assert_string_equal(key, again);
        if (i == 1)
            break_off(1000000, 1);
    }
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
    struct files_progress p;
    files_progress(x->f, &p);
    assert_int_equal(p.uploaded_bytes, LARGE);
}

static void test_what_is_there_already_is_not_sent(void **state)
{
    struct fixture *x = *state;
    begin_large(x, LARGE);
    break_off(LARGE, 0); /* the answer was lost */
    assert_looks();
    assert_non_null(strstr(fake_net_request()->headers, "Content-MD5: "));
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
    assert_quiet();
}

static void test_a_file_that_has_changed_begins_from_its_start(void **state)
{
    struct fixture *x = *state;
    char key[80], other[80];
    begin_large(x, LARGE);
    key_of(fake_net_request(), key);
    struct http_request *r = fake_net_request();
    r->sent = 1000000;
    r->progress(r);
    usleep(5000);
    write_large(x, LARGE, 'y');
    fake_net_fail(TARE_EIO, "reset");
    fake_net_pass_ms(2500);
    key_of(fake_net_request(), other);
    assert_string_not_equal(key, other);
    answer_look(""); /* of this state nothing is there */
    assert_int_equal(fake_net_request()->body_bytes, LARGE);
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
}

/* A wrong digest of what was there, an offset that is not the server's, a server that has forgotten how. */
static void test_going_on_that_is_refused_begins_from_the_start(void **state)
{
    static const struct {
        const char *range;
        int look, status;
    } rows[] = {{"range: bytes=0-999999\n", 308, 400}, {"range: bytes=0-999999\n", 308, 308}, {"", 404, 0},
                {"range: bytes=0-99999999\n", 308, 0}, {"range: bytes=0-x\n", 308, 0}, {"range: bytes=5-9\n", 308, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *x = *state;
        buf_clear(&x->uploaded);
        x->n_finished = 0;
        begin_large(x, LARGE);
        break_off(1000000, 0);
        assert_looks();
        fake_net_answer_to(fake_net_request(), rows[i].look, rows[i].range, "");
        if (rows[i].status) {
            assert_int_equal(fake_net_request()->body_at, 1000000);
            fake_net_answer(rows[i].status, "");
            fake_net_pass_ms(2500 << 2);
        }
        assert_int_equal(fake_net_request()->body_at, 0);
        assert_int_equal(fake_net_request()->body_bytes, LARGE);
        fake_net_answer(200, "");
        assert_uploaded(x, "a ");
        files_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

/* What another process may have begun. */
static void test_large_files_are_looked_for_first(void **state)
{
    struct fixture *x = *state;
    begin_large(x, TRANSFER_LOOK_BYTES);
    assert_non_null(strstr(fake_net_request()->headers, "Content-Range: bytes */"));
    fake_net_answer_to(fake_net_request(), 308, "range: bytes=0-999999\n", "");
    assert_int_equal(fake_net_request()->body_at, 1000000);
    assert_non_null(strstr(fake_net_request()->headers, "Content-MD5: "));
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
}

static void test_other_servers_are_not_asked(void **state)
{
    struct fixture *x = *state;
    write_large(x, TRANSFER_LOOK_BYTES, 'x');
    start(x);
    add(x, "a", FILE_NOW);
    finish(x);
    give_urls("[]");
    break_off(1000000, 0);
    assert_int_equal(fake_net_request()->body_bytes, TRANSFER_LOOK_BYTES);
    assert_null(strstr(fake_net_request()->headers, "X-Tare-Upload"));
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
}

/* As long as it comes forward, it is not given up. */
static void test_progress_renews_the_tries(void **state)
{
    struct fixture *x = *state;
    char range[64];
    uint64_t size = (uint64_t)TRANSFER_STEP_BYTES * 40;
    begin_large(x, size);
    for (int i = 0; i < 30; i++) {
        snprintf(range, sizeof range, "range: bytes=0-%d\n", i * TRANSFER_STEP_BYTES + 10);
        fake_net_answer_to(fake_net_request(), 308, range, "");
        break_off(TRANSFER_STEP_BYTES, 4);
    }
    assert_int_equal(x->n_finished, 0);
    fake_net_answer(200, "");
    assert_uploaded(x, "a ");
}

/* 1: the look is under way; 2: what follows it; 3: between tries */
static void to_moment_of_going_on(struct fixture *x, int moment)
{
    begin_large(x, TRANSFER_LOOK_BYTES);
    if (moment > 1)
        fake_net_answer_to(fake_net_request(), 308, "range: bytes=0-999999\n", "");
    if (moment > 2)
        fake_net_fail(TARE_EIO, "reset");
}

static void test_going_on_is_given_up_at_every_moment(void **state)
{
    for (int i = 0; i < 6; i++) {
        struct fixture *x = *state;
        x->n_finished = 0;
        to_moment_of_going_on(x, 1 + i / 2);
        if (i % 2) {
            files_abort(x->f);
            fake_net_settle();
            assert_int_equal(x->n_finished, 1);
            assert_int_equal(x->finished_error, TARE_ECANCELLED);
        }
        files_free(x->f);
        x->f = NULL;
        fake_net_settle();
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_files_are_gathered_and_put),
        T(test_end_files_go_at_the_end),
        T(test_live_files_go_when_they_change_and_at_the_end),
        T(test_live_file_that_is_up_is_not_sent_again_at_the_end),
        T(test_live_file_that_comes_later),
        T(test_ignored_files_stay),
        T(test_what_is_no_file_is_told),
        T(test_media_is_known_by_its_folder),
        T(test_put_writes_and_uploads_the_newest),
        T(test_put_goes_from_memory_where_it_cannot_be_written),
        T(test_failed_uploads_are_tried_again),
        T(test_tries_are_bounded),
        T(test_a_refused_url_is_replaced),
        T(test_urls_are_replaced_twice_only),
        T(test_answers_that_make_no_sense),
        T(test_a_url_given_twice_is_used_once),
        T(test_refused_batches_are_told_once),
        T(test_a_file_that_changes_while_it_is_sent_is_sent_again),
        T(test_a_file_that_gets_shorter_is_measured_again),
        T(test_a_file_that_vanishes_after_the_look),
        T(test_many_files_go_in_batches_a_bounded_number_at_once),
        T(test_finish_of_nothing),
        T(test_abort_at_every_moment),
        T(test_free_at_every_moment),
        T(test_a_broken_upload_goes_on),
        T(test_what_is_there_already_is_not_sent),
        T(test_a_file_that_has_changed_begins_from_its_start),
        T(test_going_on_that_is_refused_begins_from_the_start),
        T(test_large_files_are_looked_for_first),
        T(test_other_servers_are_not_asked),
        T(test_progress_renews_the_tries),
        T(test_going_on_is_given_up_at_every_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
