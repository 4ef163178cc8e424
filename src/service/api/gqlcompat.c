/* SPDX-License-Identifier: MIT */
/* The document is read token by token and written again at once, a space between any two; what turns
 * out to be unwanted is cut off the end again. Fragments are written into parts of their own, with
 * a list of the fragments they spread; at the end, those that an operation reaches are joined.
 *
 * Commas and comments mean nothing in GraphQL and are dropped. (GraphQL specification, October 2021,
 * appendix B) */
#include "service/api/gqlcompat.h"

#include "base/alloc.h"
#include "record/wire.h"

enum { MAX_DEPTH = 100, MAX_DEFINITIONS = 256 };

/* One operation or fragment. */
struct definition {
    struct str name; /* of a fragment; empty for operations */
    struct buf text;
    struct buf spreads; /* names of fragments, each followed by a NUL */
    bool is_reached;
};

struct rewriter {
    const char *p, *end; /* behind the token */
    struct str token;    /* empty at the end */
    struct str request;
    struct definition *def;
    struct definition defs[MAX_DEFINITIONS];
    int n_defs;
    int depth;
    bool failed;
};

/* ---- tokens ---- */

static bool is_name_char(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const char *skip_ignored(const char *p, const char *end)
{
    while (p < end) {
        if (*p == '#')
            while (p < end && *p != '\n' && *p != '\r')
                p++;
        else if (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r' || *p == ',')
            p++;
        else if (end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
            p += 3;
        else
            break;
    }
    return p;
}

/* The byte behind a string that begins at `p`, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
    bool is_block = end - p >= 3 && memcmp(p, "\"\"\"", 3) == 0;
    for (p += is_block ? 3 : 1; p < end; p++) {
        if (is_block && end - p >= 4 && memcmp(p, "\\\"\"\"", 4) == 0)
            p += 3;
        else if (is_block && end - p >= 3 && memcmp(p, "\"\"\"", 3) == 0)
            return p + 3;
        else if (!is_block && *p == '\\')
            p++;
        else if (!is_block && *p == '"')
            return p + 1;
        else if (!is_block && (*p == '\n' || *p == '\r'))
            return NULL;
    }
    return NULL;
}

/* A number: whatever may stand in one. */
static bool is_number_char(char c)
{
    return is_name_char(c) || c == '.' || c == '-' || c == '+';
}

static void next(struct rewriter *w)
{
    const char *p = skip_ignored(w->p, w->end), *start = p;
    if (p == w->end) {
        w->token = (struct str){0};
        w->p = p;
        return;
    }
    if (is_name_char(*p) || *p == '-') {
        bool is_number = *p == '-' || (*p >= '0' && *p <= '9');
        while (p < w->end && (is_number ? is_number_char(*p) : is_name_char(*p)))
            p++;
    } else if (*p == '"') {
        p = skip_string(p, w->end);
    } else if (w->end - p >= 3 && memcmp(p, "...", 3) == 0) {
        p += 3;
    } else {
        p = strchr("!$&()[]{}:=@|", *p) && *p ? p + 1 : NULL;
    }
    w->failed |= p == NULL;
    w->token = p ? str_make(start, (size_t)(p - start)) : (struct str){0};
    w->p = p ? p : w->end;
}

static bool is(const struct rewriter *w, const char *text)
{
    return str_eqz(w->token, text);
}

static bool is_name(const struct rewriter *w)
{
    return w->token.n && is_name_char(w->token.p[0]) && !(w->token.p[0] >= '0' && w->token.p[0] <= '9');
}

static void put(struct rewriter *w, struct str text)
{
    if (w->def->text.len)
        buf_putc(&w->def->text, ' ');
    buf_put_str(&w->def->text, text);
}

static void copy(struct rewriter *w)
{
    put(w, w->token);
    next(w);
}

static void expect(struct rewriter *w, const char *text)
{
    w->failed |= !is(w, text);
    if (!w->failed)
        copy(w);
}

static void expect_name(struct rewriter *w)
{
    w->failed |= !is_name(w);
    if (!w->failed)
        copy(w);
}

static bool go_deeper(struct rewriter *w)
{
    w->failed |= ++w->depth > MAX_DEPTH;
    return !w->failed;
}

/* ---- what to change ---- */

static bool is_listed(const struct rewriter *w, uint32_t list, struct str name)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(w->request); wire_next(&r, &f) > 0;)
        if (f.number == list && f.type == WIRE_BYTES && str_eq(f.bytes, name))
            return true;
    return false;
}

static struct str renamed(const struct rewriter *w, struct str name)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(w->request); wire_next(&r, &f) > 0;)
        if (f.number == GQL_RENAME_FIELDS && f.type == WIRE_BYTES && str_eq(wire_find_bytes(f.bytes, 1), name))
            return wire_find_bytes(f.bytes, 2);
    return name;
}

/* ---- values and arguments ---- */

static bool copy_value(struct rewriter *w);

/* "$name": false if it is left out. */
static bool copy_variable_name(struct rewriter *w)
{
    w->failed |= !is(w, "$");
    next(w);
    put(w, STR("$"));
    buf_put_str(&w->def->text, w->token);
    w->failed |= !is_name(w);
    bool is_kept = !is_listed(w, GQL_OMIT_VARIABLES, w->token);
    next(w);
    return is_kept;
}

/* "name : value" pairs up to `close`; those of left-out variables go. */
static int copy_pairs(struct rewriter *w, const char *close)
{
    int n = 0;
    while (!w->failed && w->token.n && !is(w, close)) {
        size_t before = w->def->text.len;
        expect_name(w);
        expect(w, ":");
        if (copy_value(w))
            n++;
        else
            w->def->text.len = before;
    }
    expect(w, close);
    return n;
}

/* False if it is a variable that is left out. In lists they stay: places have no names. */
static bool copy_value(struct rewriter *w)
{
    bool is_kept = true;
    if (!go_deeper(w))
        return false;
    if (is(w, "$")) {
        is_kept = copy_variable_name(w);
    } else if (is(w, "[")) {
        copy(w);
        while (!w->failed && w->token.n && !is(w, "]"))
            copy_value(w);
        expect(w, "]");
    } else if (is(w, "{")) {
        copy(w);
        copy_pairs(w, "}");
    } else {
        w->failed |= w->token.n == 0 || strchr("!&():=@|]}", w->token.p[0]) || w->token.p[0] == '.';
        copy(w);
    }
    w->depth--;
    return is_kept;
}

static void copy_arguments(struct rewriter *w)
{
    size_t before = w->def->text.len;
    if (!is(w, "("))
        return;
    copy(w);
    if (copy_pairs(w, ")") == 0)
        w->def->text.len = before; /* "()" is no GraphQL */
}

static void copy_directives(struct rewriter *w)
{
    while (!w->failed && is(w, "@")) {
        copy(w);
        expect_name(w);
        if (is(w, "(")) {
            copy(w);
            copy_pairs(w, ")");
        }
    }
}

/* ---- selections ---- */

static bool copy_selections(struct rewriter *w);

static void note_spread(struct rewriter *w, struct str name)
{
    buf_put_str(&w->def->spreads, name);
    buf_putc(&w->def->spreads, '\0');
}

/* "... Name", "... on Type {", "... {": false if it goes. */
static bool copy_spread(struct rewriter *w)
{
    copy(w);
    if (is_name(w) && !is(w, "on")) {
        struct str name = w->token;
        bool is_kept = !is_listed(w, GQL_OMIT_FRAGMENTS, name);
        if (is_kept)
            note_spread(w, name);
        copy(w);
        copy_directives(w);
        return is_kept;
    }
    if (is(w, "on")) {
        copy(w);
        expect_name(w);
    }
    copy_directives(w);
    return copy_selections(w);
}

/* A renamed field is answered under its old name, unless it has an alias. */
static bool copy_field(struct rewriter *w)
{
    struct str alias = w->token, name = w->token;
    w->failed |= !is_name(w);
    next(w);
    if (is(w, ":")) {
        next(w);
        name = w->token;
        w->failed |= !is_name(w);
        next(w);
    }
    struct str asked = renamed(w, name);
    if (!str_eq(alias, asked)) {
        put(w, alias);
        put(w, STR(":"));
    }
    put(w, asked);
    copy_arguments(w);
    copy_directives(w);
    bool has_selections = is(w, "{"), is_kept = !is_listed(w, GQL_OMIT_FIELDS, name);
    if (has_selections)
        is_kept &= copy_selections(w);
    return is_kept;
}

/* False if nothing of them is left. */
static bool copy_selections(struct rewriter *w)
{
    int n = 0;
    if (!go_deeper(w))
        return false;
    expect(w, "{");
    while (!w->failed && w->token.n && !is(w, "}")) {
        size_t before = w->def->text.len, spreads = w->def->spreads.len;
        if (is(w, "...") ? copy_spread(w) : copy_field(w)) {
            n++;
        } else {
            w->def->text.len = before;
            w->def->spreads.len = spreads;
        }
    }
    expect(w, "}");
    w->depth--;
    return n > 0;
}

/* ---- definitions ---- */

static void copy_type(struct rewriter *w)
{
    if (!go_deeper(w))
        return;
    if (is(w, "[")) {
        copy(w);
        copy_type(w);
        expect(w, "]");
    } else {
        expect_name(w);
    }
    if (is(w, "!"))
        copy(w);
    w->depth--;
}

/* "$name: Type = value @directives": false if it is left out. */
static bool copy_variable(struct rewriter *w)
{
    bool is_kept = copy_variable_name(w);
    expect(w, ":");
    copy_type(w);
    if (is(w, "=")) {
        copy(w);
        copy_value(w);
    }
    copy_directives(w);
    return is_kept;
}

static void copy_variables(struct rewriter *w)
{
    size_t start = w->def->text.len;
    int n = 0;
    expect(w, "(");
    while (!w->failed && w->token.n && !is(w, ")")) {
        size_t before = w->def->text.len;
        if (copy_variable(w))
            n++;
        else
            w->def->text.len = before;
    }
    expect(w, ")");
    if (n == 0)
        w->def->text.len = start;
}

static void copy_definition(struct rewriter *w)
{
    bool is_fragment = is(w, "fragment");
    if (w->n_defs == MAX_DEFINITIONS) {
        w->failed = true;
        return;
    }
    w->def = &w->defs[w->n_defs++];
    if (is_fragment) {
        copy(w);
        w->def->name = w->token;
        expect_name(w);
        expect(w, "on");
        expect_name(w);
    } else if (!is(w, "{")) {
        w->failed |= !is(w, "query") && !is(w, "mutation") && !is(w, "subscription");
        copy(w);
        if (is_name(w))
            copy(w);
        if (is(w, "("))
            copy_variables(w);
    }
    copy_directives(w);
    copy_selections(w);
}

/* ---- joining ---- */

static void reach(struct rewriter *w, struct definition *d)
{
    if (d->is_reached || (d->name.n && is_listed(w, GQL_OMIT_FRAGMENTS, d->name)))
        return;
    d->is_reached = true;
    for (size_t at = 0; at < d->spreads.len; at += strlen(d->spreads.data + at) + 1)
        for (int i = 0; i < w->n_defs; i++)
            if (str_eqz(w->defs[i].name, d->spreads.data + at) && w->defs[i].name.n)
                reach(w, &w->defs[i]);
}

static bool changes_nothing(struct str request)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;)
        if (f.number >= GQL_OMIT_VARIABLES && f.number <= GQL_RENAME_FIELDS)
            return false;
    return true;
}

static void join(struct buf *to, struct rewriter *w)
{
    for (int i = 0; i < w->n_defs; i++)
        if (w->defs[i].name.n == 0)
            reach(w, &w->defs[i]);
    for (int i = 0; i < w->n_defs; i++)
        if (w->defs[i].is_reached) {
            buf_put_str(to, buf_str(&w->defs[i].text));
            buf_putc(to, '\n');
        }
}

int gqlcompat_rewrite(struct buf *to, struct str document, struct str request, struct err *e)
{
    if (changes_nothing(request))
        return buf_put_str(to, document);
    struct rewriter *w = mem_calloc(1, sizeof *w);
    if (!w)
        return err_set(e, TARE_ENOMEM, "out of memory");
    w->p = document.p;
    w->end = document.n ? document.p + document.n : document.p;
    w->request = request;
    next(w);
    while (!w->failed && w->token.n)
        copy_definition(w);
    bool failed = w->failed || w->n_defs == 0;
    struct str at = w->token.n ? w->token : STR("end");
    if (failed)
        err_set(e, TARE_EFORMAT, "gqlcompat: rewrite GraphQL for older W&B server compatibility: parse: "
                                 "unexpected %.*s at byte %zu",
                STR_ARG(at), (size_t)(w->p - document.p));
    else
        join(to, w);
    for (int i = 0; i < w->n_defs; i++) {
        buf_fini(&w->defs[i].text);
        buf_fini(&w->defs[i].spreads);
    }
    mem_free(w);
    return failed ? TARE_EFORMAT : to->failed ? TARE_ENOMEM : 0;
}
