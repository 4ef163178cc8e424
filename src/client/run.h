/* SPDX-License-Identifier: MIT */
/* One run, as this process sees it. */
#ifndef TARE_CLIENT_RUN_H
#define TARE_CLIENT_RUN_H

#include "client/outbox.h"
#include "tare/tare.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct manager;
struct local;

enum { RUN_ACKS = 64 };

/* The service answered a request that ended there. */
struct run_ack {
    uint64_t position; /* in the outbox */
    int64_t ns;        /* monotonic */
};

/* A config value this process has set. */
struct config_item {
    struct config_item *next;
    char *key;
    char *json;
};

struct tare_run {
    struct manager *manager; /* NULL for a disabled run */
    unsigned generation;     /* of the process: differs in a forked child */
    bool attached;
    bool online;
    atomic_bool closed;
    char id[129];
    char *name, *project, *entity;
    char *dir;       /* the run's folder; "" if attached */
    char *files_dir; /* dir/files */
    char *settings;  /* the Settings message, for a service that starts later */
    size_t settings_len;
    int64_t start_ns;
    int finish_ms;

    pthread_mutex_t lock;       /* config */
    struct config_item *config;

    _Atomic uint64_t n_logged, n_dropped, n_forked;
    int64_t step; /* the step of the next log, for names of media files; under the ring's lock */

    /* the courier's */
    struct tare_run *next;    /* of manager->runs */
    struct outbox out;
    _Atomic uint64_t sent_bytes, acked_bytes;
    atomic_bool in_file;
    struct run_ack acks[RUN_ACKS]; /* not yet trusted, oldest first */
    int n_acks;
    double last_timestamp;
    uint64_t unasked;         /* position behind the last request that will be answered */
    int64_t unasked_since_ns; /* when something was put behind it; 0: nothing was */
    int n_barriers;           /* asked and not yet answered */
    int64_t owed_since_ns;    /* when the oldest unanswered barrier was asked */
    struct local *local;      /* writes the file itself, or NULL */
    bool write_failed;        /* the last message could not be written; said once */
    unsigned n_artifacts;
};

/* Before anything is done with a run: 0, 1 for a disabled one (success, do nothing), or an error
 * with last_error set. */
int run_check(const struct tare_run *run);

/* Note the config of a ConfigRecord, which the service has already. */
void run_take_config(struct tare_run *run, struct str record);

/* Frees the run with its outbox and strings; nobody may use it. */
void run_free(struct tare_run *run);

#endif
