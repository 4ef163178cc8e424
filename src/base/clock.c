/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static const int64_t *fake_wall, *fake_mono;
static _Atomic int64_t steady_less_mono; /* 0 until it is asked for */

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
    return fake_wall ? *fake_wall : read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
    return fake_mono ? *fake_mono : read_clock(CLOCK_MONOTONIC);
}

double clock_wall_s(void)
{
    return (double)clock_wall_ns() / 1e9;
}

int64_t clock_steady_ns(void)
{
    int64_t less = atomic_load(&steady_less_mono), mono = clock_mono_ns();
    if (less == 0) {
        int64_t now = clock_wall_ns() - mono;
        if (atomic_compare_exchange_strong(&steady_less_mono, &less, now))
            less = now;
    }
    return mono + less;
}

int64_t clock_shown_ns(int64_t steady_ns)
{
    int64_t set_by = clock_wall_ns() - clock_steady_ns();
    return set_by > CLOCK_JUMP_NS || set_by < -CLOCK_JUMP_NS ? steady_ns + set_by : steady_ns;
}

struct timespec clock_mono_after(int ms)
{
    int64_t at = read_clock(CLOCK_MONOTONIC) + (int64_t)ms * 1000000;
    return (struct timespec){.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
}

void clock_fake(const int64_t *wall_ns, const int64_t *mono_ns)
{
    fake_wall = wall_ns;
    fake_mono = mono_ns;
    atomic_store(&steady_less_mono, 0);
}
