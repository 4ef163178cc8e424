/* SPDX-License-Identifier: MIT */
/* The objects that resolvers pass along: rows of the store. Strings are borrowed: from the arena of
 * the request, or, while a list is being emitted, from the row the cursor stands on. */
#ifndef TARE_SERVER_RESOLVE_ROWS_H
#define TARE_SERVER_RESOLVE_ROWS_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_MEMBER, ROLE_ADMIN };

struct user_row {
    int64_t id;
    struct str username, name, email, photo_url, flags;
    bool admin, service;
    int64_t created_us, deleted_us;
    int64_t entity_id; /* the default entity */
    struct str entity_name;
};

struct key_row {
    int64_t id, created_us;
    struct str name, description;
};

struct entity_row {
    int64_t id;
    struct str name, kind, photo_url; /* kind: user, team, org */
    int64_t user_id, organization_id;
    enum role role; /* of who asks */
};

struct project_row {
    int64_t id;
    struct str name, access, kind, description, views;
    bool is_benchmark, all_types;
    int64_t user_id, created_us, updated_us;
    struct entity_row entity;
    bool can_write; /* by who asks */
};

struct run_row {
    int64_t id, project_id, user_id, sweep_id;
    struct str name, display_name, state, group, job_type, sweep_name, description, notes, tags, commit,
        host, program, repo;
    struct str username, user_name; /* of the user */
    struct str config, summary; /* {NULL, 0} unless asked for */
    bool has_exitcode, stop_requested;
    int64_t exitcode, created_us, updated_us, heartbeat_us;
    int64_t history_lines, events_lines, log_lines, last_step;
    const struct project_row *project;
};

/* A file of a run, or of an artifact. */
struct file_row {
    const char *kind; /* of its id: "File", … */
    int64_t id;
    struct str name, md5, digest, mimetype, storage_path;
    struct str blob; /* n == 0: there are no bytes here (a reference) */
    struct str url;  /* where a client with a key finds it */
    struct str sums; /* "md5=…&xxh128=…" of the bytes, or empty */
    int64_t size_bytes, updated_us;
    int64_t run_id; /* 0: of an artifact */
};

#endif
