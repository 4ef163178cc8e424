/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "record/wire.h"
#include "service/api/gqlcompat.h"

static struct buf request;

static int set_up(void **state)
{
    (void)state;
    buf_clear(&request);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&request);
    return 0;
}

static void omit(uint32_t list, const char *name)
{
    wire_buf_bytes(&request, list, str_of(name));
}

static void rename_field(const char *from, const char *to)
{
    size_t mark = wire_buf_begin(&request, GQL_RENAME_FIELDS);
    wire_buf_bytes(&request, 1, str_of(from));
    wire_buf_bytes(&request, 2, str_of(to));
    wire_buf_end(&request, mark);
}

static void assert_rewritten(const char *document, const char *expected)
{
    AUTO_BUF to = {0};
    struct err e = {0};
    int rc = gqlcompat_rewrite(&to, str_of(document), buf_str(&request), &e);
    if (rc)
        print_error("%s\n", e.text);
    assert_int_equal(rc, 0);
    assert_string_equal(buf_z(&to), expected);
}

static void nothing_to_change_changes_nothing(void **state)
{
    (void)state;
    assert_rewritten("not even { GraphQL", "not even { GraphQL");
}

static void variables_go_wherever_they_stand(void **state)
{
    (void)state;
    omit(GQL_OMIT_VARIABLES, "gone");
    assert_rewritten("mutation M($id: ID!, $gone: [Int64!]! = [1, 2] @x(y: 1)) {\n"
                     "  f(input: {id: $id, gone: $gone, deep: {gone: $gone}, list: [$gone]}, other: $gone) { a }\n"
                     "  g(only: $gone) # ()\n}",
                     "mutation M ( $id : ID ! ) { f ( input : { id : $id deep : { } list : [ $gone ] } ) { a } "
                     "g }\n");
}

static void all_variables_may_go(void **state)
{
    (void)state;
    omit(GQL_OMIT_VARIABLES, "gone");
    assert_rewritten("query Q($gone: Int) { a(x: 1) }", "query Q { a ( x : 1 ) }\n");
}

static void fields_go_with_what_is_empty_then(void **state)
{
    (void)state;
    omit(GQL_OMIT_FIELDS, "tags");
    assert_rewritten("{ a { tags { name } } b { x: tags y ... on T { tags } ... @include(if: true) { c } } }",
                     "{ b { y ... @ include ( if : true ) { c } } }\n");
}

static void fragments_go_and_those_only_they_used(void **state)
{
    (void)state;
    omit(GQL_OMIT_FRAGMENTS, "Gone");
    omit(GQL_OMIT_FIELDS, "old");
    assert_rewritten("query Q { a { ...Gone ...Kept } old { ...UsedByOld } }\n"
                     "fragment Gone on T { ...Orphan }\nfragment Orphan on T { x }\n"
                     "fragment UsedByOld on T { x }\nfragment Kept on T { ...Nested }\n"
                     "fragment Nested on T { ...Kept y }",
                     "query Q { a { ... Kept } }\nfragment Kept on T { ... Nested }\n"
                     "fragment Nested on T { ... Kept y }\n");
}

static void renamed_fields_are_answered_as_before(void **state)
{
    (void)state;
    rename_field("artifactCollections", "artifactSequences");
    assert_rewritten("{ artifactCollections: artifactCollections(after: $c) { totalCount }\n"
                     "x: artifactCollections artifactCollections b: b }",
                     "{ artifactCollections : artifactSequences ( after : $c ) { totalCount } x : artifactSequences "
                     "artifactCollections : artifactSequences b }\n");
}

static void strings_and_numbers_stay_as_they_are(void **state)
{
    (void)state;
    omit(GQL_OMIT_FIELDS, "x");
    assert_rewritten("{ a(s: \"q \\\" } # no\", b: \"\"\"block \" \\\"\"\" }\"\"\", n: -1.5e+3, e: FULL, t: null) x }",
                     "{ a ( s : \"q \\\" } # no\" b : \"\"\"block \" \\\"\"\" }\"\"\" n : -1.5e+3 e : FULL t : null ) }\n");
}

static void what_is_no_graphql_is_refused(void **state)
{
    static const char *const bad[] = {"", "not a graphql {", "{ a", "{ a(", "{ a(b:) }", "{ a(b: }) }", "query", "{ \"",
                                      "{ a } }", "fragment on T { a }", "{ a: }", "{ $ }", "query Q($a) { b }", "{ \x01 }",
                                      "{ a(b: \"\n\") }", "{ ... on }"};
    (void)state;
    omit(GQL_OMIT_FIELDS, "x");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        AUTO_BUF to = {0};
        struct err e = {0};
        if (gqlcompat_rewrite(&to, str_of(bad[i]), buf_str(&request), &e) != TARE_EFORMAT)
            fail_msg("accepted: %s", bad[i]);
        assert_true(e.text[0] != '\0');
    }
}

static void depth_is_bounded(void **state)
{
    AUTO_BUF document = {0}, to = {0};
    (void)state;
    omit(GQL_OMIT_FIELDS, "x");
    for (int i = 0; i < 100000; i++)
        buf_puts(&document, "{a");
    assert_int_equal(gqlcompat_rewrite(&to, buf_str(&document), buf_str(&request), NULL), TARE_EFORMAT);
    buf_clear(&document);
    buf_puts(&document, "{a(b:");
    for (int i = 0; i < 100000; i++)
        buf_putc(&document, '[');
    assert_int_equal(gqlcompat_rewrite(&to, buf_str(&document), buf_str(&request), NULL), TARE_EFORMAT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(nothing_to_change_changes_nothing),
        T(variables_go_wherever_they_stand),
        T(all_variables_may_go),
        T(fields_go_with_what_is_empty_then),
        T(fragments_go_and_those_only_they_used),
        T(renamed_fields_are_answered_as_before),
        T(strings_and_numbers_stay_as_they_are),
        T(what_is_no_graphql_is_refused),
        T(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
