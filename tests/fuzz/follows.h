/* SPDX-License-Identifier: MIT */
#ifndef TARE_TESTS_FUZZ_FOLLOWS_H
#define TARE_TESTS_FUZZ_FOLLOWS_H

#include "record/wire.h"

#include <stdbool.h>

/* Following a folder of event files is a job that makes the next one: not without its files
 * (fuzz_tfevents has those). */
static inline bool follows_a_folder(struct str record)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(record); wire_next(&r, &f) > 0;)
        if (f.number == 9 /* tbrecord */)
            return true;
    return false;
}

#endif
