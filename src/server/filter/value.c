/* SPDX-License-Identifier: MIT */
/* Values of filters: from JSON, and in order. */
#include "server/filter/value.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/number.h"

#include <math.h>
#include <stdlib.h>

int filter_value_of(struct str raw, struct arena *a, struct filter_value *out)
{
    *out = (struct filter_value){.kind = FILTER_JSON, .s = raw};
    if (!raw.n) {
        out->kind = FILTER_MISSING;
    } else if (raw.p[0] == '"') {
        out->kind = FILTER_STRING;
        out->s = str_make(raw.p + 1, raw.n - 2);
        if (memchr(out->s.p, '\\', out->s.n)) {
            AUTO_BUF b = {0};
            int rc = json_unescape(&b, out->s);
            char *text = rc == 0 ? arena_strndup(a, b.data ? b.data : "", b.len) : NULL;
            if (!text)
                return rc < 0 ? rc : TARE_ENOMEM;
            out->s = str_make(text, b.len);
        }
    } else if (str_eqz(raw, "null")) {
        out->kind = FILTER_NULL;
    } else if (str_eqz(raw, "true") || str_eqz(raw, "false")) {
        out->kind = FILTER_BOOL;
        out->b = raw.p[0] == 't';
    } else if (raw.p[0] != '{' && raw.p[0] != '[') {
        out->kind = FILTER_NUMBER;
        number_parse_double(raw.p, raw.n, &out->number);
        if (number_parse_i64(raw.p, raw.n, &out->integer) != raw.n)
            out->integer = 0;
    }
    return 0;
}

/* The element of the list `json` whose number `path` begins with: "0", or "0.more". */
static struct str find_element(struct str json, struct str path, size_t *used)
{
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    const char *dot = memchr(path.p, '.', path.n);
    size_t n = dot ? (size_t)(dot - path.p) : path.n;
    int64_t no;
    if (!n || number_parse_i64(path.p, n, &no) != n || no < 0)
        return (struct str){0};
    while (json_next_element(&at, end, &item) == 1)
        if (no-- == 0) {
            *used = n;
            return item.value;
        }
    return (struct str){0};
}

/* The member of the object `json` whose name is `path` or a prefix of it that ends before a dot. */
static struct str find_member(struct str json, struct str path, size_t *used)
{
    struct str found = {0};
    const char *at = json.p + 1, *end = json.p + json.n;
    struct json_item item;
    *used = 0;
    if (json.n > 1 && json.p[0] == '[')
        return find_element(json, path, used);
    while (json.n > 1 && json.p[0] == '{' && json_next_member(&at, end, &item) == 1)
        if (item.key.n > *used && str_starts(path, item.key) &&
            (item.key.n == path.n || path.p[item.key.n] == '.')) {
            *used = item.key.n;
            found = item.value;
        }
    return found;
}

int filter_value_at(struct str json, struct str path, struct arena *a, struct filter_value *out)
{
    for (;;) {
        size_t used;
        struct str v = find_member(json, path, &used);
        if (!used) {
            *out = (struct filter_value){.kind = FILTER_MISSING};
            return 0;
        }
        if (used == path.n)
            return filter_value_of(v, a, out);
        path = str_make(path.p + used + 1, path.n - used - 1);
        json = v;
    }
}

/* ---- the same JSON ---- */

/* How many bytes comparing two values may read again: lists and objects are searched for what is not at its place. */
enum { EQUAL_MAX_BYTES = 32 << 20 };

struct equal {
    struct arena scratch;
    size_t left; /* of EQUAL_MAX_BYTES; values too large to compare are not equal */
};

static bool spend(struct equal *q, size_t n)
{
    q->left -= n < q->left ? n : q->left;
    return q->left > 0;
}

static bool same(struct equal *q, struct str a, struct str b);

/* Has the object whose members begin at `first` this one? *at is where to look first, and then behind what was
 * found: members mostly stand in the same order. */
static bool has_member(struct equal *q, const char *first, const char **at, const char *end,
                       const struct json_item *want)
{
    struct json_item have;
    for (int pass = 0; pass < 2; pass++, *at = first)
        while (json_next_member(at, end, &have) == 1) {
            if (!spend(q, have.key.n + have.value.n))
                return false;
            if (str_eq(have.key, want->key))
                return same(q, have.value, want->value);
        }
    return false;
}

static size_t count_members(struct str object)
{
    const char *at = object.p + 1;
    struct json_item item;
    size_t n = 0;
    while (json_next_member(&at, object.p + object.n, &item) == 1)
        n++;
    return n;
}

/* Members in any order. */
static bool same_object(struct equal *q, struct str a, struct str b)
{
    const char *at = a.p + 1, *end = a.p + a.n, *in = b.p + 1;
    struct json_item want;
    if (count_members(a) != count_members(b))
        return false;
    while (json_next_member(&at, end, &want) == 1)
        if (!has_member(q, b.p + 1, &in, b.p + b.n, &want))
            return false;
    return true;
}

/* Elements in their order. */
static bool same_list(struct equal *q, struct str a, struct str b)
{
    const char *at = a.p + 1, *in = b.p + 1;
    struct json_item x, y;
    for (;;) {
        int more = json_next_element(&at, a.p + a.n, &x);
        if (more != json_next_element(&in, b.p + b.n, &y))
            return false;
        if (more != 1)
            return more == 0;
        if (!same(q, x.value, y.value))
            return false;
    }
}

static bool same(struct equal *q, struct str a, struct str b)
{
    struct filter_value x, y;
    if (!spend(q, a.n + b.n))
        return false;
    if (a.p[0] == b.p[0] && (a.p[0] == '{' || a.p[0] == '['))
        return a.p[0] == '{' ? same_object(q, a, b) : same_list(q, a, b);
    arena_reset(&q->scratch);
    if (filter_value_of(a, &q->scratch, &x) || filter_value_of(b, &q->scratch, &y))
        return false;
    return x.kind != FILTER_JSON && filter_value_compare(&x, &y) == 0;
}

static bool json_same(struct str a, struct str b)
{
    struct equal q = {.left = EQUAL_MAX_BYTES};
    arena_init(&q.scratch, 0);
    bool yes = same(&q, a, b);
    arena_fini(&q.scratch);
    return yes;
}

bool filter_list_has_all(struct str v, struct str want)
{
    const char *at = want.p + 1, *end = want.p + want.n;
    struct json_item item, have;
    struct equal q = {.left = EQUAL_MAX_BYTES};
    bool found = true;
    if (*json_skip_space(at, end) == ']')
        return *json_skip_space(v.p + 1, v.p + v.n) == ']';
    arena_init(&q.scratch, 0);
    while (found && json_next_element(&at, end, &item) == 1) {
        const char *in = v.p + 1, *in_end = v.p + v.n;
        found = false;
        while (!found && json_next_element(&in, in_end, &have) == 1)
            found = same(&q, have.value, item.value);
    }
    arena_fini(&q.scratch);
    return found;
}

/* ---- times ---- */

/* `n` digits at *at, or -1. */
static int digits(struct str s, size_t *at, size_t n)
{
    int v = 0;
    if (*at + n > s.n)
        return -1;
    for (size_t i = 0; i < n; i++, ++*at) {
        if (s.p[*at] < '0' || s.p[*at] > '9')
            return -1;
        v = v * 10 + (s.p[*at] - '0');
    }
    return v;
}

static bool skip(struct str s, size_t *at, char c)
{
    if (*at >= s.n || s.p[*at] != c)
        return false;
    ++*at;
    return true;
}

/* Days since 1970-01-01 of the Gregorian calendar (Hinnant, "chrono-compatible date algorithms"). */
static int64_t days_from(int y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int yoe = (int)(y - era * 400), doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool parse_clock(struct str s, size_t *at, int64_t *us)
{
    int h = digits(s, at, 2), m = skip(s, at, ':') ? digits(s, at, 2) : -1, sec = 0;
    if (h < 0 || h > 24 || m < 0 || m > 59)
        return false;
    if (skip(s, at, ':') && ((sec = digits(s, at, 2)) < 0 || sec > 60))
        return false;
    int64_t fraction = 0, unit = 100000;
    if (skip(s, at, '.'))
        for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; ++*at, unit /= 10)
            fraction += (s.p[*at] - '0') * unit;
    *us = ((int64_t)h * 3600 + m * 60 + sec) * 1000000 + fraction;
    return true;
}

bool filter_parse_time(struct str s, int64_t *us)
{
    size_t at = 0;
    int y = digits(s, &at, 4), m = skip(s, &at, '-') ? digits(s, &at, 2) : -1;
    int d = skip(s, &at, '-') ? digits(s, &at, 2) : -1;
    if (y < 0 || m < 1 || m > 12 || d < 1 || d > 31)
        return false;
    int64_t clock = 0, zone = 0;
    if (at < s.n) {
        if (!(skip(s, &at, 'T') || skip(s, &at, ' ')) || !parse_clock(s, &at, &clock))
            return false;
        if (at < s.n && (s.p[at] == '+' || s.p[at] == '-')) {
            int sign = s.p[at++] == '-' ? -1 : 1;
            int h = digits(s, &at, 2);
            skip(s, &at, ':');
            int min = digits(s, &at, 2);
            if (h < 0 || min < 0)
                return false;
            zone = sign * ((int64_t)h * 60 + min) * 60000000;
        } else {
            skip(s, &at, 'Z');
        }
    }
    *us = days_from(y, m, d) * INT64_C(86400000000) + clock - zone;
    return at == s.n;
}

/* ---- order ---- */

/* Two values of one kind; FILTER_UNORDERED where neither is before the other. */
int filter_value_compare(const struct filter_value *a, const struct filter_value *b)
{
    int64_t t;
    if (a->kind == FILTER_TIME && b->kind == FILTER_STRING)
        return filter_parse_time(b->s, &t) ? (a->time_us > t) - (a->time_us < t) : FILTER_UNORDERED;
    if (a->kind == FILTER_TIME && b->kind == FILTER_NUMBER) /* seconds since 1970 */
        return ((double)a->time_us > b->number * 1e6) - ((double)a->time_us < b->number * 1e6);
    if (a->kind != b->kind)
        return FILTER_UNORDERED;
    switch (a->kind) {
    case FILTER_NUMBER:
        if (isnan(a->number) || isnan(b->number))
            return FILTER_UNORDERED;
        if (a->number == b->number && a->integer && b->integer) /* beyond 2^53 too */
            return (a->integer > b->integer) - (a->integer < b->integer);
        return (a->number > b->number) - (a->number < b->number);
    case FILTER_STRING: {
        int c = str_cmp(a->s, b->s);
        return (c > 0) - (c < 0);
    }
    case FILTER_BOOL:
        return (int)a->b - (int)b->b;
    case FILTER_TIME:
        return (a->time_us > b->time_us) - (a->time_us < b->time_us);
    case FILTER_NULL:
    case FILTER_MISSING:
        return 0;
    case FILTER_JSON:
        return json_same(a->s, b->s) ? 0 : FILTER_UNORDERED;
    }
    return FILTER_UNORDERED;
}

int order_compile(struct str text, const char *fallback, struct order *out, struct err *e)
{
    struct order o = {0};
    if (!text.n)
        text = str_of(fallback);
    while (text.n) {
        const char *comma = memchr(text.p, ',', text.n);
        struct str part = comma ? str_make(text.p, (size_t)(comma - text.p)) : text;
        text = comma ? str_make(comma + 1, text.n - part.n - 1) : STR("");
        while (part.n && part.p[0] == ' ')
            part = str_make(part.p + 1, part.n - 1);
        struct order_key key = {.name = part};
        if (part.n && (part.p[0] == '+' || part.p[0] == '-')) {
            key.descending = part.p[0] == '-';
            key.name = str_make(part.p + 1, part.n - 1);
        }
        if (!key.name.n || o.n == ORDER_MAX_KEYS)
            return err_set(e, TARE_EINVAL, "an order is up to %d names with + or -, such as -created_at",
                           ORDER_MAX_KEYS);
        o.keys[o.n++] = key;
    }
    *out = o;
    return 0;
}

/* Kinds among each other, so that a column of mixed kinds has an order too. */
static int rank(const struct filter_value *v)
{
    switch (v->kind) {
    case FILTER_NUMBER:
        return isnan(v->number) ? 5 : 0;
    case FILTER_TIME:
        return 1;
    case FILTER_STRING:
        return 2;
    case FILTER_BOOL:
        return 3;
    case FILTER_JSON:
        return 4;
    case FILTER_NULL:
    case FILTER_MISSING:
        break;
    }
    return 6;
}

int order_compare(const struct order *o, const struct filter_value *a, const struct filter_value *b)
{
    for (int i = 0; i < o->n; i++) {
        int ra = rank(&a[i]), rb = rank(&b[i]);
        if (ra != rb)
            return ra - rb; /* what is missing comes last, whatever the direction */
        int c = filter_value_compare(&a[i], &b[i]);
        if (c != 0 && c != FILTER_UNORDERED)
            return o->keys[i].descending ? -c : c;
    }
    return 0;
}
