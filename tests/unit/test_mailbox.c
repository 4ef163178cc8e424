/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "service/stream/mailbox.h"

/* Connections are only pointers to the mailbox. */
static char connections[2];
#define CONN(i) ((struct connection *)(void *)&connections[i])

static uint64_t put(struct mailbox *m, int conn, struct request_list *c, struct request_list *s,
                    const char *id)
{
    return mailbox_put(m, CONN(conn), c, s, str_of(id), str_of("slot"));
}

static void test_each_is_taken_once(void **state)
{
    struct mailbox m;
    struct request_list c = {0}, s = {0};
    struct asked a;
    mailbox_init(&m);
    uint64_t one = put(&m, 0, &c, &s, "one"), two = put(&m, 1, &c, NULL, "two");
    assert_true(one != 0 && two != 0 && one != two);
    assert_true(mailbox_take(&m, two, &a));
    assert_ptr_equal(a.connection, CONN(1));
    assert_true(str_eqz(a.request_id, "two") && str_eqz(a.mailbox_slot, "slot"));
    assert_false(mailbox_take(&m, two, &a));
    assert_true(mailbox_take(&m, one, &a));
    assert_true(str_eqz(a.request_id, "one"));
    assert_null(c.first);
    assert_null(s.first);
    mailbox_fini(&m);
}

static void test_any_takes_the_oldest_of_its_list(void **state)
{
    struct mailbox m;
    struct request_list c[2] = {{0}}, s = {0};
    struct asked a;
    mailbox_init(&m);
    put(&m, 0, &c[0], &s, "a");
    uint64_t b = put(&m, 1, &c[1], &s, "b");
    put(&m, 0, &c[0], &s, "c");
    assert_true(mailbox_take_any(&m, &c[0], &a));
    assert_true(str_eqz(a.request_id, "a"));
    assert_true(mailbox_take_any(&m, &c[0], &a));
    assert_true(str_eqz(a.request_id, "c"));
    assert_false(mailbox_take_any(&m, &c[0], &a));
    assert_true(mailbox_take_any(&m, &s, &a)); /* the other connection's is untouched */
    assert_true(str_eqz(a.request_id, "b"));
    assert_false(mailbox_take(&m, b, &a));
    mailbox_fini(&m);
}

static void test_cancel_is_for_one_connection(void **state)
{
    struct mailbox m;
    struct request_list c[2] = {{0}}, s = {0};
    struct asked a;
    mailbox_init(&m);
    uint64_t mine = put(&m, 0, &c[0], &s, "same"), theirs = put(&m, 1, &c[1], &s, "same");
    assert_false(mailbox_cancel(&m, &c[0], STR("other"), NULL));
    assert_true(mailbox_cancel(&m, &c[0], STR("same"), NULL));
    assert_false(mailbox_cancel(&m, &c[0], STR("same"), NULL));
    assert_false(mailbox_take(&m, mine, &a));
    assert_true(mailbox_take(&m, theirs, &a));
    mailbox_fini(&m);
}

static void test_the_end_frees_what_was_never_answered(void **state)
{
    struct mailbox m;
    struct request_list c = {0}, s = {0};
    mailbox_init(&m);
    for (int i = 0; i < 100; i++)
        put(&m, 0, &c, i % 2 ? &s : NULL, "x");
    mailbox_fini(&m); /* the leak checker sees to the rest */
    assert_null(m.by_serial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_taken_once),
        cmocka_unit_test(test_any_takes_the_oldest_of_its_list),
        cmocka_unit_test(test_cancel_is_for_one_connection),
        cmocka_unit_test(test_the_end_frees_what_was_never_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
