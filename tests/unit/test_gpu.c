/* SPDX-License-Identifier: MIT */
/* GPUs by stand-ins for NVML and DCGM (support/fake_nvml.c, fake_dcgm.c) and recorded trees of /sys. What is
 * known of them is kept for the life of a process, so each test is one of its own. */
#include "unit.h"

#include "base/buf.h"
#include "record/wire.h"
#include "service/watch/gpu.h"
#include "service/watch/machine.h"
#include "service/watch/source.h"
#include "service/watch/sysmon.h"
#include "tests/support/watch_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *nvml_mode;
static void (*nvml_check)(void);

static void with_nvml(void)
{
    char self[16];
    CHECK(getenv("TARE_TEST_NVML")); /* where the stand-in is */
    snprintf(self, sizeof self, "%d", (int)getpid());
    setenv("FAKE_NVML", nvml_mode, 1);
    setenv("FAKE_NVML_PID", self, 1);
    setenv("TARE_NVML", strcmp(nvml_mode, "missing") == 0 ? "/nowhere/nvml.so" : getenv("TARE_TEST_NVML"), 1);
    nvml_check();
}

static void in_process(const char *mode, void (*check)(void))
{
    nvml_mode = mode;
    nvml_check = check;
    assert_true(in_child(with_nvml));
}

static void check_names(void)
{
    AUTO_BUF settings = {0}, record = {0}, later = {0};
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.gpu", &record);
    CHECK(has(&record, "gpu.0.gpu", "75.0") && has(&record, "gpu.0.memory", "40"));
    CHECK(has(&record, "gpu.0.memoryAllocated", "75.0"));
    CHECK(has(&record, "gpu.0.memoryAllocatedBytes", "64424509440"));
    CHECK(has(&record, "gpu.0.temp", "61.0") && has(&record, "gpu.0.powerWatts", "350.5"));
    CHECK(has(&record, "gpu.0.enforcedPowerLimitWatts", "701.0") && has(&record, "gpu.0.powerPercent", "50.0"));
    CHECK(has(&record, "gpu.0.energyJoules", "12.345"));
    CHECK(has(&record, "gpu.0.smClock", "1980") && has(&record, "gpu.0.memoryClock", "2619"));
    CHECK(has(&record, "gpu.0.fanSpeed", "")); /* a function that the library does not have */
    CHECK(has(&record, "gpu.0.pcieTxBytes", "")); /* GPM's are still to come */
    CHECK(has(&record, "gpu.process.0.temp", "61.0") && has(&record, "gpu.process.0.smClock", ""));
    CHECK(has(&record, "gpu.1.pcieTxBytes", "10240.0") && has(&record, "gpu.1.pcieRxBytes", "20480.0"));
    CHECK(has(&record, "gpu.1.memoryAllocated", "") && has(&record, "gpu.process.1.temp", ""));
    usleep(600000); /* past what is shared */
    sample_until(s, "gpu.0.smActive", &later);
    CHECK(has(&later, "gpu.0.smActive", "2.0") && has(&later, "gpu.0.dramActive", ""));
    CHECK(has(&later, "gpu.0.pcieTxBytes", "20971520.0") && has(&later, "gpu.0.nvlinkRxBytes", "62914560.0"));
    sysmon_free(s);
}

static void test_gpus_have_the_peers_names(void **state)
{
    in_process("", check_names);
}

static void check_ids(void)
{
    AUTO_BUF settings = {0}, record = {0};
    size_t mark = wire_buf_begin(&settings, 186);
    wire_buf_bytes(&settings, 1, (struct str){"\x01", 1});
    wire_buf_end(&settings, mark);
    struct sysmon *s = sysmon_new(buf_str(&settings));
    sample_until(s, "gpu.1.gpu", &record);
    CHECK(has(&record, "gpu.1.gpu", "75.0") && has(&record, "gpu.0.gpu", ""));
    sysmon_free(s);
}

static void test_only_the_devices_asked_for(void **state)
{
    in_process("", check_ids);
}

static void check_facts(void)
{
    AUTO_BUF record = {0}, json = {0};
    for (int i = 0; i < 50 && wire_find_varint(buf_str(&record), 19) == 0; i++) {
        buf_clear(&record);
        machine_put_host(&record, STR(""), STR(""), "w");
    }
    CHECK(wire_find_varint(buf_str(&record), 19) == 2);
    CHECK(machine_put_json(&json, buf_str(&record)) == 0);
    CHECK(strstr(buf_z(&json), "\"gpu\": \"NVIDIA H100\",\n  \"gpu_count\": 2"));
    CHECK(strstr(buf_z(&json), "\"name\": \"NVIDIA H100\",\n      \"memoryTotal\": \"85899345920\",\n"
                               "      \"cudaCores\": 16896,\n      \"architecture\": \"Hopper\",\n"
                               "      \"uuid\": \"GPU-0\""));
    CHECK(strstr(buf_z(&json), "\"architecture\": \"Kepler\""));
    CHECK(strstr(buf_z(&json), "\"cudaVersion\": \"12.4\""));
}

static void test_facts_of_the_gpus(void **state)
{
    in_process("", check_facts);
}

/* The rest of a sample comes, without GPUs. */
static void check_none(void)
{
    AUTO_BUF settings = {0};
    struct sysmon *s = watch_self(&settings);
    for (int i = 0; i < 3; i++) {
        AUTO_BUF record = {0};
        sysmon_sample(s, 1, STR(""), &record);
        CHECK(*value_of(&record, "proc.memory.rssMB"));
        CHECK(has(&record, "gpu.0.gpu", ""));
    }
    sysmon_free(s);
}

static void check_busy(void)
{
    check_none();
    CHECK(sources_are_busy());
}

static void test_broken_libraries_cost_only_their_figures(void **state)
{
    in_process("missing", check_none);
    in_process("error", check_none);
    in_process("hang", check_busy);
    in_process("load", check_busy);
    in_process("lost", check_none);
}

static void check_stall(void)
{
    AUTO_BUF settings = {0}, record = {0};
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.gpu", &record);
    CHECK(has(&record, "gpu.0.gpu", "75.0"));
    for (int i = 0; i < 5000 && sources_are_busy(); i++) /* who has answered is on the way to its next wait */
        usleep(1000);
    CHECK(!sources_are_busy());
    usleep(900000); /* the next reading hangs, and the last is too old to be told again */
    check_busy();
    sysmon_free(s);
}

static void test_a_library_that_hangs_later(void **state)
{
    in_process("stall", check_stall);
}

/* ---- AMD's, from a recorded tree of files ---- */

/* A table of figures of the layout 1.`content` with the count of 0x010203040506 at `at`. */
static void figures_file(const char *path, unsigned char content, size_t at)
{
    unsigned char table[120] = {sizeof table, 0, 1, content};
    for (size_t i = 0; i < 6; i++)
        table[at + i] = (unsigned char)(6 - i);
    tree_bytes(path, table, sizeof table);
}

#define CARD "/sys/class/drm/card1/device/"
#define SENSORS CARD "hwmon/hwmon3/"

static void make_cards(void)
{
    tree_make();
    tree_file("/sys/module/amdgpu/initstate", "live\n");
    tree_file("/sys/class/drm/card0/device/vendor", "0x8086\n"); /* another's */
    tree_file(CARD "vendor", "0x1002\n");
    tree_file(CARD "device", "0x740c\n");
    tree_file(CARD "product_name", "AMD INSTINCT MI250\n");
    tree_file(CARD "unique_id", "0c2fe2e8c5dbd9f0\n");
    tree_file(CARD "vbios_version", "113-D65209-073\n");
    tree_file(CARD "power_dpm_force_performance_level", "profile_peak\n");
    tree_file(CARD "pp_sclk_od", "0\n");
    tree_file(CARD "pp_mclk_od", "5\n");
    tree_file(CARD "gpu_busy_percent", "87\n");
    tree_file(CARD "mem_busy_percent", "nonsense\n"); /* left out */
    tree_file(CARD "mem_info_vram_used", "17179869184\n");
    tree_file(CARD "mem_info_vram_total", "68719476736\n");
    tree_file(SENSORS "name", "amdgpu\n");
    tree_file(SENSORS "temp1_label", "edge\n");
    tree_file(SENSORS "temp1_input", "41000\n");
    tree_file(SENSORS "temp3_label", "mem\n");
    tree_file(SENSORS "temp3_input", "52500\n");
    tree_file(SENSORS "power1_average", "140000000\n");
    tree_file(SENSORS "power1_cap", "560000000\n");
    tree_file(CARD "pp_od_clk_voltage", "OD_SCLK:\n0:        500Mhz\n1:       1700Mhz\n"
                                   "OD_MCLK:\n0: 400Mhz\n1: 1600Mhz\nOD_RANGE:\nSCLK: 500Mhz 2000Mhz\n");
    figures_file(CARD "gpu_metrics", 3, 24);
    tree_file("/sys/class/drm/card2/device/vendor", "0x1002\n"); /* one that shows nothing */
}

static bool text_is(struct str message, uint32_t field, const char *text)
{
    return str_eqz(wire_find_bytes(message, field), text);
}

static void check_amd(void)
{
    AUTO_BUF settings = {0}, record = {0}, facts = {0}, json = {0};
    make_cards();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.gpu", &record);
    machine_put_host(&facts, STR(""), STR(""), "w");
    tree_remove();
    CHECK(has(&record, "gpu.0.gpu", "87.0") && has(&record, "gpu.0.memoryAllocated", "25.0"));
    CHECK(has(&record, "gpu.0.memoryReadWriteActivity", "") && has(&record, "gpu.0.memoryOverDrive", "5.0"));
    CHECK(has(&record, "gpu.0.temp", "52.5") && has(&record, "gpu.0.powerWatts", "140.0"));
    CHECK(has(&record, "gpu.0.powerPercent", "25.0") && has(&record, "gpu.1.gpu", ""));
    CHECK(strncmp(value_of(&record, "gpu.0.energyJoules"), "16954728.", 9) == 0); /* 1108152157446 of 15.3 uJ */
    struct str amd = wire_find_bytes(buf_str(&facts), 26); /* of both, whichever comes first */
    CHECK(text_is(buf_str(&facts), 18, "AMD INSTINCT MI250") && wire_find_varint(buf_str(&facts), 19) == 2);
    CHECK(machine_put_json(&json, buf_str(&facts)) == 0 && amd.n > 0 && !memmem(json.data, json.len, "gpu_nvidia", 10));
    static const char *const lines[] = {
        "\"uniqueId\": \"0xc2fe2e8c5dbd9f0\"", "\"vbiosVersion\": \"113-D65209-073\"",
        "\"performanceLevel\": \"stable_peak\"", "\"gpuOverdrive\": \"0\"", "\"maxPower\": \"560.0\"",
        "\"series\": \"AMD INSTINCT MI250\"", "\"model\": \"0x740c\"", "\"sku\": \"D65209\"", "\"id\": \"1\"",
        "\"sclkRange\": \"500Mhz - 1700Mhz\"", "\"mclkRange\": \"400Mhz - 1600Mhz\"",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!memmem(json.data, json.len, lines[i], strlen(lines[i]))) {
            fprintf(stderr, "no %s in %s\n", lines[i], buf_z(&json));
            _exit(1);
        }
    sysmon_free(s);
}

static void test_amds_cards_in_sysfs(void **state)
{
    in_process("missing", check_amd);
}

static void check_amd_alone(void)
{
    AUTO_BUF settings = {0}, record = {0};
    make_cards();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.temp", &record);
    tree_remove();
    CHECK(has(&record, "gpu.0.temp", "52.5") && has(&record, "gpu.0.memoryOverDrive", "5.0"));
    CHECK(has(&record, "gpu.0.memory", "")); /* NVIDIA's only */
    sysmon_free(s);
}

static void test_nvml_that_hangs_costs_amd_nothing(void **state)
{
    in_process("hang", check_amd_alone);
    in_process("error", check_amd_alone);
}

static void check_amd_behind(void)
{
    AUTO_BUF settings = {0}, record = {0};
    make_cards();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.2.temp", &record);
    CHECK(has(&record, "gpu.2.temp", "52.5") && has(&record, "gpu.0.temp", "61.0"));
    usleep(900000); /* NVML's next answer does not come: the numbers stay */
    buf_clear(&record);
    sample_until(s, "gpu.2.temp", &record);
    tree_remove();
    CHECK(has(&record, "gpu.2.temp", "52.5") && has(&record, "gpu.0.temp", ""));
    sysmon_free(s);
}

static void test_amds_numbers_are_behind_nvidias(void **state)
{
    in_process("stall", check_amd_behind);
}

static void check_vanishing(void)
{
    AUTO_BUF settings = {0}, record = {0};
    make_cards();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.gpu", &record);
    CHECK(has(&record, "gpu.0.gpu", "87.0"));
    tree_spoil(CARD "gpu_busy_percent");
    tree_spoil(SENSORS "power1_cap");
    tree_spoil(CARD "gpu_metrics");
    tree_spoil(CARD "pp_od_clk_voltage");
    usleep(600000); /* past what is shared */
    buf_clear(&record);
    sample_until(s, "gpu.0.temp", &record);
    CHECK(has(&record, "gpu.0.gpu", "") && has(&record, "gpu.0.energyJoules", ""));
    CHECK(has(&record, "gpu.0.powerWatts", "140.0") && has(&record, "gpu.0.powerPercent", ""));
    tree_remove();
    usleep(600000);
    buf_clear(&record);
    sysmon_sample(s, 1, STR(""), &record); /* the rest of a sample comes */
    CHECK(has(&record, "gpu.0.temp", "") && *value_of(&record, "disk./.usageGB"));
    sysmon_free(s);
}

static void test_files_of_amds_that_go_or_cannot_be_read(void **state)
{
    in_process("missing", check_vanishing);
}

/* ---- DCGM ---- */

static const char *dcgm_mode;

static void set_dcgm(void)
{
    CHECK(getenv("TARE_TEST_DCGM"));
    setenv("FAKE_DCGM", dcgm_mode, 1);
    setenv("TARE_DCGM", strcmp(dcgm_mode, "missing") == 0 ? "/nowhere/dcgm.so" : getenv("TARE_TEST_DCGM"), 1);
    gpu_enable_dcgm();
}

static void check_dcgm(void)
{
    AUTO_BUF settings = {0}, record = {0};
    set_dcgm();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.1.dramActive", &record);
    CHECK(has(&record, "gpu.0.smActive", "24.462890625") && has(&record, "gpu.1.smActive", ""));
    CHECK(has(&record, "gpu.0.dramActive", "24.5361328125") && has(&record, "gpu.1.dramActive", "24.5361328125"));
    CHECK(has(&record, "gpu.0.pcieTxBytes", "1009.0") && has(&record, "gpu.0.pcieRxBytes", "1010.0"));
    CHECK(has(&record, "gpu.0.smOccupancy", "") && has(&record, "gpu.0.nvlinkTxBytes", "")); /* both blank */
    CHECK(has(&record, "gpu.0.pipeFp64Active", "")); /* this GPU has none */
    sysmon_free(s);
}

static void test_dcgm_tells_profiling_figures(void **state)
{
    dcgm_mode = "";
    in_process("missing", check_dcgm);
}

static void check_dcgm_and_nvml(void)
{
    AUTO_BUF settings = {0}, record = {0};
    set_dcgm();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.1.dramActive", &record);
    CHECK(has(&record, "gpu.0.gpu", "75.0") && has(&record, "gpu.0.dramActive", "24.5361328125"));
    CHECK(has(&record, "gpu.1.pcieTxBytes", "10240.0")); /* NVML's own stands, and once */
    sysmon_free(s);
}

static void test_dcgm_adds_what_nvml_does_not_tell(void **state)
{
    dcgm_mode = "";
    in_process("", check_dcgm_and_nvml);
}

static void check_no_dcgm(void)
{
    AUTO_BUF settings = {0}, record = {0};
    set_dcgm();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.0.gpu", &record);
    for (int i = 0; i < 3; i++) {
        buf_clear(&record);
        sysmon_sample(s, 1, STR(""), &record);
        CHECK(has(&record, "gpu.0.gpu", "75.0") && has(&record, "gpu.0.dramActive", ""));
        CHECK(*value_of(&record, "proc.memory.rssMB"));
    }
    sysmon_free(s);
}

static void test_a_broken_dcgm_costs_only_its_figures(void **state)
{
    static const char *const modes[] = {"missing", "error", "hang", "empty", "old"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        dcgm_mode = modes[i];
        in_process("", check_no_dcgm);
    }
}

/* ---- Intel's, from a recorded tree of files ---- */

#define I915 "/sys/class/drm/card0/"
#define XE "/sys/class/drm/card1/"

static void make_intel(void)
{
    tree_make();
    tree_file("/sys/module/i915/initstate", "live\n");
    tree_file(I915 "device/vendor", "0x8086\n");
    tree_file(I915 "device/device", "0x56a0\n");
    tree_file(I915 "device/hwmon/hwmon2/name", "i915\n");
    tree_file(I915 "device/hwmon/hwmon2/energy1_input", "5000000\n");
    tree_file(I915 "device/hwmon/hwmon2/power1_max", "190000000\n");
    tree_file(I915 "device/hwmon/hwmon2/temp1_input", "43500\n");
    tree_file(I915 "gt/gt0/rps_act_freq_mhz", "2400\n");
    tree_file(I915 "gt/gt0/rc6_residency_ms", "1000\n");
    tree_file(XE "device/vendor", "0x8086\n");
    tree_file(XE "device/hwmon/hwmon5/name", "xe\n");
    tree_file(XE "device/hwmon/hwmon5/energy2_input", "7000000\n"); /* its package alone */
    tree_file(XE "device/hwmon/hwmon5/temp2_input", "51000\n");
    tree_file(XE "device/tile0/gt0/freq0/act_freq", "0\n");
    tree_file(XE "device/tile0/gt1/freq0/act_freq", "1200\n");
    tree_file(XE "device/tile0/gt0/gtidle/idle_residency_ms", "nonsense\n");
    tree_file(XE "device/tile0/gt1/gtidle/idle_residency_ms", "50\n");
    tree_file("/sys/class/drm/card2/device/vendor", "0x8086\n"); /* part of a processor */
    tree_file("/sys/class/drm/card3/device/vendor", "0x1002\n");
}

static void check_intel(void)
{
    AUTO_BUF settings = {0}, first = {0}, second = {0}, facts = {0};
    make_intel();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.1.temp", &first);
    CHECK(has(&first, "gpu.0.temp", "43.5") && has(&first, "gpu.1.temp", "51.0") && has(&first, "gpu.2.temp", ""));
    CHECK(has(&first, "gpu.0.energyJoules", "5.0") && has(&first, "gpu.1.energyJoules", "7.0"));
    CHECK(has(&first, "gpu.0.enforcedPowerLimitWatts", "190.0") && has(&first, "gpu.1.enforcedPowerLimitWatts", ""));
    CHECK(has(&first, "gpu.0.smClock", "2400") && has(&first, "gpu.1.smClock", "1200"));
    CHECK(has(&first, "gpu.0.powerWatts", "") && has(&first, "gpu.0.gpu", "")); /* there was nothing before */
    tree_file(I915 "device/hwmon/hwmon2/energy1_input", "105000000\n");
    tree_file(I915 "gt/gt0/rc6_residency_ms", "1001\n");
    usleep(600000); /* past what is shared */
    sample_until(s, "gpu.0.powerWatts", &second);
    double watts = atof(value_of(&second, "gpu.0.powerWatts"));
    CHECK(watts > 1 && watts < 100 / 0.6); /* 100 J in 0.6 s or more, by how busy the machine is */
    CHECK(fabs(atof(value_of(&second, "gpu.0.powerPercent")) - watts / 190 * 100) < 0.01);
    CHECK(atof(value_of(&second, "gpu.0.gpu")) > 99 && has(&second, "gpu.1.powerWatts", "0.0"));
    CHECK(has(&second, "gpu.1.gpu", "100.0")); /* of the GT that tells it */
    machine_put_host(&facts, STR(""), STR(""), "w");
    CHECK(text_is(buf_str(&facts), 18, "Intel GPU 0x56a0") && wire_find_varint(buf_str(&facts), 19) == 2);
    tree_remove(); /* all at once: the rest of a sample comes */
    usleep(600000);
    buf_clear(&second);
    sysmon_sample(s, 1, STR(""), &second);
    CHECK(has(&second, "gpu.0.temp", "") && *value_of(&second, "disk./.usageGB"));
    sysmon_free(s);
}

static void test_intels_cards_in_sysfs(void **state)
{
    in_process("missing", check_intel);
}

static void check_intel_behind(void)
{
    AUTO_BUF settings = {0}, record = {0};
    make_intel();
    tree_file("/sys/module/amdgpu/initstate", "live\n");
    tree_file("/sys/class/drm/card3/device/gpu_busy_percent", "5\n");
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "gpu.3.temp", &record);
    CHECK(has(&record, "gpu.0.temp", "61.0") && has(&record, "gpu.2.gpu", "5.0") && has(&record, "gpu.3.temp", "43.5"));
    CHECK(has(&record, "gpu.4.temp", "51.0"));
    tree_remove();
    sysmon_free(s);
}

static void test_intels_numbers_are_behind_the_others(void **state)
{
    in_process("", check_intel_behind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpus_have_the_peers_names),
        cmocka_unit_test(test_only_the_devices_asked_for),
        cmocka_unit_test(test_facts_of_the_gpus),
        cmocka_unit_test(test_broken_libraries_cost_only_their_figures),
        cmocka_unit_test(test_a_library_that_hangs_later),
        cmocka_unit_test(test_amds_cards_in_sysfs),
        cmocka_unit_test(test_nvml_that_hangs_costs_amd_nothing),
        cmocka_unit_test(test_amds_numbers_are_behind_nvidias),
        cmocka_unit_test(test_files_of_amds_that_go_or_cannot_be_read),
        cmocka_unit_test(test_dcgm_tells_profiling_figures),
        cmocka_unit_test(test_dcgm_adds_what_nvml_does_not_tell),
        cmocka_unit_test(test_a_broken_dcgm_costs_only_its_figures),
        cmocka_unit_test(test_intels_cards_in_sysfs),
        cmocka_unit_test(test_intels_numbers_are_behind_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
