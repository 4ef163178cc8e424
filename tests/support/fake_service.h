/* SPDX-License-Identifier: MIT */
/* A service in a thread of the test: listens on a unix socket, notes every message, answers
 * what wants an answer, and can fall silent, stop reading, or hang up. */
#ifndef TARE_TESTS_FAKE_SERVICE_H
#define TARE_TESTS_FAKE_SERVICE_H

#include "base/buf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum fake_mood { FAKE_ANSWERS, FAKE_SILENT, FAKE_DEAF };

enum { FAKE_CONNECTIONS = 8 };

struct fake_service {
    char folder[64], path[96], token[160];
    int listener;
    pthread_t thread;
    atomic_int mood;           /* an enum fake_mood */
    atomic_int hang_up_after;  /* messages; 0: never */
    atomic_bool stop;
    atomic_int n_messages, n_connections;
    struct buf in[FAKE_CONNECTIONS + 1]; /* of each connection, not yet taken */
    pthread_mutex_t lock;
    struct buf names;          /* one word a message: "inform_init", "run", "request.status" ... */
    struct buf records;        /* each Record as u32 length and bytes */
};

void fake_service_start(struct fake_service *s); /* also sets WANDB_SERVICE */
void fake_service_stop(struct fake_service *s);  /* also unsets it */

/* How many messages of that name came. */
int fake_service_count(struct fake_service *s, const char *name);
/* Wait at most 5 s until that many messages came. */
bool fake_service_wait(struct fake_service *s, int n_messages);

#endif
