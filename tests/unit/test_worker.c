/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "loop/worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

/* In the place of the library's: the system may refuse threads. */
static bool no_threads;

int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : real(id, attr, run, arg);
}

static uv_loop_t loop;

static int set_up(void **state)
{
    uv_loop_init(&loop);
    return 0;
}

static int tear_down(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

struct doubled {
    struct work work;
    int value, done;
};

static void on_work(struct work *w)
{
    struct doubled *d = (struct doubled *)w;
    usleep(1000);
    d->value *= 2;
}

static void on_done(struct work *w)
{
    struct doubled *d = (struct doubled *)w;
    d->done++;
    if (d->done < 3)
        work_start(&loop, w); /* it may be started again from here */
}

static void test_work_comes_back_to_the_loop(void **state)
{
    struct doubled d[8] = {{{0}}};
    for (int i = 0; i < 8; i++) {
        d[i] = (struct doubled){.work = {.run = on_work, .done = on_done}, .value = i + 1};
        work_start(&loop, &d[i].work);
        assert_int_equal(d[i].done, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(d[i].done, 3);
        assert_int_equal(d[i].value, (i + 1) * 8);
        assert_false(d[i].work.busy);
    }
}

/* -- works of one turn -- */

struct seen {
    struct work work;
    atomic_bool has_run;
};

static void see(struct work *w)
{
    atomic_store(&((struct seen *)w)->has_run, true);
}

static void seen_done(struct work *w)
{
}

/* Those behind the first go together; but not later than the next that is started a while after. */
static void test_a_long_turn_does_not_keep_its_works(void **state)
{
    static struct seen w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct seen){.work = {.run = see, .done = seen_done}};
        usleep(i == 3 ? 1000 : 0);
        work_start(&loop, &w[i].work);
    }
    for (int i = 0; i < 4; i++)
        for (int ms = 0; ms < 10000 && !atomic_load(&w[i].has_run); ms++)
            usleep(1000); /* the loop has no turn meanwhile */
    for (int i = 0; i < 4; i++)
        assert_true(atomic_load(&w[i].has_run));
}

/* -- works that hang, until `gate` is opened -- */

struct hanging {
    struct work work;
    uv_sem_t *gate;
    int *n_done;
};

static void hang(struct work *w)
{
    struct hanging *h = (struct hanging *)w;
    if (h->gate)
        uv_sem_wait(h->gate);
}

static void count(struct work *w)
{
    ++*((struct hanging *)w)->n_done;
}

static struct hanging make(uv_sem_t *gate, int *n_done)
{
    return (struct hanging){.work = {.run = hang, .done = count}, .gate = gate, .n_done = n_done};
}

static void test_what_hangs_keeps_up_nothing_else(void **state)
{
    enum { N = 10 * WORKERS };
    static struct hanging stuck[N], quick[100];
    uv_sem_t gate;
    int n_stuck = 0, n_quick = 0;
    uv_sem_init(&gate, 0);
    for (int i = 0; i < N; i++) {
        stuck[i] = make(&gate, &n_stuck);
        work_start(&loop, &stuck[i].work);
    }
    for (int i = 0; i < 100; i++) {
        quick[i] = make(NULL, &n_quick);
        work_start(&loop, &quick[i].work);
    }
    while (n_quick < 100)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_stuck, 0);
    for (int i = 0; i < N; i++)
        uv_sem_post(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_stuck, N);
    uv_sem_destroy(&gate);
}

static void test_what_was_done_before_a_hang_is_told(void **state)
{
    struct hanging works[3];
    uv_sem_t gate;
    int n_done = 0;
    uv_sem_init(&gate, 0);
    for (int i = 0; i < 3; i++) {
        works[i] = make(i == 2 ? &gate : NULL, &n_done);
        work_start(&loop, &works[i].work);
    }
    while (n_done < 2)
        uv_run(&loop, UV_RUN_ONCE);
    uv_sem_post(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_done, 3);
    uv_sem_destroy(&gate);
}

/* -- loops of other threads -- */

/* None is closed before all have run: that libuv closes descriptors by itself is nothing ThreadSanitizer sees, so one that
 * is used again by another thread looks like a race to it. */
static uv_barrier_t all_have_run;

static void run_a_loop(void *arg)
{
    uv_loop_t own;
    struct hanging works[200];
    int *n_done = arg;
    uv_loop_init(&own);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 200; i++) {
            works[i] = make(NULL, n_done);
            work_start(&own, &works[i].work);
        }
        uv_run(&own, UV_RUN_DEFAULT);
    }
    uv_barrier_wait(&all_have_run);
    if (uv_loop_close(&own))
        *n_done = -1;
}

static void test_each_loop_gets_its_own_back(void **state)
{
    uv_thread_t threads[4];
    int n_done[4] = {0};
    uv_barrier_init(&all_have_run, 4);
    for (int i = 0; i < 4; i++)
        uv_thread_create(&threads[i], run_a_loop, &n_done[i]);
    for (int i = 0; i < 4; i++) {
        uv_thread_join(&threads[i]);
        assert_int_equal(n_done[i], 1000);
    }
    uv_barrier_destroy(&all_have_run);
}

/* First of all tests: no runner is there yet. */
static void test_without_a_thread_the_loop_does_the_work(void **state)
{
    struct hanging works[10];
    int n_done = 0;
    no_threads = true;
    for (int i = 0; i < 10; i++) {
        works[i] = make(NULL, &n_done);
        work_start(&loop, &works[i].work);
        assert_int_equal(n_done, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_done, 10);
    no_threads = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_a_thread_the_loop_does_the_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_work_comes_back_to_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_turn_does_not_keep_its_works, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_hangs_keeps_up_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_done_before_a_hang_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_loop_gets_its_own_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
