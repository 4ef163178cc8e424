/* SPDX-License-Identifier: MIT */
/* Sync operations over a sender that this file plays: which begin when, in which order, and what
 * becomes of those that fail. */
#include "tests/unit/unit.h"

#include "base/alloc.h"
#include "base/os.h"
#include "journal/encoder.h"
#include "journal/format.h"
#include "record/wire.h"
#include "service/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 8, RECORD_HEADER = 15, RECORD_RUN = 17, RUN_START = 17 };

/* -- the sender -------------------------------------------------------------------------------- */

struct sender {
    struct sender_owner owner;
    char path[512];
    struct str settings;
    bool freed, aborted;
};

static struct sender senders[MOST]; /* in the order they were made */
static size_t n_senders;
static bool refuse_new;

struct sender *sender_new(const struct sender_options *o, const struct sender_owner *owner,
                          struct err *e)
{
    if (refuse_new) {
        err_set(e, TARE_EINVAL, "no backend");
        return NULL;
    }
    struct sender *s = &senders[n_senders++];
    *s = (struct sender){.owner = *owner, .settings = o->settings};
    assert_true(o->is_sync);
    return s;
}

void sender_read(struct sender *s, const char *path, bool live)
{
    snprintf(s->path, sizeof s->path, "%s", path);
}

void sender_end_live(struct sender *s)
{
    s->owner.finished(s->owner.ctx, 0);
}

void sender_free(struct sender *s)
{
    s->freed = true;
}

void sender_abort(struct sender *s)
{
    s->aborted = true;
    s->owner.finished(s->owner.ctx, TARE_ECANCELLED);
}

void sender_operations(const struct sender *s, struct buf *to)
{
}

struct backend *sender_backend(const struct sender *s)
{
    return NULL;
}

const char *backend_app_url(const struct backend *b)
{
    return "http://app";
}

/* -- journals and an operation ----------------------------------------------------------------- */

static char folder[64];
static uv_loop_t loop;
static struct sync *op;
static bool over;
static char said[4096];

static void on_tell(void *ctx, enum sync_severity severity, const char *run, const char *text)
{
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%d %s: %s\n", (int)severity, run, text);
}

static void on_finished(void *ctx)
{
    over = true;
}

static int start(void **state)
{
    strcpy(folder, "/tmp/tare-test-sync-XXXXXX");
    assert_non_null(mkdtemp(folder));
    uv_loop_init(&loop);
    n_senders = 0;
    over = refuse_new = false;
    said[0] = 0;
    op = NULL;
    return 0;
}

static int stop(void **state)
{
    char command[128];
    sync_free(op);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static void put(struct journal_encoder *enc, struct buf *out, uint32_t kind, struct str body)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, kind, body);
    assert_int_equal(journal_encode(enc, out, record.data, record.len), 0);
}

/* A journal with the record of run `id`, which began at `start_s`; none if `id` is NULL. */
static void write_journal(const char *name, const char *id, uint64_t start_s)
{
    struct journal_encoder enc;
    AUTO_BUF out = {0}, run = {0};
    uint8_t header[JOURNAL_HEADER_BYTES];
    journal_put_header(header);
    buf_append(&out, header, sizeof header);
    journal_encoder_init(&enc, JOURNAL_HEADER_BYTES);
    put(&enc, &out, RECORD_HEADER, (struct str){0});
    if (id) {
        wire_buf_bytes(&run, 1, str_of(id));
        wire_buf_bytes(&run, 2, STR("ent"));
        wire_buf_bytes(&run, 3, STR("proj"));
        size_t mark = wire_buf_begin(&run, RUN_START);
        wire_buf_varint(&run, 1, start_s);
        wire_buf_end(&run, mark);
        put(&enc, &out, RECORD_RUN, buf_str(&run));
    }
    assert_int_equal(os_write_file(path_of(name), out.data, out.len, 0600), 0);
}

static struct sync *make(const struct sender_changes *changes)
{
    struct sync_options o = {.loop = &loop, .cwd = folder};
    if (changes)
        o.changes = *changes;
    op = sync_new(&o, &(struct sync_owner){NULL, on_tell, on_finished});
    return op;
}

/* Until `n` senders were made, or it is over. */
static void run_until(size_t n)
{
    while (n_senders < n && !over)
        uv_run(&loop, UV_RUN_ONCE);
}

static void run_until_over(void)
{
    while (!over)
        uv_run(&loop, UV_RUN_ONCE);
}

static void turn_some(void)
{
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void finish(size_t i, int error)
{
    senders[i].owner.finished(senders[i].owner.ctx, error);
}

static bool is_marked(const char *name)
{
    char mark[600];
    snprintf(mark, sizeof mark, "%s.synced", path_of(name));
    return access(mark, F_OK) == 0;
}

/* -- tests ------------------------------------------------------------------------------------- */

static void test_what_arrived_is_marked(void **state)
{
    write_journal("a.wandb", "a", 1);
    make(NULL);
    sync_add(op, "a.wandb");
    sync_start(op, 2);
    run_until(1);
    assert_string_equal(senders[0].path, path_of("a.wandb"));
    finish(0, 0);
    run_until_over();
    assert_true(senders[0].freed);
    assert_true(is_marked("a.wandb"));
    assert_int_equal(sync_file(op, 0).state, SYNC_DONE);
    assert_non_null(strstr(said, "20 ent/proj/a: Finished syncing a.wandb"));
}

static void test_what_was_given_up_is_not_marked(void **state)
{
    write_journal("a.wandb", "a", 1);
    make(NULL);
    sync_add(op, path_of("a.wandb"));
    sync_start(op, 2);
    run_until(1);
    senders[0].owner.run_failed(senders[0].owner.ctx, 2, "no such key");
    run_until_over();
    assert_false(is_marked("a.wandb"));
    assert_string_equal(sync_file(op, 0).why, "no such key");
    assert_non_null(strstr(said, "40 ent/proj/a: no such key"));
}

static void test_parts_of_a_run_follow_one_another(void **state)
{
    write_journal("late.wandb", "a", 30);
    write_journal("early.wandb", "a", 10);
    write_journal("other.wandb", "b", 20);
    make(NULL);
    sync_add(op, "late.wandb");
    sync_add(op, "early.wandb");
    sync_add(op, "other.wandb");
    sync_start(op, 9);
    run_until(2);
    turn_some();
    assert_int_equal(n_senders, 2);
    assert_string_equal(senders[0].path, path_of("early.wandb"));
    assert_string_equal(senders[1].path, path_of("other.wandb"));
    finish(0, 0);
    run_until(3);
    assert_string_equal(senders[2].path, path_of("late.wandb"));
    finish(1, 0);
    finish(2, 0);
    run_until_over();
}

static void test_a_new_id_makes_them_parts_of_one_run(void **state)
{
    write_journal("b.wandb", "b", 20);
    write_journal("a.wandb", "a", 10);
    make(&(struct sender_changes){.run_id = "one"});
    sync_add(op, "b.wandb");
    sync_add(op, "a.wandb");
    sync_start(op, 9);
    run_until(1);
    turn_some();
    assert_int_equal(n_senders, 1);
    assert_string_equal(senders[0].path, path_of("a.wandb"));
    assert_string_equal(sync_file(op, 0).run, "ent/proj/one");
    finish(0, TARE_EPROTO);
    run_until_over();
    assert_int_equal(n_senders, 1);
    assert_int_equal(sync_file(op, 0).state, SYNC_FAILED);
}

static void test_no_more_at_once_than_asked_for(void **state)
{
    char name[16], id[2] = "a";
    make(NULL);
    for (int i = 0; i < 5; i++, id[0]++) {
        snprintf(name, sizeof name, "%d.wandb", i);
        write_journal(name, id, 1);
        sync_add(op, name);
    }
    sync_start(op, 2);
    for (size_t i = 0; i < 5; i++) {
        size_t expected = i + 2 < 5 ? i + 2 : 5;
        run_until(expected);
        turn_some();
        assert_int_equal(n_senders, expected);
        finish(i, 0);
    }
    run_until_over();
}

static void test_one_that_cannot_be_read_fails_alone(void **state)
{
    write_journal("a.wandb", "a", 1);
    write_journal("empty.wandb", NULL, 0);
    assert_int_equal(os_write_file(path_of("no.wandb"), "hello", 5, 0600), 0);
    make(NULL);
    sync_add(op, "missing.wandb");
    sync_add(op, "empty.wandb");
    sync_add(op, "no.wandb");
    sync_add(op, "a.wandb");
    sync_start(op, 1);
    run_until(1);
    finish(0, 0);
    run_until_over();
    assert_non_null(strstr(said, "40 : File does not exist: missing.wandb"));
    assert_int_equal(sync_file(op, 1).state, SYNC_FAILED);
    assert_int_equal(sync_file(op, 2).state, SYNC_FAILED);
    assert_int_equal(sync_file(op, 3).state, SYNC_DONE);
}

static void test_abort_ends_what_is_under_way_and_what_waits(void **state)
{
    write_journal("a.wandb", "a", 1);
    write_journal("b.wandb", "b", 1);
    make(NULL);
    sync_add(op, "a.wandb");
    sync_add(op, "b.wandb");
    sync_start(op, 1);
    run_until(1);
    sync_abort(op);
    run_until_over();
    assert_true(senders[0].aborted);
    assert_int_equal(n_senders, 1);
    assert_string_equal(sync_file(op, 0).why, "Cancelled.");
    assert_string_equal(sync_file(op, 1).why, "Cancelled.");
}

static void test_freed_while_under_way(void **state)
{
    write_journal("a.wandb", "a", 1);
    make(NULL);
    sync_add(op, "a.wandb");
    sync_start(op, 1);
    run_until(1);
    sync_free(op);
    op = NULL;
    turn_some();
    assert_true(senders[0].freed);
}

static void test_a_backend_that_cannot_be_is_said(void **state)
{
    write_journal("a.wandb", "a", 1);
    refuse_new = true;
    make(NULL);
    sync_add(op, "a.wandb");
    sync_start(op, 1);
    run_until_over();
    assert_non_null(strstr(said, "40 ent/proj/a: no backend"));
}

/* What the program said of its own way to the backend is not for a sync; the folder is. */
static void test_settings_are_those_of_the_sync(void **state)
{
    AUTO_BUF settings = {0};
    wire_buf_bytes(&settings, 30, STR("\x08\x01"));
    wire_buf_bytes(&settings, 57, STR("\x0a\x01u"));
    wire_buf_bytes(&settings, 133, STR("\x0a\x01x"));
    write_journal("a.wandb", "a", 1);
    op = sync_new(&(struct sync_options){.loop = &loop, .cwd = folder, .settings = buf_str(&settings)},
                  &(struct sync_owner){NULL, on_tell, on_finished});
    sync_add(op, "a.wandb");
    sync_start(op, 1);
    run_until(1);
    struct str kept = senders[0].settings;
    assert_int_equal(wire_find_bytes(kept, 30).n, 0);
    assert_true(str_eq(wire_find_bytes(wire_find_bytes(kept, 57), 1), STR("u")));
    assert_true(str_eqz(wire_find_bytes(wire_find_bytes(kept, 133), 1), folder));
    finish(0, 0);
    run_until_over();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_arrived_is_marked, start, stop),
        cmocka_unit_test_setup_teardown(test_what_was_given_up_is_not_marked, start, stop),
        cmocka_unit_test_setup_teardown(test_parts_of_a_run_follow_one_another, start, stop),
        cmocka_unit_test_setup_teardown(test_a_new_id_makes_them_parts_of_one_run, start, stop),
        cmocka_unit_test_setup_teardown(test_no_more_at_once_than_asked_for, start, stop),
        cmocka_unit_test_setup_teardown(test_one_that_cannot_be_read_fails_alone, start, stop),
        cmocka_unit_test_setup_teardown(test_abort_ends_what_is_under_way_and_what_waits, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_freed_while_under_way, start, stop),
        cmocka_unit_test_setup_teardown(test_a_backend_that_cannot_be_is_said, start, stop),
        cmocka_unit_test_setup_teardown(test_settings_are_those_of_the_sync, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
