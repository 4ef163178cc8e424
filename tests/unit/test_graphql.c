/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "gql_test_schema.h"
#include "server/graphql/coerce.h"
#include "server/graphql/document.h"
#include "server/graphql/execute.h"
#include "server/graphql/resolver.h"

#include <math.h>
#include <stdio.h>

/* ---- the world ------------------------------------------------------------------------- */

struct animal {
    int type;
    const char *name;
};
static const struct animal rex = {TYPE_Dog, "Rex"}, tom = {TYPE_Cat, "Tom \"the\" cat"};
static const struct animal *const all_animals[] = {&rex, &tom};
static const int a_person;
static bool wanted_lives;

void resolve_Query_me(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_Person, &a_person);
}

void resolve_Query_echo(struct gql_call *c, const void *obj)
{
    static const char *const names[] = {"text", "n", "f", "flag", "list", "pair", "json", "order"};
    AUTO_BUF b = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct gql_value *v = gql_arg(c, names[i]);
        if (!v)
            continue;
        buf_printf(&b, "%s%s=", b.len ? " " : "", names[i]);
        gql_value_json(v, &b);
    }
    gql_str(c, str_make(b.data ? b.data : "", b.len));
}

void resolve_Query_people(struct gql_call *c, const void *obj)
{
    gql_list_begin(c);
    for (int64_t i = 0; i < gql_arg_int(c, "n", 0); i++)
        gql_object(c, TYPE_Person, &a_person);
    gql_list_end(c);
}

static void list_animals(struct gql_call *c)
{
    gql_list_begin(c);
    for (size_t i = 0; i < 2; i++)
        gql_object(c, all_animals[i]->type, all_animals[i]);
    gql_list_end(c);
}

void resolve_Query_pets(struct gql_call *c, const void *obj)
{
    list_animals(c);
}

static size_t kept_bytes; /* of what a resolver keeps */

void resolve_Query_raw(struct gql_call *c, const void *obj)
{
    if (kept_bytes && !arena_alloc(gql_arena(c), kept_bytes))
        gql_fail(c, 404, "no such thing");
    gql_json(c, STR("{\"a\":[1,2]}"));
}

void resolve_Query_when(struct gql_call *c, const void *obj)
{
    gql_time(c, gql_arg_int(c, "us", 0));
}

void resolve_Person_animals(struct gql_call *c, const void *obj)
{
    wanted_lives = gql_wants(c, "lives");
    list_animals(c);
}

void resolve_Person_id(struct gql_call *c, const void *obj)
{
    gql_strz(c, "p1");
}

void resolve_Person_name(struct gql_call *c, const void *obj)
{
    gql_strz(c, "Ann\n\x01\xc3\xa9");
}

void resolve_Person_broken(struct gql_call *c, const void *obj)
{
    gql_fail(c, 404, "no such thing");
}

void resolve_Person_strict(struct gql_call *c, const void *obj)
{
}

static void animal_name(struct gql_call *c, const void *obj)
{
    gql_strz(c, ((const struct animal *)obj)->name);
}

void resolve_Dog_name(struct gql_call *c, const void *obj)
{
    animal_name(c, obj);
}

void resolve_Cat_name(struct gql_call *c, const void *obj)
{
    animal_name(c, obj);
}

void resolve_Dog_barks(struct gql_call *c, const void *obj)
{
    gql_float(c, NAN);
}

void resolve_Dog_friend(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_Cat, &tom);
}

void resolve_Dog_owner(struct gql_call *c, const void *obj)
{
    gql_null(c);
}

void resolve_Cat_lives(struct gql_call *c, const void *obj)
{
    gql_int(c, 9);
}

void resolve_Mutation_add(struct gql_call *c, const void *obj)
{
    int *sum = gql_app(c);
    *sum += (int)gql_arg_int(c, "n", 0);
    gql_int(c, *sum);
}

void resolve_Mutation_fail(struct gql_call *c, const void *obj)
{
    gql_fail(c, (int)gql_arg_int(c, "status", 500), "as you wish");
}

/* ---- fixture --------------------------------------------------------------------------- */

static size_t arena_bytes;
static struct budget budget = {.max_bytes = 1 << 20};
static struct gql_limits limits = {.max_fields = 10000, .max_bytes = 1 << 20};

static int run(const char *query, const char *variables, struct buf *out)
{
    struct gql_cache *cache = gql_cache_new(&test_schema);
    struct gql_document *d = NULL;
    struct gql_value vars;
    struct arena arena;
    struct err e = {0};
    int status = 400, sum = 40;
    arena_init(&arena, arena_bytes);
    arena.budget = &budget;
    if (gql_document_get(cache, str_of(query), (struct str){0}, &d, &e)) {
        buf_puts(out, e.text);
    } else {
        if (variables)
            assert_int_equal(gql_value_from_json(&arena, str_of(variables), &vars), 0);
        assert_int_equal(gql_execute(&d->plan, variables ? &vars : NULL, &arena, &sum, &limits, out, &status), 0);
    }
    gql_document_put(cache, d);
    gql_cache_free(cache);
    arena_fini(&arena);
    return status;
}

#define EXPECT(query, variables, want)                   \
    do {                                                 \
        AUTO_BUF b_ = {0};                               \
        run(query, variables, &b_);                      \
        assert_string_equal(buf_z(&b_), want);           \
    } while (0)

/* ---- tests ----------------------------------------------------------------------------- */

static void test_fields_aliases_and_typename(void **state)
{
    EXPECT("{ who: me { id __typename name } raw }", NULL,
           "{\"data\":{\"who\":{\"id\":\"p1\",\"__typename\":\"Person\",\"name\":\"Ann\\n\\u0001\xc3\xa9\"},"
           "\"raw\":{\"a\":[1,2]}}}");
}

/* A row whose texts could not be copied would be one without a name. */
static void test_what_finds_no_room_is_no_answer(void **state)
{
    kept_bytes = 100000;
    EXPECT("{ me { id } raw }", NULL, "{\"data\":{\"me\":{\"id\":\"p1\"},\"raw\":{\"a\":[1,2]}}}");
    arena_bytes = 160000;
    EXPECT("{ a: raw me { id } b: raw }", NULL,
           "{\"data\":null,\"errors\":[{\"message\":\"the answer takes too much memory; use smaller pages\"}]}");
    arena_bytes = 0;
    kept_bytes = budget.max_bytes;
    AUTO_BUF out = {0};
    assert_int_equal(run("{ me { id } raw }", NULL, &out), 503);
    assert_string_equal(buf_z(&out), "{\"data\":null,\"errors\":[{\"message\":\"the server is busy\"}]}");
    kept_bytes = 0;
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

static void test_fragments_and_abstract_types(void **state)
{
    EXPECT("query Q { me { animals { name ...F ... on Dog { friend { name } } } } } fragment F on Cat { lives }",
           NULL,
           "{\"data\":{\"me\":{\"animals\":[{\"name\":\"Rex\",\"friend\":{\"name\":\"Tom \\\"the\\\" cat\"}},"
           "{\"name\":\"Tom \\\"the\\\" cat\",\"lives\":9}]}}}");
    assert_true(wanted_lives);
    EXPECT("{ me { animals { name @skip(if: true) __typename } } }", NULL,
           "{\"data\":{\"me\":{\"animals\":[{\"__typename\":\"Dog\"},{\"__typename\":\"Cat\"}]}}}");
    assert_false(wanted_lives);
}

static void test_same_key_is_merged(void **state)
{
    EXPECT("{ me { id } ...A me { name @include(if: false) } } fragment A on Query { me { n: id } }", NULL,
           "{\"data\":{\"me\":{\"id\":\"p1\",\"n\":\"p1\"}}}");
    EXPECT("{ x: me { id } x: raw }", NULL,
           "Fields \"x\" conflict: use different aliases to fetch both.");
}

static void test_conditions_with_variables(void **state)
{
    const char *q = "query($yes: Boolean = true, $no: Boolean!) { me { id @include(if: $yes) name @include(if: $no) } }";
    EXPECT(q, "{\"no\":false}", "{\"data\":{\"me\":{\"id\":\"p1\"}}}");
    EXPECT(q, "{\"no\":false,\"yes\":false,\"undeclared\":[1,{\"a\":null}]}", "{\"data\":{\"me\":{}}}");
    EXPECT(q, "{\"no\":\"true\"}", "{\"data\":null,\"errors\":[{\"message\":\"Variable \\\"$no\\\" got a value that is no Boolean.\"}]}");
    EXPECT(q, "{\"no\":true,\"yes\":1}", "{\"data\":null,\"errors\":[{\"message\":\"Variable \\\"$yes\\\" got a value that is no Boolean.\"}]}");
    EXPECT("query($s: String) { me { id @skip(if: $s) } }", "{\"s\":\"true\"}",
           "Variable \"$s\" of type \"String\" used in position expecting type \"Boolean!\".");
    EXPECT("query($l: [Boolean]) { me { id @skip(if: $l) } }", "{\"l\":true}",
           "Variable \"$l\" of type \"[Boolean]\" used in position expecting type \"Boolean!\".");
    EXPECT(q, "{}",
           "{\"data\":null,\"errors\":[{\"message\":\"Variable \\\"$no\\\" of required type \\\"Boolean!\\\" was not "
           "provided.\"}]}");
}

static void test_arguments_are_coerced(void **state)
{
    EXPECT("{ echo(text: \"a\\u00e9\\\"\", n: 3, f: 2, flag: true, list: \"x\", pair: {key: \"k\"}, order: DESC) }",
           NULL,
           "{\"data\":{\"echo\":\"text=\\\"a\xc3\xa9\\\\\\\"\\\" n=3 f=2.0 flag=true list=[\\\"x\\\"] "
           "pair={\\\"key\\\":\\\"k\\\",\\\"value\\\":7} order=\\\"DESC\\\"\"}}");
    EXPECT("query($p: PairInput, $j: JSONString, $t: ID) { echo(text: $t, pair: $p, json: $j) }",
           "{\"p\":{\"key\":\"q\",\"value\":null,\"gone\":null},\"j\":{\"a\":NaN},\"t\":12}",
           "{\"data\":{\"echo\":\"text=\\\"12\\\" n=5 pair={\\\"key\\\":\\\"q\\\",\\\"value\\\":null} "
           "json=\\\"{\\\\\\\"a\\\\\\\":NaN}\\\"\"}}");
    EXPECT("query($n: Int) { echo(n: $n) }", "{\"n\":2.0}", "{\"data\":{\"echo\":\"n=2\"}}");
    EXPECT("query($n: Int) { echo(n: $n) }", NULL, "{\"data\":{\"echo\":\"n=5\"}}");
    EXPECT("{ echo(pair: {value: 1}) }", NULL,
           "{\"data\":{\"echo\":null},\"errors\":[{\"message\":\"Argument or field \\\"key\\\" is required, but it was "
           "not provided.\",\"locations\":[{\"line\":1,\"column\":3}],\"path\":[\"echo\"]}]}");
}

static void test_block_strings(void **state)
{
    EXPECT("{ echo(n: null, text: \"\"\"\n    a \\\"\"\" \\n\n      b\n  \n\"\"\") }", NULL,
           "{\"data\":{\"echo\":\"text=\\\"a \\\\\\\"\\\\\\\"\\\\\\\" \\\\\\\\n\\\\n  b\\\"\"}}");
}

static void test_errors_have_paths_and_null_climbs(void **state)
{
    EXPECT("{ people(n: 2) { id broken } }", NULL,
           "{\"data\":{\"people\":[{\"id\":\"p1\",\"broken\":null},{\"id\":\"p1\",\"broken\":null}]},\"errors\":["
           "{\"message\":\"no such thing\",\"locations\":[{\"line\":1,\"column\":21}],\"path\":[\"people\",0,\"broken\"]},"
           "{\"message\":\"no such thing\",\"locations\":[{\"line\":1,\"column\":21}],\"path\":[\"people\",1,\"broken\"]}]}");
    EXPECT("{ people(n: 1) { id strict } }", NULL,
           "{\"data\":{\"people\":[null]},\"errors\":[{\"message\":\"Cannot return null for non-nullable field "
           "Person.strict.\",\"locations\":[{\"line\":1,\"column\":21}],\"path\":[\"people\",0,\"strict\"]}]}");
    AUTO_BUF b = {0}; /* an item that may not be null takes the list with it */
    run("{ me { id animals { ... on Dog { owner { id } } } } }", NULL, &b);
    assert_non_null(strstr(buf_z(&b), "{\"data\":{\"me\":{\"id\":\"p1\",\"animals\":null}},\"errors\""));
}

static void test_status_of_a_failed_request(void **state)
{
    AUTO_BUF b = {0};
    assert_int_equal(run("mutation { fail(status: 404) }", NULL, &b), 404);
    assert_int_equal(run("mutation { fail(status: 404) add(n: 1) }", NULL, &b), 200);
    assert_int_equal(run("{ nothing }", NULL, &b), 400);
    assert_int_equal(run("{ special(whatever: 1) { deep } }", NULL, &b), 400);
    assert_non_null(strstr(buf_z(&b), "special is not supported by this server"));
}

static void test_mutations_run_in_order(void **state)
{
    EXPECT("mutation M { a: add(n: 1) b: add(n: 1) }", NULL, "{\"data\":{\"a\":41,\"b\":42}}");
}

static void test_refusals_use_the_known_words(void **state)
{
    static const char *const cases[][2] = {
        {"{ me { nope } }", "Cannot query field \"nope\" on type \"Person\"."},
        {"{ me { animals { lives } } }", "Cannot query field \"lives\" on type \"Animal\"."},
        {"{ __schema { types { name } } }", "Cannot query field \"__schema\" on type \"Query\"."},
        {"{ me }", "Field \"me\" of type \"Person\" must have a selection of subfields."},
        {"{ raw { a } }", "Field \"raw\" must not have a selection since type \"JSON\" has no subfields."},
        {"{ echo(nope: 1) }", "Unknown argument \"nope\" on field \"Query.echo\"."},
        {"{ people { id } }", "Field \"people\" argument \"n\" is required, but it was not provided."},
        {"{ me { ...F } }", "Unknown fragment \"F\"."},
        {"{ me { ...F } } fragment F on Nope { id }", "Unknown type \"Nope\"."},
        {"{ special { ...F } } fragment F on Nope { id ...F }",
         "{\"data\":{\"special\":null},\"errors\":[{\"message\":\"special is not supported by this server\","
         "\"locations\":[{\"line\":1,\"column\":3}],\"path\":[\"special\"]}]}"},
        {"{ me { ...F } } fragment F on Person { id ...G } fragment G on Person { ...F }",
         "Cannot spread fragment \"F\" within itself."},
        {"{ me { ...F } } fragment F on Person { id } fragment F on Person { name }",
         "There can be only one fragment named \"F\"."},
        {"{ echo(n: 1, text: \"a\", n: 2) }", "There can be only one argument named \"n\"."},
        {"query A { raw } query A { me { id } }", "There can be only one operation named \"A\"."},
        {"query A { raw } { me { id } }", "This anonymous operation must be the only defined operation."},
        {"query($n: Int, $n: Int) { echo(n: $n) }", "There can be only one variable named \"$n\"."},
        {"{ echo(text: $t) }", "Variable \"$t\" is not defined."},
        {"{ raw @nope }", "Unknown directive \"@nope\"."},
        {"{ raw", "Syntax Error: expected a name, found the end of the document"},
        {"{ raw } }", "Syntax Error: expected an operation, found \"}\" (line 1, column 9)"},
        {"query A { raw } query B { raw }",
         "Must provide operation name if query contains multiple operations."},
        {"subscription { raw }", "subscriptions are not supported"},
        {"", "Syntax Error: the document has no operation"},
        {"{ echo(text: \"\\ud800\") }", "Syntax Error: invalid escape in string (line 1, column 14)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECT(cases[i][0], NULL, cases[i][1]);
}

static void test_depth_and_fragment_bombs_are_refused(void **state)
{
    AUTO_BUF q = {0}, out = {0};
    buf_puts(&q, "{ pets ");
    for (int i = 0; i < 60; i++)
        buf_puts(&q, "{ ... on Dog { friend ");
    assert_int_equal(run(buf_z(&q), NULL, &out), 400);
    assert_non_null(strstr(buf_z(&out), "nested deeper"));

    buf_clear(&q);
    buf_clear(&out);
    buf_puts(&q, "{ me { ...F0 } } ");
    for (int i = 0; i < 40; i++)
        buf_printf(&q, "fragment F%d on Person { ...F%d ...F%d } ", i, i + 1, i + 1);
    buf_puts(&q, "fragment F40 on Person { id }");
    assert_int_equal(run(buf_z(&q), NULL, &out), 400);
    assert_string_equal(buf_z(&out), "the document is too complex");

    buf_clear(&q);
    buf_clear(&out);
    buf_puts(&q, "{ me { ...F0 } } "); /* a long chain of fragments */
    for (int i = 0; i < 290; i++)
        buf_printf(&q, "fragment F%d on Person { ... on Person { ...F%d } } ", i, i + 1);
    buf_puts(&q, "fragment F290 on Person { id }");
    assert_int_equal(run(buf_z(&q), NULL, &out), 400);
    assert_non_null(strstr(buf_z(&out), "nested deeper"));
}

static void test_a_large_answer_is_cut(void **state)
{
    AUTO_BUF out = {0};
    assert_int_equal(run("{ people(n: 1000000) { id name } }", NULL, &out), 422);
    assert_string_equal(buf_z(&out), "{\"data\":null,\"errors\":[{\"message\":\"the query asks for too many values; use "
                                     "smaller pages\",\"locations\":[{\"line\":1,\"column\":3}],\"path\":[\"people\",4999]}]}");
}

static void test_cache_keeps_documents(void **state)
{
    struct gql_cache *cache = gql_cache_new(&test_schema);
    struct gql_document *a, *b;
    struct err e;
    assert_int_equal(gql_document_get(cache, STR("query A { raw } query B { raw }"), STR("A"), &a, &e), 0);
    assert_int_equal(gql_document_get(cache, STR("query A { raw } query B { raw }"), STR("A"), &b, &e), 0);
    assert_ptr_equal(a, b);
    gql_document_put(cache, b);
    assert_int_equal(gql_document_get(cache, STR("query A { raw } query B { raw }"), STR("B"), &b, &e), 0);
    assert_ptr_not_equal(a, b);
    gql_document_put(cache, b);
    for (int i = 0; i < 1000; i++) { /* many others push it out, but it stays while in use */
        char text[64];
        snprintf(text, sizeof text, "{ a%d: raw }", i);
        assert_int_equal(gql_document_get(cache, str_of(text), (struct str){0}, &b, &e), 0);
        gql_document_put(cache, b);
    }
    assert_int_equal(a->plan.root.n, 1);
    gql_document_put(cache, a);
    assert_int_equal(gql_document_get(cache, STR("{ raw }"), (struct str){0}, &a, &e), 0);
    gql_cache_clear(cache);
    assert_true(str_eq(a->text, STR("{ raw }"))); /* in use: still there */
    assert_int_equal(gql_document_get(cache, STR("{ raw }"), (struct str){0}, &b, &e), 0);
    assert_ptr_not_equal(a, b);
    gql_document_put(cache, a);
    gql_document_put(cache, b);
    gql_cache_free(cache);
}

static void test_times(void **state)
{
    EXPECT("{ a: when(us: 1795448065414395) b: when(us: 951782400000000) c: when(us: 1) d: when(us: 4102444799999000)"
           " e: when(us: 0) f: when(us: 951868800000000) }",
           NULL,
           "{\"data\":{\"a\":\"2026-11-23T15:34:25.414\",\"b\":\"2000-02-29T00:00:00.000\","
           "\"c\":\"1970-01-01T00:00:00.000\",\"d\":\"2099-12-31T23:59:59.999\",\"e\":null,"
           "\"f\":\"2000-03-01T00:00:00.000\"}}");
}

static void test_utf8(void **state)
{
    assert_true(utf8_valid(STR("plain text, longer than a word, \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80")));
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "abcdefgh\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(str_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_aliases_and_typename),
        cmocka_unit_test(test_what_finds_no_room_is_no_answer),
        cmocka_unit_test(test_fragments_and_abstract_types),
        cmocka_unit_test(test_same_key_is_merged),
        cmocka_unit_test(test_conditions_with_variables),
        cmocka_unit_test(test_arguments_are_coerced),
        cmocka_unit_test(test_block_strings),
        cmocka_unit_test(test_errors_have_paths_and_null_climbs),
        cmocka_unit_test(test_status_of_a_failed_request),
        cmocka_unit_test(test_mutations_run_in_order),
        cmocka_unit_test(test_refusals_use_the_known_words),
        cmocka_unit_test(test_depth_and_fragment_bombs_are_refused),
        cmocka_unit_test(test_a_large_answer_is_cut),
        cmocka_unit_test(test_cache_keeps_documents),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
