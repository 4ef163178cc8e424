/* SPDX-License-Identifier: MIT */
/* Trainium by a stand-in for neuron-monitor, a shell script first in PATH. What is known of it is kept
 * for the life of a process, so each test is one of its own. */
#include "unit.h"

#include "base/buf.h"
#include "record/wire.h"
#include "service/watch/machine.h"
#include "service/watch/sysmon.h"
#include "service/watch/trainium.h"
#include "tests/support/watch_test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* PID stands for the process that is watched. */
static const char report[] =
    "{\"neuron_runtime_data\":[{\"pid\":3,\"report\":{\"memory_used\":{\"neuron_runtime_u"
    "sed_bytes\":{\"host\":1}}}},{\"pid\":PID,\"error\":\"\",\"report\":{\"neuroncore_cou"
    "nters\":{\"period\":1.0,\"neuroncores_in_use\":{\"0\":{\"neuroncore_utilization\":1."
    "5},\"1\":{\"neuroncore_utilization\":99}}},\"memory_used\":{\"neuron_runtime_used_by"
    "tes\":{\"host\":610705408,\"neuron_device\":102298328,\"usage_breakdown\":{\"host\":"
    "{\"application_memory\":609656832,\"constants\":0,\"odd\":\"text\"},\"neuroncore_mem"
    "ory_usage\":{\"0\":{\"constants\":196608,\"tensors\":943608},\"1\":{\"model_code\":1"
    "01125344}}}}}}}],\"neuron_hardware_info\":{\"neuron_device_count\":2,\"neuroncore_pe"
    "r_device_count\":8}}";

static char dir[] = "/tmp/tare_trn_XXXXXX";

/* A file in the folder of the stand-in, with PID filled in. */
static void file(const char *name, const char *text)
{
    char path[64], pid[16];
    const char *at = strstr(text, "PID");
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    FILE *f = fopen(path, "w");
    CHECK(f);
    if (at)
        fprintf(f, "%.*s%s%s", (int)(at - text), text, pid, at + 3);
    else
        fputs(text, f);
    fclose(f);
    CHECK(chmod(path, 0700) == 0);
}

static bool read_back(const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, size - 1, f) : 0;
    text[n] = 0;
    if (f)
        fclose(f);
    return n > 0;
}

static const char *script, *rank;
static void (*check_it)(void);

static void with_script(void)
{
    char path[128];
    snprintf(path, sizeof path, "/nowhere:%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);
    setenv("STAND_IN", dir, 1);
    setenv("TARE_NVML", "/nowhere/nvml.so", 1);
    unsetenv("LOCAL_RANK");
    if (rank)
        setenv("LOCAL_RANK", rank, 1);
    file("report", report);
    if (script)
        file("neuron-monitor", script);
    check_it();
}

/* Run `check` in a process of its own, with this script for neuron-monitor (NULL: none). */
static void in_process(const char *program, const char *local_rank, void (*check)(void))
{
    char command[64], child[16];
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    script = program;
    rank = local_rank;
    check_it = check;
    assert_true(in_child(with_script));
    if (read_back("child", child, sizeof child)) /* it ends with the service, however that ends */
        for (int i = 0; i < 500 && kill((pid_t)atoi(child), 0) == 0; i++)
            usleep(10000);
    assert_true(!*child || (kill((pid_t)atoi(child), 0) < 0 && errno == ESRCH));
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

#define START "#!/bin/sh\necho $$ >$STAND_IN/child\ncat \"$2\" >$STAND_IN/config\n"
#define GOOD START "cat $STAND_IN/report; echo; exec sleep 1000\n"

static void check_names(void)
{
    AUTO_BUF settings = {0}, record = {0}, facts = {0}, json = {0};
    char text[512];
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "trn.host_total_memory_usage", &record);
    CHECK(has(&record, "trn.host_total_memory_usage", "610705408.0"));
    CHECK(has(&record, "trn.neuron_device_total_memory_usage", "102298328.0"));
    CHECK(has(&record, "trn.0.neuroncore_utilization", "1.5") && has(&record, "trn.1.neuroncore_utilization", "99.0"));
    CHECK(has(&record, "trn.host_memory_usage.application_memory", "609656832.0"));
    CHECK(has(&record, "trn.host_memory_usage.constants", "0.0") && has(&record, "trn.host_memory_usage.odd", ""));
    CHECK(has(&record, "trn.0.neuroncore_memory_usage.tensors", "943608.0"));
    CHECK(has(&record, "trn.1.neuroncore_memory_usage.model_code", "101125344.0"));
    machine_put_host(&facts, STR(""), STR(""), "w");
    CHECK(machine_put_json(&json, buf_str(&facts)) == 0);
    CHECK(strstr(buf_z(&json), "\"name\": \"Trainium\",\n    \"vendor\": \"AWS\",\n    \"neuronDeviceCount\": 2,\n"
                               "    \"neuroncorePerDeviceCount\": 8"));
    CHECK(read_back("config", text, sizeof text) && strstr(text, "\"period\": \"15s\""));
    sysmon_free(s);
}

static void test_reports_become_the_peers_names(void **state)
{
    in_process(GOOD, NULL, check_names);
}

static void check_rank(void)
{
    AUTO_BUF settings = {0}, record = {0};
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "trn.host_total_memory_usage", &record);
    CHECK(has(&record, "trn.host_total_memory_usage", "1.0")); /* of the first process, as the peer */
    sysmon_free(s);
}

static void test_under_torchrun_the_first_process_is_told(void **state)
{
    in_process(GOOD, "1", check_rank);
}

static void check_own_config(void)
{
    AUTO_BUF settings = {0}, record = {0};
    char path[64], text[64];
    file("mine.json", "my own");
    snprintf(path, sizeof path, "%s/mine.json", dir);
    size_t mark = wire_buf_begin(&settings, 46);
    wire_buf_bytes(&settings, 1, str_of(path));
    wire_buf_end(&settings, mark);
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "trn.host_total_memory_usage", &record);
    CHECK(read_back("config", text, sizeof text) && strcmp(text, "my own") == 0);
    sysmon_free(s);
}

static void test_the_settings_name_its_configuration(void **state)
{
    in_process(GOOD, NULL, check_own_config);
}

static void test_garbage_costs_only_itself(void **state)
{
    in_process(START "echo 'not json'; echo; echo '[1]'; echo '{\"a\":'; printf '\\377\\n'\n"
                     "head -c 3000000 /dev/zero | tr '\\0' x; echo\n"
                     "cat $STAND_IN/report; echo; echo nonsense; exec sleep 1000\n",
               NULL, check_names);
}

/* The rest of a sample comes, without Trainium's. */
static void check_none(void)
{
    AUTO_BUF settings = {0};
    struct sysmon *s = watch_self(&settings);
    for (int i = 0; i < 20; i++) {
        AUTO_BUF record = {0};
        sysmon_sample(s, 1, STR(""), &record);
        CHECK(*value_of(&record, "proc.memory.rssMB") && has(&record, "trn.host_total_memory_usage", ""));
        usleep(10000);
    }
    sysmon_free(s);
}

static void test_one_that_hangs_ends_or_is_not_there(void **state)
{
    in_process(START "exec sleep 1000\n", NULL, check_none);
    in_process(START "exit 1\n", NULL, check_none);
    in_process("no program", NULL, check_none);
    in_process(NULL, NULL, check_none);
}

static void check_idle(void)
{
    AUTO_BUF settings = {0}, record = {0};
    char child[16];
    size_t mark = wire_buf_begin(&settings, 174);
    wire_buf_double(&settings, 1, 0.1);
    wire_buf_end(&settings, mark);
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "trn.host_total_memory_usage", &record);
    CHECK(has(&record, "trn.host_total_memory_usage", "610705408.0") && read_back("child", child, sizeof child));
    for (int i = 0; i < 3000 && kill((pid_t)atoi(child), 0) == 0; i++)
        usleep(10000);
    CHECK(kill((pid_t)atoi(child), 0) < 0 && errno == ESRCH);
    usleep(100000);
    buf_clear(&record);
    sample_until(s, "trn.host_total_memory_usage", &record); /* another is started */
    CHECK(has(&record, "trn.host_total_memory_usage", "610705408.0"));
    sysmon_free(s);
}

static void test_it_ends_when_no_run_asks_and_starts_again(void **state)
{
    in_process(GOOD, NULL, check_idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports_become_the_peers_names),
        cmocka_unit_test(test_under_torchrun_the_first_process_is_told),
        cmocka_unit_test(test_the_settings_name_its_configuration),
        cmocka_unit_test(test_garbage_costs_only_itself),
        cmocka_unit_test(test_one_that_hangs_ends_or_is_not_there),
        cmocka_unit_test(test_it_ends_when_no_run_asks_and_starts_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
