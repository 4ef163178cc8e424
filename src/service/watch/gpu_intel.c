/* SPDX-License-Identifier: MIT */
/* Intel's discrete GPUs, from what the kernel's drivers i915 and xe show in /sys (its documents
 * ABI/testing/sysfs-driver-intel-i915-hwmon, sysfs-driver-intel-xe-hwmon, and of the GTs' frequencies and
 * residencies). The peer has no such figures; names and units are those of its others.
 *
 * What is built into a processor has no sensors of its own and is left out. Power is told by a counter of
 * energy, use by one of the time that a GT slept: both need two readings. */
#include "service/watch/gpu.h"
#include "service/watch/sysmon_file.h"

#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_HWMON = 64, MAX_TILES = 2, MAX_GTS = 4, LEAST_NS = 100000000 };

static struct card {
    int number; /* of /sys/class/drm/cardN */
    int hwmon;
    bool is_xe;
    double joules, slept_ms[MAX_TILES * MAX_GTS]; /* at the last reading */
    int64_t read_ns;
} cards[GPU_MAX];

static int n_cards;

/* ---- files ---- */

static bool read_sensor(const struct card *c, const char *name, double *v)
{
    char path[96];
    snprintf(path, sizeof path, "device/hwmon/hwmon%d/%.32s", c->hwmon, name);
    return gpu_card_number(c->number, path, v);
}

/* The first of two that there is: of the card, else of its package. */
static bool read_either(const struct card *c, const char *name, const char *other, double *v)
{
    return read_sensor(c, name, v) || read_sensor(c, other, v);
}

/* A file of a GT; i counts those of a tile after those of the one before. */
static bool read_gt(const struct card *c, int i, const char *of_i915, const char *of_xe, double *v)
{
    char path[128];
    if (c->is_xe)
        snprintf(path, sizeof path, "device/tile%d/gt%d/%s", i / MAX_GTS, i % MAX_GTS, of_xe);
    else
        snprintf(path, sizeof path, "gt/gt%d/%s", i, of_i915);
    return gpu_card_number(c->number, path, v);
}

/* ---- finding ---- */

static bool is_loaded(const char *module)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.2048s/sys/module/%.32s", sysmon_root(), module);
    return access(path, F_OK) == 0;
}

bool gpu_intel_may_be(void)
{
    return is_loaded("i915") || is_loaded("xe");
}

static bool find_sensors(struct card *c)
{
    char name[64], text[GPU_FILE];
    for (c->hwmon = 0; c->hwmon < MAX_HWMON; c->hwmon++) {
        snprintf(name, sizeof name, "device/hwmon/hwmon%d/name", c->hwmon);
        if (!gpu_card_text(c->number, name, text) || (strcmp(text, "i915") != 0 && strcmp(text, "xe") != 0))
            continue;
        c->is_xe = *text == 'x';
        return true;
    }
    return false;
}

bool gpu_intel_open(void)
{
    char text[GPU_FILE];
    for (int i = 0; i < GPU_CARDS && n_cards < GPU_MAX; i++) {
        struct card c = {.number = i};
        if (gpu_card_text(c.number, "device/vendor", text) && strcmp(text, "0x8086") == 0 && find_sensors(&c))
            cards[n_cards++] = c;
    }
    return n_cards > 0;
}

/* ---- reading ---- */

static void put(struct gpu_reading *to, int device, const char *name, double v, bool is_whole)
{
    struct gpu_metric m = {.device = device, .name = name, .value = v, .is_whole = is_whole};
    gpu_add(to, &m); /* who uses it is not known */
}

/* Of `limit`, in microwatts, once there is an earlier count of energy. */
static void put_power(struct gpu_reading *to, int device, struct card *c, int64_t now_ns)
{
    double joules, limit;
    if (!read_either(c, "energy1_input", "energy2_input", &joules))
        return;
    joules /= 1e6;
    double watts = (joules - c->joules) / ((double)(now_ns - c->read_ns) / 1e9);
    bool has_watts = c->read_ns > 0 && joules >= c->joules;
    c->joules = joules;
    put(to, device, "energyJoules", joules, false);
    if (has_watts)
        put(to, device, "powerWatts", watts, false);
    if (!read_either(c, "power1_max", "power2_max", &limit) || limit <= 0)
        return;
    put(to, device, "enforcedPowerLimitWatts", limit / 1e6, false);
    if (has_watts)
        put(to, device, "powerPercent", watts / (limit / 1e6) * 100, false);
}

/* How much of the time the busiest GT was awake, and the highest frequency of any. */
static void put_gts(struct gpu_reading *to, int device, struct card *c, int64_t now_ns)
{
    double ms, mhz, busiest = -1, highest = -1;
    for (int i = 0; i < MAX_TILES * MAX_GTS; i++) {
        if (read_gt(c, i, "rps_act_freq_mhz", "freq0/act_freq", &mhz) && mhz > highest)
            highest = mhz;
        if (!read_gt(c, i, "rc6_residency_ms", "gtidle/idle_residency_ms", &ms))
            continue;
        double slept = (ms - c->slept_ms[i]) / ((double)(now_ns - c->read_ns) / 1e6) * 100;
        double awake = slept < 0 || slept > 100 ? 0 : 100 - slept; /* it counts by its own clock */
        if (c->read_ns > 0 && ms >= c->slept_ms[i] && awake > busiest)
            busiest = awake;
        c->slept_ms[i] = ms;
    }
    if (busiest >= 0)
        put(to, device, "gpu", busiest, false);
    if (highest >= 0)
        put(to, device, "smClock", highest, true);
}

static void read_card(struct gpu_reading *to, int device, struct card *c)
{
    double v;
    int64_t now_ns = clock_mono_ns();
    if (read_either(c, c->is_xe ? "temp2_input" : "temp1_input", "temp1_input", &v))
        put(to, device, "temp", v / 1000, false);
    if (c->read_ns > 0 && now_ns - c->read_ns < LEAST_NS)
        return;
    put_power(to, device, c, now_ns);
    put_gts(to, device, c, now_ns);
    c->read_ns = now_ns;
}

void gpu_intel_read(struct gpu_reading *to)
{
    char id[GPU_FILE];
    for (int i = 0; i < n_cards; i++)
        read_card(to, i, &cards[i]);
    to->n_others = n_cards;
    if (n_cards > 0 && gpu_card_text(cards[0].number, "device/device", id))
        snprintf(to->other_name, sizeof to->other_name, "Intel GPU %.16s", id);
}
