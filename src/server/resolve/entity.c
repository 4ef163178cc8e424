/* SPDX-License-Identifier: MIT */
/* Entities (a user's own, teams, organizations' registries) and organizations. */
#include "server/resolve/fields.h"

struct organization_row {
    int64_t id, entity_id;
    struct str name;
};

struct member_row {
    int64_t user_id;
    struct str role, username, name, email, photo_url;
    bool admin, service;
};

static struct str copy(const struct accessor *a, struct str s)
{
    char *p = s.p ? arena_strndup(a->arena, s.p, s.n) : NULL;
    return p ? str_make(p, s.n) : (struct str){0};
}

void resolve_Query_entity(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct entity_row en;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = access_entity(&a, gql_arg_str(c, "name"), ACCESS_READ, &en);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Entity, &en);
}

static bool is_team(const struct entity_row *en)
{
    return !str_eqz(en->kind, "user");
}

FIELD_ID(Entity, id, entity_row, "Entity", id)
FIELD_STR(Entity, name, entity_row, name)
FIELD_CONST_BOOL(Entity, available, false)
FIELD_STR(Entity, photoUrl, entity_row, photo_url)
FIELD_(Entity, readOnly, gql_bool(c, ROW_(entity_row)->role < ROLE_MEMBER))
FIELD_CONST_BOOL(Entity, readOnlyAdmin, false)
FIELD_(Entity, isTeam, gql_bool(c, is_team(obj)))
FIELD_(Entity, entityType,
       gql_strz(c, str_eqz(ROW_(entity_row)->kind, "org")    ? "organization"
                   : str_eqz(ROW_(entity_row)->kind, "team") ? "team"
                                                             : "user"))
FIELD_CONST_BOOL(Entity, privateOnly, false)
FIELD_CONST_BOOL(Entity, codeSavingEnabled, true)
FIELD_CONST_STR(Entity, defaultAccess, "PRIVATE")
FIELD_CONST_BOOL(Entity, isPaid, false)
FIELD_(Entity, limits, gql_json(c, STR("{}")))
FIELD_CONST_BOOL(Entity, xxhashDigestsEnabled, false)

void resolve_Entity_storageBytes(struct gql_call *c, const void *obj)
{
    const struct entity_row *en = obj;
    struct err e;
    struct accessor a;
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    if (en->role > ROLE_NONE &&
        db_get_int(a.db, &e, &n,
                   "SELECT CAST(sum(r.stored_bytes) AS BIGINT) FROM runs r JOIN projects p ON p.id = r.project_id"
                   " WHERE p.entity_id = $1",
                   DB_ARGS(db_i(en->id))) < 0)
        fail_with(c, e.code, &e);
    else
        gql_int(c, n);
}

void resolve_Entity_members(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct entity_row *en = obj;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT u.id, m.role, u.username, u.name, u.email, u.photo_url, u.admin, u.service"
                      " FROM team_members m JOIN users u ON u.id = m.user_id WHERE m.entity_id = $1"
                      " UNION ALL SELECT u.id, 'admin', u.username, u.name, u.email, u.photo_url, u.admin, u.service"
                      " FROM entities e JOIN users u ON u.id = e.user_id WHERE e.id = $1 ORDER BY 1",
                      DB_ARGS(db_i(en->role > ROLE_NONE ? en->id : 0)));
    gql_list_begin(c);
    while (rc >= 0 && !gql_failed(c) && (rc = db_next(rows, &e)) == 1) {
        struct member_row m = {db_int(rows, 0), db_str(rows, 1), db_str(rows, 2), db_str(rows, 3),
                               db_str(rows, 4), db_str(rows, 5), db_int(rows, 6) != 0, db_int(rows, 7) != 0};
        gql_object(c, TYPE_Member, &m);
    }
    gql_list_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}

FIELD_ID(Member, id, member_row, "User", user_id)
FIELD_STR(Member, role, member_row, role)
FIELD_(Member, admin, gql_bool(c, str_eqz(ROW_(member_row)->role, "admin")))
FIELD_CONST_BOOL(Member, pending, false)
FIELD_STR(Member, email, member_row, email)
FIELD_STR(Member, username, member_row, username)
FIELD_(Member, name, gql_str(c, ROW_(member_row)->name.n ? ROW_(member_row)->name : ROW_(member_row)->username))
FIELD_STR(Member, photoUrl, member_row, photo_url)
FIELD_(Member, accountType, gql_strz(c, ROW_(member_row)->service ? "SERVICE" : "USER"))
FIELD_NULL(Member, apiKey)

void resolve_Entity_user(struct gql_call *c, const void *obj)
{
    answer_user_id(c, ((const struct entity_row *)obj)->user_id);
}

/* ---- organizations --------------------------------------------------------------------- */

/* By id, or by name when `id` is 0; members only (and administrators). */
static void answer_organization(struct gql_call *c, int64_t id, struct str name)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows,
                      "SELECT o.id, o.entity_id, o.name FROM organizations o LEFT JOIN organization_members m"
                      " ON m.organization_id = o.id AND m.user_id = $3 WHERE o.deleted_at IS NULL"
                      " AND (o.id = $1 OR o.name = $2) AND (m.user_id IS NOT NULL OR $4 = 1)",
                      DB_ARGS(db_i(id), db_s(name), db_i(a.user->id), db_i(a.user->admin)));
    if (rc < 0) {
        fail_with(c, rc, &e);
    } else if (rc) {
        struct organization_row o = {db_int(rows, 0), db_int(rows, 1), copy(&a, db_str(rows, 2))};
        gql_object(c, TYPE_Organization, &o);
    }
}

void resolve_Query_organization(struct gql_call *c, const void *obj)
{
    answer_organization(c, 0, gql_arg_str(c, "name"));
}

void resolve_Entity_organization(struct gql_call *c, const void *obj)
{
    const struct entity_row *en = obj;
    if (en->organization_id)
        answer_organization(c, en->organization_id, (struct str){0});
}

void resolve_User_organizations(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct user_row *u = obj;
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT o.id, o.entity_id, o.name FROM organizations o JOIN organization_members m"
                      " ON m.organization_id = o.id WHERE m.user_id = $1 AND o.deleted_at IS NULL AND"
                      " ($1 = $2 OR $3 = 1) ORDER BY o.id",
                      DB_ARGS(db_i(u->id), db_i(a.user->id), db_i(a.user->admin)));
    gql_list_begin(c);
    while (rc >= 0 && !gql_failed(c) && (rc = db_next(rows, &e)) == 1) {
        struct organization_row o = {db_int(rows, 0), db_int(rows, 1), db_str(rows, 2)};
        gql_object(c, TYPE_Organization, &o);
    }
    gql_list_end(c);
    if (rc < 0)
        fail_with(c, rc, &e);
}

FIELD_ID(Organization, id, organization_row, "Organization", id)
FIELD_STR(Organization, name, organization_row, name)
FIELD_NULL(Organization, coreWeaveOrganizationId)
FIELD_(Organization, featureFlags, (void)obj; gql_list_begin(c); gql_list_end(c))
FIELD_CONST_STR(FeatureFlag, rampKey, "")
FIELD_CONST_BOOL(FeatureFlag, isEnabled, false)
FIELD_(Organization, advancedRegistryFeatures, gql_object(c, TYPE_AdvancedRegistryFeatures, obj))
FIELD_CONST_BOOL(AdvancedRegistryFeatures, advancedSearch, false)

void resolve_Organization_orgEntity(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct organization_row *o = obj;
    struct err e;
    struct accessor a;
    struct entity_row en;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows, "SELECT name FROM entities WHERE id = $1", DB_ARGS(db_i(o->entity_id)));
    struct str name = rc == 1 ? copy(&a, db_str(rows, 0)) : STR("");
    if (rc == 1)
        rc = access_entity(&a, name, ACCESS_READ, &en);
    else if (!rc)
        rc = TARE_ENOTFOUND;
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Entity, &en);
}
