/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "server/sweep/search.h"
#include "server/sweep/yaml_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct sweep_space *space(const char *yaml)
{
    struct err e = {0};
    struct sweep_space *s = NULL;
    json_t *config = yaml_to_json(str_of(yaml), &e);
    if (!config)
        fail_msg("%s", e.text);
    int rc = sweep_space_new(config, &s, &e);
    json_decref(config);
    if (rc < 0)
        fail_msg("%s", e.text);
    return s;
}

static json_t *point(const struct sweep_space *s, int64_t index, uint64_t seed)
{
    AUTO_BUF text = {0};
    assert_int_equal(sweep_space_point(s, index, seed, &text), 0);
    json_t *args = json_loadb(text.data, text.len, 0, NULL);
    assert_non_null(args);
    return args;
}

static double value_of(const struct sweep_space *s, int64_t index, const char *name)
{
    json_t *args = point(s, index, 7);
    const json_t *v = json_object_get(json_object_get(args, name), "value");
    assert_true(json_is_number(v));
    double d = json_number_value(v);
    json_decref(args);
    return d;
}

static void test_grid_goes_through_all_points_in_order(void **state)
{
    struct sweep_space *s = space("method: grid\nparameters:\n  b: {values: [x, y, x]}\n  a: {values: [1, 2, 3]}\n"
                                  "  c: {value: true}\n  q: {distribution: q_uniform, min: 0, max: 4, q: 2}\n");
    assert_int_equal(sweep_space_size(s), 3 * 2 * 2);
    static const char *const want[] = {
        "{\"a\":{\"value\":1},\"b\":{\"value\":\"x\"},\"c\":{\"value\":true},\"q\":{\"value\":0}}",
        "{\"a\":{\"value\":1},\"b\":{\"value\":\"x\"},\"c\":{\"value\":true},\"q\":{\"value\":2}}",
        "{\"a\":{\"value\":1},\"b\":{\"value\":\"y\"},\"c\":{\"value\":true},\"q\":{\"value\":0}}",
    };
    for (int i = 0; i < 3; i++) {
        AUTO_BUF text = {0};
        assert_int_equal(sweep_space_point(s, i, 1, &text), 0);
        assert_string_equal(buf_z(&text), want[i]);
    }
    AUTO_BUF none = {0};
    assert_int_equal(sweep_space_point(s, 12, 1, &none), TARE_ENOTFOUND);
    sweep_space_free(s);
}

static void test_nested_parameters_nest_their_values(void **state)
{
    struct sweep_space *s = space("method: grid\nrun_cap: 5\nparameters:\n  opt:\n    parameters:\n      lr: {value: 0.5}\n"
                                  "      deep: {parameters: {k: {value: null}}}\n");
    AUTO_BUF text = {0};
    assert_int_equal(sweep_space_point(s, 0, 1, &text), 0);
    assert_string_equal(buf_z(&text), "{\"opt\":{\"value\":{\"deep\":{\"k\":null},\"lr\":0.5}}}");
    assert_int_equal(sweep_space_run_cap(s), 5);
    sweep_space_free(s);
}

static void test_random_draws_follow_their_distributions(void **state)
{
    struct sweep_space *s = space(
        "method: random\nparameters:\n  u: {min: 1.0, max: 3.0}\n  i: {min: 1, max: 4}\n"
        "  l: {distribution: log_uniform_values, min: 0.001, max: 1.0}\n"
        "  n: {distribution: normal, mu: 10, sigma: 2}\n  q: {distribution: q_uniform, min: 0, max: 1, q: 0.25}\n"
        "  v: {distribution: inv_log_uniform_values, min: 0.01, max: 1}\n  beta: {distribution: beta, a: 2, b: 6}\n"
        "  w: {values: [0, 1], probabilities: [0.9, 0.1]}\n");
    enum { N = 20000 };
    double u = 0, n = 0, nn = 0, l = 0, w = 0, beta = 0;
    int counts[5] = {0};
    for (int k = 0; k < N; k++) {
        double x = value_of(s, k, "u");
        assert_true(x > 1 && x < 3);
        u += x;
        x = value_of(s, k, "n");
        n += x, nn += x * x;
        x = value_of(s, k, "l");
        assert_true(x >= 0.001 && x <= 1);
        l += log10(x);
        x = value_of(s, k, "i");
        assert_true(x >= 1 && x <= 4 && x == floor(x));
        counts[(int)x]++;
        x = value_of(s, k, "q");
        assert_true(x * 4 == floor(x * 4) && x >= 0 && x <= 1);
        x = value_of(s, k, "v");
        assert_true(x >= 0.01 && x <= 1);
        w += value_of(s, k, "w");
        beta += value_of(s, k, "beta");
    }
    /* means within about five standard errors */
    assert_true(fabs(u / N - 2) < 0.02);
    assert_true(fabs(n / N - 10) < 0.08);
    assert_true(fabs(nn / N - 104) < 1.6);
    assert_true(fabs(l / N + 1.5) < 0.035);
    assert_true(fabs(w / N - 0.1) < 0.012);
    assert_true(fabs(beta / N - 0.25) < 0.006);
    for (int k = 1; k <= 4; k++)
        assert_true(abs(counts[k] - N / 4) < 320);
    sweep_space_free(s);
}

static void test_a_point_depends_on_seed_and_index_alone(void **state)
{
    struct sweep_space *s = space("method: random\nparameters: {x: {min: 0.0, max: 1.0}}\n");
    json_t *a = point(s, 3, 1), *b = point(s, 3, 1), *c = point(s, 3, 2), *d = point(s, 4, 1);
    assert_true(json_equal(a, b));
    assert_false(json_equal(a, c));
    assert_false(json_equal(a, d));
    json_decref(a), json_decref(b), json_decref(c), json_decref(d);
    sweep_space_free(s);
}

static void check_refused(const char *yaml, int want, const char *word)
{
    struct err e = {0};
    struct sweep_space *s = NULL;
    json_t *config = yaml_to_json(str_of(yaml), &e);
    int rc = config ? sweep_space_new(config, &s, &e) : e.code;
    json_decref(config);
    if (rc != want || !strstr(e.text, word))
        fail_msg("%s: %d %s", yaml, rc, e.text);
}

static void test_what_cannot_be_is_refused_by_name(void **state)
{
    check_refused("method: magic\nparameters: {x: {value: 1}}", TARE_EINVAL, "magic");
    check_refused("parameters: {x: {value: 1}}", TARE_EINVAL, "method");
    check_refused("method: grid", TARE_EINVAL, "no parameters");
    check_refused("method: grid\nparameters: {x: {min: 0.0, max: 1.0}}", TARE_EINVAL, "'x'");
    check_refused("method: random\nparameters: {net: {parameters: {lr: {min: 2, max: 1}}}}", TARE_EINVAL, "'net.lr'");
    check_refused("method: random\nparameters: {x: 3}", TARE_EINVAL, "'x'");
    check_refused("method: random\nparameters: {x: {values: [1, 2], probabilities: [0.5, 0.2]}}", TARE_EINVAL, "add up");
    check_refused("method: [unclosed", TARE_EFORMAT, "line");
    check_refused("a: &a [*a]", TARE_ELIMIT, "deep");
}

static void test_bayesian_search_can_be_kept_but_not_drawn_from(void **state)
{
    struct sweep_space *s = space("method: bayes\nmetric: {name: loss}\nparameters: {x: {min: 0.0, max: 1.0}}");
    AUTO_BUF text = {0};
    assert_false(sweep_space_offered(s));
    assert_int_equal(sweep_space_size(s), -1);
    assert_int_equal(sweep_space_point(s, 0, 1, &text), TARE_EUNSUPPORTED);
    sweep_space_free(s);
}

static void test_scalars_are_read_as_the_client_wrote_them(void **state)
{
    struct err e = {0};
    json_t *v = yaml_to_json(STR("[1, -2, 0x10, 1_000, 1.5, 1.0e-05, 1e-5, true, 'true', ~, .inf, abc, \"1\", 12345678901234567890, 010]"),
                             &e);
    assert_non_null(v);
    char *text = json_dumps(v, JSON_COMPACT);
    assert_string_equal(text, "[1,-2,16,1000,1.5,1.0000000000000001e-5,\"1e-5\",true,\"true\",null,\"Infinity\",\"abc\",\"1\","
                              "\"12345678901234567890\",8]");
    free(text);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid_goes_through_all_points_in_order),
        cmocka_unit_test(test_nested_parameters_nest_their_values),
        cmocka_unit_test(test_random_draws_follow_their_distributions),
        cmocka_unit_test(test_a_point_depends_on_seed_and_index_alone),
        cmocka_unit_test(test_what_cannot_be_is_refused_by_name),
        cmocka_unit_test(test_bayesian_search_can_be_kept_but_not_drawn_from),
        cmocka_unit_test(test_scalars_are_read_as_the_client_wrote_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
