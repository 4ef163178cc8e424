/* SPDX-License-Identifier: MIT */
/* How long runs are kept, and taking away what deleted runs have left.
 *
 * A rule says after how many days a project's ended runs are deleted; a project without one keeps them for ever.
 * Deleting a run hides it at once; its history, console lines and file entries are taken away here, a few runs a
 * round (blobs that nothing refers to any more then go with artifact_collect). */
#ifndef TARE_SERVER_STORE_RETENTION_H
#define TARE_SERVER_STORE_RETENTION_H

#include "server/store/db.h"

/* In a job: keep the ended runs of a project for `days` (0: for ever). Expected: TARE_ENOTFOUND. */
int retention_set(struct db_conn *c, const char *entity, const char *project, int64_t days, struct err *e);

/* Call `each` for every rule. */
int retention_list(struct db_conn *c, void (*each)(void *arg, const char *entity, const char *project, int64_t days),
                   void *arg, struct err *e);

/* Apply the rules, and empty at most `max` deleted runs. How many runs were emptied: more may be left if it is
 * `max`. Not the writer's thread. */
int retention_round(struct db *db, int64_t now_us, int max, struct err *e);

#endif
