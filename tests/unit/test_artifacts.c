/* SPDX-License-Identifier: MIT */
/* The life of a save, event by event: what the backend is asked, and that whoever waits is answered
 * exactly once when it is given up at any moment. Whole saves are in tests/e2e/. */
#include "unit.h"

#include "service/upload/artifact.h"
#include "service/upload/artifact_impl.h"

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
#include <unistd.h>

struct fixture {
    struct artifacts *a;
    struct artifact_ask ask;
    uv_loop_t loop;
    char dir[64];
    int n_told, n_finished, finished_error, n_answers;
    char told[900], error[600], id[100];
    int n_events;
};

static struct fixture x;

static void on_tell(void *ctx, bool error, const char *text)
{
    x.n_told++;
    snprintf(x.told, sizeof x.told, "%s", text);
}

static void on_logged(void *ctx, struct str type, const char *name, const char *id)
{
}

static void on_finished(void *ctx, int error)
{
    x.n_finished++;
    x.finished_error = error;
}

static void on_answer(struct artifact_ask *ask, struct str response)
{
    x.n_answers++;
    snprintf(x.id, sizeof x.id, "%.*s", STR_ARG(wire_find_bytes(response, 1)));
    snprintf(x.error, sizeof x.error, "%.*s", STR_ARG(wire_find_bytes(response, 2)));
}

static int setup(void **state)
{
    x = (struct fixture){.ask.done = on_answer};
    snprintf(x.dir, sizeof x.dir, "/tmp/test_artifacts_XXXXXX");
    assert_non_null(mkdtemp(x.dir));
    setenv("WANDB_CACHE_DIR", x.dir, 1);
    fake_net_begin();
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    artifacts_free(x.a);
    fake_net_end();
    snprintf(command, sizeof command, "rm -rf %s", x.dir);
    return system(command);
}

static void begin(void)
{
    struct artifacts_owner owner = {NULL, on_tell, on_logged, on_finished};
    x.a = artifacts_new(NULL, (struct str){0}, &x.loop, &owner);
}

static void put_file(const char *name, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", x.dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        putc('x', f);
    fclose(f);
}

/* An ArtifactRecord with a small file, a larger one and a reference. */
static void put_record(struct buf *to, const char *name)
{
    static const char *const files[] = {"small", "large"};
    wire_buf_bytes(to, 4, STR("dataset"));
    wire_buf_bytes(to, 5, str_of(name));
    wire_buf_bytes(to, 6, STR("digest"));
    wire_buf_varint(to, 10, 1);
    wire_buf_bytes(to, 11, STR("latest"));
    size_t manifest = wire_buf_begin(to, 12);
    for (int i = 0; i < 3; i++) {
        char path[256];
        size_t entry = wire_buf_begin(to, 4);
        wire_buf_bytes(to, 1, str_of(i < 2 ? files[i] : "ref"));
        wire_buf_bytes(to, 2, STR("AAAAAAAAAAAAAAAAAAAAAA=="));
        if (i < 2) {
            snprintf(path, sizeof path, "%s/%s", x.dir, files[i]);
            wire_buf_bytes(to, 6, str_of(path));
        } else {
            wire_buf_bytes(to, 3, STR("wandb-client-artifact://client/x"));
        }
        wire_buf_end(to, entry);
    }
    wire_buf_end(to, manifest);
    wire_buf_varint(to, 14, 1);
}

static void log_one(const char *name)
{
    AUTO_BUF request = {0};
    put_file("small", 10);
    put_file("large", TRANSFER_SMALL_BYTES + 1);
    size_t mark = wire_buf_begin(&request, 1);
    put_record(&request, name);
    wire_buf_end(&request, mark);
    artifacts_log(x.a, buf_str(&request), &x.ask);
}

static const struct {
    const char *operation, *data;
} answers[] = {
    {"CreateArtifact", "{\"createArtifact\":{\"artifact\":{\"id\":\"QTE=\",\"state\":\"PENDING\","
                       "\"artifactSequence\":{\"latestArtifact\":null}}}}"},
    {"CreateArtifactManifest", "{\"createArtifactManifest\":{\"artifactManifest\":{\"id\":\"TTE=\",\"file\":{"
                               "\"uploadUrl\":\"http://s/manifest\",\"uploadHeaders\":[\"A:b\"]}}}}"},
    {"CreateArtifactFiles",
     "{\"createArtifactFiles\":{\"files\":{\"edges\":["
     "{\"node\":{\"artifact\":{\"id\":\"QTE=\"},\"uploadUrl\":\"http://s/large\",\"uploadHeaders\":[]}},"
     "{\"node\":{\"artifact\":{\"id\":\"QTE=\"},\"uploadUrl\":\"http://s/small\",\"uploadHeaders\":null}}]}}}"},
    {"ClientIDMapping", "{\"clientIDMapping\":{\"serverID\":\"QTE=\"}}"},
    {"CommitArtifact", "{\"commitArtifact\":{\"artifact\":{\"id\":\"QTE=\"}}}"},
    {"UseArtifact", "{\"useArtifact\":{\"artifact\":{\"id\":\"QTE=\"}}}"},
    {"LinkArtifact", "{\"linkArtifact\":{\"versionIndex\":3}}"},
    {"FetchOrgEntityFromEntity",
     "{\"entity\":{\"organization\":{\"name\":\"Org\",\"orgEntity\":{\"name\":\"org-entity\"}}}}"},
};

/* Let one thing that is under way come to its end; false if there is none. */
static bool one_event(void)
{
    fake_net_settle();
    if (fake_net.n_calls > 0) {
        for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
            if (strcmp(answers[i].operation, fake_net.calls[0]->operation) == 0) {
                fake_net_data(answers[i].data);
                return true;
            }
        }
        fail_msg("asked for %s", fake_net.calls[0]->operation);
    }
    if (fake_net.n_requests == 0)
        return false;
    fake_net_answer(200, "");
    return true;
}

static void test_a_save_from_begin_to_end(void **state)
{
    begin();
    log_one("one");
    fake_net_settle();
    assert_int_equal(fake_net.n_calls, 0); /* the run is not known yet */
    artifacts_start(x.a, "us", "p", "run1");
    struct str input = json_at(fake_net_call()->variables, "input");
    assert_true(str_eqz(json_at(input, "entityName"), "\"us\""));
    assert_true(str_eqz(json_at(input, "projectName"), "\"p\""));
    assert_true(str_eqz(json_at(input, "runName"), "\"run1\""));
    assert_true(str_eqz(json_at(input, "aliases"), "[{\"alias\":\"latest\",\"artifactCollectionName\":\"one\"}]"));
    int n = 0;
    while (one_event())
        n++;
    assert_int_equal(x.n_answers, 1);
    assert_string_equal(x.error, "");
    assert_string_equal(x.id, "QTE=");
    assert_int_equal(n, 10); /* 7 calls, 2 files, the manifest */
    artifacts_finish(x.a);
    fake_net_settle();
    assert_int_equal(x.n_finished, 1);
    assert_int_equal(x.finished_error, 0);
}

static void test_saves_of_one_name_wait_for_each_other(void **state)
{
    begin();
    log_one("a");
    log_one("a");
    log_one("b");
    artifacts_start(x.a, "us", "p", "run1");
    fake_net_settle();
    assert_int_equal(fake_net.n_calls, 2);
    while (one_event())
        ;
    assert_int_equal(x.n_answers, 3);
}

enum { N_EVENTS = 11 };

/* What is under way when a save was at its `nth` event, however it ends. */
static void to_event(int nth, bool waits)
{
    AUTO_BUF request = {0};
    begin();
    log_one("one");
    log_one("one");
    wire_buf_bytes(&request, 2, STR("server"));
    wire_buf_bytes(&request, 3, STR("portfolio"));
    wire_buf_bytes(&request, 5, STR("wandb-registry-model"));
    artifacts_link(x.a, buf_str(&request), &x.ask);
    if (nth > 0)
        artifacts_start(x.a, "us", "p", "run1");
    for (int i = 1; i < nth; i++)
        if (!one_event())
            break;
    if (waits)
        fake_net_settle();
}

static void test_abort_at_every_moment(void **state)
{
    for (int nth = 0; nth < 2 * N_EVENTS + 8; nth++) {
        for (int waits = 0; waits < 2; waits++) {
            x.n_answers = x.n_finished = 0;
            to_event(nth, waits);
            artifacts_abort(x.a);
            fake_net_settle();
            assert_int_equal(x.n_answers, 3);
            assert_int_equal(x.n_finished, 1);
            artifacts_free(x.a);
            x.a = NULL;
            fake_net_settle();
        }
    }
}

static void test_free_at_every_moment(void **state)
{
    for (int nth = 0; nth < 2 * N_EVENTS + 8; nth++) {
        for (int waits = 0; waits < 2; waits++) {
            x.n_answers = x.n_finished = x.n_told = 0;
            to_event(nth, waits);
            artifacts_free(x.a);
            x.a = NULL;
            fake_net_settle();
            assert_int_equal(x.n_answers, 3);
            assert_int_equal(x.n_finished, 0);
        }
    }
}

/* Each thing that is asked is refused once: the save ends, and says why. */
static void test_refusals_at_every_moment(void **state)
{
    for (int nth = 1; nth < N_EVENTS; nth++) {
        x.n_answers = 0;
        x.error[0] = 0;
        begin();
        log_one("one");
        artifacts_start(x.a, "us", "p", "run1");
        for (int i = 1; i < nth; i++)
            one_event();
        fake_net_settle();
        if (fake_net.n_calls > 0)
            fake_net_refuse(TARE_EPERM, "not yours");
        else
            fake_net_answer(403, "not yours");
        while (one_event())
            ;
        fake_net_pass_ms(100000);
        while (one_event())
            ;
        assert_int_equal(x.n_answers, 1);
        /* one of two files is asked for once more; the answer here is not for that */
        assert_true(strstr(x.error, "not yours") || strstr(x.error, "another number of upload URLs"));
        artifacts_finish(x.a);
        fake_net_settle();
        artifacts_free(x.a);
        x.a = NULL;
        fake_net_settle();
    }
}

static void test_answers_that_make_no_sense(void **state)
{
    static const char *const nonsense[] = {"{}", "", "[]", "null", "{\"createArtifact\":7}",
                                           "{\"createArtifactFiles\":{\"files\":{\"edges\":[{},{}]}}}",
                                           "{\"createArtifactFiles\":{\"files\":{\"edges\":[7]}}}",
                                           "{\"createArtifact\":{\"artifact\":{\"id\":\"x\",\"state\":\"ODD\"}}}"};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        for (int nth = 1; nth < N_EVENTS; nth++) {
            x.n_answers = 0;
            begin();
            log_one("one");
            artifacts_start(x.a, "us", "p", "run1");
            for (int k = 1; k < nth; k++)
                one_event();
            fake_net_settle();
            if (fake_net.n_calls > 0)
                fake_net_data(nonsense[i]);
            while (one_event())
                ;
            assert_int_equal(x.n_answers, 1);
            artifacts_free(x.a);
            x.a = NULL;
            fake_net_settle();
        }
    }
}

static void test_a_record_that_fails_is_told(void **state)
{
    AUTO_BUF record = {0};
    begin();
    put_record(&record, "lost");
    artifacts_save(x.a, buf_str(&record));
    artifacts_start(x.a, "us", "p", "run1");
    fake_net_call();
    fake_net_refuse(TARE_EPERM, "not yours");
    assert_string_equal(x.told, "Failed to log artifact lost: ArtifactSaver.createArtifact: not yours");
    artifacts_finish(x.a);
    fake_net_settle();
    assert_int_equal(x.finished_error, TARE_EPERM);
}

static void test_records_that_are_none(void **state)
{
    begin();
    artifacts_start(x.a, "us", "p", "run1");
    artifacts_log(x.a, STR("\xff\xff"), &x.ask);
    artifacts_log(x.a, (struct str){0}, &x.ask);
    artifacts_save(x.a, STR("\x62\x03\x22\x01\x0a"));
    artifacts_finish(x.a);
    fake_net_settle();
    assert_int_equal(x.n_answers, 2);
    assert_string_equal(x.error, "nil ArtifactManifest proto");
    assert_int_equal(x.n_finished, 1);
}

static void test_link_to_a_registry(void **state)
{
    AUTO_BUF request = {0};
    begin();
    artifacts_start(x.a, "us", "p", "run1");
    wire_buf_bytes(&request, 2, STR("server"));
    wire_buf_bytes(&request, 3, STR("portfolio"));
    wire_buf_bytes(&request, 4, STR("team"));
    wire_buf_bytes(&request, 5, STR("wandb-registry-model"));
    wire_buf_bytes(&request, 6, STR("gold"));
    artifacts_link(x.a, buf_str(&request), &x.ask);
    assert_true(one_event());
    assert_true(str_eqz(fake_net_call()->variables,
                        "{\"artifactPortfolioName\":\"portfolio\",\"entityName\":\"org-entity\","
                        "\"projectName\":\"wandb-registry-model\",\"aliases\":[{\"artifactCollectionName\":"
                        "\"portfolio\",\"alias\":\"gold\"}],\"clientId\":null,\"artifactId\":\"server\"}"));
    assert_true(one_event());
    assert_int_equal(x.n_answers, 1);
    wire_buf_bytes(&request, 7, STR("another org"));
    artifacts_link(x.a, buf_str(&request), &x.ask);
    assert_true(one_event());
    assert_int_equal(x.n_answers, 2);
}

static void test_a_file_that_has_changed_stays_out_of_the_cache(void **state)
{
    char dir[] = "/tmp/tare-test-cache-XXXXXX", path[64], place[120], command[160];
    static const char right[] = "b5e9c1ad071b3e7fc779cfaa5e523818"; /* of "hello", by the reference implementation */
    struct manifest_entry e = {.path = STR("a"), .digest = STR("XUFAKrxLKna5cZ2REBfFkg=="), .size = 5};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(place, sizeof place, "%s/obj/md5/5d/41402abc4b2a76b9719d911017c592", dir);
    assert_int_equal(os_write_file(path, "hello", 5, 0600), 0);
    assert_int_equal(artifact_cache_add_if(dir, &e, path, "b5e9c1ad071b3e7fc779cfaa5e523819"), 0);
    assert_int_equal(access(place, F_OK), -1);
    assert_int_equal(artifact_cache_add_if(dir, &e, path, right), 0);
    assert_int_equal(access(place, F_OK), 0);
    snprintf(command, sizeof command, "rmdir %s/tmp && rm -r %s", dir, dir); /* nothing is left there */
    assert_int_equal(system(command), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_save_from_begin_to_end),   T(test_saves_of_one_name_wait_for_each_other),
        T(test_abort_at_every_moment),      T(test_free_at_every_moment),
        T(test_refusals_at_every_moment),   T(test_answers_that_make_no_sense),
        T(test_a_record_that_fails_is_told), T(test_records_that_are_none),
        T(test_link_to_a_registry),
        cmocka_unit_test(test_a_file_that_has_changed_stays_out_of_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
