/* SPDX-License-Identifier: MIT */
/* The real file system, except that one call can be made to go wrong.
 *
 *     struct fake_os fake;
 *     fake_os_install(&fake, (struct os_fault){.kind = OS_FAULT_ERROR, .countdown = nth});
 *     ... the code under test ...
 *     fake_os_remove();
 *     if (!fake.fired) ...   // there was no nth call
 *
 * One at a time; the code under test must run in one thread. */
#ifndef TARE_TESTS_SUPPORT_FAKE_OS_H
#define TARE_TESTS_SUPPORT_FAKE_OS_H

#include "base/os.h"

#include <stdbool.h>

enum os_fault_kind {
    OS_FAULT_NONE,
    OS_FAULT_ERROR,     /* the call does nothing and answers -EIO */
    OS_FAULT_SHORT,     /* a write or read does a part (no failure) */
    OS_FAULT_DISK_FULL, /* a write does a part, and from then on -ENOSPC */
    OS_FAULT_CRASH,     /* a write does a part; from then on every call fails and does nothing */
};

struct os_fault {
    enum os_fault_kind kind;
    int countdown; /* 1: the next call that the kind can hit */
    int repeat;    /* so many calls in a row; 0 = 1 (kinds that say "from then on" ignore it) */
};

struct fake_os {
    struct os_fault fault;
    bool fired;
    int n_calls; /* of those that the kind can hit */
};

void fake_os_install(struct fake_os *fake, struct os_fault fault);
void fake_os_remove(void);

/* Disk full no more. */
void fake_os_free_space(struct fake_os *fake);

#endif
