/* SPDX-License-Identifier: MIT */
/* The running server: what is made in main, in this order, and freed in reverse. Every request
 * handler and resolver reaches it through http_request.app or request.server. */
#ifndef TARE_SERVER_SERVER_H
#define TARE_SERVER_SERVER_H

#include "server/options.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct server {
    struct server_options options;
    int lock_fd;             /* keeps a second server off the directory */
    unsigned char secret[32]; /* signs upload URLs: token.h */
    struct db *db;
    struct blobs *blobs;
    struct partials *partials; /* uploads that may go on */
    struct auth *auth;
    struct gql_cache *documents;
    struct metrics *metrics;
    struct access_log *access_log;
    struct http_server *http;
    atomic_bool is_lost; /* the folder is not ours any more */
    atomic_bool is_ending; /* what still runs is to give up */
    bool http_was_open; /* at the end: DIR/address is ours to remove */
    struct webhook_sender *webhooks;
    struct janitor *janitor;
    atomic_bool collect_soon; /* something that had files was deleted: the janitor need not wait for its turn */
    atomic_bool empty_soon;   /* runs were deleted whose rows and files are still there */
    atomic_bool is_clearing;  /* it is at either */
    struct {
        uint64_t requests; /* served when the janitor looked last */
        bool trimmed;      /* and nothing came since memory was given back */
    } quiet;
    int64_t started_ns; /* clock_mono_ns */
};

#endif
