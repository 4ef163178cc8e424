/* SPDX-License-Identifier: MIT */
#include "service/watch/gpu.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/wire.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum state { NEW, RUNNING, ABSENT };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER;
static pthread_cond_t answered; /* waits by the monotonic clock */
static enum state state;
static int64_t asked_ns; /* since when a reading is waited for; 0 for none */
static int64_t taken_ns; /* of `last` */
static struct gpu_reading *last;

/* ---- the thread ---- */

static void wait_for_a_question(void)
{
    pthread_mutex_lock(&lock);
    while (asked_ns == 0)
        pthread_cond_wait(&asked, &lock);
    pthread_mutex_unlock(&lock);
}

static void answer(enum state now, const struct gpu_reading *r)
{
    pthread_mutex_lock(&lock);
    state = now;
    if (r) {
        memcpy(last, r, sizeof *last);
        taken_ns = clock_mono_ns();
    }
    asked_ns = 0;
    pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct gpu_reading *r = arg;
    bool has_amd = gpu_amd_open(), has_nvidia = gpu_nvidia_open();
    if (!has_amd && !has_nvidia) {
        mem_free(r);
        answer(ABSENT, NULL);
        return NULL;
    }
    for (;;) {
        wait_for_a_question();
        memset(r, 0, sizeof *r);
        if (has_nvidia)
            gpu_nvidia_read(r);
        if (has_amd)
            gpu_amd_read(r);
        answer(RUNNING, r);
    }
}

/* With the lock. */
static void start(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_condattr_t clock;
    sigset_t all, before;
    struct gpu_reading *r = xmem_calloc(1, sizeof *r);
    last = xmem_calloc(1, sizeof *last);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&answered, &clock);
    pthread_condattr_destroy(&clock);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    state = pthread_create(&thread, &attr, run, r) == 0 ? RUNNING : ABSENT;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (state == ABSENT)
        mem_free(r);
}

/* ---- who asks ---- */

/* With the lock: until the question is answered, or `wait_ns` after it was asked. */
static void wait_for_the_answer(int64_t wait_ns)
{
    int64_t until = asked_ns + wait_ns;
    struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    while (asked_ns != 0 && state == RUNNING && pthread_cond_timedwait(&answered, &lock, &t) == 0)
        ;
}

bool gpu_read(struct gpu_reading *to, int64_t wait_ns)
{
    pthread_mutex_lock(&lock);
    int64_t now_ns = clock_mono_ns();
    if (state == NEW)
        start();
    if (state == RUNNING && (taken_ns == 0 || now_ns - taken_ns > GPU_FRESH_NS)) {
        if (asked_ns == 0)
            asked_ns = now_ns;
        pthread_cond_signal(&asked);
        wait_for_the_answer(wait_ns);
    }
    bool fresh = state == RUNNING && taken_ns != 0 && clock_mono_ns() - taken_ns <= GPU_FRESH_NS + wait_ns;
    if (fresh)
        memcpy(to, last, sizeof *to);
    pthread_mutex_unlock(&lock);
    return fresh && to->n_gpus > 0;
}

void gpu_add(struct gpu_reading *r, const struct gpu_metric *m)
{
    if (r->n_metrics < GPU_MAX_METRICS)
        r->metric[r->n_metrics++] = *m;
}

/* ---- facts: of EnvironmentRecord and GpuNvidiaInfo ---- */

enum { ENV_GPU = 18, ENV_GPU_COUNT = 19, ENV_GPU_NVIDIA = 24, ENV_CUDA_VERSION = 25 };
enum { INFO_NAME = 1, INFO_MEMORY, INFO_CORES, INFO_ARCHITECTURE, INFO_UUID, INFO_PCI, INFO_NUMA };

static void put_text(struct buf *to, uint32_t field, const char *text)
{
    if (*text)
        wire_buf_bytes(to, field, str_of(text));
}

static void put_number(struct buf *to, uint32_t field, uint64_t v)
{
    if (v > 0)
        wire_buf_varint(to, field, v);
}

static void put_gpu(struct buf *to, const struct gpu_facts *f)
{
    size_t mark = wire_buf_begin(to, ENV_GPU_NVIDIA);
    put_text(to, INFO_NAME, f->name);
    put_number(to, INFO_MEMORY, f->memory_bytes);
    put_number(to, INFO_CORES, f->cuda_cores);
    put_text(to, INFO_ARCHITECTURE, f->architecture);
    put_text(to, INFO_UUID, f->uuid);
    put_text(to, INFO_PCI, f->pci_bus_id);
    if (f->numa_node >= 0)
        wire_buf_varint(to, INFO_NUMA, (uint64_t)f->numa_node);
    wire_buf_end(to, mark);
}

void gpu_put_facts(struct buf *to, const struct gpu_reading *r)
{
    put_text(to, ENV_GPU, r->n_amd > 0 ? r->amd_name : r->facts[0].name);
    put_number(to, ENV_GPU_COUNT, (uint64_t)r->n_gpus);
    for (int i = 0; i < r->n_gpus - r->n_amd; i++)
        put_gpu(to, &r->facts[i]);
    buf_put_str(to, str_make(r->amd_facts, r->amd_bytes));
    put_text(to, ENV_CUDA_VERSION, r->cuda_version);
}
