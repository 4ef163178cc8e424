/* SPDX-License-Identifier: MIT */
/* What a client may put into a path, a query, Range, Content-Range, a token or a gzip body. The first byte says
 * which of them the rest is. */
#include "base/arena.h"
#include "server/http/inner.h"
#include "server/http/range.h"
#include "server/http/route.h"
#include "server/routes.h"
#include "server/token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Nothing that a route is given leads out of where it looks. */
static void fuzz_path(struct arena *a, struct str path)
{
    struct str params[HTTP_MAX_PARAMS], out;
    int n = 0;
    const struct http_route *other;
    static const char *const methods[] = {"GET", "PUT", "POST", "HEAD"};
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        if (!route_find(server_routes, str_of(methods[m]), path, a, params, &n, &other))
            continue;
        check(n <= HTTP_MAX_PARAMS);
        for (int i = 0; i < n; i++) {
            check(params[i].n && !memchr(params[i].p, 0, params[i].n) && !str_eq(params[i], STR("..")));
            check(!memmem(params[i].p, params[i].n, "/../", 4) && !str_starts(params[i], STR("../")));
            check(params[i].p[params[i].n] == 0);
        }
    }
    if (route_decode(a, path, true, &out))
        check(out.n <= path.n && out.p[out.n] == 0);
}

static void fuzz_range(const char *text)
{
    static const int64_t sizes[] = {0, 1, 10, 1 << 20, INT64_MAX};
    int64_t first, last, total;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct http_range r = http_range_parse(text, sizes[i]);
        check(r.first >= 0 && r.n >= 0 && r.first <= sizes[i] && r.n <= sizes[i] - r.first);
        check(r.kind != HTTP_RANGE_PART || r.n > 0);
        check(r.kind != HTTP_RANGE_ALL || (r.first == 0 && r.n == sizes[i]));
    }
    if (http_content_range_parse(text, &first, &last, &total))
        check((first == -1 && last == -1 && total >= 0) || (first >= 0 && first <= last && last < total));
}

static void fuzz_token(struct arena *a, struct str text)
{
    static const unsigned char secret[32] = "of this test";
    AUTO_BUF made = {0};
    struct str claims;
    check(token_check(a, secret, text, &claims) != 0); /* nobody finds a MAC by chance */
    if (token_put(&made, secret, text, INT64_MAX / 2) == 0 && made.len <= 4096)
        check(token_check(a, secret, buf_str(&made), &claims) == 0 && str_eq(claims, text));
}

static void fuzz_gzip(struct str packed)
{
    enum { MAX = 1 << 20, BUDGET = 1 << 19 };
    struct budget memory = {.max_bytes = BUDGET};
    size_t taken = 0;
    AUTO_BUF body = {0};
    buf_put_str(&body, packed);
    if (http_gunzip(&body, MAX, &memory, &taken) == 0)
        check(body.len <= MAX && body.len <= taken);
    check(taken == atomic_load(&memory.used_bytes) && taken <= BUDGET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    if (!size)
        return 0;
    arena_init(&a, 1 << 20);
    struct str rest = str_make(data + 1, size - 1);
    const char *text = arena_strndup(&a, rest.p, rest.n);
    switch (data[0] % 4) {
    case 0:
        fuzz_path(&a, rest);
        break;
    case 1:
        if (text)
            fuzz_range(text);
        break;
    case 2:
        fuzz_token(&a, rest);
        break;
    case 3:
        fuzz_gzip(rest);
        break;
    }
    arena_fini(&a);
    return 0;
}
