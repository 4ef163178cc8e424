/* SPDX-License-Identifier: MIT */
/* An artifact's manifest from a hostile client: the walk ends, and every entry is well-formed. */
#include "base/path.h"
#include "server/artifact/manifest.h"

#include <assert.h>
#include <stddef.h>

static int check_entry(void *arg, const struct manifest_entry *m)
{
    (void)arg;
    assert(path_is_safe(m->path));
    assert(m->digest.n > 0 && m->size_bytes >= 0);
    assert(m->raw.n > 0 && m->raw.p[0] == '{');
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err e = {0};
    arena_init(&a, 1 << 20);
    int rc = manifest_walk(str_make(data, size), &a, check_entry, NULL, &e);
    assert(rc == 0 || e.text[0] || rc == TARE_ENOMEM);
    arena_fini(&a);
    return 0;
}
