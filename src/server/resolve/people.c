/* SPDX-License-Identifier: MIT */
/* Changes to users, keys and teams. Users are made by administrators; teams by any user, who is then
 * their admin; an invitation to somebody who is here takes effect at once. */
#include "base/random.h"
#include "server/auth.h"
#include "server/groups.h"
#include "server/resolve/fields.h"

#include <stdio.h>

struct people {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    struct auth_user_add add;
    struct group_change group;
    char key[AUTH_KEY];
    int64_t id, created_us;
};

static const char *text_in(struct gql_call *c, const struct people *p, const char *name)
{
    return zstr(c, gql_in_str(p->in, name));
}

static struct people begin(struct gql_call *c)
{
    struct request *q = request_of(c);
    return (struct people){.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
}

/* ---- users ----------------------------------------------------------------------------- */

/* The part of an address before the @, with what a name cannot have left out. */
static const char *name_of_address(struct gql_call *c, struct str email)
{
    char *to = arena_alloc(gql_arena(c), email.n + 1), *w = to;
    for (size_t i = 0; to && i < email.n && email.p[i] != '@'; i++)
        if (auth_name_ok(str_make(email.p + i, 1)) || (w > to && (email.p[i] == '-' || email.p[i] == '.')))
            *w++ = email.p[i];
    if (to)
        *w = 0;
    return to;
}

static int new_user_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    int64_t id = 0;
    int rc = db_get_int(db, e, &id, "SELECT id FROM users WHERE username = $1 OR email = $2",
                        DB_ARGS(db_t(p->add.name), db_t(p->add.email)));
    if (rc)
        return rc < 0 ? rc : err_set(e, TARE_EEXIST, "there is already such a user");
    return auth_user_add_job(db, &p->add, e);
}

void resolve_Mutation_createUser(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    struct str email = gql_in_str(p.in, "email");
    if (!p.user->admin) {
        gql_fail(c, 403, "permission denied: only an administrator makes users");
        return;
    }
    p.add = (struct auth_user_add){.name = name_of_address(c, email), .email = text_in(c, &p, "email"),
                                   .admin = gql_in_bool(p.in, "admin", false)};
    if (p.add.name && write_job(c, new_user_job, &p))
        gql_object(c, TYPE_CreateUserPayload, &p);
}

/* One's own row: the default entity, the name to show, the picture, the client's flags. */
static int update_user_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct people *p = arg;
    const struct accessor a = {db, p->user, p->arena, e};
    struct entity_row en = {0};
    struct str entity = gql_in_str(p->in, "defaultEntity");
    int rc = entity.n ? access_entity(&a, entity, ACCESS_READ, &en) : 0;
    if (rc == 0 && entity.n && en.role == ROLE_NONE)
        rc = err_set(e, TARE_EPERM, "permission denied: you are no member of %.*s", STR_ARG(entity));
    if (rc)
        return rc;
    return db_exec(db, e,
                   "UPDATE users SET entity_id = COALESCE($2, entity_id), name = COALESCE($3, name),"
                   " photo_url = COALESCE($4, photo_url), flags = COALESCE($5, flags) WHERE id = $1",
                   DB_ARGS(db_i(p->user->id), db_i_if(en.id != 0, en.id), db_s(gql_in_str(p->in, "name")),
                           db_s(gql_in_str(p->in, "photoUrl")), db_s(gql_in_str(p->in, "flags"))));
}

void resolve_Mutation_updateUser(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    if (write_job(c, update_user_job, &p))
        gql_object(c, TYPE_UpdateUserPayload, &p);
}

FIELD_(UpdateUserPayload, user, answer_user_id(c, ROW_(people)->user->id))
FIELD_(CreateUserPayload, user, answer_user_id(c, ROW_(people)->add.user_id))

static int new_key_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    char hash[AUTH_HASH];
    auth_hash(str_of(p->key), hash);
    p->created_us = now_us();
    struct str description = gql_in_str(p->in, "description");
    return db_get_int(db, e, &p->id,
                      "INSERT INTO api_keys (user_id, hash, hint, name, description, created_at)"
                      " VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                      DB_ARGS(db_i(p->user->id), db_t(hash), db_s(str_make(p->key, AUTH_HINT)), db_t(p->user->name),
                              db_s(description), db_i(p->created_us)));
}

/* The one moment at which the whole key can be had: as the new key's name. */
void resolve_Mutation_generateApiKey(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    auth_new_key(p.key);
    if (write_job(c, new_key_job, &p))
        gql_object(c, TYPE_GenerateApiKeyPayload, &p);
}

void resolve_GenerateApiKeyPayload_apiKey(struct gql_call *c, const void *obj)
{
    const struct people *p = obj;
    struct key_row k = {p->id, p->created_us, str_of(p->key), gql_in_str(p->in, "description")};
    gql_object(c, TYPE_ApiKey, &k);
}

static int delete_key_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct people *p = arg;
    int rc = db_exec(db, e,
                     "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND (user_id = $2 OR $4 = 1) AND"
                     " revoked_at IS NULL",
                     DB_ARGS(db_i(p->id), db_i(p->user->id), db_i(now_us()), db_i(p->user->admin)));
    return rc ? rc : err_set(e, TARE_ENOTFOUND, "API key not found");
}

void resolve_Mutation_deleteApiKey(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    if (!gql_in_id(p.in, "id", "ApiKey", &p.id))
        gql_fail(c, 404, "API key not found");
    else if (write_job(c, delete_key_job, &p)) {
        auth_forget(request_of(c)->server->auth);
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
    }
}

/* ---- teams ----------------------------------------------------------------------------- */

static int new_team_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    return group_team_add_job(db, &p->group, e);
}

void resolve_Mutation_createTeam(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    const char *admin = text_in(c, &p, "teamAdminUserName");
    if (admin && !p.user->admin && strcmp(admin, p.user->name) != 0) {
        gql_fail(c, 403, "permission denied: the team's admin must be you");
        return;
    }
    p.group = (struct group_change){.team = text_in(c, &p, "teamName"), .user = admin ? admin : p.user->name};
    if (write_job(c, new_team_job, &p))
        gql_object(c, TYPE_CreateTeamPayload, &p);
}

void resolve_CreateTeamPayload_entity(struct gql_call *c, const void *obj)
{
    const struct people *p = obj;
    struct err e;
    struct accessor a;
    struct entity_row en;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = access_entity(&a, str_of(p->group.team), ACCESS_READ, &en);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Entity, &en);
}

/* The team, which the asker must be an admin of. */
static int team_of(struct db_conn *db, struct people *p, const char *member, struct entity_row *en, struct err *e)
{
    const struct accessor a = {db, p->user, p->arena, e};
    int rc = access_entity(&a, gql_in_str(p->in, member), ACCESS_ADMIN, en);
    if (!rc && !str_eqz(en->kind, "team"))
        rc = err_set(e, TARE_EINVAL, "%.*s is not a team", STR_ARG(en->name));
    return rc;
}

static int invite_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    struct entity_row en;
    struct str name = gql_in_str(p->in, "username"), email = gql_in_str(p->in, "email");
    int rc = team_of(db, p, "entityName", &en, e);
    if (rc)
        return rc;
    rc = db_get_int(db, e, &p->id, "SELECT id FROM users WHERE deleted_at IS NULL AND (username = $1 OR email = $2)",
                    DB_ARGS(db_s(name), db_s(email)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no such user; an administrator can make one");
    return db_exec(db, e,
                   "INSERT INTO team_members (entity_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)"
                   " ON CONFLICT (entity_id, user_id) DO UPDATE SET role = excluded.role",
                   DB_ARGS(db_i(en.id), db_i(p->id), db_t(gql_in_bool(p->in, "admin", false) ? "admin" : "member"),
                           db_i(p->created_us = now_us())));
}

void resolve_Mutation_createInvite(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    if (write_job(c, invite_job, &p))
        gql_object(c, TYPE_CreateInvitePayload, &p);
}

FIELD_(CreateInvitePayload, invite, gql_object(c, TYPE_Invite, obj))
FIELD_ID(Invite, id, people, "Invite", id)
FIELD_(Invite, name, gql_str(c, gql_in_str(ROW_(people)->in, "username")))
FIELD_(Invite, email, gql_str(c, gql_in_str(ROW_(people)->in, "email")))
FIELD_TIME(Invite, createdAt, people, created_us)
FIELD_(Invite, toUser, answer_user_id(c, ROW_(people)->id))

/* An invitation is known by its member: taking it back takes the member out. */
static int uninvite_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    struct entity_row en;
    int rc = team_of(db, p, "entityName", &en, e);
    if (rc)
        return rc;
    rc = db_exec(db, e, "DELETE FROM team_members WHERE entity_id = $1 AND user_id = $2",
                 DB_ARGS(db_i(en.id), db_i(p->id)));
    return rc ? rc : err_set(e, TARE_ENOTFOUND, "invite not found");
}

void resolve_Mutation_deleteInvite(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    if (!gql_in_id(p.in, "id", "Invite", &p.id) && !gql_in_id(p.in, "id", "User", &p.id))
        gql_fail(c, 404, "invite not found");
    else if (write_job(c, uninvite_job, &p))
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

static int service_job(struct db_conn *db, void *arg, struct err *e)
{
    struct people *p = arg;
    struct entity_row en;
    char name[80], tail[9];
    int rc = team_of(db, p, "entityName", &en, e);
    if (rc)
        return rc;
    random_id(tail, 8);
    snprintf(name, sizeof name, "service-%.*s-%s", en.name.n > 40 ? 40 : (int)en.name.n, en.name.p, tail);
    auth_new_key(p->key);
    p->add = (struct auth_user_add){.name = name, .key = p->key};
    rc = auth_user_add_job(db, &p->add, e);
    if (rc >= 0)
        rc = db_exec(db, e, "UPDATE users SET service = 1, name = $2, entity_id = $3 WHERE id = $1",
                     DB_ARGS(db_i(p->add.user_id), db_s(gql_in_str(p->in, "description")), db_i(en.id)));
    if (rc >= 0)
        rc = db_exec(db, e,
                     "INSERT INTO team_members (entity_id, user_id, role, created_at) VALUES ($1, $2, 'member', $3)",
                     DB_ARGS(db_i(en.id), db_i(p->add.user_id), db_i(now_us())));
    p->add.name = NULL;
    return rc;
}

void resolve_Mutation_createServiceAccount(struct gql_call *c, const void *obj)
{
    struct people p = begin(c);
    if (write_job(c, service_job, &p))
        gql_object(c, TYPE_CreateServiceAccountPayload, &p);
}

FIELD_(CreateServiceAccountPayload, user, answer_user_id(c, ROW_(people)->add.user_id))
