/* SPDX-License-Identifier: MIT */
/* A sweep's configuration from a hostile client: read, and if it is a space, draw from it. */
#include "server/sweep/search.h"
#include "server/sweep/yaml_json.h"

#include <assert.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    json_t *config = yaml_to_json(str_make(data, size), &e);
    if (!config) {
        assert(e.code < 0);
        return 0;
    }
    struct sweep_space *s = NULL;
    if (sweep_space_new(config, &s, &e) == 0) {
        struct buf args = {0};
        int rc = sweep_space_point(s, 0, 1, &args);
        assert(rc == 0 || rc == TARE_ENOMEM || rc == TARE_EUNSUPPORTED);
        buf_fini(&args);
    }
    sweep_space_free(s);
    json_decref(config);
    return 0;
}
