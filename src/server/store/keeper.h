/* SPDX-License-Identifier: MIT */
/* The thread that keeps the store in shape: merges the tails of histories, and marks runs whose
 * heartbeats have stopped as crashed. */
#ifndef TARE_SERVER_STORE_KEEPER_H
#define TARE_SERVER_STORE_KEEPER_H

#include "server/store/db.h"

struct keeper;

struct keeper_options {
    int64_t crashed_after_s; /* without a heartbeat; 0 = 300 */
    int64_t interval_s;      /* between looks; 0 = 20 */
};

/* Start the thread. The database must outlive it. 0, TARE_ENOMEM or a negative errno value. */
int keeper_start(struct db *db, const struct keeper_options *options, struct keeper **out,
                 struct err *e);

/* There may be work: look soon. Cheap; any thread. */
void keeper_wake(struct keeper *k);

/* End the thread, after the work in hand. NULL is fine. */
void keeper_stop(struct keeper *k);

/* One round of the same work, for tests and tools. How many segments were merged. */
int keeper_round(struct db *db, int64_t now_us, const struct keeper_options *options, struct err *e);

#endif
