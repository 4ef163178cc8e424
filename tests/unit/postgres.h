/* SPDX-License-Identifier: MIT */
/* For tests that also run on PostgreSQL: TARE_TEST_POSTGRES is the URL of a database that may be emptied. */
#ifndef TARE_TESTS_POSTGRES_H
#define TARE_TESTS_POSTGRES_H

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static inline void empty_postgres(const char *url)
{
    char command[400];
    snprintf(command, sizeof command, "psql -q '%s' -c 'DROP SCHEMA public CASCADE; CREATE SCHEMA public' 2>/dev/null", url);
    assert_int_equal(system(command), 0);
}

#endif
