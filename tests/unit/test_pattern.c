/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/buf.h"
#include "service/watch/pattern.h"

/* Whether the pattern is one, and matches. */
static bool matches(const char *pattern, const char *text)
{
    struct pattern *p = pattern_new(str_of(pattern));
    if (!p)
        fail_msg("no pattern: %s", pattern);
    bool found = pattern_matches(p, str_of(text));
    assert_int_equal(pattern_matches(p, str_of(text)), found); /* nothing is left of the first time */
    pattern_free(p);
    return found;
}

static void test_it_matches_anywhere(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool found;
    } cases[] = {
        {"", "", true},
        {"TEMP", "DCGM_FI_DEV_GPU_TEMP", true},
        {"^TEMP", "GPU_TEMP", false},
        {"^DCGM_FI_DEV_(GPU|MEM)_TEMP$", "DCGM_FI_DEV_MEM_TEMP", true},
        {"^DCGM_FI_DEV_(GPU|MEM)_TEMP$", "DCGM_FI_DEV_MEM_TEMP2", false},
        {"node\\.go_.*", "node.go_threads", true},
        {"node\\.go_.*", "node-go_threads", false},
        {"a|b|", "x", true},
        {"ab*c", "ac", true},
        {"ab+c", "ac", false},
        {"ab?c", "abbc", false},
        {"ab{2,3}c", "abc", false},
        {"ab{2,3}c", "abbbc", true},
        {"ab{2,3}c", "abbbbc", false},
        {"ab{2,}?c", "abbbbbbc", true},
        {"^ab{0}c", "ac", true},
        {"^(ab){2}$", "abab", true},
        {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
        {"^\\d+\\s\\w\\W$", "42 _.", true},
        {"^\\D\\S$", "1x", false},
        {"[a-c]x", "bx", true},
        {"^[^a-c]x", "bx", false},
        {"^[]a-]+$", "]-a", true},
        {"^[^]]$", "]", false},
        {"^[\\d.]+$", "3.14", true},
        {"^[[:alpha:]_]+$", "a_B", true},
        {"^[[:^digit:]]$", "7", false},
        {"^.$", "\n", false},
        {"(?s)^.$", "\n", true},
        {"^.$", "\u00e9", true},
        {"\u00e9", "caf\u00e9", true},
        {"(?i)gpu", "GPU", true},
        {"(?i:g)pu", "GPU", false},
        {"(?i:G)pu", "gpu", true},
        {"(?i)[a-f]", "F", true},
        {"x(?-i)y", "xY", false},
        {"(?m)^b$", "a\nb\nc", true},
        {"^b$", "a\nb\nc", false},
        {"(?x) a  b # comment", "ab", true},
        {"(?P<name>a)(?<other>b)", "ab", true},
        {"\\bgpu\\b", "a gpu.", true},
        {"\\bgpu\\b", "a gpus.", false},
        {"\\Bpu", "gpu", true},
        {"\\<g", "a g", true},
        {"u\\>", "gpus", false},
        {"\\Aa\\z", "a\n", false},
        {"^\\x41\\x{1F600}\\u0042$", "A\U0001F600B", true},
        {"a\\+\\{\\}\\-\\/", "a+{}-/", true},
        {"}", "}", true},
        {"(?U)a*b", "aab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (matches(cases[i].pattern, cases[i].text) != cases[i].found)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static void test_what_is_no_pattern(void **state)
{
    static const char *const bad[] = {
        "(", ")", "a)", "[", "[a", "[]", "[z-a]", "[a-\\d]", "[[a]]", "[a&&b]", "*", "a|*", "{2}", "a{", "a{x}",
        "a{3,2}", "a{2000}", "\\", "\\1", "\\p{L}", "\\q", "\\x{110000}", "\\xg0", "(?<=a)b", "(?=a)", "(?k)",
        "\xff", "(?P<name", "[a--b]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pattern *p = pattern_new(str_of(bad[i]));
        if (p)
            fail_msg("a pattern: %s", bad[i]);
    }
}

/* What would take other engines for ever, or all memory. */
static void test_hostile_patterns_are_refused_or_quick(void **state)
{
    AUTO_BUF deep = {0}, wide = {0}, text = {0};
    for (int i = 0; i < 100000; i++)
        buf_puts(&deep, "(");
    assert_null(pattern_new(buf_str(&deep)));
    buf_clear(&deep);
    for (int i = 0; i < 40; i++)
        buf_puts(&deep, "(");
    for (int i = 0; i < 40; i++)
        buf_puts(&deep, "){1000}");
    assert_null(pattern_new(buf_str(&deep)));
    assert_null(pattern_new(STR("((a{1000}){1000}){1000}")));
    for (int i = 0; i < 30000; i++)
        buf_puts(&wide, "a|");
    assert_null(pattern_new(buf_str(&wide)));
    for (int i = 0; i < 20000; i++)
        buf_puts(&text, "a");
    struct pattern *p = pattern_new(STR("^(a?){500}(a*)*(a|aa)+b"));
    assert_non_null(p);
    assert_false(pattern_matches(p, buf_str(&text)));
    pattern_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_matches_anywhere),
        cmocka_unit_test(test_what_is_no_pattern),
        cmocka_unit_test(test_hostile_patterns_are_refused_or_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
