/* SPDX-License-Identifier: MIT */
/* Automations and the integrations they use: made, changed, listed and deleted. They are kept for programs
 * that manage them; nothing here acts on them (docs/coverage.md says so). Alerts of runs go out by another
 * way: webhook/webhook.h. */
#include "base/json.h"
#include "server/graphql/coerce.h"
#include "server/resolve/artifact_rows.h"

struct integration_row {
    int64_t id;
    struct str name, url;
};

struct trigger_row {
    int64_t id, entity_id, scope_id, created_us, updated_us;
    int64_t project_id; /* 0: of the entity */
    bool enabled;
    struct str name, description, scope, event, filter, action, config;
};

/* What every job here gets and gives. */
struct change {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t id;
    struct integration_row integration;
};

static struct accessor begin(struct db_conn *db, struct change *k, struct err *e)
{
    return (struct accessor){db, k->user, k->arena, e};
}

static int change(struct gql_call *c, struct change *k, db_job_fn job, struct err *e)
{
    struct request *q = request_of(c);
    *e = (struct err){0};
    *k = (struct change){.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    return request_write(q, job, k, e);
}

/* ---- integrations ---- */

static int take_integration(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct integration_row *)to = (struct integration_row){db_int(rows, 0), access_keep(a, db_str(rows, 1)),
                                                             access_keep(a, db_str(rows, 2))};
    return 0;
}

static const struct list_shape integration_list = {TYPE_IntegrationConnection, TYPE_IntegrationEdge,
                                                   TYPE_GenericWebhookIntegration, sizeof(struct integration_row),
                                                   take_integration};

/* For members, and administrators of the server; others see none. */
static int64_t visible_id(struct gql_call *c, const struct entity_row *en)
{
    return en->role != ROLE_NONE || request_of(c)->user->admin ? en->id : 0;
}

void resolve_Entity_integrations(struct gql_call *c, const void *obj)
{
    answer_list(c, &integration_list, obj, "SELECT id, name, url FROM integrations WHERE entity_id = $1 ORDER BY id",
                DB_ARGS(db_i(visible_id(c, obj))));
}

FIELD_ID(GenericWebhookIntegration, id, integration_row, "Integration", id)
FIELD_STR(GenericWebhookIntegration, name, integration_row, name)
FIELD_STR(GenericWebhookIntegration, urlEndpoint, integration_row, url)

static int integration_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = begin(db, k, e);
    struct entity_row en;
    struct str url = gql_in_str(k->in, "urlEndpoint");
    int rc = access_entity(&a, gql_in_str(k->in, "entityName"), ACCESS_WRITE, &en);
    if (rc)
        return rc;
    if (!str_starts(url, STR("https://")) && !str_starts(url, STR("http://")))
        return err_set(e, TARE_EINVAL, "urlEndpoint must begin with https:// or http://");
    k->integration = (struct integration_row){0, gql_in_str(k->in, "name"), url};
    rc = db_get_int(db, e, &k->integration.id,
                    "INSERT INTO integrations (entity_id, name, url, secret_ref, token_ref, created_at)"
                    " VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                    DB_ARGS(db_i(en.id), db_s(k->integration.name), db_s(url), db_s(gql_in_str(k->in, "secretRef")),
                            db_s(gql_in_str(k->in, "accessTokenRef")), db_i(now_us())));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is already an integration of this name") : rc;
}

void resolve_Mutation_createGenericWebhookIntegration(struct gql_call *c, const void *obj)
{
    struct change k;
    struct err e;
    int rc = change(c, &k, integration_job, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_CreateGenericWebhookIntegrationPayload, &k.integration);
}

FIELD_(CreateGenericWebhookIntegrationPayload, integration, gql_object(c, TYPE_GenericWebhookIntegration, obj))

/* ---- reading automations ---- */

#define TRIGGER_SQL                                                                                              \
    "SELECT id, entity_id, scope_id, created_at, updated_at, enabled, name, description, scope, event, filter, " \
    "action, action_config, project_id FROM triggers "

static int take_trigger(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct trigger_row *t = to;
    struct str *const texts[] = {&t->name, &t->description, &t->scope, &t->event, &t->filter, &t->action, &t->config};
    *t = (struct trigger_row){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3), db_int(rows, 4),
                              db_int(rows, 13), db_int(rows, 5) != 0};
    for (int i = 0; i < 7; i++)
        *texts[i] = access_keep(a, db_str(rows, 6 + i));
    return 0;
}

/* A project of the entity may be shut to the asker who sees the entity. */
static int take_readable_trigger(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct trigger_row *t = to;
    struct project_row p;
    int rc = take_trigger(a, rows, of, to);
    return rc || !t->project_id ? rc : access_project_id(a, t->project_id, ACCESS_READ, &p);
}

static const struct list_shape trigger_list = {TYPE_TriggerConnection, TYPE_TriggerEdge, TYPE_Trigger,
                                               sizeof(struct trigger_row), take_readable_trigger};

void resolve_Project_triggers(struct gql_call *c, const void *obj)
{
    const struct project_row *p = obj;
    answer_whole_list(c, &trigger_list, p, TRIGGER_SQL "WHERE project_id = $1 ORDER BY id",
                      DB_ARGS(db_i(p->can_write ? p->id : 0)));
}

static int get_of_trigger(void *ctx, struct str key, struct filter_value *out)
{
    const struct filter_ctx *f = ctx;
    const struct trigger_row *t = f->row;
    if (str_eqz(key, "name"))
        *out = (struct filter_value){.kind = FILTER_STRING, .s = t->name};
    else if (str_eqz(key, "id"))
        *out = (struct filter_value){.kind = FILTER_NUMBER, .number = (double)t->id};
    else if (str_eqz(key, "createdAt") || str_eqz(key, "created_at"))
        *out = (struct filter_value){.kind = FILTER_TIME, .time_us = t->created_us};
    else
        return TARE_EINVAL;
    return 0;
}

void resolve_Entity_triggers(struct gql_call *c, const void *obj)
{
    answer_filtered_list(c, &trigger_list, obj, get_of_trigger, "+id", TRIGGER_SQL "WHERE entity_id = $1",
                         DB_ARGS(db_i(visible_id(c, obj))));
}

FIELD_ID(Trigger, id, trigger_row, "Trigger", id)
FIELD_STR(Trigger, name, trigger_row, name)
FIELD_STR(Trigger, description, trigger_row, description)
FIELD_BOOL(Trigger, enabled, trigger_row, enabled)
FIELD_TIME(Trigger, createdAt, trigger_row, created_us)
FIELD_TIME(Trigger, updatedAt, trigger_row, updated_us)
FIELD_(Trigger, triggeringCondition, gql_object(c, TYPE_FilterEventTriggeringCondition, obj))
FIELD_STR(FilterEventTriggeringCondition, eventType, trigger_row, event)

/* Events of artifacts have their filter in a member of its own on the way out, as JSON in a string; not on the
 * way in. (wandb/automations/events.py of wandb 0.31.0.) */
void resolve_FilterEventTriggeringCondition_filter(struct gql_call *c, const void *obj)
{
    const struct trigger_row *t = obj;
    struct gql_value given;
    AUTO_BUF wrapped = {0};
    bool is_wrapped = gql_value_from_json(gql_arena(c), t->filter, &given) == 0 && gql_in(&given, "filter");
    if (is_wrapped || str_starts(t->event, STR("RUN_"))) {
        gql_str(c, t->filter);
        return;
    }
    buf_puts(&wrapped, "{\"filter\":");
    json_put_string(&wrapped, t->filter);
    buf_putc(&wrapped, '}');
    gql_str(c, buf_str(&wrapped));
}

static void answer_entity_scope(struct gql_call *c, const struct accessor *a, int64_t id)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct entity_row en;
    int rc = db_first(a->db, a->e, &rows, "SELECT name FROM entities WHERE id = $1", DB_ARGS(db_i(id)));
    if (rc == 1)
        rc = access_entity(a, access_keep(a, db_str(rows, 0)), ACCESS_READ, &en);
    answer_found(c, rc, a->e, TYPE_Entity, &en);
}

void resolve_Trigger_scope(struct gql_call *c, const void *obj)
{
    const struct trigger_row *t = obj;
    struct err e;
    struct accessor a;
    struct project_row p;
    struct collection_row s;
    if (!accessor_of(c, &e, &a))
        return;
    if (str_eqz(t->scope, "ENTITY"))
        answer_entity_scope(c, &a, t->scope_id);
    else if (str_eqz(t->scope, "PROJECT"))
        answer_found(c, access_project_id(&a, t->scope_id, ACCESS_READ, &p), &e, TYPE_Project, &p);
    else if (load_collection(&a, t->scope_id, ACCESS_READ, &s) == 0)
        answer_collection(c, &s);
}

/* ---- actions: the configuration as it came, with the integration looked up ---- */

struct action {
    const struct gql_value *in; /* the member of triggeredActionConfig */
    struct integration_row integration;
};

static const struct action_kind {
    const char *name, *member;
    int type;
} action_kinds[] = {
    {"GENERIC_WEBHOOK", "genericWebhookActionInput", TYPE_GenericWebhookTriggeredAction},
    {"NO_OP", "noOpActionInput", TYPE_NoOpTriggeredAction},
    {"QUEUE_JOB", "queueJobActionInput", TYPE_QueueJobTriggeredAction},
};
enum { N_ACTIONS = sizeof action_kinds / sizeof *action_kinds };

static const struct action_kind *find_action(struct str name)
{
    for (int i = 0; i < N_ACTIONS; i++)
        if (str_eqz(name, action_kinds[i].name))
            return &action_kinds[i];
    return NULL;
}

static int load_integration(const struct accessor *a, int64_t entity_id, const struct gql_value *in,
                            struct integration_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int64_t id;
    if (!gql_in_id(in, "integrationID", "Integration", &id))
        return err_set(a->e, TARE_ENOTFOUND, "integration not found");
    int rc = db_first(a->db, a->e, &rows, "SELECT id, name, url FROM integrations WHERE id = $1 AND entity_id = $2",
                      DB_ARGS(db_i(id), db_i(entity_id)));
    if (rc == 1)
        return take_integration(a, rows, NULL, out);
    return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "integration not found");
}

void resolve_Trigger_triggeredAction(struct gql_call *c, const void *obj)
{
    const struct trigger_row *t = obj;
    const struct action_kind *kind = find_action(t->action);
    struct gql_value *config = arena_calloc(gql_arena(c), sizeof *config);
    struct err e;
    struct accessor a;
    if (!kind || !config || gql_value_from_json(gql_arena(c), t->config, config) || !accessor_of(c, &e, &a))
        return;
    struct action action = {gql_in(config, kind->member), {0}};
    int rc = kind->type == TYPE_GenericWebhookTriggeredAction ? load_integration(&a, t->entity_id, action.in, &action.integration)
                                                              : 0;
    answer_found(c, rc, &e, kind->type, &action);
}

FIELD_(GenericWebhookTriggeredAction, integration, gql_object(c, TYPE_GenericWebhookIntegration, &ROW_(action)->integration))
FIELD_(GenericWebhookTriggeredAction, requestPayload, gql_str(c, gql_in_str(ROW_(action)->in, "requestPayload")))
FIELD_(NoOpTriggeredAction, noOp, gql_bool(c, gql_in_bool(ROW_(action)->in, "noOp", true)))
FIELD_(QueueJobTriggeredAction, template, gql_str(c, gql_in_str(ROW_(action)->in, "template")))
FIELD_NULL(QueueJobTriggeredAction, queue)

/* ---- changes ---- */

/* Where an automation holds: found, writable, and what it belongs to. */
struct scope {
    int64_t id, entity_id, project_id; /* project_id 0: of the entity */
};

static int find_scope(const struct accessor *a, const struct gql_value *in, struct str kind, struct scope *to)
{
    struct project_row p;
    struct collection_row s;
    struct entity_row en;
    struct str id = gql_in_str(in, "scopeID");
    int rc = TARE_ENOTFOUND;
    *to = (struct scope){0};
    if (str_eqz(kind, "PROJECT") && id_parse(id, "Project", &to->id)) {
        rc = access_project_id(a, to->id, ACCESS_WRITE, &p);
    } else if (str_eqz(kind, "ARTIFACT_COLLECTION") && id_parse(id, "ArtifactCollection", &to->id)) {
        rc = load_collection(a, to->id, ACCESS_WRITE, &s);
        if (rc == 0)
            p = *s.project;
    } else if (str_eqz(kind, "ENTITY") && id_parse(id, "Entity", &to->id)) {
        AUTO_ROWS struct db_rows *rows = NULL;
        if (db_first(a->db, a->e, &rows, "SELECT name FROM entities WHERE id = $1", DB_ARGS(db_i(to->id))) == 1)
            rc = access_entity(a, access_keep(a, db_str(rows, 0)), ACCESS_WRITE, &en);
        to->entity_id = rc ? 0 : en.id;
        return rc ? err_set(a->e, rc, "scope not found") : 0;
    }
    if (rc)
        return err_set(a->e, rc, "scope not found");
    to->entity_id = p.entity.id;
    to->project_id = p.id;
    return 0;
}

/* What makes sense together: events of runs in a project, new versions in a collection. */
static int check(const struct accessor *a, const struct trigger_row *t)
{
    bool of_runs = str_starts(t->event, STR("RUN_")), in_collection = str_eqz(t->scope, "ARTIFACT_COLLECTION");
    struct gql_value config;
    const struct action_kind *kind = find_action(t->action);
    struct integration_row integration;
    if (of_runs && in_collection)
        return err_set(a->e, TARE_EINVAL, "events of runs need a project as their scope");
    if (str_eqz(t->event, "CREATE_ARTIFACT") && !in_collection)
        return err_set(a->e, TARE_EINVAL, "CREATE_ARTIFACT needs an artifact collection as its scope");
    if (!json_valid(t->filter))
        return err_set(a->e, TARE_EINVAL, "eventFilter is not JSON");
    if (!kind)
        return err_set(a->e, TARE_EUNSUPPORTED, "actions of type %.*s are not supported by this server", STR_ARG(t->action));
    if (gql_value_from_json(a->arena, t->config, &config) || !gql_in(&config, kind->member))
        return err_set(a->e, TARE_EINVAL, "triggeredActionConfig has no %s", kind->member);
    return kind->type == TYPE_GenericWebhookTriggeredAction
               ? load_integration(a, t->entity_id, gql_in(&config, kind->member), &integration)
               : 0;
}

static struct str or_old(struct str given, struct str old)
{
    return given.p ? given : old;
}

/* The row as the input changes it. */
static int apply(const struct accessor *a, const struct gql_value *in, struct trigger_row *t, struct buf *config)
{
    const struct gql_value *given = gql_in(in, "triggeredActionConfig");
    t->name = or_old(gql_in_str(in, "name"), t->name);
    t->description = or_old(gql_in_str(in, "description"), t->description);
    t->event = or_old(gql_in_str(in, "triggeringEventType"), t->event);
    t->filter = or_old(gql_in_str(in, "eventFilter"), t->filter);
    t->action = or_old(gql_in_str(in, "triggeredActionType"), t->action);
    t->enabled = gql_in_bool(in, "enabled", t->enabled);
    if (given && given->kind == GQL_OBJECT) {
        gql_value_json(given, config);
        t->config = buf_str(config);
    }
    return !t->name.n || t->name.n > 255 ? err_set(a->e, TARE_EINVAL, "an automation's name has 1 to 255 characters") : 0;
}

static int create_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = begin(db, k, e);
    struct trigger_row t = {.scope = gql_in_str(k->in, "scopeType"), .enabled = true};
    struct scope scope;
    AUTO_BUF config = {0};
    int rc = find_scope(&a, k->in, t.scope, &scope);
    t.entity_id = scope.entity_id;
    if (rc || (rc = apply(&a, k->in, &t, &config)) || (rc = check(&a, &t)))
        return rc;
    rc = db_get_int(db, e, &k->id,
                    "INSERT INTO triggers (entity_id, project_id, name, description, enabled, scope, scope_id, event,"
                    " filter, action, action_config, user_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
                    " $11, $12, $13) RETURNING id",
                    DB_ARGS(db_i(scope.entity_id), db_i_if(scope.project_id != 0, scope.project_id), db_s(t.name),
                            db_s(t.description), db_i(t.enabled), db_s(t.scope), db_i(scope.id), db_s(t.event),
                            db_s(t.filter), db_s(t.action), db_s(t.config), db_i(a.user->id), db_i(now_us())));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is already an automation called '%.*s'", STR_ARG(t.name)) : rc;
}

/* Whether the asker may change what belongs to the automation's project, or its entity. */
static int may_change(const struct accessor *a, const struct trigger_row *t)
{
    AUTO_ROWS struct db_rows *owner = NULL;
    struct project_row p;
    struct entity_row en;
    if (t->project_id)
        return access_project_id(a, t->project_id, ACCESS_WRITE, &p);
    int rc = db_first(a->db, a->e, &owner, "SELECT name FROM entities WHERE id = $1", DB_ARGS(db_i(t->entity_id)));
    return rc == 1  ? access_entity(a, access_keep(a, db_str(owner, 0)), ACCESS_WRITE, &en)
           : rc < 0 ? rc
                    : TARE_ENOTFOUND;
}

/* An automation that the asker may change. */
static int load_writable(const struct accessor *a, int64_t id, struct trigger_row *t)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows, TRIGGER_SQL "WHERE id = $1", DB_ARGS(db_i(id)));
    if (rc == 1 && (rc = take_trigger(a, rows, NULL, t)) == 0)
        rc = may_change(a, t);
    else if (rc == 0)
        rc = TARE_ENOTFOUND;
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "automation not found") : rc;
}

static int update_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = begin(db, k, e);
    struct trigger_row t;
    struct scope scope = {0};
    AUTO_BUF config = {0};
    int rc = gql_in_id(k->in, "id", "Trigger", &k->id) ? load_writable(&a, k->id, &t)
                                                       : err_set(e, TARE_ENOTFOUND, "automation not found");
    if (rc)
        return rc;
    bool moves = gql_in_str(k->in, "scopeID").n > 0;
    if (moves) {
        t.scope = or_old(gql_in_str(k->in, "scopeType"), t.scope);
        rc = find_scope(&a, k->in, t.scope, &scope);
        t.entity_id = scope.entity_id;
    }
    if (rc || (rc = apply(&a, k->in, &t, &config)) || (rc = check(&a, &t)))
        return rc;
    rc = db_exec(db, e,
                 "UPDATE triggers SET name = $2, description = $3, enabled = $4, scope = $5, event = $6, filter = $7,"
                 " action = $8, action_config = $9, updated_at = $10, entity_id = $11,"
                 " scope_id = CASE WHEN $12 = 1 THEN $13 ELSE scope_id END,"
                 " project_id = CASE WHEN $12 = 1 THEN $14 ELSE project_id END WHERE id = $1",
                 DB_ARGS(db_i(k->id), db_s(t.name), db_s(t.description), db_i(t.enabled), db_s(t.scope), db_s(t.event),
                         db_s(t.filter), db_s(t.action), db_s(t.config), db_i(now_us()), db_i(t.entity_id), db_i(moves),
                         db_i(scope.id), db_i_if(scope.project_id != 0, scope.project_id)));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is already an automation called '%.*s'", STR_ARG(t.name)) : rc;
}

/* 409 is what the client takes for "it is there already". */
static void change_trigger(struct gql_call *c, db_job_fn job, int payload)
{
    struct change k;
    struct err e;
    int rc = change(c, &k, job, &e);
    if (rc == TARE_EEXIST)
        gql_fail(c, 409, "%s", e.text);
    else if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, payload, &k);
}

void resolve_Mutation_createFilterTrigger(struct gql_call *c, const void *obj)
{
    change_trigger(c, create_job, TYPE_TriggerPayload);
}

void resolve_Mutation_updateFilterTrigger(struct gql_call *c, const void *obj)
{
    change_trigger(c, update_job, TYPE_TriggerPayload);
}

void resolve_TriggerPayload_trigger(struct gql_call *c, const void *obj)
{
    const struct change *k = obj;
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    struct trigger_row t;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_first(a.db, &e, &rows, TRIGGER_SQL "WHERE id = $1", DB_ARGS(db_i(k->id)));
    rc = rc == 1 ? take_trigger(&a, rows, NULL, &t) : rc < 0 ? rc : TARE_ENOTFOUND;
    answer_found(c, rc, &e, TYPE_Trigger, &t);
}

static int delete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct change *k = arg;
    const struct accessor a = begin(db, k, e);
    struct trigger_row t;
    int rc = gql_in_id(k->in, "triggerID", "Trigger", &k->id) ? load_writable(&a, k->id, &t)
                                                              : err_set(e, TARE_ENOTFOUND, "automation not found");
    return rc ? rc : db_exec(db, e, "DELETE FROM triggers WHERE id = $1", DB_ARGS(db_i(k->id)));
}

void resolve_Mutation_deleteTrigger(struct gql_call *c, const void *obj)
{
    struct change k;
    struct err e;
    int rc = change(c, &k, delete_job, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

/* ---- the viewer's projects, where clients look for automations ---- */

static int take_project(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    return access_project_id(a, db_int(rows, 0), ACCESS_READ, to);
}

static const struct list_shape project_list = {TYPE_ProjectConnection, TYPE_ProjectEdge, TYPE_Project,
                                               sizeof(struct project_row), take_project};

void resolve_User_projects(struct gql_call *c, const void *obj)
{
    const struct user_row *u = obj;
    const struct http_user *asker = request_of(c)->user;
    answer_list(c, &project_list, u,
                "SELECT p.id FROM projects p JOIN entities en ON en.id = p.entity_id WHERE p.deleted_at IS NULL"
                " AND (en.user_id = $1 OR en.id IN (SELECT entity_id FROM team_members WHERE user_id = $1)) ORDER BY p.id",
                DB_ARGS(db_i(u->id == asker->id || asker->admin ? u->id : 0)));
}
