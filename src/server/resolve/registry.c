/* SPDX-License-Identifier: MIT */
/* Registries: projects of an organization whose names begin with "wandb-registry-". Finding them and what is
 * in them across an entity's projects, and their members. */
#include "server/resolve/artifact_rows.h"

#include <stdlib.h>

/* ---- finding ---- */

static int take_project(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    return access_project_id(a, db_int(rows, 0), ACCESS_READ, to);
}

static const struct list_shape project_list = {TYPE_ProjectConnection, TYPE_ProjectEdge, TYPE_Project,
                                               sizeof(struct project_row), take_project};

static int get_of_project(void *ctx, struct str key, struct filter_value *out)
{
    const struct filter_ctx *f = ctx;
    const struct project_row *p = f->row;
    *out = (struct filter_value){.kind = FILTER_STRING};
    if (str_eqz(key, "name"))
        out->s = p->name;
    else if (str_eqz(key, "description"))
        out->s = p->description;
    else if (str_eqz(key, "id"))
        *out = (struct filter_value){.kind = FILTER_NUMBER, .number = (double)p->id};
    else if (str_eqz(key, "createdAt") || str_eqz(key, "created_at"))
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = p->created_us};
    else if (str_eqz(key, "updatedAt") || str_eqz(key, "updated_at"))
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = p->updated_us};
    else
        return TARE_EINVAL;
    if (out->kind == FILTER_STRING && !out->s.p)
        out->kind = FILTER_MISSING;
    return 0;
}

static int collect_projects(const struct accessor *a, const struct entity_row *en, struct buf *all)
{
    return collect_rows(a, all, &project_list, en,
                        "SELECT id FROM projects WHERE entity_id = $1 AND deleted_at IS NULL ORDER BY id",
                        DB_ARGS(db_i(en->id)));
}

/* The projects that `filters` lets through, in the order that `order` says. */
void resolve_Entity_projects(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    int rc = collect_projects(&a, obj, &all);
    answer_filtered_rows(c, &a, rc, &project_list, &all, get_of_project, "-created_at,-id");
}

/* ---- searching: collections and versions in the registries of an entity ---- */

static bool wants_kind(const struct gql_value *kinds, struct str kind)
{
    const char *word = str_eqz(kind, "portfolio") ? "PORTFOLIO" : "SEQUENCE";
    const struct gql_value *v = kinds ? kinds->first : NULL;
    while (v && !str_eqz(v->s, word))
        v = v->next;
    return !kinds || v;
}

/* Collections of the projects that projectFilters lets through; the rows' projects live in `projects`. */
static int collect_collections(struct gql_call *c, const struct accessor *a, const struct entity_row *en,
                               const struct gql_value *kinds, struct buf *projects, struct buf *all)
{
    int rc = collect_projects(a, en, projects);
    size_t n = projects->len / sizeof(struct project_row), kept = 0;
    if (rc == 0)
        rc = keep_matching(a, gql_arg_str(c, "projectFilters"), get_of_project, projects->data, &n,
                           sizeof(struct project_row));
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct project_row *p = (const struct project_row *)(const void *)projects->data + i;
        if (str_starts(p->name, STR("wandb-registry-")))
            rc = collect_rows(a, all, &collection_list, p,
                              COLLECTION_SQL "s.project_id = $1 AND s.state <> 'DELETED' ORDER BY s.id", DB_ARGS(db_i(p->id)));
    }
    struct collection_row *s = (struct collection_row *)(void *)all->data;
    for (size_t i = 0; i < all->len / sizeof *s; i++)
        if (wants_kind(kinds, s[i].kind))
            s[kept++] = s[i];
    all->len = kept * sizeof *s;
    return rc;
}

void resolve_Entity_artifactCollections(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    AUTO_BUF projects = {0};
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    int rc = collect_collections(c, &a, obj, gql_arg(c, "collectionTypes"), &projects, &all);
    answer_filtered_rows(c, &a, rc, &collection_list, &all, collection_filter_get, "-created_at,-id");
}

void resolve_Entity_artifactMemberships(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    char sql[VERSION_SQL];
    AUTO_BUF projects = {0};
    AUTO_BUF in = {0};
    AUTO_BUF all = {0};
    if (!accessor_of(c, &e, &a))
        return;
    version_sql(sql, "m.collection_id = $1 AND a.state = 'COMMITTED' ORDER BY m.version_index DESC");
    int rc = collect_collections(c, &a, obj, NULL, &projects, &in);
    size_t n_in = in.len / sizeof(struct collection_row);
    if (rc == 0)
        rc = keep_matching(&a, gql_arg_str(c, "collectionFilters"), collection_filter_get, in.data, &n_in,
                           sizeof(struct collection_row));
    for (size_t i = 0; i < n_in && rc == 0; i++) {
        const struct collection_row *s = (const struct collection_row *)(const void *)in.data + i;
        rc = collect_rows(&a, &all, &membership_list, s, sql, DB_ARGS(db_i(s->id)));
    }
    answer_filtered_rows(c, &a, rc, &membership_list, &all, version_filter_get, "-created_at,-id");
}

/* ---- members ---- */

struct project_member {
    int64_t id;
    struct str username, name, email, role;
    struct entity_row team;
};

struct role_row {
    struct str name;
};

static int take_member(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct project_member *)to = (struct project_member){
        .id = db_int(rows, 0), .username = access_keep(a, db_str(rows, 1)), .name = access_keep(a, db_str(rows, 2)),
        .email = access_keep(a, db_str(rows, 3)), .role = access_keep(a, db_str(rows, 4))};
    return 0;
}

static int take_team(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct project_member *m = to;
    m->id = db_int(rows, 0);
    m->role = access_keep(a, db_str(rows, 1));
    return access_entity(a, access_keep(a, db_str(rows, 2)), ACCESS_READ, &m->team);
}

static const struct list_shape user_members = {-1, -1, TYPE_ProjectMember, sizeof(struct project_member), take_member};
static const struct list_shape team_members = {-1, -1, TYPE_ProjectTeamMember, sizeof(struct project_member), take_team};

void resolve_Project_members(struct gql_call *c, const void *obj)
{
    answer_whole_list(c, &user_members, obj,
                      "SELECT u.id, u.username, u.name, u.email, m.role FROM project_members m JOIN users u ON u.id = m.user_id"
                      " WHERE m.project_id = $1 ORDER BY m.created_at, u.id",
                      DB_ARGS(db_i(((const struct project_row *)obj)->id)));
}

void resolve_Project_teamMembers(struct gql_call *c, const void *obj)
{
    answer_whole_list(c, &team_members, obj,
                      "SELECT en.id, t.role, en.name FROM project_teams t JOIN entities en ON en.id = t.entity_id"
                      " WHERE t.project_id = $1 ORDER BY t.created_at, en.id",
                      DB_ARGS(db_i(((const struct project_row *)obj)->id)));
}

FIELD_ID(ProjectMember, id, project_member, "User", id)
FIELD_STR(ProjectMember, username, project_member, username)
FIELD_STR(ProjectMember, email, project_member, email)
FIELD_(ProjectMember, name, gql_str(c, ROW_(project_member)->name.n ? ROW_(project_member)->name : ROW_(project_member)->username))
FIELD_(ProjectMember, role, gql_object(c, TYPE_Role, &(struct role_row){ROW_(project_member)->role}))
FIELD_(ProjectTeamMember, team, gql_object(c, TYPE_Entity, &ROW_(project_member)->team))
FIELD_(ProjectTeamMember, role, gql_object(c, TYPE_Role, &(struct role_row){ROW_(project_member)->role}))
FIELD_STR(Role, name, role_row, name)

/* ---- changing members ---- */

struct member_change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
};

/* A table of members, and how its ids look. */
static const struct member_table {
    const char *kind, *exists, *add, *remove, *update;
} tables[] = {
    {"User", "SELECT id FROM users WHERE id = $1 AND deleted_at IS NULL",
     "INSERT INTO project_members (project_id, user_id, role, created_at) VALUES ($1, $2, 'member', $3)"
     " ON CONFLICT (project_id, user_id) DO NOTHING",
     "DELETE FROM project_members WHERE project_id = $1 AND user_id = $2",
     "UPDATE project_members SET role = $3 WHERE project_id = $1 AND user_id = $2"},
    {"Entity", "SELECT id FROM entities WHERE id = $1 AND kind = 'team' AND deleted_at IS NULL",
     "INSERT INTO project_teams (project_id, entity_id, role, created_at) VALUES ($1, $2, 'member', $3)"
     " ON CONFLICT (project_id, entity_id) DO NOTHING",
     "DELETE FROM project_teams WHERE project_id = $1 AND entity_id = $2",
     "UPDATE project_teams SET role = $3 WHERE project_id = $1 AND entity_id = $2"},
};

static int find_project(const struct accessor *a, const struct gql_value *in, struct project_row *p)
{
    int64_t id;
    if (!gql_in_id(in, "projectId", "Project", &id) && !gql_in_id(in, "projectId", "ProjectInternalId", &id))
        return err_set(a->e, TARE_ENOTFOUND, "project not found");
    return access_project_id(a, id, ACCESS_ADMIN, p);
}

static int change_each(const struct accessor *a, const struct project_row *p, const struct gql_value *ids,
                       const struct member_table *t, bool add)
{
    int rc = 0;
    for (const struct gql_value *v = ids ? ids->first : NULL; v && rc >= 0; v = v->next) {
        int64_t id, found = 0;
        if (!id_parse(v->s, t->kind, &id) || db_get_int(a->db, a->e, &found, t->exists, DB_ARGS(db_i(id))) != 1)
            return err_set(a->e, TARE_ENOTFOUND, "member not found");
        rc = add ? db_exec(a->db, a->e, t->add, DB_ARGS(db_i(p->id), db_i(id), db_i(now_us())))
                 : db_exec(a->db, a->e, t->remove, DB_ARGS(db_i(p->id), db_i(id)));
    }
    return rc;
}

static int change_members(const struct accessor *a, const struct gql_value *in, bool add)
{
    struct project_row p;
    int rc = find_project(a, in, &p);
    if (rc == 0)
        rc = change_each(a, &p, gql_in(in, "userIds"), &tables[0], add);
    return rc < 0 ? rc : change_each(a, &p, gql_in(in, "teamIds"), &tables[1], add);
}

static int add_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct member_change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    return change_members(&a, k->in, true);
}

static int remove_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct member_change *k = arg;
    const struct accessor a = {db, k->user, k->arena, e};
    return change_members(&a, k->in, false);
}

static int set_role(struct db_conn *db, const struct member_change *k, const struct member_table *t, const char *id_name,
                    const char *role_name, struct err *e)
{
    static const char *const roles[] = {"admin", "member", "viewer", "restricted_viewer"};
    const struct accessor a = {db, k->user, k->arena, e};
    struct project_row p;
    struct str role = gql_in_str(k->in, role_name);
    int64_t id;
    int rc = find_project(&a, k->in, &p), known = 0;
    for (int i = 0; i < 4; i++)
        known += str_eqz(role, roles[i]);
    if (rc == 0 && !known)
        rc = err_set(e, TARE_EINVAL, "'%.*s' is no role", STR_ARG(role));
    if (rc)
        return rc;
    rc = gql_in_id(k->in, id_name, t->kind, &id)
             ? db_exec(db, e, t->update, DB_ARGS(db_i(p.id), db_i(id), db_s(role))) : 0;
    return rc == 0 ? err_set(e, TARE_ENOTFOUND, "member not found") : rc;
}

static int user_role_job(struct db_conn *db, void *arg, struct err *e)
{
    return set_role(db, arg, &tables[0], "userId", "userProjectRole", e);
}

static int team_role_job(struct db_conn *db, void *arg, struct err *e)
{
    return set_role(db, arg, &tables[1], "teamId", "teamProjectRole", e);
}

static void change(struct gql_call *c, db_job_fn job)
{
    struct request *q = request_of(c);
    struct member_change k = {q->user, q->arena, gql_arg(c, "input")};
    if (write_job(c, job, &k))
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

void resolve_Mutation_createProjectMembers(struct gql_call *c, const void *obj)
{
    change(c, add_job);
}

void resolve_Mutation_deleteProjectMembers(struct gql_call *c, const void *obj)
{
    change(c, remove_job);
}

void resolve_Mutation_updateProjectMember(struct gql_call *c, const void *obj)
{
    change(c, user_role_job);
}

void resolve_Mutation_updateProjectTeamMember(struct gql_call *c, const void *obj)
{
    change(c, team_role_job);
}
