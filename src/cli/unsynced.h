/* SPDX-License-Identifier: MIT */
/* The journals that are to be brought to a backend: found in folders, without those that are there
 * already (FILE.synced beside it), are brought by a service that is up, or went there while they
 * were written. One thread. */
#ifndef TARE_CLI_UNSYNCED_H
#define TARE_CLI_UNSYNCED_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct unsynced {
    /* -- set before -- */
    bool with_synced;  /* also what is there already */
    bool with_online;  /* also what went there while it was written */
    bool with_running; /* also what a service is writing now */

    char **paths; /* owned, absolute, sorted: the oldest first where names tell */
    size_t n;
    size_t n_synced, n_online, n_running; /* how many were left out, and why */
    size_t n_unreadable;                  /* folders; each was told on stderr */
};

/* Add what `path` names: a journal; a run's folder; a folder of runs, or one with `wandb` in it.
 * What is named by itself is never left out for having been online.
 * Expected: TARE_ENOTFOUND */
int unsynced_add(struct unsynced *u, const char *path, struct err *e);
void unsynced_sort(struct unsynced *u);
void unsynced_fini(struct unsynced *u);

#endif
