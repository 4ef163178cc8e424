/* SPDX-License-Identifier: MIT */
/* TPUs: a recorded bus, a stand-in for libtpu.so (support/fake_libtpu.c) and for the runtime's gRPC service
 * (support/tiny_grpc.c). What is known of them is kept for the life of a process, so most tests are one of
 * their own. */
#include "unit.h"

#include "base/clock.h"
#include "record/wire.h"
#include "service/watch/machine.h"
#include "service/watch/sysmon.h"
#include "service/watch/tpu.h"
#include "tests/support/built_module.h"
#include "tests/support/tiny_grpc.h"
#include "tests/support/watch_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what they say, as figures ---- */

static const struct tpu_metric *metric(const char *key)
{
    for (int i = 0; i < TPU_N_METRICS; i++)
        if (strcmp(tpu_metrics[i].key, key) == 0)
            return &tpu_metrics[i];
    CHECK(key == NULL); /* there is none of this name */
    return NULL;
}

static void put_double(struct buf *to, uint32_t field, double v)
{
    wire_buf_double(to, field, v);
}

/* A Metric of the response: its attribute is a text, or a number. */
static size_t begin_metric(struct buf *to, const char *label, uint64_t device)
{
    size_t m = wire_buf_begin(to, 3), a = wire_buf_begin(to, 1);
    wire_buf_bytes(to, 1, STR("key"));
    size_t v = wire_buf_begin(to, 2);
    if (label)
        wire_buf_bytes(to, 1, str_of(label));
    else
        wire_buf_varint(to, 3, device);
    wire_buf_end(to, v);
    wire_buf_end(to, a);
    return m;
}

static void put_gauge(struct buf *to, const char *label, uint64_t device, double v)
{
    size_t m = begin_metric(to, label, device), g = wire_buf_begin(to, 3);
    if (v == floor(v))
        wire_buf_varint(to, 2, (uint64_t)(int64_t)v);
    else
        put_double(to, 1, v);
    wire_buf_end(to, g);
    wire_buf_end(to, m);
}

/* Buckets of 10 counts each, the options being numbers `field`, `n`, `a` and `b`. */
static void put_distribution(struct buf *to, const char *label, uint32_t field, uint64_t n, double a, double b,
                             const char *counts, size_t n_counts)
{
    size_t m = begin_metric(to, label, 0), d = wire_buf_begin(to, 5);
    wire_buf_varint(to, 1, 100);
    put_double(to, 2, 15);
    size_t options = wire_buf_begin(to, 6), kind = wire_buf_begin(to, field);
    if (field == 3) { /* bounds, packed */
        double bounds[] = {a, b};
        wire_buf_bytes(to, 1, str_make(bounds, sizeof bounds));
    } else {
        wire_buf_varint(to, 1, n);
        put_double(to, 2, a);
        put_double(to, 3, b);
    }
    wire_buf_end(to, kind);
    wire_buf_end(to, options);
    wire_buf_bytes(to, 7, str_make(counts, n_counts));
    wire_buf_end(to, d);
    wire_buf_end(to, m);
}

static void put_summary(struct buf *to, const char *label)
{
    size_t m = begin_metric(to, label, 0), s = wire_buf_begin(to, 6);
    wire_buf_varint(to, 1, 4);
    put_double(to, 2, 10);
    static const double quantiles[][2] = {{0.5, 2}, {0.99, 3}, {0.7, 9}};
    for (size_t i = 0; i < 3; i++) {
        size_t q = wire_buf_begin(to, 3);
        put_double(to, 1, quantiles[i][0]);
        put_double(to, 2, quantiles[i][1]);
        wire_buf_end(to, q);
    }
    wire_buf_end(to, s);
    wire_buf_end(to, m);
}

static void assert_figures(const char *key, uint32_t fanout, const struct buf *metrics, size_t n,
                           const char *const expected[][2])
{
    AUTO_BUF response = {0};
    struct tpu_figures f;
    size_t mark = wire_buf_begin(&response, 1);
    buf_put_str(&response, buf_str(metrics));
    wire_buf_end(&response, mark);
    tpu_figures_init(&f);
    assert_int_equal(tpu_put_response(&f, metric(key), fanout, buf_str(&response)), n);
    for (size_t i = 0; i < n; i++)
        assert_true(has(&f.items, expected[i][0], expected[i][1]));
    tpu_figures_fini(&f);
}

static void test_distributions_become_percentiles(void **state)
{
    AUTO_BUF linear = {0}, others = {0};
    static const char *const of_linear[][2] = {
        {"tpu.hloExecTiming.a_plus_b.meanUs", "15.0"}, {"tpu.hloExecTiming.a_plus_b.p50Us", "18.0"},
        {"tpu.hloExecTiming.a_plus_b.p90Us", "30.0"}, {"tpu.hloExecTiming.a_plus_b.p95Us", "30.0"},
        {"tpu.hloExecTiming.a_plus_b.p999Us", "30.0"}};
    put_distribution(&linear, "A+B", 4, 3, 10, 0, "\x0a\x32\x1e\x0a", 4);
    assert_figures("hloExecTiming", 1, &linear, 5, of_linear);
    static const char *const of_others[][2] = {
        {"tpu.grpcTcpMinRtt.exp.meanUs", "15.0"},  {"tpu.grpcTcpMinRtt.exp.p50Us", "32.5"},
        {"tpu.grpcTcpMinRtt.exp.p90Us", "60.0"},   {"tpu.grpcTcpMinRtt.exp.p95Us", "70.0"},
        {"tpu.grpcTcpMinRtt.exp.p999Us", "79.80000000000001"},  {"tpu.grpcTcpMinRtt.item_1.meanUs", "15.0"},
        {"tpu.grpcTcpMinRtt.item_1.p50Us", "2.0"}, {"tpu.grpcTcpMinRtt.item_1.p90Us", "3.6"},
        {"tpu.grpcTcpMinRtt.item_1.p95Us", "3.8"}, {"tpu.grpcTcpMinRtt.item_1.p999Us", "3.996"}};
    put_distribution(&others, "exp", 2, 3, 2, 10, "\0\x50\x14", 3);
    put_distribution(&others, "", 3, 0, 4, 9, "\x0a\0", 2);
    assert_figures("grpcTcpMinRtt", 1, &others, 10, of_others);
}

static void test_summaries_gauges_and_lists(void **state)
{
    AUTO_BUF summary = {0}, gauges = {0}, list = {0};
    static const char *const of_summary[][2] = {{"tpu.hostComputeLatency.x.meanUs", "2.5"},
                                                {"tpu.hostComputeLatency.x.p50Us", "2.0"},
                                                {"tpu.hostComputeLatency.x.p99Us", "3.0"}};
    put_summary(&summary, "x");
    assert_figures("hostComputeLatency", 1, &summary, 3, of_summary);
    static const char *const of_gauges[][2] = {{"tpu.0.dutyCycle", "61.5"}, {"tpu.1.dutyCycle", "61.5"},
                                               {"tpu.2.dutyCycle", "-3.0"}, {"tpu.3.dutyCycle", "-3.0"}};
    put_gauge(&gauges, NULL, 0, 61.5);
    put_gauge(&gauges, NULL, 1, -3);
    assert_figures("dutyCycle", 2, &gauges, 4, of_gauges);
    static const char *const of_devices[][2] = {{"tpu.0.runtimeHbmUtilization", "61.5"},
                                                {"tpu.1.runtimeHbmUtilization", "-3.0"}};
    assert_figures("runtimeHbmUtilization", 1, &gauges, 2, of_devices);
    static const char *const of_list[][2] = {{"tpu.hloQueueSize.core_0", "4.0"}, {"tpu.hloQueueSize.item_1", "5.0"}};
    put_gauge(&list, "Core-0", 0, 4);
    put_gauge(&list, NULL, 7, 5);
    assert_figures("hloQueueSize", 1, &list, 2, of_list);
}

static void test_torn_messages_give_nothing_that_is_not_there(void **state)
{
    AUTO_BUF metrics = {0}, response = {0};
    put_distribution(&metrics, "x", 2, 3, 2, 10, "\0\x50\x14", 3);
    put_summary(&metrics, "y");
    size_t mark = wire_buf_begin(&response, 1);
    buf_put_str(&response, buf_str(&metrics));
    wire_buf_end(&response, mark);
    for (size_t n = 0; n < response.len; n++) {
        struct tpu_figures f;
        tpu_figures_init(&f);
        assert_int_equal(tpu_put_response(&f, metric("hloExecTiming"), 1, str_make(response.data, n)), 0);
        tpu_figures_fini(&f);
    }
    struct str message;
    assert_true(tpu_find_message(STR("\0\0\0\0\2ab"), &message) && str_eqz(message, "ab"));
    assert_false(tpu_find_message(STR("\0\0\0\0\3ab"), &message));
    assert_false(tpu_find_message(STR("\1\0\0\0\2ab"), &message));
    assert_false(tpu_find_message(STR("\0\0\0"), &message));
}

/* ---- the whole ---- */

static struct tiny_grpc server;
static const char *library_mode; /* NULL: no library */

static int reply(const char *name, struct buf *message)
{
    AUTO_BUF metrics = {0};
    if (strcmp(name, "tpu.runtime.tensorcore.idle_duration.seconds") == 0)
        put_gauge(&metrics, NULL, 1, 2.5);
    else if (strcmp(name, "tpu.runtime.hbm.memory.total.bytes") == 0)
        put_gauge(&metrics, NULL, 0, 1000);
    else if (strcmp(name, "tpu.runtime.hbm.memory.usage.bytes") == 0)
        put_gauge(&metrics, NULL, 0, 250);
    else
        return 5; /* not found */
    size_t mark = wire_buf_begin(message, 1);
    buf_put_str(message, buf_str(&metrics));
    wire_buf_end(message, mark);
    return 0;
}

static void put_chip(const char *slot, const char *device, const char *subsystem)
{
    char path[128];
    const char *const files[][2] = {{"vendor", "0x1ae0\n"}, {"device", device}, {"subsystem_device", subsystem}};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", slot, files[i][0]);
        tree_file(path, files[i][1]);
    }
}

static void set_up_machine(void)
{
    char port[16];
    tree_make();
    tree_file("/sys/bus/pci/devices/0000:00:01.0/vendor", "0x10de\n");
    put_chip("0000:00:04.0", "0x0063\n", "0x0001\n");
    put_chip("0000:00:05.0", "0x0027\n", "0x004f\n");
    put_chip("0000:00:06.0", "0x0027\n", "0x004f\n");
    put_chip("0000:00:07.0", "0x0027\n", "0x0001\n"); /* none that is known */
    setenv("TARE_NVML", "/nowhere/nvml.so", 1);
    setenv("HOME", "/nowhere", 1);
    setenv("WANDB_LIBTPU_PATH", library_mode ? getenv("TARE_TEST_LIBTPU") : "/nowhere", 1);
    setenv("FAKE_LIBTPU", library_mode ? library_mode : "", 1);
    snprintf(port, sizeof port, "%d", server.port ? server.port : 1);
    setenv("TARE_TPU_PORT", port, 1);
}

static void check_library(void)
{
    AUTO_BUF settings = {0}, record = {0};
    set_up_machine();
    struct sysmon *s = watch_self(&settings);
    sample_until(s, "tpu.0.tensorcoreUtilization", &record);
    tree_remove();
    static const char *const expected[][2] = {
        {"tpu.0.tensorcoreUtilization", "75.5"}, {"tpu.1.tensorcoreUtilization", "80.25"},
        {"tpu.0.dutyCycle", "42.0"}, {"tpu.1.dutyCycle", "42.0"}, {"tpu.2.dutyCycle", ""}, {"tpu.4.dutyCycle", "80.0"},
        {"tpu.5.dutyCycle", "80.0"}, {"tpu.0.hbmCapacityTotal", "200.0"}, {"tpu.1.hbmCapacityUsage", "300.0"},
        {"tpu.0.hbmMemoryUsage", "25.0"}, {"tpu.1.hbmMemoryUsage", "75.0"}, {"tpu.grpcTcpMinRtt.meanUs", "10.0"},
        {"tpu.grpcTcpMinRtt.p999Us", "50.0"}, {"tpu.grpcTcpDeliveryRate.p50Mbps", "100.0"},
        {"tpu.grpcTcpDeliveryRate.p999Mbps", "400.0"}, {"tpu.hloExecTiming.main_plus_1.meanUs", "100.0"},
        {"tpu.hloExecTiming.main_plus_1.p99Us", "95.0"}, {"tpu.hloExecTiming.x.stat1Us", "2.0"},
        {"tpu.hloQueueSize.tensor_core_0", "5.0"}, {"tpu.hloQueueSize.gpu_plus_memory_100pct", "7.0"},
        {"tpu.hloQueueSize.item_2", "42.0"}, {"tpu.0.tensorcoreIdleDuration", ""},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        CHECK(has(&record, expected[i][0], expected[i][1]));
    sysmon_free(s);
}

static void test_libtpu_is_asked_for_its_figures(void **state)
{
    library_mode = "";
    assert_true(in_child(check_library));
}

static void check_service(void)
{
    AUTO_BUF settings = {0}, record = {0};
    server.reply = reply;
    tiny_grpc_start(&server);
    set_up_machine();
    struct sysmon *s = watch_self(&settings);
    bool has_library = library_mode && !*library_mode;
    int n_whole = 0;
    for (int round = 0; n_whole < 2 && round < 20; round++) {
        int before = atomic_load(&server.n_calls);
        buf_clear(&record);
        sample_until(s, "tpu.2.tensorcoreIdleDuration", &record); /* the second chip's: two devices each */
        int calls = atomic_load(&server.n_calls) - before;
        usleep(600000); /* past what is shared */
        if (calls != (has_library ? 8 : 15) || !*value_of(&record, "tpu.0.hbmMemoryUsage"))
            continue; /* on a busy machine an answer may be late, and nothing more is asked behind it */
        n_whole++;
        CHECK(has(&record, "tpu.2.tensorcoreIdleDuration", "2.5"));
        CHECK(has(&record, "tpu.0.dutyCycle", has_library ? "42.0" : ""));
        CHECK(has(&record, "tpu.0.hbmMemoryUsage", "25.0"));
        CHECK(has(&record, "tpu.0.hbmCapacityTotal", has_library ? "200.0" : "1000.0"));
    }
    CHECK(n_whole == 2);
    tree_remove();
    sysmon_free(s);
}

static void test_what_libtpu_does_not_tell_the_service_does(void **state)
{
    library_mode = "";
    assert_true(in_child(check_service));
    library_mode = NULL;
    assert_true(in_child(check_service));
}

static void test_libraries_that_are_broken(void **state)
{
    static const char *const modes[] = {"old", "error"};
    for (size_t i = 0; i < 2; i++) {
        library_mode = modes[i];
        assert_true(in_child(check_service) || !fprintf(stderr, "%s\n", modes[i]));
    }
}

static int hang(const char *name, struct buf *message)
{
    return -1;
}

/* The rest of a sample comes, in time. */
static void check_none(void)
{
    AUTO_BUF settings = {0};
    server.reply = hang;
    tiny_grpc_start(&server);
    set_up_machine();
    struct sysmon *s = watch_self(&settings);
    for (int i = 0; i < 4; i++) {
        AUTO_BUF record = {0};
        int64_t begun_ns = clock_mono_ns();
        sysmon_sample(s, 1, STR(""), &record);
        CHECK(*value_of(&record, "disk./.usageGB") && has(&record, "tpu.0.dutyCycle", ""));
        CHECK(clock_mono_ns() - begun_ns < 5000000000); /* a quarter of a second, but on a busy machine */
        usleep(300000);
    }
    tree_remove();
    sysmon_free(s);
}

static void test_what_hangs_costs_only_its_figures(void **state)
{
    library_mode = "hang";
    assert_true(in_child(check_none));
    library_mode = "wild"; /* and a service that never answers */
    assert_true(in_child(check_none));
}

static void check_facts(void)
{
    AUTO_BUF facts = {0}, json = {0};
    set_up_machine();
    machine_put_host(&facts, STR(""), STR(""), "w");
    tree_remove();
    CHECK(machine_put_json(&json, buf_str(&facts)) == 0);
    CHECK(strstr(buf_z(&json), "\"tpu\": {\n    \"name\": \"v3\",\n    \"hbmGib\": 16,\n    \"devicesPerChip\": 2,\n"
                               "    \"count\": 2\n  }"));
}

static void check_no_chips(void)
{
    AUTO_BUF settings = {0}, record = {0}, facts = {0};
    library_mode = "hang"; /* it is not even loaded */
    set_up_machine();
    tree_remove();
    struct sysmon *s = watch_self(&settings);
    sysmon_sample(s, 1, STR(""), &record);
    machine_put_host(&facts, STR(""), STR(""), "w");
    CHECK(wire_find_bytes(buf_str(&facts), 29).n == 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps))
        CHECK(!strstr(line, "fake_libtpu"));
    CHECK(maps);
    sysmon_free(s);
}

static void test_chips_are_counted_on_the_bus(void **state)
{
    library_mode = NULL;
    assert_true(in_child(check_facts));
    assert_true(in_child(check_no_chips));
}

int main(void)
{
    use_built_module();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions_become_percentiles),
        cmocka_unit_test(test_summaries_gauges_and_lists),
        cmocka_unit_test(test_torn_messages_give_nothing_that_is_not_there),
        cmocka_unit_test(test_libtpu_is_asked_for_its_figures),
        cmocka_unit_test(test_what_libtpu_does_not_tell_the_service_does),
        cmocka_unit_test(test_libraries_that_are_broken),
        cmocka_unit_test(test_what_hangs_costs_only_its_figures),
        cmocka_unit_test(test_chips_are_counted_on_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
