/* SPDX-License-Identifier: MIT */
/* Endpoints of metrics: the input up to its first empty line is a filter, the rest an exposition and an
 * exporter's answer. */
#include "record/wire.h"
#include "service/watch/dcgm.h"
#include "service/watch/openmetrics.h"
#include "service/watch/pattern.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every item is whole. */
static void check_items(struct buf *items)
{
    struct wire_reader r = wire_open(buf_str(items));
    struct wire_field f = {0};
    int rc;
    while ((rc = wire_next(&r, &f)) > 0)
        if (f.number != 3 || wire_find_bytes(f.bytes, 1).n == 0 || wire_find_bytes(f.bytes, 16).n == 0)
            abort();
    if (rc < 0)
        abort();
    buf_clear(items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size}, pattern = bytes, text = bytes;
    struct buf filters = {0}, items = {0}, gpus = {0}, url = {0}, setting = {0};
    char why[256];
    const char *gap = memmem(data, size, "\n\n", 2);
    pattern.n = gap ? (size_t)(gap - pattern.p) : 0;
    if (gap)
        text = (struct str){gap + 2, size - pattern.n - 2};
    size_t mark = wire_buf_begin(&filters, 1);
    wire_buf_bytes(&filters, 1, pattern);
    wire_buf_end(&filters, mark);
    for (int filtered = 0; filtered < 2; filtered++) {
        struct openmetrics *o = openmetrics_new(STR("n"), filtered ? buf_str(&filters) : STR(""));
        openmetrics_read(o, text, &items);
        openmetrics_read(o, text, &items);
        check_items(&items);
        openmetrics_free(o);
    }
    dcgm_read(text, &items, &gpus, why);
    check_items(&items);
    dcgm_put_facts(&items, buf_str(&gpus));
    buf_put_str(&setting, bytes);
    const char *z = buf_z(&setting);
    for (int i = 0; z && dcgm_url(z, i, &url); i++)
        ;
    buf_fini(&filters);
    buf_fini(&items);
    buf_fini(&gpus);
    buf_fini(&url);
    buf_fini(&setting);
    return 0;
}
