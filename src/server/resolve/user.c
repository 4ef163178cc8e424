/* SPDX-License-Identifier: MIT */
/* viewer, user, users, and the type User. */
#include "server/resolve/fields.h"

#include "base/alloc.h"

#define USER_SQL                                                                                        \
    "SELECT u.id, u.username, u.name, u.email, u.photo_url, u.flags, u.admin, u.service, u.created_at," \
    " u.deleted_at, u.entity_id, e.name FROM users u LEFT JOIN entities e ON e.id = u.entity_id "

static struct str copy(const struct accessor *a, struct str s)
{
    char *p = s.p ? arena_strndup(a->arena, s.p, s.n) : NULL;
    return p ? str_make(p, s.n) : (struct str){0};
}

static void take(const struct accessor *a, struct db_rows *rows, struct user_row *u)
{
    struct str *const texts[] = {&u->username, &u->name, &u->email, &u->photo_url, &u->flags};
    u->id = db_int(rows, 0);
    for (int i = 0; i < 5; i++)
        *texts[i] = copy(a, db_str(rows, i + 1));
    u->admin = db_int(rows, 6) != 0;
    u->service = db_int(rows, 7) != 0;
    u->created_us = db_int(rows, 8);
    u->deleted_us = db_int(rows, 9);
    u->entity_id = db_int(rows, 10);
    u->entity_name = copy(a, db_str(rows, 11));
}

int load_user(const struct accessor *a, int64_t id, struct user_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows, USER_SQL "WHERE u.id = $1", DB_ARGS(db_i(id)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "user not found");
    *out = (struct user_row){0};
    take(a, rows, out);
    return 0;
}

void answer_user_id(struct gql_call *c, int64_t user_id)
{
    struct err e;
    struct accessor a;
    struct user_row u;
    if (!user_id) {
        gql_null(c);
        return;
    }
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_user(&a, user_id, &u);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_User, &u);
}

void resolve_Query_viewer(struct gql_call *c, const void *obj)
{
    answer_user_id(c, request_of(c)->user->id);
}

void resolve_Query_user(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    struct user_row u = {0};
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows, USER_SQL "WHERE u.deleted_at IS NULL AND (u.username = $1 OR u.email = $2)",
                      DB_ARGS(db_s(gql_arg_str(c, "userName")), db_s(gql_arg_str(c, "email"))));
    if (rc < 0) {
        fail_with(c, rc, &e);
    } else if (rc) {
        take(&a, rows, &u);
        gql_object(c, TYPE_User, &u);
    }
}

/* Users whose name or address is, or begins with, the query. */
void resolve_Query_users(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    struct str query = gql_arg_str(c, "query");
    struct connection page = {TYPE_UserEdge, TYPE_User, .stride = sizeof(struct user_row), .total = -1};
    int64_t n = page_size(c, "first", 50, 500);
    page.offset = page_offset(c, "after");
    struct user_row *all = arena_calloc(gql_arena(c), sizeof *all * (size_t)(n + 1));
    if (!accessor_of(c, &e, &a) || !all)
        return;
    int rc = db_query(a.db, &e, &rows,
                      USER_SQL "WHERE u.deleted_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR u.email = $1 OR"
                               " substr(u.username, 1, length($1)) = $1) ORDER BY u.id LIMIT $2 OFFSET $3",
                      DB_ARGS(query.n ? db_s(query) : db_n(), db_i(n + 1), db_i(page.offset)));
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1 && page.n <= (size_t)n)
        take(&a, rows, &all[page.n++]);
    page.nodes = all;
    answer_read_page(c, TYPE_UserConnection, &page, n, rc, &e);
}

/* Addresses and rights of others are for administrators. */
static bool is_self(struct gql_call *c, const struct user_row *u)
{
    const struct http_user *me = request_of(c)->user;
    return me->admin || me->id == u->id;
}

FIELD_ID(User, id, user_row, "User", id)
FIELD_(User, name, gql_str(c, ROW_(user_row)->name.n ? ROW_(user_row)->name : ROW_(user_row)->username))
FIELD_STR(User, username, user_row, username)
FIELD_(User, email, gql_str(c, is_self(c, obj) ? ROW_(user_row)->email : (struct str){0}))
FIELD_STR(User, photoUrl, user_row, photo_url)
FIELD_BOOL(User, admin, user_row, admin)
FIELD_(User, accountType, gql_strz(c, ROW_(user_row)->service ? "SERVICE" : "USER"))
FIELD_STR(User, flags, user_row, flags)
FIELD_STR(User, entity, user_row, entity_name)
FIELD_TIME(User, deletedAt, user_row, deleted_us)
FIELD_TIME(User, createdAt, user_row, created_us)

void resolve_User_defaultEntity(struct gql_call *c, const void *obj)
{
    const struct user_row *u = obj;
    struct err e;
    struct accessor a;
    struct entity_row en;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = access_entity(&a, u->entity_name.p ? u->entity_name : STR(""), ACCESS_READ, &en);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Entity, &en);
}

void resolve_User_apiKeys(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct user_row *u = obj;
    struct err e;
    struct accessor a;
    struct key_row keys[100];
    struct connection page = {TYPE_ApiKeyEdge, TYPE_ApiKey, keys, .stride = sizeof *keys};
    if (!is_self(c, u) || !accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT id, created_at, name, hint, description FROM api_keys WHERE user_id = $1 AND"
                      " revoked_at IS NULL ORDER BY id LIMIT 100",
                      DB_ARGS(db_i(u->id)));
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1 && page.n < 100) {
        struct str hint = db_str(rows, 3);
        keys[page.n++] = (struct key_row){db_int(rows, 0), db_int(rows, 1), copy(&a, hint.n ? hint : db_str(rows, 2)),
                                          copy(&a, db_str(rows, 4))};
    }
    page.total = (int64_t)page.n;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_ApiKeyConnection, &page);
}

FIELD_ID(ApiKey, id, key_row, "ApiKey", id)
FIELD_STR(ApiKey, name, key_row, name)
FIELD_STR(ApiKey, description, key_row, description)
FIELD_TIME(ApiKey, createdAt, key_row, created_us)

/* The user's own entity first, then the teams. */
void resolve_User_teams(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct user_row *u = obj;
    struct err e;
    struct accessor a;
    struct entity_row all[200];
    struct connection page = {TYPE_EntityEdge, TYPE_Entity, all, .stride = sizeof *all};
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_query(a.db, &e, &rows,
                      "SELECT e.id, e.name, e.kind, e.photo_url, e.user_id, e.organization_id FROM entities e"
                      " LEFT JOIN team_members m ON m.entity_id = e.id AND m.user_id = $1"
                      " WHERE e.deleted_at IS NULL AND (e.user_id = $1 OR m.user_id IS NOT NULL)"
                      " ORDER BY e.user_id IS NULL, e.id LIMIT 200",
                      DB_ARGS(db_i(u->id)));
    while (rc >= 0 && (rc = db_next(rows, &e)) == 1 && page.n < 200)
        all[page.n++] = (struct entity_row){db_int(rows, 0), copy(&a, db_str(rows, 1)), copy(&a, db_str(rows, 2)),
                                            copy(&a, db_str(rows, 3)), db_int(rows, 4), db_int(rows, 5), ROLE_NONE};
    page.total = (int64_t)page.n;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_EntityConnection, &page);
}
