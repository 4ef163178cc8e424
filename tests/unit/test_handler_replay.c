/* SPDX-License-Identifier: MIT */
/* The journal tells the summary exactly: whatever is logged, defined and set, a replay of what the
 * handler wrote so far ends with the handler's own summary; and so does, from its summary records
 * alone, a reader like the peer's, once what is due has been written. */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "journal/replay.h"
#include "service/stream/handler_impl.h"

#include <stdio.h>
#include <string.h>

static struct fake_out f;
static uint64_t seed;

static uint32_t pick(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static const char *const keys[] = {"a", "b", "c", "a/x", "a/y/z", "d.e", "epoch", "b/x", "tr_1",
                                   "tr_2"};
static const char *const values[] = {"1",    "2.5",   "-3",        "NaN",         "\"s\"",
                                     "true", "1e300", "{\"x\":7}", "{\"y\":{}}",  "[1]",
                                     "-0.0", "null",  "1.0",       "{\"x\":null}"};
static const char *const definitions[] = {
    "a summary=min,max",     "b summary=mean step=epoch sync", "tr_* summary=max step=epoch sync",
    "c summary=none",        "d\\.e summary=first,last",       "* summary=min",
    "a.x summary=max hidden", "c summary=last overwrite",      "epoch",
};

#define PICK(list) list[pick(sizeof list / sizeof *list)]

/* A step metric is a number: where it is an object, adding its last number to a row takes the
 * object out of the row, and the journal does not tell of it. */
static const char *value_for(const char *key)
{
    return values[pick(strcmp(key, "epoch") == 0 ? 3 : sizeof values / sizeof *values)];
}

static void do_something(bool with_definitions)
{
    const char *k[3] = {PICK(keys), PICK(keys), PICK(keys)};
    f.now_ns += pick(3) * 300000000;
    switch (with_definitions ? pick(8) : 1 + pick(7)) {
    case 0: fake_define(&f, PICK(definitions)); break;
    case 1: fake_summary(&f, k[0], value_for(k[0]), NULL); break;
    case 2: fake_summary(&f, k[0], "-", NULL); break;
    case 3: fake_log(&f, pick(40), (int)pick(2), k[0], value_for(k[0]), NULL); break;
    default:
        fake_log(&f, NO_STEP, NO_ACTION, k[0], value_for(k[0]), k[1], value_for(k[1]), k[2],
                 value_for(k[2]), NULL);
    }
    if (f.now_ns >= handler_deadline(f.h))
        handler_tick(f.h, f.now_ns);
}

/* Every value that `one` shows, `other` shows too, but for what `skip` begins. */
static void check_covers(const struct summary *one, const struct summary *other, const char *what)
{
    for (uint32_t i = 0; i < one->n; i++) {
        const struct summary_slot *slot = &one->slots[i];
        AUTO_BUF name = {0}, value = {0}, same = {0};
        summary_dotted(&name, slot);
        if (!summary_put_value(one, slot, &value) || str_starts(buf_str(&name), STR("_wandb")))
            continue;
        uint32_t at = summary_find(other, str_make(slot->path, slot->path_len));
        bool shown = at != SUMMARY_NO_SLOT && summary_put_value(other, &other->slots[at], &same);
        if (!shown || !str_eq(buf_str(&value), buf_str(&same)))
            fail_msg("%s: %s is %s and %s", what, buf_z(&name), buf_z(&value),
                     shown ? buf_z(&same) : "nothing");
    }
}

static void check_replay(void)
{
    struct replay r;
    replay_init(&r, NULL, NULL);
    for (size_t i = 0; i < f.n_records; i++)
        assert_true(replay_record(&r, buf_str(&f.records[i])) != 0);
    replay_settle(&r);
    check_covers(&f.h->summary, &r.summary, "handler and replay");
    check_covers(&r.summary, &f.h->summary, "replay and handler");
    replay_fini(&r);
}

static void test_a_replay_ends_with_the_handlers_summary(void **state)
{
    for (uint64_t round = 1; round <= 300; round++) {
        seed = round * 7919;
        fake_start(&f);
        fake_send(&f, 21, STR(""));
        for (int i = 0; i < 30; i++)
            do_something(true);
        check_replay();
        fake_send(&f, 18, STR(""));
        check_replay();
        fake_stop(&f);
    }
}

/* Only summary records, all taken as explicit. A definition shows in them when its metric is logged
 * again, as in the peer's. */
static void test_summary_records_alone_hold_what_is_shown(void **state)
{
    for (uint64_t round = 1; round <= 300; round++) {
        seed = round * 104729;
        fake_start(&f);
        for (int i = 0; i < 4; i++)
            fake_define(&f, PICK(definitions));
        for (int i = 0; i < 30; i++)
            do_something(false);
        fake_send(&f, 18, STR(""));
        struct summary s;
        summary_init(&s, 1);
        for (size_t i = 0; i < f.n_records; i++) {
            Pb__Record *r;
            size_t n_bad;
            assert_int_equal(
                record_decode(&f.arena, f.records[i].data, f.records[i].len, &r, NULL), 0);
            if (r->record_type_case != PB__RECORD__RECORD_TYPE_SUMMARY)
                continue;
            AUTO_BUF body = {0};
            record_encode(&body, &r->summary->base);
            assert_int_equal(summary_apply(&s, buf_str(&body), &n_bad), 0);
        }
        check_covers(&f.h->summary, &s, "handler and its summary records");
        summary_fini(&s);
        fake_stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_replay_ends_with_the_handlers_summary),
        cmocka_unit_test(test_summary_records_alone_hold_what_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
