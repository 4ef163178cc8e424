/* SPDX-License-Identifier: MIT */
/* Jobs of requests. */
#include "tests/support/store_fixture.h"

#include "server/request.h"
#include "server/server.h"

static int setup(void **state)
{
    return store_fixture_setup(state, "test_request");
}

static int keep_then_write(struct db_conn *c, void *arg, struct err *e)
{
    const char *text = arena_strdup(arg, "a text that takes some room");
    return db_exec(c, e, "INSERT INTO settings (name, value, updated_at) VALUES ('kept', $1, 1)", DB_ARGS(db_t(text ? text : "")));
}

/* Else what found no room would be written as nothing. */
static void test_a_job_whose_arena_is_full_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct server s = {.db = f->db};
    struct arena arena;
    struct request q = {.server = &s, .arena = &arena};
    arena_init(&arena, 16);
    assert_int_equal(request_write(&q, keep_then_write, &arena, &f->e), TARE_EFULL);
    assert_string_equal(f->e.text, "the server is busy");
    arena_fini(&arena);
    arena_init(&arena, 1000);
    assert_int_equal(request_write(&q, keep_then_write, &arena, &f->e), 1); /* the row is not there yet */
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_job_whose_arena_is_full_writes_nothing, setup, store_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
