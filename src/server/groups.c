/* SPDX-License-Identifier: MIT */
#include "server/groups.h"
#include "server/auth.h"
#include "server/request.h"

#include <stdio.h>

static int find(struct db_conn *c, const char *what, const char *sql, const char *name, int64_t *id, struct err *e)
{
    int rc = db_get_int(c, e, id, sql, DB_ARGS(db_t(name)));
    return rc < 0 ? rc : rc ? 0 : err_set(e, TARE_ENOTFOUND, "there is no %s called %s", what, name);
}

static int find_user(struct db_conn *c, const char *name, int64_t *id, struct err *e)
{
    return find(c, "user", "SELECT id FROM users WHERE username = $1 AND deleted_at IS NULL", name, id, e);
}

static int find_organization(struct db_conn *c, const char *name, int64_t *id, struct err *e)
{
    return find(c, "organization", "SELECT id FROM organizations WHERE name = $1 AND deleted_at IS NULL", name, id, e);
}

static int check_role(const char *role, struct err *e)
{
    static const char *const known[] = {"admin", "member", "viewer"};
    for (int i = 0; i < 3; i++)
        if (strcmp(role, known[i]) == 0)
            return 0;
    return err_set(e, TARE_EINVAL, "'%s' is no role: admin, member or viewer", role);
}

static int make_entity(struct db_conn *c, const char *name, const char *kind, int64_t organization, int64_t *id,
                       struct err *e)
{
    if (!auth_name_ok(str_of(name)))
        return err_set(e, TARE_EINVAL, "'%s' cannot be a name: use letters, digits, '-', '_' and '.'", name);
    int rc = db_get_int(c, e, id,
                        "INSERT INTO entities (name, kind, organization_id, created_at) VALUES ($1, $2, $3, $4)"
                        " RETURNING id",
                        DB_ARGS(db_t(name), db_t(kind), db_i_if(organization != 0, organization), db_i(now_us())));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is already an entity called %s", name) : rc < 0 ? rc : 0;
}

int group_organization_member_job(struct db_conn *c, void *arg, struct err *e)
{
    const struct group_change *g = arg;
    int64_t organization, user;
    int rc = check_role(g->role, e);
    if (rc || (rc = find_organization(c, g->organization, &organization, e)) || (rc = find_user(c, g->user, &user, e)))
        return rc;
    return db_exec(c, e,
                   "INSERT INTO organization_members (organization_id, user_id, role, created_at)"
                   " VALUES ($1, $2, $3, $4) ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role",
                   DB_ARGS(db_i(organization), db_i(user), db_t(g->role), db_i(now_us())));
}

int group_organization_add_job(struct db_conn *c, void *arg, struct err *e)
{
    struct group_change *g = arg;
    char entity[160];
    int64_t organization = 0;
    if (!auth_name_ok(str_of(g->organization)))
        return err_set(e, TARE_EINVAL, "'%s' cannot be a name: use letters, digits, '-', '_' and '.'", g->organization);
    int rc = db_get_int(c, e, &organization, "INSERT INTO organizations (name, created_at) VALUES ($1, $2) RETURNING id",
                        DB_ARGS(db_t(g->organization), db_i(now_us())));
    if (rc == TARE_EEXIST)
        return err_set(e, rc, "there is already an organization called %s", g->organization);
    snprintf(entity, sizeof entity, "%.119s_org", g->organization);
    if (rc < 0 || (rc = make_entity(c, entity, "org", organization, &g->entity_id, e)))
        return rc;
    rc = db_exec(c, e, "UPDATE organizations SET entity_id = $2 WHERE id = $1",
                 DB_ARGS(db_i(organization), db_i(g->entity_id)));
    g->role = "admin";
    return rc < 0 || !g->user ? rc : group_organization_member_job(c, g, e);
}

int group_organization_remove_job(struct db_conn *c, void *arg, struct err *e)
{
    const struct group_change *g = arg;
    int64_t id;
    int rc = find_organization(c, g->organization, &id, e);
    if (rc)
        return rc;
    rc = db_exec(c, e,
                 "UPDATE entities SET deleted_at = $2, name = name || '/' || id WHERE organization_id = $1 AND"
                 " deleted_at IS NULL",
                 DB_ARGS(db_i(id), db_i(now_us())));
    return rc < 0 ? rc
                  : db_exec(c, e, "UPDATE organizations SET deleted_at = $2, name = name || '/' || id WHERE id = $1",
                            DB_ARGS(db_i(id), db_i(now_us())));
}

static int set_team_member(struct db_conn *c, int64_t team, int64_t user, const char *role, struct err *e)
{
    if (!role)
        return db_exec(c, e, "DELETE FROM team_members WHERE entity_id = $1 AND user_id = $2",
                       DB_ARGS(db_i(team), db_i(user)));
    return db_exec(c, e,
                   "INSERT INTO team_members (entity_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)"
                   " ON CONFLICT (entity_id, user_id) DO UPDATE SET role = excluded.role",
                   DB_ARGS(db_i(team), db_i(user), db_t(role), db_i(now_us())));
}

int group_team_add_job(struct db_conn *c, void *arg, struct err *e)
{
    struct group_change *g = arg;
    int64_t organization = 0, user = 0;
    int rc = g->organization ? find_organization(c, g->organization, &organization, e) : 0;
    if (!rc)
        rc = find_user(c, g->user, &user, e);
    if (!rc)
        rc = make_entity(c, g->team, "team", organization, &g->entity_id, e);
    return rc ? rc : set_team_member(c, g->entity_id, user, "admin", e);
}

int group_team_member_job(struct db_conn *c, void *arg, struct err *e)
{
    struct group_change *g = arg;
    int64_t user = 0;
    int rc = g->role ? check_role(g->role, e) : 0;
    if (!rc)
        rc = find(c, "team", "SELECT id FROM entities WHERE name = $1 AND kind = 'team' AND deleted_at IS NULL", g->team,
                  &g->entity_id, e);
    if (!rc)
        rc = find_user(c, g->user, &user, e);
    return rc ? rc : set_team_member(c, g->entity_id, user, g->role, e);
}
