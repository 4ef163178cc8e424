/* SPDX-License-Identifier: MIT */
/* The sync operations of this process (sync.h) by their ids, as clients ask for them: init_sync,
 * sync, sync_status. What an operation has to say waits here until it is asked for or over. An
 * operation goes on when its client is gone. Loop thread only.
 * (peer: core/internal/runsync/runsyncmanager.go) */
#ifndef TARE_SERVICE_SYNCS_H
#define TARE_SERVICE_SYNCS_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct service;
struct sync_op;

struct syncs {
    struct sync_op *ops; /* list: prepared or under way */
    uint64_t last_id;
    int n_running;
};

/* Each appends the message that answers: ServerInitSyncResponse, ServerSyncStatusResponse. The
 * argument is the request's. 0 or TARE_EFORMAT. */
int syncs_init_op(struct service *s, struct str request, struct buf *answer);
int syncs_status(struct service *s, struct str request, struct buf *answer);

/* Begin; ServerSyncResponse goes to request `serial` of the mailbox (0: nobody) when it is over. */
int syncs_do(struct service *s, struct str request, uint64_t serial);

void syncs_cancelled(struct service *s, uint64_t serial); /* the request was */
void syncs_abort_all(struct service *s); /* each calls service_syncs_changed when it is over */
void syncs_fini(struct service *s);      /* frees those that were never begun */

#endif
