/* SPDX-License-Identifier: MIT */
/* Keeps the connection to the service for the whole process: launches it or finds it, runs the
 * courier, and tears both down. */
#ifndef TARE_CLIENT_MANAGER_H
#define TARE_CLIENT_MANAGER_H

#include "base/err.h"
#include "client/outbox.h"
#include "client/ring.h"
#include "client/router_sock.h"
#include "client/service.h"
#include "client/sock_client.h"
#include "tare/tare.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct manager {
    struct tare_setup_options setup; /* with defaults filled in */
    struct service service;  /* pid != 0 if this process launched it */
    bool owns_service;
    bool set_environment;    /* WANDB_SERVICE is ours to remove */
    bool never_connected;    /* no service from the start */
    int wake[2];             /* pipe: what wakes the courier; read end, write end */
    struct ring ring;
    _Atomic size_t heavy_bytes; /* in entries outside the ring */
    struct router router;

    /* the courier's */
    pthread_t courier;
    bool courier_runs;
    struct sock_client sock;
    struct tare_run *runs;
    struct tare_run *sending; /* a frame of its outbox is partly sent */
    struct outbox control;    /* messages of no run */
    bool owed;                /* the service has yet to take or answer something */
    int64_t progress_ns;      /* when it last did, or began to owe */
    atomic_bool local;        /* no service: runs write their files themselves */
    atomic_bool stop;
};

/* Connect to the service that WANDB_SERVICE names, or launch one, and start the courier. A missing
 * service is no error unless `must_connect`; it is said once.
 * Expected: TARE_ENOMEM, TARE_ESERVICE, or what starting a thread said */
int manager_new(struct manager **to, const struct tare_setup_options *setup, bool must_connect,
                struct err *e);

/* Send what is left, tell an own service to end with `exit_code` and wait for it. */
void manager_free(struct manager *m, int exit_code);

/* In a forked child: let go of the parent's descriptors. Async-signal-safe. */
void manager_abandon(struct manager *m);

/* How entries get in. */
enum entry_kind {
    ENTRY_LOG = 1,
    ENTRY_CONFIG,
    ENTRY_SUMMARY,
    ENTRY_MESSAGE,  /* a ServerRequest */
    ENTRY_SAVE,
    ENTRY_ARTIFACT,
    ENTRY_ADD_RUN,
    ENTRY_RELEASE_RUN,
};
enum { ENTRY_HEAVY = 1 }; /* flag: the payload is a struct heavy */

struct heavy {
    char *bytes; /* mem_free by the courier */
    size_t n;
};

/* What stands before the packed values of a LOG, CONFIG or SUMMARY entry. */
struct entry_values {
    int64_t step;
    int64_t media_step; /* for names of media files */
    double timestamp;
    uint32_t n;
    int32_t commit;
};

/* What stands before the message of a MESSAGE entry. */
struct entry_message {
    char slot[SLOT_ID + 1]; /* where an answer is wanted, or "" */
};

/* Queue `n` bytes of payload, copied. Waits at most `wait_ms`.
 * Expected: TARE_EFULL, TARE_ENOMEM (both with last_error set) */
int manager_queue(struct manager *m, enum entry_kind kind, struct tare_run *run, const void *head,
                  size_t n_head, const void *payload, size_t n, int wait_ms);

/* The same for a heap block that the queue takes over, also on failure. */
int manager_queue_heavy(struct manager *m, enum entry_kind kind, struct tare_run *run,
                        char *bytes_take, size_t n, int wait_ms);

/* For the person at the program, through on_message. */
void manager_say(const struct manager *m, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
