/* SPDX-License-Identifier: MIT */
/* AMD's GPUs, from what the kernel's driver amdgpu shows of each card (kernel documentation, "AMDgpu
 * driver, misc information" and "GPU power/thermal controls and monitoring"). Names and units are the
 * peer's, which asks the ROCm SMI library (symon/src/gpu_amd.rs); that library reads the same files. */
#include "service/watch/gpu.h"
#include "service/watch/sysmon_file.h"

#include "base/os.h"
#include "record/wire.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HWMON = 64 };

static struct card {
    int number;      /* of /sys/class/drm/cardN */
    int hwmon;       /* of its sensors; -1: none */
    int temperature; /* which sensor is that of the memory; 0: none */
} cards[GPU_MAX];

static int n_cards;

/* A file of its sensors. */
static bool read_sensor(const struct card *c, const char *name, double *v)
{
    char path[64];
    if (c->hwmon < 0)
        return false;
    snprintf(path, sizeof path, "device/hwmon/hwmon%d/%.32s", c->hwmon, name);
    return gpu_card_number(c->number, path, v);
}

/* ---- finding ---- */

static void find_sensors(struct card *c)
{
    char name[64], text[GPU_FILE];
    c->hwmon = -1;
    for (int i = 0; i < MAX_HWMON && c->hwmon < 0; i++) {
        snprintf(name, sizeof name, "device/hwmon/hwmon%d/name", i);
        if (gpu_card_text(c->number, name, text) && strcmp(text, "amdgpu") == 0)
            c->hwmon = i;
    }
    for (int i = 1; i <= 8 && c->hwmon >= 0 && c->temperature == 0; i++) {
        snprintf(name, sizeof name, "device/hwmon/hwmon%d/temp%d_label", c->hwmon, i);
        if (gpu_card_text(c->number, name, text) && strcmp(text, "mem") == 0)
            c->temperature = i;
    }
}

bool gpu_amd_may_be(void)
{
    char text[GPU_FILE];
    return sysmon_read_text(text, sizeof text, "/sys/module/amdgpu/initstate") && strstr(text, "live");
}

bool gpu_amd_open(void)
{
    char text[GPU_FILE];
    for (int i = 0; i < GPU_CARDS && n_cards < GPU_MAX; i++) {
        struct card c = {.number = i};
        if (!gpu_card_text(c.number, "device/vendor", text) || strcmp(text, "0x1002") != 0)
            continue;
        find_sensors(&c);
        cards[n_cards++] = c;
    }
    return n_cards > 0;
}

/* ---- reading ---- */

static void put(struct gpu_reading *to, int device, const char *name, double v)
{
    struct gpu_metric m = {.device = device, .name = name, .value = v}; /* who uses it is not known */
    gpu_add(to, &m);
}

static bool power_watts(const struct card *c, double *watts)
{
    if (!read_sensor(c, "power1_average", watts) && !read_sensor(c, "power1_input", watts))
        return false;
    *watts /= 1e6;
    return true;
}

/* Where energy_accumulator is in the driver's table of figures, which begins with its size and the two
 * numbers of its layout (the kernel's kgd_pp_interface.h); 0: that layout has none, or is not known. */
static size_t energy_offset(const unsigned char *table)
{
    static const unsigned char of_v1[] = {[1] = 24, [2] = 24, [3] = 24, [4] = 24, [5] = 88, [6] = 16};
    return table[2] == 1 && table[3] < sizeof of_v1 ? of_v1[table[3]] : 0;
}

/* In steps of 15.3 microjoules, as ROCm SMI counts. */
static bool energy_joules(const struct card *c, double *joules)
{
    unsigned char table[128] = {0};
    char path[PATH_MAX];
    uint64_t count = 0;
    snprintf(path, sizeof path, "%.3900s/sys/class/drm/card%d/device/gpu_metrics", sysmon_root(), c->number);
    int fd = os->open(path, O_RDONLY, 0);
    ssize_t n = fd < 0 ? 0 : os->read(fd, table, sizeof table);
    if (fd >= 0)
        os->close(fd);
    size_t at = n >= 4 ? energy_offset(table) : 0;
    if (at == 0 || at + 8 > (size_t)n || at + 8 > (size_t)(table[0] | table[1] << 8))
        return false;
    for (int i = 7; i >= 0; i--)
        count = count << 8 | table[at + (size_t)i];
    *joules = (double)count * (double)15.3F / 1e6;
    return count != UINT64_MAX; /* not counted by this card */
}

static void read_card(struct gpu_reading *to, int device, const struct card *c)
{
    char sensor[32];
    double v, total;
    if (gpu_card_number(c->number, "device/gpu_busy_percent", &v))
        put(to, device, "gpu", v);
    if (gpu_card_number(c->number, "device/mem_info_vram_used", &v) &&
        gpu_card_number(c->number, "device/mem_info_vram_total", &total) && total > 0)
        put(to, device, "memoryAllocated", v / total * 100);
    if (gpu_card_number(c->number, "device/mem_busy_percent", &v))
        put(to, device, "memoryReadWriteActivity", v);
    if (gpu_card_number(c->number, "device/pp_mclk_od", &v))
        put(to, device, "memoryOverDrive", v);
    snprintf(sensor, sizeof sensor, "temp%d_input", c->temperature);
    if (c->temperature > 0 && read_sensor(c, sensor, &v))
        put(to, device, "temp", v / 1000);
    if (energy_joules(c, &v))
        put(to, device, "energyJoules", v);
    if (!power_watts(c, &v))
        return;
    put(to, device, "powerWatts", v);
    if (read_sensor(c, "power1_cap", &total) && total > 0)
        put(to, device, "powerPercent", v / (total / 1e6) * 100);
}

/* ---- facts: of GpuAmdInfo ---- */

enum { ENV_GPU_AMD = 26 };
enum { AMD_ID = 1, AMD_UNIQUE_ID, AMD_VBIOS, AMD_LEVEL, AMD_OVERDRIVE, AMD_MEMORY_OVERDRIVE, AMD_MAX_POWER,
       AMD_SERIES, AMD_MODEL, AMD_VENDOR, AMD_SKU, AMD_SCLK, AMD_MCLK };

static void put_text(struct buf *to, uint32_t field, const char *text)
{
    if (*text)
        wire_buf_bytes(to, field, str_of(text));
}

static void put_file(struct buf *to, uint32_t field, const struct card *c, const char *name)
{
    char text[GPU_FILE];
    if (gpu_card_text(c->number, name, text))
        put_text(to, field, text);
}

/* Hexadecimal digits as a number without leading zeros. */
static void put_hex(struct buf *to, uint32_t field, const struct card *c, const char *name)
{
    char text[GPU_FILE], hex[32], *end;
    if (!gpu_card_text(c->number, name, text))
        return;
    unsigned long long v = strtoull(text, &end, 16);
    snprintf(hex, sizeof hex, "0x%llx", v);
    if (end != text)
        put_text(to, field, hex);
}

/* The driver's names of levels as ROCm SMI calls them. */
static void put_level(struct buf *to, const struct card *c)
{
    static const char *const names[][2] = {{"profile_standard", "stable_std"},
                                           {"profile_peak", "stable_peak"},
                                           {"profile_min_mclk", "stable_min_mclk"},
                                           {"profile_min_sclk", "stable_min_sclk"}};
    char text[GPU_FILE];
    if (!gpu_card_text(c->number, "device/power_dpm_force_performance_level", text))
        return;
    const char *name = text;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i][0]) == 0)
            name = names[i][1];
    put_text(to, AMD_LEVEL, name);
}

/* The part of the VBIOS's version that names the board: "113-D67301-063". */
static void put_sku(struct buf *to, const struct card *c)
{
    char text[GPU_FILE];
    char *first = gpu_card_text(c->number, "device/vbios_version", text) ? strchr(text, '-') : NULL;
    char *second = first ? strchr(first + 1, '-') : NULL;
    if (!second || strchr(second + 1, '-') || second - first < 3)
        return;
    *second = 0;
    put_text(to, AMD_SKU, first + 1);
}

static bool is_one_of(const char *line, size_t n, const char *const names[2])
{
    struct str name = {line, n};
    return str_eqz(name, names[0]) || str_eqz(name, names[1]);
}

/* Of pp_od_clk_voltage: below the name of a clock its least and its highest level, "0: 500Mhz". */
static bool clock_range(char *table, const char *const names[2], unsigned long long mhz[2])
{
    bool inside = false;
    int n = 0;
    for (char *line; n < 2 && (line = sysmon_next_line(&table));) {
        size_t at = strcspn(line, ":");
        char *end;
        if (line[at] != ':')
            continue;
        if (*line < '0' || *line > '9') {
            inside = n == 0 && is_one_of(line, at, names);
            continue;
        }
        if (!inside)
            continue;
        mhz[n] = strtoull(line + at + 1, &end, 10);
        if (end == line + at + 1)
            return false;
        n++;
    }
    return n == 2;
}

static void put_range(struct buf *to, uint32_t field, const struct card *c, const char *name,
                      const char *other_name)
{
    char table[2048], text[64];
    const char *const names[] = {name, other_name};
    unsigned long long mhz[2];
    if (!sysmon_read_text(table, sizeof table, "/sys/class/drm/card%d/device/pp_od_clk_voltage", c->number) ||
        !clock_range(table, names, mhz))
        return;
    snprintf(text, sizeof text, "%lluMhz - %lluMhz", mhz[0], mhz[1]);
    put_text(to, field, text);
}

static void put_card(struct buf *to, const struct card *c, int id)
{
    char text[GPU_FILE];
    double cap;
    size_t mark = wire_buf_begin(to, ENV_GPU_AMD);
    snprintf(text, sizeof text, "%d", id);
    put_text(to, AMD_ID, text);
    put_hex(to, AMD_UNIQUE_ID, c, "device/unique_id");
    put_file(to, AMD_VBIOS, c, "device/vbios_version");
    put_level(to, c);
    put_file(to, AMD_OVERDRIVE, c, "device/pp_sclk_od");
    put_file(to, AMD_MEMORY_OVERDRIVE, c, "device/pp_mclk_od");
    snprintf(text, sizeof text, "%.1f", read_sensor(c, "power1_cap", &cap) ? cap / 1e6 : 0);
    put_text(to, AMD_MAX_POWER, strcmp(text, "0.0") == 0 ? "" : text);
    put_file(to, AMD_SERIES, c, "device/product_name");
    put_hex(to, AMD_MODEL, c, "device/device");
    put_text(to, AMD_VENDOR, "Advanced Micro Devices, Inc. [AMD/ATI]");
    put_sku(to, c);
    put_range(to, AMD_SCLK, c, "OD_SCLK", "GFXCLK");
    put_range(to, AMD_MCLK, c, "OD_MCLK", "MCLK");
    wire_buf_end(to, mark);
}

void gpu_amd_read(struct gpu_reading *to)
{
    AUTO_BUF facts = {0};
    for (int i = 0; i < n_cards; i++) {
        read_card(to, i, &cards[i]);
        put_card(&facts, &cards[i], i);
    }
    to->n_others = n_cards;
    if (n_cards > 0 && !gpu_card_text(cards[0].number, "device/product_name", to->other_name))
        to->other_name[0] = 0;
    if (!facts.failed && facts.len <= sizeof to->other_facts) {
        to->other_bytes = facts.len;
        memcpy(to->other_facts, facts.data, facts.len);
    }
}
