/* SPDX-License-Identifier: MIT */
/* A pattern is read into a tree and written down as steps of a machine that is in many places of them
 * at once (K. Thompson, "Regular Expression Search Algorithm", 1968): for each character every place
 * moves on or is given up, so nothing is tried twice.
 *
 *   SET n         the character is in set n: go on        SPLIT a, b    be at both
 *   HOLD what     between characters: go on if it holds   JUMP a        MATCH
 *
 * e* is "1: SPLIT 2, 4; 2: e; 3: JUMP 1; 4:", a counted repetition is as many copies. Lazy or greedy,
 * captured or not, makes no difference to whether there is a match. */
#include "service/watch/pattern.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/utf8.h"

#include <string.h>

enum { ENDLESS = -1, MAX_CHAR = 0x10ffff, MAX_COUNT = 1000, MAX_BYTES = 1 << 16, TREE_BYTES = 4 << 20,
       MAX_VISITS = 2 * PATTERN_MAX };

enum hold { LINE_START, LINE_END, TEXT_START, TEXT_END, WORD_EDGE, NO_WORD_EDGE, WORD_START, WORD_END,
            WORD_START_HALF, WORD_END_HALF };

struct range {
    uint32_t from, to;
};

struct set {
    bool negated;
    int n;
    struct range *range; /* of the pattern's arena */
};

enum node_kind { NOTHING, ONE_OF, HOLDS, BOTH, EITHER, REPEAT };

struct node {
    enum node_kind kind;
    const struct set *set;
    enum hold hold;
    struct node *a, *b; /* of BOTH and EITHER; a of REPEAT */
    int least, most;
};

enum step_kind { SET, HOLD, SPLIT, JUMP, MATCH };

struct step {
    enum step_kind kind;
    union {
        const struct set *set;
        enum hold hold;
        int to[2];
    };
};

/* The places where the machine is, each once. */
struct places {
    int n, *at;
};

struct pattern {
    struct arena arena;
    int n_steps, n_visits; /* of nodes, while the steps are written */
    struct step *step;
    struct places now, then;
    int *stack;
    uint32_t *seen, round; /* seen[step] == round: it is among the places already */
};

/* ---- reading ---- */

struct flags {
    bool any_case, lines, dot_all, spaced;
};

struct reader {
    struct arena *arena;
    const char *p, *end;
    struct flags flags;
    int depth;
    bool failed;
};

static struct node *fail(struct reader *r)
{
    r->failed = true;
    r->p = r->end;
    return NULL;
}

static struct node *new_node(struct reader *r, enum node_kind kind)
{
    struct node *n = arena_calloc(r->arena, sizeof *n);
    if (!n)
        return fail(r);
    n->kind = kind;
    return n;
}

static struct node *join(struct reader *r, enum node_kind kind, struct node *a, struct node *b)
{
    struct node *n = a && b ? new_node(r, kind) : fail(r);
    if (n) {
        n->a = a;
        n->b = b;
    }
    return n;
}

static bool is_at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static bool skip(struct reader *r, const char *z)
{
    size_t n = strlen(z);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, z, n) != 0)
        return false;
    r->p += n;
    return true;
}

static uint32_t next_char(struct reader *r)
{
    uint32_t c = 0;
    if (r->p >= r->end)
        fail(r);
    else
        r->p += utf8_decode(r->p, (size_t)(r->end - r->p), &c);
    return c;
}

/* What (?x) lets stand between the parts. */
static void skip_space(struct reader *r)
{
    while (r->flags.spaced && r->p < r->end) {
        if (*r->p == '#')
            while (r->p < r->end && *r->p != '\n')
                r->p++;
        else if (strchr(" \t\n\r\f\v", *r->p))
            r->p++;
        else
            break;
    }
}

/* ---- sets ---- */

enum { SET_ROOM = 512 };

struct new_set {
    struct range range[SET_ROOM];
    int n;
    bool full;
};

static void add(struct new_set *s, uint32_t from, uint32_t to)
{
    if (s->n < SET_ROOM)
        s->range[s->n++] = (struct range){from, to};
    else
        s->full = true;
}

/* With the letters of the other case, where the flag says so. */
static void add_cased(struct new_set *s, const struct flags *f, uint32_t from, uint32_t to)
{
    add(s, from, to);
    for (uint32_t c = from; f->any_case && c <= to && c < 128; c++)
        if ((c | 32) >= 'a' && (c | 32) <= 'z')
            add(s, c ^ 32, c ^ 32);
}

/* The ranges of a class, two bytes each; or all but those. */
static void add_ranges(struct new_set *s, const char *pairs, size_t n, bool others)
{
    uint32_t after = 0;
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t from = (unsigned char)pairs[i], to = (unsigned char)pairs[i + 1];
        if (!others)
            add(s, from, to);
        else if (from > after)
            add(s, after, from - 1);
        after = to + 1;
    }
    if (others)
        add(s, after, MAX_CHAR);
}

#define RANGES(text) text, sizeof(text) - 1

/* \d and its like; false if the letter names no class. */
static bool add_letter_class(struct new_set *s, uint32_t c)
{
    switch (c) {
    case 'd': add_ranges(s, RANGES("09"), false); return true;
    case 'D': add_ranges(s, RANGES("09"), true); return true;
    case 's': add_ranges(s, RANGES("\t\r  "), false); return true;
    case 'S': add_ranges(s, RANGES("\t\r  "), true); return true;
    case 'w': add_ranges(s, RANGES("09AZ__az"), false); return true;
    case 'W': add_ranges(s, RANGES("09AZ__az"), true); return true;
    default: return false;
    }
}

static const struct {
    const char *name, *pairs;
    size_t n;
} named_classes[] = {
    {"alnum:]", RANGES("09AZaz")}, {"alpha:]", RANGES("AZaz")}, {"ascii:]", RANGES("\0\x7f")},
    {"blank:]", RANGES("\t\t  ")}, {"cntrl:]", RANGES("\0\x1f\x7f\x7f")}, {"digit:]", RANGES("09")},
    {"graph:]", RANGES("!~")}, {"lower:]", RANGES("az")}, {"print:]", RANGES(" ~")},
    {"punct:]", RANGES("!/:@[`{~")}, {"space:]", RANGES("\t\r  ")}, {"upper:]", RANGES("AZ")},
    {"word:]", RANGES("09AZ__az")}, {"xdigit:]", RANGES("09AFaf")},
};

/* "[:digit:]" with the reader on its bracket. */
static bool add_named_class(struct reader *r, struct new_set *s)
{
    const char *start = r->p;
    if (!skip(r, "[:"))
        return false;
    bool others = skip(r, "^");
    for (size_t i = 0; i < sizeof named_classes / sizeof *named_classes; i++) {
        if (!skip(r, named_classes[i].name))
            continue;
        add_ranges(s, named_classes[i].pairs, named_classes[i].n, others);
        if (r->flags.any_case && (strstr("lower:]upper:]", named_classes[i].name)))
            add_ranges(s, RANGES("AZaz"), others);
        return true;
    }
    r->p = start;
    return false;
}

static struct node *set_node(struct reader *r, const struct new_set *from, bool negated)
{
    struct node *n = new_node(r, ONE_OF);
    struct set *set = arena_calloc(r->arena, sizeof *set);
    struct range *range = arena_alloc(r->arena, (size_t)(from->n + 1) * sizeof *range);
    if (!n || !set || !range || from->full)
        return fail(r);
    memcpy(range, from->range, (size_t)from->n * sizeof *range);
    *set = (struct set){negated, from->n, range};
    n->set = set;
    return n;
}

static struct node *char_node(struct reader *r, uint32_t c)
{
    struct new_set s = {.n = 0};
    add_cased(&s, &r->flags, c, c);
    return set_node(r, &s, false);
}

/* ---- escapes ---- */

static uint32_t hex_digits(struct reader *r, int n)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t v = 0;
    bool braced = skip(r, "{");
    int got = 0;
    for (; braced ? !is_at(r, '}') : got < n; got++) {
        uint32_t c = next_char(r);
        const char *at = c >= 'A' && c <= 'F' ? strchr(digits, (int)c + 32) : c && c < 128 ? strchr(digits, (int)c) : NULL;
        if (!at || got >= 8) {
            fail(r);
            return 0;
        }
        v = v << 4 | (uint32_t)(at - digits);
    }
    if (braced)
        r->p += is_at(r, '}');
    if (got == 0 || v > MAX_CHAR || (v >= 0xd800 && v < 0xe000))
        fail(r);
    return v;
}

/* The character that the escape with this letter stands for. */
static uint32_t escaped_char(struct reader *r, uint32_t c)
{
    static const char from[] = "aftnrv", to[] = "\a\f\t\n\r\v";
    const char *at = c && c < 128 ? strchr(from, (int)c) : NULL;
    if (at)
        return (unsigned char)to[at - from];
    if (c == 'x' || c == 'u' || c == 'U')
        return hex_digits(r, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (c >= 128 || is_alnum || c == '<' || c == '>')
        fail(r);
    return c;
}

static struct node *hold_node(struct reader *r, enum hold hold)
{
    struct node *n = new_node(r, HOLDS);
    if (n)
        n->hold = hold;
    return n;
}

static struct node *word_edge(struct reader *r)
{
    return skip(r, "{start-half}") ? hold_node(r, WORD_START_HALF)
           : skip(r, "{end-half}") ? hold_node(r, WORD_END_HALF)
           : skip(r, "{start}")    ? hold_node(r, WORD_START)
           : skip(r, "{end}")      ? hold_node(r, WORD_END)
                                   : hold_node(r, WORD_EDGE);
}

static struct node *read_escape(struct reader *r)
{
    struct new_set s = {.n = 0};
    uint32_t c = next_char(r);
    switch (c) {
    case 'A': return hold_node(r, TEXT_START);
    case 'z': return hold_node(r, TEXT_END);
    case 'b': return word_edge(r);
    case 'B': return hold_node(r, NO_WORD_EDGE);
    case '<': return hold_node(r, WORD_START);
    case '>': return hold_node(r, WORD_END);
    default: break;
    }
    if (add_letter_class(&s, c))
        return set_node(r, &s, false);
    c = escaped_char(r, c);
    return char_node(r, c);
}

/* ---- brackets ---- */

/* One character of a class, or a class within it; true if it was a character, *c. */
static bool read_member(struct reader *r, struct new_set *s, uint32_t *c)
{
    if (is_at(r, '[')) {
        if (!add_named_class(r, s))
            fail(r); /* a class in a class */
        return false;
    }
    if (skip(r, "&&") || skip(r, "~~") || (is_at(r, '-') && r->end - r->p > 1 && r->p[1] == '-'))
        fail(r); /* what other engines take for operators */
    *c = next_char(r);
    if (*c != '\\')
        return !r->failed;
    *c = next_char(r);
    if (add_letter_class(s, *c))
        return false;
    *c = escaped_char(r, *c);
    return !r->failed;
}

static void read_range(struct reader *r, struct new_set *s)
{
    uint32_t from, to;
    if (!read_member(r, s, &from))
        return;
    to = from;
    bool is_range = is_at(r, '-') && r->end - r->p > 1 && r->p[1] != ']' && r->p[1] != '-';
    if (is_range) {
        r->p++;
        skip_space(r);
        if (!read_member(r, s, &to) || to < from)
            fail(r);
    }
    add_cased(s, &r->flags, from, to);
}

static struct node *read_class(struct reader *r)
{
    struct new_set s = {.n = 0};
    skip_space(r);
    bool negated = skip(r, "^");
    skip_space(r);
    while (skip(r, "-")) /* at the start it stands for itself, and so does a bracket */
        add(&s, '-', '-');
    if (s.n == 0 && skip(r, "]"))
        add(&s, ']', ']');
    for (skip_space(r); !r->failed && !is_at(r, ']'); skip_space(r)) {
        if (r->p >= r->end)
            return fail(r);
        read_range(r, &s);
    }
    r->p += !r->failed;
    return set_node(r, &s, negated);
}

/* ---- groups and repetitions ---- */

static struct node *read_choice(struct reader *r);

/* "i-s" before a colon or parenthesis. */
static void read_flags(struct reader *r)
{
    bool on = true;
    while (!r->failed && !is_at(r, ':') && !is_at(r, ')')) {
        switch (next_char(r)) {
        case '-': on = false; break;
        case 'i': r->flags.any_case = on; break;
        case 'm': r->flags.lines = on; break;
        case 's': r->flags.dot_all = on; break;
        case 'x': r->flags.spaced = on; break;
        case 'U': break; /* lazy is greedy */
        default: fail(r); break;
        }
    }
}

static void skip_name(struct reader *r)
{
    while (!r->failed && next_char(r) != '>')
        ;
}

static struct node *read_group(struct reader *r)
{
    struct flags before = r->flags;
    skip_space(r);
    if (skip(r, "?P<") || skip(r, "?<")) {
        if (is_at(r, '=') || is_at(r, '!'))
            return fail(r); /* looking behind */
        skip_name(r);
    } else if (skip(r, "?")) {
        read_flags(r);
        if (skip(r, ")"))
            return new_node(r, NOTHING); /* they hold to the end of the group around */
        r->p += !r->failed;
    }
    if (++r->depth > PATTERN_DEPTH)
        return fail(r);
    struct node *inside = read_choice(r);
    r->depth--;
    if (!skip(r, ")"))
        return fail(r);
    r->flags = before;
    return inside;
}

static int read_count(struct reader *r)
{
    int v = 0, n = 0;
    skip_space(r);
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && v <= MAX_COUNT; n++)
        v = v * 10 + (*r->p++ - '0');
    if (n == 0 || v > MAX_COUNT)
        fail(r);
    skip_space(r);
    return v;
}

static void read_counts(struct reader *r, struct node *n)
{
    n->least = n->most = read_count(r);
    if (skip(r, ",")) {
        skip_space(r);
        n->most = is_at(r, '}') ? ENDLESS : read_count(r);
    }
    if (!skip(r, "}") || (n->most != ENDLESS && n->most < n->least))
        fail(r);
}

static struct node *read_repeats(struct reader *r, struct node *of)
{
    for (int depth = 0; of; depth++) {
        skip_space(r);
        if (!is_at(r, '*') && !is_at(r, '+') && !is_at(r, '?') && !is_at(r, '{'))
            return of;
        struct node *n = depth < PATTERN_DEPTH ? new_node(r, REPEAT) : fail(r);
        if (!n)
            return NULL;
        n->a = of;
        char c = *r->p++;
        n->least = c == '+';
        n->most = c == '?' ? 1 : ENDLESS;
        if (c == '{')
            read_counts(r, n);
        skip(r, "?");
        of = r->failed ? NULL : n;
    }
    return NULL;
}

static struct node *any_char(struct reader *r)
{
    struct new_set s = {.n = 0};
    if (!r->flags.dot_all)
        add(&s, '\n', '\n');
    return set_node(r, &s, true);
}

static struct node *read_atom(struct reader *r)
{
    switch (*r->p) {
    case '(': r->p++; return read_group(r);
    case '[': r->p++; return read_class(r);
    case '\\': r->p++; return read_escape(r);
    case '.': r->p++; return any_char(r);
    case '^': r->p++; return hold_node(r, r->flags.lines ? LINE_START : TEXT_START);
    case '$': r->p++; return hold_node(r, r->flags.lines ? LINE_END : TEXT_END);
    case '*':
    case '+':
    case '?':
    case '{': return fail(r); /* a repetition of nothing */
    default: return char_node(r, next_char(r));
    }
}

static struct node *read_sequence(struct reader *r)
{
    struct node *all = new_node(r, NOTHING);
    for (skip_space(r); all && r->p < r->end && *r->p != '|' && *r->p != ')'; skip_space(r)) {
        struct node *one = read_repeats(r, read_atom(r));
        all = join(r, BOTH, all, one);
    }
    return all;
}

static struct node *read_choice(struct reader *r)
{
    struct node *all = read_sequence(r);
    while (all && skip(r, "|"))
        all = join(r, EITHER, all, read_sequence(r));
    return all;
}

/* ---- writing the steps ---- */

static int put(struct pattern *p, struct step step)
{
    if (p->n_steps < PATTERN_MAX)
        p->step[p->n_steps] = step;
    return p->n_steps++; /* more than there is room for is noticed at the end */
}

/* Of nested repetitions of nothing it is the visits that grow. */
static bool is_too_large(const struct pattern *p)
{
    return p->n_steps > PATTERN_MAX || p->n_visits > MAX_VISITS;
}

static struct step split(int a, int b)
{
    return (struct step){.kind = SPLIT, .to = {a, b}};
}

static void set_target(struct pattern *p, int step, int which, int to)
{
    if (step < PATTERN_MAX)
        p->step[step].to[which] = to;
}

static void write_node(struct pattern *p, const struct node *n);

static void write_repeat(struct pattern *p, const struct node *n)
{
    for (int i = 0; i < n->least && !is_too_large(p); i++)
        write_node(p, n->a);
    if (n->most == ENDLESS) {
        int start = put(p, split(p->n_steps + 1, 0));
        write_node(p, n->a);
        put(p, (struct step){.kind = JUMP, .to = {start, 0}});
        set_target(p, start, 1, p->n_steps);
        return;
    }
    for (int i = n->least; i < n->most && !is_too_large(p); i++) { /* each may be left out */
        int start = put(p, split(p->n_steps + 1, 0));
        write_node(p, n->a);
        set_target(p, start, 1, p->n_steps);
    }
}

static void write_either(struct pattern *p, const struct node *n)
{
    int start = put(p, split(p->n_steps + 1, 0));
    write_node(p, n->a);
    int over = put(p, (struct step){.kind = JUMP});
    set_target(p, start, 1, p->n_steps);
    write_node(p, n->b);
    set_target(p, over, 0, p->n_steps);
}

/* Sequences hang to the left and may be long: walk down them, then write on the way back. */
static void write_both(struct pattern *p, const struct node *n)
{
    int count = 0;
    for (const struct node *at = n; at->kind == BOTH; at = at->a)
        count++;
    const struct node **part = xmem_alloc((size_t)count * sizeof *part);
    for (int i = count; i-- > 0; n = n->a)
        part[i] = n->b;
    write_node(p, n);
    for (int i = 0; i < count && !is_too_large(p); i++)
        write_node(p, part[i]);
    mem_free(part);
}

static void write_node(struct pattern *p, const struct node *n)
{
    if (++p->n_visits > MAX_VISITS)
        return;
    switch (n->kind) {
    case NOTHING: break;
    case ONE_OF: put(p, (struct step){.kind = SET, .set = n->set}); break;
    case HOLDS: put(p, (struct step){.kind = HOLD, .hold = n->hold}); break;
    case BOTH: write_both(p, n); break;
    case EITHER: write_either(p, n); break;
    case REPEAT: write_repeat(p, n); break;
    }
}

static bool make_room(struct pattern *p)
{
    size_t n = (size_t)p->n_steps;
    p->step = mem_realloc(p->step, n * sizeof *p->step);
    p->now.at = mem_calloc(n, sizeof(int));
    p->then.at = mem_calloc(n, sizeof(int));
    p->stack = mem_calloc(2 * n + 2, sizeof(int));
    p->seen = mem_calloc(n, sizeof *p->seen);
    return p->step && p->now.at && p->then.at && p->stack && p->seen;
}

struct pattern *pattern_new(struct str text)
{
    struct pattern *p = mem_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    arena_init(&p->arena, TREE_BYTES);
    struct reader r = {.arena = &p->arena, .p = text.p, .end = text.p + text.n};
    struct node *tree = text.n > MAX_BYTES || !utf8_valid(text.p, text.n) ? NULL : read_choice(&r);
    p->step = mem_calloc(PATTERN_MAX, sizeof *p->step);
    if (tree && !r.failed && r.p == r.end && p->step) {
        write_node(p, tree);
        put(p, (struct step){.kind = MATCH});
        if (!is_too_large(p) && make_room(p))
            return p;
    }
    pattern_free(p);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    arena_fini(&p->arena);
    mem_free(p->step);
    mem_free(p->now.at);
    mem_free(p->then.at);
    mem_free(p->stack);
    mem_free(p->seen);
    mem_free(p);
}

/* ---- matching ---- */

enum { NO_CHAR = UINT32_MAX };

static bool in_set(const struct set *s, uint32_t c)
{
    for (int i = 0; i < s->n; i++)
        if (c >= s->range[i].from && c <= s->range[i].to)
            return !s->negated;
    return s->negated;
}

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Between two characters, NO_CHAR at the ends. */
static bool holds(enum hold h, uint32_t before, uint32_t after)
{
    bool left = before != NO_CHAR && is_word(before), right = after != NO_CHAR && is_word(after);
    switch (h) {
    case LINE_START: return before == NO_CHAR || before == '\n';
    case LINE_END: return after == NO_CHAR || after == '\n';
    case TEXT_START: return before == NO_CHAR;
    case TEXT_END: return after == NO_CHAR;
    case WORD_EDGE: return left != right;
    case NO_WORD_EDGE: return left == right;
    case WORD_START: return !left && right;
    case WORD_END: return left && !right;
    case WORD_START_HALF: return !left;
    case WORD_END_HALF: return !right;
    }
    return false;
}

/* Be at `start` and wherever it leads without a character. True if that is the end. */
static bool enter(struct pattern *p, struct places *places, int start, uint32_t before, uint32_t after)
{
    int n = 0;
    p->stack[n++] = start;
    while (n > 0) {
        int at = p->stack[--n];
        const struct step *s = &p->step[at];
        if (p->seen[at] == p->round)
            continue;
        p->seen[at] = p->round;
        if (s->kind == MATCH)
            return true;
        if (s->kind == SET)
            places->at[places->n++] = at;
        else if (s->kind == HOLD && holds(s->hold, before, after))
            p->stack[n++] = at + 1;
        else if (s->kind == JUMP || s->kind == SPLIT)
            p->stack[n++] = s->to[0];
        if (s->kind == SPLIT)
            p->stack[n++] = s->to[1];
    }
    return false;
}

static void next_round(struct pattern *p)
{
    if (++p->round == 0) {
        memset(p->seen, 0, (size_t)p->n_steps * sizeof *p->seen);
        p->round = 1;
    }
}

bool pattern_matches(struct pattern *p, struct str text)
{
    const char *at = text.p, *end = text.p + text.n;
    uint32_t before = NO_CHAR, c = NO_CHAR, after;
    p->now.n = 0;
    next_round(p);
    at += at < end ? utf8_decode(at, (size_t)(end - at), &c) : 0;
    for (;;) {
        if (enter(p, &p->now, 0, before, c)) /* it may begin anywhere */
            return true;
        if (c == NO_CHAR)
            return false;
        after = NO_CHAR;
        at += at < end ? utf8_decode(at, (size_t)(end - at), &after) : 0;
        next_round(p);
        p->then.n = 0;
        for (int i = 0; i < p->now.n; i++)
            if (in_set(p->step[p->now.at[i]].set, c) &&
                enter(p, &p->then, p->now.at[i] + 1, c, after))
                return true;
        struct places swap = p->now;
        p->now = p->then;
        p->then = swap;
        before = c;
        c = after;
    }
}
