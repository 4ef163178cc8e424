/* SPDX-License-Identifier: MIT */
/* Which journals some process of this machine has open for writing. One thread. */
#ifndef TARE_CLI_WRITERS_H
#define TARE_CLI_WRITERS_H

#include <stdbool.h>

/* Whether a service holds the journal: it has locked it (ours do, see journal/writer.h), or, where
 * the system tells (/proc, of this user's processes), has it open for writing. What is told may be
 * some two seconds old. */
bool writers_hold(const char *journal);

#endif
