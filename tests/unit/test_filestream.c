/* SPDX-License-Identifier: MIT */
#include "tests/support/store_fixture.h"

#include "base/alloc.h"
#include "server/ingest/filestream.h"
#include "server/store/retention.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct filestream_answer last_answer;

static int setup(void **state)
{
    int rc = store_fixture_setup(state, "test_filestream");
    store_fixture_make_runs(*state);
    return rc;
}

/* ---- posting and waiting ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
    int rc;
    struct filestream_answer answer;
    struct err e;
};

static void on_done(int rc, const struct filestream_answer *answer, const struct err *e, void *arg)
{
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    w->answer = *answer;
    w->e = *e;
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

static int post_of(struct fixture *f, int64_t run, int64_t writer, struct str body)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    struct buf copy = {0};
    buf_put_str(&copy, body);
    int rc = filestream_post(f->db, run, writer, &copy, on_done, &w, &f->e);
    assert_null(copy.data); /* taken, whatever came of it */
    if (rc)
        return rc;
    pthread_mutex_lock(&w.lock);
    while (!w.finished)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    last_answer = w.answer;
    f->e = w.e;
    return w.rc;
}

static int post_str(struct fixture *f, int64_t run, struct str body)
{
    return post_of(f, run, 0, body);
}

static int post(struct fixture *f, const char *body)
{
    return post_str(f, 1, str_of(body));
}

static void assert_run(struct fixture *f, const char *column, const char *want)
{
    struct db_conn *c;
    struct db_rows *rows;
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT %s FROM runs WHERE id = 1", column);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(db_first(c, &f->e, &rows, sql, DB_NONE), 1);
    if (want)
        assert_string_equal(db_text(rows, 0), want);
    else
        assert_true(db_is_null(rows, 0));
    db_rows_end(rows);
    db_read_end(c);
}

static int set_run(struct db_conn *c, void *arg, struct err *e)
{
    char sql[200];
    snprintf(sql, sizeof sql, "UPDATE runs SET %s WHERE id = 1", (const char *)arg);
    return db_exec(c, e, sql, DB_NONE);
}

static int keep_row(void *arg, struct str row)
{
    struct fixture *f = arg;
    buf_put_str(&f->text, row);
    buf_putc(&f->text, '\n');
    return 0;
}

static const char *history(struct fixture *f, enum history_stream stream)
{
    struct db_conn *c;
    struct history_query q = {.run = 1, .stream = stream, .max_step = INT64_MAX};
    buf_clear(&f->text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(history_scan(c, &q, keep_row, f, &f->e), 0);
    db_read_end(c);
    return buf_z(&f->text);
}

static int keep_line(void *arg, int64_t number, struct str line)
{
    struct fixture *f = arg;
    return buf_printf(&f->text, "%lld:%.*s\n", (long long)number, STR_ARG(line));
}

static const char *console(struct fixture *f, int64_t from, int64_t max)
{
    struct db_conn *c;
    buf_clear(&f->text);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(console_read(c, 1, from, max, keep_line, f, &f->e), 0);
    db_read_end(c);
    return buf_z(&f->text);
}

/* ---- tests ---- */

static void test_a_run_from_start_to_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(post(f, "{}"), 0);
    assert_int_equal(post(f, "{\"files\":{\"wandb-events.jsonl\":{\"offset\":0,\"content\":"
                             "[\"{\\\"_wandb\\\":true,\\\"system.cpu\\\":1.5}\"]}}}"), 0);
    assert_int_equal(post(f, "{\"files\":{\"output.log\":{\"content\":[\"a\",\"b\\n\"],\"offset\":0},"
                             "\"wandb-history.jsonl\":{\"offset\":0,\"content\":["
                             "\"{\\\"_step\\\":0,\\\"loss\\\":0.5}\",\"{\\\"_step\\\":1,\\\"loss\\\":NaN}\"]},"
                             "\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"loss\\\":NaN}\"]}},"
                             "\"uploaded\":[\"config.yaml\"],\"complete\":true,\"exitcode\":0}"), 0);
    assert_false(last_answer.stopped);
    assert_string_equal(history(f, HISTORY_METRICS), "{\"_step\":0,\"loss\":0.5}\n{\"_step\":1,\"loss\":NaN}\n");
    assert_string_equal(history(f, HISTORY_EVENTS), "{\"_wandb\":true,\"system.cpu\":1.5}\n");
    assert_string_equal(console(f, 0, 10), "0:a\n1:b\n\n");
    assert_run(f, "summary", "{\"loss\":NaN}");
    assert_run(f, "state", "finished");
    assert_run(f, "exitcode", "0");
    assert_run(f, "history_lines", "2");
    assert_run(f, "events_lines", "1");
    assert_run(f, "log_lines", "2");
    assert_run(f, "last_step", "1");
}

static void test_escapes_of_all_kinds(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(post(f, " { \"files\" : { \"output.log\" : { \"offset\" : 0 , \"content\" : [ "
                             "\"\\u00e9 \\ud83d\\ude00 \\t\\/\\\\ \\\"quoted\\\" long enough for words\" , \"\" ] } } } "), 0);
    assert_string_equal(console(f, 0, 10), "0:\xc3\xa9 \xf0\x9f\x98\x80 \t/\\ \"quoted\" long enough for words\n1:\n");
    assert_int_equal(post(f, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":"
                             "[\"{\\\"s\\\":\\\"a\\\\n\\\\u003c\\u003c\\\"}\"]}}}"), 0);
    assert_string_equal(history(f, HISTORY_METRICS), "{\"s\":\"a\\n\\u003c<\"}\n");
}

/* The members before the text are taken as they stand, so the slow way begins in the middle of the string. */
static void test_an_escape_behind_members_that_were_taken_as_they_stood(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(post(f, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":["
                             "\"{\\\"a\\\":0,\\\"s\\\":\\\"\\u003c0\\u003e\\\"}\","
                             "\"{\\\"a\\\":1,\\\"s\\\":\\\"\\u003c1\\u2028\\\"}\","
                             "\"{\\\"a\\\":2,\\\"s\\\":\\\"\\\\\\\"\\u0026\\\"}\"]}}}"), 0);
    assert_string_equal(history(f, HISTORY_METRICS), "{\"a\":0,\"s\":\"<0>\"}\n"
                                                     "{\"a\":1,\"s\":\"<1\u2028\"}\n"
                                                     "{\"a\":2,\"s\":\"\\\"&\"}\n");
}

static void test_posts_that_come_twice_change_nothing(void **state)
{
    struct fixture *f = *state;
    const char *first = "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{\\\"a\\\":1}\",\"{\\\"a\\\":2}\"]}}}";
    const char *second = "{\"files\":{\"wandb-history.jsonl\":{\"offset\":2,\"content\":[\"{\\\"a\\\":3}\"]}}}";
    assert_int_equal(post(f, second), 0);
    assert_int_equal(post(f, first), 0);
    assert_int_equal(post(f, second), 0);
    assert_int_equal(post(f, first), 0);
    assert_string_equal(history(f, HISTORY_METRICS), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    assert_run(f, "history_lines", "3");
}

static void test_states(void **state)
{
    struct fixture *f = *state;
    db_write(f->db, set_run, "state = 'crashed'", &f->e);
    assert_int_equal(post(f, "{}"), 0);
    assert_run(f, "state", "running");
    assert_int_equal(post(f, "{\"preempting\":true}"), 0);
    assert_run(f, "state", "preempting");
    assert_int_equal(post(f, "{\"complete\":true,\"exitcode\":143}"), 0);
    assert_run(f, "state", "preempted");
    db_write(f->db, set_run, "state = 'running', stop_requested = 1", &f->e);
    assert_int_equal(post(f, "{\"complete\":false,\"exitcode\":null}"), 0);
    assert_true(last_answer.stopped);
    AUTO_BUF json = {0};
    filestream_put_answer(&json, &last_answer);
    assert_string_equal(buf_z(&json), "{\"exitcode\":null,\"limits\":{},\"stopped\":true}");
    assert_int_equal(post(f, "{\"complete\":true,\"exitcode\":255}"), 0);
    assert_run(f, "state", "killed");
    assert_int_equal(post(f, "{}"), 0); /* late */
    assert_run(f, "state", "killed");
    db_write(f->db, set_run, "state = 'running', stop_requested = 0", &f->e);
    assert_int_equal(post(f, "{\"complete\":true,\"exitcode\":1}"), 0);
    assert_run(f, "state", "failed");
}

static void test_malformed_bodies_are_refused_and_store_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "[]", "{", "{\"files\":[]}", "{\"files\":{\"wandb-history.jsonl\":[]}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{}\",\"[]\"]}}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[{}]}}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{}\" \"{}\"]}}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{}\"]}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{}\"]}}}x",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":-1,\"content\":[\"{}\"]}}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":\"0\",\"content\":[\"{}\"]}}}",
        "{\"files\":{\"wandb-history.jsonl\":{\"offset\":1e300,\"content\":[\"{}\"]}}}",
        "{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"a\\\":}\"]}}}",
        "{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"3\"]}}}",
        "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"a\\q\"]}}}",
        "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"a\nb\"]}}}",
        "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"a",
        "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"\\u12",
        "{\"exitcode\":\"x\"}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{,}", "nonsense"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = post(f, bad[i]);
        if (rc != TARE_EFORMAT)
            fail_msg("%s: %d", bad[i], rc);
    }
    assert_run(f, "history_lines", "0");
    assert_run(f, "log_lines", "0");
    assert_int_equal(post_str(f, 99, STR("{}")), TARE_ENOTFOUND);
    assert_int_equal(post(f, ""), 0); /* an empty body is a heartbeat */
    assert_int_equal(post(f, "{\"files\":{\"other.txt\":{\"offset\":0,\"content\":[1,2]}},\"new\":{\"a\":[]}}"), 0);
}

static int write_lines(struct db_conn *c, void *arg, struct err *e)
{
    const int *at = arg; /* first, count, tag */
    struct str lines[400];
    char text[400][48];
    for (int i = 0; i < at[1]; i++) {
        int n = snprintf(text[i], sizeof text[i], "line %d of write %d", at[0] + i, at[2]);
        lines[i] = str_make(text[i], (size_t)n);
    }
    return console_write(c, 1, at[0], lines, (size_t)at[1], e);
}

static int clear_console(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return console_clear(c, 1, e);
}

static void test_console_lines_may_be_written_again(void **state)
{
    struct fixture *f = *state;
    int want[2000];
    memset(want, -1, sizeof want);
    srand(3);
    for (int tag = 0; tag < 200; tag++) {
        int at[] = {rand() % 1500, 1 + rand() % (tag % 10 ? 12 : 400), tag};
        assert_int_equal(db_write(f->db, write_lines, at, &f->e), 0);
        for (int i = 0; i < at[1]; i++)
            want[at[0] + i] = tag;
    }
    const char *p = console(f, 0, 5000);
    for (int i = 0; i < 2000; i++) {
        char line[80];
        if (want[i] < 0)
            continue;
        int n = snprintf(line, sizeof line, "%d:line %d of write %d\n", i, i, want[i]);
        if (strncmp(p, line, (size_t)n) != 0)
            fail_msg("line %d: %.60s", i, p);
        p += n;
    }
    assert_string_equal(p, "");
}

static void post_lines(struct fixture *f, int64_t writer, int offset, const char *lines)
{
    char body[500];
    snprintf(body, sizeof body, "{\"files\":{\"output.log\":{\"offset\":%d,\"content\":[%s]}}}", offset, lines);
    assert_int_equal(post_of(f, 1, writer, str_of(body)), 0);
}

static void test_clients_that_share_a_run_keep_their_console_lines(void **state)
{
    struct fixture *f = *state;
    post_lines(f, 5, 0, "\"a0\",\"a1\"");
    post_lines(f, 7, 0, "\"b0\"");
    post_lines(f, 5, 2, "\"a2\"");
    post_lines(f, 7, 1, "\"b1\",\"b2\"");
    post_lines(f, 7, 3, "\"b3\"");
    assert_string_equal(console(f, 0, 50), "0:a0\n1:a1\n2:b0\n3:a2\n4:b1\n5:b2\n6:b3\n");
    post_lines(f, 5, 2, "\"a2\""); /* again */
    post_lines(f, 5, 1, "\"A1\",\"A2\",\"a3\"");
    post_lines(f, 7, 0, "\"B0\",\"B1\"");
    post_lines(f, 9, 10, "\"c10\"");
    post_lines(f, 9, 8, "\"c8\",\"c9\",\"C10\",\"c11\"");
    assert_string_equal(console(f, 0, 50),
                        "0:a0\n1:A1\n2:B0\n3:A2\n4:B1\n5:b2\n6:b3\n7:a3\n8:C10\n9:c8\n10:c9\n11:c11\n");
    assert_run(f, "log_lines", "12");
    assert_int_equal(db_write(f->db, clear_console, NULL, &f->e), 0);
    post_lines(f, 5, 2, "\"new\"");
    assert_string_equal(console(f, 0, 50), "0:new\n");
}

static void test_clients_that_share_a_run_keep_their_summaries(void **state)
{
    struct fixture *f = *state;
#define SUMMARY(text) STR("{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"" text "\"]}}}")
    assert_int_equal(post_of(f, 1, 5, SUMMARY("{\\\"loss\\\":1,\\\"a\\\":{\\\"x\\\":1}}")), 0);
    assert_int_equal(post_of(f, 1, 7, SUMMARY("{\\\"loss\\\":2,\\\"b\\\":NaN}")), 0);
    assert_int_equal(post_of(f, 1, 5, SUMMARY("{}")), 0);
    assert_run(f, "summary", "{\"a\":{\"x\":1},\"loss\":2,\"b\":NaN}");
    assert_int_equal(post_of(f, 1, 0, SUMMARY("{\\\"c\\\":1}")), 0); /* an only client's stands alone */
    assert_run(f, "summary", "{\"c\":1}");
}

static void test_console_pages(void **state)
{
    struct fixture *f = *state;
    int at[] = {0, 100, 1};
    db_write(f->db, write_lines, at, &f->e);
    assert_string_equal(console(f, 98, 10), "98:line 98 of write 1\n99:line 99 of write 1\n");
    assert_string_equal(console(f, 3, 1), "3:line 3 of write 1\n");
    assert_string_equal(console(f, 100, 10), "");
}

static void assert_parts(const char *line, const char *time, const char *level, const char *label, const char *text)
{
    struct console_parts p;
    AUTO_BUF scratch = {0};
    console_split(str_of(line), &scratch, &p);
    assert_true(str_eqz(p.timestamp, time) && str_eqz(p.level, level) && str_eqz(p.label, label) &&
                str_eqz(p.text, text));
}

static void test_what_console_lines_say(void **state)
{
    (void)state;
    assert_parts("2026-11-23T10:58:13.610258 hello", "2026-11-23T10:58:13.610258", "", "", "hello");
    assert_parts("ERROR 2026-11-23T10:58:13.610258 [w0] oh no", "2026-11-23T10:58:13.610258", "error", "w0", "oh no");
    assert_parts("{\"ts\":\"2026\",\"content\":\"a\\nb\",\"level\":\"error\"}", "2026", "error", "", "a\nb");
    assert_parts("{\"not\":\"one\"}", "", "", "", "{\"not\":\"one\"}");
    assert_parts("just text [x]", "", "", "", "just text [x]");
    assert_parts("", "", "", "", "");
}

static void test_the_tail_of_a_run_that_ended_is_merged(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"files\":{\"wandb-history.jsonl\":{\"offset\":%d,\"content\":[\"{\\\"_step\\\":%d}\"]}}}", i, i);
        assert_int_equal(post(f, body), 0);
    }
    assert_run(f, "tail_segments", "20");
    assert_int_equal(history_merge_due(f->db, &f->e), 0);
    assert_int_equal(post(f, "{\"complete\":true,\"exitcode\":0}"), 0);
    assert_int_equal(history_merge_due(f->db, &f->e), 20);
    assert_run(f, "tail_segments", "0");
    assert_run(f, "history_lines", "20");
    assert_int_equal(post(f, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":20,\"content\":[\"{}\"]},"
                             "\"wandb-events.jsonl\":{\"offset\":0,\"content\":[\"{}\"]}}}"), 0);
    assert_run(f, "tail_segments", "2");
    assert_int_equal(history_merge_due(f->db, &f->e), 0); /* settled as they are */
    assert_run(f, "tail_segments", "0");
    assert_run(f, "tail_lines", "0");
}

static int set_rule(struct db_conn *c, void *arg, struct err *e)
{
    return retention_set(c, "ann", arg, 30, e);
}

static void count_rule(void *arg, const char *entity, const char *project, int64_t days)
{
    assert_string_equal(entity, "ann");
    assert_string_equal(project, "p");
    *(int64_t *)arg += days;
}

static void test_runs_leave_when_their_time_is_over(void **state)
{
    struct fixture *f = *state;
    const int64_t day = INT64_C(86400000000);
    int64_t days = 0;
    struct db_conn *c;
    assert_int_equal(post(f, "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"a\"]},\"wandb-history.jsonl\":"
                             "{\"offset\":0,\"content\":[\"{}\"]}},\"complete\":true}"), 0);
    db_write(f->db, set_run, "heartbeat_at = 0", &f->e);
    assert_int_equal(retention_round(f->db, 100 * day, 10, &f->e), 0);
    assert_int_equal(db_write(f->db, set_rule, "none", &f->e), TARE_ENOTFOUND);
    assert_int_equal(db_write(f->db, set_rule, "p", &f->e), 0);
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    assert_int_equal(retention_list(c, count_rule, &days, &f->e), 0);
    db_read_end(c);
    assert_int_equal(days, 30);
    assert_int_equal(retention_round(f->db, 29 * day, 10, &f->e), 0);
    assert_string_equal(console(f, 0, 9), "0:a\n");
    assert_int_equal(retention_round(f->db, 31 * day, 10, &f->e), 1);
    assert_int_equal(retention_round(f->db, 31 * day, 10, &f->e), 0);
    assert_string_equal(console(f, 0, 9), "");
    assert_string_equal(history(f, HISTORY_METRICS), "");
    assert_int_equal(post(f, "{}"), TARE_ENOTFOUND);
}

static void test_running_out_of_memory_is_an_error_not_a_crash(void **state)
{
    struct fixture *f = *state;
    const char *body = "{\"files\":{\"output.log\":{\"offset\":0,\"content\":[\"a\"]},\"wandb-history.jsonl\":"
                       "{\"offset\":0,\"content\":[\"{\\\"_step\\\":0,\\\"b\\\":{\\\"c\\\":\\\"x\\\"}}\"]},"
                       "\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{}\"]}}}";
    for (int nth = 1;; nth++) {
        mem_fault_set(nth, 1);
        int rc = post(f, body);
        int fired = mem_fault_fired();
        mem_fault_set(0, 0);
        if (!fired) {
            assert_int_equal(rc, 0);
            break;
        }
        codec_pool_clear();
    }
    assert_string_equal(history(f, HISTORY_METRICS), "{\"_step\":0,\"b\":{\"c\":\"x\"}}\n");
    assert_string_equal(console(f, 0, 9), "0:a\n");
}

/* ---- a server that dies ---- */

static void *merge_for_ever(void *db)
{
    for (;;) {
        struct err e = {0};
        if (history_merge(db, 1, false, &e) < 0)
            _exit(1);
        usleep(2000);
    }
    return NULL;
}

/* Posts lines with random retries and merges until killed; tells each acknowledged line number. */
static void post_until_killed(const char *path, int fd, int start)
{
    struct fixture f = {.url = path};
    struct db_options options = {.url = path};
    pthread_t merger;
    if (db_open(&options, &f.db, &f.e) != 0 || pthread_create(&merger, NULL, merge_for_ever, f.db) != 0)
        _exit(1);
    srand((unsigned)start);
    for (int at = start;;) {
        AUTO_BUF body = {0};
        int back = rand() % 4 == 0 ? rand() % (at < 8 ? at + 1 : 8) : 0, n = 1 + rand() % 6;
        buf_printf(&body, "{\"files\":{\"wandb-history.jsonl\":{\"offset\":%d,\"content\":[", at - back);
        for (int i = at - back; i < at + n; i++)
            buf_printf(&body, "%s\"{\\\"_step\\\":%d,\\\"x\\\":%d.5}\"", i > at - back ? "," : "", i, 2 * i);
        buf_puts(&body, "]}}}");
        if (post_str(&f, 1, buf_str(&body)) != 0)
            _exit(1);
        at += n;
        if (write(fd, &at, sizeof at) != sizeof at)
            _exit(1);
    }
}

static void test_acknowledged_lines_survive_kills(void **state)
{
    struct fixture *f = *state;
    if (f->url != f->path)
        skip();
    int lines = 0;
    for (int round = 0; round < 12; round++) {
        db_close(f->db);
        f->db = NULL;
        codec_pool_clear();
        int pipe_fds[2], at;
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipe_fds[0]);
            post_until_killed(f->path, pipe_fds[1], lines);
        }
        close(pipe_fds[1]);
        int until = lines + 20 + round * 11;
        while (read(pipe_fds[0], &at, sizeof at) == sizeof at) {
            lines = at;
            if (lines >= until)
                kill(child, SIGKILL);
        }
        close(pipe_fds[0]);
        waitpid(child, NULL, 0);
        struct db_options options = {.url = f->path};
        assert_int_equal(db_open(&options, &f->db, &f->e), 0);
        struct db_conn *c;
        assert_int_equal(db_verify(f->db, &f->e), 0);
        assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
        assert_int_equal(history_verify(c, &f->e), 0);
        db_read_end(c);
        const char *p = history(f, HISTORY_METRICS);
        int i = 0;
        for (; *p; i++) {
            char line[64];
            int n = snprintf(line, sizeof line, "{\"_step\":%d,\"x\":%d.5}\n", i, 2 * i);
            if (strncmp(p, line, (size_t)n) != 0)
                fail_msg("line %d: %.40s", i, p);
            p += n;
        }
        assert_true(i >= lines);
        lines = i; /* the last post may have been stored without an answer */
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_run_from_start_to_end),
        TEST(test_escapes_of_all_kinds),
        TEST(test_an_escape_behind_members_that_were_taken_as_they_stood),
        TEST(test_posts_that_come_twice_change_nothing),
        TEST(test_states),
        TEST(test_malformed_bodies_are_refused_and_store_nothing),
        TEST(test_console_lines_may_be_written_again),
        TEST(test_clients_that_share_a_run_keep_their_console_lines),
        TEST(test_clients_that_share_a_run_keep_their_summaries),
        TEST(test_console_pages),
        TEST(test_what_console_lines_say),
        TEST(test_the_tail_of_a_run_that_ended_is_merged),
        TEST(test_runs_leave_when_their_time_is_over),
        TEST(test_running_out_of_memory_is_an_error_not_a_crash),
        TEST(test_acknowledged_lines_survive_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
