/* SPDX-License-Identifier: MIT */
/* Requests that are one GraphQL operation each: a table says which, with which variables out of the
 * request, and what of the answer goes back.
 *
 * (peer: core/internal/wbapi/{runfiles,run,customchart,runqueue}handler.go, core/internal/gql) */
#include "service/api/api_impl.h"

#include "base/json.h"
#include "service/upload/json_path.h"

enum var_type { VAR_TEXT, VAR_OPTIONAL_TEXT, VAR_TEXT_LIST };
enum reply_type { REPLY_TEXT, REPLY_BOOL, REPLY_TEXT_LIST };

struct operation {
    const char *name, *document;
    struct {
        const char *name;
        uint32_t number; /* of the request's field */
        enum var_type type;
    } vars[10];
    const char *must_have; /* in the answer, or: */
    const char *missing;
    uint32_t response;  /* field of ApiResponse, */
    uint32_t inner;     /* and within it; 0: none */
    struct {
        const char *path;
        uint32_t number; /* of the response's field */
        enum reply_type type;
    } replies[3];
};

static const struct operation mark_files = {
    "MarkRunFilesUploaded",
    "\nmutation MarkRunFilesUploaded ($entity: String!, $project: String!, $run: String!, $files: [String!]!) {\n"
    "\tmarkRunFilesUploaded(input: {entityName:$entity,projectName:$project,runName:$run,files:$files}) {\n"
    "\t\tsuccess\n\t}\n}\n",
    {{"entity", 1}, {"project", 2}, {"run", 3}, {"files", 4, VAR_TEXT_LIST}},
    NULL, NULL, API_MARK_FILES, 0, {{0}},
};

static const struct operation stop_run = {
    "StopRun",
    "\nmutation StopRun ($id: ID!) {\n\tstopRun(input: {id:$id}) {\n\t\tsuccess\n\t}\n}\n",
    {{"id", 1}},
    NULL, NULL, API_STOP_RUN, 0, {{0}},
};

static const struct operation create_chart = {
    "CreateCustomChart",
    "\nmutation CreateCustomChart ($entity: String!, $chartName: String!, $displayName: String!, "
    "$chartType: String!, $access: String!, $spec: JSONString!) {\n"
    "\tcreateCustomChart(input: {entity:$entity,name:$chartName,displayName:$displayName,type:$chartType,"
    "access:$access,spec:$spec}) {\n\t\tchart {\n\t\t\tid\n\t\t}\n\t}\n}\n",
    {{"entity", 1}, {"chartName", 2}, {"displayName", 3}, {"chartType", 4}, {"access", 5}, {"spec", 6}},
    "createCustomChart", "failed to create custom chart", API_CHART, 0, {{"createCustomChart.chart.id", 1}},
};

/* In the order of RunQueueOperationRequest's fields, from 1. */
static const struct operation queue_operations[] = {
    {"CreateDefaultResourceConfig",
     "\nmutation CreateDefaultResourceConfig ($entityName: String!, $resource: String!, $config: JSONString!, "
     "$templateVariables: JSONString) {\n"
     "\tcreateDefaultResourceConfig(input: {entityName:$entityName,resource:$resource,config:$config,"
     "templateVariables:$templateVariables}) {\n\t\tdefaultResourceConfigID\n\t\tsuccess\n\t}\n}\n",
     {{"entityName", 1}, {"resource", 2}, {"config", 3}, {"templateVariables", 4, VAR_OPTIONAL_TEXT}},
     "createDefaultResourceConfig", "failed to create default resource config", API_QUEUE, 1,
     {{"createDefaultResourceConfig.success", 1, REPLY_BOOL},
      {"createDefaultResourceConfig.defaultResourceConfigID", 2}}},
    {"CreateRunQueue",
     "\nmutation CreateRunQueue ($entity: String!, $project: String!, $queueName: String!, "
     "$access: RunQueueAccessType!, $prioritizationMode: RunQueuePrioritizationMode, "
     "$defaultResourceConfigID: ID) {\n"
     "\tcreateRunQueue(input: {entityName:$entity,projectName:$project,queueName:$queueName,access:$access,"
     "prioritizationMode:$prioritizationMode,defaultResourceConfigID:$defaultResourceConfigID}) {\n"
     "\t\tsuccess\n\t\tqueueID\n\t}\n}\n",
     {{"entity", 1}, {"project", 2}, {"queueName", 3}, {"access", 4},
      {"prioritizationMode", 5, VAR_OPTIONAL_TEXT}, {"defaultResourceConfigID", 6, VAR_OPTIONAL_TEXT}},
     "createRunQueue", "failed to create run queue", API_QUEUE, 2,
     {{"createRunQueue.success", 1, REPLY_BOOL}, {"createRunQueue.queueID", 2}}},
    {"UpsertRunQueue",
     "\nmutation UpsertRunQueue ($entityName: String!, $projectName: String!, $queueName: String!, "
     "$resourceType: String!, $resourceConfig: JSONString!, $templateVariables: JSONString, "
     "$prioritizationMode: RunQueuePrioritizationMode, $externalLinks: JSONString, "
     "$clientMutationId: String) {\n"
     "\tupsertRunQueue(input: {entityName:$entityName,projectName:$projectName,queueName:$queueName,"
     "resourceType:$resourceType,resourceConfig:$resourceConfig,templateVariables:$templateVariables,"
     "prioritizationMode:$prioritizationMode,externalLinks:$externalLinks,clientMutationId:$clientMutationId}) "
     "{\n\t\tsuccess\n\t\tconfigSchemaValidationErrors\n\t}\n}\n",
     {{"entityName", 1}, {"projectName", 2}, {"queueName", 3}, {"resourceType", 4}, {"resourceConfig", 5},
      {"templateVariables", 6, VAR_OPTIONAL_TEXT}, {"prioritizationMode", 7, VAR_OPTIONAL_TEXT},
      {"externalLinks", 8, VAR_OPTIONAL_TEXT}, {"clientMutationId", 9, VAR_OPTIONAL_TEXT}},
     "upsertRunQueue", "failed to upsert run queue", API_QUEUE, 3,
     {{"upsertRunQueue.success", 1, REPLY_BOOL},
      {"upsertRunQueue.configSchemaValidationErrors", 2, REPLY_TEXT_LIST}}},
};

/* ---- variables ---- */

static void put_list(struct buf *to, struct str message, uint32_t number)
{
    struct wire_field f;
    size_t before = to->len;
    buf_putc(to, '[');
    for (struct wire_reader r = wire_open(message); wire_next(&r, &f) > 0;)
        if (f.number == number && f.type == WIRE_BYTES) {
            if (to->len > before + 1)
                buf_putc(to, ',');
            json_put_string(to, f.bytes);
        }
    buf_putc(to, ']');
}

static void put_var(struct api_task *t, struct str message, const char *name, uint32_t number, enum var_type type)
{
    struct wire_field f = {0};
    bool is_there = api_find(message, number, &f);
    if (type == VAR_TEXT_LIST) {
        AUTO_BUF list = {0};
        put_list(&list, message, number);
        api_var_raw(t, name, buf_str(&list));
    } else if (type == VAR_OPTIONAL_TEXT && !is_there) {
        api_var_raw(t, name, STR("null"));
    } else {
        api_var_text(t, name, f.bytes);
    }
}

/* ---- replies ---- */

static void put_text_list(struct buf *to, uint32_t number, struct str json)
{
    const char *at = json.n ? json_skip_space(json.p, json.p + json.n) : NULL, *end = json.p + json.n;
    struct json_item item;
    if (!at || at == end || *at++ != '[')
        return;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_BUF text = {0};
        if (item.value.n >= 2 && item.value.p[0] == '"')
            json_unescape(&text, str_make(item.value.p + 1, item.value.n - 2));
        wire_buf_bytes(to, number, buf_str(&text));
    }
}

static void put_replies(struct buf *to, const struct operation *op, struct str data)
{
    for (size_t i = 0; i < sizeof op->replies / sizeof op->replies[0] && op->replies[i].path; i++) {
        const char *path = op->replies[i].path;
        uint32_t number = op->replies[i].number;
        if (op->replies[i].type == REPLY_TEXT)
            api_put_text_at(to, number, data, path);
        else if (op->replies[i].type == REPLY_TEXT_LIST)
            put_text_list(to, number, json_at(data, path));
        else if (str_eqz(json_at(data, path), "true"))
            wire_buf_varint(to, number, 1);
    }
}

static void on_answered(struct api_task *t)
{
    const struct operation *op = t->table;
    AUTO_BUF body = {0}, outer = {0};
    if (op->must_have && json_at(t->call.data, op->must_have).n == 0) {
        api_fail(t, 0, "%s", op->missing);
        return;
    }
    put_replies(&body, op, t->call.data);
    if (op->inner)
        wire_buf_bytes(&outer, op->inner, buf_str(&body));
    api_reply_with(t, op->response, buf_str(op->inner ? &outer : &body));
}

static void ask(struct api_task *t, const struct operation *op, struct str message)
{
    t->table = op;
    for (size_t i = 0; i < sizeof op->vars / sizeof op->vars[0] && op->vars[i].name; i++)
        put_var(t, message, op->vars[i].name, op->vars[i].number, op->vars[i].type);
    api_ask(t, op->name, op->document, on_answered);
}

/* ---- kinds ---- */

static void start_mark_files(struct api_task *t)
{
    struct wire_field f;
    if (api_find(buf_str(&t->request), 4, &f))
        ask(t, &mark_files, buf_str(&t->request));
    else
        api_reply_with(t, API_MARK_FILES, (struct str){0});
}

static void start_stop_run(struct api_task *t)
{
    ask(t, &stop_run, buf_str(&t->request));
}

static void start_chart(struct api_task *t)
{
    ask(t, &create_chart, buf_str(&t->request));
}

static void start_queue(struct api_task *t)
{
    struct wire_field f;
    for (uint32_t i = 0; i < sizeof queue_operations / sizeof queue_operations[0]; i++)
        if (api_find(buf_str(&t->request), i + 1, &f)) {
            ask(t, &queue_operations[i], f.bytes);
            return;
        }
    api_fail(t, 0, "unsupported operation");
}

/* The client's diagnostics: Tare sends none. Nobody waits for an answer. */
static void start_telemetry(struct api_task *t)
{
    api_reply_nothing(t);
}

const struct api_kind api_mark_files = {7, sizeof(struct api_task), start_mark_files, NULL, NULL};
const struct api_kind api_stop_run = {8, sizeof(struct api_task), start_stop_run, NULL, NULL};
const struct api_kind api_chart = {10, sizeof(struct api_task), start_chart, NULL, NULL};
const struct api_kind api_queue = {11, sizeof(struct api_task), start_queue, NULL, NULL};
const struct api_kind api_telemetry = {12, sizeof(struct api_task), start_telemetry, NULL, NULL};
