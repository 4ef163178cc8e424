/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <time.h>

static const int64_t *fake_wall, *fake_mono;

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

void clock_fake(const int64_t *wall_ns, const int64_t *mono_ns)
{
    fake_wall = wall_ns;
    fake_mono = mono_ns;
}
