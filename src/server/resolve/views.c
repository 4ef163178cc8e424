/* SPDX-License-Identifier: MIT */
/* Reports and workspaces, which the server keeps and gives back without looking into them, and presets of
 * custom charts. */
#include "base/json.h"
#include "base/random.h"
#include "server/resolve/fields.h"

struct view_row {
    int64_t id, project_id, user_id, created_us, updated_us;
    struct str type, name, display_name, description, spec, preview_url;
};

struct view_change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t id, entity_id;
    bool inserted;
};

#define VIEW_SQL                                                                                        \
    "SELECT id, project_id, user_id, created_at, updated_at, type, name, display_name, description, spec," \
    " preview_url FROM views "

static void take(struct gql_call *c, struct db_rows *rows, struct view_row *v)
{
    struct str *const texts[] = {&v->type, &v->name, &v->display_name, &v->description, &v->spec, &v->preview_url};
    *v = (struct view_row){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3), db_int(rows, 4)};
    for (int i = 0; i < 6; i++)
        *texts[i] = str_of(zstr(c, db_str(rows, 5 + i)));
}

void resolve_Project_allViews(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct project_row *p = obj;
    struct err e;
    struct accessor a;
    int64_t n = page_size(c, "first", 50, 1000);
    struct connection page = {TYPE_ViewEdge, TYPE_View, .stride = sizeof(struct view_row), .total = -1};
    struct view_row *all = arena_calloc(gql_arena(c), sizeof *all * (size_t)(n + 1));
    if (!accessor_of(c, &e, &a) || !all)
        return;
    page.offset = page_offset(c, "after");
    int rc = db_query(a.db, &e, &rows,
                      VIEW_SQL "WHERE project_id = $1 AND (CAST($2 AS TEXT) IS NULL OR type = $2) AND"
                               " (CAST($3 AS TEXT) IS NULL OR name = $3 OR display_name = $3) AND"
                               " (CAST($4 AS TEXT) IS NULL OR user_id = (SELECT u.id FROM users u WHERE u.username = $4))"
                               " ORDER BY id DESC LIMIT $5 OFFSET $6",
                      DB_ARGS(db_i(p->id), db_s(gql_arg_str(c, "viewType")), db_s(gql_arg_str(c, "viewName")),
                              db_s(gql_arg_str(c, "userName")), db_i(n + 1), db_i(page.offset)));
    while (rc >= 0 && page.n <= (size_t)n && (rc = db_next(rows, &e)) == 1)
        take(c, rows, &all[page.n++]);
    page.nodes = all;
    answer_read_page(c, TYPE_ViewConnection, &page, n, rc, &e);
}

/* A view by its number, if the project may be read; 1, 0 or an error. */
static int load_view(struct gql_call *c, const struct accessor *a, int64_t id, struct view_row *v)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct project_row p;
    int rc = db_first(a->db, a->e, &rows, VIEW_SQL "WHERE id = $1", DB_ARGS(db_i(id)));
    if (rc <= 0)
        return rc;
    take(c, rows, v);
    rc = access_project_id(a, v->project_id, ACCESS_READ, &p);
    return rc ? rc : 1;
}

static void answer_view(struct gql_call *c, int64_t id)
{
    struct err e;
    struct accessor a;
    struct view_row v;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = load_view(c, &a, id, &v);
    if (rc < 0)
        null_or_fail(c, rc, &e);
    else if (rc)
        gql_object(c, TYPE_View, &v);
}

void resolve_Query_view(struct gql_call *c, const void *obj)
{
    int64_t id;
    if (gql_arg_id(c, "id", "View", &id))
        answer_view(c, id);
}

FIELD_ID(View, id, view_row, "View", id)
FIELD_STR(View, type, view_row, type)
FIELD_STR(View, name, view_row, name)
FIELD_STR(View, displayName, view_row, display_name)
FIELD_STR(View, description, view_row, description)
FIELD_STR(View, spec, view_row, spec)
FIELD_STR(View, previewUrl, view_row, preview_url)
FIELD_TIME(View, createdAt, view_row, created_us)
FIELD_TIME(View, updatedAt, view_row, updated_us)
FIELD_(View, user, answer_user_id(c, ROW_(view_row)->user_id))

void resolve_View_project(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct project_row p;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = access_project_id(&a, ((const struct view_row *)obj)->project_id, ACCESS_READ, &p);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Project, &p);
}

/* ---- changes --------------------------------------------------------------------------- */

/* The view's project, which the asker must be able to write. */
static int writable(const struct accessor *a, int64_t view)
{
    struct project_row p;
    int64_t project = 0;
    int rc = db_get_int(a->db, a->e, &project, "SELECT project_id FROM views WHERE id = $1", DB_ARGS(db_i(view)));
    rc = rc == 1 ? access_project_id(a, project, ACCESS_WRITE, &p) : rc < 0 ? rc : TARE_ENOTFOUND;
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "view not found") : rc;
}

static int insert_view(const struct accessor *a, struct view_change *ch, struct str name)
{
    struct project_row p;
    struct str spec = gql_in_str(ch->in, "spec"), type = gql_in_str(ch->in, "type");
    char made[13];
    int rc = access_project(a, gql_in_str(ch->in, "entityName"), gql_in_str(ch->in, "projectName"), ACCESS_WRITE, &p);
    if (rc)
        return rc;
    random_id(made, 12);
    rc = db_get_int(a->db, a->e, &ch->id,
                    "INSERT INTO views (project_id, type, name, display_name, description, spec, preview_url, user_id,"
                    " created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)"
                    " ON CONFLICT (project_id, type, name) DO UPDATE SET display_name = excluded.display_name,"
                    " description = excluded.description, spec = excluded.spec, updated_at = excluded.updated_at"
                    " RETURNING id",
                    DB_ARGS(db_i(p.id), db_s(type.n ? type : STR("runs")), name.n ? db_s(name) : db_t(made),
                            db_s(gql_in_str(ch->in, "displayName")), db_s(gql_in_str(ch->in, "description")),
                            db_s(spec.n ? spec : STR("{}")), db_s(gql_in_str(ch->in, "previewUrl")),
                            db_i(a->user->id), db_i(now_us())));
    ch->inserted = rc >= 0;
    return rc;
}

static int upsert_job(struct db_conn *db, void *arg, struct err *e)
{
    struct view_change *ch = arg;
    const struct accessor a = {db, ch->user, ch->arena, e};
    struct str spec = gql_in_str(ch->in, "spec"), name = gql_in_str(ch->in, "name");
    ch->inserted = false;
    if (spec.n && !json_valid(spec))
        return err_set(e, TARE_EINVAL, "spec is not JSON");
    if (!gql_in_str(ch->in, "id").n)
        return insert_view(&a, ch, name);
    if (!gql_in_id(ch->in, "id", "View", &ch->id))
        return err_set(e, TARE_ENOTFOUND, "view not found");
    int rc = writable(&a, ch->id);
    if (rc)
        return rc;
    return db_exec(db, e,
                   "UPDATE views SET name = COALESCE($2, name), display_name = COALESCE($3, display_name),"
                   " description = COALESCE($4, description), spec = COALESCE($5, spec),"
                   " type = COALESCE($6, type), preview_url = COALESCE($7, preview_url), updated_at = $8 WHERE id = $1",
                   DB_ARGS(db_i(ch->id), db_s(name), db_s(gql_in_str(ch->in, "displayName")),
                           db_s(gql_in_str(ch->in, "description")), db_s(spec), db_s(gql_in_str(ch->in, "type")),
                           db_s(gql_in_str(ch->in, "previewUrl")), db_i(now_us())));
}

static bool change(struct gql_call *c, struct view_change *ch, db_job_fn job)
{
    struct request *q = request_of(c);
    struct err e = {0};
    *ch = (struct view_change){.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, job, ch, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    return rc >= 0;
}

void resolve_Mutation_upsertView(struct gql_call *c, const void *obj)
{
    struct view_change ch;
    if (change(c, &ch, upsert_job))
        gql_object(c, TYPE_UpsertViewPayload, &ch);
}

FIELD_(UpsertViewPayload, view, answer_view(c, ROW_(view_change)->id))
FIELD_BOOL(UpsertViewPayload, inserted, view_change, inserted)

static int delete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct view_change *ch = arg;
    const struct accessor a = {db, ch->user, ch->arena, e};
    if (!gql_in_id(ch->in, "id", "View", &ch->id))
        return err_set(e, TARE_ENOTFOUND, "view not found");
    int rc = writable(&a, ch->id);
    return rc ? rc : db_exec(db, e, "DELETE FROM views WHERE id = $1", DB_ARGS(db_i(ch->id)));
}

void resolve_Mutation_deleteView(struct gql_call *c, const void *obj)
{
    struct view_change ch;
    if (change(c, &ch, delete_job))
        gql_object(c, TYPE_DeleteViewPayload, &ch);
}

/* A draft is a view of its own here. */
FIELD_(DeleteViewPayload, success, gql_bool(c, true))
FIELD_(DeleteViewPayload, pendingDrafts, gql_bool(c, false))
FIELD_NULL(DeleteViewPayload, clientMutationId)

/* ---- custom charts --------------------------------------------------------------------- */

static int chart_job(struct db_conn *db, void *arg, struct err *e)
{
    struct view_change *ch = arg;
    const struct accessor a = {db, ch->user, ch->arena, e};
    struct entity_row en;
    struct str spec = gql_in_str(ch->in, "spec");
    int rc = access_entity(&a, gql_in_str(ch->in, "entity"), ACCESS_WRITE, &en);
    if (!rc && !json_valid(spec))
        rc = err_set(e, TARE_EINVAL, "spec is not JSON");
    if (rc)
        return rc;
    return db_get_int(db, e, &ch->id,
                      "INSERT INTO charts (entity_id, name, display_name, type, access, spec, user_id, created_at,"
                      " updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (entity_id, name) DO UPDATE"
                      " SET display_name = excluded.display_name, type = excluded.type, access = excluded.access,"
                      " spec = excluded.spec, updated_at = excluded.updated_at RETURNING id",
                      DB_ARGS(db_i(en.id), db_s(gql_in_str(ch->in, "name")), db_s(gql_in_str(ch->in, "displayName")),
                              db_s(gql_in_str(ch->in, "type")), db_s(gql_in_str(ch->in, "access")), db_s(spec),
                              db_i(ch->user->id), db_i(now_us())));
}

void resolve_Mutation_createCustomChart(struct gql_call *c, const void *obj)
{
    struct view_change ch;
    if (change(c, &ch, chart_job))
        gql_object(c, TYPE_CreateCustomChartPayload, &ch);
}

FIELD_(CreateCustomChartPayload, chart, gql_object(c, TYPE_CustomChart, obj))

/* Charts are named by where they are: entity/name. */
void resolve_CustomChart_id(struct gql_call *c, const void *obj)
{
    const struct view_change *ch = obj;
    gql_strz(c, arena_printf(gql_arena(c), "%.*s/%.*s", STR_ARG(gql_in_str(ch->in, "entity")),
                             STR_ARG(gql_in_str(ch->in, "name"))));
}

FIELD_(CustomChart, name, gql_str(c, gql_in_str(ROW_(view_change)->in, "name")))
