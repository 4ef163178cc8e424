/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "service/limits.h"
#include "service/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    struct options o;
    enum options_verdict verdict;
    char out[8192], err[8192];
};

static struct result parse(const char *words)
{
    static char line[1024];
    char *argv[32] = {"tare"};
    int argc = 1;
    static struct result r;
    memset(&r, 0, sizeof r);
    snprintf(line, sizeof line, "%s", words);
    for (char *w = strtok(line, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    FILE *out = fmemopen(r.out, sizeof r.out, "w"), *err = fmemopen(r.err, sizeof r.err, "w");
    r.verdict = options_parse(&r.o, argc, argv, out, err);
    fclose(out);
    fclose(err);
    return r;
}

static void test_defaults_are_the_peers(void **state)
{
    struct result r = parse("");
    assert_int_equal(r.verdict, OPTIONS_RUN);
    assert_string_equal(r.o.port_filename, "port_file.txt");
    assert_int_equal(r.o.pid, 0);
    assert_true(r.o.idle_timeout_ns == INT64_C(600) * 1000000000);
    assert_true(r.o.max_frame_bytes == INT64_C(2147483648));
    assert_false(r.o.detached || r.o.listen_on_localhost || r.o.os_pid_shutdown);
}

static void test_every_flag_with_one_dash_or_two(void **state)
{
    struct result r = parse("-port-filename a --pid=7 -detached --idle-timeout 1m30s "
                            "--log-level -4 -no-observability --listen-on-localhost=T "
                            "-os-pid-shutdown --enable-dcgm-profiling --max-frame-bytes 0x10");
    assert_int_equal(r.verdict, OPTIONS_RUN);
    assert_string_equal(r.o.port_filename, "a");
    assert_int_equal(r.o.pid, 7);
    assert_int_equal(r.o.log_level, -4);
    assert_true(r.o.idle_timeout_ns == INT64_C(90) * 1000000000);
    assert_int_equal(r.o.max_frame_bytes, 16);
    assert_true(r.o.detached && r.o.no_observability && r.o.listen_on_localhost &&
                r.o.os_pid_shutdown && r.o.enable_dcgm_profiling);
    assert_false(parse("--detached=false").o.detached);
}

static void test_flags_end_at_the_first_other_word(void **state)
{
    assert_int_equal(parse("--pid 3 word --no-such").verdict, OPTIONS_RUN);
    assert_int_equal(parse("--pid 3 -- --no-such").verdict, OPTIONS_RUN);
    assert_int_equal(parse("-").verdict, OPTIONS_RUN);
}

static void test_help_and_version(void **state)
{
    const char *helps[] = {"-h", "--help", "--pid 3 -help"};
    for (size_t i = 0; i < 3; i++) {
        struct result r = parse(helps[i]);
        assert_int_equal(r.verdict, OPTIONS_SHOWN);
        assert_non_null(strstr(r.err, "--port-filename"));
    }
    struct result r = parse("--version");
    assert_int_equal(r.verdict, OPTIONS_SHOWN);
    assert_int_equal(strncmp(r.out, "tare ", 5), 0);
}

static void test_wrong_flags_say_why(void **state)
{
    static const struct {
        const char *words, *why;
    } cases[] = {
        {"--no-such", "not defined: --no-such"}, {"--pid", "needs an argument"},
        {"--pid x", "invalid value"},            {"--pid 12x", "invalid value"},
        {"--pid -1", "invalid value"},           {"--pid 99999999999", "invalid value"},
        {"--detached=2", "invalid value"},       {"--idle-timeout 5", "invalid value"},
        {"--idle-timeout -1s", ">= 0"},          {"--log-level=", "invalid value"},
        {"--max-frame-bytes 0", "invalid"},      {"--max-frame-bytes 4294967296", "invalid"},
        {"---pid 1", "bad flag"},                {"--=1", "bad flag"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result r = parse(cases[i].words);
        assert_int_equal(r.verdict, OPTIONS_INVALID);
        if (!strstr(r.err, cases[i].why))
            fail_msg("%s: %s", cases[i].words, r.err);
    }
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"1ns", 1},
        {"1.5s", 1500000000},
        {".5s", 500000000},
        {"10m0s", INT64_C(600000000000)},
        {"1h2m3s4ms5us6ns", INT64_C(3723004005006)},
        {"7\u00b5s", 7000},
        {"7\u03bcs", 7000},
        {"-2s", -2000000000},
        {"+2s", 2000000000},
    };
    int64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(options_duration(good[i].text, &ns), 0);
        assert_true(ns == good[i].ns);
    }
    const char *bad[] = {"", "5", "s", "1d", "1 s", "1s2", ".s", "-", "1.2.3s", "999999999h", "1sm",
                         "nan", "1e3s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ns = 42;
        assert_int_equal(options_duration(bad[i], &ns), TARE_EINVAL);
        assert_int_equal(ns, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_peers),
        cmocka_unit_test(test_every_flag_with_one_dash_or_two),
        cmocka_unit_test(test_flags_end_at_the_first_other_word),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_wrong_flags_say_why),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
