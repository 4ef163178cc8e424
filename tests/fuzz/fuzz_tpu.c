/* SPDX-License-Identifier: MIT */
/* What a TPU's library or service says of a metric: whatever it is, names and numbers are whole. The first
 * byte chooses the metric and who says it; texts are divided by zeros. */
#include "base/json.h"
#include "base/utf8.h"
#include "record/wire.h"
#include "service/watch/tpu.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_items(struct str items)
{
    struct wire_reader r = wire_open(items);
    struct wire_field f = {0};
    int rc;
    while ((rc = wire_next(&r, &f)) > 0) {
        struct str key = wire_find_bytes(f.bytes, 1), value = wire_find_bytes(f.bytes, 16);
        if (!str_starts(key, STR("tpu.")) || !utf8_valid(key.p, key.n) || !json_valid(value))
            abort();
    }
    if (rc < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct str values[TPU_MAX_VALUES];
    struct tpu_figures f;
    struct str rest, message;
    size_t n = 0;
    if (size == 0)
        return 0;
    const struct tpu_metric *m = &tpu_metrics[*data % TPU_N_METRICS];
    rest = str_make(data + 1, size - 1);
    tpu_figures_init(&f);
    if (*data & 0x80) {
        if (tpu_find_message(rest, &message))
            tpu_put_response(&f, m, 2, message);
        tpu_put_response(&f, m, 1, rest);
    } else {
        while (n < TPU_MAX_VALUES && rest.n > 0) {
            const char *end = memchr(rest.p, 0, rest.n);
            size_t len = end ? (size_t)(end - rest.p) : rest.n;
            values[n++] = str_make(rest.p, len);
            rest = str_make(rest.p + len + (end != NULL), rest.n - len - (end != NULL));
        }
        if (n > 0)
            tpu_put_values(&f, m, 2, values[0], values + 1, n - 1);
    }
    tpu_put_memory(&f);
    check_items(buf_str(&f.items));
    tpu_figures_fini(&f);
    return 0;
}
