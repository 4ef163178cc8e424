/* SPDX-License-Identifier: MIT */
/* A store for each test: SQLite in a folder of its own, or, where TARE_TEST_POSTGRES is the URL of a database that
 * may be emptied, that one. What goes wrong here fails the test. */
#ifndef TARE_TESTS_STORE_FIXTURE_H
#define TARE_TESTS_STORE_FIXTURE_H

#include "base/buf.h"
#include "server/store/db.h"
#include "tests/unit/unit.h"

struct fixture {
    char dir[64], path[96]; /* of the SQLite file, also where PostgreSQL is used */
    const char *url;
    struct db *db;
    struct err e;
    struct buf text; /* for what a test collects */
};

/* A folder of a name like this below `parent`; the database is emptied, not opened. */
struct fixture *store_fixture_new(const char *parent, const char *name);
/* The same, opened, as `setup` of cmocka. */
int store_fixture_setup(void **state, const char *name);
void store_fixture_open(struct fixture *f);
/* ann's project p with the runs 1 and 2: one, two. */
void store_fixture_make_runs(struct fixture *f);
/* What the migrations from 5 on have made is undone. */
void store_fixture_close_as_version_4(struct fixture *f);
/* Closes and removes everything. As `teardown` of cmocka. */
int store_fixture_teardown(void **state);

#endif
