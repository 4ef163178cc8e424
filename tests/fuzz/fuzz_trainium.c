/* SPDX-License-Identifier: MIT */
/* A report of neuron-monitor: whatever it says, names and numbers are whole. */
#include "base/utf8.h"
#include "service/watch/trainium.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(void *ctx, const char *key, double v)
{
    (void)ctx;
    if (strncmp(key, "trn.", 4) != 0 || !utf8_valid(key, strlen(key)) || !isfinite(v))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str line = {(const char *)data, size};
    uint32_t devices, cores;
    if (!trainium_is_report(line))
        return 0;
    trainium_report_read(line, 7, NULL, check, NULL);
    trainium_report_read(line, 1, "0", check, NULL);
    trainium_report_facts(line, &devices, &cores);
    return 0;
}
