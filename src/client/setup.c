/* SPDX-License-Identifier: MIT */
/* One lock guards the singleton. It is never held across fork: the child gets a fresh one, and a
 * fresh singleton, whatever the parent's threads were doing. What the parent's manager held in
 * memory stays there unused (its thread does not exist in the child); its descriptors are closed,
 * so that the service does not take the child for the parent. */
#include "client/setup.h"

#include "base/alloc.h"
#include "client/last_error.h"
#include "client/run.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Atomic unsigned setup_generation;
atomic_bool setup_exiting;

struct run_list {
    struct tare_run **runs;
    size_t n, cap;
};

static struct {
    pthread_mutex_t lock;
    struct tare_setup_options setup;
    bool is_set_up, hooked;
    char *service_bin;
    _Atomic(struct manager *) manager;
    struct run_list list;
    pid_t pid; /* of the process that made the manager */
    struct {   /* in a child: the parent's, kept but never used */
        struct manager *manager;
        struct run_list list;
    } parents;
} the = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void in_child(void)
{
    struct manager *m = atomic_load(&the.manager);
    atomic_fetch_add(&setup_generation, 1);
    if (m) {
        manager_abandon(m);
        the.parents.manager = m;
        the.parents.list = the.list;
    }
    atomic_store(&the.manager, NULL);
    the.list = (struct run_list){0};
    pthread_mutex_init(&the.lock, NULL);
}

static void on_exit_status(int status)
{
    if (the.pid != getpid() || the.setup.no_exit_hook)
        return;
    atomic_store(&setup_exiting, true);
    tare_teardown(status);
}

/* The lock is held. */
static int hook_once(void)
{
    if (the.hooked)
        return 0;
    if (pthread_atfork(NULL, NULL, in_child) != 0)
        return TARE_ENOMEM;
    the.hooked = true;
    return exit_hook_register(on_exit_status);
}

int tare_setup(const struct tare_setup_options *setup)
{
    if (!setup || setup->size != sizeof *setup)
        return last_error_set(TARE_EINVAL, "the setup was not made by tare_setup_defaults()");
    char *bin = setup->service_bin ? mem_strndup(setup->service_bin, strlen(setup->service_bin))
                                   : NULL;
    if (setup->service_bin && !bin)
        return last_error_set(TARE_ENOMEM, "out of memory");
    pthread_mutex_lock(&the.lock);
    int rc = atomic_load(&the.manager) ? TARE_ECONFLICT : 0;
    if (rc == 0) {
        mem_free(the.service_bin);
        the.service_bin = bin;
        the.setup = *setup;
        the.setup.service_bin = bin;
        the.is_set_up = true;
    }
    pthread_mutex_unlock(&the.lock);
    if (rc)
        mem_free(bin);
    return rc ? last_error_set(rc, "tare_setup must come before the first run") : 0;
}

int setup_manager(struct manager **to, bool must_connect, struct err *e)
{
    pthread_mutex_lock(&the.lock);
    struct manager *m = atomic_load(&the.manager);
    int rc = 0;
    if (!the.is_set_up) {
        the.setup = tare_setup_defaults();
        the.is_set_up = true;
    }
    if (!m) {
        rc = hook_once();
        rc = rc ? err_set(e, rc, "out of memory") : manager_new(&m, &the.setup, must_connect, e);
        if (rc == 0) {
            atomic_store(&the.manager, m);
            the.pid = getpid();
        }
    } else if (must_connect && m->local) {
        rc = err_set(e, TARE_ESERVICE, "there is no service");
    }
    pthread_mutex_unlock(&the.lock);
    *to = m;
    return rc;
}

int setup_add_run(struct tare_run *run)
{
    int rc = 0;
    pthread_mutex_lock(&the.lock);
    struct run_list *l = &the.list;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        struct tare_run **grown = mem_realloc(l->runs, cap * sizeof *grown);
        if (grown)
            l->runs = grown, l->cap = cap;
        else
            rc = TARE_ENOMEM;
    }
    if (rc == 0)
        l->runs[l->n++] = run;
    pthread_mutex_unlock(&the.lock);
    return rc;
}

void setup_remove_run(struct tare_run *run)
{
    pthread_mutex_lock(&the.lock);
    struct run_list *l = &the.list;
    for (size_t i = 0; i < l->n; i++)
        if (l->runs[i] == run) {
            l->runs[i] = l->runs[--l->n];
            break;
        }
    pthread_mutex_unlock(&the.lock);
}

static struct tare_run *last_run(void)
{
    pthread_mutex_lock(&the.lock);
    struct tare_run *run = the.list.n ? the.list.runs[the.list.n - 1] : NULL;
    pthread_mutex_unlock(&the.lock);
    return run;
}

int tare_teardown(int exit_code)
{
    for (struct tare_run *run; (run = last_run());) {
        if (run->attached)
            tare_detach(run);
        else
            tare_finish(run, exit_code);
    }
    pthread_mutex_lock(&the.lock);
    struct manager *m = atomic_exchange(&the.manager, NULL);
    if (!atomic_load(&setup_exiting)) {
        mem_free(the.list.runs);
        the.list = (struct run_list){0};
    }
    pthread_mutex_unlock(&the.lock);
    if (m)
        manager_free(m, exit_code);
    return 0;
}

int tare_service_token(char *to, size_t to_size)
{
    pthread_mutex_lock(&the.lock);
    struct manager *m = atomic_load(&the.manager);
    int rc = m && !m->local ? (int)strlen(m->service.token) : TARE_ESERVICE;
    if (rc >= 0 && (size_t)rc >= to_size)
        rc = TARE_ELIMIT;
    if (rc >= 0)
        memcpy(to, m->service.token, (size_t)rc + 1);
    pthread_mutex_unlock(&the.lock);
    return rc < 0 ? last_error_set(rc, "%s", err_text(rc)) : rc;
}
