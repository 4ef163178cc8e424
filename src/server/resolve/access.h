/* SPDX-License-Identifier: MIT */
/* Who may see and change what. Everything that a resolver or a route reads or writes is found
 * through these functions, and they alone decide:
 *
 *   - an administrator of the server may do everything;
 *   - a user's own entity is theirs; a team's projects belong to its members by their role (viewer:
 *     read; member: read and write; admin: everything), an organization's likewise;
 *   - a project may be open to others: `read` (all users read), `open` (all read and write), or
 *     named members (project_members, project_teams); `restricted` shuts out members of the team
 *     that are not named.
 *
 * What may not be read does not exist: TARE_ENOTFOUND. What may be read and not written:
 * TARE_EPERM. Any connection, reader or writer. */
#ifndef TARE_SERVER_RESOLVE_ACCESS_H
#define TARE_SERVER_RESOLVE_ACCESS_H

#include "base/arena.h"
#include "server/http/http.h"
#include "server/resolve/rows.h"
#include "server/store/db.h"

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_ADMIN };

struct accessor {
    struct db_conn *db;
    const struct http_user *user;
    struct arena *arena; /* the rows' strings */
    struct err *e;       /* a sentence for the client */
};

/* A copy in the accessor's arena, NUL-terminated; {NULL, 0} stays what it is. */
struct str access_keep(const struct accessor *a, struct str s);

/* The entity `name`; {NULL, 0} means the asker's default. ACCESS_READ gives its name and kind to any
 * user; ACCESS_WRITE: may make projects in it; ACCESS_ADMIN: may change its members. */
int access_entity(const struct accessor *a, struct str name, enum access need, struct entity_row *out);

/* A project by name in an entity (null: the default), or by number. */
int access_project(const struct accessor *a, struct str entity, struct str name, enum access need,
                   struct project_row *out);
int access_project_id(const struct accessor *a, int64_t id, enum access need, struct project_row *out);

/* A run by its name in a project, or by number (its project is then loaded too). `columns`: RUN_CONFIG …
 * of run_rows.h. */
int access_run(const struct accessor *a, const struct project_row *p, struct str name, unsigned columns,
               struct run_row *out);
int access_run_id(const struct accessor *a, int64_t id, enum access need, unsigned columns,
                  struct run_row *out);

/* A run by number without any check: for rows that a list of a readable project brought up. */
int access_run_row(const struct accessor *a, int64_t id, unsigned columns, struct run_row *out);

/* The run that a route /files/{entity}/{project}/{run}/… names. */
int access_route_run(const struct accessor *a, const struct http_request *r, enum access need, struct run_row *out);

/* HTTP status for a negative code of these functions: 404, 403, 500 … */
int access_status(int rc);

#endif
