/* SPDX-License-Identifier: MIT */
/* A filter from a hostile client over an object from another one: "FILTER\nOBJECT". Members of the object are what the
 * filter may name. */
#include "server/filter/filter.h"

#include "base/json.h"

#include <assert.h>
#include <stdint.h>

struct row {
    struct str object;
    struct arena scratch;
};

static int get(void *ctx, struct str key, struct filter_value *out)
{
    struct row *r = ctx;
    return filter_value_at(r->object, key, &r->scratch, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_make(data, size), object = STR("{}");
    const char *line = size ? memchr(all.p, '\n', all.n) : NULL;
    if (line) {
        object = str_make(line + 1, (size_t)(all.p + all.n - line - 1));
        all = str_make(all.p, (size_t)(line - all.p));
    }
    if (!json_valid(object) || *object.p != '{')
        return 0;
    struct arena a;
    struct row r = {.object = object};
    struct filter *f = NULL;
    struct err e = {0};
    arena_init(&a, 1 << 20);
    arena_init(&r.scratch, 1 << 20);
    int rc = filter_compile(all, &a, &f, &e);
    if (rc == 0) {
        int first = filter_match(f, get, &r, &e);
        assert(first >= 0 && first == filter_match(f, get, &r, &e));
        filter_fini(f);
    } else {
        assert(e.text[0]);
    }
    arena_fini(&r.scratch);
    arena_fini(&a);
    return 0;
}
