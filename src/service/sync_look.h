/* SPDX-License-Identifier: MIT */
/* What a journal says of its run, before any of it is sent (sync.c). Worker thread, but for sync_look_fini
 * and the two at the end, which any thread may call. */
#ifndef TARE_SERVICE_SYNC_LOOK_H
#define TARE_SERVICE_SYNC_LOOK_H

#include <stdbool.h>
#include <stdint.h>

struct sync_look {
    char *entity, *project, *id, *producer; /* "" where it doesn't say; NULL: the file wasn't read */
    int64_t start_ns;
    uint64_t bytes; /* of the file */
    int rc;         /* 0; TARE_ENOTFOUND with an `id`: no run record so far; else why not */
    char why[512];  /* for a person */
};

/* Read the journal up to its run record. `shown` is its name for people. */
void sync_look(struct sync_look *to, const char *path, const char *shown);
void sync_look_fini(struct sync_look *l);

/* Was the journal written by a version of the peer that is newer than what we know? Its records may hold
 * more. */
bool sync_is_newer(const char *producer);
/* The journal's name for people; to be freed. */
char *sync_shown_path(const char *path, const char *cwd);

#endif
