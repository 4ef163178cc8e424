/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/upload/pace.h"

#include "base/buf.h"
#include "service/limits.h"

#include <stdio.h>

#define S INT64_C(1000000000)

static struct pace p;
static int64_t now;

static int setup(void **state)
{
    now = 100 * S;
    pace_init(&p, now);
    return 0;
}

static void answer(const char *headers)
{
    struct http_request r = {.status = 200};
    buf_puts(&r.answer_headers, headers);
    pace_answer(&p, &r, now);
    buf_fini(&r.answer_headers);
}

static void answer_with(double remaining, double reset_s)
{
    char text[128];
    snprintf(text, sizeof text, "ratelimit-remaining: %g\nratelimit-reset: %g\n", remaining, reset_s);
    answer(text);
}

/* A request goes when it may. */
static void request(void)
{
    now += pace_take_ns(&p, now);
}

static void test_without_a_word_nothing_waits(void **state)
{
    for (int i = 0; i < 100000; i++)
        request();
    assert_true(now - 100 * S < 2 * S);
}

static void test_a_quota_is_used_evenly(void **state)
{
    enum { QUOTA = 600, WINDOW_S = 600 };
    int n = 0, used = 0;
    int64_t full = now;
    while (now < 100 * S + 20 * WINDOW_S * S) {
        request();
        if (now - full >= WINDOW_S * S) {
            full += (now - full) / (WINDOW_S * S) * WINDOW_S * S;
            used = 0;
        }
        used++;
        n++;
        assert_true(used <= QUOTA);
        answer_with(QUOTA - used, (double)(full + WINDOW_S * S - now) / 1e9);
    }
    assert_in_range(n, 20 * QUOTA / 2, 20 * QUOTA);
}

/* A unit of the backend's may be worth several requests. */
static void test_what_a_unit_is_worth_is_learned(void **state)
{
    double left = 1e6;
    for (int i = 0; i < 400; i++) {
        request();
        left -= i % 3 == 0; /* three requests take one */
        answer_with(left, 1e6);
    }
    /* a unit a second is left: some three requests, where five in a row took one or two */
    assert_true(p.limit_per_s >= 2.5 && p.limit_per_s <= 5);
}

static void test_an_empty_quota_is_waited_for_and_not_for_ever(void **state)
{
    for (int i = 0; i < PACE_BURST; i++)
        request();
    answer_with(0, 60);
    int64_t before = now;
    request();
    assert_in_range(now - before, 1, 10 * S + S / 100);
    before = now;
    request();
    assert_in_range(now - before, 10 * S - S / 100, 10 * S + S / 100); /* the least: one in ten seconds */
    assert_true(p.requests_a_unit > 0 && p.requests_a_unit < 1e9);
    now += 70 * S; /* full again: the pace grows */
    request();
    answer_with(1000, 60);
    assert_true(p.limit_per_s > 10);
}

static void test_what_makes_no_sense_changes_nothing(void **state)
{
    static const char *const bad[] = {
        "ratelimit-remaining: 0\n",
        "ratelimit-reset: 60\n",
        "ratelimit-remaining: -1\nratelimit-reset: 60\n",
        "ratelimit-remaining: 0\nratelimit-reset: -60\n",
        "ratelimit-remaining: NaN\nratelimit-reset: 60\n",
        "ratelimit-remaining: 0\nratelimit-reset: Infinity\n",
        "ratelimit-remaining: 0\nratelimit-reset: 1\n",
        "ratelimit-remaining: 0\nratelimit-reset: 99999999999\n",
        "ratelimit-remaining: 0x\nratelimit-reset: 60\n",
        "ratelimit-remaining: \nratelimit-reset: 60\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int k = 0; k < 5; k++)
            request();
        answer(bad[i]);
        assert_true(p.limit_per_s == PACE_MAX_PER_S);
    }
}

/* Single answers say little: an estimate takes five requests, or the quota's end. */
static void test_an_estimate_takes_some_requests(void **state)
{
    request();
    answer_with(100, 60);
    double limit = p.limit_per_s;
    for (int i = 0; i < 4; i++) {
        request();
        answer_with(10, 60);
        assert_true(p.limit_per_s == limit);
    }
    request();
    answer_with(10, 60);
    assert_true(p.limit_per_s < limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_word_nothing_waits, setup),
        cmocka_unit_test_setup(test_a_quota_is_used_evenly, setup),
        cmocka_unit_test_setup(test_what_a_unit_is_worth_is_learned, setup),
        cmocka_unit_test_setup(test_an_empty_quota_is_waited_for_and_not_for_ever, setup),
        cmocka_unit_test_setup(test_what_makes_no_sense_changes_nothing, setup),
        cmocka_unit_test_setup(test_an_estimate_takes_some_requests, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
