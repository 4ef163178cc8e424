/* SPDX-License-Identifier: MIT */
/* Run queues: programs push what is to be run, launch agents pop it, one by one, most urgent first.
 *
 * A popped item is leased to its agent for LEASE_US; acknowledged, it belongs to a run; else it waits again. A
 * queue may have a default resource configuration, whose "resource_args" an item gets where it has none of its
 * own, with the configuration's {{variables}} filled in. */
#include "server/graphql/coerce.h"
#include "server/resolve/sweep_rows.h"

#include <jansson.h>
#include <string.h>

static const int64_t lease_us = 15 * 60 * 1000000ll;
enum { DEFAULT_PRIORITY = 2 };

struct queue_row {
    int64_t id, project_id, config_id, user_id;
    struct str name, access, prioritization, links, username;
};

struct item_row {
    int64_t id, priority, created_us, updated_us;
    struct str state, spec, run_name, error, warning;
};

struct config_row {
    struct str resource, config, variables;
};

/* What every job here gets and gives. */
struct launch {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    struct queue_row queue;
    struct item_row item;
    int64_t id;
};

#define QUEUE_SQL                                                                                              \
    "SELECT q.id, q.project_id, q.config_id, q.user_id, q.name, q.access, q.prioritization, q.external_links," \
    " u.username FROM run_queues q LEFT JOIN users u ON u.id = q.user_id "
#define ITEM_SQL \
    "SELECT id, priority, created_at, updated_at, state, run_spec, run_name, error, warning FROM run_queue_items "

static int take_queue(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct queue_row *q = to;
    struct str *const texts[] = {&q->name, &q->access, &q->prioritization, &q->links, &q->username};
    *q = (struct queue_row){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3)};
    for (int i = 0; i < 5; i++)
        *texts[i] = access_keep(a, db_str(rows, 4 + i));
    bool others = str_eqz(q->access, "USER") && q->user_id != a->user->id && !a->user->admin;
    return others ? TARE_ENOTFOUND : 0;
}

static int take_item(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct item_row *i = to;
    struct str *const texts[] = {&i->state, &i->spec, &i->run_name, &i->error, &i->warning};
    *i = (struct item_row){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3)};
    for (int k = 0; k < 5; k++)
        *texts[k] = access_keep(a, db_str(rows, 4 + k));
    return 0;
}

static const struct list_shape queue_list = {-1, -1, TYPE_RunQueue, sizeof(struct queue_row), take_queue};
static const struct list_shape item_list = {TYPE_RunQueueItemConnection, TYPE_RunQueueItemEdge, TYPE_RunQueueItem,
                                            sizeof(struct item_row), take_item};

typedef int (*take_fn)(const struct accessor *a, struct db_rows *rows, const void *of, void *to);

/* One row by a query; TARE_ENOTFOUND with a sentence. */
static int load_one(const struct accessor *a, take_fn take, void *to, const char *what, const char *sql,
                    const struct db_value *args, int n)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows, sql, args, n);
    if (rc == 1)
        rc = take(a, rows, NULL, to);
    else if (rc == 0)
        rc = TARE_ENOTFOUND;
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "%s not found", what) : rc;
}

static int load_queue(const struct accessor *a, int64_t id, enum access need, struct queue_row *q)
{
    struct project_row p;
    int rc = load_one(a, take_queue, q, "run queue", QUEUE_SQL "WHERE q.id = $1", DB_ARGS(db_i(id)));
    return rc ? rc : access_project_id(a, q->project_id, need, &p);
}

static int load_queue_named(const struct accessor *a, const struct project_row *p, struct str name, struct queue_row *q)
{
    return load_one(a, take_queue, q, "run queue", QUEUE_SQL "WHERE q.project_id = $1 AND q.name = $2",
                    DB_ARGS(db_i(p->id), db_s(name)));
}

/* The item that the input names, if the asker may write its queue's project. */
static int load_item(const struct accessor *a, const struct gql_value *in, struct item_row *item, struct queue_row *q)
{
    int64_t id, queue = 0;
    if (!gql_in_id(in, "runQueueItemId", "RunQueueItem", &id))
        return err_set(a->e, TARE_ENOTFOUND, "run queue item not found");
    int rc = load_one(a, take_item, item, "run queue item", ITEM_SQL "WHERE id = $1", DB_ARGS(db_i(id)));
    if (rc == 0)
        rc = db_get_int(a->db, a->e, &queue, "SELECT queue_id FROM run_queue_items WHERE id = $1", DB_ARGS(db_i(id)));
    return rc < 0 ? rc : load_queue(a, queue, ACCESS_WRITE, q);
}

static struct accessor begin(struct db_conn *db, struct launch *l, struct err *e)
{
    return (struct accessor){db, l->user, l->arena, e};
}

static bool change(struct gql_call *c, struct launch *l, db_job_fn job)
{
    struct request *q = request_of(c);
    *l = (struct launch){.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    return write_job(c, job, l);
}

static void change_and_say_so(struct gql_call *c, db_job_fn job)
{
    struct launch l;
    if (change(c, &l, job))
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

/* ---- reading ---- */

void resolve_Project_runQueue(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    struct queue_row q;
    if (accessor_of(c, &e, &a))
        answer_found(c, load_queue_named(&a, obj, gql_arg_str(c, "name"), &q), &e, TYPE_RunQueue, &q);
}

void resolve_Project_runQueues(struct gql_call *c, const void *obj)
{
    const struct project_row *p = obj;
    answer_whole_list(c, &queue_list, p, QUEUE_SQL "WHERE q.project_id = $1 ORDER BY q.id", DB_ARGS(db_i(p->id)));
}

FIELD_ID(RunQueue, id, queue_row, "RunQueue", id)
FIELD_STR(RunQueue, name, queue_row, name)
FIELD_STR(RunQueue, access, queue_row, access)
FIELD_STR(RunQueue, createdBy, queue_row, username)
FIELD_STR(RunQueue, prioritizationMode, queue_row, prioritization)
FIELD_(RunQueue, externalLinks, gql_json(c, ROW_(queue_row)->links))

void resolve_RunQueue_defaultResourceConfigID(struct gql_call *c, const void *obj)
{
    const struct queue_row *q = obj;
    if (q->config_id)
        gql_id(c, "DefaultResourceConfig", q->config_id);
}

void resolve_RunQueue_runQueueItem(struct gql_call *c, const void *obj)
{
    const struct queue_row *q = obj;
    struct err e;
    struct accessor a;
    struct item_row item;
    int64_t id = 0;
    if (!gql_arg_id(c, "id", "RunQueueItem", &id) || !accessor_of(c, &e, &a))
        return;
    int rc = load_one(&a, take_item, &item, "run queue item", ITEM_SQL "WHERE id = $1 AND queue_id = $2",
                      DB_ARGS(db_i(id), db_i(q->id)));
    answer_found(c, rc, &e, TYPE_RunQueueItem, &item);
}

void resolve_RunQueue_runQueueItems(struct gql_call *c, const void *obj)
{
    const struct queue_row *q = obj;
    answer_list(c, &item_list, q, ITEM_SQL "WHERE queue_id = $1 ORDER BY id", DB_ARGS(db_i(q->id)));
}

FIELD_ID(RunQueueItem, id, item_row, "RunQueueItem", id)
FIELD_STR(RunQueueItem, state, item_row, state)
FIELD_STR(RunQueueItem, runSpec, item_row, spec)
FIELD_STR(RunQueueItem, associatedRunId, item_row, run_name)
FIELD_STR(RunQueueItem, error, item_row, error)
FIELD_STR(RunQueueItem, warning, item_row, warning)
FIELD_INT(RunQueueItem, priority, item_row, priority)
FIELD_TIME(RunQueueItem, createdAt, item_row, created_us)
FIELD_TIME(RunQueueItem, updatedAt, item_row, updated_us)

/* ---- default resource configurations ---- */

static int take_config(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    *(struct config_row *)to = (struct config_row){access_keep(a, db_str(rows, 0)), access_keep(a, db_str(rows, 1)),
                                                   access_keep(a, db_str(rows, 2))};
    return 0;
}

void resolve_Entity_defaultResourceConfig(struct gql_call *c, const void *obj)
{
    const struct entity_row *en = obj;
    struct err e;
    struct accessor a;
    struct config_row config;
    int64_t id = 0;
    if (!gql_arg_id(c, "id", "DefaultResourceConfig", &id) || !accessor_of(c, &e, &a))
        return;
    int rc = en->role == ROLE_NONE && !a.user->admin
                 ? TARE_ENOTFOUND
                 : load_one(&a, take_config, &config, "resource configuration",
                            "SELECT resource, config, template_variables FROM resource_configs WHERE id = $1 AND entity_id = $2",
                            DB_ARGS(db_i(id), db_i(en->id)));
    answer_found(c, rc, &e, TYPE_DefaultResourceConfig, &config);
}

FIELD_STR(DefaultResourceConfig, resource, config_row, resource)
FIELD_(DefaultResourceConfig, config, gql_json(c, ROW_(config_row)->config))

struct variable {
    const char *name, *schema;
};

void resolve_DefaultResourceConfig_templateVariables(struct gql_call *c, const void *obj)
{
    const struct config_row *config = obj;
    json_t *all = json_loadb(config->variables.p, config->variables.n, 0, NULL), *one;
    struct variable v;
    gql_list_begin(c);
    json_object_foreach(all, v.name, one)
    {
        char *schema = json_dumps(json_object_get(one, "schema"), JSON_COMPACT | JSON_ENCODE_ANY);
        v.schema = schema ? schema : "{}";
        gql_object(c, TYPE_TemplateVariable, &v);
        free(schema);
    }
    gql_list_end(c);
    json_decref(all);
}

FIELD_(TemplateVariable, name, gql_strz(c, ROW_(variable)->name))
FIELD_(TemplateVariable, schema, gql_strz(c, ROW_(variable)->schema))

static int check_object(const struct accessor *a, const char *what, struct str text)
{
    json_t *v = text.n ? json_loadb(text.p, text.n, 0, NULL) : json_object();
    bool good = json_is_object(v) || (json_is_null(v) && !text.n);
    json_decref(v);
    return good ? 0 : err_set(a->e, TARE_EINVAL, "%s is not a JSON object", what);
}

static int put_config(const struct accessor *a, int64_t entity_id, struct str resource, struct str config,
                      struct str variables, int64_t *id)
{
    int rc = check_object(a, "the resource configuration", config);
    if (rc == 0)
        rc = check_object(a, "templateVariables", variables);
    if (rc)
        return rc;
    return db_get_int(a->db, a->e, id,
                      "INSERT INTO resource_configs (entity_id, resource, config, template_variables, created_at)"
                      " VALUES ($1, $2, $3, $4, $5) RETURNING id",
                      DB_ARGS(db_i(entity_id), db_s(resource), db_s(config), db_s(variables.n ? variables : STR("{}")),
                              db_i(now_us())));
}

static int config_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    struct entity_row en;
    int rc = access_entity(&a, gql_in_str(l->in, "entityName"), ACCESS_WRITE, &en);
    return rc ? rc : put_config(&a, en.id, gql_in_str(l->in, "resource"), gql_in_str(l->in, "config"),
                                gql_in_str(l->in, "templateVariables"), &l->id);
}

void resolve_Mutation_createDefaultResourceConfig(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, config_job))
        gql_object(c, TYPE_CreateDefaultResourceConfigPayload, &l);
}

FIELD_ID(CreateDefaultResourceConfigPayload, defaultResourceConfigID, launch, "DefaultResourceConfig", id)
FIELD_CONST_BOOL(CreateDefaultResourceConfigPayload, success, true)

/* ---- queues ---- */

static int find_or_make_project(const struct accessor *a, const struct gql_value *in, struct project_row *p)
{
    struct str entity = gql_in_str(in, "entityName"), name = gql_in_str(in, "projectName");
    int64_t id;
    int rc = access_project(a, entity, name, ACCESS_WRITE, p);
    if (rc == TARE_ENOTFOUND && (rc = project_make(a, entity, name, &id)) >= 0)
        rc = access_project_id(a, id, ACCESS_WRITE, p);
    return rc;
}

static int put_queue(const struct accessor *a, struct launch *l, const struct project_row *p, int64_t config_id)
{
    struct str mode = gql_in_str(l->in, "prioritizationMode"), access = gql_in_str(l->in, "access");
    return db_get_int(a->db, a->e, &l->id,
                      "INSERT INTO run_queues (project_id, name, access, prioritization, config_id, external_links, user_id,"
                      " created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project_id, name) DO UPDATE SET"
                      " prioritization = excluded.prioritization, config_id = excluded.config_id,"
                      " external_links = excluded.external_links RETURNING id",
                      DB_ARGS(db_i(p->id), db_s(gql_in_str(l->in, "queueName")), db_s(access.n ? access : STR("PROJECT")),
                              db_s(mode.n ? mode : STR("DISABLED")), db_i_if(config_id != 0, config_id),
                              db_s(gql_in_str(l->in, "externalLinks")), db_i(a->user->id), db_i(now_us())));
}

static int create_queue_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    struct project_row p;
    int64_t config = 0, n = 0;
    int rc = find_or_make_project(&a, l->in, &p);
    if (rc == 0 && gql_in_str(l->in, "defaultResourceConfigID").n &&
        (!gql_in_id(l->in, "defaultResourceConfigID", "DefaultResourceConfig", &config) ||
         db_get_int(db, e, &n, "SELECT id FROM resource_configs WHERE id = $1 AND entity_id = $2",
                    DB_ARGS(db_i(config), db_i(p.entity.id))) != 1))
        rc = err_set(e, TARE_ENOTFOUND, "resource configuration not found");
    if (rc == 0 && load_queue_named(&a, &p, gql_in_str(l->in, "queueName"), &l->queue) == 0)
        rc = err_set(e, TARE_EEXIST, "there is already a queue of this name");
    return rc ? rc : put_queue(&a, l, &p, config);
}

void resolve_Mutation_createRunQueue(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, create_queue_job))
        gql_object(c, TYPE_CreateRunQueuePayload, &l);
}

FIELD_ID(CreateRunQueuePayload, queueID, launch, "RunQueue", id)
FIELD_CONST_BOOL(CreateRunQueuePayload, success, true)

static int upsert_queue_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    struct project_row p;
    int64_t config = 0;
    int rc = find_or_make_project(&a, l->in, &p);
    if (rc == 0)
        rc = check_object(&a, "externalLinks", gql_in_str(l->in, "externalLinks"));
    if (rc == 0)
        rc = put_config(&a, p.entity.id, gql_in_str(l->in, "resourceType"), gql_in_str(l->in, "resourceConfig"),
                        gql_in_str(l->in, "templateVariables"), &config);
    return rc < 0 ? rc : put_queue(&a, l, &p, config);
}

void resolve_Mutation_upsertRunQueue(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, upsert_queue_job))
        gql_object(c, TYPE_UpsertRunQueuePayload, &l);
}

FIELD_CONST_BOOL(UpsertRunQueuePayload, success, true)
FIELD_(UpsertRunQueuePayload, configSchemaValidationErrors, (void)obj; gql_list_begin(c); gql_list_end(c))

static int delete_queues_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    const struct gql_value *ids = gql_in(l->in, "queueIDs");
    for (const struct gql_value *v = ids ? ids->first : NULL; v; v = v->next) {
        int64_t id;
        int rc = id_parse(v->s, "RunQueue", &id) ? load_queue(&a, id, ACCESS_WRITE, &l->queue)
                                                 : err_set(e, TARE_ENOTFOUND, "run queue not found");
        if (rc == 0)
            rc = db_exec(db, e, "DELETE FROM run_queue_items WHERE queue_id = $1", DB_ARGS(db_i(id)));
        if (rc >= 0)
            rc = db_exec(db, e, "DELETE FROM run_queues WHERE id = $1", DB_ARGS(db_i(id)));
        if (rc < 0)
            return rc;
    }
    return 0;
}

void resolve_Mutation_deleteRunQueues(struct gql_call *c, const void *obj)
{
    change_and_say_so(c, delete_queues_job);
}

/* ---- pushing ---- */

/* `text` with {{name}} replaced by the variables' values; a text that is one variable becomes its value. */
static json_t *fill_text(const char *text, json_t *values)
{
    AUTO_BUF out = {0};
    const char *open, *close;
    while ((open = strstr(text, "{{")) && (close = strstr(open, "}}"))) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(close - open - 2), open + 2);
        char *trimmed = name + strspn(name, " ");
        trimmed[strcspn(trimmed, " ")] = 0;
        json_t *value = json_object_get(values, trimmed);
        if (value && open == text && !close[2] && !out.len)
            return json_incref(value);
        char *said = value && !json_is_string(value) ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
        buf_append(&out, text, (size_t)(open - text));
        if (value)
            buf_puts(&out, said ? said : json_string_value(value));
        else
            buf_append(&out, open, (size_t)(close + 2 - open));
        free(said);
        text = close + 2;
    }
    buf_puts(&out, text);
    const char *whole = buf_z(&out);
    return whole ? json_string(whole) : NULL;
}

static json_t *fill(json_t *v, json_t *values)
{
    const char *key;
    json_t *item, *made;
    size_t i;
    if (json_is_string(v))
        return fill_text(json_string_value(v), values);
    if (json_is_array(v)) {
        made = json_array();
        json_array_foreach(v, i, item)
            json_array_append_new(made, fill(item, values));
        return made;
    }
    if (!json_is_object(v))
        return json_incref(v);
    made = json_object();
    json_object_foreach(v, key, item)
        json_object_set_new(made, key, fill(item, values));
    return made;
}

/* Put what the configuration says of each resource, and `spec` does not, into its resource_args. */
static void put_missing(json_t *spec, json_t *args)
{
    const char *resource;
    json_t *own = json_object_get(spec, "resource_args"), *item;
    if (!json_is_object(own)) {
        json_object_set_new(spec, "resource_args", json_object());
        own = json_object_get(spec, "resource_args");
    }
    json_object_foreach(args, resource, item)
    {
        json_t *have = json_object_get(own, resource);
        if (json_is_object(have) && json_is_object(item))
            json_object_update_missing(have, item);
        else if (!have)
            json_object_set(own, resource, item);
    }
}

/* The run spec as its agent shall see it; heap, NULL when out of memory. */
static char *complete_spec(json_t *spec, const struct config_row *config, struct str values)
{
    json_t *defaults = json_loadb(config->config.p, config->config.n, 0, NULL);
    json_t *given = values.n ? json_loadb(values.p, values.n, 0, NULL) : NULL;
    json_t *args = fill(json_object_get(defaults, "resource_args"), given);
    put_missing(spec, args);
    json_decref(args);
    if (!json_is_string(json_object_get(spec, "resource")))
        json_object_set_new(spec, "resource", json_stringn(config->resource.p, config->resource.n));
    char *text = json_dumps(spec, 0);
    json_decref(defaults);
    json_decref(given);
    return text;
}

/* `values` fill in the variables of the queue's configuration. */
static int push(const struct accessor *a, struct launch *l, struct str spec, int64_t priority, struct str values)
{
    struct config_row config = {0};
    int64_t now = now_us();
    if (priority != DEFAULT_PRIORITY && !str_eqz(l->queue.prioritization, "V0"))
        return err_set(a->e, TARE_EINVAL, "this queue knows no priorities");
    json_t *whole = json_loadb(spec.p, spec.n, 0, NULL);
    if (!json_is_object(whole)) {
        json_decref(whole);
        return err_set(a->e, TARE_EINVAL, "runSpec is not a JSON object");
    }
    int rc = 0;
    if (l->queue.config_id)
        rc = load_one(a, take_config, &config, "resource configuration",
                      "SELECT resource, config, template_variables FROM resource_configs WHERE id = $1",
                      DB_ARGS(db_i(l->queue.config_id)));
    char *text = rc ? NULL : l->queue.config_id ? complete_spec(whole, &config, values)
                                                : json_dumps(whole, 0);
    json_decref(whole);
    if (!text)
        return rc ? rc : TARE_ENOMEM;
    l->item.spec = access_keep(a, str_of(text));
    free(text);
    return db_get_int(a->db, a->e, &l->id,
                      "INSERT INTO run_queue_items (queue_id, run_spec, priority, user_id, created_at, updated_at)"
                      " VALUES ($1, $2, $3, $4, $5, $5) RETURNING id",
                      DB_ARGS(db_i(l->queue.id), db_s(l->item.spec), db_i(priority), db_i(a->user->id), db_i(now)));
}

/* What the input says. */
static int push_input(const struct accessor *a, struct launch *l)
{
    return push(a, l, gql_in_str(l->in, "runSpec"), gql_in_int(l->in, "priority", DEFAULT_PRIORITY),
                gql_in_str(l->in, "templateVariableValues"));
}

/* `text` with WANDB_SWEEP_ID replaced: how clients leave a place for an id that they do not know yet. */
static struct str put_sweep_id(const struct accessor *a, struct str text, struct str id)
{
    static const char place[] = "WANDB_SWEEP_ID";
    AUTO_BUF b = {0};
    const char *at;
    while (text.n && (at = memmem(text.p, text.n, place, sizeof place - 1))) {
        buf_append(&b, text.p, (size_t)(at - text.p));
        buf_put_str(&b, id);
        text = str_make(at + sizeof place - 1, (size_t)(text.p + text.n - at) - (sizeof place - 1));
    }
    buf_put_str(&b, text);
    return access_keep(a, buf_str(&b));
}

int launch_sweep_scheduler(const struct accessor *a, const struct project_row *p, struct str launch, struct str sweep,
                           struct str values)
{
    struct launch l = {.user = a->user, .arena = a->arena};
    struct gql_value given;
    struct project_row of_queue = *p;
    if (gql_value_from_json(a->arena, launch, &given) || !gql_in_str(&given, "run_spec").n)
        return 0; /* another form: kept with the sweep, no business of a queue */
    struct str other = gql_in_str(&given, "run_queue_project");
    int rc = other.n ? access_project(a, p->entity.name, other, ACCESS_WRITE, &of_queue) : 0;
    if (rc == 0)
        rc = load_queue_named(a, &of_queue, gql_in_str(&given, "queue"), &l.queue);
    return rc ? rc : push(a, &l, put_sweep_id(a, gql_in_str(&given, "run_spec"), sweep), DEFAULT_PRIORITY, values);
}

static int named_queue(const struct accessor *a, struct launch *l)
{
    struct project_row p;
    int rc = access_project(a, gql_in_str(l->in, "entityName"), gql_in_str(l->in, "projectName"), ACCESS_WRITE, &p);
    return rc ? rc : load_queue_named(a, &p, gql_in_str(l->in, "queueName"), &l->queue);
}

static int push_named_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    int rc = named_queue(&a, l);
    return rc ? rc : push_input(&a, l);
}

static int push_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    int64_t id;
    int rc = gql_in_id(l->in, "queueID", "RunQueue", &id) ? load_queue(&a, id, ACCESS_WRITE, &l->queue)
                                                          : err_set(e, TARE_ENOTFOUND, "run queue not found");
    return rc ? rc : push_input(&a, l);
}

void resolve_Mutation_pushToRunQueueByName(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, push_named_job))
        gql_object(c, TYPE_RunQueueItemPayload, &l);
}

void resolve_Mutation_pushToRunQueue(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, push_job))
        gql_object(c, TYPE_RunQueueItemPayload, &l);
}

FIELD_ID(RunQueueItemPayload, runQueueItemId, launch, "RunQueueItem", id)
FIELD_(RunQueueItemPayload, runSpec, gql_str(c, ROW_(launch)->item.spec))

/* ---- popping ---- */

static int pop_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    AUTO_ROWS struct db_rows *rows = NULL;
    int64_t agent = 0, now = now_us();
    int rc = named_queue(&a, l);
    if (rc)
        return rc;
    gql_in_id(l->in, "launchAgentId", "LaunchAgent", &agent);
    rc = db_first(db, e, &rows,
                  ITEM_SQL "WHERE queue_id = $1 AND (state = 'PENDING' OR (state = 'LEASED' AND updated_at < $2))"
                           " ORDER BY priority, id LIMIT 1",
                  DB_ARGS(db_i(l->queue.id), db_i(now - lease_us)));
    if (rc != 1)
        return rc;
    take_item(&a, rows, NULL, &l->item);
    l->id = l->item.id;
    return db_exec(db, e,
                   "UPDATE run_queue_items SET state = 'LEASED', updated_at = $3, agent_id ="
                   " (SELECT id FROM launch_agents WHERE id = $2 AND project_id = $4) WHERE id = $1",
                   DB_ARGS(db_i(l->id), db_i(agent), db_i(now), db_i(l->queue.project_id)));
}

void resolve_Mutation_popFromRunQueue(struct gql_call *c, const void *obj)
{
    struct launch l;
    if (change(c, &l, pop_job) && l.id)
        gql_object(c, TYPE_PopFromRunQueuePayload, &l);
}

FIELD_ID(PopFromRunQueuePayload, runQueueItemId, launch, "RunQueueItem", id)
FIELD_(PopFromRunQueuePayload, runSpec, gql_json(c, ROW_(launch)->item.spec))

static int ack_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    int rc = load_item(&a, l->in, &l->item, &l->queue);
    if (rc)
        return rc;
    rc = db_exec(db, e, "UPDATE run_queue_items SET state = 'CLAIMED', run_name = $2, updated_at = $3 WHERE id = $1 AND state = 'LEASED'",
                 DB_ARGS(db_i(l->item.id), db_s(gql_in_str(l->in, "runName")), db_i(now_us())));
    return rc == 0 ? err_set(e, TARE_ECONFLICT, "the item is %.*s, not leased", STR_ARG(l->item.state)) : rc;
}

void resolve_Mutation_ackRunQueueItem(struct gql_call *c, const void *obj)
{
    change_and_say_so(c, ack_job);
}

/* What went wrong, as JSON. */
static int put_report(const struct accessor *a, struct launch *l, const char *sql)
{
    int rc = load_item(a, l->in, &l->item, &l->queue);
    if (rc)
        return rc;
    json_t *report = json_object();
    struct str message = gql_in_str(l->in, "message"), stage = gql_in_str(l->in, "stage");
    json_object_set_new(report, "message", json_stringn(message.p ? message.p : "", message.n));
    json_object_set_new(report, "stage", json_stringn(stage.p ? stage.p : "", stage.n));
    char *text = json_dumps(report, 0);
    json_decref(report);
    rc = text ? db_exec(a->db, a->e, sql, DB_ARGS(db_i(l->item.id), db_t(text), db_i(now_us()))) : TARE_ENOMEM;
    free(text);
    return rc;
}

static int fail_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct accessor a = begin(db, arg, e);
    return put_report(&a, arg, "UPDATE run_queue_items SET state = 'FAILED', error = $2, updated_at = $3 WHERE id = $1");
}

void resolve_Mutation_failRunQueueItem(struct gql_call *c, const void *obj)
{
    change_and_say_so(c, fail_job);
}

static int warn_job(struct db_conn *db, void *arg, struct err *e)
{
    const struct accessor a = begin(db, arg, e);
    return put_report(&a, arg, "UPDATE run_queue_items SET warning = $2, updated_at = $3 WHERE id = $1");
}

void resolve_Mutation_updateRunQueueItemWarning(struct gql_call *c, const void *obj)
{
    change_and_say_so(c, warn_job);
}

static int remove_job(struct db_conn *db, void *arg, struct err *e)
{
    struct launch *l = arg;
    const struct accessor a = begin(db, l, e);
    int rc = load_item(&a, l->in, &l->item, &l->queue);
    if (rc)
        return rc;
    if (str_eqz(l->item.state, "CLAIMED"))
        return err_set(e, TARE_ECONFLICT, "the item is running already");
    return db_exec(db, e, "DELETE FROM run_queue_items WHERE id = $1", DB_ARGS(db_i(l->item.id)));
}

void resolve_Mutation_deleteFromRunQueue(struct gql_call *c, const void *obj)
{
    change_and_say_so(c, remove_job);
}
