/* SPDX-License-Identifier: MIT */
#include "service/watch/gpu.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/wire.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* ABSENT is for ever: the library, or the GPUs, are looked for once. */
enum state { NEW, RUNNING, ABSENT };

/* One maker's GPUs, read on a thread of its own: what hangs there keeps up no other's. */
struct source {
    bool (*open)(void);
    void (*read)(struct gpu_reading *to);
    pthread_cond_t asked;
    enum state state;
    int64_t asked_ns; /* since when a reading is waited for; 0 for none */
    int64_t taken_ns; /* of `last`; 0: none yet */
    struct gpu_reading *last;
};

enum { NVIDIA, AMD, N_SOURCES };

static struct source sources[N_SOURCES] = {
    [NVIDIA] = {.open = gpu_nvidia_open, .read = gpu_nvidia_read, .asked = PTHREAD_COND_INITIALIZER},
    [AMD] = {.open = gpu_amd_open, .read = gpu_amd_read, .asked = PTHREAD_COND_INITIALIZER},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered; /* by any source; waits by the monotonic clock */
static bool answered_is_made;

/* ---- the threads ---- */

static void wait_for_a_question(struct source *s)
{
    pthread_mutex_lock(&lock);
    while (s->asked_ns == 0)
        pthread_cond_wait(&s->asked, &lock);
    pthread_mutex_unlock(&lock);
}

static void answer(struct source *s, enum state now, const struct gpu_reading *r)
{
    pthread_mutex_lock(&lock);
    s->state = now;
    if (r) {
        memcpy(s->last, r, sizeof *s->last);
        s->taken_ns = clock_mono_ns();
    }
    s->asked_ns = 0;
    pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct source *s = arg;
    if (!s->open()) {
        answer(s, ABSENT, NULL);
        return NULL;
    }
    struct gpu_reading *r = xmem_calloc(1, sizeof *r);
    pthread_mutex_lock(&lock);
    s->last = xmem_calloc(1, sizeof *s->last);
    pthread_mutex_unlock(&lock);
    for (;;) {
        wait_for_a_question(s);
        memset(r, 0, sizeof *r);
        s->read(r);
        answer(s, RUNNING, r);
    }
}

/* With the lock. */
static void make_answered(void)
{
    pthread_condattr_t clock;
    if (answered_is_made)
        return;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&answered, &clock);
    pthread_condattr_destroy(&clock);
    answered_is_made = true;
}

/* With the lock. */
static void start(struct source *s)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    make_answered();
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->state = pthread_create(&thread, &attr, run, s) == 0 ? RUNNING : ABSENT;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- who asks: all with the lock ---- */

static void ask(struct source *s, int64_t now_ns)
{
    if (s->state == NEW)
        start(s);
    if (s->state != RUNNING || (s->taken_ns != 0 && now_ns - s->taken_ns <= GPU_FRESH_NS))
        return;
    if (s->asked_ns == 0)
        s->asked_ns = now_ns;
    pthread_cond_signal(&s->asked);
}

/* Until the question is answered, or `wait_ns` after it was asked. */
static void wait_for_the_answer(const struct source *s, int64_t wait_ns)
{
    int64_t until = s->asked_ns + wait_ns;
    struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    while (s->asked_ns != 0 && s->state == RUNNING && pthread_cond_timedwait(&answered, &lock, &t) == 0)
        ;
}

static bool is_fresh(const struct source *s, int64_t now_ns, int64_t wait_ns)
{
    return s->state == RUNNING && s->taken_ns != 0 && now_ns - s->taken_ns <= GPU_FRESH_NS + wait_ns;
}

/* AMD's behind the `n_others` that NVML told last: their numbers stay where they are when it hangs. */
static void append_amd(struct gpu_reading *to, const struct gpu_reading *amd, int n_others)
{
    int room = GPU_MAX - n_others, n = amd->n_amd < room ? amd->n_amd : room;
    for (int i = 0; i < amd->n_metrics; i++) {
        struct gpu_metric m = amd->metric[i];
        if (m.device >= n)
            continue;
        m.device += n_others;
        gpu_add(to, &m);
    }
    to->first_amd = n_others;
    to->n_amd = n;
    memcpy(to->amd_name, amd->amd_name, sizeof to->amd_name);
    memcpy(to->amd_facts, amd->amd_facts, amd->amd_bytes);
    to->amd_bytes = amd->amd_bytes;
}

bool gpu_read(struct gpu_reading *to, int64_t wait_ns)
{
    pthread_mutex_lock(&lock);
    int64_t now_ns = clock_mono_ns();
    for (int i = 0; i < N_SOURCES; i++)
        ask(&sources[i], now_ns);
    for (int i = 0; i < N_SOURCES; i++)
        wait_for_the_answer(&sources[i], wait_ns);
    now_ns = clock_mono_ns();
    const struct source *nvidia = &sources[NVIDIA], *amd = &sources[AMD];
    bool has_nvidia = is_fresh(nvidia, now_ns, wait_ns), has_amd = is_fresh(amd, now_ns, wait_ns);
    if (has_nvidia)
        memcpy(to, nvidia->last, sizeof *to);
    else if (has_amd)
        memset(to, 0, sizeof *to);
    if (has_amd)
        append_amd(to, amd->last, nvidia->taken_ns != 0 ? nvidia->last->n_gpus : 0);
    pthread_mutex_unlock(&lock);
    return (has_nvidia && to->n_gpus > 0) || (has_amd && to->n_amd > 0);
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
    put_number(to, ENV_GPU_COUNT, (uint64_t)(r->n_gpus + r->n_amd));
    for (int i = 0; i < r->n_gpus; i++)
        put_gpu(to, &r->facts[i]);
    buf_put_str(to, str_make(r->amd_facts, r->amd_bytes));
    put_text(to, ENV_CUDA_VERSION, r->cuda_version);
}
